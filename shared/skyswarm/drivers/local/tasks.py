"""The Tasks port in SQLite: one durable table, visibility by lease.

Law: one method is one transaction. A receipt names one delivery of one task, so an old holder can do no harm.
`due` is when a task may be delivered (again); `at` is when it was asked for, which `reclaim` goes back to.
"""

# ruff: noqa: S608 - what is put into SQL text here are constants of this file, never a value
from __future__ import annotations

import os
import sqlite3

from skyswarm.drivers.local.database import Database
from skyswarm.ports.work import Delivery, Task

_HELD = "agent = ? AND id = ? AND attempt = ? AND holder <> ''"


class SqliteTasks:
    """The Tasks port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def push(self, task: Task, at: float = 0.0) -> None:
        with self._database.write(durable=True) as connection:
            if not _merged(connection, task, at):
                connection.execute(
                    "INSERT INTO tasks (agent, id, kind, body, dedup, at, due) VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (task.agent, os.urandom(16).hex(), task.kind, task.body_json, task.dedup, at, at),
                )

    def pull(self, worker: str, now: float, lease: float, limit: int = 1) -> list[Delivery]:
        with self._database.read() as connection:
            if connection.execute("SELECT 1 FROM tasks WHERE due <= ? LIMIT 1", (now,)).fetchone() is None:
                return []  # an idle worker asks often and must not lock the file for it
        with self._database.write() as connection:
            rows = connection.execute(
                "SELECT agent, id, kind, body, dedup, attempt FROM tasks WHERE due <= ? ORDER BY due, rowid LIMIT ?",
                (now, limit),
            ).fetchall()
            connection.executemany(
                "UPDATE tasks SET holder = ?, due = ?, attempt = attempt + 1 WHERE agent = ? AND id = ?",
                [(worker, now + lease, agent, key) for agent, key, *_ in rows],
            )
        return [
            Delivery(Task(agent, kind, body, dedup), f"{key}.{attempt + 1}", attempt + 1, now + lease)
            for agent, key, kind, body, dedup, attempt in rows
        ]

    def extend(self, delivery: Delivery, until: float) -> None:
        with self._database.write() as connection:
            connection.execute(f"UPDATE tasks SET due = ? WHERE {_HELD}", (until, *_key(delivery)))

    def done(self, delivery: Delivery) -> None:
        with self._database.write() as connection:
            connection.execute(f"DELETE FROM tasks WHERE {_HELD}", _key(delivery))

    def later(self, delivery: Delivery, at: float) -> None:
        key = _key(delivery)
        with self._database.write(durable=True) as connection:
            if connection.execute(f"SELECT 1 FROM tasks WHERE {_HELD}", key).fetchone() is None:
                return
            if _merged(connection, delivery.task, at):
                connection.execute(f"DELETE FROM tasks WHERE {_HELD}", key)
            else:
                connection.execute(
                    f"UPDATE tasks SET holder = '', at = ?, due = ? WHERE {_HELD}", (at, at, *key)
                )

    def reclaim(self, alive: str) -> int:
        """Give back what every worker that is not `<alive>/…` holds, of all agents; returns how many.

        Only for the one process that serves this home (`home.py` lock): then every other worker is surely dead.
        """
        prefix = alive + "/"
        with self._database.write() as connection:
            freed = connection.execute(
                "UPDATE tasks SET holder = '', due = at WHERE holder <> '' AND substr(holder, 1, ?) <> ?",
                (len(prefix), prefix),
            )
            return freed.rowcount


def _merged(connection: sqlite3.Connection, task: Task, at: float) -> bool:
    """True when a task of that name waits (nobody has it): it is then due at the earlier time of both."""
    if not task.dedup:
        return False
    return (
        connection.execute(
            "UPDATE tasks SET at = min(due, ?), due = min(due, ?) "
            "WHERE agent = ? AND dedup = ? AND dedup <> '' AND holder = ''",
            (at, at, task.agent, task.dedup),
        ).rowcount
        > 0
    )


def _key(delivery: Delivery) -> tuple[str, str, int]:
    return (delivery.task.agent, delivery.receipt.partition(".")[0], delivery.attempt)
