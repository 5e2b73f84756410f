"""Bodies of repositories: there and back, every field's rule, every list bounded, envelopes handed on to the byte."""

from __future__ import annotations

import json
from typing import Any

import pytest

from skyswarm.errors import RequestError, TooLargeError
from skyswarm.messages.canonical import dumps
from skyswarm.messages.repository import (
    MAX_BATCH,
    MAX_BODY,
    MAX_FOUND,
    MAX_PAGE,
    MAX_REPLY,
    AnnounceReply,
    AnnounceRequest,
    LookupReply,
    StatementsPage,
)
from skyswarm.messages.statements import Head
from tests.support.signing import a_vouch, born, enveloped, hex_id

BIRTH, VOUCH = enveloped(born("alice"), "alice"), enveloped(a_vouch(), "alice")
ASK = AnnounceRequest(VOUCH, (BIRTH, VOUCH))
BODIES: list[Any] = [
    ASK,
    AnnounceRequest(VOUCH),
    AnnounceReply(True, Head(4, hex_id("x"))),
    AnnounceReply(False, Head(0, hex_id("x"))),
    LookupReply((ASK, AnnounceRequest(BIRTH))),
    LookupReply(()),
    StatementsPage((BIRTH, VOUCH), 2, 9),
    StatementsPage((), 0, 0),
]


def name(value: Any) -> str:
    return type(value).__name__ if not isinstance(value, dict) else str(value)[:60]


@pytest.mark.parametrize("body", BODIES, ids=name)
def test_there_and_back_in_canonical_form(body: Any) -> None:
    data = body.dump()
    assert data == dumps(json.loads(data))
    assert type(body).parse(data) == body


@pytest.mark.parametrize("body", BODIES[::2], ids=name)
def test_no_field_may_be_absent_unknown_or_of_another_type(body: Any) -> None:
    value = json.loads(body.dump())
    for field in value:
        with pytest.raises(RequestError):
            type(body).parse(dumps({key: item for key, item in value.items() if key != field}))
        for wrong in (None, -1, "x", [[]]):
            with pytest.raises(RequestError):
                type(body).parse(dumps(value | {field: wrong}))
    with pytest.raises(RequestError, match="unknown field"):
        type(body).parse(dumps(value | {"extra": 1}))
    with pytest.raises(RequestError):
        type(body).parse(b"[]")


@pytest.mark.parametrize(
    ("body", "field", "item", "most"),
    [
        (ASK, "chain", {}, MAX_BATCH),
        (BODIES[4], "found", {"announce": {}, "chain": []}, MAX_FOUND),
        (BODIES[6], "statements", {}, MAX_PAGE),
    ],
    ids=["chain", "found", "statements"],
)
def test_lists_are_bounded(body: Any, field: str, item: dict[str, Any], most: int) -> None:
    value = json.loads(body.dump())
    assert type(body).parse(dumps(value | {field: [item] * most}))
    with pytest.raises(RequestError, match=f"at most {most}"):
        type(body).parse(dumps(value | {field: [item] * (most + 1)}))


@pytest.mark.parametrize(
    ("body", "changes"),
    [
        (BODIES[2], {"fresh": 1}),
        (BODIES[2], {"head": {"seq": 1, "id": hex_id("x"), "more": 1}}),
        (BODIES[2], {"head": {"seq": 1}}),
        (BODIES[4], {"found": [{"announce": {}}]}),
        (BODIES[4], {"found": [{"announce": {}, "chain": [], "more": 1}]}),
        (BODIES[4], {"found": [{"announce": {}, "chain": [{}] * (MAX_BATCH + 1)}]}),
        (BODIES[6], {"next": 2**53 - 1, "count": True}),
    ],
    ids=name,
)
def test_limits(body: Any, changes: dict[str, Any]) -> None:
    with pytest.raises(RequestError):
        type(body).parse(dumps(json.loads(body.dump()) | changes))


@pytest.mark.parametrize(
    ("kind", "most"),
    [
        (AnnounceRequest, MAX_BODY),
        (AnnounceReply, MAX_BODY),
        (LookupReply, MAX_REPLY),
        (StatementsPage, MAX_REPLY),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_bodies_are_limited(kind: Any, most: int) -> None:
    with pytest.raises(TooLargeError):
        kind.parse(b" " * (most + 1))
