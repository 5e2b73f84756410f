"""Statements and announcements in memory: one process, nothing kept.

Law: one lock around every method, so that each is one atomic step; no clock, no files.
"""

from __future__ import annotations

import bisect
import threading
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from skyswarm.errors import ConflictError
from skyswarm.ports.records import AnnounceRow, StatementRow
from skyswarm.ports.sizes import check

_KEY_EVENTS = frozenset({"inception", "rotate", "retire"})


@dataclass(slots=True)
class _Log:
    rows: list[StatementRow] = field(default_factory=list)
    places: dict[tuple[str, bytes], int] = field(default_factory=dict)
    first: dict[str, int] = field(default_factory=dict)
    chains: dict[str, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    arrivals: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    def add(self, row: StatementRow, once: bool = False) -> int:
        position = self.first.get(row.id) if once else self.places.get((row.id, row.envelope))
        if position is None:
            position = len(self.rows)
            self.first.setdefault(row.id, position)
            self.rows.append(replace(row, position=position))
            self.places[row.id, row.envelope] = position
            bisect.insort(self.chains[row.issuer], (row.seq, position))
            self.arrivals[row.issuer].append(position)
        return position


class MemoryStatements:
    """The Statements port."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._logs: dict[str, _Log] = defaultdict(_Log)

    def append(self, agent: str, rows: Sequence[StatementRow], *, once: bool = False) -> list[int]:
        for row in rows:
            check(row)
        with self._lock:
            log = self._logs[agent]
            return [log.add(row, once) for row in rows]

    def extend(self, agent: str, row: StatementRow, beside: Collection[str] = ()) -> int:
        check(row)
        with self._lock:
            log = self._logs[agent]
            chain = log.chains[row.issuer]
            place = bisect.bisect_left(chain, (row.seq, -1))
            known = {log.rows[position].id for seq, position in chain[place:] if seq == row.seq}
            if row.id not in known and known != set(beside):
                raise ConflictError(f"other statements than expected have number {row.seq} of {row.issuer}")
            return log.add(row)

    def after(self, agent: str, position: int, limit: int) -> list[StatementRow]:
        with self._lock:
            start = max(position, 0)
            return self._logs[agent].rows[start : start + limit]

    def of(self, agent: str, issuer: str, seq: int = 0, limit: int = 1000) -> list[StatementRow]:
        with self._lock:
            log = self._logs[agent]
            chain = log.chains.get(issuer, [])
            start = bisect.bisect_left(chain, (seq, -1))
            return [log.rows[position] for _, position in chain[start : start + limit]]

    def since(self, agent: str, issuer: str, position: int, limit: int = 1_000_000) -> list[StatementRow]:
        with self._lock:
            log = self._logs[agent]
            arrived = log.arrivals.get(issuer, [])
            start = bisect.bisect_left(arrived, position)
            return [log.rows[one] for one in arrived[start : start + limit]]

    def key_event(self, agent: str, issuer: str) -> StatementRow | None:
        with self._lock:
            log = self._logs[agent]
            rows = (log.rows[position] for _, position in reversed(log.chains.get(issuer, [])))
            return next((row for row in rows if row.kind in _KEY_EVENTS), None)

    def count(self, agent: str) -> int:
        with self._lock:
            return len(self._logs[agent].rows)


class MemoryAnnouncements:
    """The Announcements port."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: dict[str, dict[tuple[str, int], AnnounceRow]] = defaultdict(dict)
        self._lookups: dict[tuple[str, str], set[tuple[str, int]]] = defaultdict(set)

    def put(self, agent: str, row: AnnounceRow) -> bool:
        check(row)
        with self._lock:
            rows, key = self._rows[agent], (row.issuer, row.part)
            old = rows.get(key)
            if old is not None:
                if row.serial <= old.serial:
                    return False
                self._forget(agent, old)
            rows[key] = row
            for lookup in row.lookups:
                self._lookups[agent, lookup].add(key)
            return True

    def find(self, agent: str, lookup: str, now: float, limit: int = 50) -> list[AnnounceRow]:
        with self._lock:
            rows = self._rows[agent]
            found = [rows[key] for key in self._lookups.get((agent, lookup), ())]
        live = [row for row in found if row.expires > now]
        live.sort(key=lambda row: (-row.serial, row.issuer, row.part))
        return live[:limit]

    def of(self, agent: str, issuer: str, now: float) -> list[AnnounceRow]:
        with self._lock:
            rows = [row for row in self._rows[agent].values() if row.issuer == issuer and row.expires > now]
        return sorted(rows, key=lambda row: row.part)

    def sweep(self, agent: str, now: float) -> int:
        with self._lock:
            dead = [row for row in self._rows[agent].values() if row.expires <= now]
            for row in dead:
                self._forget(agent, row)
            return len(dead)

    def _forget(self, agent: str, row: AnnounceRow) -> None:
        key = (row.issuer, row.part)
        del self._rows[agent][key]
        for lookup in set(row.lookups):
            holders = self._lookups[agent, lookup]
            holders.discard(key)
            if not holders:
                del self._lookups[agent, lookup]
