"""A task that meets a defect comes again a few times, then ends: its transfer as failed, with a reason."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from skyswarm.edge.log import Log
from skyswarm.edge.process import Workers
from skyswarm.edge.runtime import Runtime
from skyswarm.errors import SkyError
from skyswarm.ports.work import Task
from skyswarm.usecases import settle
from skyswarm.usecases.work import DEFECTS, DEFECTS_ELSEWHERE
from tests.support.land import INLINE, Land, Person


class Broken:
    """A storage with a defect in all of it."""

    def __getattr__(self, name: str) -> Any:
        raise ZeroDivisionError(f"{name} is broken")


class Crew:
    """The workers of an agent, run by hand."""

    def __init__(self, person: Person, folder: Path) -> None:
        self.person = person
        self.folder = folder
        runtime = SimpleNamespace(deps=person.deps, network=INLINE)
        self.workers = Workers(cast(Runtime, runtime), 0, Log(folder))

    def turn(self, hours: int) -> int:
        """Work for so long; how many deliveries that were."""
        count = 0
        for _ in range(hours * 120):
            for delivery in self.person.deps.tasks.pull("test/0", self.person.land.now, 120.0):
                self.workers.run(delivery, "test/0")
                count += 1
            self.person.land.now += 30
        return count

    def events(self) -> list[str]:
        return [
            json.loads(line)["event"] for f in self.folder.glob("*") for line in f.read_text().splitlines()
        ]


@pytest.fixture
def land() -> Land:
    return Land()


def test_a_transfer_that_meets_a_defect_fails_and_says_so(land: Land, tmp_path: Path) -> None:
    alice, bob = land.agent("alice"), land.agent("bob")
    alice.vouch(bob)
    alice.hears(bob)
    transfer = bob.get(alice.publish({"a": b"abc"}).envelope, alice)
    good = land.buckets.made[bob.id, "home"]
    land.buckets.made[bob.id, "home"] = Broken()
    crew = Crew(bob, tmp_path)
    assert DEFECTS <= crew.turn(2) < 20
    job = bob.job(transfer)
    assert job.state == "failed"
    assert "SKY-500" in str(job) and "it is in the log" in str(job)
    assert crew.events().count("task-crash") == DEFECTS
    assert crew.turn(1) == 0
    assert not crew.workers._defects
    land.buckets.made[bob.id, "home"] = good
    settle.resume(bob.deps, bob.id, transfer)
    crew.turn(1)
    assert (bob.job(transfer).state, bob.files()) == ("done", {"a": b"abc"})


@pytest.mark.parametrize(
    ("kind", "body", "most"),
    [
        ("no-such-kind", b"{}", DEFECTS_ELSEWHERE),
        ("sync", b"not JSON", DEFECTS_ELSEWHERE),
        ("receipts", b"[]", DEFECTS_ELSEWHERE),
        ("move", b"{}", DEFECTS),
        ("move", b"\xff", DEFECTS),
    ],
)
def test_a_task_nobody_can_do_is_dropped(
    land: Land, tmp_path: Path, kind: str, body: bytes, most: int
) -> None:
    bob = land.agent("bob")
    bob.work()
    bob.deps.tasks.push(Task(bob.id, kind, body))
    crew = Crew(bob, tmp_path)
    times = 0
    for _ in range(40):
        for delivery in bob.deps.tasks.pull("test/0", land.now, 120.0):
            times += 1
            with suppress(SkyError, ValueError, KeyError, TypeError):  # the loop of a worker logs them
                crew.workers.run(delivery, "test/0")
        land.now += 30
    assert times == most
