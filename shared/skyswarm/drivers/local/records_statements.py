"""Statements and announcements in SQLite.

Law: one method, but the broom, is one transaction of `database.py`; own statements are on the disk before they are
acknowledged, announcements need not be (their issuers renew them).
"""

# ruff: noqa: S608 - what is put into SQL text here are constants of this file, never a value
from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence

from skyswarm.drivers.local.database import Database
from skyswarm.errors import ConflictError
from skyswarm.ports.records import AnnounceRow, StatementRow
from skyswarm.ports.sizes import check

_STATEMENT = "SELECT id, issuer, seq, kind, envelope, received, position FROM statements WHERE agent = ?"
_STROKE = 1000
_ANNOUNCE = "a.issuer, a.part, a.serial, a.expires, a.lookups, a.envelope"


class SqliteStatements:
    """The Statements port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(self, agent: str, rows: Sequence[StatementRow], *, once: bool = False) -> list[int]:
        for row in rows:
            check(row)
        with self._database.write(durable=True) as connection:
            return [_add(connection, agent, row, once) for row in rows]

    def extend(self, agent: str, row: StatementRow, beside: Collection[str] = ()) -> int:
        check(row)
        with self._database.write(durable=True) as connection:
            known = {
                one
                for (one,) in connection.execute(
                    "SELECT id FROM statements WHERE agent = ? AND issuer = ? AND seq = ?",
                    (agent, row.issuer, row.seq),
                )
            }
            if row.id not in known and known != set(beside):
                raise ConflictError(f"other statements than expected have number {row.seq} of {row.issuer}")
            return _add(connection, agent, row)

    def after(self, agent: str, position: int, limit: int) -> list[StatementRow]:
        with self._database.read() as connection:
            rows = connection.execute(
                f"{_STATEMENT} AND position >= ? ORDER BY position LIMIT ?", (agent, position, limit)
            ).fetchall()
        return [StatementRow(*row) for row in rows]

    def of(self, agent: str, issuer: str, seq: int = 0, limit: int = 1000) -> list[StatementRow]:
        with self._database.read() as connection:
            rows = connection.execute(
                f"{_STATEMENT} AND issuer = ? AND seq >= ? ORDER BY seq, position LIMIT ?",
                (agent, issuer, seq, limit),
            ).fetchall()
        return [StatementRow(*row) for row in rows]

    def since(self, agent: str, issuer: str, position: int, limit: int = 1_000_000) -> list[StatementRow]:
        with self._database.read() as connection:
            rows = connection.execute(
                f"{_STATEMENT} AND issuer = ? AND position >= ? ORDER BY position LIMIT ?",
                (agent, issuer, position, limit),
            ).fetchall()
        return [StatementRow(*row) for row in rows]

    def key_event(self, agent: str, issuer: str) -> StatementRow | None:
        with self._database.read() as connection:
            row = connection.execute(
                # In these very words, for SQLite to use the index over them.
                f"{_STATEMENT} AND issuer = ? AND kind IN ('inception', 'rotate', 'retire') "
                "ORDER BY seq DESC, position DESC LIMIT 1",
                (agent, issuer),
            ).fetchone()
        return None if row is None else StatementRow(*row)

    def count(self, agent: str) -> int:
        with self._database.read() as connection:
            return _next(connection, agent)


def _next(connection: sqlite3.Connection, agent: str) -> int:
    last = connection.execute("SELECT max(position) FROM statements WHERE agent = ?", (agent,)).fetchone()[0]
    return 0 if last is None else int(last) + 1


def _add(connection: sqlite3.Connection, agent: str, row: StatementRow, once: bool = False) -> int:
    old = connection.execute(
        "SELECT position FROM statements WHERE agent = ? AND id = ? AND (? OR envelope = ?) ORDER BY position",
        (agent, row.id, once, row.envelope),
    ).fetchone()
    if old is not None:
        return int(old[0])
    position = _next(connection, agent)
    connection.execute(
        "INSERT INTO statements (agent, position, id, issuer, seq, kind, envelope, received) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (agent, position, row.id, row.issuer, row.seq, row.kind, row.envelope, row.received),
    )
    return position


class SqliteAnnouncements:
    """The Announcements port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, agent: str, row: AnnounceRow) -> bool:
        check(row)
        key = (agent, row.issuer, row.part)
        with self._database.write() as connection:
            old = connection.execute(
                "SELECT serial, lookups FROM announcements WHERE agent = ? AND issuer = ? AND part = ?", key
            ).fetchone()
            if old is not None and row.serial <= old[0]:
                return False
            names = json.dumps(row.lookups)
            if old is None:
                connection.execute(
                    "INSERT INTO announcements (serial, expires, lookups, envelope, agent, issuer, part) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (row.serial, row.expires, names, row.envelope, *key),
                )
                _name(connection, agent, row, set(row.lookups))
                return True
            connection.execute(
                "UPDATE announcements SET serial = ?, expires = ?, lookups = ?, envelope = ? "
                "WHERE agent = ? AND issuer = ? AND part = ?",
                (row.serial, row.expires, names, row.envelope, *key),
            )
            if names != old[1]:  # a renewal names the same shares nearly always
                before = set(json.loads(old[1]))
                _forget(connection, agent, row.issuer, row.part, before.difference(row.lookups))
                _name(connection, agent, row, set(row.lookups) - before)
            return True

    def find(self, agent: str, lookup: str, now: float, limit: int = 50) -> list[AnnounceRow]:
        with self._database.read() as connection:
            rows = connection.execute(
                # CROSS JOIN keeps the order; the plus sign keeps SQLite off the index over `expires`, in which nearly
                # every announcement of all issuers is still to come.
                f"SELECT {_ANNOUNCE} FROM lookups l CROSS JOIN announcements a "
                "ON a.agent = l.agent AND a.issuer = l.issuer AND a.part = l.part "
                "WHERE l.agent = ? AND l.lookup = ? AND +a.expires > ? "
                "ORDER BY a.serial DESC, a.issuer, a.part LIMIT ?",
                (agent, lookup, now, limit),
            ).fetchall()
        return [_announce(row) for row in rows]

    def of(self, agent: str, issuer: str, now: float) -> list[AnnounceRow]:
        with self._database.read() as connection:
            rows = connection.execute(
                f"SELECT {_ANNOUNCE} FROM announcements a "
                "WHERE a.agent = ? AND a.issuer = ? AND +a.expires > ? ORDER BY a.part",
                (agent, issuer, now),
            ).fetchall()
        return [_announce(row) for row in rows]

    def sweep(self, agent: str, now: float) -> int:
        """Not in one transaction but in strokes, so that others can write in between."""
        swept = 0
        while True:
            with self._database.write() as connection:
                dead = connection.execute(
                    "DELETE FROM announcements WHERE rowid IN "
                    "(SELECT rowid FROM announcements WHERE agent = ? AND expires <= ? LIMIT ?) "
                    "RETURNING issuer, part, lookups",
                    (agent, now, _STROKE),
                ).fetchall()
                for issuer, part, lookups in dead:
                    _forget(connection, agent, issuer, part, set(json.loads(lookups)))
            swept += len(dead)
            if len(dead) < _STROKE:
                return swept


def _name(connection: sqlite3.Connection, agent: str, row: AnnounceRow, lookups: set[str]) -> None:
    connection.executemany(
        "INSERT INTO lookups (agent, lookup, issuer, part) VALUES (?, ?, ?, ?)",
        [(agent, lookup, row.issuer, row.part) for lookup in lookups],
    )


def _forget(connection: sqlite3.Connection, agent: str, issuer: str, part: int, lookups: set[str]) -> None:
    connection.executemany(
        "DELETE FROM lookups WHERE agent = ? AND lookup = ? AND issuer = ? AND part = ?",
        [(agent, lookup, issuer, part) for lookup in lookups],
    )


def _announce(row: tuple[str, int, int, int, str, bytes]) -> AnnounceRow:
    issuer, part, serial, expires, lookups, envelope = row
    return AnnounceRow(issuer, part, serial, expires, tuple(json.loads(lookups)), envelope)
