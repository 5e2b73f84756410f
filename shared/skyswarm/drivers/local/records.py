"""The small record ports in SQLite, and the one import path of all of them.

Law: one method is one transaction of `database.py`; expiry is judged by the `now` it is given, rows that are past it
are swept on the way and never needed. Shares and notes are on the disk when acknowledged; the hash cache, nonces
and meters may lose their last second in a power cut.
"""

# ruff: noqa: S608 - what is put into SQL text here are constants of this file, never a value
from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from typing import Any

from skyswarm.drivers.local.database import Database
from skyswarm.drivers.local.records_statements import SqliteAnnouncements, SqliteStatements
from skyswarm.drivers.local.records_transfers import SqliteTransfers
from skyswarm.errors import ConflictError, QuotaError
from skyswarm.ports.records import Entry, HeldFile, Share
from skyswarm.ports.sizes import check

__all__ = [
    "SqliteAnnouncements",
    "SqliteHeld",
    "SqliteMeters",
    "SqliteNonces",
    "SqliteNotes",
    "SqliteShares",
    "SqliteStatements",
    "SqliteTransfers",
]

_SHARE_COLUMNS = tuple(one.name for one in fields(Share))
_SHARE = f"SELECT {', '.join(_SHARE_COLUMNS)} FROM shares WHERE agent = ?"
_HELD = "SELECT storage, key, version, size, content, pieces, extra FROM held WHERE agent = ?"
# An expired nonce is kept this long, so that a caller whose clock is behind still finds it.
_NONCE_SLACK = 600.0
_METER_SLACK = 86_400.0
_SWEEP_EVERY = 256


class SqliteShares:
    """The Shares port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, agent: str, share: Share) -> None:
        row = {**asdict(share), "audience": json.dumps(share.audience)}
        with self._database.write(durable=True) as connection:
            connection.execute(
                f"INSERT OR REPLACE INTO shares (agent, {', '.join(_SHARE_COLUMNS)}) "
                f"VALUES (?{', ?' * len(_SHARE_COLUMNS)})",
                (agent, *(row[name] for name in _SHARE_COLUMNS)),
            )

    def get(self, agent: str, manifest: str) -> Share | None:
        with self._database.read() as connection:
            row = connection.execute(f"{_SHARE} AND manifest = ?", (agent, manifest)).fetchone()
        return None if row is None else _share(row)

    def page(self, agent: str, after: str = "", limit: int = 100) -> list[Share]:
        with self._database.read() as connection:
            rows = connection.execute(
                f"{_SHARE} AND manifest > ? ORDER BY manifest LIMIT ?", (agent, after, limit)
            ).fetchall()
        return [_share(row) for row in rows]

    def delete(self, agent: str, manifest: str) -> None:
        with self._database.write(durable=True) as connection:
            connection.execute("DELETE FROM shares WHERE agent = ? AND manifest = ?", (agent, manifest))


def _share(row: tuple[Any, ...]) -> Share:
    values = dict(zip(_SHARE_COLUMNS, row, strict=True))
    values["audience"] = tuple(json.loads(values["audience"]))
    return Share(**values)


class SqliteHeld:
    """The Held port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, agent: str, rows: Sequence[HeldFile]) -> None:
        with self._database.write() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO held (agent, storage, key, version, size, content, pieces, extra) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        agent,
                        row.storage,
                        row.key,
                        row.version,
                        row.size,
                        row.content,
                        row.pieces,
                        row.extra_json,
                    )
                    for row in rows
                ],
            )

    def at(self, agent: str, storage: str, key: str, version: str) -> HeldFile | None:
        with self._database.read() as connection:
            row = connection.execute(
                f"{_HELD} AND storage = ? AND key = ? AND version = ?", (agent, storage, key, version)
            ).fetchone()
        return None if row is None else HeldFile(*row)

    def find(self, agent: str, content: str, limit: int = 10) -> list[HeldFile]:
        with self._database.read() as connection:
            rows = connection.execute(
                f"{_HELD} AND content = ? ORDER BY storage, key LIMIT ?", (agent, content, limit)
            ).fetchall()
        return [HeldFile(*row) for row in rows]


class SqliteNonces:
    """The Nonces port."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._uses = itertools.count(1)

    def use(self, agent: str, nonce: str, expires: float, now: float) -> bool:
        with self._database.write() as connection:
            if next(self._uses) % _SWEEP_EVERY == 0:
                connection.execute(
                    "DELETE FROM nonces WHERE agent = ? AND expires < ?", (agent, now - _NONCE_SLACK)
                )
            # A request is still good in the very second it expires, so its nonce must be, too.
            used = connection.execute(
                "INSERT INTO nonces (agent, nonce, expires) VALUES (?, ?, ?) "
                "ON CONFLICT (agent, nonce) DO UPDATE SET expires = excluded.expires WHERE nonces.expires < ?",
                (agent, nonce, expires, now),
            )
            return used.rowcount == 1


class SqliteMeters:
    """The Meters port."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._adds = itertools.count(1)

    def add(self, agent: str, meter: str, amount: int, limit: int, expires: float = 0) -> int:
        with self._database.write() as connection:
            if expires and next(self._adds) % _SWEEP_EVERY == 0:
                # No clock is needed: a window that ends now says what time it is.
                connection.execute(
                    "DELETE FROM meters WHERE agent = ? AND expires > 0 AND expires < ?",
                    (agent, expires - _METER_SLACK),
                )
            row = connection.execute(
                "SELECT total FROM meters WHERE agent = ? AND meter = ?", (agent, meter)
            ).fetchone()
            total = (row[0] if row is not None else 0) + amount
            if total > limit:
                raise QuotaError(f"{meter}: {amount} more would pass the limit of {limit}")
            connection.execute(
                "INSERT INTO meters (agent, meter, total, expires) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (agent, meter) DO UPDATE SET total = excluded.total",
                (agent, meter, total, expires),
            )
            return int(total)

    def read(self, agent: str, meter: str) -> int:
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT total FROM meters WHERE agent = ? AND meter = ?", (agent, meter)
            ).fetchone()
        return 0 if row is None else int(row[0])


class SqliteNotes:
    """The Notes port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, agent: str, key: str) -> Entry | None:
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT key, value, version FROM notes WHERE agent = ? AND key = ?", (agent, key)
            ).fetchone()
        return None if row is None else Entry(*row)

    def put(self, agent: str, entry: Entry) -> Entry:
        check(entry)
        with self._database.write(durable=True) as connection:
            if entry.version == 0:
                changed = connection.execute(
                    "INSERT INTO notes (agent, key, value, version) VALUES (?, ?, ?, 1) ON CONFLICT DO NOTHING",
                    (agent, entry.key, entry.value),
                )
            else:
                changed = connection.execute(
                    "UPDATE notes SET value = ?, version = version + 1 WHERE agent = ? AND key = ? AND version = ?",
                    (entry.value, agent, entry.key, entry.version),
                )
            if changed.rowcount != 1:
                raise ConflictError(f"{entry.key} has changed since it was read")
        return replace(entry, version=entry.version + 1)

    def page(self, agent: str, prefix: str, after: str = "", limit: int = 100) -> list[Entry]:
        # One lower end, not two: SQLite would begin at the prefix again for each page.
        begin = ("key > ?", after) if after >= prefix else ("key >= ?", prefix)
        with self._database.read() as connection:
            rows = connection.execute(
                f"SELECT key, value, version FROM notes WHERE agent = ? AND {begin[0]} AND key < ? "
                "ORDER BY key LIMIT ?",
                (agent, begin[1], _after_prefix(prefix), limit),
            ).fetchall()
        return [Entry(*row) for row in rows]

    def delete(self, agent: str, key: str) -> None:
        with self._database.write(durable=True) as connection:
            connection.execute("DELETE FROM notes WHERE agent = ? AND key = ?", (agent, key))


def _after_prefix(prefix: str) -> bytes | str:
    """The smallest value that sorts after every text that starts with `prefix` (a blob sorts after all texts)."""
    kept = prefix.rstrip("\U0010ffff")
    if not kept:
        return b""
    following = ord(kept[-1]) + 1
    return kept[:-1] + chr(0xE000 if following == 0xD800 else following)
