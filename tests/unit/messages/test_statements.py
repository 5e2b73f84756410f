"""Statements: every kind there and back, every limit, and one gate for those made here and those read."""

from __future__ import annotations

import hashlib
import json
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from skyswarm.errors import MalformedError, SkyError, StatementError, TooLargeError
from skyswarm.messages.canonical import dumps
from skyswarm.messages.dsse import seal
from skyswarm.messages.fields import b64url
from skyswarm.messages.keys import commitment, did_key
from skyswarm.messages.statements import (
    SCOPES,
    Announce,
    Distrust,
    Head,
    Retire,
    Revoke,
    Rotate,
    Seen,
    Statement,
    Vouch,
    parse_signed,
    parse_statement,
    payload_type,
)
from tests.support.signing import DAY, born, enveloped, hex_id, signer

ALICE, BOB = born("alice"), born("bob")
KEY = did_key(signer("alice next").public)
NEXT = commitment(signer("alice third").public)
SEEN = (Seen("log.example/a", 4, hex_id("root")), Seen("log.example/b", 0, hex_id("empty")))
LOOKUPS = tuple(sorted(b64url(hashlib.sha256(bytes([n])).digest()) for n in range(64)))
NOW = 1_790_000_000
VOUCH = Vouch(
    ALICE.iss,
    1,
    ALICE.id,
    BOB.iss,
    ("fetch", "store"),
    7,
    10**12,
    NOW,
    NOW + 90 * DAY,
    (("log.example/a", 3),),
    SEEN,
)
ANNOUNCE = Announce(
    ALICE.iss, 4095, NOW * 1000, f"https://a.example/a/{ALICE.iss}", Head(1, VOUCH.id), LOOKUPS, NOW + DAY
)
EVERY: list[Statement] = [
    ALICE,
    replace(ALICE, recovery=tuple(sorted(hex_id(name) for name in "abc")), seen=SEEN),
    Rotate(ALICE.iss, 1, ALICE.id, KEY, NEXT),
    Rotate(ALICE.iss, 9, hex_id("eighth"), KEY, NEXT, hex_id("stolen"), SEEN),
    Retire(ALICE.iss, 2, hex_id("first"), KEY),
    VOUCH,
    replace(VOUCH, limit=None, cut=(), seen=(), depth=0, scope=SCOPES),
    replace(VOUCH, limit=0, cut=(("log.example/a", -1), ("log.example/b", 0))),
    Revoke(ALICE.iss, 2, VOUCH.id, vouch=VOUCH.id),
    Revoke(ALICE.iss, 2, VOUCH.id, sub=BOB.iss, reason="left the club", cut=(("log.example/a", 7),)),
    Distrust(ALICE.iss, 2, VOUCH.id, BOB.iss, ("fetch",)),
    Distrust(ALICE.iss, 2, VOUCH.id, BOB.iss, SCOPES, "r" * 200, (("log.example/a", 7),), SEEN),
    ANNOUNCE,
    replace(ANNOUNCE, lookups=(), part=0, exp=NOW + 1),
]
# What `test_no_field_…` writes into a field that may well hold it.
FINE = (("limit", None), ("reason", "x"), ("reason", ""))


def document(statement: Statement, drop: str = "", **changes: Any) -> bytes:
    value = json.loads(statement.payload()) | changes
    value.pop(drop, None)
    return dumps(value)


@pytest.mark.parametrize("statement", EVERY, ids=lambda one: one.kind)
def test_there_and_back(statement: Statement) -> None:
    signed = parse_signed(enveloped(statement, "alice"))
    assert signed.statement == statement
    assert signed.statement.payload() == statement.payload() == signed.envelope.payload
    assert signed.id == statement.id == hashlib.sha256(statement.payload()).hexdigest()
    assert signed.envelope_bytes == signed.envelope.dump()
    assert hash(signed.statement) == hash(statement)


@pytest.mark.parametrize("statement", EVERY, ids=lambda one: one.kind)
def test_no_field_may_be_absent_unknown_or_of_another_type(statement: Statement) -> None:
    value = json.loads(statement.payload())
    kind_type = payload_type(statement.kind)
    optional = {"undo", "cut", "reason"} if statement.kind != "distrust" else {"cut"}
    for name in value:
        if name not in optional:
            with pytest.raises(StatementError):
                parse_statement(kind_type, document(statement, drop=name))
        for wrong in (None, True, "", "x", -2, [[]], {"": 0}):
            if value[name] == wrong or (name, wrong) in FINE:
                continue
            with pytest.raises(StatementError):
                parse_statement(kind_type, document(statement, **{name: wrong}))
    with pytest.raises(StatementError, match="unknown field 'extra'"):
        parse_statement(kind_type, document(statement, extra=1))


@pytest.mark.parametrize("statement", EVERY, ids=lambda one: one.kind)
def test_the_type_outside_is_the_kind_inside(statement: Statement) -> None:
    for other in {one.kind for one in EVERY} - {statement.kind} | {"receipt", "manifest", ""}:
        with pytest.raises(StatementError):
            parse_statement(payload_type(other), statement.payload())
        with pytest.raises(StatementError):
            parse_signed(seal(payload_type(other), statement.payload(), signer("alice")).dump())
    with pytest.raises(StatementError):
        parse_statement(statement.kind, statement.payload())


@pytest.mark.parametrize(
    ("statement", "changes"),
    [
        (ALICE, {"seq": 1}),
        (ALICE, {"iss": ALICE.iss}),
        (ALICE, {"key": signer("alice").public.hex()}),
        (ALICE, {"next": KEY}),
        (ALICE, {"recovery": [hex_id("a")] * 2}),
        (ALICE, {"recovery": sorted(hex_id(name) for name in "abcd")}),
        (ALICE, {"recovery": sorted((hex_id(name) for name in "abc"), reverse=True)}),
        (ALICE, {"seen": [{"origin": f"o{n}", "size": n, "root": hex_id("r")} for n in range(9)]}),
        (ALICE, {"seen": [{"origin": "a b", "size": 1, "root": hex_id("r")}]}),
        (ALICE, {"seen": [{"origin": "a+b", "size": 1, "root": hex_id("r")}]}),
        (ALICE, {"seen": [{"origin": "", "size": 1, "root": hex_id("r")}]}),
        (ALICE, {"seen": [{"origin": "o", "size": -1, "root": hex_id("r")}]}),
        (ALICE, {"seen": [{"origin": "o", "size": 1, "root": "r", "more": 1}]}),
        (ALICE, {"seen": [{"origin": name, "size": 1, "root": hex_id("r")} for name in "ba"]}),
        (EVERY[2], {"seq": 0}),
        (EVERY[2], {"prev": hex_id("x").upper()}),
        (EVERY[2], {"iss": ALICE.iss[:-1]}),
        (EVERY[2], {"undo": None}),
        (VOUCH, {"sub": ALICE.iss}),
        (VOUCH, {"scope": []}),
        (VOUCH, {"scope": ["fetch", "fetch"]}),
        (VOUCH, {"scope": ["store", "fetch"]}),
        (VOUCH, {"scope": ["all"]}),
        (VOUCH, {"depth": 8}),
        (VOUCH, {"depth": -1}),
        (VOUCH, {"limit": -1}),
        (VOUCH, {"exp": NOW}),
        (VOUCH, {"exp": NOW + 90 * DAY + 1}),
        (VOUCH, {"nbf": NOW + 90 * DAY}),
        (VOUCH, {"nbf": 253_402_300_800, "exp": 253_402_300_801}),
        (VOUCH, {"cut": {}}),
        (VOUCH, {"cut": {"a b": 1}}),
        (VOUCH, {"cut": {"a": -2}}),
        (VOUCH, {"cut": {"a": True}}),
        (VOUCH, {"cut": {f"a{n}": 1 for n in range(9)}}),
        (VOUCH, {"v": 2}),
        (VOUCH, {"v": True}),
        (EVERY[8], {"sub": BOB.iss}),
        (EVERY[8], {"reason": ""}),
        (EVERY[8], {"reason": "r" * 201}),
        (EVERY[8], {"reason": "a\u202eb"}),
        (EVERY[8], {"reason": "a\nb"}),
        (EVERY[10], {"sub": ALICE.iss}),
        (EVERY[10], {"scope": []}),
        (ANNOUNCE, {"part": 4096}),
        (ANNOUNCE, {"exp": NOW + DAY + 1}),
        (ANNOUNCE, {"exp": NOW}),
        (ANNOUNCE, {"serial": NOW}),
        (ANNOUNCE, {"lookups": [LOOKUPS[0]] * 2}),
        (ANNOUNCE, {"lookups": list(LOOKUPS[::-1])}),
        (ANNOUNCE, {"lookups": [*LOOKUPS, "z" * 42 + "w"]}),
        (ANNOUNCE, {"lookups": [LOOKUPS[0] + "="]}),
        (ANNOUNCE, {"lookups": [LOOKUPS[0][:-1] + "B"]}),
        (ANNOUNCE, {"head": {"seq": 1}}),
        (ANNOUNCE, {"head": {"seq": 1, "id": VOUCH.id, "x": 1}}),
        (ANNOUNCE, {"endpoint": "https://a.example/a/?q"}),
        (ANNOUNCE, {"endpoint": "https://me@a.example"}),
        (ANNOUNCE, {"endpoint": "https://a.example/" + "a" * 512}),
        (ANNOUNCE, {"seq": 1}),
    ],
    ids=lambda value: value.kind if not isinstance(value, dict) else str(value)[:60],
)
def test_limits(statement: Statement, changes: dict[str, Any]) -> None:
    with pytest.raises(StatementError):
        parse_statement(payload_type(statement.kind), document(statement, **changes))


def test_a_revocation_names_a_vouch_or_an_agent() -> None:
    with pytest.raises(StatementError):
        Revoke(ALICE.iss, 2, VOUCH.id)
    with pytest.raises(StatementError):
        Revoke(ALICE.iss, 2, VOUCH.id, vouch=VOUCH.id, sub=BOB.iss)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("depth", 8),
        ("depth", True),
        ("depth", 1.0),
        ("scope", ["fetch"]),
        ("scope", ("store", "fetch")),
        ("scope", "fetch"),
        ("sub", ALICE.iss),
        ("exp", NOW),
        ("limit", 2**53),
        ("cut", (("b", 1), ("a", 1))),
        ("iss", None),
        ("prev", b"x"),
    ],
)
def test_what_could_not_be_read_cannot_be_made(name: str, value: Any) -> None:
    with pytest.raises((StatementError, MalformedError)):
        replace(VOUCH, **{name: value})


def test_a_changed_copy_has_its_own_id() -> None:
    assert replace(VOUCH, seq=2).id != VOUCH.id
    with pytest.raises(FrozenInstanceError):
        VOUCH.depth = 1  # type: ignore[misc]


def test_an_inception_is_its_agent() -> None:
    assert ALICE.iss == ALICE.id
    assert (ALICE.seq, ALICE.prev, ALICE.kind) == (0, None, "inception")
    assert json.loads(ALICE.payload())["iss"] is None


@pytest.mark.parametrize("statement", EVERY, ids=lambda one: one.kind)
def test_the_number_of_signatures_fits_the_kind(statement: Statement) -> None:
    most = 2 if statement.kind in ("rotate", "retire") else 1
    assert parse_signed(enveloped(statement, *"ab"[:most])).statement == statement
    with pytest.raises(StatementError, match="signatures"):
        parse_signed(enveloped(statement, *"abc"[: most + 1]))


def test_parsing_checks_no_signature() -> None:
    signed = parse_signed(enveloped(VOUCH, "mallory"))
    with pytest.raises(SkyError):
        signed.envelope.verify(signer("alice").public)


def test_a_payload_has_at_most_4_kib() -> None:
    padded = dumps({"kind": "vouch", "x": "x" * 4096})
    with pytest.raises(TooLargeError):
        parse_statement(payload_type("vouch"), padded)
    with pytest.raises(TooLargeError):
        parse_signed(seal(payload_type("vouch"), padded, signer("a")).dump())
    assert len(ANNOUNCE.payload()) < 4096, "the fullest announcement fits"
    fullest = replace(VOUCH, cut=tuple((f"{n}{'o' * 127}", 2**53 - 1) for n in range(8)), seen=SEEN)
    assert len(fullest.payload()) < 4096


@pytest.mark.parametrize("payload", [b"", b"{}", b"[]", b"null", b"1", b'{"kind":1}', b'{"kind":"vouch"}'])
def test_what_is_no_statement(payload: bytes) -> None:
    with pytest.raises((StatementError, MalformedError)):
        parse_statement(payload_type("vouch"), payload)
