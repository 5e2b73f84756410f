"""The state of one transfer: what is stored, which states follow which, and how it is changed safely.

Law: a job is changed only through `change`, a read-decide-write loop over a conditional write, so that any number
of functions may act on one transfer at once. Counters are not in here: they are the Tally of the Transfers port.
States (`shared/spec/transfers.md`):

    queued → planning → moving → settling → done
    any of the first four → paused | cancelled | stopped (cap, disk) | failed | refused
    all of these but cancelled → resumed

Whatever others tell us (reasons, paths, sources) is cut before it is stored: what could not be read again is not
written, and what cannot be read stands as a failed transfer that can be cancelled, never in the way of the others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from skyswarm.errors import BackendError, ConflictError, SkyError, UnknownTransferError
from skyswarm.messages import canonical
from skyswarm.messages.status import MAX_PATH, shown
from skyswarm.ports.records import Transfer
from skyswarm.usecases.deps import Deps

ACTIVE = frozenset({"queued", "planning", "moving", "settling"})
RESUMABLE = frozenset({"paused", "stopped", "failed", "refused"})
ENDED = frozenset({"done", "cancelled"})
MAX_JOB = 1 << 18
"""Bytes of a stored job, at most."""
MAX_OLD = 1 << 24
"""Bytes that are still read: earlier versions stored jobs without a bound. The next change cuts them."""
MAX_SOURCES = 32
MAX_REASON = 200
MAX_FAILED = 1 << 16
"""Bytes of the list of files that could not be had."""
MAX_ERROR = 4000
EAGER, EAGER_FOR = 5.0, 300.0
"""A transfer that waits is tried again at least every 5 s in its first five minutes."""


@dataclass(frozen=True, slots=True)
class SourceState:
    """One agent that may serve this transfer. `state`: active, or dropped with its reason."""

    agent: str
    endpoint: str
    storage: str = ""
    state: str = "active"
    reason: str = ""
    code: str = ""
    strikes: int = 0
    chain: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """One transfer. Sizes in bytes, money in micro-dollars, times in Unix seconds; 0 or '' means none.

    `round` counts resumes: what a worker meets ends the transfer only when it began in the same round. `waiting`: the
    last trouble that goes by itself (code, message), `since` when there is trouble and when it is tried `next`.
    """

    id: str
    manifest: str
    name: str
    storage: str
    prefix: str
    created: int
    state: str = "queued"
    round: int = 0
    issuer: str = ""
    origin: str = ""
    repos: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    max_cost: int = -1
    overwrite: bool = False
    keep: bool = False
    files: int = 0
    bytes: int = 0
    pieces: int = 0
    pages: int = 0
    planned_pages: int = 0
    planned: bool = False
    estimate: tuple[dict[str, Any], ...] = ()
    sources: tuple[SourceState, ...] = ()
    failed: tuple[dict[str, str], ...] = ()
    error: dict[str, str] | None = None
    waiting: dict[str, Any] | None = None
    receipts: tuple[str, ...] = ()
    started: int = 0
    moved: int = 0
    finished: int = 0
    history: tuple[dict[str, Any], ...] = ()
    version: int = field(default=0, compare=False)

    def active_sources(self) -> tuple[SourceState, ...]:
        return tuple(source for source in self.sources if source.state == "active")

    def with_source(self, source: SourceState) -> Job:
        """The job with that source added, or replaced where it stands."""
        if all(one.agent != source.agent for one in self.sources):
            return replace(self, sources=(*self.sources, source))
        return replace(
            self, sources=tuple(source if one.agent == source.agent else one for one in self.sources)
        )

    def longest_wait(self, now: float, most: float) -> float:
        """Seconds until the next try, at most: few while the trouble is fresh, `most` later."""
        fresh = self.waiting is None or now - float(self.waiting["since"]) < EAGER_FOR
        return min(most, EAGER) if fresh else most

    def to_state(self, state: str, now: float, error: SkyError | None = None) -> Job:
        """Move to `state`, noting it in the history (the last 50 steps are kept)."""
        step: dict[str, Any] = {"at": int(now), "state": state}
        if error is not None:
            step["code"] = error.code
        return replace(
            self,
            state=state,
            error=error.to_json() if error is not None else None,
            waiting=None,
            history=(*self.history, step)[-50:],
            finished=int(now) if state not in ACTIVE else 0,
        )


def load(deps: Deps, agent: str, transfer: str) -> Job:
    """The stored job. UnknownTransferError."""
    row = deps.transfers.get(agent, transfer)
    if row is None:
        raise UnknownTransferError(f"there is no transfer {transfer}", advice="`skyswarm ls` lists them.")
    return _read(row)


def store(deps: Deps, agent: str, job: Job) -> Job:
    """Conditional write of the job, its lists and texts cut to their bounds; gives it as it was stored.

    ConflictError when somebody else wrote since `job` was read. BackendError: it could not be read again.
    """
    job = _bounded(job)
    doc = asdict(job)
    del doc["version"]
    data = canonical.dumps(_plain(doc))
    if len(data) > MAX_JOB:
        raise BackendError(f"the state of {job.id} has {len(data)} bytes, more than can be read again")
    row = deps.transfers.put(agent, Transfer(job.id, job.state, float(job.created), data, job.version))
    return replace(job, version=row.version)


def _bounded(job: Job) -> Job:
    return replace(
        job,
        sources=_fewer(tuple(replace(one, reason=shown(one.reason, MAX_REASON)) for one in job.sources)),
        failed=_shorter(job.failed),
        error=_cut(job.error),
        waiting=_cut(job.waiting),
        receipts=job.receipts[-MAX_SOURCES:],
    )


def _cut(told: dict[str, Any] | None) -> dict[str, Any] | None:
    """What an error told, its sentences cut."""
    if told is None:
        return None
    return {key: shown(one, MAX_ERROR) if isinstance(one, str) else one for key, one in told.items()}


def _fewer(sources: tuple[SourceState, ...]) -> tuple[SourceState, ...]:
    """At most 32 sources: those in use stay (the first), of the dropped ones the first are forgotten."""
    dropped = [one for one in sources if one.state != "active"]
    active = [one.agent for one in sources if one.state == "active"][:MAX_SOURCES]
    room = MAX_SOURCES - len(active)
    stay = {*active, *(one.agent for one in (dropped[-room:] if room else ()))}
    return tuple(one for one in sources if one.agent in stay)


def _shorter(failed: tuple[dict[str, str], ...]) -> tuple[dict[str, str], ...]:
    """As many of the files that could not be had, the first ones, as fit into their room."""
    room = MAX_FAILED
    out = []
    for one in failed:
        cut = {**one, "path": failed_path(one["path"]), "message": shown(one["message"], MAX_REASON)}
        room -= len(canonical.dumps(cut)) + 1
        if room < 0:
            break
        out.append(cut)
    return tuple(out)


def failed_path(path: str) -> str:
    """A path as it stands in the list of files that could not be had."""
    return shown(path, MAX_PATH)


def change(deps: Deps, agent: str, transfer: str, step: Callable[[Job], Job | None]) -> Job:
    """Apply `step` to the newest state until it is stored; `step` gives None when there is nothing to change."""
    while True:
        job = load(deps, agent, transfer)
        wanted = step(job)
        if wanted is None:
            return job
        try:
            return store(deps, agent, wanted)
        except ConflictError:
            continue  # somebody else was faster: decide again on what they wrote


def note_failure(deps: Deps, agent: str, transfer: str, path: str, error: SkyError) -> None:
    """Remember that a file could not be had; the list is bounded, the count is in the job's files."""

    def step(job: Job) -> Job | None:
        told = {"path": failed_path(path), "code": error.code, "message": error.message}
        if any(one["path"] == told["path"] for one in job.failed):
            return None
        if len(job.failed) >= deps.limits.failures_kept:
            return None
        return replace(job, failed=(*job.failed, told))  # cut when it is stored

    change(deps, agent, transfer, step)


def page(deps: Deps, agent: str, after: str = "", limit: int = 100) -> list[Job]:
    """Stored jobs, newest first. One that cannot be read is there as failed, with the reason."""
    return [_read(row) for row in deps.transfers.page(agent, after, limit)]


def _read(row: Transfer) -> Job:
    """A job that cannot be read has neither manifest nor storage; it is failed, unless the store says that it ended."""
    try:
        return _parsed(row)
    except (SkyError, KeyError, TypeError, ValueError) as error:
        why = BackendError(
            f"the stored state of {row.id} cannot be read ({type(error).__name__})",
            advice=f"Take it away with `skyswarm cancel {row.id}`, then begin again.",
        )
        state = row.state if row.state in ENDED else "failed"
        at = int(row.created)
        return Job(row.id, "", "", "", "", at, state, error=why.to_json(), finished=at, version=row.version)


def _parsed(row: Transfer) -> Job:
    doc = canonical.loads(row.doc_json, MAX_OLD)
    doc["sources"] = tuple(SourceState(**{**one, "chain": tuple(one["chain"])}) for one in doc["sources"])
    for name in ("repos", "hints", "estimate", "failed", "receipts", "history"):
        doc[name] = tuple(doc[name])
    return Job(**doc, version=row.version)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    return value
