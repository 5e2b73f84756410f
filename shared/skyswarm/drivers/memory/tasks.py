"""The Tasks port in memory: one process, nothing kept.

Law: one lock around every method; a receipt is good for one delivery only, so an old holder can do no harm.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from skyswarm.ports.work import Delivery, Task


@dataclass(slots=True)
class _Waiting:
    task: Task
    at: float
    due: float
    holder: str = ""
    attempt: int = 0


class MemoryTasks:
    """The Tasks port."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: dict[int, _Waiting] = {}
        self._next = 0

    def push(self, task: Task, at: float = 0.0) -> None:
        with self._lock:
            twin = self._twin(task, -1)
            if twin is not None:
                twin.at = twin.due = min(twin.due, at)
                return
            self._rows[self._next] = _Waiting(task, at, at)
            self._next += 1

    def pull(self, worker: str, now: float, lease: float, limit: int = 1) -> list[Delivery]:
        with self._lock:
            due = sorted((row.due, number) for number, row in self._rows.items() if row.due <= now)
            out = []
            for _, number in due[:limit]:
                row = self._rows[number]
                row.holder, row.due, row.attempt = worker, now + lease, row.attempt + 1
                out.append(Delivery(row.task, f"{number}.{row.attempt}", row.attempt, row.due))
            return out

    def extend(self, delivery: Delivery, until: float) -> None:
        with self._lock:
            row = self._held(delivery)
            if row is not None:
                row.due = until

    def done(self, delivery: Delivery) -> None:
        with self._lock:
            if self._held(delivery) is not None:
                del self._rows[self._number(delivery)]

    def later(self, delivery: Delivery, at: float) -> None:
        with self._lock:
            row = self._held(delivery)
            if row is None:
                return
            twin = self._twin(row.task, self._number(delivery))
            if twin is not None:
                twin.at = twin.due = min(twin.due, at)
                del self._rows[self._number(delivery)]
            else:
                row.holder, row.at, row.due = "", at, at

    def _twin(self, task: Task, other_than: int) -> _Waiting | None:
        """The waiting task of the same name. One in the hands of a worker may have begun: not counted."""
        if task.dedup:
            for number, row in self._rows.items():
                same = (row.task.agent, row.task.dedup) == (task.agent, task.dedup)
                if same and not row.holder and number != other_than:
                    return row
        return None

    def _held(self, delivery: Delivery) -> _Waiting | None:
        """The row when this is still its last delivery."""
        row = self._rows.get(self._number(delivery))
        return row if row is not None and row.holder and row.attempt == delivery.attempt else None

    @staticmethod
    def _number(delivery: Delivery) -> int:
        return int(delivery.receipt.partition(".")[0])
