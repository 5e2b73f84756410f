"""Bodies that agents and repositories exchange, beyond those of `messages/requests.py` (`spec/repositories.md`).

Law: canonical JSON in, frozen values out, every list bounded. Envelopes travel as JSON objects and are handed on as
the bytes they are, unopened. Envelopes given to `dump` are canonical already, so bodies are joined, not encoded again.
"""

from __future__ import annotations

from dataclasses import dataclass

from skyswarm.errors import RequestError
from skyswarm.messages import canonical
from skyswarm.messages.fields import Fields
from skyswarm.messages.requests import read_body
from skyswarm.messages.statement_parts import Head, read_head

MAX_BODY = 256 * 1024
MAX_REPLY = 1024 * 1024
MAX_BATCH = 64
MAX_PAGE = 256
MAX_FOUND = 50


@dataclass(frozen=True, slots=True)
class AnnounceRequest:
    """An announcement's envelope, and the issuer's statements from the first to its newest key event (or none)."""

    announce: bytes
    chain: tuple[bytes, ...] = ()

    def dump(self) -> bytes:
        """The body."""
        return b'{"announce":%b,"chain":[%b],"v":1}' % (self.announce, b",".join(self.chain))

    @classmethod
    def parse(cls, body: bytes) -> AnnounceRequest:
        """RequestError, MalformedError, TooLargeError."""
        f = read_body(body, MAX_BODY, "announce request")
        found = cls(_envelope(f, "announce"), _envelopes(f, "chain", MAX_BATCH))
        f.end()
        return found


@dataclass(frozen=True, slots=True)
class AnnounceReply:
    """`fresh`: it replaced an older one. `head`: the issuer's newest statement that the repository holds."""

    fresh: bool
    head: Head

    def dump(self) -> bytes:
        """The body."""
        return canonical.dumps(
            {"v": 1, "fresh": self.fresh, "head": {"seq": self.head.seq, "id": self.head.id}}
        )

    @classmethod
    def parse(cls, body: bytes) -> AnnounceReply:
        """RequestError, MalformedError, TooLargeError."""
        f = read_body(body, MAX_BODY, "announce reply")
        fresh, head = f.take("fresh"), read_head(f)
        f.end()
        if type(fresh) is not bool:
            raise RequestError("announce reply: fresh must be true or false")
        return cls(fresh, head)


@dataclass(frozen=True, slots=True)
class LookupReply:
    """Announcements that name a look-up key, those first whose issuers came first, each with its issuer's statements up
    to the newest key event (none when they would be too many or too big: they are read by issuer then)."""

    found: tuple[AnnounceRequest, ...]

    def dump(self) -> bytes:
        """The body."""
        rows = (b'{"announce":%b,"chain":[%b]}' % (one.announce, b",".join(one.chain)) for one in self.found)
        return b'{"found":[%b],"v":1}' % b",".join(rows)

    @classmethod
    def parse(cls, body: bytes) -> LookupReply:
        """RequestError, MalformedError, TooLargeError."""
        f = read_body(body, MAX_REPLY, "lookup reply")

        def one(field: Fields) -> AnnounceRequest:
            inner = field.object("item")
            row = AnnounceRequest(_envelope(inner, "announce"), _envelopes(inner, "chain", MAX_BATCH))
            inner.end()
            return row

        found = cls(f.items("found", MAX_FOUND, one))
        f.end()
        return found


@dataclass(frozen=True, slots=True)
class StatementsPage:
    """Envelopes in order. By position: `next` is where to go on and `count` how many there are. By issuer: the same in
    sequence numbers; two statements with one number (equivocation) are both there."""

    statements: tuple[bytes, ...]
    next: int
    count: int

    def dump(self) -> bytes:
        """The body."""
        parts = self.count, self.next, b",".join(self.statements)
        return b'{"count":%d,"next":%d,"statements":[%b],"v":1}' % parts

    @classmethod
    def parse(cls, body: bytes) -> StatementsPage:
        """RequestError, MalformedError, TooLargeError."""
        f = read_body(body, MAX_REPLY, "statements page")
        found = cls(_envelopes(f, "statements", MAX_PAGE), f.integer("next"), f.integer("count"))
        f.end()
        return found


def _envelope(f: Fields, name: str) -> bytes:
    return canonical.dumps(f.mapping(name))


def _envelopes(f: Fields, name: str, most: int) -> tuple[bytes, ...]:
    return f.items(name, most, lambda field: _envelope(field, "item"))
