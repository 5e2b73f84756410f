"""The inbox: a manifest dropped into it starts a transfer; its status is written beside it.

Law: the bucket alone is a whole interface (`x.manifest.json` → `x.status.json`). A manifest is known by what it is,
under any name; other files are left alone, but a `.json` that is none is answered. Looking is one listing, never a
poll per file; a drop is recognised by its key and content, so events may come twice, late or not at all.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress

from skyswarm.errors import (
    AbsentError,
    ConflictError,
    ForbiddenError,
    InputError,
    ManifestError,
    SkyError,
    SourceChangedError,
    StorageFullError,
    TooLargeError,
)
from skyswarm.messages import canonical
from skyswarm.messages.dsse import Envelope
from skyswarm.messages.manifest import MANIFEST_TYPE
from skyswarm.ports.records import Entry
from skyswarm.ports.sizes import MAX_KEY
from skyswarm.ports.storage import ANY_VERSION
from skyswarm.usecases import jobs, objects
from skyswarm.usecases.deps import Deps
from skyswarm.usecases.jobs import Job
from skyswarm.usecases.reporting import counted, refused_status, report_of, status_of
from skyswarm.usecases.starting import Wish, drop_id, start_manifest

INBOX = "#inbox"
MANIFEST = ".manifest.json"
STATUS = ".status.json"
JSON = ".json"
PART = ".part"


def look(deps: Deps, agent: str, wish: Wish) -> list[str]:
    """Start what was dropped since the last look; returns the keys that were taken up.

    One drop never stops another: each is looked at, then the first error that one has met is raised.
    """
    storage = deps.storages.open(agent, INBOX)
    taken: list[str] = []
    trouble: SkyError | None = None
    after: str | None = None
    while True:
        listing = storage.list("", after)
        for found in listing.objects:
            if _ignored(found.key):
                continue
            try:
                if drop(deps, agent, found.key, found.version, found.size, wish):
                    taken.append(found.key)
            except SkyError as error:
                trouble = trouble or error
        if listing.next is None:
            break
        after = listing.next
    if trouble is not None:
        raise trouble
    return taken


def take_up(deps: Deps, agent: str, key: str, wish: Wish) -> Job | None:
    """What an event says was dropped at `key`; as it is now, for events come late, twice and out of order."""
    if _ignored(key):
        return None
    try:
        found = deps.storages.open(agent, INBOX).stat(key)
    except AbsentError:
        return None  # taken away again
    return drop(deps, agent, key, found.version, found.size, wish)


def drop(deps: Deps, agent: str, key: str, version: str, size: int, wish: Wish) -> Job | None:
    """One dropped file. None: it was looked at before, is not a manifest, or is refused (its status says why)."""
    if size > objects.MAX_ENVELOPE and not key.endswith(JSON):
        return None  # too long for a manifest
    note = _looked_at(key)
    known = deps.notes.get(agent, note)
    if known is not None and known.value.decode() == version:
        return None
    job: Job | None = None
    refused: SkyError | None = None
    try:
        try:
            data = _read(deps, agent, key, version, size)
        except (AbsentError, SourceChangedError):
            return None  # taken away again, or being written: it is looked at in the next round
        except ForbiddenError:
            if key.endswith(JSON):
                raise
            data = None
        if data is not None:
            job = start_manifest(deps, agent, data, wish, origin=key, transfer=drop_id(key, data))
    except SkyError as error:
        if error.retryable:
            raise
        refused = error
    try:
        if refused is not None:
            _write(deps, agent, key, refused_status(key, refused, deps.clock()).dump())
        elif job is not None:
            _write_status(deps, agent, job)
    except SkyError as error:
        if refused is not None and not _in_the_way(error):
            raise  # the storage is away: it is answered in the next round
        _note(deps, agent, note, version.encode(), known)
        raise
    _note(deps, agent, note, version.encode(), known)
    return job


def _looked_at(key: str) -> str:
    """The note about a drop; a storage's longest keys are too long for a note's."""
    name = f"drop/{key}"
    return name if len(name.encode()) <= MAX_KEY else f"drop/#{hashlib.sha256(key.encode()).hexdigest()}"


def _note(deps: Deps, agent: str, key: str, value: bytes, known: Entry | None) -> None:
    """Remember what was looked at or written. Who was faster has done the same, or will look again by its own note."""
    with suppress(ConflictError):
        deps.notes.put(agent, Entry(key, value, known.version if known else 0))


def _in_the_way(error: SkyError) -> bool:
    """Whether a status cannot be written however often it is tried: a folder is there, its name is too long, or it is
    forbidden. Room may come by itself."""
    if isinstance(error, StorageFullError):
        return False
    return isinstance(error, ConflictError) or not error.retryable


def _read(deps: Deps, agent: str, key: str, version: str, size: int) -> bytes | None:
    """A dropped manifest. None: it is no manifest and its name does not say that it were; InputError: it does."""
    if size > objects.MAX_ENVELOPE:
        raise TooLargeError(f"this is not a manifest: {size} bytes are too many")
    chunks = deps.storages.open(agent, INBOX).chunks(key, version, 0, size)
    data = b"".join(bytes(chunk) for chunk in chunks)
    try:
        if Envelope.parse(data, objects.MAX_ENVELOPE).payload_type == MANIFEST_TYPE:
            return data
        raise ManifestError("it is another signed document")
    except InputError as error:
        if not key.endswith(JSON):
            return None
        advice = "Drop the file that `skyswarm share` has made, as it is."
        raise type(error)(f"this is not a manifest: {error.message}", advice=advice) from error


def _ignored(key: str) -> bool:
    """Our own statuses, and what others hide or have not finished."""
    name = key.rpartition("/")[2]
    return name.startswith(".") or name.endswith((STATUS, PART))


def status_key(key: str) -> str:
    """Where the status of what was dropped at `key` lies: beside it."""
    return (key.removesuffix(MANIFEST) if key.endswith(MANIFEST) else key.removesuffix(JSON)) + STATUS


def write_status(deps: Deps, agent: str, job: Job) -> None:
    """Write the status beside the dropped manifest, if the transfer came from a drop. What is in its way there, or that
    there is no room for it, is told by `refresh`; it must not stop a transfer or whoever ends it."""
    try:
        _write_status(deps, agent, job)
    except SkyError as error:
        if not _in_the_way(error) and not isinstance(error, StorageFullError):
            raise


def _write_status(deps: Deps, agent: str, job: Job) -> None:
    if job.origin:
        _write(
            deps, agent, job.origin, status_of(deps, agent, report_of(deps, agent, job), deps.clock()).dump()
        )


def refresh(deps: Deps, agent: str) -> None:
    """Write the statuses of dropped transfers that have changed since they were last written.

    One that cannot be written stops no other: the first error is raised at the end, and what is in the way of a status
    is met again only when there is something new to write.
    """
    trouble: SkyError | None = None
    for job in jobs.page(deps, agent, limit=50):
        if not job.origin:
            continue
        mark = f"status/{job.id}"
        known = deps.notes.get(agent, mark)
        tally = counted(deps, agent, job)
        state = canonical.dumps([job.version, tally.done, tally.bytes])
        if known is None or known.value != state:
            try:
                _write_status(deps, agent, job)
            except SkyError as error:
                trouble = trouble or error
                if not _in_the_way(error):
                    continue
            _note(deps, agent, mark, state, known)
    if trouble is not None:
        raise trouble


def _write(deps: Deps, agent: str, key: str, data: bytes) -> None:
    storage = deps.storages.open(agent, INBOX)
    storage.put(status_key(key), data, if_version=ANY_VERSION, media_type="application/json")
