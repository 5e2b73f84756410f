"""Records: what agents remember between two calls of a function. DynamoDB, Firestore, SQLite and memory fill these.

Law: every method's first argument is the agent (the tenant; a repository is one too) and every record is keyed by
it; nothing crosses agents. Consistency: a read after a write that was acknowledged sees it. Every write is
idempotent or conditional, as said. Errors of every method: UnavailableError (retry), StorageFullError,
ForbiddenError, BackendError (damaged, or of a newer version).
Size: what no store of ours may be asked to hold is refused by every one, see `ports/sizes.py` (TooLargeError).
Time comes in as `now` (Unix seconds); expiry is decided by comparing, never by a cleaner having run.
Values called `*_json` or `envelope` are opaque bytes to the store.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class StatementRow:
    """A stored statement. `position` is given by the store: contiguous from 0 in the order of acceptance."""

    id: str
    issuer: str
    seq: int
    kind: str
    envelope: bytes
    received: float
    position: int = -1


class Statements(Protocol):
    """An append-only set of statements, numbered in the order of acceptance. Nothing is ever changed or removed."""

    def append(self, agent: str, rows: Sequence[StatementRow], *, once: bool = False) -> list[int]:
        """Add those whose (id, envelope) is new; returns each row's position (an old one's is its first). Two
        statements with one (issuer, seq) are both kept: the pair is a proof of equivocation. So are two envelopes of
        one id: a copy with a worthless signature must never keep the true one out. `once`, for rows whose signatures
        were verified: no id that is there, in whatever envelope, is added again. The new ones are added in order, at
        least 16 in one atomic step (fewer only when they have more than a megabyte): a crash in the middle of a longer
        call leaves the first ones, and no reader ever sees a position before those below it."""
        ...

    def extend(self, agent: str, row: StatementRow, beside: Collection[str] = ()) -> int:
        """Add a statement of one of *our own* chains: ConflictError unless the ids that have its (issuer, seq) are
        exactly those of `beside`, which the caller knows to be void; a row whose id is there already is added as
        `append` would. Two processes of one agent can therefore never equivocate."""
        ...

    def after(self, agent: str, position: int, limit: int) -> list[StatementRow]:
        """Rows with a position ≥ `position`, in order, at most `limit`."""
        ...

    def of(self, agent: str, issuer: str, seq: int = 0, limit: int = 1000) -> list[StatementRow]:
        """An issuer's statements with seq ≥ `seq`, by seq, then position."""
        ...

    def since(self, agent: str, issuer: str, position: int, limit: int = 1_000_000) -> list[StatementRow]:
        """An issuer's statements with a position ≥ `position`, in that order; costs what it returns."""
        ...

    def key_event(self, agent: str, issuer: str) -> StatementRow | None:
        """An issuer's inception, rotation or retirement with the greatest (seq, position); costs one row."""
        ...

    def count(self, agent: str) -> int:
        """How many there are, which is the next position."""
        ...


@dataclass(frozen=True, slots=True)
class AnnounceRow:
    """The newest announcement of one issuer's one part. `lookups` are 32-byte look-up keys in base64url."""

    issuer: str
    part: int
    serial: int
    expires: int
    lookups: tuple[str, ...]
    envelope: bytes


class Announcements(Protocol):
    """What a repository knows of who holds what, until it expires."""

    def put(self, agent: str, row: AnnounceRow) -> bool:
        """Replace the (issuer, part) when `serial` is greater than the stored one's; False: it was not (no change)."""
        ...

    def find(self, agent: str, lookup: str, now: float, limit: int = 50) -> list[AnnounceRow]:
        """Unexpired announcements that name `lookup`, freshest serial first."""
        ...

    def of(self, agent: str, issuer: str, now: float) -> list[AnnounceRow]:
        """An issuer's unexpired announcements, by part."""
        ...

    def sweep(self, agent: str, now: float) -> int:
        """Drop expired rows; returns how many. Only a broom: nothing depends on it."""
        ...


@dataclass(frozen=True, slots=True)
class Share:
    """Something this agent serves. `audience` empty: anyone its chains reach; else only those agents.

    Pages live as side objects under their hash; beside them it is kept where this agent has each file of a page
    (usecases/objects.py).
    """

    manifest: str
    name: str
    storage: str
    prefix: str
    files: int
    bytes: int
    created: float
    expires: int
    audience: tuple[str, ...] = ()
    survive: int = 0
    cap_bytes: int = 0
    origin: str = "published"


class Shares(Protocol):
    """The shares of an agent, by manifest id."""

    def put(self, agent: str, share: Share) -> None:
        """Insert or replace."""
        ...

    def get(self, agent: str, manifest: str) -> Share | None: ...

    def page(self, agent: str, after: str = "", limit: int = 100) -> list[Share]:
        """By manifest id, those after `after`."""
        ...

    def delete(self, agent: str, manifest: str) -> None:
        """Idempotent."""
        ...


@dataclass(frozen=True, slots=True)
class HeldFile:
    """A file whose hashes are known: `pieces` is its packed piece list (44 bytes each)."""

    storage: str
    key: str
    version: str
    size: int
    content: str
    pieces: bytes
    extra_json: bytes = b"{}"


class Held(Protocol):
    """Which contents this agent holds where: the hash cache of publishing and the `held` route of planning."""

    def put(self, agent: str, rows: Sequence[HeldFile]) -> None:
        """Insert or replace by (storage, key)."""
        ...

    def at(self, agent: str, storage: str, key: str, version: str) -> HeldFile | None:
        """The row of that key when it is for that very version."""
        ...

    def find(self, agent: str, content: str, limit: int = 10) -> list[HeldFile]:
        """Rows with that content id. The file may have changed since: compare `version` before use."""
        ...


@dataclass(frozen=True, slots=True)
class Transfer:
    """One transfer. `version` is the store's (0: never stored); `created` stays what it was when it was first stored;
    `doc_json` is usecases/jobs.py's own state."""

    id: str
    state: str
    created: float
    doc_json: bytes
    version: int = 0


@dataclass(frozen=True, slots=True)
class Tally:
    """Counters of a transfer or a group; all only grow."""

    batches: int = 0
    done: int = 0
    files: int = 0
    pieces: int = 0
    bytes: int = 0
    held_bytes: int = 0
    failed: int = 0
    wasted_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """A unit of leased work: some pieces of one file, or some whole small files. `group` is the file it completes
    ('' for small files). `plan_json` never changes; `progress_json` is what the last holder saved."""

    number: int
    group: str
    plan_json: bytes
    done: bool = False
    lease: str = ""
    lease_until: float = 0.0
    attempts: int = 0
    progress_json: bytes = b"{}"


class Transfers(Protocol):
    """Transfers, their batches and counters. No row per piece: one per batch."""

    def put(self, agent: str, transfer: Transfer) -> Transfer:
        """Conditional on `transfer.version` being the stored one (0: absent); ConflictError.
        Returns it with its new version."""
        ...

    def get(self, agent: str, transfer: str) -> Transfer | None: ...

    def page(self, agent: str, after: str = "", limit: int = 100) -> list[Transfer]:
        """Newest first; `after` is the id the page before ended with."""
        ...

    def add(self, agent: str, transfer: str, batches: Sequence[Batch]) -> None:
        """Add batches; those whose number is there already are left as they are (planning may be repeated).
        Each new one is counted into `Tally.batches` of the transfer and of its group in the very step that adds it;
        a crash in the middle of a call may leave some of them, so it is repeated."""
        ...

    def lease(
        self, agent: str, transfer: str, number: int, holder: str, now: float, ttl: float
    ) -> Batch | None:
        """Take the batch unless it is done or another holder's lease lasts; raises `attempts` by one.
        None: not to be had now. AbsentError: no such batch."""
        ...

    def save(
        self, agent: str, transfer: str, number: int, holder: str, progress_json: bytes, until: float
    ) -> None:
        """Renew the lease to `until` and keep the progress. LeaseLostError when `holder` no longer holds it;
        TooLargeError."""
        ...

    def release(self, agent: str, transfer: str, number: int, holder: str) -> None:
        """Give the lease back undone. Idempotent; a lease of another holder is left alone."""
        ...

    def finish(
        self, agent: str, transfer: str, number: int, holder: str, delta: Tally, others: Mapping[str, Tally]
    ) -> bool:
        """Mark done and add `delta` (with `done`=1) to the transfer's and the group's tally, and each of `others`
        (group name → delta, e.g. `from:<agent>` for the bytes of one source) to that group's, in one atomic step.
        True the first time, False when it was done already (nothing is added). LeaseLostError."""
        ...

    def batch(self, agent: str, transfer: str, number: int) -> Batch | None: ...

    def undone(self, agent: str, transfer: str, after: int = -1, limit: int = 100) -> list[Batch]:
        """Batches that are not done, by number."""
        ...

    def tally(self, agent: str, transfer: str, group: str | None = None) -> Tally:
        """Counters of the whole transfer, or of one group."""
        ...


class Nonces(Protocol):
    """Which nonces were used: replay protection."""

    def use(self, agent: str, nonce: str, expires: float, now: float) -> bool:
        """True for exactly one caller per nonce while it is not expired, whatever races or cleaners do."""
        ...


class Meters(Protocol):
    """Counters with a ceiling: quotas, byte caps, money."""

    def add(self, agent: str, meter: str, amount: int, limit: int, expires: float = 0) -> int:
        """Add when the sum stays ≤ `limit` (one atomic step) and return the new sum; QuotaError leaves it unchanged.
        A negative amount gives back what was added before and not used.
        A windowed quota has its window in the meter's name and gives the window's end as `expires` (Unix s): a day
        after it the store may forget that meter. 0: it is never forgotten."""
        ...

    def read(self, agent: str, meter: str) -> int:
        """The sum; 0 when never used."""
        ...


@dataclass(frozen=True, slots=True)
class Entry:
    """A small document with a version for conditional replacement."""

    key: str
    value: bytes
    version: int = field(default=0)


class Notes(Protocol):
    """Small named documents of an agent: petnames, repositories and their cursors, policies, receipts, proofs."""

    def get(self, agent: str, key: str) -> Entry | None: ...

    def put(self, agent: str, entry: Entry) -> Entry:
        """Conditional on `entry.version` being the stored one (0: absent); ConflictError.
        Returns it with its new version."""
        ...

    def page(self, agent: str, prefix: str, after: str = "", limit: int = 100) -> list[Entry]:
        """By key, those that start with `prefix` and come after `after`."""
        ...

    def delete(self, agent: str, key: str) -> None:
        """Idempotent."""
        ...
