"""How many small conditional writes one process makes per second: what announces, nonces and quotas cost.

`run(folder)` prints one line per kind, with the same upsert in bare SQLite as the yardstick (one transaction each,
write-ahead log), and what waiting for the disk costs where the port promises it.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from skyswarm.drivers.local.database import Database
from skyswarm.drivers.local.records import (
    SqliteAnnouncements,
    SqliteMeters,
    SqliteNonces,
    SqliteStatements,
    SqliteTransfers,
)
from skyswarm.drivers.local.tasks import SqliteTasks
from skyswarm.ports.records import AnnounceRow, Batch, StatementRow, Tally
from skyswarm.ports.work import Task

AGENT = "a" * 64
ENVELOPE = bytes(1500)


def bare(path: Path) -> Callable[[int], object]:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute(
        "CREATE TABLE t (agent TEXT, key TEXT, value REAL, PRIMARY KEY (agent, key)) WITHOUT ROWID"
    )

    def step(number: int) -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(
            "INSERT OR REPLACE INTO t VALUES (?, ?, ?)", (AGENT, f"n{number * 7919 % 100_003}", 1.0)
        )
        connection.execute("COMMIT")

    return step


def kinds(database: Database) -> dict[str, tuple[int, Callable[[int], object]]]:
    announcements, nonces = SqliteAnnouncements(database), SqliteNonces(database)
    meters, statements = SqliteMeters(database), SqliteStatements(database)
    transfers, tasks = SqliteTransfers(database), SqliteTasks(database)
    lookups = [f"{number:043}" for number in range(8000 * 8)]

    def announce(number: int, serial: int) -> bool:
        mine = tuple(lookups[number * 8 : number * 8 + 8])
        return announcements.put(AGENT, AnnounceRow(f"{number:064}", 0, serial, 9_999, mine, ENVELOPE))

    def move(number: int) -> bool:
        transfers.lease(AGENT, "t", number, "w", 0, 60)
        return transfers.finish(AGENT, "t", number, "w", Tally(bytes=1), {"from:x": Tally(bytes=1)})

    def task(number: int) -> None:
        tasks.push(Task(AGENT, "move", b"{}"))
        tasks.done(tasks.pull("w", 1.0, 60.0)[0])

    transfers.add(AGENT, "t", [Batch(number, "g", bytes(2000)) for number in range(4000)])
    return {
        "nonce": (8000, lambda n: nonces.use(AGENT, f"{n * 7919 % 100_003:022}", n / 100 + 60, n / 100)),
        "meter": (8000, lambda n: meters.add(AGENT, f"asks/{n % 500}", 1, 1 << 40, 60.0)),
        "announce, first (8 look-ups)": (8000, lambda n: announce(n, 1)),
        "announce, renewed": (8000, lambda n: announce(n, 2)),
        "batch leased and finished": (4000, move),
        "statement, on the disk": (1000, lambda n: statements.extend(AGENT, _statement(n))),
        "task pushed on the disk, pulled, done": (1000, task),
    }


def _statement(number: int) -> StatementRow:
    return StatementRow(f"{number:064}", AGENT, number, "vouch", ENVELOPE, 0.0)


def per_second(count: int, step: Callable[[int], object]) -> float:
    start = time.perf_counter()
    for number in range(count):
        step(number)
    return count / (time.perf_counter() - start)


def run(workdir: Path) -> dict[str, float]:
    """Writes per second by kind, printed as they are measured; the files are left in `workdir`."""
    rates = {"bare SQLite upsert": per_second(8000, bare(workdir / "bare.db"))}
    database = Database(workdir / "records.db")
    for name, (count, step) in kinds(database).items():
        rates[name] = per_second(count, step)
    database.close()
    yardstick = rates["bare SQLite upsert"]
    for name, rate in rates.items():
        print(f"records  {name:<40} {rate:>9,.0f}/s   {rate / yardstick:5.2f} of the bare upsert")
    return rates


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as folder:
        run(Path(folder))
