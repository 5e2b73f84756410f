"""The pair's chain of receipts: across overlapping transfers, lost answers, crashes and rotated keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from skyswarm.errors import SkyError
from skyswarm.messages.keys import SeedSigner, did_key
from skyswarm.messages.receipts import SignedReceipt, parse_receipt, sign_receipt
from skyswarm.usecases import people, receipts, settle
from skyswarm.usecases.receipts import exchange_all, newest
from skyswarm.usecases.work import perform
from tests.support.land import INLINE, Land, Person


@pytest.fixture
def bob(bob: Person, alice: Person) -> Person:
    bob.hears(alice)
    return bob


def moved(alice: Person, bob: Person, name: str) -> str:
    """A transfer of one new file that is done, its receipts not exchanged yet."""
    bob.land.buckets.add(alice.id, f"src-{name}")
    published = alice.publish({name: name.encode() * 10}, f"src-{name}", name=name)
    transfer = bob.get(published.envelope, alice)
    while bob.job(transfer).state != "done":
        for delivery in bob.deps.tasks.pull("test/0", bob.land.now, 60.0):
            perform(bob.deps, delivery, "test/0", INLINE)
    for delivery in bob.deps.tasks.pull("test/0", bob.land.now, 60.0, 100):
        bob.deps.tasks.done(delivery)
    return transfer


def pair(alice: Person, bob: Person) -> tuple[SignedReceipt | None, SignedReceipt | None]:
    """The newest receipt of both, as the giver and as the receiver has it."""
    return (
        newest(alice.deps, alice.id, alice.id, bob.id)[0],
        newest(bob.deps, bob.id, alice.id, bob.id)[0],
    )


def test_a_chain_of_receipts_counts_up(alice: Person, bob: Person) -> None:
    total = 0
    for number, name in enumerate(("one", "three", "fifteen"), 1):
        transfer = moved(alice, bob, name)
        settle.receipts(bob.deps, bob.id, transfer)
        given, got = pair(alice, bob)
        assert given is not None and got is not None and got.complete
        total += bob.deps.transfers.tally(bob.id, transfer).bytes
        assert given.receipt == got.receipt
        assert (got.receipt.seq, got.receipt.total_bytes) == (number, total)
        assert bob.job(transfer).receipts == (got.receipt.id,)
        got.check(bob.deps.keys.current(bob.id).public, alice.deps.keys.current(alice.id).public)


def test_exchanging_again_changes_nothing(land: Land, alice: Person, bob: Person) -> None:
    transfer = moved(alice, bob, "one")
    for _ in range(3):
        settle.receipts(bob.deps, bob.id, transfer)
    given, got = pair(alice, bob)
    assert given is not None and got is not None
    assert got.receipt.seq == given.receipt.seq == 1
    assert land.calls.count("receipt") == 1


def test_an_answer_that_is_lost(land: Land, alice: Person, bob: Person) -> None:
    """The giver has signed, the receiver does not know: the very same receipt is signed again."""
    transfer = moved(alice, bob, "one")
    land.lose.append("receipt")
    ids, trouble = exchange_all(bob.deps, bob.id, bob.job(transfer))
    assert (ids, isinstance(trouble, SkyError)) == ((), True)
    settle.receipts(bob.deps, bob.id, transfer)
    given, got = pair(alice, bob)
    assert given is not None and got is not None
    assert got.complete and got.receipt == given.receipt
    assert got.receipt.seq == 1


def test_an_answer_that_is_lost_and_a_key_rotated_meanwhile(land: Land, alice: Person, bob: Person) -> None:
    transfer = moved(alice, bob, "one")
    land.lose.append("receipt")
    exchange_all(bob.deps, bob.id, bob.job(transfer))
    people.rotate(bob.deps, bob.id)
    alice.hears(bob)
    settle.receipts(bob.deps, bob.id, transfer)
    _, got = pair(alice, bob)
    assert got is not None and got.complete and got.receipt.seq == 1
    got.check(bob.deps.keys.current(bob.id).public, alice.deps.keys.current(alice.id).public)


def test_two_transfers_whose_receipts_overlap(land: Land, alice: Person, bob: Person) -> None:
    """The first one's receipt did not get through when the second one's is made: nothing is counted twice or lost."""
    first, second = moved(alice, bob, "one"), moved(alice, bob, "three")
    land.down.add(alice.id)
    for transfer in (first, second, first):
        assert exchange_all(bob.deps, bob.id, bob.job(transfer))[1] is not None
    land.down.clear()
    for transfer in (second, first, second):
        settle.receipts(bob.deps, bob.id, transfer)
    given, got = pair(alice, bob)
    assert given is not None and got is not None
    assert given.receipt == got.receipt
    assert (got.receipt.seq, got.receipt.total_bytes) == (2, 30 + 50)
    assert len({bob.job(one).receipts for one in (first, second)}) == 2
    for transfer in (first, second):
        (name,) = bob.job(transfer).receipts
        entry = bob.deps.notes.get(bob.id, f"receipt/{alice.id}/{bob.id}/for/{transfer}")
        assert entry is not None and parse_receipt(entry.value).receipt.id == name


def test_a_crash_between_storing_and_sending(land: Land, alice: Person, bob: Person) -> None:
    transfer = moved(alice, bob, "one")
    job = bob.job(transfer)
    made = receipts._next(bob.deps, bob.id, job, job.sources[0])  # and then nothing more
    assert not made.complete
    settle.receipts(bob.deps, bob.id, transfer)
    given, got = pair(alice, bob)
    assert given is not None and got is not None
    assert got.receipt.id == given.receipt.id == made.receipt.id


def test_receipts_of_the_giver_that_is_away_are_tried_again_by_the_queue(
    land: Land, alice: Person, bob: Person
) -> None:
    published = alice.publish({"a": b"a" * 100})
    transfer = bob.get(published.envelope, alice)
    for _ in range(100):
        if bob.deps.transfers.tally(bob.id, transfer).done:
            break
        for delivery in bob.deps.tasks.pull("test/0", land.now, 60.0):
            perform(bob.deps, delivery, "test/0", INLINE)
    land.down.add(alice.id)
    bob.work()
    assert bob.job(transfer).state == "done", "receipts never hold up a transfer"
    assert bob.job(transfer).receipts == ()
    land.down.clear()
    land.now += 3600
    bob.work()
    assert len(bob.job(transfer).receipts) == 1


# ---- a giver that lies -------------------------------------------------------------------------------
def _another(alice: Person, body: bytes) -> bytes:
    """The giver signs what it would have liked: twice the bytes."""
    receipt = parse_receipt(body).receipt
    bigger = replace(receipt, bytes=receipt.bytes * 2, total_bytes=receipt.bytes * 2, raw=None)
    return sign_receipt(bigger, alice.deps.keys.current(alice.id)).dump()


def _unsigned(alice: Person, body: bytes) -> bytes:
    """Only the receiver's signature comes back."""
    signed = parse_receipt(body)
    mine = alice.deps.keys.current(alice.id).public
    left = tuple(one for one in signed.envelope.signatures if one[0] != did_key(mine))
    return replace(signed.envelope, signatures=left).dump()


def _signed_by_another_key(alice: Person, body: bytes) -> bytes:
    signed = parse_receipt(_unsigned(alice, body))
    return signed.countersign(SeedSigner(b"x" * 32)).dump()


def _nonsense(alice: Person, body: bytes) -> bytes:
    return b"nonsense"


@pytest.mark.parametrize("lie", [_another, _unsigned, _signed_by_another_key, _nonsense])
def test_attack_receipt_forged_by_the_giver(
    land: Land, alice: Person, bob: Person, lie: Callable[[Person, bytes], bytes]
) -> None:
    """It is not kept as complete, whatever the giver sent back; the true one still can be had."""
    transfer = moved(alice, bob, "one")
    land.tamper["receipt"] = lambda body: lie(alice, body)
    ids, trouble = exchange_all(bob.deps, bob.id, bob.job(transfer))
    assert (ids, isinstance(trouble, SkyError)) == ((), True)
    _, got = pair(alice, bob)
    assert got is not None and not got.complete
    land.tamper.clear()
    settle.receipts(bob.deps, bob.id, transfer)
    _, got = pair(alice, bob)
    assert got is not None and got.complete and got.receipt.bytes == 30


def test_none_is_due_for_a_share_whose_files_are_all_empty(alice: Person, bob: Person) -> None:
    transfer = bob.get(alice.publish({"a": b"", "b": b""}).envelope, alice)
    bob.work()
    job = bob.job(transfer)
    assert (job.state, job.receipts) == ("done", ())
    assert bob.deps.notes.page(bob.id, "receipt/") == alice.deps.notes.page(alice.id, "receipt/") == []
    assert bob.deps.tasks.pull("test/0", bob.land.now + 10**6, 60.0) == [], "nothing waits for one"


def test_a_crash_of_the_giver_between_its_two_copies(alice: Person, bob: Person) -> None:
    """The receiver, whom no answer has reached, comes again: both copies are there then."""
    transfer = moved(alice, bob, "one")
    bob.land.lose.append("receipt")
    exchange_all(bob.deps, bob.id, bob.job(transfer))
    key = f"receipt/{alice.id}/{bob.id}/for/{transfer}"
    alice.deps.notes.delete(alice.id, key)
    settle.receipts(bob.deps, bob.id, transfer)
    entry = alice.deps.notes.get(alice.id, key)
    assert entry is not None and parse_receipt(entry.value).complete
