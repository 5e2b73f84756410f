"""Work to be done later or elsewhere: SQS, Cloud Tasks, or a table. Delivery is at least once, in any order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Task:
    """`kind` names a use case, `body_json` its arguments. `dedup`: while a task of that name waits at this agent,
    another is not added; the waiting one is then due at the earlier of both times. A task in the hands of a
    worker may have begun, so it does not count as waiting; given back, it merges into one that waits."""

    agent: str
    kind: str
    body_json: bytes
    dedup: str = ""


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
        """Deliver not before `at` (Unix s). Durable once it returns."""
        ...

    def pull(self, worker: str, now: float, lease: float, limit: int = 1) -> list[Delivery]:
        """Take up to `limit` due tasks for `lease` seconds. A delivery that is not `done` by then comes again."""
        ...

    def extend(self, delivery: Delivery, until: float) -> None:
        """Hold it longer. Silently nothing when it was delivered again in between."""
        ...

    def done(self, delivery: Delivery) -> None:
        """Never deliver again. Idempotent; silently nothing when it was delivered again in between."""
        ...

    def later(self, delivery: Delivery, at: float) -> None:
        """Give it back, due at `at`."""
        ...
