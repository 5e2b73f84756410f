"""The end of a transfer, and what the user does to one: settle, pause, resume, cancel, give up.

Law: the bytes decide whether a transfer is done; receipts and statuses follow and never hold it up. Each step is a
change of the job's state or idempotent.
"""

from __future__ import annotations

from dataclasses import replace

from skyswarm.errors import AbsentError, ForbiddenError, SkyError, TransferStateError, UnsafePathError
from skyswarm.messages import canonical
from skyswarm.messages.manifest import Page, page_ids
from skyswarm.ports.records import Share
from skyswarm.ports.work import Task
from skyswarm.usecases import jobs, objects
from skyswarm.usecases.deps import Deps
from skyswarm.usecases.jobs import ACTIVE, RESUMABLE, Job
from skyswarm.usecases.plan import destination, move_task, plan_task, settle_task
from skyswarm.usecases.receipts import exchange_all
from skyswarm.usecases.spreading import soon
from skyswarm.usecases.starting import new_id

NOWHERE = "absent"
"""Key and version of a file that could not be had: its URL gives 404 or 412, and the asker goes elsewhere."""
_BEGIN_AGAIN = "`skyswarm cancel` takes it away; begin it again."


def settle(deps: Deps, agent: str, transfer: str) -> None:
    """End the transfer when every batch is done. Harmless when it is not yet."""
    job = jobs.load(deps, agent, transfer)
    if job.state not in ACTIVE or not job.planned:
        return
    tally = deps.transfers.tally(agent, transfer)
    if tally.done < tally.batches:
        return
    job = jobs.change(
        deps,
        agent,
        transfer,
        lambda one: one.to_state("settling", deps.clock()) if one.state == "moving" else None,
    )
    if job.keep:
        keep_sharing(deps, agent, job)

    def end(now: Job) -> Job | None:
        if now.state not in ACTIVE:
            return None
        if tally.failed or now.failed:
            # The list is bounded, so the count is of the files that were not brought, if those are more.
            missing = max(1, len(now.failed), now.files - tally.files)
            others = "; the others are complete" if missing < now.files else ""
            error = SettledWithFailures(
                f"{missing} of {now.files} files could not be had{others}",
                advice=f"skyswarm ls {now.id} names them; skyswarm resume {now.id} tries them again.",
            )
            return now.to_state("failed", deps.clock(), error)
        return now.to_state("done", deps.clock())

    deps.tasks.push(receipts_task(agent, transfer))  # before the end: afterwards a crash would leave none
    jobs.change(deps, agent, transfer, end)


class SettledWithFailures(SkyError):
    """The transfer ended, but some files could not be had."""

    code, status = "SKY-300", 409


def receipts_task(agent: str, transfer: str) -> Task:
    return Task(agent, "receipts", canonical.dumps({"transfer": transfer}), f"receipts/{agent}/{transfer}")


def receipts(deps: Deps, agent: str, transfer: str) -> None:
    """Exchange the receipts of a transfer whose batches are done. Raises the last trouble: the queue tries again."""
    job = jobs.load(deps, agent, transfer)
    ids, trouble = exchange_all(deps, agent, job)
    jobs.change(
        deps, agent, transfer, lambda one: replace(one, receipts=ids) if one.receipts != ids else None
    )
    if trouble is not None:
        raise trouble


def keep_sharing(deps: Deps, agent: str, job: Job) -> None:
    """Serve on what was received: store where each file lies now, then the share."""
    manifest = objects.manifest(deps, agent, job.manifest)
    tag = objects.tag_of(manifest)

    def load(object_id: str) -> bytes:
        data = objects.side(deps, agent, tag, object_id)
        if data is None:
            raise AbsentError(f"side object {object_id[:12]} is gone")
        return data

    storage = deps.storages.open(agent, job.storage)
    for number, page_id in enumerate(page_ids(manifest, load)):
        places = []
        for entry in Page.parse(load(page_id)).files:
            key = destination(job, manifest, entry)
            try:
                version = storage.stat(key).version
                storage.presign(key, version, 1)
            except (AbsentError, ForbiddenError, UnsafePathError):
                key = version = NOWHERE
            places.append((job.storage, key, version, entry.size))
        objects.write_places(deps, agent, tag, number, places)
    share = Share(
        manifest=manifest.id,
        name=manifest.name,
        storage=job.storage,
        prefix=job.prefix,
        files=manifest.files,
        bytes=manifest.bytes,
        created=deps.clock(),
        expires=manifest.expires,
        origin=f"received:{job.id}",
    )
    deps.shares.put(agent, share)
    soon(deps, agent)


def give_up(deps: Deps, agent: str, transfer: str, state: str, error: SkyError, of_round: int) -> Job:
    """Stop an active transfer with its reason, unless it was resumed since; everything verified stays."""

    def step(job: Job) -> Job | None:
        return (
            job.to_state(state, deps.clock(), error)
            if job.state in ACTIVE and job.round == of_round
            else None
        )

    return jobs.change(deps, agent, transfer, step)


def pause(deps: Deps, agent: str, transfer: str) -> Job:
    """Stop moving; workers notice within a second."""

    def step(job: Job) -> Job | None:
        if job.state == "paused":
            return None
        if job.state not in ACTIVE:
            raise TransferStateError(f"{job.id} is {job.state}; only a running transfer can be paused")
        return job.to_state("paused", deps.clock())

    return jobs.change(deps, agent, transfer, step)


def resume(
    deps: Deps, agent: str, transfer: str, *, max_cost: int | None = None, overwrite: bool = False
) -> Job:
    """Go on where it stopped: what is verified is not moved again. Dropped sources get another chance."""

    job = jobs.load(deps, agent, transfer)
    if not job.manifest:
        raise TransferStateError(f"{job.id} cannot be read and cannot be resumed", advice=_BEGIN_AGAIN)
    if job.state == "failed" and job.planned and _all_done(deps, agent, transfer):
        return _again(deps, agent, job, max_cost, overwrite)

    def step(job: Job) -> Job | None:
        if job.state in ACTIVE:
            return None
        if job.state not in RESUMABLE:
            raise TransferStateError(f"{job.id} is {job.state} and cannot be resumed")
        out = replace(
            job,
            sources=tuple(replace(one, state="active", strikes=0, code="", reason="") for one in job.sources),
            max_cost=job.max_cost if max_cost is None else max_cost,
            overwrite=job.overwrite or overwrite,
            round=job.round + 1,
        )
        return out.to_state("moving" if job.planned else "queued", deps.clock())

    job = jobs.change(deps, agent, transfer, step)
    wake(deps, agent, job)
    return job


def _all_done(deps: Deps, agent: str, transfer: str) -> bool:
    tally = deps.transfers.tally(agent, transfer)
    return tally.done == tally.batches


def _again(deps: Deps, agent: str, job: Job, max_cost: int | None, overwrite: bool) -> Job:
    """A follow-up of a transfer that ended with files missing: what is there is held, the rest is tried again."""
    follow = Job(
        id=new_id(deps.entropy(5)),
        manifest=job.manifest,
        name=job.name,
        storage=job.storage,
        prefix=job.prefix,
        created=int(deps.clock()),
        issuer=job.issuer,
        origin=job.origin,
        repos=job.repos,
        hints=job.hints,
        max_cost=job.max_cost if max_cost is None else max_cost,
        overwrite=job.overwrite or overwrite,
        keep=job.keep,
        sources=tuple(replace(one, state="active", strikes=0, code="", reason="") for one in job.sources),
    )
    follow = jobs.store(deps, agent, follow.to_state("queued", deps.clock()))
    deps.tasks.push(plan_task(agent, follow.id))
    # The status beside the drop is the follow-up's from now on.
    jobs.change(deps, agent, job.id, lambda now: replace(now, origin="") if now.origin else None)
    return follow


def wake(deps: Deps, agent: str, job: Job) -> None:
    """Make sure that a task exists for everything the transfer still needs: after a resume, a crash, a lost message."""
    if job.state not in ACTIVE:
        return
    if not job.planned:
        deps.tasks.push(plan_task(agent, job.id))
    after = -1
    while batches := deps.transfers.undone(agent, job.id, after, 500):
        for batch in batches:
            deps.tasks.push(move_task(agent, job.id, batch.number))
        after = batches[-1].number
    if job.planned:
        deps.tasks.push(settle_task(agent, job.id))


def cancel(deps: Deps, agent: str, transfer: str) -> Job:
    """End it for good: uploads are given up; files that are complete stay where they are."""

    def step(job: Job) -> Job | None:
        if job.state == "cancelled":
            return None
        if job.state == "done":
            raise TransferStateError(f"{job.id} is done; there is nothing to cancel")
        return job.to_state("cancelled", deps.clock())

    job = jobs.change(deps, agent, transfer, step)
    if job.storage:  # none: what was stored of it cannot be read
        give_uploads_up(deps, agent, job)
    return job


def give_uploads_up(deps: Deps, agent: str, job: Job) -> None:
    """Abort what a cancelled transfer has begun and not finished. Idempotent."""
    storage = deps.storages.open(agent, job.storage)
    after = -1
    while batches := deps.transfers.undone(agent, job.id, after, 500):
        for batch in batches:
            for item in canonical.loads(batch.plan_json, 1 << 20)["items"]:
                if item[4]:
                    storage.abort(str(item[4]))
        after = batches[-1].number
