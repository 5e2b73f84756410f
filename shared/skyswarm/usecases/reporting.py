"""The status of a transfer as a document: beside a dropped manifest, on the console, in `--json`.

Law: made from the stored job, its tally and what the batches under way have saved, at the moment of asking; nothing is
remembered for it. Of one round, what is done never becomes less.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

from skyswarm.errors import SkyError
from skyswarm.messages import canonical
from skyswarm.messages.status import (
    ENDED,
    MAX_FAILED,
    MAX_LINES,
    MAX_SOURCES,
    Cost,
    CostLine,
    FailedFile,
    Moved,
    Progress,
    Source,
    Status,
    Trouble,
    Waiting,
    shown,
)
from skyswarm.ports.records import Batch, Tally
from skyswarm.usecases import jobs
from skyswarm.usecases.deps import Deps
from skyswarm.usecases.jobs import Job
from skyswarm.usecases.people import name_of
from skyswarm.usecases.plan import MAX_PLAN

UNDER_WAY = 64
"""Batches under way that are looked at, the first ones: more than are worked on at once, and few to read."""
_LOOKS = 8


@dataclass(frozen=True, slots=True)
class Report:
    """A job with its counters and money (µ$ spent)."""

    job: Job
    tally: Tally
    spent: int
    by_source: dict[str, int]


def report(deps: Deps, agent: str, transfer: str) -> Report:
    """UnknownTransferError."""
    return report_of(deps, agent, jobs.load(deps, agent, transfer))


def report_of(deps: Deps, agent: str, job: Job) -> Report:
    """The job as given, with its counters as they are now."""
    tally, saved = _looked(deps, agent, job)
    given = {
        one.agent: deps.transfers.tally(agent, job.id, f"from:{one.agent}").bytes
        + sum(batch.get("sources", {}).get(one.agent, [0, 0, 0])[1] for batch in saved)
        for one in job.sources
    }
    return Report(job, _whole(job, tally, saved), deps.meters.read(agent, f"cost/{job.id}"), given)


def counted(deps: Deps, agent: str, job: Job) -> Tally:
    """The counters of a job, what the batches under way have saved included."""
    return _whole(job, *_looked(deps, agent, job))


def held(deps: Deps, agent: str, job: Job) -> bool:
    """Whether a worker is still at it, so that more may be safe than is counted by now."""
    now = deps.clock()
    return any(
        batch.lease and batch.lease_until > now
        for batch in deps.transfers.undone(agent, job.id, limit=UNDER_WAY)
    )


def _looked(deps: Deps, agent: str, job: Job) -> tuple[Tally, list[dict[str, Any]]]:
    """The tally of what is done, and what each batch that is not has saved, of one moment: a batch that ends between
    the two looks would be in both, or in none, so it is looked again."""
    tally = deps.transfers.tally(agent, job.id)
    if job.state == "done" or tally.done == tally.batches:
        return tally, []
    for _ in range(_LOOKS):
        batches = deps.transfers.undone(agent, job.id, limit=UNDER_WAY)
        after = deps.transfers.tally(agent, job.id)
        if after.done == tally.done:
            break
        tally = after
    else:
        batches = deps.transfers.undone(agent, job.id, limit=UNDER_WAY)
    return tally, [_saved(job, batch) for batch in batches]


def _saved(job: Job, batch: Batch) -> dict[str, Any]:
    """What the last holder of a batch has saved."""
    if batch.group and job.state == "cancelled":
        return {}  # parts of a file that is not complete: they were given up
    saved: dict[str, Any] = canonical.loads(batch.progress_json, MAX_PLAN)
    return saved | {"files": 0} if batch.group else saved


def _whole(job: Job, tally: Tally, saved: list[dict[str, Any]]) -> Tally:
    def more(name: str) -> int:
        return sum(one.get(name, 0) for one in saved)

    return replace(
        tally,
        files=min(tally.files + more("files"), max(tally.files, job.files)),
        pieces=min(tally.pieces + more("pieces"), max(tally.pieces, job.pieces)),
        bytes=min(tally.bytes + more("bytes"), max(tally.bytes, job.bytes)),
        held_bytes=min(tally.held_bytes + more("held"), tally.bytes + more("bytes")),
        wasted_bytes=tally.wasted_bytes + more("wasted"),
    )


def status_of(deps: Deps, agent: str, found: Report, now: float) -> Status:
    """The document. `rate` is the mean since the start: exact, and the same from every process."""
    job, tally = found.job, found.tally
    over = job.finished or now
    moved = tally.bytes - tally.held_bytes
    rate = int(moved / max(1.0, over - (job.started or job.created)))
    left = job.bytes - tally.bytes
    chain = next((one.chain for one in job.sources if one.chain), ())
    return Status(
        transfer=job.id,
        state=job.state,
        name=shown(job.name),
        files=Progress(tally.files, job.files),
        bytes=Moved(tally.bytes, job.bytes, tally.held_bytes, tally.wasted_bytes),
        pieces=Progress(tally.pieces, job.pieces),
        rate=rate,
        eta=left // rate if rate and job.state == "moving" else None,
        cost=Cost(
            spent=found.spent,
            cap=job.max_cost if job.max_cost >= 0 else None,
            estimate=sum(line["micro"] for line in job.estimate),
            lines=tuple(CostLine(**line) for line in job.estimate[:MAX_LINES]),
        ),
        sources=tuple(
            Source(one.agent, found.by_source.get(one.agent, 0), one.state, name_of(deps, agent, one.agent))
            for one in job.sources[:MAX_SOURCES]
        ),
        chain=chain,
        receipts=job.receipts,
        error=Trouble(job.error["code"], shown(job.error["message"]), shown(job.error.get("advice", "")))
        if job.error
        else None,
        failed=tuple(
            FailedFile(shown(one["path"], 1024), one["code"], shown(one["message"]))
            for one in job.failed[:MAX_FAILED]
        ),
        waiting=Waiting(job.waiting["code"], shown(job.waiting["message"]), job.waiting["next"])
        if job.waiting and job.state not in ENDED
        else None,
        started=job.started or job.created,
        updated=int(now),
        finished=job.finished if job.state in ENDED else None,
    )


def refused_status(key: str, error: SkyError, now: float) -> Status:
    """What is written beside something dropped that is not a manifest we can use."""
    nothing = Progress(0, 0)
    return Status(
        transfer="t-" + hashlib.sha256(key.encode()).hexdigest()[:8],
        state="refused",
        name=shown(key),
        files=nothing,
        bytes=Moved(0, 0, 0, 0),
        pieces=nothing,
        rate=0,
        eta=None,
        cost=Cost(0, None, 0),
        started=int(now),
        updated=int(now),
        finished=int(now),
        error=Trouble.of(error),
    )
