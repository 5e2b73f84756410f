"""What a fault costs: the file, the source or the batch that has it, and nothing beside it (`spec/transfers.md`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from skyswarm.drivers.storages.memory import MemoryStorage
from skyswarm.errors import ForbiddenError, LinkExpiredError, UnavailableError
from skyswarm.messages import canonical
from skyswarm.messages.httpsig import Checked
from skyswarm.messages.link import Link
from skyswarm.messages.requests import FetchRequest, Want
from skyswarm.ports.storage import Listing, Object
from skyswarm.usecases import inbox, jobs, objects, plan, publish, serving, settle, starting
from skyswarm.usecases.starting import Wish
from skyswarm.usecases.work import perform
from tests.support.land import INLINE, Land, Person

MIB = 1 << 20
FILES = {f"f{n:02d}": b"%02d" % n * 100 for n in range(12)}


# ---- of a source ---------------------------------------------------------------------------------
def test_files_that_were_changed_at_the_source_cost_only_themselves(alice: Person, bob: Person) -> None:
    """All twelve are one batch; the clock stands still, so nothing that rests would wake."""
    transfer = bob.get(alice.publish(FILES).envelope, alice)
    for key in ("f03", "f07"):
        alice.put(key, b"another one")
    bob.work()
    job = bob.job(transfer)
    assert job.state == "failed", job
    assert {(one["path"], one["code"]) for one in job.failed} == {("f03", "SKY-313"), ("f07", "SKY-313")}
    assert bob.files() == {f"it/{key}": data for key, data in FILES.items() if key not in ("f03", "f07")}


def test_a_source_whose_urls_are_never_good_rests_longer_each_time(
    land: Land, alice: Person, bob: Person
) -> None:
    def refused(url: str, offset: int, length: int) -> Iterator[memoryview]:
        raise LinkExpiredError("403")
        yield

    transfer = bob.get(alice.publish({"a": b"abc"}).envelope, alice)
    bob.deps = replace(bob.deps, fetcher=_Fetcher(land, refused))
    bob.work()
    asked = land.calls.count("fetch_piece")
    for _ in range(120):
        land.now += 1
        bob.work()
    assert bob.job(transfer).state == "moving"
    tries = (land.calls.count("fetch_piece") - asked) / 4  # the first URL and three renewed ones
    assert tries <= 120 / 5 + 5, "every 5 s at most"


class _Fetcher:
    def __init__(self, land: Land, read: Any) -> None:
        self.read, self.small = read, land.small


def test_when_every_source_has_reached_its_cap_the_transfer_is_refused(alice: Person, land: Land) -> None:
    bob = alice.welcomes(land.agent("bob", batch_files=1))
    transfer = bob.get(alice.publish(FILES, cap_bytes=1000).envelope, alice)
    bob.work()
    job = bob.job(transfer)
    assert job.state == "refused" and job.error is not None, job
    assert "1000 bytes" in job.error["message"]
    assert len(bob.files()) == 5


# ---- of a destination ------------------------------------------------------------------------------
def test_what_is_verified_is_not_moved_again_to_overwrite_the_rest(
    land: Land, alice: Person, bob: Person
) -> None:
    alice.put("small", b"abc")
    published = alice.publish({"big": b"x" * (9 * MIB), "small": b"abc"})
    bob.put("it/small", b"another", "home")
    transfer = bob.get(published.envelope, alice)
    bob.work()
    assert [one["path"] for one in bob.job(transfer).failed] == ["small"]
    follow = settle.resume(bob.deps, bob.id, transfer, overwrite=True)
    bob.work()
    assert bob.job(follow.id).state == "done"
    tally = bob.deps.transfers.tally(bob.id, follow.id)
    assert (tally.bytes - tally.held_bytes, bob.files()["it/small"]) == (3, b"abc")


class Locked(MemoryStorage):
    """One key may not be used at all."""

    def stat(self, key: str) -> Object:
        if key.endswith("locked"):
            raise ForbiddenError(f"{key}: permission denied")
        return super().stat(key)


def test_what_is_shared_on_leaves_out_a_key_that_the_destination_forbids(
    land: Land, alice: Person, bob: Person
) -> None:
    land.buckets.add(bob.id, "home", Locked("home", land.presigners[bob.id], land.clock))
    published = alice.publish({"fine": b"abc", "locked": b"def"})
    transfer = bob.get(published.envelope, alice, keep=True)
    bob.work()
    job = bob.job(transfer)
    assert job.error is not None and job.error["message"].startswith("1 of 2 files"), job
    assert len(job.receipts) == 1
    carol = bob.welcomes(land.agent("carol"))
    other = carol.get(published.envelope, bob)
    carol.work()
    assert [one["path"] for one in carol.job(other).failed] == ["locked"]
    assert carol.files() == {"it/fine": b"abc"}


# ---- of a store, or of two who do the same ---------------------------------------------------------
def test_an_object_of_ours_that_is_written_again_while_it_is_read(land: Land, alice: Person) -> None:
    class Busy(MemoryStorage):
        def chunks(self, key: str, version: str, offset: int, length: int) -> Iterator[memoryview]:
            if self.times:
                self.times -= 1
                self.put(key, b"the same", if_version="*")
            yield from super().chunks(key, version, offset, length)

        times = 2

    busy = Busy("#objects", land.presigners[alice.id], land.clock)
    busy.put("k", b"the same", if_version=None)
    assert objects.read(busy, "k", 100) == b"the same"


def test_a_crash_at_the_end_of_a_transfer_loses_no_receipt(alice: Person, bob: Person) -> None:
    class Crash(Exception):
        pass

    class Crashing:
        def __getattr__(self, name: str) -> Any:
            return getattr(bob.deps.transfers, name)

        def put(self, agent: str, row: Any) -> Any:
            stored = bob.deps.transfers.put(agent, row)
            if row.state == "done":
                raise Crash
            return stored

    transfer = bob.get(alice.publish({"a": b"abc"}).envelope, alice)
    crashing = replace(bob.deps, transfers=Crashing())  # type: ignore[arg-type]
    with pytest.raises(Crash):
        while True:
            (delivery,) = bob.deps.tasks.pull("w/0", bob.land.now, 60.0)
            perform(crashing, delivery, "w/0", INLINE)
    assert bob.job(transfer).state == "done"
    bob.land.now += 61
    bob.work()
    assert len(bob.job(transfer).receipts) == 1


def test_two_who_look_into_the_inbox_at_once_are_no_trouble(alice: Person, bob: Person) -> None:
    bob.put("x.manifest.json", alice.publish({"a": b"abc"}).envelope, "#inbox")
    raced: list[str] = []

    class Racing:
        def __getattr__(self, name: str) -> Any:
            return getattr(bob.deps.notes, name)

        def put(self, agent: str, entry: Any) -> Any:
            if entry.key not in raced:
                raced.append(entry.key)
                if entry.key.startswith("drop/"):
                    inbox.look(bob.deps, bob.id, Wish("home"))
                else:
                    inbox.refresh(bob.deps, bob.id)
            return bob.deps.notes.put(agent, entry)

    racing = replace(bob.deps, notes=Racing())  # type: ignore[arg-type]
    assert inbox.look(racing, bob.id, Wish("home")) == ["x.manifest.json"]
    inbox.refresh(racing, bob.id)
    (job,) = jobs.page(bob.deps, bob.id)
    assert raced == ["drop/x.manifest.json", f"status/{job.id}"]
    assert inbox.look(bob.deps, bob.id, Wish("home")) == []


def test_a_store_that_fails_while_bytes_are_counted_keeps_none_of_the_cap(alice: Person, bob: Person) -> None:
    published = alice.publish({"a": b"abc"}, cap_bytes=3)
    request = FetchRequest(manifest=published.manifest.id, want=(Want(0, 0, 0, 1),), objects=(), proof=())
    away = [True]

    class Away:
        def __getattr__(self, name: str) -> Any:
            return getattr(alice.deps.meters, name)

        def add(self, agent: str, meter: str, amount: int, limit: int, expires: float = 0) -> int:
            if meter.startswith("handed/") and away:
                away.clear()
                raise UnavailableError("throttled")
            return alice.deps.meters.add(agent, meter, amount, limit, expires)

    failing = replace(alice.deps, meters=Away())  # type: ignore[arg-type]
    now = int(bob.land.now)
    asked = Checked(bob.id, "", bob.deps.keys.current(bob.id).public, "nonce-1", now, now + 60, now + 300)
    with pytest.raises(UnavailableError):
        serving.fetch_piece(failing, alice.id, asked, request)
    again = replace(asked, nonce="nonce-2")
    assert serving.fetch_piece(failing, alice.id, again, request).wants == (0,)


class Big(MemoryStorage):
    """Files of 64 MiB that take no room."""

    def list(self, prefix: str, after: str | None = None, limit: int = 1000) -> Listing:
        return Listing(tuple(Object(f"{n}", 64 * MIB, "v") for n in range(6)), None)

    def chunks(self, key: str, version: str, offset: int, length: int) -> Iterator[memoryview]:
        self.read.add(key)
        for _ in range(length // MIB):
            yield memoryview(self.zeros)

    zeros = bytes(MIB)

    def __init__(self, land: Land, agent: str) -> None:
        super().__init__("big", land.presigners[agent], land.clock)
        self.read: set[str] = set()


def test_publishing_again_after_a_crash_reads_little_twice(land: Land, alice: Person) -> None:
    """Though all files stand on one page of the listing."""
    big = land.buckets.add(alice.id, "big", Big(land, alice.id))
    seen: list[str] = []

    def step() -> None:
        seen.append("")
        if len(seen) == 5:
            raise KeyboardInterrupt

    terms = publish.Terms("it")
    with pytest.raises(KeyboardInterrupt):
        publish.publish(alice.deps, alice.id, "big", "", terms, INLINE, publish.Progress(), step)
    big.read.clear()
    publish.publish(alice.deps, alice.id, "big", "", terms, INLINE, publish.Progress())
    assert big.read == {"4", "5"}, "what was hashed since the hashes were stored last"


# ---- of this process ---------------------------------------------------------------------------------
def test_pages_that_are_kept_do_not_push_out_what_else_is_known(alice: Person, bob: Person) -> None:
    """An agent's view of trust is dear to build, and a deployment of many agents has many."""
    others = {(f"{n:064x}", "view"): object() for n in range(100)}
    bob.deps.cache.update(others)
    bob.get(alice.publish(FILES).envelope, alice)
    bob.work()
    assert len(bob.files()) == 12
    assert all(bob.deps.cache.get(key) is one for key, one in others.items())


def test_a_page_of_many_batches_is_planned_in_portions(land: Land, alice: Person) -> None:
    """Also when a crash comes between two of them."""
    bob = alice.welcomes(land.agent("bob", batch_files=1, batch_bytes=MIB))
    files = {"big": b"x" * (33 * MIB), **{f"s{n:03d}": b"s" for n in range(998)}, "z": b"z" * (17 * MIB)}
    added: list[int] = []

    class Failing:
        def __getattr__(self, name: str) -> Any:
            return getattr(bob.deps.transfers, name)

        def add(self, agent: str, transfer: str, batches: Any) -> None:
            added.append(len(batches))
            if len(added) == 2:
                raise UnavailableError("throttled")
            bob.deps.transfers.add(agent, transfer, batches)

    failing = replace(bob.deps, transfers=Failing())  # type: ignore[arg-type]
    transfer = bob.get(alice.publish(files).envelope, alice)
    with pytest.raises(UnavailableError):
        plan.plan(failing, bob.id, transfer, INLINE)
    plan.plan(failing, bob.id, transfer, INLINE)
    assert added == [1000, 8, 1000, 8]
    made = bob.deps.transfers.undone(bob.id, transfer, -1, 2000)
    assert len(made) == bob.deps.transfers.tally(bob.id, transfer).batches == 998 + (5 + 1) + (3 + 1)
    uploads = [canonical.loads(one.plan_json, plan.MAX_PLAN)["items"][0][4] for one in made]
    assert sum(bool(one) for one in uploads) == (5 + 1) + (3 + 1) and len(set(uploads)) == 3


def test_one_who_refuses_does_not_speak_for_those_who_are_away(
    land: Land, alice: Person, bob: Person
) -> None:
    published = alice.publish({"a": b"abc"})
    eve = land.agent("eve")
    link = Link(published.manifest.id, "it", (), alice.url)
    transfer = starting.start_link(bob.deps, bob.id, link, Wish("home")).id
    known = jobs.SourceState(agent=eve.id, endpoint=eve.url)
    jobs.change(bob.deps, bob.id, transfer, lambda now: now.with_source(known))
    land.down.add(alice.id)
    bob.work()
    job = bob.job(transfer)
    assert [one.state for one in job.sources] == ["active", "dropped"]
    assert job.state == "planning", job
    land.down.clear()
    land.now += 6
    bob.work()
    assert bob.job(transfer).state == "done"


def test_a_follow_up_has_the_cap_that_the_user_gives_with_the_resume(alice: Person, bob: Person) -> None:
    bob.put("a", b"another", "home")
    transfer = bob.get(alice.publish({"a": b"abc"}).envelope, alice, max_cost=5)
    bob.work()
    assert bob.job(transfer).state == "failed"
    assert settle.resume(bob.deps, bob.id, transfer).max_cost == 5
    assert settle.resume(bob.deps, bob.id, transfer, max_cost=7).max_cost == 7
