"""Receipts: one chain per pair, totals that follow, two signatures, and proofs of fraud."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyswarm.errors import EquivocationError, MalformedError, SequenceError, SignatureError, StatementError
from skyswarm.messages.canonical import dumps
from skyswarm.messages.dsse import seal
from skyswarm.messages.receipts import Receipt, check_follows, fraud_proof, parse_receipt, sign_receipt
from skyswarm.messages.statements import payload_type
from tests.support.signing import hex_id, signer

GIVER, RECEIVER, MALLORY = signer("giver"), signer("receiver"), signer("mallory")
FIRST = Receipt(
    giver=hex_id("alice"),
    receiver=hex_id("bob"),
    manifest=hex_id("share"),
    transfer="t-81",
    seq=1,
    prev=None,
    bytes=1000,
    pieces=3,
    wasted=10,
    route="relay",
    cost=44,
    total_bytes=1000,
    total_receipts=1,
    at=1_790_000_000,
)
SECOND = replace(FIRST, seq=2, prev=FIRST.id, bytes=5, total_bytes=1005, total_receipts=2)


def after(last: Receipt, bytes_: int) -> Receipt:
    return replace(
        last, seq=last.seq + 1, prev=last.id, bytes=bytes_, total_bytes=last.total_bytes + bytes_,
        total_receipts=last.seq + 1,
    )  # fmt: skip


def test_there_and_back_signed_by_both() -> None:
    mine = sign_receipt(FIRST, RECEIVER)
    assert not mine.complete
    both = parse_receipt(mine.dump()).countersign(GIVER)
    again = parse_receipt(both.dump())
    assert again == both
    assert again.complete
    assert again.receipt == FIRST
    assert again.receipt.id == FIRST.id
    mine.check(RECEIVER.public)
    again.check(RECEIVER.public, GIVER.public)


def test_each_must_have_signed() -> None:
    mine = sign_receipt(FIRST, RECEIVER)
    with pytest.raises(SignatureError):
        mine.check(RECEIVER.public, GIVER.public)
    with pytest.raises(SignatureError):
        mine.check(GIVER.public)
    with pytest.raises(SignatureError):
        sign_receipt(FIRST, MALLORY).countersign(GIVER).check(RECEIVER.public, GIVER.public)


def test_three_signatures_are_refused() -> None:
    three = seal(payload_type("receipt"), FIRST.payload(), GIVER, RECEIVER, MALLORY)
    with pytest.raises(StatementError):
        parse_receipt(three.dump())
    with pytest.raises(StatementError):
        parse_receipt(seal(payload_type("vouch"), FIRST.payload(), RECEIVER).dump())


def test_the_chain_of_a_pair() -> None:
    check_follows(FIRST, None)
    check_follows(SECOND, FIRST)


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=8))
def test_a_chain_of_any_length_adds_up(sizes: list[int]) -> None:
    last = replace(FIRST, bytes=sizes[0], total_bytes=sizes[0])
    check_follows(last, None)
    for size in sizes[1:]:
        new = after(last, size)
        check_follows(new, last)
        last = new
    assert (last.total_bytes, last.total_receipts) == (sum(sizes), len(sizes))


@pytest.mark.parametrize(
    ("new", "previous"),
    [
        (SECOND, None),
        (FIRST, FIRST),
        (FIRST, SECOND),
        (replace(SECOND, prev=hex_id("other")), FIRST),
        (replace(SECOND, seq=3, total_receipts=3), FIRST),
        (replace(SECOND, total_bytes=1004), FIRST),
        (replace(SECOND, total_bytes=1006), FIRST),
        (replace(SECOND, giver=hex_id("carol")), FIRST),
        (replace(FIRST, total_bytes=1001), None),
    ],
    ids=range(9),
)
def test_what_does_not_follow(new: Receipt, previous: Receipt | None) -> None:
    with pytest.raises(SequenceError):
        check_follows(new, previous)


def test_two_with_one_number_are_a_fraud_proof() -> None:
    other = replace(SECOND, bytes=6, total_bytes=1006)
    assert fraud_proof(SECOND, other)
    assert fraud_proof(other, SECOND)
    with pytest.raises(EquivocationError):
        check_follows(other, SECOND)
    for fine in (
        SECOND,
        FIRST,
        replace(other, giver=hex_id("carol")),
        replace(other, receiver=hex_id("carol")),
    ):
        assert not fraud_proof(SECOND, fine)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("v", 2),
        ("kind", "vouch"),
        ("from", "alice"),
        ("to", FIRST.giver),
        ("manifest", None),
        ("transfer", ""),
        ("transfer", "../x"),
        ("transfer", "a" * 65),
        ("seq", 0),
        ("seq", 2),
        ("prev", hex_id("x")),
        ("prev", ""),
        ("bytes", -1),
        ("bytes", 1001),
        ("bytes", 2**53),
        ("pieces", -1),
        ("wasted", True),
        ("route", "Relay"),
        ("route", ""),
        ("cost", -1),
        ("total_bytes", 999),
        ("total_receipts", 2),
        ("at", -1),
        ("extra", 1),
    ],
)
def test_limits(name: str, value: Any) -> None:
    with pytest.raises((StatementError, MalformedError)):
        payload = dumps(json.loads(FIRST.payload()) | {name: value})
        parse_receipt(seal(payload_type("receipt"), payload, RECEIVER).dump())


@pytest.mark.parametrize(("name", "value"), [("bytes", 1.0), ("pieces", True), ("seq", 2), ("route", None)])
def test_what_could_not_be_read_cannot_be_made(name: str, value: Any) -> None:
    with pytest.raises((StatementError, MalformedError)):
        replace(FIRST, **{name: value})
