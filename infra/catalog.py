"""Every function of Skyswarm, one row each: what starts it, what it may touch, what it weighs.

Law: standard library only, and no word of any one cloud but the names of packages: `infra/aws` and `infra/gcp`
translate these rows, `bundles.py` packs by them. What a function may touch is said here and nowhere else; a permission
that no row names does not exist.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["agent", "repository"]
Need = Literal[
    "records read",  # the tables behind ports/records.py
    "records write",
    "objects read",  # the agent's own side objects: pages, manifests, places
    "objects write",
    "files read",  # the person's files, to hash or to grant
    "files write",
    "files share",  # say who of other accounts may copy from the files
    "files of others",  # copy from storages of other accounts that let us
    "inbox read",  # dropped manifests
    "inbox write",  # statuses
    "moves send",
    "moves receive",
    "tasks send",
    "tasks receive",
    "key sign",
    "key rotate",
    "key make",
    "deployment write",  # which agent lives here: said once, when it is made
    "network out",  # other agents and repositories, over HTTPS
]
Trigger = Literal["http", "drop", "moves", "tasks", "schedule", "setup"]

SIGNED = ("pynacl", "cffi", "rfc8785")
"""Canonical JSON and Ed25519: whoever reads a statement needs them."""
OBSERVED = ("aws-lambda-powertools", "jmespath", "typing-extensions")
HASHED = ("awscrt",)
"""CRC-32C and CRC-64/NVME of pieces: 11 MB of native code, only where bytes of files pass."""


@dataclass(frozen=True, slots=True)
class Route:
    """A door's address below `/a/<agent>/v1/`; `rest`: what follows the action is part of the question."""

    method: Literal["GET", "POST"]
    action: str
    rest: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A function. `memory` in MiB, `timeout` in s. `kinds`: the use cases that its trigger brings. `on_agent`,
    `on_repository`: what it needs besides in a deployment of that role."""

    name: str
    does: str
    trigger: Trigger
    roles: tuple[Role, ...]
    memory: int
    timeout: int
    needs: tuple[Need, ...]
    routes: tuple[Route, ...] = ()
    kinds: tuple[str, ...] = ()
    packages: tuple[str, ...] = SIGNED
    on_agent: tuple[Need, ...] = ()
    on_repository: tuple[Need, ...] = ()

    @property
    def is_door(self) -> bool:
        """A peer waits for its answer."""
        return self.trigger == "http"

    def needs_as(self, role: Role) -> tuple[Need, ...]:
        """What it may touch in a deployment of this role."""
        return (*self.needs, *(self.on_repository if role == "repository" else self.on_agent))

    def routes_as(self, role: Role) -> tuple[Route, ...]:
        """Its addresses in a deployment of this role: an agent serves nothing but its status by GET."""
        if role == "repository":
            return self.routes
        return tuple(route for route in self.routes if route.method == "POST" or route.action == "status")


BOTH: tuple[Role, ...] = ("agent", "repository")
AGENT: tuple[Role, ...] = ("agent",)
REPOSITORY: tuple[Role, ...] = ("repository",)

CATALOG: tuple[Row, ...] = (
    Row(
        name="announce",
        does="takes announcements: who has what, and where to ask",
        trigger="http",
        roles=REPOSITORY,
        memory=512,
        timeout=10,
        needs=("records read", "records write"),
        routes=(Route("POST", "announce"),),
    ),
    Row(
        name="fetch_piece",
        does="answers who may read what with presigned addresses, or refuses",
        trigger="http",
        roles=AGENT,
        memory=512,
        timeout=15,
        needs=("records read", "records write", "objects read", "files read"),
        routes=(Route("POST", "fetch_piece"),),
    ),
    Row(
        name="vouch",
        does="takes vouches",
        trigger="http",
        roles=BOTH,
        memory=512,
        timeout=15,
        needs=("records read", "records write"),
        on_repository=("key sign",),
        routes=(Route("POST", "vouch"),),
    ),
    Row(
        name="revoke",
        does="takes revocations and distrust",
        trigger="http",
        roles=BOTH,
        memory=512,
        timeout=15,
        needs=("records read", "records write"),
        on_repository=("key sign",),
        routes=(Route("POST", "revoke"),),
    ),
    Row(
        name="receipt",
        does="countersigns what another agent says it got",
        trigger="http",
        roles=AGENT,
        memory=512,
        timeout=10,
        needs=("records read", "records write", "key sign"),
        routes=(Route("POST", "receipt"),),
    ),
    Row(
        name="read",
        does="tells its status; on a repository also what anybody may read there",
        trigger="http",
        roles=BOTH,
        memory=512,
        timeout=15,
        needs=("records read",),
        on_repository=("records write", "key sign"),  # a checkpoint is signed when it is asked for, and kept
        routes=(
            Route("GET", "status"),
            Route("GET", "lookup", rest=True),
            Route("GET", "statements"),
            Route("GET", "checkpoint"),
            Route("GET", "tile", rest=True),
        ),
    ),
    Row(
        name="drop",
        does="takes up a manifest that was dropped into the inbox",
        trigger="drop",
        roles=AGENT,
        memory=512,
        timeout=60,
        needs=(
            "records read",
            "records write",
            "objects read",
            "objects write",
            "inbox read",
            "inbox write",
            "tasks send",
        ),
        packages=(*SIGNED, *OBSERVED),
    ),
    Row(
        name="move",
        does="moves one batch: finds it held, has the provider copy it, or relays it",
        trigger="moves",
        roles=AGENT,
        memory=512,
        timeout=600,
        needs=(
            "records read",
            "records write",
            "objects read",
            "files read",
            "files write",
            "files of others",
            "moves receive",
            "moves send",
            "tasks send",
            "key sign",
            "network out",
        ),
        kinds=("move",),
        packages=(*SIGNED, *OBSERVED, *HASHED),
    ),
    Row(
        name="work",
        does="plans and settles transfers, publishes shares, exchanges receipts, synchronises with repositories",
        trigger="tasks",
        roles=AGENT,
        memory=1024,
        timeout=900,
        needs=(
            "records read",
            "records write",
            "objects read",
            "objects write",
            "files read",
            "files write",
            "files share",
            "inbox read",
            "inbox write",
            "moves send",
            "tasks receive",
            "tasks send",
            "key sign",
            "network out",
        ),
        kinds=("plan", "settle", "receipts", "sync", "publish"),
        packages=(*SIGNED, *OBSERVED, *HASHED),
    ),
    Row(
        name="sweep",
        does="every five minutes: announces again, looks what was lost on the way, expires",
        trigger="schedule",
        roles=BOTH,
        memory=512,
        timeout=300,
        needs=("records read", "records write"),
        # It starts what was dropped and missed, gives up uploads, and ends a rotation that was cut off.
        on_agent=(
            "objects read",
            "objects write",
            "inbox read",
            "inbox write",
            "files write",
            "moves send",
            "tasks send",
            "key sign",
            "key rotate",
        ),
        packages=(*SIGNED, *OBSERVED),
    ),
    Row(
        name="setup",
        does="once, when the deployment is made: keys and inception, so that no key ever leaves the cloud",
        trigger="setup",
        roles=BOTH,
        memory=512,
        timeout=60,
        needs=("records read", "records write", "deployment write", "key sign", "key make"),
        packages=(*SIGNED, *OBSERVED),
    ),
)
