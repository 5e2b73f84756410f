"""The inbox: a manifest dropped into it starts a transfer; its status is written beside it.

Law: the bucket alone is a whole interface (`x.manifest.json` → `x.status.json`). Looking is one listing, never a
poll per file; a drop is recognised by its key and content, so events may come twice, late or not at all.
"""

from __future__ import annotations

from skyswarm.errors import AbsentError, InputError, SkyError, TooLargeError
from skyswarm.messages import canonical
from skyswarm.ports.records import Entry
from skyswarm.ports.storage import ANY_VERSION
from skyswarm.usecases import jobs, objects
from skyswarm.usecases.deps import Deps
from skyswarm.usecases.jobs import Job
from skyswarm.usecases.reporting import refused_status, report_of, status_of
from skyswarm.usecases.starting import Wish, drop_id, start_manifest

INBOX = "#inbox"
MANIFEST = ".manifest.json"
STATUS = ".status.json"


def look(deps: Deps, agent: str, wish: Wish) -> list[str]:
    """Start what was dropped since the last look; returns the keys that were taken up."""
    storage = deps.storages.open(agent, INBOX)
    taken: list[str] = []
    after: str | None = None
    while True:
        listing = storage.list("", after)
        for found in listing.objects:
            if found.key.endswith(MANIFEST) and drop(deps, agent, found.key, found.version, found.size, wish):
                taken.append(found.key)
        if listing.next is None:
            return taken
        after = listing.next


def drop(deps: Deps, agent: str, key: str, version: str, size: int, wish: Wish) -> Job | None:
    """One dropped manifest. None: it was taken up before, or is refused (its status says why)."""
    note = f"drop/{key}"
    known = deps.notes.get(agent, note)
    if known is not None and known.value.decode() == version:
        return None
    storage = deps.storages.open(agent, INBOX)
    job: Job | None = None
    try:
        if size > objects.MAX_ENVELOPE:
            raise TooLargeError(f"{size} bytes are too many for a manifest")
        try:
            data = objects.read(storage, key, objects.MAX_ENVELOPE)
        except AbsentError:
            return None  # taken away again
        job = start_manifest(deps, agent, data, wish, origin=key, transfer=drop_id(key, data))
    except InputError as error:
        _write(deps, agent, key, refused_status(key, error, deps.clock()).dump())
    except SkyError as error:
        if error.retryable:
            raise
        _write(deps, agent, key, refused_status(key, error, deps.clock()).dump())
    deps.notes.put(agent, Entry(note, version.encode(), known.version if known else 0))
    if job is not None:
        write_status(deps, agent, job)
    return job


def write_status(deps: Deps, agent: str, job: Job) -> None:
    """Write the status beside the dropped manifest, if the transfer came from a drop."""
    if job.origin:
        _write(
            deps, agent, job.origin, status_of(deps, agent, report_of(deps, agent, job), deps.clock()).dump()
        )


def refresh(deps: Deps, agent: str) -> None:
    """Write the statuses of dropped transfers that have changed since they were last written."""
    for job in jobs.page(deps, agent, limit=50):
        if not job.origin:
            continue
        mark = f"status/{job.id}"
        known = deps.notes.get(agent, mark)
        tally = deps.transfers.tally(agent, job.id)
        state = canonical.dumps([job.version, tally.done, tally.bytes])
        if known is None or known.value != state:
            write_status(deps, agent, job)
            deps.notes.put(agent, Entry(mark, state, known.version if known else 0))


def _write(deps: Deps, agent: str, key: str, data: bytes) -> None:
    storage = deps.storages.open(agent, INBOX)
    storage.put(
        key.removesuffix(MANIFEST) + STATUS, data, if_version=ANY_VERSION, media_type="application/json"
    )
