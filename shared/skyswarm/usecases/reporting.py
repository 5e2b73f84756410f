"""The status of a transfer as a document: beside a dropped manifest, on the console, in `--json`.

Law: made from the stored job and its tally at the moment of asking; nothing is remembered for it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from skyswarm.errors import SkyError
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
from skyswarm.ports.records import Tally
from skyswarm.usecases import jobs
from skyswarm.usecases.deps import Deps
from skyswarm.usecases.jobs import Job
from skyswarm.usecases.people import name_of


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
    return Report(
        job,
        deps.transfers.tally(agent, job.id),
        deps.meters.read(agent, f"cost/{job.id}"),
        {one.agent: deps.transfers.tally(agent, job.id, f"from:{one.agent}").bytes for one in job.sources},
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
