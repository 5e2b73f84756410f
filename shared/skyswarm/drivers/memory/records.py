"""The small record ports in memory, and the one import path of all of them. Nothing is kept.

Law: one lock around every method, so that each is one atomic step; expiry is judged by the `now` it is given.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from skyswarm.drivers.memory.statements import MemoryAnnouncements, MemoryStatements
from skyswarm.drivers.memory.transfers import MemoryTransfers
from skyswarm.errors import ConflictError, QuotaError
from skyswarm.ports.records import Entry, HeldFile, Share
from skyswarm.ports.sizes import check

__all__ = [
    "MemoryAnnouncements",
    "MemoryHeld",
    "MemoryMeters",
    "MemoryNonces",
    "MemoryNotes",
    "MemoryShares",
    "MemoryStatements",
    "MemoryTransfers",
]

# An expired nonce is kept this long, so that a caller whose clock is behind still finds it.
_NONCE_SLACK = 600.0
_METER_SLACK = 86_400.0
_SWEEP_EVERY = 256


class MemoryShares:
    """The Shares port."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: dict[str, dict[str, Share]] = defaultdict(dict)

    def put(self, agent: str, share: Share) -> None:
        with self._lock:
            self._rows[agent][share.manifest] = share

    def get(self, agent: str, manifest: str) -> Share | None:
        with self._lock:
            return self._rows[agent].get(manifest)

    def page(self, agent: str, after: str = "", limit: int = 100) -> list[Share]:
        with self._lock:
            rows = self._rows[agent]
            return [rows[key] for key in sorted(rows) if key > after][:limit]

    def delete(self, agent: str, manifest: str) -> None:
        with self._lock:
            self._rows[agent].pop(manifest, None)


class MemoryHeld:
    """The Held port."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: dict[str, dict[tuple[str, str], HeldFile]] = defaultdict(dict)
        self._contents: dict[tuple[str, str], set[tuple[str, str]]] = defaultdict(set)

    def put(self, agent: str, rows: Sequence[HeldFile]) -> None:
        with self._lock:
            mine = self._rows[agent]
            for row in rows:
                key = (row.storage, row.key)
                old = mine.get(key)
                if old is not None:
                    self._contents[agent, old.content].discard(key)
                mine[key] = row
                self._contents[agent, row.content].add(key)

    def at(self, agent: str, storage: str, key: str, version: str) -> HeldFile | None:
        with self._lock:
            row = self._rows[agent].get((storage, key))
        return row if row is not None and row.version == version else None

    def find(self, agent: str, content: str, limit: int = 10) -> list[HeldFile]:
        with self._lock:
            keys = sorted(self._contents.get((agent, content), ()))
            return [self._rows[agent][key] for key in keys[:limit]]


class MemoryNonces:
    """The Nonces port."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until: dict[tuple[str, str], float] = {}
        self._uses = 0

    def use(self, agent: str, nonce: str, expires: float, now: float) -> bool:
        with self._lock:
            self._uses += 1
            if self._uses % _SWEEP_EVERY == 0:
                self._until = {key: end for key, end in self._until.items() if end + _NONCE_SLACK >= now}
            old = self._until.get((agent, nonce))
            # A request is still good in the very second it expires, so its nonce must be, too.
            if old is not None and old >= now:
                return False
            self._until[agent, nonce] = expires
            return True


class MemoryMeters:
    """The Meters port."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sums: dict[tuple[str, str], int] = {}
        self._until: dict[tuple[str, str], float] = {}
        self._adds = 0

    def add(self, agent: str, meter: str, amount: int, limit: int, expires: float = 0) -> int:
        with self._lock:
            if expires:
                self._forget(agent, expires - _METER_SLACK)
                self._until.setdefault((agent, meter), expires)
            total = self._sums.get((agent, meter), 0) + amount
            if total > limit:
                raise QuotaError(f"{meter}: {amount} more would pass the limit of {limit}")
            self._sums[agent, meter] = total
            return total

    def read(self, agent: str, meter: str) -> int:
        with self._lock:
            return self._sums.get((agent, meter), 0)

    def _forget(self, agent: str, before: float) -> None:
        self._adds += 1
        if self._adds % _SWEEP_EVERY == 0:
            for key in [key for key, end in self._until.items() if key[0] == agent and end < before]:
                del self._until[key]
                self._sums.pop(key, None)


class MemoryNotes:
    """The Notes port."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: dict[str, dict[str, Entry]] = defaultdict(dict)

    def get(self, agent: str, key: str) -> Entry | None:
        with self._lock:
            return self._rows[agent].get(key)

    def put(self, agent: str, entry: Entry) -> Entry:
        check(entry)
        with self._lock:
            mine = self._rows[agent]
            old = mine.get(entry.key)
            if (old.version if old else 0) != entry.version:
                raise ConflictError(f"{entry.key} has changed since it was read")
            mine[entry.key] = replace(entry, version=entry.version + 1)
            return mine[entry.key]

    def page(self, agent: str, prefix: str, after: str = "", limit: int = 100) -> list[Entry]:
        with self._lock:
            mine = self._rows[agent]
            keys = sorted(key for key in mine if key.startswith(prefix) and key > after)
            return [mine[key] for key in keys[:limit]]

    def delete(self, agent: str, key: str) -> None:
        with self._lock:
            self._rows[agent].pop(key, None)
