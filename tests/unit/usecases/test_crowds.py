"""Strangers in crowds, keys that a destination cannot hold, and requests that fail half way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from skyswarm.drivers.storages.folder import FolderStorage
from skyswarm.drivers.storages.memory import MemoryStorage
from skyswarm.errors import AbsentError, RequestError, SkyError, TooLargeError
from skyswarm.messages.fields import MAX_TIME
from skyswarm.messages.httpsig import Checked
from skyswarm.messages.receipts import Receipt, sign_receipt
from skyswarm.messages.requests import MAX_REPLY, FetchRequest, Want
from skyswarm.messages.urls import MAX_URL
from skyswarm.ports.storage import Grant
from skyswarm.usecases import candidates, jobs, plan, receipts, serving
from skyswarm.usecases.limits import Limits
from tests.support.land import Land, Person


@pytest.fixture
def bob(land: Land, alice: Person) -> Person:
    return alice.welcomes(land.agent("bob", patience=1e6))


def stranger(number: int) -> jobs.SourceState:
    return jobs.SourceState(agent=f"{number:064x}", endpoint=f"http://s.test/a/{number:064x}")


def crowd(bob: Person, transfer: str, count: int, *others: jobs.SourceState) -> None:
    def step(now: jobs.Job) -> jobs.Job:
        return replace(now, sources=(*(stranger(number) for number in range(count)), *others))

    jobs.change(bob.deps, bob.id, transfer, step)


def test_attack_the_issuer_is_asked_first_and_few_strangers_in_a_row(
    land: Land, alice: Person, bob: Person
) -> None:
    transfer = bob.get(alice.publish({"a": b"abc"}).envelope)
    assert bob.job(transfer).issuer == alice.id
    owner = jobs.SourceState(agent=alice.id, endpoint=alice.url)
    crowd(bob, transfer, 20, owner)
    turns = candidates.turns(bob.deps, bob.id, bob.job(transfer))
    assert turns[0].agent == alice.id and len(turns) == candidates.TRIES
    land.down.add(alice.id)
    seen: set[str] = set()
    for _ in range(3):
        land.calls.clear()
        land.now += 1
        with pytest.raises(SkyError):
            plan._from_sources(bob.deps, bob.id, bob.job(transfer), "0" * 64)
        assert len(land.calls) == candidates.TRIES
        seen |= {one.agent for one in candidates.turns(bob.deps, bob.id, bob.job(transfer))}
    assert len(seen) == 1 + 3 * (candidates.TRIES - 1), "the others have their turn later"
    land.down.clear()
    bob.work()
    assert bob.files() == {"a": b"abc"}


def test_attack_strangers_do_not_push_the_issuer_out_of_a_transfer(alice: Person, bob: Person) -> None:
    transfer = bob.get(alice.publish({"a": b"abc"}).envelope)
    rank = candidates.ranking(bob.deps, bob.id, bob.job(transfer), [alice.id, stranger(1).agent])
    assert rank == {alice.id: 0, stranger(1).agent: 2}


def test_one_key_that_the_destination_cannot_hold_costs_that_file_alone(
    alice: Person, bob: Person, tmp_path: Path
) -> None:
    files = {"d/x": b"outside", "d/y": b"z" * (3 << 20) * 8, "e": b"fine"}
    published = alice.publish(dict(files))
    root = tmp_path / "home"
    (root / "it").mkdir(parents=True)
    (root / "it" / "d").symlink_to(tmp_path)  # keys below it are refused: they lead out of the folder
    bob.land.buckets.add(
        bob.id, "home", FolderStorage(root, "home", bob.land.presigners[bob.id], fsync=False)
    )
    transfer = bob.get(published.envelope, alice)
    bob.work()
    job = bob.job(transfer)
    assert job.state == "failed", job
    assert (job.state, {one["path"] for one in job.failed}) == ("failed", {"d/x", "d/y"})
    assert {one["code"] for one in job.failed} == {"SKY-330"}
    assert not (tmp_path / "x").exists() and not (tmp_path / "y").exists()
    assert job.error is not None and job.error["message"].startswith("2 of 3 files")
    assert (root / "it" / "e").read_bytes() == b"fine"
    assert bob.deps.transfers.tally(bob.id, transfer).files == 1


def test_a_name_that_the_destination_finds_too_long_costs_that_file_alone(
    alice: Person, bob: Person, tmp_path: Path
) -> None:
    """The key is longer than any storage of ours takes, by the prefix that the user chose."""
    bob.land.buckets.add(
        bob.id, "home", FolderStorage(tmp_path, "home", bob.land.presigners[bob.id], fsync=False)
    )
    deep = "/".join(["d" * 250] * 4)
    files = {f"{deep}/x": b"deep", f"{deep}/y": b"z" * (3 << 20) * 8, "e": b"fine"}
    published = alice.publish(files)
    transfer = bob.get(published.envelope, alice, prefix="a")
    # As no prefix of the command line may be, but one of a former version, or of another storage, may.
    long = "/".join(["p" * 250] * 12)
    jobs.change(bob.deps, bob.id, transfer, lambda now: replace(now, prefix=long))
    bob.work()
    job = bob.job(transfer)
    assert job.state == "failed", job
    assert {one["code"] for one in job.failed} == {"SKY-103"} and len(job.failed) == 2
    assert (tmp_path / long / "it" / "e").read_bytes() == b"fine"


def asked(bob: Person, number: int) -> Checked:
    signer = bob.deps.keys.current(bob.id)
    now = int(bob.land.now)
    return Checked(bob.id, "", signer.public, f"nonce-{number}", now, now + 60, now + 300)


def test_a_request_that_cannot_be_answered_costs_nothing_of_the_cap(alice: Person, bob: Person) -> None:
    published = alice.publish({"a": b"abc"}, cap_bytes=3)
    request = FetchRequest(manifest=published.manifest.id, want=(Want(0, 0, 0, 1),), objects=(), proof=())
    storage = alice.land.buckets.made.pop((alice.id, "src"))
    for number in range(3):
        with pytest.raises(AbsentError):
            serving.fetch_piece(alice.deps, alice.id, asked(bob, number), request)
    alice.land.buckets.made[alice.id, "src"] = storage
    assert serving.fetch_piece(alice.deps, alice.id, asked(bob, 9), request).wants == (0,)
    assert alice.deps.meters.read(alice.id, f"handed/{bob.id}") == 3


class Wordy(MemoryStorage):
    """Its presigned URLs are as long as any may be."""

    def presign(self, key: str, version: str, ttl: int) -> Grant:
        return Grant(f"https://bucket.test/{key}?".ljust(MAX_URL, "a"), MAX_TIME)


def test_a_default_batch_of_the_longest_urls_fits_and_a_longer_answer_costs_nothing(
    alice: Person, bob: Person
) -> None:
    land = alice.land
    land.buckets.add(alice.id, "src", Wordy("src", land.presigners[alice.id], land.clock))
    published = alice.publish({f"f{n:03d}": b"abc" for n in range(300)}, cap_bytes=3 * 300)

    def ask(files: int, number: int) -> int:
        wants = tuple(Want(0, n, 0, 1) for n in range(files))
        request = FetchRequest(published.manifest.id, wants)
        return len(serving.fetch_piece(alice.deps, alice.id, asked(bob, number), request).dump())

    with pytest.raises(TooLargeError):
        ask(300, 1)
    assert alice.deps.meters.read(alice.id, f"handed/{bob.id}") == 0
    assert MAX_REPLY - 64 * 1024 < ask(Limits().batch_files, 2) <= MAX_REPLY


def receipt(alice: Person, bob: Person, number: int, prev: str | None, size: int) -> Receipt:
    return Receipt(
        giver=alice.id, receiver=bob.id, manifest="0" * 64, transfer=f"t-{number:08d}", seq=number, prev=prev,
        bytes=size, pieces=1, wasted=0, route="relay", cost=0, total_bytes=size * number, total_receipts=number,
        at=int(alice.land.now),
    )  # fmt: skip


def test_attack_receipts_of_invented_transfers_leave_a_bounded_trace(
    land: Land, alice: Person, bob: Person
) -> None:
    signer = bob.deps.keys.current(bob.id)
    alice.deps.meters.add(alice.id, f"handed/{bob.id}", 10_000, 10_000)
    empty = sign_receipt(receipt(alice, bob, 1, None, 0), signer).dump()
    with pytest.raises(RequestError, match="counts none"):
        receipts.take_receipt(alice.deps, alice.id, asked(bob, 0), empty)
    alice.deps.meters.add(alice.id, f"receipts-kept/{bob.id}", receipts.KEPT - 2, receipts.KEPT)
    prev = None
    for number in range(1, 6):
        one = receipt(alice, bob, number, prev, 1)
        receipts.take_receipt(alice.deps, alice.id, asked(bob, number), sign_receipt(one, signer).dump())
        prev = one.id
    kept = alice.deps.notes.page(alice.id, f"receipt/{alice.id}/{bob.id}/for/")
    assert len(kept) == 2
    newest, _ = receipts.newest(alice.deps, alice.id, alice.id, bob.id)
    assert newest is not None and newest.receipt.seq == 5
