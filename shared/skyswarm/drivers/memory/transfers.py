"""Transfers, their batches and counters in memory: one process, nothing kept.

Law: one lock around every method, so that each is one atomic step; leases are judged by the `now` given.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace

from skyswarm.errors import AbsentError, ConflictError, LeaseLostError
from skyswarm.ports.records import Batch, Tally, Transfer
from skyswarm.ports.sizes import check, check_progress

_COUNTERS = tuple(one.name for one in fields(Tally))


def _sum(one: Tally, other: Tally) -> Tally:
    return Tally(*(getattr(one, name) + getattr(other, name) for name in _COUNTERS))


@dataclass(slots=True)
class _Work:
    batches: dict[int, Batch] = field(default_factory=dict)
    whole: Tally = field(default_factory=Tally)
    groups: dict[str, Tally] = field(default_factory=dict)

    def count(self, group: str, delta: Tally) -> None:
        self.groups[group] = _sum(self.groups.get(group, Tally()), delta)

    def held(self, number: int, holder: str) -> Batch:
        """The batch when `holder` has it now."""
        batch = self.batches.get(number)
        if batch is None or batch.done or batch.lease != holder:
            raise LeaseLostError(f"batch {number} is no longer held by {holder}")
        return batch


class MemoryTransfers:
    """The Transfers port."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._transfers: dict[str, dict[str, Transfer]] = defaultdict(dict)
        self._work: dict[tuple[str, str], _Work] = defaultdict(_Work)

    def put(self, agent: str, transfer: Transfer) -> Transfer:
        check(transfer)
        with self._lock:
            mine = self._transfers[agent]
            old = mine.get(transfer.id)
            if (old.version if old else 0) != transfer.version:
                raise ConflictError(f"transfer {transfer.id} has changed since it was read")
            mine[transfer.id] = replace(transfer, version=transfer.version + 1)
            return mine[transfer.id]

    def get(self, agent: str, transfer: str) -> Transfer | None:
        with self._lock:
            return self._transfers[agent].get(transfer)

    def page(self, agent: str, after: str = "", limit: int = 100) -> list[Transfer]:
        with self._lock:
            mine = self._transfers[agent]
            rows = sorted(mine.values(), key=lambda row: (row.created, row.id), reverse=True)
            if after:
                last = mine.get(after)
                rows = [] if last is None else rows[rows.index(last) + 1 :]
            return rows[:limit]

    def add(self, agent: str, transfer: str, batches: Sequence[Batch]) -> None:
        for batch in batches:
            check(batch)
        with self._lock:
            work = self._work[agent, transfer]
            for batch in batches:
                if batch.number not in work.batches:
                    work.batches[batch.number] = Batch(
                        batch.number, batch.group, batch.plan_json, progress_json=batch.progress_json
                    )
                    work.whole = _sum(work.whole, Tally(batches=1))
                    work.count(batch.group, Tally(batches=1))

    def lease(
        self, agent: str, transfer: str, number: int, holder: str, now: float, ttl: float
    ) -> Batch | None:
        with self._lock:
            batches = self._work[agent, transfer].batches
            batch = batches.get(number)
            if batch is None:
                raise AbsentError(f"there is no batch {number} in transfer {transfer}")
            if batch.done or (batch.lease not in ("", holder) and batch.lease_until > now):
                return None
            taken = replace(batch, lease=holder, lease_until=now + ttl, attempts=batch.attempts + 1)
            batches[number] = taken
            return taken

    def save(
        self, agent: str, transfer: str, number: int, holder: str, progress_json: bytes, until: float
    ) -> None:
        check_progress(progress_json)
        with self._lock:
            work = self._work[agent, transfer]
            batch = work.held(number, holder)
            work.batches[number] = replace(batch, progress_json=progress_json, lease_until=until)

    def release(self, agent: str, transfer: str, number: int, holder: str) -> None:
        with self._lock:
            batches = self._work[agent, transfer].batches
            batch = batches.get(number)
            if batch is not None and batch.lease == holder:
                batches[number] = replace(batch, lease="", lease_until=0.0)

    def finish(
        self, agent: str, transfer: str, number: int, holder: str, delta: Tally, others: Mapping[str, Tally]
    ) -> bool:
        with self._lock:
            work = self._work[agent, transfer]
            done = work.batches.get(number)
            if done is not None and done.done:
                return False
            batch = work.held(number, holder)
            work.batches[number] = replace(batch, done=True, lease="", lease_until=0.0)
            delta = replace(delta, done=1)
            work.whole = _sum(work.whole, delta)
            work.count(batch.group, delta)
            for group, other in others.items():
                work.count(group, other)
            return True

    def batch(self, agent: str, transfer: str, number: int) -> Batch | None:
        with self._lock:
            return self._work[agent, transfer].batches.get(number)

    def undone(self, agent: str, transfer: str, after: int = -1, limit: int = 100) -> list[Batch]:
        with self._lock:
            batches = self._work[agent, transfer].batches.values()
            rows = [batch for batch in batches if not batch.done and batch.number > after]
        return sorted(rows, key=lambda batch: batch.number)[:limit]

    def tally(self, agent: str, transfer: str, group: str | None = None) -> Tally:
        with self._lock:
            work = self._work[agent, transfer]
            return work.whole if group is None else work.groups.get(group, Tally())
