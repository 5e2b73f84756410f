"""Statements: what agents sign about themselves and each other (`spec/identity.md`).

Law: bytes in, a typed statement out, and only if every field keeps the spec's limits; a statement made here and one
read from the wire pass the same gate, so an object of these classes is always valid by itself. Whether a signature,
a key or a sequence number is right is decided in `trust/`; nothing here knows other statements, time or state.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import InitVar, dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, TypeAlias

from skyswarm.errors import StatementError
from skyswarm.messages import canonical
from skyswarm.messages.dsse import Envelope
from skyswarm.messages.fields import LOOKUP, Fields
from skyswarm.messages.statement_parts import (
    MAX_ANNOUNCE_MS,
    MAX_DEPTH,
    MAX_LOOKUPS,
    MAX_PART,
    MAX_PAYLOAD,
    MAX_REASON,
    MAX_RECOVERY,
    MAX_VOUCH,
    SCOPES,
    Cut,
    Head,
    Seen,
    ascending,
    read_chain,
    read_cut,
    read_head,
    read_scope,
    read_seen,
    read_sub,
)
from skyswarm.messages.urls import parse_endpoint

__all__ = [
    "MAX_LOOKUPS",
    "MAX_PAYLOAD",
    "MAX_REASON",
    "SCOPES",
    "Announce",
    "Cut",
    "Distrust",
    "Head",
    "Inception",
    "Logged",
    "Retire",
    "Revoke",
    "Rotate",
    "Seen",
    "Signed",
    "Statement",
    "Vouch",
    "parse_signed",
    "parse_statement",
    "payload_type",
]


@dataclass(frozen=True, slots=True)
class _Settled:
    """What all statements share: an id, and the one gate to being made. `raw` are the bytes that were read, if any."""

    id: str = field(init=False, compare=False)
    raw: InitVar[bytes | None] = field(default=None, kw_only=True)
    kind: ClassVar[str] = ""

    def __post_init__(self, raw: bytes | None) -> None:
        if raw is None:
            raw = self.payload()
            if parse_statement(payload_type(self.kind), raw) != self:
                raise StatementError(f"{self.kind} statement with a value of the wrong type")
        object.__setattr__(self, "id", hashlib.sha256(raw).hexdigest())

    def payload(self) -> bytes:
        """The canonical bytes that are signed."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Inception(_Settled):
    """The birth of an agent; its id is the agent's id. `next` and `recovery` are commitments (hex)."""

    key: str
    next: str
    recovery: tuple[str, ...] = ()
    seen: tuple[Seen, ...] = ()
    kind: ClassVar[str] = "inception"
    seq: ClassVar[int] = 0
    prev: ClassVar[None] = None

    @property
    def iss(self) -> str:
        """The agent that is born: this statement's own id."""
        return self.id

    def payload(self) -> bytes:
        own = {"key": self.key, "next": self.next, "recovery": list(self.recovery)}
        return _dump(self.kind, None, 0, None, self.seen, own)


@dataclass(frozen=True, slots=True)
class Rotate(_Settled):
    """A new signing key (did:key) and the commitment to the one after. `undo`: the rotation a recovery key undoes."""

    iss: str
    seq: int
    prev: str
    key: str
    next: str
    undo: str | None = None
    seen: tuple[Seen, ...] = ()
    kind: ClassVar[str] = "rotate"

    def payload(self) -> bytes:
        own = {"key": self.key, "next": self.next, **_given("undo", self.undo)}
        return _dump(self.kind, self.iss, self.seq, self.prev, self.seen, own)


@dataclass(frozen=True, slots=True)
class Retire(_Settled):
    """The last statement of an agent. `key` is the pre-committed key, revealed to sign it."""

    iss: str
    seq: int
    prev: str
    key: str
    seen: tuple[Seen, ...] = ()
    kind: ClassVar[str] = "retire"

    def payload(self) -> bytes:
        return _dump(self.kind, self.iss, self.seq, self.prev, self.seen, {"key": self.key})


@dataclass(frozen=True, slots=True)
class Vouch(_Settled):
    """Trust in `sub` for the scopes from `nbf` until `exp` (Unix s), `depth` hops on. `limit` in bytes, None: none."""

    iss: str
    seq: int
    prev: str
    sub: str
    scope: tuple[str, ...]
    depth: int
    limit: int | None
    nbf: int
    exp: int
    cut: Cut = ()
    seen: tuple[Seen, ...] = ()
    kind: ClassVar[str] = "vouch"

    def payload(self) -> bytes:
        own = {"sub": self.sub, "scope": list(self.scope), "depth": self.depth, "limit": self.limit}
        own |= {"nbf": self.nbf, "exp": self.exp, **_given("cut", dict(self.cut))}
        return _dump(self.kind, self.iss, self.seq, self.prev, self.seen, own)


@dataclass(frozen=True, slots=True)
class Revoke(_Settled):
    """Takes back one own vouch by id, or every own vouch for `sub`: exactly one of the two is given."""

    iss: str
    seq: int
    prev: str
    vouch: str | None = None
    sub: str | None = None
    reason: str = ""
    cut: Cut = ()
    seen: tuple[Seen, ...] = ()
    kind: ClassVar[str] = "revoke"

    def payload(self) -> bytes:
        own = _given("vouch", self.vouch) | _given("sub", self.sub) | _given("reason", self.reason)
        own |= _given("cut", dict(self.cut))
        return _dump(self.kind, self.iss, self.seq, self.prev, self.seen, own)


@dataclass(frozen=True, slots=True)
class Distrust(_Settled):
    """No edge of mine leads to `sub` for these scopes any more; advice to others only if they opt in."""

    iss: str
    seq: int
    prev: str
    sub: str
    scope: tuple[str, ...]
    reason: str = ""
    cut: Cut = ()
    seen: tuple[Seen, ...] = ()
    kind: ClassVar[str] = "distrust"

    def payload(self) -> bytes:
        own = {
            "sub": self.sub,
            "scope": list(self.scope),
            "reason": self.reason,
            **_given("cut", dict(self.cut)),
        }
        return _dump(self.kind, self.iss, self.seq, self.prev, self.seen, own)


@dataclass(frozen=True, slots=True)
class Announce(_Settled):
    """Where an agent is and which look-up keys it holds, part by part. In no chain or log; the newest `serial` wins.

    `serial` is in Unix milliseconds, `exp` in Unix seconds at most 24 h later; `lookups` are sorted and unique.
    """

    iss: str
    part: int
    serial: int
    endpoint: str
    head: Head
    lookups: tuple[str, ...]
    exp: int
    kind: ClassVar[str] = "announce"

    def payload(self) -> bytes:
        value = {"v": 1, "kind": self.kind, "iss": self.iss, "part": self.part, "serial": self.serial}
        value |= {"endpoint": self.endpoint, "head": {"seq": self.head.seq, "id": self.head.id}}
        return canonical.dumps(value | {"lookups": list(self.lookups), "exp": self.exp})


Logged: TypeAlias = Inception | Rotate | Retire | Vouch | Revoke | Distrust
"""The statements of an issuer's chain: they have seq, prev and seen."""
Statement: TypeAlias = Logged | Announce


@dataclass(frozen=True, slots=True)
class Signed:
    """A statement with the envelope it came in. Its signatures are claims until `trust/` has checked them."""

    statement: Statement
    envelope_bytes: bytes
    envelope: Envelope

    @property
    def id(self) -> str:
        """The statement's id."""
        return self.statement.id


def payload_type(kind: str) -> str:
    """The DSSE payloadType of a kind of document."""
    return f"application/vnd.skyswarm.{kind}+json"


def parse_statement(kind_type: str, payload: bytes) -> Statement:
    """Read a statement's payload. StatementError, MalformedError, TooLargeError."""
    value = canonical.loads(payload, MAX_PAYLOAD)
    kind = value.get("kind") if isinstance(value, dict) else None
    read = _READERS.get(kind) if isinstance(kind, str) else None
    if read is None or kind_type != payload_type(str(kind)):
        raise StatementError(f"{kind_type[:80]!r} is not the type of a statement, or not the one inside")
    fields = Fields(value, f"{kind} statement", StatementError)
    fields.fixed("v", 1)
    fields.fixed("kind", kind)
    statement = read(fields, payload)
    fields.end()
    return statement


def parse_signed(envelope_bytes: bytes) -> Signed:
    """Read an envelope and the statement in it; checks NO signature, only that their number fits the kind."""
    envelope = Envelope.parse(envelope_bytes, MAX_PAYLOAD)
    statement = parse_statement(envelope.payload_type, envelope.payload)
    # A planned rotation or retirement is signed by the old key too, a recovery by the recovery key.
    most = 2 if isinstance(statement, Rotate | Retire) else 1
    if len(envelope.signatures) > most:
        raise StatementError(f"a {statement.kind} statement with {len(envelope.signatures)} signatures")
    return Signed(statement, envelope_bytes, envelope)


# ---- making ----------------------------------------------------------------------------------
def _dump(
    kind: str, iss: str | None, seq: int, prev: str | None, seen: tuple[Seen, ...], own: Mapping[str, Any]
) -> bytes:
    listed = [{"origin": one.origin, "size": one.size, "root": one.root} for one in seen]
    value = {"v": 1, "kind": kind, "iss": iss, "seq": seq, "prev": prev, "seen": listed, **own}
    return canonical.dumps(value)


def _given(name: str, value: Any) -> dict[str, Any]:
    """An optional field has one form when it is not given: it is absent."""
    return {name: value} if value else {}


# ---- reading ---------------------------------------------------------------------------------
def _inception(f: Fields, raw: bytes) -> Inception:
    for name, value in (("iss", None), ("seq", 0), ("prev", None)):
        f.fixed(name, value)
    recovery = ascending(f, "recovery", f.ids("recovery", MAX_RECOVERY))
    return Inception(f.did("key"), f.id("next"), recovery, read_seen(f), raw=raw)


def _rotate(f: Fields, raw: bytes) -> Rotate:
    undo = f.id("undo") if f.has("undo") else None
    return Rotate(*read_chain(f), f.did("key"), f.id("next"), undo, read_seen(f), raw=raw)


def _retire(f: Fields, raw: bytes) -> Retire:
    return Retire(*read_chain(f), f.did("key"), read_seen(f), raw=raw)


def _vouch(f: Fields, raw: bytes) -> Vouch:
    iss, seq, prev = read_chain(f)
    depth = f.integer("depth", 0, MAX_DEPTH)
    limit = f.maybe("limit", f.integer)
    nbf, exp = f.time("nbf"), f.time("exp")
    if not 0 < exp - nbf <= MAX_VOUCH:
        raise f.fail("exp", "must be after nbf, by at most 90 days")
    return Vouch(
        iss,
        seq,
        prev,
        read_sub(f, iss),
        read_scope(f),
        depth,
        limit,
        nbf,
        exp,
        read_cut(f),
        read_seen(f),
        raw=raw,
    )


def _revoke(f: Fields, raw: bytes) -> Revoke:
    iss, seq, prev = read_chain(f)
    if f.has("vouch") == f.has("sub"):
        raise f.fail("vouch", "or sub must be given, and not both")
    vouch = f.id("vouch") if f.has("vouch") else None
    sub = f.id("sub") if f.has("sub") else None
    reason = f.text("reason", MAX_REASON, 1) if f.has("reason") else ""
    return Revoke(iss, seq, prev, vouch, sub, reason, read_cut(f), read_seen(f), raw=raw)


def _distrust(f: Fields, raw: bytes) -> Distrust:
    iss, seq, prev = read_chain(f)
    reason = f.text("reason", MAX_REASON)
    return Distrust(
        iss, seq, prev, read_sub(f, iss), read_scope(f), reason, read_cut(f), read_seen(f), raw=raw
    )


def _announce(f: Fields, raw: bytes) -> Announce:
    iss, part, serial = f.id("iss"), f.integer("part", 0, MAX_PART), f.integer("serial")
    head = read_head(f)
    found = f.items("lookups", MAX_LOOKUPS, lambda item: item.match("item", LOOKUP, "must be a look-up key"))
    exp = f.time("exp")
    if not 0 < exp * 1000 - serial <= MAX_ANNOUNCE_MS:
        raise f.fail("exp", "must be after serial, by at most 24 hours")
    endpoint = f.url("endpoint", parse_endpoint)
    return Announce(iss, part, serial, endpoint, head, ascending(f, "lookups", found), exp, raw=raw)


_READERS: Mapping[str, Callable[[Fields, bytes], Statement]] = MappingProxyType(
    {
        "inception": _inception,
        "rotate": _rotate,
        "retire": _retire,
        "vouch": _vouch,
        "revoke": _revoke,
        "distrust": _distrust,
        "announce": _announce,
    }
)
