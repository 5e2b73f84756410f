"""What the one serving process does with the leases of the one before it, which died."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from skyswarm.drivers.local.database import Database
from skyswarm.drivers.local.records import SqliteTransfers
from skyswarm.drivers.local.tasks import SqliteTasks
from skyswarm.errors import LeaseLostError
from skyswarm.ports.records import Batch, Tally
from skyswarm.ports.work import Task


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(tmp_path / "agent.db")
    yield made
    made.close()


def test_batches_of_the_dead_are_free_at_once_and_those_of_the_living_are_not(database: Database) -> None:
    transfers = SqliteTransfers(database)
    holders = ["dead/1", "alive/1", "alive", "aliveish/2", "dead"]
    for agent in ("a", "b"):
        transfers.add(agent, "t", [Batch(number, "", b"") for number in range(7)])
        for number, holder in enumerate(holders):
            transfers.lease(agent, "t", number, holder, now=0, ttl=1e9)
            transfers.save(agent, "t", number, holder, b"half", until=1e9)
        transfers.lease(agent, "t", 6, "dead/1", 0, 1e9)
        transfers.finish(agent, "t", 6, "dead/1", Tally(), {})
    assert transfers.reclaim("alive") == 8
    assert transfers.reclaim("alive") == 0
    for agent in ("a", "b"):
        assert [one.lease for one in transfers.undone(agent, "t")] == ["", "alive/1", "", "", "", ""]
        taken = transfers.lease(agent, "t", 0, "alive/2", now=1, ttl=10)
        assert taken is not None and (taken.progress_json, taken.attempts) == (b"half", 2)
        with pytest.raises(LeaseLostError):
            transfers.save(agent, "t", 3, "aliveish/2", b"", 5)
        transfers.save(agent, "t", 1, "alive/1", b"on", 1e9)
        assert transfers.tally(agent, "t").done == 1


def test_tasks_of_the_dead_are_due_when_they_were(database: Database) -> None:
    tasks = SqliteTasks(database)
    for kind, at in (("mine", 0.0), ("lost", 5.0), ("lost too", 7.0)):
        tasks.push(Task("a", kind, b""), at)
    mine = tasks.pull("alive/1", now=0, lease=1e9)[0]
    dead = tasks.pull("dead/1", now=10, lease=1e9, limit=9)
    assert [one.task.kind for one in dead] == ["lost", "lost too"]
    tasks.push(Task("a", "future", b""), at=1e6)
    assert tasks.reclaim("alive") == 2
    assert tasks.reclaim("alive") == 0
    tasks.done(dead[0])  # by one that was thought dead: it has lost its delivery
    again = tasks.pull("alive/2", now=6, lease=10, limit=9)
    assert [(one.task.kind, one.attempt) for one in again] == [("lost", 2)]
    assert [one.task.kind for one in tasks.pull("alive/2", now=7, lease=10, limit=9)] == ["lost too"]
    tasks.done(mine)
    assert tasks.reclaim("alive") == 0


def test_a_name_with_wildcards_is_only_a_name(database: Database) -> None:
    transfers = SqliteTransfers(database)
    transfers.add("a", "t", [Batch(number, "", b"") for number in range(2)])
    transfers.lease("a", "t", 0, "x%/1", 0, 1e9)
    transfers.lease("a", "t", 1, "xyz/1", 0, 1e9)
    assert transfers.reclaim("x%") == 1
