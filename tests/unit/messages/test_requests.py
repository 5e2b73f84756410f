"""Bodies of requests and replies: there and back, every list bounded, envelopes handed on to the byte."""

from __future__ import annotations

import json
from typing import Any

import pytest

from skyswarm.errors import InputError, RequestError, TooLargeError
from skyswarm.messages.canonical import dumps
from skyswarm.messages.requests import (
    MAX_REPLY,
    MAX_REQUEST,
    FetchReply,
    FetchRequest,
    Outcome,
    SubmitReply,
    SubmitRequest,
    UrlGrant,
    Want,
)
from skyswarm.messages.statements import Head
from tests.support.signing import a_vouch, born, enveloped, hex_id

VOUCH = enveloped(a_vouch(), "alice")
BIRTH = enveloped(born("alice"), "alice")
ID = hex_id("x")
GRANT = UrlGrant("https://b.s3.example/k%20ey?X-Amz-Signature=a%2Fb", 1_790_000_000)
ASK = FetchRequest(
    ID, (Want(0, 0, 0, 1), Want(3, 999, 9990, 10), Want(1, 2, 0, 0)), (hex_id("o"),), (BIRTH, VOUCH)
)
ANSWER = FetchReply((GRANT, GRANT), (0, 1, 0), (None,), "s3/eu-central-1", Head(4, ID), (ID, hex_id("y")))
BODIES: list[Any] = [
    ASK,
    FetchRequest(ID, objects=(ID,)),
    ANSWER,
    FetchReply((), (), (), "folder", Head(0, ID)),
    SubmitRequest((BIRTH, VOUCH)),
    SubmitRequest(()),
    SubmitReply((Outcome(0), Outcome(None, "SKY-213", "it does not follow")), "origin\n12\n"),
    SubmitReply(()),
]


def name(value: Any) -> str:
    return type(value).__name__ if not isinstance(value, dict) else str(value)[:60]


@pytest.mark.parametrize("body", BODIES, ids=name)
def test_there_and_back(body: Any) -> None:
    assert type(body).parse(body.dump()) == body


@pytest.mark.parametrize("body", BODIES[::2], ids=name)
def test_no_field_may_be_absent_or_unknown(body: Any) -> None:
    value = json.loads(body.dump())
    for field in value:
        with pytest.raises(RequestError):
            type(body).parse(dumps({key: item for key, item in value.items() if key != field}))
        for wrong in (True, -1, "\x00", {"": 0}, [[]]):
            with pytest.raises(RequestError):
                type(body).parse(dumps(value | {field: wrong}))
    with pytest.raises(RequestError, match="unknown field"):
        type(body).parse(dumps(value | {"extra": 1}))
    with pytest.raises(RequestError):
        type(body).parse(b"[]")


def want(**changes: int) -> dict[str, Any]:
    return {"want": [{"page": 0, "file": 0, "first": 0, "count": 1} | changes]}


@pytest.mark.parametrize(
    ("body", "changes"),
    [
        (ASK, want(file=1000)),
        (ASK, want(first=10_000)),
        (ASK, want(count=10_001)),
        (ASK, want(first=9_999, count=2)),
        (ASK, want(first=1, count=0)),
        (ASK, want(page=2**31)),
        (ASK, want(page=-1)),
        (ASK, want(more=1)),
        (ASK, {"want": [{}]}),
        (ASK, {"want": [], "objects": []}),
        (ASK, {"want": want()["want"] * 513}),
        (ASK, {"objects": [ID] * 65}),
        (ASK, {"objects": ["a"]}),
        (ASK, {"proof": ["e30="]}),
        (ASK, {"proof": [{}] * 65}),
        (ANSWER, {"wants": [2]}),
        (ANSWER, {"wants": [None]}),
        (ANSWER, {"wants": [-1]}),
        (ANSWER, {"objects": [2]}),
        (ANSWER, {"objects": ["0"]}),
        (ANSWER, {"urls": [{"url": "file:///etc/passwd", "exp": 1}]}),
        (ANSWER, {"urls": [{"url": "http://a.example/" + "a" * 4096, "exp": 1}]}),
        (ANSWER, {"urls": [{"url": "http://me@a.example/", "exp": 1}]}),
        (ANSWER, {"urls": [{"url": GRANT.url, "exp": -1}]}),
        (ANSWER, {"urls": [{"url": GRANT.url}]}),
        (ANSWER, {"storage": "S3"}),
        (ANSWER, {"storage": "a" * 65}),
        (ANSWER, {"head": {"seq": 0, "id": ID, "x": 1}}),
        (ANSWER, {"chain": [ID] * 17}),
        (BODIES[6], {"results": [{"position": 1, "code": "SKY-213", "message": ""}]}),
        (BODIES[6], {"results": [{"position": None, "code": None, "message": None}]}),
        (BODIES[6], {"results": [{"position": None, "code": "SKY-213", "message": None}]}),
        (BODIES[6], {"results": [{"position": None, "code": "213", "message": ""}]}),
        (BODIES[6], {"promise": "a\x1b"}),
        (BODIES[4], {"statements": [{}] * 257}),
        (BODIES[6], {"promise": "a" * 16_385}),
    ],
    ids=name,
)
def test_limits(body: Any, changes: dict[str, Any]) -> None:
    with pytest.raises(RequestError):
        type(body).parse(dumps(json.loads(body.dump()) | changes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"first": 1, "count": 0}, "count of 0"), ({"first": 9_999, "count": 2}, "at most 10000 pieces")],
    ids=["nothing after the first", "after the last"],
)
def test_a_want_that_cannot_be_is_refused_for_what_it_is(changes: dict[str, int], said: str) -> None:
    with pytest.raises(RequestError, match=said):
        FetchRequest.parse(dumps(json.loads(ASK.dump()) | want(**changes)))


def test_envelopes_come_out_as_the_bytes_they_were() -> None:
    assert FetchRequest.parse(ASK.dump()).proof == (BIRTH, VOUCH)
    assert SubmitRequest.parse(SubmitRequest((VOUCH,)).dump()).statements == (VOUCH,)


def test_an_envelope_in_another_form_is_not_sent() -> None:
    with pytest.raises(InputError):
        SubmitRequest((VOUCH + b" ",)).dump()


def test_an_envelope_is_no_larger_than_a_statements() -> None:
    body = dumps({"v": 1, "statements": [{"x": "x" * 7000}]})
    with pytest.raises(TooLargeError):
        SubmitRequest.parse(body)


def test_bodies_are_limited() -> None:
    with pytest.raises(TooLargeError):
        FetchRequest.parse(b" " * (MAX_REQUEST + 1))
    with pytest.raises(TooLargeError):
        FetchReply.parse(b" " * (MAX_REPLY + 1))
    with pytest.raises(TooLargeError):
        FetchReply((UrlGrant("http://a.example/" + "a" * 4000, 1),) * 300, (), (), "s3", Head(0, ID)).dump()


def test_a_reply_fits_what_was_asked() -> None:
    ANSWER.fits(ASK)
    for other in (
        FetchRequest(ID, ASK.want[:2], ASK.objects),
        FetchRequest(ID, ASK.want),
        FetchRequest(ID, ASK.want, (ID, ID)),
    ):
        with pytest.raises(RequestError):
            ANSWER.fits(other)
