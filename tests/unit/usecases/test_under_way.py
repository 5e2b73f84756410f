"""What a status says of a transfer in the middle of a batch: all that is on the disk, never more, never less later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from skyswarm.drivers.storages.memory import MemoryStorage
from skyswarm.messages.status import Status
from skyswarm.ports.records import Batch
from skyswarm.usecases import inbox, jobs, settle
from skyswarm.usecases.reporting import report, status_of
from skyswarm.usecases.starting import Wish
from skyswarm.usecases.work import perform
from tests.support.land import INLINE, Land, Person

FILES = {f"f{n:03d}": b"%03d" % n for n in range(60)}


class Watched(MemoryStorage):
    """Calls `then` with the count of files after each that was put; each takes half a second."""

    land: Land
    then: Callable[[int], object] = staticmethod(lambda count: None)
    count = 0

    def put(self, *given: Any, **more: Any) -> Any:
        found = super().put(*given, **more)
        self.land.now += 0.5
        self.count += 1
        self.then(self.count)
        return found


@pytest.fixture
def home(land: Land, alice: Person) -> Watched:
    bob = next(one for one in land.people.values() if one.name == "bob")
    made = Watched("home", land.presigners[bob.id], land.clock)
    made.land = land
    land.buckets.add(bob.id, "home", made)
    return made


@pytest.fixture
def bob(land: Land, alice: Person) -> Person:
    """He takes 25 files in a batch."""
    return alice.welcomes(land.agent("bob", batch_files=25))


def now(bob: Person, transfer: str) -> Status:
    return status_of(bob.deps, bob.id, report(bob.deps, bob.id, transfer), bob.land.now)


def done(status: Status) -> tuple[int, int, int]:
    return status.files.done, status.bytes.done, status.pieces.done


@pytest.mark.parametrize("end", [settle.pause, settle.cancel])
def test_what_is_there_when_it_is_ended_counts(
    alice: Person, bob: Person, home: Watched, end: Callable[..., object]
) -> None:
    transfer = bob.get(alice.publish(FILES).envelope, alice)
    home.then = lambda count: count == 40 and end(bob.deps, bob.id, transfer)
    bob.work()
    status = now(bob, transfer)
    there = len(bob.files())
    assert 40 <= there <= 42
    assert done(status) == (there, 3 * there, there)
    assert sum(source.bytes for source in status.sources) == 3 * there
    assert status.bytes.held == 0 and Status.parse(status.dump()) == status


def test_it_never_goes_backwards_through_pauses_and_ends_exactly(
    alice: Person, bob: Person, home: Watched
) -> None:
    transfer = bob.get(alice.publish(FILES).envelope, alice)
    seen = [(0, 0, 0)]

    def step(count: int) -> None:
        seen.append(done(now(bob, transfer)))
        if count in (10, 11, 30, 47):
            settle.pause(bob.deps, bob.id, transfer)

    home.then = step
    for _ in range(6):
        bob.work()
        seen.append(done(now(bob, transfer)))
        if bob.job(transfer).state == "paused":
            settle.resume(bob.deps, bob.id, transfer)
            seen.append(done(now(bob, transfer)))
    assert seen == sorted(seen), seen
    assert seen[-1] == (60, 180, 60) and bob.job(transfer).state == "done"
    assert len(set(seen)) > 30, "it is seen while a batch is under way"
    assert len(bob.files()) == 60


@pytest.mark.parametrize("before", [True, False])
def test_a_batch_that_ends_while_it_is_looked_counts_once(
    alice: Person, bob: Person, home: Watched, before: bool
) -> None:
    transfer = bob.get(alice.publish(FILES).envelope, alice)
    home.then = lambda count: count == 40 and settle.pause(bob.deps, bob.id, transfer)
    bob.work()
    settle.resume(bob.deps, bob.id, transfer)

    class Racing:
        left = 1

        def __getattr__(self, name: str) -> Any:
            return getattr(bob.deps.transfers, name)

        def undone(self, *given: Any, **more: Any) -> Any:
            found = None if before else bob.deps.transfers.undone(*given, **more)
            if self.left:
                self.left = 0
                bob.work()
            return found if found is not None else bob.deps.transfers.undone(*given, **more)

    raced = replace(bob.deps, transfers=Racing())
    status = status_of(raced, bob.id, report(raced, bob.id, transfer), bob.land.now)
    assert done(status) == (60, 180, 60)


def test_never_above_the_total_and_no_part_that_a_cancel_gives_up(
    land: Land, alice: Person, bob: Person
) -> None:
    transfer = bob.get(alice.publish(FILES).envelope, alice)
    (delivery,) = bob.deps.tasks.pull("test/0", land.now, 60.0)
    perform(bob.deps, delivery, "test/0", INLINE)  # planned, nothing moved
    small, part = 0, 1000
    bob.deps.transfers.add(bob.id, transfer, [Batch(part, "0/0", b'{"items":[]}')])

    def saved(number: int, progress: bytes) -> tuple[int, int, int]:
        assert bob.deps.transfers.lease(bob.id, transfer, number, "w/1", land.now, 60.0) is not None
        bob.deps.transfers.save(bob.id, transfer, number, "w/1", progress, land.now)
        return done(now(bob, transfer))

    assert saved(small, b'{"bytes":6}') == (0, 6, 0), "as it was saved before it named files"
    assert saved(part, b'{"bytes":9,"files":1,"pieces":3}') == (0, 15, 3), "a file of parts is not there yet"
    bob.deps.transfers.release(bob.id, transfer, small, "w/1")
    assert saved(small, b'{"bytes":999,"files":70,"held":9999,"pieces":70}') == (60, 180, 60)
    bob.deps.transfers.release(bob.id, transfer, small, "w/1")
    saved(small, b'{"bytes":6,"files":2,"pieces":2}')
    settle.cancel(bob.deps, bob.id, transfer)
    assert done(now(bob, transfer)) == (2, 6, 2)


def test_the_status_beside_a_drop_says_so_too(land: Land, alice: Person, bob: Person, home: Watched) -> None:
    bob.put("x.manifest.json", alice.publish(FILES).envelope, "#inbox")
    inbox.look(bob.deps, bob.id, Wish("home"))
    (job,) = jobs.page(bob.deps, bob.id)
    source = jobs.SourceState(agent=alice.id, endpoint=alice.url)
    jobs.change(bob.deps, bob.id, job.id, lambda one: one.with_source(source))
    told: list[int] = []

    def step(count: int) -> None:
        inbox.refresh(bob.deps, bob.id)
        told.append(Status.parse(bob.files("#inbox")["x.status.json"]).files.done)
        if count == 40:
            settle.pause(bob.deps, bob.id, job.id)
            inbox.refresh(bob.deps, bob.id)

    home.then = step
    bob.work()
    inbox.refresh(bob.deps, bob.id)
    status = Status.parse(bob.files("#inbox")["x.status.json"])
    assert (status.state, status.files.done) == ("paused", len(bob.files()))
    assert told == sorted(told) and 0 < told[15] < 25
