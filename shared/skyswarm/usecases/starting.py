"""Starting a transfer: from a link, from a manifest file, or from a manifest dropped into the inbox.

Law: the id of a transfer that a drop starts is derived from the drop, so an event delivered twice starts one.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, replace

from skyswarm.errors import ConflictError, InputError, ManifestError
from skyswarm.messages.fields import ID
from skyswarm.messages.link import Link
from skyswarm.messages.manifest import Manifest
from skyswarm.pieces.paths import SharePath
from skyswarm.usecases import jobs, objects
from skyswarm.usecases.deps import Deps
from skyswarm.usecases.jobs import Job, SourceState
from skyswarm.usecases.plan import check_manifest, plan_task


@dataclass(frozen=True, slots=True)
class Wish:
    """Where the bytes go and on what terms. `max_cost` in µ$, -1: none. `hold`: it begins as paused, so that its price
    can be asked for and shown before anything is moved; `settle.resume` lets it go."""

    storage: str
    prefix: str = ""
    max_cost: int = -1
    overwrite: bool = False
    keep: bool = False
    hold: bool = False


def new_id(entropy: bytes) -> str:
    """`t-` and 8 base32 characters from 5 bytes."""
    return "t-" + base64.b32encode(entropy[:5]).decode().lower()


def start_link(deps: Deps, agent: str, link: Link, wish: Wish) -> Job:
    """Start from a link: the manifest is asked for later."""
    job = _job(deps, agent, new_id(deps.entropy(5)), link.manifest, link.name, wish)
    hints = () if link.at is None else (link.at,)
    return _start(deps, agent, replace(job, repos=link.repos, hints=hints))


def start_manifest(
    deps: Deps, agent: str, envelope: bytes, wish: Wish, *, origin: str = "", transfer: str | None = None
) -> Job:
    """Start from a manifest's bytes. InputError subclasses when they are not a sound, signed, unexpired manifest."""
    manifest: Manifest = check_manifest(deps, agent, envelope)
    if 0 < manifest.expires <= deps.clock():
        raise ManifestError("the manifest has expired", advice="Ask its owner for a new one.")
    objects.write(deps, agent, objects.manifest_key(manifest.id), envelope)
    job = _job(deps, agent, transfer or new_id(deps.entropy(5)), manifest.id, manifest.name, wish)
    job = replace(
        job,
        repos=manifest.repos,
        issuer=manifest.issuer,
        origin=origin,
        files=manifest.files,
        bytes=manifest.bytes,
        pieces=manifest.pieces,
    )
    return _start(deps, agent, job)


def drop_id(key: str, data: bytes) -> str:
    """The transfer id of a manifest dropped at `key`: the same drop gives the same transfer."""
    return new_id(hashlib.sha256(key.encode() + b"\0" + data).digest())


def _job(deps: Deps, agent: str, transfer: str, manifest_id: str, name: str, wish: Wish) -> Job:
    deps.storages.open(agent, wish.storage)  # AbsentError now rather than later
    prefix = wish.prefix.strip("/")
    if prefix:
        SharePath.parse(prefix)
    return Job(
        id=transfer,
        manifest=manifest_id,
        name=name,
        storage=wish.storage,
        prefix=prefix,
        created=int(deps.clock()),
        state="paused" if wish.hold else "queued",
        max_cost=wish.max_cost,
        overwrite=wish.overwrite,
        keep=wish.keep,
    )


def _start(deps: Deps, agent: str, job: Job) -> Job:
    for hint in job.hints:
        owner = hint.rpartition("/a/")[2]
        if ID.fullmatch(owner) is None:
            raise InputError(f"{hint} does not name an agent", advice="An endpoint ends in /a/<agent id>.")
        job = job.with_source(SourceState(agent=owner, endpoint=hint))
    try:
        job = jobs.store(deps, agent, job.to_state(job.state, deps.clock()))
    except ConflictError:
        there = jobs.load(deps, agent, job.id)
        # One that has handed its status on to a follow-up names its drop no more.
        if there.manifest != job.manifest or there.origin not in (job.origin, ""):
            raise  # another transfer has this id by chance: the caller tries again with another one
        job = there  # the same drop, delivered again
    if job.state != "paused":
        deps.tasks.push(plan_task(agent, job.id))
    return job
