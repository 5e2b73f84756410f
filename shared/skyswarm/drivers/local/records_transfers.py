"""Transfers, their batches and counters in SQLite.

Law: one method is one transaction; a batch's state and the counters it feeds change in the same one. A power cut may
forget the last leases and finishes, never half of one: those batches are then found undone and their pieces present.
"""

# ruff: noqa: S608 - what is put into SQL text here are constants of this file, never a value
from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import astuple, fields, replace

from skyswarm.drivers.local.database import Database
from skyswarm.errors import AbsentError, ConflictError, LeaseLostError
from skyswarm.ports.records import Batch, Tally, Transfer
from skyswarm.ports.sizes import check, check_progress

_TRANSFER = "SELECT id, state, created, doc, version FROM transfers WHERE agent = ?"
_BATCH = (
    "SELECT b.number, b.team, p.plan, b.done, b.lease, b.lease_until, b.attempts, b.progress "
    "FROM batches b JOIN plans p ON p.agent = b.agent AND p.transfer = b.transfer AND p.number = b.number "
    "WHERE b.agent = ? AND b.transfer = ?"
)
_ONE = "agent = ? AND transfer = ? AND number = ?"
_COUNTERS = tuple(one.name for one in fields(Tally))
_COUNT = (
    f"INSERT INTO tallies (agent, transfer, scope, {', '.join(_COUNTERS)}) "
    f"VALUES (?, ?, ?{', ?' * len(_COUNTERS)}) ON CONFLICT (agent, transfer, scope) DO UPDATE SET "
    + ", ".join(f"{name} = {name} + excluded.{name}" for name in _COUNTERS)
)
_WHOLE = "all"


def _group(name: str) -> str:
    return f"group:{name}"


class SqliteTransfers:
    """The Transfers port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, agent: str, transfer: Transfer) -> Transfer:
        check(transfer)
        row = (transfer.state, transfer.created, transfer.doc_json)
        with self._database.write(durable=True) as connection:
            if transfer.version == 0:
                changed = connection.execute(
                    "INSERT INTO transfers (agent, id, state, created, doc, version) VALUES (?, ?, ?, ?, ?, 1) "
                    "ON CONFLICT DO NOTHING",
                    (agent, transfer.id, *row),
                )
            else:
                changed = connection.execute(
                    "UPDATE transfers SET state = ?, created = ?, doc = ?, version = version + 1 "
                    "WHERE agent = ? AND id = ? AND version = ?",
                    (*row, agent, transfer.id, transfer.version),
                )
            if changed.rowcount != 1:
                raise ConflictError(f"transfer {transfer.id} has changed since it was read")
        return replace(transfer, version=transfer.version + 1)

    def get(self, agent: str, transfer: str) -> Transfer | None:
        with self._database.read() as connection:
            row = connection.execute(f"{_TRANSFER} AND id = ?", (agent, transfer)).fetchone()
        return None if row is None else Transfer(*row)

    def page(self, agent: str, after: str = "", limit: int = 100) -> list[Transfer]:
        newest = "ORDER BY created DESC, id DESC LIMIT ?"
        with self._database.read() as connection:
            if not after:
                rows = connection.execute(f"{_TRANSFER} {newest}", (agent, limit)).fetchall()
            else:
                rows = connection.execute(
                    f"{_TRANSFER} AND (created, id) < "
                    f"(SELECT created, id FROM transfers WHERE agent = ? AND id = ?) {newest}",
                    (agent, agent, after, limit),
                ).fetchall()
        return [Transfer(*row) for row in rows]

    def add(self, agent: str, transfer: str, batches: Sequence[Batch]) -> None:
        for batch in batches:
            check(batch)
        with self._database.write() as connection:
            new: dict[str, int] = {}
            for batch in batches:
                added = connection.execute(
                    "INSERT INTO batches (agent, transfer, number, team, progress) VALUES (?, ?, ?, ?, ?) "
                    "ON CONFLICT DO NOTHING",
                    (agent, transfer, batch.number, batch.group, batch.progress_json),
                )
                if added.rowcount == 1:
                    connection.execute(
                        "INSERT INTO plans (agent, transfer, number, plan) VALUES (?, ?, ?, ?)",
                        (agent, transfer, batch.number, batch.plan_json),
                    )
                    new[batch.group] = new.get(batch.group, 0) + 1
            for group, count in new.items():
                _count(connection, agent, transfer, _group(group), Tally(batches=count))
            if new:
                _count(connection, agent, transfer, _WHOLE, Tally(batches=sum(new.values())))

    def lease(
        self, agent: str, transfer: str, number: int, holder: str, now: float, ttl: float
    ) -> Batch | None:
        with self._database.write() as connection:
            taken = connection.execute(
                f"UPDATE batches SET lease = ?, lease_until = ?, attempts = attempts + 1 WHERE {_ONE} "
                "AND done = 0 AND (lease IN ('', ?) OR lease_until <= ?)",
                (holder, now + ttl, agent, transfer, number, holder, now),
            )
            batch = _batch(connection, agent, transfer, number)
            if batch is None:
                raise AbsentError(f"there is no batch {number} in transfer {transfer}")
            return batch if taken.rowcount == 1 else None

    def save(
        self, agent: str, transfer: str, number: int, holder: str, progress_json: bytes, until: float
    ) -> None:
        check_progress(progress_json)
        with self._database.write() as connection:
            saved = connection.execute(
                f"UPDATE batches SET progress = ?, lease_until = ? WHERE {_ONE} AND done = 0 AND lease = ?",
                (progress_json, until, agent, transfer, number, holder),
            )
            if saved.rowcount != 1:
                raise LeaseLostError(f"batch {number} is no longer held by {holder}")

    def release(self, agent: str, transfer: str, number: int, holder: str) -> None:
        with self._database.write() as connection:
            connection.execute(
                f"UPDATE batches SET lease = '', lease_until = 0 WHERE {_ONE} AND lease = ?",
                (agent, transfer, number, holder),
            )

    def finish(
        self, agent: str, transfer: str, number: int, holder: str, delta: Tally, others: Mapping[str, Tally]
    ) -> bool:
        with self._database.write() as connection:
            row = connection.execute(
                f"SELECT team, done, lease FROM batches WHERE {_ONE}", (agent, transfer, number)
            ).fetchone()
            if row is not None and row[1]:
                return False
            if row is None or row[2] != holder:
                raise LeaseLostError(f"batch {number} is no longer held by {holder}")
            connection.execute(
                f"UPDATE batches SET done = 1, lease = '', lease_until = 0 WHERE {_ONE}",
                (agent, transfer, number),
            )
            delta = replace(delta, done=1)
            _count(connection, agent, transfer, _WHOLE, delta)
            _count(connection, agent, transfer, _group(row[0]), delta)
            for group, other in others.items():
                _count(connection, agent, transfer, _group(group), other)
            return True

    def batch(self, agent: str, transfer: str, number: int) -> Batch | None:
        with self._database.read() as connection:
            return _batch(connection, agent, transfer, number)

    def undone(self, agent: str, transfer: str, after: int = -1, limit: int = 100) -> list[Batch]:
        with self._database.read() as connection:
            rows = connection.execute(
                f"{_BATCH} AND b.done = 0 AND b.number > ? ORDER BY b.number LIMIT ?",
                (agent, transfer, after, limit),
            ).fetchall()
        return [_of(row) for row in rows]

    def tally(self, agent: str, transfer: str, group: str | None = None) -> Tally:
        with self._database.read() as connection:
            row = connection.execute(
                f"SELECT {', '.join(_COUNTERS)} FROM tallies WHERE agent = ? AND transfer = ? AND scope = ?",
                (agent, transfer, _WHOLE if group is None else _group(group)),
            ).fetchone()
        return Tally() if row is None else Tally(*row)

    def reclaim(self, alive: str) -> int:
        """Give back the leases of every holder that is not `<alive>/…`, of all agents; returns how many.

        Only for the one process that serves this home (`home.py` lock): then every other holder is surely dead.
        """
        prefix = alive + "/"
        with self._database.write() as connection:
            freed = connection.execute(
                "UPDATE batches SET lease = '', lease_until = 0 WHERE lease <> '' AND substr(lease, 1, ?) <> ?",
                (len(prefix), prefix),
            )
            return freed.rowcount


def _count(connection: sqlite3.Connection, agent: str, transfer: str, scope: str, delta: Tally) -> None:
    connection.execute(_COUNT, (agent, transfer, scope, *astuple(delta)))


def _batch(connection: sqlite3.Connection, agent: str, transfer: str, number: int) -> Batch | None:
    row = connection.execute(f"{_BATCH} AND b.number = ?", (agent, transfer, number)).fetchone()
    return None if row is None else _of(row)


def _of(row: tuple[int, str, bytes, int, str, float, int, bytes]) -> Batch:
    number, group, plan, done, lease, until, attempts, progress = row
    return Batch(number, group, plan, bool(done), lease, until, attempts, progress)
