"""The status document: what a person reads beside a dropped manifest (`x.manifest.json` -> `x.status.json`).

Law: a report, never an input to a decision; it is written whole each time and holds no secret and no presigned URL.
Integers only: bytes, bytes per second, seconds, Unix seconds, micro-dollars. Format: `spec/messages.md`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from skyswarm.errors import SkyError, StatusError
from skyswarm.messages import canonical
from skyswarm.messages.fields import UNSAFE, Fields
from skyswarm.messages.receipts import TRANSFER, Raw
from skyswarm.messages.requests import CODE

MAX_STATUS = 1024 * 1024
MAX_LINES = 32
MAX_SOURCES = 64
MAX_CHAIN = 16
MAX_RECEIPTS = 64
MAX_FAILED = 100
MAX_TEXT = 500
MAX_PATH = 1024

STATES = (
    "queued",
    "planning",
    "moving",
    "settling",
    "done",
    "paused",
    "cancelled",
    "stopped",
    "failed",
    "refused",
)
ENDED = frozenset({"done", "cancelled", "stopped", "failed", "refused"})
"""The states in which nothing moves and nothing will by itself; only these may have `finished`."""
PAYERS = ("you", "them")
_NAME = re.compile(r"[a-z][a-z-]{0,31}")


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total` (files or pieces)."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Moved:
    """Bytes: `done` of `total` are safe, `held` of these were there already, `wasted` came and were thrown away."""

    done: int
    total: int
    held: int
    wasted: int


@dataclass(frozen=True, slots=True)
class CostLine:
    """One line of the price: what for, who pays (`you`, or `them`: the source), micro-dollars."""

    what: str
    payer: str
    micro: int


@dataclass(frozen=True, slots=True)
class Cost:
    """Micro-dollars that the receiver has spent, may spend (None: no cap) and was told at the start, with its lines."""

    spent: int
    cap: int | None
    estimate: int
    lines: tuple[CostLine, ...] = ()


@dataclass(frozen=True, slots=True)
class Source:
    """An agent that bytes came from; `name` is the user's own name for it, `state` a word: `active`, `dropped`, …"""

    agent: str
    bytes: int
    state: str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Trouble:
    """An error as the wire has it: code, what happened, what to do ('': nothing to advise)."""

    code: str
    message: str
    advice: str = ""

    @classmethod
    def of(cls, error: SkyError) -> Trouble:
        """An error as it is shown: cut to length, without control characters."""
        lost = f" {error.lost}" if error.lost else ""
        return cls(error.code, shown(error.message + lost), shown(error.advice))


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why nothing moves at the moment, as an error has it, and when it is tried again by itself (Unix s)."""

    code: str
    message: str
    next: int


@dataclass(frozen=True, slots=True)
class FailedFile:
    """A file that could not be moved, and why."""

    path: str
    code: str
    message: str

    @classmethod
    def of(cls, path: str, error: SkyError) -> FailedFile:
        """The failure of one file as it is shown."""
        return cls(shown(path, MAX_PATH), error.code, shown(error.message))


@dataclass(frozen=True, slots=True)
class Status:
    """One transfer as it is at `updated`. `rate` is in bytes/s, `eta` in s (None: unknown), times in Unix s; `chain` is
    the path of agents that let us in, `receipts` has the ids of the newest, `failed` the first 100."""

    transfer: str
    state: str
    name: str
    files: Progress
    bytes: Moved
    pieces: Progress
    rate: int
    eta: int | None
    cost: Cost
    started: int
    updated: int
    finished: int | None = None
    sources: tuple[Source, ...] = ()
    chain: tuple[str, ...] = ()
    receipts: tuple[str, ...] = ()
    error: Trouble | None = None
    failed: tuple[FailedFile, ...] = ()
    waiting: Waiting | None = None

    def dump(self) -> Raw:
        """The document. StatusError, MalformedError or TooLargeError when it is not one that `parse` would take."""
        bytes_ = {"done": self.bytes.done, "total": self.bytes.total}
        bytes_ |= {"held": self.bytes.held, "wasted": self.bytes.wasted}
        lines = [{"what": one.what, "payer": one.payer, "micro": one.micro} for one in self.cost.lines]
        cost = {
            "spent": self.cost.spent,
            "cap": self.cost.cap,
            "estimate": self.cost.estimate,
            "lines": lines,
        }
        sources = [
            {"agent": one.agent, "name": one.name, "bytes": one.bytes, "state": one.state}
            for one in self.sources
        ]
        failed = [{"path": one.path, "code": one.code, "message": one.message} for one in self.failed]
        error = self.error and {
            "code": self.error.code,
            "message": self.error.message,
            "advice": self.error.advice,
        }
        waiting = self.waiting and {
            "code": self.waiting.code,
            "message": self.waiting.message,
            "next": self.waiting.next,
        }
        value = {"v": 1, "kind": "status", "transfer": self.transfer, "state": self.state, "name": self.name}
        value |= {"files": {"done": self.files.done, "total": self.files.total}, "bytes": bytes_}
        value |= {"pieces": {"done": self.pieces.done, "total": self.pieces.total}, "rate": self.rate}
        value |= {"eta": self.eta, "cost": cost, "sources": sources, "chain": list(self.chain)}
        value |= {"receipts": list(self.receipts), "error": error, "failed": failed}
        value |= {"started": self.started, "updated": self.updated, "finished": self.finished}
        value |= {"waiting": waiting}
        body = canonical.dumps(value)
        if Status.parse(body) != self:
            raise StatusError("status with a value of the wrong type")
        return body

    @classmethod
    def parse(cls, data: Raw) -> Status:
        """Read a document. StatusError, MalformedError, TooLargeError."""
        f = Fields(canonical.loads(data, MAX_STATUS), "status", StatusError)
        f.fixed("v", 1)
        f.fixed("kind", "status")
        status = cls(
            transfer=f.match("transfer", TRANSFER, "must be a transfer's id"),
            state=f.choice("state", STATES),
            name=f.text("name", MAX_TEXT),
            files=_progress(f, "files"),
            bytes=_moved(f),
            pieces=_progress(f, "pieces"),
            rate=f.integer("rate"),
            eta=f.maybe("eta", f.integer),
            cost=_cost(f),
            started=f.time("started"),
            updated=f.time("updated"),
            finished=f.maybe("finished", f.time),
            sources=f.items("sources", MAX_SOURCES, _source),
            chain=f.ids("chain", MAX_CHAIN),
            receipts=f.ids("receipts", MAX_RECEIPTS),
            error=f.maybe("error", lambda name: _trouble(f, name)),
            failed=f.items("failed", MAX_FAILED, _failed),
            waiting=f.maybe("waiting", lambda name: _waiting(f, name)),
        )
        f.end()
        if status.finished is not None and status.state not in ENDED:
            raise StatusError(f"status: a transfer that is {status.state} has not finished")
        if status.waiting is not None and status.state in ENDED:
            raise StatusError(f"status: a transfer that is {status.state} waits for nothing")
        return status


def shown(text: str, most: int = MAX_TEXT) -> str:
    """Text from elsewhere made fit for a status: at most `most` characters, none that steer a terminal or a page."""
    clean = UNSAFE.sub("\ufffd", text).encode("utf-8", "replace").decode()
    return clean if len(clean) <= most else clean[: most - 1] + "…"


@contextmanager
def _inner(f: Fields, name: str) -> Iterator[Fields]:
    inner = f.object(name)
    yield inner
    inner.end()


def _progress(f: Fields, name: str) -> Progress:
    with _inner(f, name) as part:
        return Progress(part.integer("done"), part.integer("total"))


def _moved(f: Fields) -> Moved:
    with _inner(f, "bytes") as part:
        return Moved(*(part.integer(name) for name in ("done", "total", "held", "wasted")))


def _cost(f: Fields) -> Cost:
    with _inner(f, "cost") as part:
        lines = part.items("lines", MAX_LINES, _line)
        return Cost(part.integer("spent"), part.maybe("cap", part.integer), part.integer("estimate"), lines)


def _line(item: Fields) -> CostLine:
    with _inner(item, "item") as part:
        return CostLine(part.text("what", MAX_TEXT), part.choice("payer", PAYERS), part.integer("micro"))


def _source(item: Fields) -> Source:
    with _inner(item, "item") as part:
        name = part.maybe("name", lambda field: part.text(field, MAX_TEXT))
        state = part.match("state", _NAME, "must be a word")
        return Source(part.id("agent"), part.integer("bytes"), state, name)


def _trouble(f: Fields, name: str) -> Trouble:
    with _inner(f, name) as part:
        code = part.match("code", CODE, "must be SKY and three digits")
        return Trouble(code, part.text("message", MAX_TEXT), part.text("advice", MAX_TEXT))


def _waiting(f: Fields, name: str) -> Waiting:
    with _inner(f, name) as part:
        code = part.match("code", CODE, "must be SKY and three digits")
        return Waiting(code, part.text("message", MAX_TEXT), part.time("next"))


def _failed(item: Fields) -> FailedFile:
    with _inner(item, "item") as part:
        code = part.match("code", CODE, "must be SKY and three digits")
        return FailedFile(part.text("path", MAX_PATH), code, part.text("message", MAX_TEXT))
