"""Keys and values as DynamoDB has them.

Law: pure functions. A key is made of parts that cannot run into each other; a value goes there and back unchanged.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

Value = str | int | float | bytes | tuple[str, ...] | frozenset[str]
Item = dict[str, Any]
"""Names and plain values, the two keys among them."""

_MOST = 600
_NAME = re.compile(r"#(\w+)")


class Key(NamedTuple):
    """Where an item is."""

    pk: str
    sk: str


def pk(agent: str, kind: str, *parts: str) -> str:
    """A partition key: at most 2,048 bytes, of which the agent's id is the beginning."""
    return "#".join((agent, kind, *(part(one) for one in parts)))


def part(text: str) -> str:
    """A text without `#`, different for different texts; a very long one is there as its hash."""
    data = text.encode()
    if len(data) > _MOST:
        return f"%!{hashlib.sha256(data).hexdigest()}"
    return text.replace("%", "%25").replace("#", "%23")


def ordinal(value: int) -> str:
    """Sorts as the number does; for those from 0 to 10^20."""
    return f"{value:020d}"


def moment(value: float) -> str:
    """Sorts as the number does, for any float."""
    bits: int = struct.unpack(">Q", struct.pack(">d", value + 0.0))[0]
    return f"{bits ^ ((1 << 64) - 1 if bits >> 63 else 1 << 63):016x}"


def encoded(values: Mapping[str, Value]) -> dict[str, Any]:
    """As the wire has them."""
    return {name: _encode(value) for name, value in values.items()}


def decoded(values: Mapping[str, Any]) -> Item:
    """As they were before `encoded`; a float without a fraction comes back as an int."""
    return {name: _decode(value) for name, value in values.items()}


def _encode(value: Value) -> dict[str, Any]:
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, int | float):
        return {"N": repr(value)}
    if isinstance(value, bytes):
        return {"B": value}
    if isinstance(value, frozenset):
        return {"SS": sorted(value)}
    return {"L": [{"S": one} for one in value]}


def _decode(value: Mapping[str, Any]) -> Any:
    kind, plain = next(iter(value.items()))
    if kind == "N":
        return int(plain) if re.fullmatch(r"-?\d+", plain) else float(plain)
    if kind == "L":
        return tuple(one["S"] for one in plain)
    if kind == "SS":
        return frozenset(plain)
    return plain


def names(*expressions: str) -> dict[str, str]:
    """What `#name` means in expressions, where it always means `name`."""
    return {f"#{name}": name for one in expressions for name in _NAME.findall(one)}
