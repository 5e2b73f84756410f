"""What happens to a transfer when trust, keys or shares change while it moves."""

from __future__ import annotations

import json
from typing import Any

import pytest

from skyswarm.errors import AbsentError
from skyswarm.usecases import jobs, people, settle, tending
from skyswarm.usecases.work import perform
from tests.support.land import INLINE, Land, Person

FILES = {f"f{n:02d}": b"%02d" % n * 100 for n in range(12)}
ALL = {f"it/{key}": data for key, data in FILES.items()}


@pytest.fixture
def carol(land: Land, alice: Person) -> Person:
    return alice.welcomes(land.agent("carol"), depth=1)


@pytest.fixture
def bob(land: Land, alice: Person, carol: Person) -> Person:
    """Each file is a batch of its own, and asks anew."""
    made = land.agent("bob", batch_files=1, rest=0.1, rest_most=0.1, patience=30.0)
    carol.vouch(made)
    made.hears(carol)
    return made


def until(bob: Person, files: int) -> None:
    """Work until so many files are there."""
    for _ in range(200):
        if len(bob.files()) >= files:
            return
        for delivery in bob.deps.tasks.pull("w/0", bob.land.now, 60.0):
            perform(bob.deps, delivery, "w/0", INLINE)
    raise AssertionError(bob.files().keys())


def ended(bob: Person, transfer: str) -> jobs.Job:
    for _ in range(60):
        bob.work()
        if bob.job(transfer).state not in jobs.ACTIVE:
            return bob.job(transfer)
        bob.land.now += 5
    raise AssertionError(bob.job(transfer))


def test_attack_revoked_in_the_middle_of_a_transfer(
    land: Land, alice: Person, carol: Person, bob: Person
) -> None:
    """The next request is refused with the reason; what is there stays; a new vouch lets it go on from there."""
    transfer = bob.get(alice.publish(FILES).envelope, alice)
    until(bob, 5)
    people.revoke(carol.deps, carol.id, sub=bob.id, reason="left the club")
    alice.hears(carol)
    job = ended(bob, transfer)
    assert job.state == "refused", job
    assert job.error is not None and "left the club" in job.error["message"]
    there = bob.files()
    assert 5 <= len(there) < 12 and there.items() <= ALL.items()
    carol.vouch(bob)
    bob.hears(carol)
    land.calls.clear()
    settle.resume(bob.deps, bob.id, transfer)
    assert ended(bob, transfer).state == "done"
    assert bob.files() == ALL
    assert land.calls.count("fetch_piece") <= 12 - len(there) + 3, "nothing was asked for twice"


@pytest.mark.parametrize("who", ["alice", "bob"])
def test_a_key_is_rotated_in_the_middle(land: Land, alice: Person, bob: Person, who: str) -> None:
    transfer = bob.get(alice.publish(FILES).envelope, alice)
    until(bob, 5)
    one = {"alice": alice, "bob": bob}[who]
    people.rotate(one.deps, one.id)
    assert ended(bob, transfer).state == "done"
    assert bob.files() == ALL
    land.now += 10
    if who == "alice":
        bob.hears(alice)
    bob.work()
    assert len(bob.job(transfer).receipts) == 1


def test_the_share_ends_in_the_middle(land: Land, alice: Person, bob: Person) -> None:
    transfer = bob.get(alice.publish(FILES, expires=int(land.now) + 100).envelope, alice)
    until(bob, 5)
    land.now += 100
    job = ended(bob, transfer)
    assert job.state == "refused" and job.error is not None
    assert "no such share here for you" in job.error["message"]


def test_the_owners_cap_is_reached_in_the_middle(land: Land, alice: Person, bob: Person) -> None:
    """Each file has 200 bytes; a thousand are handed out."""
    transfer = bob.get(alice.publish(FILES, cap_bytes=1000).envelope, alice)
    job = ended(bob, transfer)
    assert job.state == "refused", job
    assert job.error is not None and "1000 bytes" in job.error["message"]
    assert len(bob.files()) == 5
    assert alice.deps.meters.read(alice.id, f"handed/{bob.id}") == 1000


def test_the_users_own_cost_cap_is_kept(land: Land, alice: Person, bob: Person) -> None:
    """The source says that it is a dear bucket: the transfer stops before it costs more than was allowed."""
    alice.bucket("src")._kind = "s3/eu"
    transfer = bob.get(alice.publish(FILES).envelope, alice, max_cost=6)
    job = ended(bob, transfer)
    assert (job.state, job.error and job.error["code"]) == ("stopped", "SKY-402"), job
    assert bob.deps.meters.read(bob.id, f"cost/{transfer}") <= 6
    settle.resume(bob.deps, bob.id, transfer, max_cost=1000)
    assert ended(bob, transfer).state == "done"
    assert bob.files() == ALL


def test_a_file_is_changed_at_its_source_in_the_middle(land: Land, alice: Person, bob: Person) -> None:
    transfer = bob.get(alice.publish(FILES).envelope, alice)
    until(bob, 5)
    alice.put("f11", b"another one")
    job = ended(bob, transfer)
    assert job.state == "failed"
    assert [(one["path"], one["code"]) for one in job.failed] == [("f11", "SKY-313")]
    assert bob.files() == {key: data for key, data in ALL.items() if key != "it/f11"}


def test_paused_and_cancelled_in_the_middle(alice: Person, bob: Person) -> None:
    transfer = bob.get(alice.publish(FILES).envelope, alice)
    until(bob, 5)
    settle.pause(bob.deps, bob.id, transfer)
    bob.work()
    there: Any = bob.files()
    assert bob.job(transfer).state == "paused" and len(there) == 5
    settle.resume(bob.deps, bob.id, transfer)
    until(bob, 8)
    settle.cancel(bob.deps, bob.id, transfer)
    bob.work()
    assert bob.job(transfer).state == "cancelled"
    assert len(bob.files()) == 8


def test_a_crash_between_a_cancel_and_its_aborts_leaves_no_upload_after_the_next_start(
    alice: Person, bob: Person
) -> None:
    transfer = bob.get(alice.publish({"big": b"x" * (9 << 20)}).envelope, alice)
    (delivery,) = bob.deps.tasks.pull("w/0", bob.land.now, 60.0)
    perform(bob.deps, delivery, "w/0", INLINE)
    home = bob.bucket("home")
    (upload,) = {
        item[4]
        for batch in bob.deps.transfers.undone(bob.id, transfer)
        for item in json.loads(batch.plan_json)["items"]
    }
    assert home.parts(upload) == frozenset()
    jobs.change(bob.deps, bob.id, transfer, lambda job: job.to_state("cancelled", bob.land.now))
    tending.wake_up(bob.deps, bob.id, bob.url)
    with pytest.raises(AbsentError):
        home.parts(upload)
    tending.wake_up(bob.deps, bob.id, bob.url)
