"""Canonical JSON: the published vectors, what is refused, and one encoder checked against the other."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from skyswarm.errors import InputError, MalformedError, TooLargeError
from skyswarm.messages.canonical import MAX_DEPTH, MAX_INTEGER, dumps, loads

JCS = Path(__file__).parents[2] / "vectors/jcs"
NAMES = sorted(path.stem for path in (JCS / "output").iterdir())
WITH_FLOATS = {"values"}

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


def test_all_six_published_pairs_are_here() -> None:
    assert NAMES == ["arrays", "french", "structures", "unicode", "values", "weird"]


@pytest.mark.parametrize("name", NAMES)
def test_jcs(name: str) -> None:
    given_ = json.loads((JCS / f"input/{name}.json").read_bytes())
    expected = (JCS / f"output/{name}.json").read_bytes()
    assert expected.hex() == (JCS / f"outhex/{name}.txt").read_text().replace(" ", "").replace("\n", "")
    assert rfc8785.dumps(given_) == expected
    if name in WITH_FLOATS:
        with pytest.raises(MalformedError, match="only integers"):
            loads(expected, 10_000)
    else:
        assert dumps(loads(expected, 10_000)) == expected


@pytest.mark.parametrize("name", NAMES)
def test_jcs_inputs_are_refused_as_they_are(name: str) -> None:
    with pytest.raises(MalformedError):
        loads((JCS / f"input/{name}.json").read_bytes(), 10_000)


@given(VALUES)
def test_what_is_dumped_is_loaded_and_equals_rfc8785(value: Any) -> None:
    data = dumps(value)
    assert data == rfc8785.dumps(value)
    assert loads(data, len(data)) == value


# Keys on both sides of the surrogates are where code point order and UTF-16 order part.
@given(st.dictionaries(st.text("a\ue000\uffff\U00010000\U0010ffff\u0080", max_size=3), st.integers(0, 9)))
def test_only_utf_16_order_of_keys_is_canonical(value: dict[str, int]) -> None:
    by_code_point = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    canonical = rfc8785.dumps(value)
    assert loads(canonical, 10_000) == value
    if by_code_point != canonical:
        with pytest.raises(MalformedError):
            loads(by_code_point, 10_000)


def test_the_order_of_keys_that_both_encoders_disagree_on() -> None:
    assert dumps({"\uffff": 1, "\U00010000": 2}) == '{"\U00010000":2,"\uffff":1}'.encode()
    with pytest.raises(MalformedError):
        loads('{"\uffff":1,"\U00010000":2}'.encode(), 100)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" 1",
        b"1 ",
        b"1\n",
        b"\xef\xbb\xbf1",
        b"-0",
        b"01",
        b"+1",
        b"1.0",
        b"1e2",
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"9007199254740992",
        b"-9007199254740992",
        b"9" * 5000,
        b'{"a":1,"a":1}',
        b'{"b":1,"a":1}',
        b'{"a": 1}',
        b"[1,]",
        b"[1] [2]",
        b'"\\u0041"',
        b'"\\/"',
        b'"\\u000A"',
        b'"\\ud800"',
        b'"\\ud83d\\ude02"',
        b'"\xed\xa0\x80"',
        b'"\xff"',
        b'"\n"',
        b"'a'",
        b"{a:1}",
        b"nul",
        b"true false",
        "\u0661".encode(),
    ],
)
def test_everything_that_is_not_canonical_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        loads(data, 10_000)


def test_limits() -> None:
    assert loads(b"[%d,-%d]" % (MAX_INTEGER, MAX_INTEGER), 100) == [MAX_INTEGER, -MAX_INTEGER]
    assert loads(b"[1]", 3) == [1]
    with pytest.raises(TooLargeError):
        loads(b"[1]", 2)
    deep = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
    assert loads(deep, 1000) != []
    with pytest.raises(TooLargeError):
        loads(b"[" + deep + b"]", 1000)
    with pytest.raises(TooLargeError):
        loads(b"[" * 100_000, 1_000_000)


def test_brackets_in_text_are_not_nesting() -> None:
    value = {"a": "[" * 50 + '"\\{' * 20}
    assert loads(dumps(value), 1000) == value


@pytest.mark.parametrize("data", [b'"' + b"\\" * 100_000, b'"' * 99_999, b'{"' * 50_000])
def test_hostile_strings_cost_no_time(data: bytes) -> None:
    with pytest.raises((MalformedError, TooLargeError)):
        loads(data, 1_000_000)


@pytest.mark.parametrize(
    "value",
    [
        1.0,
        {"a": 0.5},
        [float("nan")],
        {1: 2},
        {"a": {None: 1}},
        b"x",
        {1},
        object(),
        MAX_INTEGER + 1,
        "\ud800",
    ],
    ids=lambda value: re.sub(r" at 0x\w+", "", repr(value)),  # the same in every worker of xdist
)
def test_what_has_no_canonical_form_is_not_dumped(value: Any) -> None:
    with pytest.raises(MalformedError):
        dumps(value)


def test_a_value_that_holds_itself_is_not_dumped() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(MalformedError):
        dumps(value)


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 17 + b'"' + b'\\"' * 500_000,
        b"[" * 17 + b'"' + b'\\"' * 500_000 + b"\\",
        b"[" * 17 + b'"' * 1_000_001,
        b"[" * 17 + b'"a",' * 250_000,
        b"[" * 500_000 + b"]" * 500_000,
        b'{"' + b"\\u0000" * 160_000 + b'":' + b"[" * 17,
    ],
)
def test_the_worst_input_costs_linear_time(data: bytes) -> None:
    """One megabyte each; the limit is many times what it costs, and a small part of what quadratic time would."""
    began = time.process_time()
    with pytest.raises(InputError):
        loads(data, 1 << 21)
    assert time.process_time() - began < 3.0
