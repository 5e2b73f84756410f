"""What the evaluator answers: trusted along this chain, or not and why (spec/trust.md, "Answers").

Law: values and sentences only. Agents are named by the caller's own function, so that a person reads petnames
and a peer reads the first digits of an id.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

from skyswarm.errors import NotTrustedError, RevokedError
from skyswarm.trust.graph import Edge


class Reason(enum.StrEnum):
    """Why an agent is trusted or not. All but TRUSTED and those of `NEVER_WAS` mean that a chain was there
    once.
    """

    TRUSTED = "trusted"
    NEVER = "never vouched for"
    FAR = "too far"
    EARLY = "not yet valid"
    THIN = "hangs on too few"
    REVOKED = "revoked"
    DISTRUSTED = "distrusted"
    EXPIRED = "expired"
    CUT = "cut"
    VOID = "void"
    EQUIVOCATED = "equivocated"
    RETIRED = "retired"


NEVER_WAS = frozenset({Reason.NEVER, Reason.FAR, Reason.EARLY, Reason.THIN})

_SENTENCES = {
    Reason.NEVER: "Nobody that is trusted here vouches for {agent} for {scope}.",
    Reason.FAR: "{agent} is vouched for, but further away than those in between allow.",
    Reason.EARLY: "{issuer}'s vouch for {subject} is not valid yet.",
    Reason.THIN: "Trust in {agent} would be lost with {witness}, and more independent vouches are asked for.",
    Reason.REVOKED: "{issuer} has revoked {subject}{note}.",
    Reason.DISTRUSTED: "{issuer} distrusts {subject}{note}.",
    Reason.EXPIRED: "{issuer}'s vouch for {subject} has expired.",
    Reason.CUT: "{issuer}'s vouch for {subject} came after the point up to which {issuer}'s vouches are accepted.",
    Reason.VOID: "{issuer}'s vouch for {subject} is void: its chain was taken back to before it.",
    Reason.EQUIVOCATED: "{issuer} has signed contradicting statements; its vouches count no more.",
    Reason.RETIRED: "{issuer} has retired its identity.",
}


@dataclass(frozen=True, slots=True)
class Broken:
    """The link of a former chain that is missing: whose vouch for whom, and the statement (id) that ended it,
    if any.
    """

    reason: Reason
    issuer: str
    subject: str
    cause: str | None = None
    note: str = ""


def short(agent: str) -> str:
    """The first digits of an agent id."""
    return agent[:8]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the root trusts `agent` for `scope`. `chain` is the path of vouches, root first; `budget` is B
    (-1: none).

    `broken`: what a former chain lacks. `witness`: agents without whom nothing is left (reason THIN).
    `behind`: agents on the chain that are known to have said more than is here: a revocation may be among it.
    """

    agent: str
    scope: str
    reason: Reason
    budget: int = -1
    chain: tuple[Edge, ...] = ()
    broken: Broken | None = None
    witness: frozenset[str] = frozenset()
    behind: tuple[str, ...] = ()

    @property
    def trusted(self) -> bool:
        return self.reason is Reason.TRUSTED

    def agents(self) -> tuple[str, ...]:
        """The chain as agents, root first, `agent` last; only the agent itself when it is the root or not
        trusted.
        """
        return (*(str(edge.issuer) for edge in self.chain), self.agent) if self.trusted else (self.agent,)

    def sentence(self, name: Callable[[str], str] = short) -> str:
        """For a person: the chain, or why there is none."""
        if self.trusted:
            return " → ".join(name(agent) for agent in self.agents())
        broken = self.broken
        return _SENTENCES[self.reason].format(
            agent=name(self.agent),
            scope=self.scope,
            issuer=name(broken.issuer) if broken else "",
            subject=name(broken.subject) if broken else "",
            note=f" ({broken.note})" if broken and broken.note else "",
            witness=" and ".join(sorted(name(agent) for agent in self.witness)),
        )

    def error(self, name: Callable[[str], str] = short) -> NotTrustedError:
        """To raise when not trusted: RevokedError when a chain was there once, else NotTrustedError."""
        kind = NotTrustedError if self.reason in NEVER_WAS else RevokedError
        return kind(self.sentence(name), advice="Ask somebody who is trusted there for a vouch.")
