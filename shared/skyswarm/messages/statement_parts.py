"""The parts that statements have in common: their limits, small values and fields (`spec/identity.md`).

Law: reading only, each fault a StatementError that the given Fields raises; no statement is known here.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

from skyswarm.messages.fields import ORIGIN, Fields

MAX_PAYLOAD = 4096
MAX_SEEN = 8
MAX_RECOVERY = 3
MAX_DEPTH = 7
MAX_CUT = 8
MAX_REASON = 200
MAX_LOOKUPS = 64
MAX_PART = 4095
MAX_VOUCH = 90 * 86400
MAX_ANNOUNCE_MS = 86_400_000
SCOPES = ("fetch", "index", "repair", "store", "witness")
"""Every scope there is, in the order in which a statement lists them."""


@dataclass(frozen=True, slots=True, order=True)
class Seen:
    """A checkpoint that the issuer holds: log origin, tree size, root hash (hex)."""

    origin: str
    size: int
    root: str


@dataclass(frozen=True, slots=True)
class Head:
    """The end of an issuer's chain: the sequence number and id of its newest statement."""

    seq: int
    id: str


Cut: TypeAlias = tuple[tuple[str, int], ...]
"""For each log origin the last index that still counts (-1: none), by origin; empty when nothing is cut."""


def read_chain(f: Fields) -> tuple[str, int, str]:
    """An issuer's place in its own chain: iss, seq, prev."""
    return f.id("iss"), f.integer("seq", 1), f.id("prev")


def read_sub(f: Fields, iss: str) -> str:
    """The agent that is spoken of: never the issuer."""
    sub = f.id("sub")
    if sub == iss:
        raise f.fail("sub", "must be another agent than iss")
    return sub


def read_scope(f: Fields) -> tuple[str, ...]:
    """A set of scopes, not empty."""
    scope = f.items("scope", len(SCOPES), lambda item: item.choice("item", SCOPES))
    if not scope:
        raise f.fail("scope", "must name at least one scope")
    return ascending(f, "scope", scope)


def read_head(f: Fields) -> Head:
    """The field `head`: the end of a chain."""
    inner = f.object("head")
    head = Head(inner.integer("seq"), inner.id("id"))
    inner.end()
    return head


def read_seen(f: Fields) -> tuple[Seen, ...]:
    """The checkpoints that the issuer holds."""

    def one(field: Fields) -> Seen:
        inner = field.object("item")
        seen = Seen(
            inner.match("origin", ORIGIN, "must be a log origin"), inner.integer("size"), inner.id("root")
        )
        inner.end()
        return seen

    return ascending(f, "seen", f.items("seen", MAX_SEEN, one))


def read_cut(f: Fields) -> Cut:
    """An optional cut; empty when it is not given."""
    if not f.has("cut"):
        return ()
    value = f.take("cut")
    if not isinstance(value, dict) or not 1 <= len(value) <= MAX_CUT:
        raise f.fail("cut", f"must be an object with 1 to {MAX_CUT} log origins")
    for origin, index in value.items():
        if ORIGIN.fullmatch(origin) is None or type(index) is not int or index < -1:
            raise f.fail("cut", "must map log origins to integers from -1 up")
    return tuple(sorted(value.items()))


def ascending(f: Fields, name: str, items: tuple[Any, ...]) -> tuple[Any, ...]:
    """Lists that mean a set have one order."""
    if any(a >= b for a, b in pairwise(items)):
        raise f.fail(name, "must be in ascending order, each once")
    return items
