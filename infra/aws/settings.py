"""What a person may choose: at synthesis by context (`-c name=ada`), at deployment by the template's parameters.

Law: the only place that names either. No default costs anything while nothing happens.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aws_cdk import App, CfnCondition, CfnParameter, Fn, Stack, Token

from infra.bundles import HOST, KEPT, LAMBDA, Target

MOVES_AT_ONCE = 5
"""Fits a new account, which may run 10 functions. Who knows the account's quota says more."""
LOG_DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 180, 365)


@dataclass(frozen=True, slots=True)
class Settings:
    """Choices of a synthesis. `parameters`: what is a choice here is a parameter of the template, for use without the
    CDK. `storages`: buckets of this account, besides the stack's own, that the agent may share from and receive into.
    `moves_at_once`: batches moved at the same time."""

    name: str
    repository: str
    target: Target
    bundles: Path
    storages: tuple[str, ...] = ()
    moves_at_once: int = MOVES_AT_ONCE
    parameters: bool = False

    @classmethod
    def of(cls, app: App) -> Settings:
        """From the context: name, repository, target (lambda, host), storages (bucket,bucket), bundles, parameters."""

        def text(key: str, default: str) -> str:
            return str(app.node.try_get_context(key) or default)

        return cls(
            name=text("name", "me"),
            repository=text("repository", "commons"),
            target={"lambda": LAMBDA, "host": HOST}[text("target", "lambda")],
            bundles=Path(text("bundles", str(KEPT))),
            storages=tuple(filter(None, text("storages", "").split(","))),
            moves_at_once=int(text("movesAtOnce", str(MOVES_AT_ONCE))),
            parameters=text("parameters", "") == "true",
        )


class Parameters:
    """The parameters of a stack's template, each with a sentence that the console shows."""

    def __init__(self, stack: Stack, role: str, settings: Settings) -> None:
        self.recovery = CfnParameter(
            stack,
            "Recovery",
            default="",
            allowed_pattern="^([0-9a-f]{64}(,[0-9a-f]{64}){0,2})?$",
            description="Commitments to up to three recovery keys, as `skyswarm recovery` prints them; the keys stay "
            "with you. Empty: none. Counts when the stack is made, never after.",
        )
        self.log_days = CfnParameter(
            stack, "LogDays", type="Number", default="30", allowed_values=[str(days) for days in LOG_DAYS],
            description="Days that logs are kept.",
        )  # fmt: skip
        self.email = CfnParameter(
            stack, "AlarmEmail", default="",
            description="Who is written to when work ends in a dead-letter queue. Empty: nobody.",
        )  # fmt: skip
        self.has_email = CfnCondition(
            stack,
            "HasAlarmEmail",
            expression=Fn.condition_not(Fn.condition_equals(self.email.value_as_string, "")),
        )
        self.public_url = CfnParameter(
            stack, "PublicUrl", default="", allowed_pattern="^(https?://[A-Za-z0-9.:_/$-]+[A-Za-z0-9])?$",
            description="Your own address in front of this deployment, without a slash at the end. Empty: its own.",
        )  # fmt: skip
        self.has_url = CfnCondition(
            stack,
            "HasPublicUrl",
            expression=Fn.condition_not(Fn.condition_equals(self.public_url.value_as_string, "")),
        )
        self.rate = CfnParameter(
            stack, "DoorRate", type="Number", default=50, min_value=1,
            description="Requests a second that the doors let in, of everybody together.",
        )  # fmt: skip
        self.burst = CfnParameter(
            stack, "DoorBurst", type="Number", default=100, min_value=1,
            description="Requests that the doors let in at one moment.",
        )  # fmt: skip
        if role == "agent":
            self._for_agents(stack, settings)
        if settings.parameters:
            self.bucket = CfnParameter(
                stack, "AssetBucket", allowed_pattern="^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$",
                description="A bucket of yours, in this region, into which you have put the zips.",
            )  # fmt: skip
            self.prefix = CfnParameter(
                stack, "AssetPrefix", default="", allowed_pattern="^([A-Za-z0-9._-]+/)*$",
                description="What the zips' names begin with in that bucket: empty, or a folder and a slash.",
            )  # fmt: skip

    def url(self, own: str) -> str:
        """Where the deployment is reached: its own address `own`, or the one that stands in front of it."""
        return str(Fn.condition_if(self.has_url.logical_id, self.public_url.value_as_string, own).to_string())

    def _for_agents(self, stack: Stack, settings: Settings) -> None:
        self.moves_at_once = settings.moves_at_once
        if settings.parameters:
            at_once = CfnParameter(
                stack, "MovesAtOnce", type="Number", default=MOVES_AT_ONCE, min_value=2, max_value=1000,
                description="Batches moved at the same time. The default fits a new account: it may run 10 functions.",
            )  # fmt: skip
            self.moves_at_once = int(Token.as_number(at_once.value))
        self.move_reserved = CfnParameter(
            stack, "MoveReserved", type="Number", default=0, min_value=0, max_value=1000,
            description="Concurrency reserved for moving, taken from all other functions of the account. 0: none.",
        )  # fmt: skip
        self.is_reserved = CfnCondition(
            stack, "IsMoveReserved",
            expression=Fn.condition_not(Fn.condition_equals(self.move_reserved.value_as_string, "0")),
        )  # fmt: skip
