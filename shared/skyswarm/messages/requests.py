"""Bodies of `fetch_piece` and of what takes statements, and of their answers (`spec/messages.md`).

Law: canonical JSON in, frozen values out, every list bounded. Envelopes travel as JSON objects and are handed on as
the bytes they are, unopened: each is read by the code that judges it. Whether an answer is true is not decided here,
only whether it fits what was asked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from skyswarm.errors import RequestError, TooLargeError
from skyswarm.messages import canonical
from skyswarm.messages.dsse import max_size
from skyswarm.messages.fields import Fields
from skyswarm.messages.pages import MAX_PAGE_FILES
from skyswarm.messages.statement_parts import MAX_PAYLOAD, Head, read_head
from skyswarm.messages.urls import MAX_URL, parse_url
from skyswarm.pieces.size import MAX_PIECES

MAX_REQUEST = 256 * 1024
MAX_REPLY = 1024 * 1024
MAX_WANT = 512
MAX_OBJECTS = 64
MAX_PROOF = 64
MAX_STATEMENTS = 256
MAX_CHAIN = 16
LAST_PAGE = 2**31 - 1
MAX_MESSAGE = 500
MAX_NOTE = 16_384

STORAGE = re.compile(r"[a-z0-9][a-z0-9./_-]{0,63}")
CODE = re.compile(r"SKY-[0-9]{3}")
_ENVELOPE = max_size(MAX_PAYLOAD)


@dataclass(frozen=True, slots=True)
class Want:
    """`count` pieces from number `first` of file `file` (its place in the page) of page `page` of the share.

    A count of 0 asks for the URL of an empty file.
    """

    page: int
    file: int
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class UrlGrant:
    """A presigned GET of one file or side object, good until `expires` (Unix s)."""

    url: str
    expires: int


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """What an asker wants of a share: pieces, side objects by id; `proof` are envelopes that introduce it."""

    manifest: str
    want: tuple[Want, ...] = ()
    objects: tuple[str, ...] = ()
    proof: tuple[bytes, ...] = ()

    def dump(self) -> bytes:
        """The body. TooLargeError."""
        want = [{"page": w.page, "file": w.file, "first": w.first, "count": w.count} for w in self.want]
        value = {"manifest": self.manifest, "want": want, "objects": list(self.objects)}
        return _write(value | {"proof": _open(self.proof)}, MAX_REQUEST)

    @classmethod
    def parse(cls, body: bytes) -> FetchRequest:
        """RequestError, MalformedError, TooLargeError."""
        f = read_body(body, MAX_REQUEST, "fetch_piece request")
        manifest = f.id("manifest")
        want = f.items("want", MAX_WANT, _want)
        request = cls(manifest, want, f.ids("objects", MAX_OBJECTS), _envelopes(f, "proof", MAX_PROOF))
        f.end()
        if not want and not request.objects:
            raise RequestError("fetch_piece request: want and objects are both empty")
        return request


@dataclass(frozen=True, slots=True)
class FetchReply:
    """URLs, and for each want and object of the request which of them serves it (None: not there any more).

    `storage` is the kind of storage the URLs read (for prices), `head` the giver's newest statement, `chain` the
    agents from the giver to the asker that let it in, as the giver tells it.
    """

    urls: tuple[UrlGrant, ...]
    wants: tuple[int, ...]
    objects: tuple[int | None, ...]
    storage: str
    head: Head
    chain: tuple[str, ...] = ()

    def dump(self) -> bytes:
        """The body. TooLargeError."""
        urls = [{"url": grant.url, "exp": grant.expires} for grant in self.urls]
        value = {"urls": urls, "wants": list(self.wants), "objects": list(self.objects)}
        value |= {"storage": self.storage, "head": {"seq": self.head.seq, "id": self.head.id}}
        return _write(value | {"chain": list(self.chain)}, MAX_REPLY)

    @classmethod
    def parse(cls, body: bytes) -> FetchReply:
        """RequestError, MalformedError, TooLargeError."""
        f = read_body(body, MAX_REPLY, "fetch_piece reply")
        urls = f.items("urls", MAX_WANT + MAX_OBJECTS, _grant)
        last = len(urls) - 1
        wants = f.items("wants", MAX_WANT, lambda item: item.integer("item", 0, last))
        objects = f.items(
            "objects",
            MAX_OBJECTS,
            lambda item: item.maybe("item", lambda name: item.integer(name, 0, last)),
        )
        storage = f.match("storage", STORAGE, "must be a kind of storage")
        reply = cls(urls, wants, objects, storage, read_head(f), f.ids("chain", MAX_CHAIN))
        f.end()
        return reply

    def fits(self, request: FetchRequest) -> None:
        """RequestError unless it answers every want and object of `request`."""
        if len(self.wants) != len(request.want) or len(self.objects) != len(request.objects):
            raise RequestError("fetch_piece reply: it answers another number of wants or objects than asked")


@dataclass(frozen=True, slots=True)
class SubmitRequest:
    """Statements brought to an agent or repository, by whomever: they speak for themselves."""

    statements: tuple[bytes, ...]

    def dump(self) -> bytes:
        """The body. TooLargeError."""
        return _write({"statements": _open(self.statements)}, MAX_REQUEST)

    @classmethod
    def parse(cls, body: bytes) -> SubmitRequest:
        """RequestError, MalformedError, TooLargeError."""
        f = read_body(body, MAX_REQUEST, "statements request")
        request = cls(_envelopes(f, "statements", MAX_STATEMENTS))
        f.end()
        return request


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one submitted statement: its position here, or the code and sentence of its refusal."""

    position: int | None
    code: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class SubmitReply:
    """One outcome per statement, in the order of the request. `promise`: the repository's signed note, if it logs."""

    results: tuple[Outcome, ...]
    promise: str | None = None

    def dump(self) -> bytes:
        """The body. TooLargeError."""
        listed = [
            {"position": one.position, "code": one.code, "message": one.message} for one in self.results
        ]
        return _write({"results": listed, "promise": self.promise}, MAX_REPLY)

    @classmethod
    def parse(cls, body: bytes) -> SubmitReply:
        """RequestError, MalformedError, TooLargeError."""
        f = read_body(body, MAX_REPLY, "statements reply")
        promise = f.maybe("promise", lambda name: f.lines(name, MAX_NOTE))
        reply = cls(f.items("results", MAX_STATEMENTS, _outcome), promise)
        f.end()
        return reply


# ---- parts -----------------------------------------------------------------------------------
def read_body(body: bytes, limit: int, what: str) -> Fields:
    """The fields of a body of version 1. RequestError, MalformedError, TooLargeError."""
    f = Fields(canonical.loads(body, limit), what, RequestError)
    f.fixed("v", 1)
    return f


def _write(value: dict[str, Any], limit: int) -> bytes:
    body = canonical.dumps({"v": 1, **value})
    if len(body) > limit:
        raise TooLargeError(f"{len(body)} bytes of JSON, at most {limit} are allowed")
    return body


def _want(item: Fields) -> Want:
    f = item.object("item")
    want = Want(
        f.integer("page", 0, LAST_PAGE),
        f.integer("file", 0, MAX_PAGE_FILES - 1),
        f.integer("first", 0, MAX_PIECES - 1),
        f.integer("count", 0, MAX_PIECES),
    )
    f.end()
    if want.count == 0 and want.first:
        raise RequestError("fetch_piece request: a count of 0 asks for an empty file, which begins at 0")
    if want.first + want.count > MAX_PIECES:
        raise RequestError(f"fetch_piece request: a file has at most {MAX_PIECES} pieces")
    return want


def _grant(item: Fields) -> UrlGrant:
    f = item.object("item")
    text = f.text("url", MAX_URL)
    parse_url(text, error=RequestError)
    grant = UrlGrant(text, f.time("exp"))
    f.end()
    return grant


def _outcome(item: Fields) -> Outcome:
    f = item.object("item")
    outcome = Outcome(
        f.maybe("position", f.integer),
        f.maybe("code", lambda name: f.match(name, CODE, "must be SKY and three digits")),
        f.maybe("message", lambda name: f.text(name, MAX_MESSAGE)),
    )
    f.end()
    if (outcome.position is None) == (outcome.code is None) or (outcome.code is None) != (
        outcome.message is None
    ):
        raise RequestError("statements reply: an outcome has either a position or a code and a message")
    return outcome


def _envelopes(f: Fields, name: str, most: int) -> tuple[bytes, ...]:
    """Nested canonical JSON is canonical by itself: these are the very bytes that were signed around."""

    def one(item: Fields) -> bytes:
        data = canonical.dumps(item.mapping("item"))
        if len(data) > _ENVELOPE:
            raise TooLargeError(f"an envelope of {len(data)} bytes, at most {_ENVELOPE} are allowed")
        return data

    return f.items(name, most, one)


def _open(envelopes: Sequence[bytes]) -> list[Any]:
    return [canonical.loads(data, _ENVELOPE) for data in envelopes]
