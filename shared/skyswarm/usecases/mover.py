"""One leased batch being worked on: what is there, what can be copied, what must be relayed, and from whom.

Law: a piece counts only once the storage has it and its checksums matched on the way. Whatever goes wrong with a
source costs that source; only the destination, the user's own limits and a lost lease leave this file as errors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from skyswarm.errors import (
    AbsentError,
    CancelledError,
    ConflictError,
    DestinationConflictError,
    DestinationFullError,
    ForbiddenError,
    LeaseLostError,
    PieceMismatchError,
    SkyError,
    SourceChangedError,
    StorageFullError,
    TransferStateError,
    UnavailableError,
    UnsafePathError,
)
from skyswarm.messages import canonical
from skyswarm.messages.manifest import FileEntry, Manifest
from skyswarm.pieces.digest import PieceDigest, unpack_all
from skyswarm.pieces.hasher import verified
from skyswarm.pieces.size import piece_span
from skyswarm.ports.records import Batch, HeldFile
from skyswarm.ports.storage import ANY_VERSION, Origin, Storage
from skyswarm.usecases import jobs
from skyswarm.usecases.deps import Deps
from skyswarm.usecases.entries import conflict, entries, packed
from skyswarm.usecases.jobs import ACTIVE, Job
from skyswarm.usecases.plan import MAX_PLAN, destination
from skyswarm.usecases.relay import FetchFault, Gains, Item, Relay

ROOM = "What is verified stays. Make room, then `skyswarm resume`."

T = TypeVar("T")


class Mover:
    """One leased batch being worked on."""

    def __init__(
        self, deps: Deps, agent: str, job: Job, manifest: Manifest, batch: Batch, holder: str
    ) -> None:
        self.deps, self.agent, self.manifest = deps, agent, manifest
        self.batch, self.holder = batch, holder
        self.sink: Storage = deps.storages.open(agent, job.storage)
        self.items: list[Item] = canonical.loads(batch.plan_json, MAX_PLAN)["items"]
        self.before = canonical.loads(batch.progress_json, MAX_PLAN)
        self.gains = Gains(wasted=self.before.get("wasted", 0), sources=self.before.get("sources", {}))
        self.looked = deps.clock()
        self.rows: list[HeldFile] = []
        self.relay = Relay(deps, agent, job, self.items, self.sink.kind, self.gains, self.beat)

    @property
    def job(self) -> Job:
        """The newest state seen."""
        return self.relay.job

    # ---- the batch -----------------------------------------------------------------------------
    def run(self) -> None:
        try:
            for number in range(len(self.items)):
                self.one_item(number)
        except (SkyError, FetchFault):
            self.deps.held.put(self.agent, self.rows)
            self.save(last=True)
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
        except (
            DestinationConflictError, ForbiddenError, SourceChangedError, TransferStateError, UnsafePathError
        ) as error:  # fmt: skip
            self.gains.failed += 1
            jobs.note_failure(self.deps, self.agent, self.job.id, entry.path.text, error)
        except StorageFullError as error:
            raise DestinationFullError(f"no room for {key}: {error.message}", advice=ROOM) from error

    def small(self, number: int, entry: FileEntry, key: str) -> None:
        """A file of one piece, or none: put whole."""
        if self.there(entry, key, 0, min(1, entry.size)):
            # After a crash the batch's finished files are found like this; they were moved, not held before.
            held = self.batch.attempts == 1
        else:
            data = self.from_own(entry)
            if data is None and entry.size:
                digest = unpack_all(self.packed(entry))[0]
                data = self.relay.bring(
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
            self.rows.append(row)  # written with the batch: one write instead of hundreds
            held = False
        self.gains.files += 1
        self.count(entry.size, held=held)

    def big(self, number: int, entry: FileEntry, key: str, first: int, count: int, upload: str) -> None:
        """Some pieces of a file of several."""
        if not self.job.overwrite and self.there(entry, key, first, count):
            for index in range(first, first + count):
                self.count(piece_span(entry.size, index)[1], held=True)
            self.gains.files += first == 0
            return
        try:
            self.pieces(number, entry, first, count, upload)
        except AbsentError as error:
            self.beat(now=True)  # cancelled, or another worker's: then this is not for us to judge
            raise TransferStateError(
                f"what had come of {key} was removed from the destination",
                advice="`skyswarm resume` brings it again.",
            ) from error
        self.gains.files += first == 0

    def pieces(self, number: int, entry: FileEntry, first: int, count: int, upload: str) -> None:
        """Bring those that are not present. AbsentError: there is no such upload any more."""
        pieces = unpack_all(self.packed(entry))
        present = self.sink.parts(upload, first, count)
        for index in range(first, first + count):
            offset, length = piece_span(entry.size, index)
            if index not in present and not self.copied(entry, upload, index, pieces[index], offset, length):

                def write(chunks: Iterable[memoryview], at: int = index, size: int = length) -> None:
                    self.sink.part(upload, at, pieces[at], size, chunks)

                self.relay.bring(number, entry, index, pieces[index], offset, length, write)
                self.save()  # who gave what is for the receipt: a crash may lose what is under way, no more
            self.count(length)

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
                origin = Origin(row.storage, row.key, row.version)
                proof = self.sink.copy(upload, index, origin, offset, digest, length)
            except (ForbiddenError, AbsentError, SourceChangedError, PieceMismatchError, UnavailableError):
                continue
            if proof == digest.sha256:
                self.gains.held += length
                return True
        return False

    # ---- lease and progress ----------------------------------------------------------------------
    def beat(self, *, now: bool = False, paid: bool = False) -> None:
        """Now and then, or now: renew the lease, keep the progress, see whether the user paused or cancelled.

        `paid`: in the middle of a piece; one that costs money already is brought to its end when the cap is reached.
        """
        at = self.deps.clock()
        if now or at - self.looked >= 1.0:
            self.looked = at
            self.save()
            self.relay.job = jobs.load(self.deps, self.agent, self.job.id)
            if self.job.state not in ACTIVE and not (paid and self.job.state == "stopped"):
                raise CancelledError(f"the transfer is {self.job.state}")

    def save(self, *, last: bool = False) -> None:
        """Renew the lease and keep the progress. LeaseLostError, unless it is the `last` time."""
        # What an earlier holder brought is there, although this one has not come to it yet.
        progress = {
            name: max(self.before.get(name, 0), getattr(self.gains, name))
            for name in ("files", "pieces", "bytes", "held", "wasted")
        }
        progress["sources"] = self.gains.sources
        try:
            self.deps.transfers.save(
                self.agent,
                self.job.id,
                self.batch.number,
                self.holder,
                canonical.dumps(progress),
                self.deps.clock() + self.deps.limits.lease,
            )
        except LeaseLostError:
            if not last:
                raise
