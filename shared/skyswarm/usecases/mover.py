"""One leased batch being worked on: what is there, what can be copied, what must be relayed, and from whom.

Law: a piece counts only once the storage has it and its checksums matched on the way. Whatever goes wrong with a
source costs that source; only the destination, the user's own limits and a lost lease leave this file as errors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeVar

from skyswarm.errors import (
    AbsentError,
    CancelledError,
    ConflictError,
    CostCapError,
    DestinationConflictError,
    DestinationFullError,
    ForbiddenError,
    LeaseLostError,
    LinkExpiredError,
    NoSourceError,
    PieceMismatchError,
    QuotaError,
    SkyError,
    SourceChangedError,
    SourceRefusedError,
    StorageFullError,
    UnavailableError,
)
from skyswarm.messages import canonical
from skyswarm.messages.manifest import FileEntry, Manifest
from skyswarm.messages.requests import FetchReply, Want
from skyswarm.pieces.digest import PieceDigest, unpack_all
from skyswarm.pieces.hasher import verified
from skyswarm.pieces.size import piece_span
from skyswarm.ports.records import Batch, HeldFile, Tally
from skyswarm.ports.storage import ANY_VERSION, Storage
from skyswarm.usecases import asking, jobs
from skyswarm.usecases.deps import Deps
from skyswarm.usecases.entries import conflict, entries, note_failure, packed
from skyswarm.usecases.jobs import ACTIVE, Job
from skyswarm.usecases.plan import destination, drop

MAX_PLAN = 1 << 20
MAX_RENEWALS = 3
"""How often one piece asks for a fresh URL before its source counts as failing."""
EXPIRY_MARGIN = 30
ROOM = "What is verified stays. Make room, then `skyswarm resume`."

T = TypeVar("T")


class NotNow(SkyError):
    """No source is awake: come back at `at` (Unix s). Never leaves this package."""

    code, status, retryable = "SKY-310", 503, True

    def __init__(self, at: float, why: str) -> None:
        super().__init__(why or "every source rests after a failure")
        self.at = at


class _FetchFault(Exception):
    """A fault of the source while the sink was reading from it, kept apart from faults of the sink."""

    def __init__(self, error: SkyError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(slots=True)
class Gains:
    """What this holder of the batch achieved so far."""

    files: int = 0
    pieces: int = 0
    bytes: int = 0
    held: int = 0
    failed: int = 0
    wasted: int = 0
    sources: dict[str, list[int]] = field(default_factory=dict)

    def tally(self) -> Tally:
        return Tally(
            done=1,
            files=self.files,
            pieces=self.pieces,
            bytes=self.bytes,
            held_bytes=self.held,
            failed=self.failed,
            wasted_bytes=self.wasted,
        )

    def others(self) -> dict[str, Tally]:
        return {
            f"from:{source}": Tally(pieces=n, bytes=size, wasted_bytes=wasted)
            for source, (n, size, wasted) in self.sources.items()
        }

    def came(self, source: str, length: int, *, good: bool = True) -> None:
        """A piece arrived from `source`: verified, or thrown away."""
        count = self.sources.setdefault(source, [0, 0, 0])
        count[0] += good
        count[1] += length if good else 0
        count[2] += 0 if good else length
        self.wasted += 0 if good else length


class Mover:
    """One leased batch being worked on."""

    def __init__(
        self, deps: Deps, agent: str, job: Job, manifest: Manifest, batch: Batch, holder: str
    ) -> None:
        self.deps, self.agent, self.job, self.manifest = deps, agent, job, manifest
        self.batch, self.holder = batch, holder
        self.sink: Storage = deps.storages.open(agent, job.storage)
        self.items: list[list[int | str]] = canonical.loads(batch.plan_json, MAX_PLAN)["items"]
        saved = canonical.loads(batch.progress_json, MAX_PLAN)
        self.gains = Gains(wasted=saved.get("wasted", 0), sources=saved.get("sources", {}))
        self.renewed = self.looked = deps.clock()
        self.grants: dict[str, FetchReply] = {}
        self.changed: set[tuple[str, int]] = set()
        self.rows: list[HeldFile] = []

    # ---- the batch -----------------------------------------------------------------------------
    def run(self) -> None:
        try:
            for number in range(len(self.items)):
                self.one_item(number)
        except (SkyError, _FetchFault):
            self.deps.held.put(self.agent, self.rows)
            self.save(force=True)
            self.deps.transfers.release(self.agent, self.job.id, self.batch.number, self.holder)
            raise
        self.deps.held.put(self.agent, self.rows)
        self.deps.transfers.finish(
            self.agent, self.job.id, self.batch.number, self.holder, self.gains.tally(), self.gains.others()
        )

    def one_item(self, number: int) -> None:
        page, index, first, count, upload = self.items[number]
        entry = entries(self.deps, self.agent, self.job, self.manifest, int(page))[int(index)]
        key = destination(self.job, self.manifest, entry)
        try:
            if upload:
                self.big(number, entry, key, int(first), int(count), str(upload))
            else:
                self.small(number, entry, key)
        except (DestinationConflictError, SourceChangedError) as error:
            self.gains.failed += 1
            note_failure(self.deps, self.agent, self.job.id, entry.path.text, error)
        except StorageFullError as error:
            raise DestinationFullError(f"no room for {key}: {error.message}", advice=ROOM) from error

    def small(self, number: int, entry: FileEntry, key: str) -> None:
        """A file of one piece, or none: put whole."""
        if self.there(entry, key, 0, min(1, entry.size)):
            # After a crash the batch's finished files are found like this; they were moved, not held before.
            self.count(entry.size, held=self.batch.attempts == 1)
        else:
            data = self.from_own(entry)
            if data is None and entry.size:
                digest = unpack_all(self.packed(entry))[0]
                data = self.relay(
                    number, entry, 0, digest, 0, entry.size, lambda chunks: b"".join(map(bytes, chunks))
                )
            condition = ANY_VERSION if self.job.overwrite else None
            try:
                found = self.sink.put(key, data or b"", if_version=condition, media_type=entry.media_type)
            except ConflictError as error:
                raise conflict(key) from error
            row = HeldFile(
                self.job.storage, key, found.version, entry.size, entry.content, self.packed(entry)
            )
            self.deps.held.put(self.agent, [row])
            self.count(entry.size)
        self.gains.files += 1

    def big(self, number: int, entry: FileEntry, key: str, first: int, count: int, upload: str) -> None:
        """Some pieces of a file of several."""
        pieces = unpack_all(self.packed(entry))
        if not self.job.overwrite and self.there(entry, key, first, count):
            for index in range(first, first + count):
                self.count(piece_span(entry.size, index)[1], held=True)
            self.gains.files += first == 0
            return
        try:
            present = self.sink.parts(upload)
        except AbsentError as error:
            raise LeaseLostError("the upload was finished or given up by another worker") from error
        for index in range(first, first + count):
            offset, length = piece_span(entry.size, index)
            if index not in present and not self.copied(entry, upload, index, pieces[index], offset, length):

                def write(chunks: Iterable[memoryview], at: int = index, size: int = length) -> None:
                    self.sink.part(upload, at, pieces[at], size, chunks)

                self.relay(number, entry, index, pieces[index], offset, length, write)
            self.count(length)
        self.gains.files += first == 0

    def count(self, length: int, *, held: bool = False) -> None:
        self.gains.pieces += bool(length)
        self.gains.bytes += length
        self.gains.held += length if held else 0
        self.beat()

    def packed(self, entry: FileEntry) -> bytes:
        return packed(self.deps, self.agent, self.job, self.manifest, entry)

    # ---- held and copied -------------------------------------------------------------------------
    def there(self, entry: FileEntry, key: str, first: int, count: int) -> bool:
        """Whether the destination already has these pieces of this very file; another file there is a conflict."""
        try:
            found = self.sink.stat(key)
        except AbsentError:
            return False
        row = self.deps.held.at(self.agent, self.job.storage, key, found.version)
        if found.size == entry.size and (row is not None and row.content == entry.content):
            return True
        if self.job.overwrite:
            return False
        if found.size != entry.size:
            raise conflict(key)
        pieces = unpack_all(self.packed(entry))
        for index in range(first, first + count):
            offset, length = piece_span(entry.size, index)
            try:
                for _ in verified(
                    self.sink.chunks(key, found.version, offset, length), pieces[index], length
                ):
                    self.beat()
            except (PieceMismatchError, SourceChangedError) as error:
                raise conflict(key) from error
        return True

    def own_rows(self, entry: FileEntry) -> Iterator[HeldFile]:
        """Where this user holds that content already, as far as it is still so."""
        for row in self.deps.held.find(self.agent, entry.content):
            try:
                if self.deps.storages.open(self.agent, row.storage).stat(row.key).version == row.version:
                    yield row
            except SkyError:
                continue  # gone, or out of reach: no shortcut then

    def from_own(self, entry: FileEntry) -> bytes | None:
        for row in self.own_rows(entry) if entry.size else ():
            storage = self.deps.storages.open(self.agent, row.storage)
            try:
                digest = unpack_all(self.packed(entry))[0]
                chunks = verified(storage.chunks(row.key, row.version, 0, row.size), digest, row.size)
                data = b"".join(map(bytes, chunks))
            except SkyError:
                continue
            self.gains.held += entry.size
            return data
        return None

    def copied(
        self, entry: FileEntry, upload: str, index: int, digest: PieceDigest, offset: int, length: int
    ) -> bool:
        """Provider copy from a storage of this user, proven by the provider's SHA-256; False: relay instead."""
        for row in self.own_rows(entry):
            try:
                proof = self.sink.copy(
                    upload, index, row.storage, row.key, row.version, offset, digest, length
                )
            except (ForbiddenError, AbsentError, SourceChangedError, PieceMismatchError, UnavailableError):
                continue
            if proof == digest.sha256:
                self.gains.held += length
                return True
        return False

    # ---- relay -----------------------------------------------------------------------------------
    def relay(
        self,
        number: int,
        entry: FileEntry,
        index: int,
        digest: PieceDigest,
        offset: int,
        length: int,
        write: Callable[[Iterator[memoryview]], T],
    ) -> T:
        """Bring one piece from whichever source works. NotNow, NoSourceError, SourceChangedError (from all of them)."""
        renewals = 0
        while True:
            self.beat()
            source = self.choose(number, length)
            self.pay(source, length)
            started = self.deps.clock()
            try:
                url = self.url(source, number)
                chunks = self.deps.fetcher.read(url, offset, length)
                result = write(self.watched(verified(chunks, digest, length)))
            except _FetchFault as fault:
                renewals = self.blame(source, number, entry, index, length, fault.error, renewals)
                continue
            except LeaseLostError:
                self.deps.pace.landed(self.agent, source, length, 0)
                raise
            except AbsentError as error:
                raise LeaseLostError("the upload was finished or given up by another worker") from error
            self.deps.pace.landed(self.agent, source, length, self.deps.clock() - started)
            self.gains.came(source, length)
            return result

    def watched(self, chunks: Iterator[memoryview]) -> Iterator[memoryview]:
        """Pass the chunks on, renewing the lease, and tell faults of the source from those of the sink."""
        while True:
            try:
                chunk = next(chunks)
            except StopIteration:
                return
            except SkyError as error:
                raise _FetchFault(error) from error
            self.beat()
            yield chunk

    def choose(self, number: int, length: int) -> str:
        job = self.job
        names = [one.agent for one in job.active_sources() if (one.agent, number) not in self.changed]
        if not names:
            if any(at == number for _, at in self.changed):
                raise SourceChangedError("the file is no longer at any source as it was published")
            raise _no_source(job)
        now = self.deps.clock()
        chosen = self.deps.pace.choose(self.agent, names, length, now)
        if chosen is None:
            at = self.deps.pace.awake_at(self.agent, names)
            raise NotNow(at, "; ".join(filter(None, (self.deps.pace.why(self.agent, one) for one in names))))
        return chosen

    def pay(self, source: str, length: int) -> None:
        """Count what this piece costs before it moves; CostCapError when that would pass the user's cap."""
        kind = next((one.storage for one in self.job.sources if one.agent == source), "") or self.sink.kind
        micro = self.deps.prices.piece(kind, self.sink.kind, length)
        cap = self.job.max_cost
        if micro or cap >= 0:
            try:
                self.deps.meters.add(self.agent, f"cost/{self.job.id}", micro, cap if cap >= 0 else 2**62)
            except QuotaError as error:
                self.deps.pace.landed(self.agent, source, length, 0)
                raise CostCapError(
                    f"stopped at your ${cap / 1e6:.2f} cap; what is verified is safe",
                    advice=f"Raise it: skyswarm resume {self.job.id} --max-cost …",
                ) from error

    def url(self, source: str, number: int) -> str:
        """The presigned URL of this item's file at that source; one request asks for the whole batch."""
        reply = self.grants.get(source)
        try:
            if reply is None or min(one.expires for one in reply.urls) < self.deps.clock() + EXPIRY_MARGIN:
                state = next(one for one in self.job.sources if one.agent == source)
                wants = tuple(
                    Want(page=int(page), file=int(file), first=int(first), count=int(count))
                    for page, file, first, count, _ in self.items
                )
                reply = self.grants[source] = asking.ask(
                    self.deps, self.agent, state, self.job.manifest, wants
                )
            return reply.urls[reply.wants[number]].url
        except SkyError as error:
            raise _FetchFault(error) from error

    def blame(
        self,
        source: str,
        number: int,
        entry: FileEntry,
        index: int,
        length: int,
        error: SkyError,
        renewals: int,
    ) -> int:
        """What a fault means for its source. Returns how often this piece's URL was renewed."""
        deps, now = self.deps, self.deps.clock()
        limits = deps.limits
        if isinstance(error, LeaseLostError | CancelledError):
            deps.pace.landed(self.agent, source, length, 0)
            raise error
        if isinstance(error, LinkExpiredError) and renewals < MAX_RENEWALS:
            deps.pace.landed(self.agent, source, length, 0)
            self.grants.pop(source, None)
            return renewals + 1
        deps.pace.failed(self.agent, source, length, now, limits.rest, limits.rest_most, str(error))
        self.grants.pop(source, None)
        if isinstance(error, SourceChangedError):
            self.changed.add((source, number))
        elif isinstance(error, PieceMismatchError):
            self.gains.came(source, length, good=False)
            self.job = strike(deps, self.agent, self.job.id, source, entry.path.text, index)
        elif asking.refused_for_good(error):
            self.job = drop(deps, self.agent, self.job.id, source, error)
        return 0

    # ---- lease and progress ----------------------------------------------------------------------
    def beat(self) -> None:
        """Now and then: renew the lease, keep the progress, see whether the user paused or cancelled."""
        now = self.deps.clock()
        if now - self.looked >= 1.0:
            self.looked = now
            self.save()
            self.job = jobs.load(self.deps, self.agent, self.job.id)
            if self.job.state not in ACTIVE:
                raise CancelledError(f"the transfer is {self.job.state}")

    def save(self, *, force: bool = False) -> None:
        now = self.deps.clock()
        if not force and now - self.renewed < 1.0:
            return
        self.renewed = now
        progress = {"wasted": self.gains.wasted, "sources": self.gains.sources, "bytes": self.gains.bytes}
        try:
            self.deps.transfers.save(
                self.agent,
                self.job.id,
                self.batch.number,
                self.holder,
                canonical.dumps(progress),
                now + self.deps.limits.lease,
            )
        except LeaseLostError:
            if not force:
                raise


def strike(deps: Deps, agent: str, transfer: str, source: str, path: str, index: int) -> Job:
    """One more lie of that source; it is dropped when it has told too many."""

    def step(job: Job) -> Job | None:
        for one in job.sources:
            if one.agent == source and one.state == "active":
                told = replace(one, strikes=one.strikes + 1)
                if told.strikes >= deps.limits.strikes:
                    error = PieceMismatchError(
                        f"piece {index} of {path} did not match its hash, {told.strikes} lies"
                    )
                    told = replace(told, state="dropped", code=error.code, reason=error.message)
                return job.with_source(told)
        return None

    return jobs.change(deps, agent, transfer, step)


def _no_source(job: Job) -> SkyError:
    dropped = [one for one in job.sources if one.state == "dropped"]
    why = "; ".join(f"{one.agent[:12]}: {one.code} {one.reason}" for one in dropped)
    if dropped and all(one.code.startswith("SKY-2") for one in dropped):
        return SourceRefusedError(
            why, advice="Ask somebody they trust to vouch for you, then `skyswarm resume`."
        )
    return NoSourceError(
        f"no source is left ({why})", advice="What is verified stays; `skyswarm resume` tries again."
    )
