"""Reading fields: each rule, and that nothing is left unread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyswarm.errors import MalformedError, RequestError, StatusError
from skyswarm.messages.fields import LOOKUP, MAX_TIME, Fields, b64url, from_b64url
from skyswarm.messages.keys import did_key
from skyswarm.messages.urls import parse_endpoint
from tests.support.signing import hex_id

READ: dict[str, Callable[[Fields], Any]] = {
    "fixed": lambda f: f.fixed("x", 1),
    "integer": lambda f: f.integer("x", -1, 5),
    "time": lambda f: f.time("x"),
    "text": lambda f: f.text("x", 3, 1),
    "lines": lambda f: f.lines("x", 3),
    "choice": lambda f: f.choice("x", ("a", "b")),
    "id": lambda f: f.id("x"),
    "did": lambda f: f.did("x"),
    "url": lambda f: f.url("x", parse_endpoint),
    "maybe": lambda f: f.maybe("x", f.integer),
    "ids": lambda f: f.ids("x", 2),
    "mapping": lambda f: f.mapping("x"),
    "object": lambda f: f.object("x").end(),
}
GOOD: list[tuple[str, Any]] = [
    ("fixed", 1),
    ("integer", -1),
    ("integer", 5),
    ("time", 0),
    ("time", MAX_TIME),
    ("text", "\u00e9\u4e2d\U0001f600"),
    ("lines", "a\n"),
    ("lines", ""),
    ("choice", "b"),
    ("id", hex_id("a")),
    ("did", did_key(bytes(32))),
    ("url", "http://a.example"),
    ("maybe", None),
    ("maybe", 0),
    ("ids", []),
    ("ids", [hex_id("b"), hex_id("a")]),
    ("mapping", {"a": 1}),
    ("object", {}),
]
BAD: list[tuple[str, Any]] = [
    ("fixed", True),
    ("fixed", "1"),
    ("fixed", 1.0),
    ("integer", True),
    ("integer", 6),
    ("integer", -2),
    ("integer", "1"),
    ("integer", None),
    ("time", MAX_TIME + 1),
    ("time", -1),
    ("text", ""),
    ("text", "abcd"),
    ("text", "a\x00"),
    ("text", "a\x1b"),
    ("text", "\x85"),
    ("text", "\u202e"),
    ("text", "\u2028"),
    ("text", "\ufeff"),
    ("text", "a\n"),
    ("text", 1),
    ("lines", "abcd"),
    ("lines", "\r"),
    ("lines", None),
    ("choice", "c"),
    ("choice", ["a"]),
    ("id", hex_id("a").upper()),
    ("id", hex_id("a") + "\n"),
    ("id", "\u0660" * 64),
    ("id", 1),
    ("did", "did:key:z"),
    ("did", None),
    ("url", "x"),
    ("url", []),
    ("maybe", ""),
    ("ids", [1]),
    ("ids", [hex_id(name) for name in "abc"]),
    ("ids", {}),
    ("mapping", []),
    ("object", []),
    ("object", {"y": 1}),
]


@pytest.mark.parametrize(("rule", "value"), GOOD, ids=str)
def test_accepted(rule: str, value: Any) -> None:
    fields = Fields({"x": value}, "thing", StatusError)
    READ[rule](fields)
    fields.end()


@pytest.mark.parametrize(("rule", "value"), BAD, ids=str)
def test_refused(rule: str, value: Any) -> None:
    with pytest.raises(StatusError, match="thing: x"):
        READ[rule](Fields({"x": value}, "thing", StatusError))


@pytest.mark.parametrize("rule", READ)
def test_missing(rule: str) -> None:
    with pytest.raises(RequestError, match="x is missing"):
        READ[rule](Fields({"y": 1}, "thing", RequestError))


def test_what_is_not_read_is_unknown() -> None:
    fields = Fields({"x": 1, "y": 2}, "thing", StatusError)
    assert fields.has("x")
    fields.integer("x")
    assert not fields.has("x")
    with pytest.raises(StatusError, match="unknown field 'y'"):
        fields.end()


def test_the_value_read_is_left_as_it_was() -> None:
    value = {"x": 1}
    Fields(value, "thing", StatusError).integer("x")
    assert value == {"x": 1}


@pytest.mark.parametrize("value", [None, [], "x", 1])
def test_only_objects_have_fields(value: Any) -> None:
    with pytest.raises(StatusError, match="not a JSON object"):
        Fields(value, "thing", StatusError)


@given(st.binary(max_size=70))
def test_base64url(raw: bytes) -> None:
    text = b64url(raw)
    assert from_b64url(text) == raw
    assert "=" not in text
    assert (LOOKUP.fullmatch(text) is not None) == (len(raw) == 32)


@pytest.mark.parametrize("text", ["A", "AB", "AAB", "AA==", "A A", "A+", "A/", "\n", "AAAAA", "\u00e9"])
def test_other_spellings_of_base64url(text: str) -> None:
    with pytest.raises(MalformedError):
        from_b64url(text)
