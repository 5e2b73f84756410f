"""Work to be done later or elsewhere: SQS, Cloud Tasks, or a table. Delivery is at least once, in any order.

Law: whoever performs a task can do so twice, or after another has begun it anew: a lease may end under its holder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from skyswarm.ports.sizes import fitting

MAX_TASK: Final = 64 * 1024
"""Bytes of a task's arguments, JSON in UTF-8. In a message of SQS (256 KiB) they may take three times that."""


@dataclass(frozen=True, slots=True)
class Task:
    """`kind` names a use case, `body_json` its arguments. `dedup`: while a task of that name waits at this agent,
    another is not added; the waiting one is then due at the earlier of both times. A task in the hands of a
    worker may have begun, so it does not count as waiting; given back, it merges into one that waits."""

    agent: str
    kind: str
    body_json: bytes
    dedup: str = ""

    def __post_init__(self) -> None:
        fitting(self.body_json, MAX_TASK)


@dataclass(frozen=True, slots=True)
class Delivery:
    """A task in the hands of a worker until `until`; `attempt` counts from 1."""

    task: Task
    receipt: str
    attempt: int
    until: float


class Tasks(Protocol):
    """A queue shared by all agents of a deployment."""

    def push(self, task: Task, at: float = 0.0) -> None:
        """Deliver not before `at` (Unix s; what is past means now), to the second. Durable once it returns."""
        ...

    def pull(self, worker: str, now: float, lease: float, limit: int = 1) -> list[Delivery]:
        """Take up to `limit` due tasks for `lease` seconds. A delivery that is not `done` by then comes again. What is
        due goes by the queue's own clock where it has one."""
        ...

    def extend(self, delivery: Delivery, until: float) -> None:
        """Hold it longer, at most 12 hours in all. An old holder is heard or not, but never harms: at worst what was
        delivered again in between is held longer too."""
        ...

    def done(self, delivery: Delivery) -> None:
        """Never deliver again. Idempotent. Silently nothing when it was delivered again in between; a queue may take an
        old holder's word that the work is done, for then it is."""
        ...

    def later(self, delivery: Delivery, at: float) -> None:
        """Give it back, due at `at`; silently nothing when it was delivered again in between. That it was given back
        counts as no failure, however often, but `attempt` goes on counting."""
        ...
