"""The SQLite file itself: what it promises beneath every port, and how each failure of it is told."""

from __future__ import annotations

import contextlib
import os
import resource
import sqlite3
import stat
import subprocess
import threading
from pathlib import Path

import pytest

from skyswarm.drivers.local import schema
from skyswarm.drivers.local.database import Database
from skyswarm.drivers.local.records import (
    SqliteAnnouncements,
    SqliteMeters,
    SqliteNonces,
    SqliteNotes,
    SqliteTransfers,
)
from skyswarm.drivers.local.tasks import SqliteTasks
from skyswarm.errors import (
    BackendError,
    ConflictError,
    ForbiddenError,
    QuotaError,
    StorageFullError,
    UnavailableError,
)
from skyswarm.ports.records import AnnounceRow, Batch, Entry
from skyswarm.ports.sizes import MAX_VALUE
from skyswarm.ports.work import Task
from tests.support.racing import race


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "agent.db"


# ---- the file --------------------------------------------------------------------------------
def test_only_the_owner_may_read_the_file_and_what_stands_beside_it(path: Path) -> None:
    database = Database(path)
    SqliteNotes(database).put("a", Entry("k", b"v"))
    names = sorted(entry.name for entry in path.parent.iterdir())
    assert names == ["agent.db", "agent.db-shm", "agent.db-wal"]
    assert {stat.S_IMODE(entry.stat().st_mode) for entry in path.parent.iterdir()} == {0o600}
    database.close()
    assert [entry.name for entry in path.parent.iterdir()] == ["agent.db"]


def test_what_was_written_is_there_when_it_is_opened_again(path: Path) -> None:
    database = Database(path)
    note = SqliteNotes(database).put("a", Entry("k", b"v"))
    database.close()
    again = Database(path)
    assert SqliteNotes(again).get("a", "k") == note
    assert again.check() == []
    again.close()


def test_every_primary_key_begins_with_the_agent(path: Path) -> None:
    database = Database(path)
    with database.read() as connection:
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        keys = {
            table: [row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[5] == 1]
            for table in tables
        }
    database.close()
    assert len(keys) >= 13
    assert set(map(tuple, keys.values())) == {("agent",)}


def test_a_query_of_every_port_uses_an_index(path: Path) -> None:
    """No method may get slower with what other agents, or finished transfers, have left in the file."""
    database = Database(path)
    seen: list[str] = []
    with database.read() as connection:
        connection.set_trace_callback(seen.append)
    transfers, notes, tasks = SqliteTransfers(database), SqliteNotes(database), SqliteTasks(database)
    transfers.add("a", "t", [Batch(0, "g", b"")])
    transfers.page("a", after="t")
    transfers.lease("a", "t", 0, "w", 0, 1)
    transfers.undone("a", "t")
    transfers.reclaim("w")
    notes.page("a", "p/", after="p/x")
    tasks.push(Task("a", "k", b"", "d"))
    tasks.later(tasks.pull("w", 0, 1)[0], 5)
    tasks.reclaim("w")
    with database.read() as connection:
        connection.set_trace_callback(None)
        queries = [one for one in seen if one.startswith(("SELECT", "UPDATE", "DELETE"))]
        plans = [row[3] for one in queries for row in connection.execute(f"EXPLAIN QUERY PLAN {one}")]
    database.close()
    assert len(queries) >= 12
    assert not [plan for plan in plans if plan.startswith("SCAN") and "USING" not in plan]
    assert not [plan for plan in plans if "TEMP B-TREE" in plan]


def test_an_announcement_is_looked_up_without_reading_those_of_all_others(path: Path) -> None:
    """SQLite, left alone, takes the index over their ends: nearly all of them have not ended."""
    database = Database(path)
    announcements = SqliteAnnouncements(database)
    seen: list[str] = []
    with database.read() as connection:
        connection.set_trace_callback(seen.append)
    announcements.find("a", "look", now=1)
    announcements.of("a", "issuer", now=1)
    with database.read() as connection:
        connection.set_trace_callback(None)
        plans = [[row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {one}")] for one in seen]
    database.close()
    assert "(agent=? AND lookup=?)" in plans[0][0] and "(agent=? AND issuer=? AND part=?)" in plans[0][1]
    assert "(agent=? AND issuer=?)" in plans[1][0]


def test_the_last_page_of_notes_costs_no_more_than_the_first(path: Path) -> None:
    database = Database(path)
    notes = SqliteNotes(database)
    with database.write() as connection:
        rows = [("a", f"p/{number:05}", b"", 1) for number in range(5000)]
        connection.executemany("INSERT INTO notes VALUES (?, ?, ?, ?)", rows)
    steps: list[int] = []

    def step() -> int:
        steps.append(1)
        return 0

    with database.read() as connection:
        connection.set_progress_handler(step, 100)
    assert len(notes.page("a", "p/")) == 100
    first = len(steps)
    assert len(notes.page("a", "p/", after="p/04899")) == 100
    last = len(steps) - first
    with database.read() as connection:
        connection.set_progress_handler(None, 0)
    database.close()
    assert 0 < last <= 2 * first


# ---- its schema ------------------------------------------------------------------------------
def test_a_file_of_a_newer_version_is_left_alone(path: Path) -> None:
    Database(path).close()
    with sqlite3.connect(path) as raw:
        raw.execute("PRAGMA user_version = 999")
    raw.close()
    before = path.read_bytes()
    with pytest.raises(BackendError, match=r"newer Skyswarm.*Upgrade"):
        Database(path)
    assert path.read_bytes() == before


def test_a_file_of_an_older_version_is_brought_forward_with_its_rows(path: Path) -> None:
    database = Database(path)
    note = SqliteNotes(database).put("a", Entry("k", b"v"))
    newer = (*schema.MIGRATIONS, ("ALTER TABLE notes ADD COLUMN colour TEXT NOT NULL DEFAULT 'grey'",))
    for _ in range(2):  # the second time there is nothing left to do
        with database.write() as connection:
            schema.migrate(connection, path, newer)
    with database.read() as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(newer),)
        assert connection.execute("SELECT colour FROM notes").fetchall() == [("grey",)]
    assert SqliteNotes(database).get("a", "k") == note
    database.close()


def test_a_migration_that_fails_leaves_the_older_version_whole(path: Path) -> None:
    database = Database(path)
    newer = (*schema.MIGRATIONS, ("ALTER TABLE notes ADD COLUMN colour TEXT", "CREATE TABLE notes (x)"))
    with pytest.raises(BackendError), database.write() as connection:
        schema.migrate(connection, path, newer)
    with database.read() as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(schema.MIGRATIONS),)
        assert "colour" not in [row[1] for row in connection.execute("PRAGMA table_info(notes)")]
    database.close()


# ---- its transactions ------------------------------------------------------------------------
def test_a_step_that_raises_leaves_nothing(path: Path) -> None:
    database = Database(path)
    for mistake in (ConflictError("x"), ValueError("x"), KeyboardInterrupt()):
        with pytest.raises(type(mistake)), database.write(durable=True) as connection:
            connection.execute("INSERT INTO meters VALUES ('a', 'm', 1, 0)")
            raise mistake
    assert SqliteMeters(database).read("a", "m") == 0
    assert SqliteMeters(database).add("a", "m", 1, 5) == 1
    database.close()


def test_a_durable_step_waits_for_the_disk_and_the_next_does_not(path: Path) -> None:
    full, normal = (2,), (1,)
    database = Database(path)
    with database.write(durable=True) as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == full
    with pytest.raises(ConflictError), database.write(durable=True):
        raise ConflictError("lost")
    with database.write() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == normal
    database.close()


def test_threads_wait_for_each_other_and_lose_nothing(path: Path) -> None:
    database = Database(path)
    meters = SqliteMeters(database)
    race([lambda: [meters.add("a", "m", 1, 10_000) for _ in range(50)]] * 8)
    assert meters.read("a", "m") == 400
    database.close()


def test_nonces_and_windowed_meters_do_not_pile_up(path: Path) -> None:
    database = Database(path)
    nonces, meters = SqliteNonces(database), SqliteMeters(database)
    for number in range(4000):
        nonces.use("a", f"n{number}", expires=number + 60, now=number)
        meters.add("a", f"asks/{number}", 1, 5, expires=number * 100)
    with database.read() as connection:
        assert connection.execute("SELECT count(*) FROM nonces").fetchone()[0] < 1200
        assert connection.execute("SELECT count(*) FROM meters").fetchone()[0] < 1200
    database.close()


# ---- its failures ----------------------------------------------------------------------------
def test_a_file_that_another_process_keeps_locked_is_unavailable(path: Path) -> None:
    holder, waiter = Database(path), Database(path, busy=0.05)
    with holder.write():
        with pytest.raises(UnavailableError, match="busy"):
            SqliteMeters(waiter).add("a", "m", 1, 5)
        assert SqliteMeters(waiter).read("a", "m") == 0  # readers never wait
    assert SqliteMeters(waiter).add("a", "m", 1, 5) == 1
    holder.close()
    waiter.close()


def test_a_writer_that_another_thread_keeps_waiting_is_unavailable(path: Path) -> None:
    database = Database(path, busy=0.05)
    taken, free = threading.Event(), threading.Event()

    def hold() -> None:
        with database.write():
            taken.set()
            assert free.wait(30)

    def ask() -> None:
        assert taken.wait(30)
        try:
            SqliteMeters(database).add("a", "m", 1, 5)
        finally:
            free.set()

    results = race([hold, ask])
    assert isinstance(results[1], UnavailableError)
    database.close()


def test_a_full_disk_is_told_and_loses_nothing(path: Path) -> None:
    database = Database(path)
    notes = SqliteNotes(database)
    kept = notes.put("a", Entry("kept", b"v"))
    with database.read() as connection:  # the next call uses the same connection: there is no other
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(StorageFullError):
        notes.put("a", Entry("big", bytes(MAX_VALUE)))
    assert notes.get("a", "big") is None
    assert notes.get("a", "kept") == kept
    assert notes.put("a", Entry("big", bytes(MAX_VALUE))).version == 1  # there is room again
    database.close()


def test_a_disk_too_full_to_read_is_told_as_full(path: Path) -> None:
    database = Database(path)
    kept = SqliteNotes(database).put("a", Entry("kept", b"v"))
    database.close()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16 << 10, hard))  # the log's index takes 32 KiB
    try:
        with pytest.raises(StorageFullError, match=r"no space left .* Free some space"):
            Database(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    database = Database(path)
    assert SqliteNotes(database).get("a", "kept") == kept
    database.close()


def test_a_failure_to_write_with_room_on_the_disk_is_not_told_as_full(path: Path) -> None:
    database = Database(path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(BackendError, match="SQLITE_IOERR_WRITE") as caught:
            for number in range(8):
                SqliteNotes(database).put("a", Entry(f"big {number}", bytes(256 << 10)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not isinstance(caught.value, StorageFullError)
    database.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_small_disk_that_others_fill_stops_nothing_for_good(tmp_path: Path) -> None:
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", tmp_path], check=False).returncode:
        pytest.skip("this container may not mount")
    try:
        database = Database(tmp_path / "agent.db")
        SqliteNotes(database).put("a", Entry("kept", b"v"))
        database.close()
        with (
            pytest.raises(OSError, match="No space"),
            (tmp_path / "filler").open("wb", buffering=0) as filler,
        ):
            while filler.write(bytes(4096)):
                pass
        with pytest.raises(StorageFullError):
            Database(tmp_path / "agent.db")
        (tmp_path / "filler").unlink()
        database = Database(tmp_path / "agent.db")
        assert SqliteNotes(database).get("a", "kept") is not None
        database.close()
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)


@pytest.mark.parametrize("damage", [b"this is no database at all" * 500, None])
def test_a_damaged_file_is_told_with_advice(path: Path, damage: bytes | None) -> None:
    database = Database(path)
    notes = SqliteNotes(database)
    for number in range(200):
        notes.put("a", Entry(f"k{number}", bytes(500)))
    database.close()
    data = path.read_bytes()
    path.write_bytes(damage if damage is not None else data[:4096] + os.urandom(len(data) - 4096))
    with pytest.raises(BackendError, match=r"damaged.*doctor"), contextlib.ExitStack() as stack:
        again = Database(path)
        stack.callback(again.close)
        SqliteNotes(again).page("a", "")


def test_a_quiet_damage_is_found_by_the_check(path: Path) -> None:
    database = Database(path)
    for number in range(200):
        SqliteNotes(database).put("a", Entry(f"k{number}", bytes(500)))
    database.close()
    data = bytearray(path.read_bytes())
    data[-4096:] = bytes(4096)
    path.write_bytes(data)
    again = Database(path)
    assert again.check() != []
    again.close()


def test_a_folder_that_is_not_there_or_a_link_in_its_place(tmp_path: Path) -> None:
    with pytest.raises(BackendError):
        Database(tmp_path / "absent" / "agent.db")
    (tmp_path / "folder.db").mkdir()
    with pytest.raises((BackendError, ForbiddenError)):
        Database(tmp_path / "folder.db")


def test_a_closed_database_says_that_the_agent_is_stopping(path: Path) -> None:
    database = Database(path)
    with database.read() as connection:
        database.close()
        assert connection.execute("SELECT 1").fetchone() == (
            1,
        )  # one that is in use is closed when it comes back
    for _ in range(2):
        with pytest.raises(UnavailableError, match="stopping"):
            SqliteMeters(database).read("a", "m")
    assert [entry.name for entry in path.parent.iterdir()] == ["agent.db"]


def test_a_connection_that_comes_back_with_a_decision_to_a_closed_database_is_closed(path: Path) -> None:
    database = Database(path)
    with pytest.raises(ConflictError), database.read():
        database.close()
        raise ConflictError("lost")
    assert [entry.name for entry in path.parent.iterdir()] == ["agent.db"]


def test_the_broom_lets_others_write_between_its_strokes(path: Path) -> None:
    """A repository that was away for a day finds all of its announcements expired at once."""
    database = Database(path)
    announcements = SqliteAnnouncements(database)
    for number in range(2500):
        announcements.put("a", AnnounceRow(f"i{number}", 0, 1, 100, ("hot", f"l{number}"), b"e"))
    seen: list[str] = []
    with database.read() as connection:
        connection.set_trace_callback(seen.append)
    assert announcements.sweep("a", now=100) == 2500
    with database.read() as connection:
        connection.set_trace_callback(None)
        assert connection.execute("SELECT count(*) FROM lookups").fetchone() == (0,)
    assert seen.count("COMMIT") >= 3
    database.close()


def test_a_decision_of_a_driver_keeps_the_connection(path: Path) -> None:
    database = Database(path)
    with database.read() as connection:
        first = id(connection)
    with pytest.raises(QuotaError):
        SqliteMeters(database).add("a", "m", 6, 5)
    with database.read() as connection:
        assert id(connection) == first
    database.close()
