"""Canonical JSON (RFC 8785): the only JSON that is signed, hashed or parsed here.

Law: bytes in, plain values out, and only if those very bytes are the one canonical form of the values
(`spec/messages.md`). So a document has exactly one id. Floats, integers of 2^53 and above, duplicate
keys, lone surrogates and anything longer or deeper than the caller allows are refused.
"""

from __future__ import annotations

import json
import re
from typing import Any

import rfc8785

from skyswarm.errors import MalformedError, TooLargeError

MAX_INTEGER = 2**53 - 1
MAX_DEPTH = 16

# A string that never ends reaches to the end: or every quote in it would be tried anew, in quadratic time.
_STRINGS = re.compile(rb'"(?:[^"\\]++|\\.|\\\Z)*+(?:"|\Z)', re.DOTALL)
_ASTRAL = re.compile(rb"[\xf0-\xff]")
_ENCODE = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":"), check_circular=False
).encode
_BRACKETS = re.compile(rb"[\[\]{}]")


def dumps(value: Any) -> bytes:
    """The canonical bytes of a value made of dict, list, str, int, bool and None. MalformedError for all else."""
    try:
        _check(value)
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, RecursionError) as error:
        raise MalformedError(f"this value has no canonical JSON form: {error}") from error


def loads(data: bytes, limit: int) -> Any:
    """Parse canonical JSON of at most `limit` bytes. MalformedError or TooLargeError, nothing else."""
    if len(data) > limit:
        raise TooLargeError(f"{len(data)} bytes of JSON, at most {limit} are allowed")
    # Counting brackets runs at C speed; only a document with many of them is worth the exact scan.
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH and _nesting(data) > MAX_DEPTH:
        raise TooLargeError(f"JSON nested deeper than {MAX_DEPTH}")
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_object,
            parse_float=_no_float,
            parse_constant=_no_float,
            parse_int=_integer,
        )
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise MalformedError(f"not JSON: {error}") from error
    if _again(value, data) != data:
        raise MalformedError("JSON that is not in its canonical form (RFC 8785)")
    return value


def _again(value: Any, data: bytes) -> bytes:
    """The canonical bytes of what was just parsed from `data`.

    Without floats, RFC 8785 and the C encoder of the standard library differ in one thing only: the order of keys that
    mix characters above U+FFFF (in UTF-8 from 0xF0 on) with ones just below. It is four times faster for all others.
    """
    try:
        if _ASTRAL.search(data):
            return rfc8785.dumps(value)
        return _ENCODE(value).encode("utf-8")
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, RecursionError) as error:
        raise MalformedError(f"this value has no canonical JSON form: {error}") from error


def _check(value: Any) -> None:
    """RFC 8785 has a form for floats; the messages here have not (and a subclass could encode as it likes)."""
    kind = type(value)
    if kind is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise MalformedError("a JSON object has keys of text")
            _check(item)
    elif kind is list or kind is tuple:
        for item in value:
            _check(item)
    elif kind is not str and kind is not int and kind is not bool and value is not None:
        raise MalformedError(f"a {kind.__name__} has no place in canonical JSON")


def _nesting(data: bytes) -> int:
    """Nesting depth, brackets inside strings not counted."""
    depth = deepest = 0
    for bracket in _BRACKETS.findall(_STRINGS.sub(b"", data)):
        if bracket in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        else:
            depth -= 1
    return deepest


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise MalformedError("JSON object with a key given twice")
    return out


def _no_float(text: str) -> Any:
    raise MalformedError(f"JSON number {text[:32]!r}: only integers are allowed")


def _integer(text: str) -> int:
    if len(text) > 17 or abs(int(text)) > MAX_INTEGER:
        raise MalformedError(f"JSON integer {text[:32]!r} is 2^53 or above")
    return int(text)
