"""Bad input: whatever bytes come in, statements, envelopes, requests, links and status raise only what is documented,
and what they accept they write again as the very same bytes."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyswarm.errors import (
    AudienceError,
    InputError,
    LinkError,
    MalformedError,
    RequestError,
    SignatureError,
    StaleRequestError,
    StatementError,
    StatusError,
    TooLargeError,
)
from skyswarm.messages import requests
from skyswarm.messages.canonical import MAX_INTEGER, dumps, loads
from skyswarm.messages.dsse import Envelope
from skyswarm.messages.httpsig import HEADERS, check_request, sign_request
from skyswarm.messages.keys import did_key, parse_did_key
from skyswarm.messages.link import Link, parse_link
from skyswarm.messages.receipts import Receipt, parse_receipt, sign_receipt
from skyswarm.messages.statements import (
    Announce,
    Distrust,
    Head,
    Revoke,
    Rotate,
    parse_signed,
    parse_statement,
    payload_type,
)
from skyswarm.messages.status import Cost, CostLine, FailedFile, Moved, Progress, Source, Status, Trouble
from skyswarm.messages.urls import parse_endpoint, parse_url
from tests.support.signing import a_vouch, born, enveloped, hex_id, signer

ID, KEY = hex_id("x"), did_key(signer("k").public)
NOW = 1_790_000_000
STATEMENTS = [
    born("alice"),
    Rotate(ID, 1, ID, KEY, ID, ID),
    a_vouch(),
    Revoke(ID, 1, ID, sub=hex_id("y"), reason="r", cut=(("o", 1),)),
    Distrust(ID, 1, ID, hex_id("y"), ("fetch",), "r"),
    Announce(ID, 0, NOW * 1000, "http://a.example", Head(1, ID), (), NOW + 60),
]
VOUCH = enveloped(a_vouch(), "alice")
RECEIPT = sign_receipt(
    Receipt(ID, hex_id("y"), ID, "t-1", 1, None, 1, 1, 0, "relay", 0, 1, 1, NOW), signer("bob")
).dump()
STATUS = Status(
    "t-1", "failed", "n", Progress(0, 1), Moved(0, 1, 0, 0), Progress(0, 1), 0, 1,
    Cost(0, None, 1, (CostLine("egress", "them", 1),)), 1, 2, 3,
    (Source(ID, 1, "active"),), (ID,), (ID,), Trouble("SKY-310", "m", "a"), (FailedFile("p", "SKY-313", "m"),),
).dump()  # fmt: skip
GRANT = requests.UrlGrant("http://a.example/k?s=1", NOW)
BODIES: dict[str, tuple[Callable[[bytes], Any], bytes]] = {
    type(value).__name__: (type(value).parse, value.dump())
    for value in (
        requests.FetchRequest(ID, (requests.Want(0, 0, 0, 1),), (ID,), (VOUCH,)),
        requests.FetchReply((GRANT,), (0,), (None,), "folder", Head(0, ID), (ID,)),
        requests.SubmitRequest((VOUCH,)),
        requests.SubmitReply((requests.Outcome(0), requests.Outcome(None, "SKY-106", "m")), "o\n"),
    )
}

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-MAX_INTEGER, MAX_INTEGER)
    | st.text(max_size=12)
    | st.sampled_from([ID, KEY, "http://a.example", "fetch", "", 0, 1, -1, 2**31, "e30=", "sky"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def bent(draw: st.DrawFn, good: bytes) -> bytes:
    """A good document in which one to three values, at any depth, are dropped, replaced or joined by others."""
    value = json.loads(good)
    for _ in range(draw(st.integers(1, 3))):
        node = value
        while True:
            names = list(node) if isinstance(node, dict) else list(range(len(node)))
            if not names:
                break
            name = draw(st.sampled_from(names))
            if isinstance(node[name], dict | list) and draw(st.booleans()):
                node = node[name]
                continue
            if draw(st.booleans()):
                node[name] = draw(VALUES)
            elif isinstance(node, dict):
                node.pop(name)
                node[draw(st.sampled_from(["x", "v", "undo", "cut", "reason", "sub", "vouch"]))] = draw(
                    VALUES
                )
            else:
                node.append(draw(VALUES))
            break
    return dumps(value)


@st.composite
def cut(draw: st.DrawFn, good: bytes) -> bytes:
    """A good document with some bytes cut out and others put in."""
    data = good
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        insert = draw(
            st.binary(max_size=4) | st.sampled_from([b'"', b"{", b"[", b"\\u", b"\xed\xa0\x80", b"-0", b","])
        )
        data = data[:at] + insert + data[at + draw(st.integers(0, 4)) :]
    return data


def hostile(good: bytes) -> st.SearchStrategy[bytes]:
    return bent(good) | cut(good) | st.binary(max_size=60) | VALUES.map(dumps)


@settings(max_examples=400)
@given(st.binary(max_size=80) | VALUES.map(dumps) | cut(VOUCH))
def test_canonical_json(data: bytes) -> None:
    try:
        value = loads(data, 100_000)
    except (MalformedError, TooLargeError):
        return
    assert dumps(value) == data


@settings(max_examples=300)
@given(hostile(VOUCH))
def test_envelopes(data: bytes) -> None:
    try:
        envelope = Envelope.parse(data, 4096)
    except (MalformedError, TooLargeError):
        return
    assert envelope.dump() == data
    for public in (signer("alice").public, signer("bob").public):
        try:
            envelope.verify(public)
        except SignatureError:
            continue
        assert envelope.payload == a_vouch().payload(), "nobody signed anything else"


@settings(max_examples=200)
@pytest.mark.parametrize("index", range(len(STATEMENTS)), ids=lambda index: STATEMENTS[index].kind)
@given(st.data())
def test_statements(index: int, data: st.DataObject) -> None:
    good = STATEMENTS[index]
    payload = data.draw(hostile(good.payload()))
    try:
        statement = parse_statement(payload_type(good.kind), payload)
    except (StatementError, MalformedError, TooLargeError):
        return
    assert statement.payload() == payload


def wrapped(kind: str, payload: bytes) -> bytes:
    signatures = [{"keyid": KEY, "sig": base64.b64encode(bytes(64)).decode()}]
    body = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": payload_type(kind),
        "signatures": signatures,
    }
    return dumps(body)


@settings(max_examples=200)
@given(
    hostile(VOUCH)
    | st.builds(wrapped, st.sampled_from(["vouch", "rotate", "receipt", "x"]), hostile(a_vouch().payload()))
)
def test_signed_statements(data: bytes) -> None:
    try:
        signed = parse_signed(data)
    except (StatementError, MalformedError, TooLargeError):
        return
    assert signed.envelope.dump() == data
    assert signed.statement.payload() == signed.envelope.payload


@settings(max_examples=200)
@given(
    hostile(RECEIPT)
    | st.builds(wrapped, st.just("receipt"), hostile(parse_receipt(RECEIPT).receipt.payload()))
)
def test_receipts(data: bytes) -> None:
    try:
        signed = parse_receipt(data)
    except (StatementError, MalformedError, TooLargeError):
        return
    assert signed.dump() == data


@settings(max_examples=200)
@pytest.mark.parametrize("name", BODIES)
@given(st.data())
def test_bodies(name: str, data: st.DataObject) -> None:
    parse, good = BODIES[name]
    body = data.draw(hostile(good))
    try:
        message = parse(body)
    except (RequestError, MalformedError, TooLargeError):
        return
    assert message.dump() == body


@settings(max_examples=300)
@given(hostile(STATUS))
def test_status(data: bytes) -> None:
    try:
        status = Status.parse(data)
    except (StatusError, MalformedError, TooLargeError):
        return
    assert status.dump() == data


LINK = Link(ID, "a b", ("http://a.example", "http://[::1]:9/r"), "https://b.example/a/x").format()


@settings(max_examples=400)
@given(
    st.text(max_size=40)
    | st.text("%0aA&=?nameropt:/\u00e9\n", max_size=40).map(lambda tail: f"skyswarm:{ID}?{tail}")
    | cut(LINK.encode()).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
)
def test_links(text: str) -> None:
    try:
        link = parse_link(text)
    except LinkError:
        return
    assert link.format() == text


@settings(max_examples=300)
@given(
    st.text(max_size=40)
    | cut(b"https://user.example:8080/a/b%20?q=1").map(lambda raw: raw.decode("utf-8", "surrogateescape"))
)
def test_urls_and_keys(text: str) -> None:
    for parse in (parse_url, parse_endpoint):
        try:
            parse(text)
        except MalformedError:
            continue
        assert text.isascii()
    try:
        public = parse_did_key(text)
    except MalformedError:
        return
    assert did_key(public) == text


ASKED = {
    name.lower(): value
    for name, value in sign_request(
        "POST", "http://a.example/x?y", b"{}", signer("k"), hex_id("bob"), ID, NOW, "A" * 22
    ).items()
}


@settings(max_examples=400)
@given(
    headers=st.fixed_dictionaries(
        {},
        optional={
            name: st.just(ASKED[name])
            | st.text(max_size=20)
            | cut(ASKED[name].encode()).map(lambda raw: raw.decode("latin-1"))
            for name in HEADERS
        },
    ),
    target=st.tuples(
        st.just("POST") | st.text(max_size=5),
        st.just("/x") | st.text(max_size=9),
        st.just("y") | st.text(max_size=5),
    ),
    authority=st.just("a.example") | st.text(max_size=9) | st.lists(st.text(max_size=5), max_size=6),
    body=st.just(b"{}") | st.binary(max_size=5),
    now=st.just(float(NOW)) | st.floats(),
)
def test_signed_requests(
    headers: dict[str, str], target: tuple[str, str, str], authority: str | list[str], body: bytes, now: float
) -> None:
    method, path, query = target
    try:
        checked = check_request(method, authority, path, query, headers, body, ID, now)
    except (RequestError, StaleRequestError, AudienceError, SignatureError):
        return
    assert headers == ASKED, "nothing but what was signed passes"
    assert (method, path, query, body) == ("POST", "/x", "y", b"{}")
    assert NOW - 120 <= now <= NOW + 180
    assert checked.agent == hex_id("bob")


def test_the_good_documents_of_this_file_are_good() -> None:
    assert Envelope.parse(VOUCH, 4096).dump() == VOUCH
    assert parse_receipt(RECEIPT).dump() == RECEIPT
    assert Status.parse(STATUS).dump() == STATUS
    assert parse_link(LINK).format() == LINK
    assert all(parse(good).dump() == good for parse, good in BODIES.values())
    assert check_request("POST", "a.example", "/x", "y", ASKED, b"{}", ID, NOW).nonce == "A" * 22
    assert all(issubclass(error, InputError) for error in (MalformedError, RequestError, StatusError))
