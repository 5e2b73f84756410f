"""Moving one batch: lease it, bring its missing pieces from the best source, verify, finish the file it completes.

Law: safe at any moment, any number of times, by any number of workers. A piece counts only once the storage has it
and its three checksums matched on the way; what is present is never moved again. Whatever goes wrong with a source
costs that source, not the transfer; only the destination and the user's own limits stop it.

Steps (`shared/spec/transfers.md`, moving):
  1. lease the batch (conditional write); a batch that is done may still have to say so: go to 5
  2. what is at the destination already counts as held, when it verifies
  3. what this user holds elsewhere is copied by the provider, when it can
  4. the rest is relayed: presigned ranged GET → checksums → part, each piece from the source that would be first
  5. count the batch (conditional write); the last one of a file has the batch done that finishes its upload
"""

from __future__ import annotations

from contextlib import suppress

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
    UnsafePathError,
)
from skyswarm.messages import canonical
from skyswarm.messages.manifest import FileEntry, Manifest
from skyswarm.pieces.digest import unpack_all
from skyswarm.pieces.hasher import verified
from skyswarm.pieces.size import piece_span
from skyswarm.ports.records import Batch, HeldFile, Tally
from skyswarm.ports.storage import ANY_VERSION, Object
from skyswarm.usecases import jobs, objects
from skyswarm.usecases.deps import Deps
from skyswarm.usecases.entries import entries, packed
from skyswarm.usecases.jobs import ACTIVE, Job
from skyswarm.usecases.mover import ROOM, Mover
from skyswarm.usecases.plan import MAX_PLAN, destination, move_task, settle_task


def move(deps: Deps, agent: str, transfer: str, number: int, holder: str) -> None:
    """Move one batch. NotNow: come back later. LeaseLostError, CancelledError: nothing to do here any more."""
    job = jobs.load(deps, agent, transfer)
    if job.state not in ACTIVE:
        raise CancelledError(f"the transfer is {job.state}")
    batch = deps.transfers.batch(agent, transfer, number)
    if batch is None:
        raise AbsentError(f"transfer {transfer} has no batch {number}")
    manifest = objects.manifest(deps, agent, job.manifest)
    if not batch.done:
        leased = deps.transfers.lease(agent, transfer, number, holder, deps.clock(), deps.limits.lease)
        if leased is None:
            batch = deps.transfers.batch(agent, transfer, number)
            if batch is None or not batch.done:
                raise LeaseLostError("another worker holds this batch")
        elif canonical.loads(leased.plan_json, MAX_PLAN)["closes"]:
            _close(deps, agent, job, manifest, leased, holder)
        else:
            Mover(deps, agent, job, manifest, leased, holder).run()
    _next(deps, agent, jobs.load(deps, agent, transfer), batch)


def _next(deps: Deps, agent: str, job: Job, batch: Batch) -> None:
    """What this batch may have been the last one for: its file, then the transfer. Idempotent."""
    plan = canonical.loads(batch.plan_json, MAX_PLAN)
    if batch.group and deps.transfers.tally(agent, job.id, batch.group).done == plan["of"]:
        deps.tasks.push(move_task(agent, job.id, plan["close"]))
    tally = deps.transfers.tally(agent, job.id)
    if job.planned and tally.done == tally.batches:
        deps.tasks.push(settle_task(agent, job.id))


def _close(deps: Deps, agent: str, job: Job, manifest: Manifest, batch: Batch, holder: str) -> None:
    """Finish the file of a group when all of its batches are done; too early is harmless: the last one asks again."""
    plan = canonical.loads(batch.plan_json, MAX_PLAN)
    try:
        if deps.transfers.tally(agent, job.id, plan["closes"]).done < plan["of"]:
            return
        page, index, _, _, upload = plan["items"][0]
        entry = entries(deps, agent, job, manifest, page)[index]
        _finish_file(deps, agent, job, manifest, entry, plan["closes"], upload)
        deps.transfers.finish(agent, job.id, batch.number, holder, Tally(), {})
    finally:
        deps.transfers.release(agent, job.id, batch.number, holder)


def _finish_file(
    deps: Deps, agent: str, job: Job, manifest: Manifest, entry: FileEntry, group: str, upload: str
) -> None:
    storage = deps.storages.open(agent, job.storage)
    tally = deps.transfers.tally(agent, job.id, group)
    key = destination(job, manifest, entry)
    if tally.failed:
        with suppress(ForbiddenError, UnsafePathError):  # that may be the failure itself
            storage.abort(upload)  # why is noted already
        return
    pieces = packed(deps, agent, job, manifest, entry)
    try:
        found = storage.finish(upload, unpack_all(pieces), if_version=ANY_VERSION if job.overwrite else None)
    except (ConflictError, AbsentError, TransferStateError) as error:
        there = _there(deps, agent, job, key, entry, pieces)
        storage.abort(upload)
        if there is None:
            jobs.note_failure(deps, agent, job.id, entry.path.text, _lost(key, error))
            return
        found = there  # it was there all along, or somebody else has brought it meanwhile
    except (ForbiddenError, UnsafePathError) as error:  # of this key: the other files go on
        jobs.note_failure(deps, agent, job.id, entry.path.text, error)
        with suppress(ForbiddenError, UnsafePathError):
            storage.abort(upload)
        return
    except StorageFullError as error:
        raise DestinationFullError(error.message, advice=ROOM) from error
    row = HeldFile(job.storage, key, found.version, entry.size, entry.content, pieces)
    deps.held.put(agent, [row])


def _there(deps: Deps, agent: str, job: Job, key: str, entry: FileEntry, pieces: bytes) -> Object | None:
    """The destination's object when it is this very file: by our record of that version, else read and hashed."""
    storage = deps.storages.open(agent, job.storage)
    try:
        found = storage.stat(key)
        row = deps.held.at(agent, job.storage, key, found.version)
        if found.size != entry.size or (row is not None and row.content != entry.content):
            return None
        for index, digest in enumerate(unpack_all(pieces) if row is None else ()):
            offset, length = piece_span(entry.size, index)
            for _ in verified(storage.chunks(key, found.version, offset, length), digest, length):
                pass
    except (AbsentError, PieceMismatchError, SourceChangedError):
        return None
    return found


def _lost(key: str, error: SkyError) -> SkyError:
    if isinstance(error, ConflictError):
        return DestinationConflictError(
            f"another file came to be at {key} while this one was moved; it was left as it is",
            advice="Resume with --overwrite, or choose another destination.",
        )
    return TransferStateError(
        f"what had come of {key} was removed from the destination: {error.message}",
        advice="`skyswarm resume` brings it again.",
    )
