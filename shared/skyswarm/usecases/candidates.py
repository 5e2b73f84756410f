"""The sources of a transfer: whom to ask first, what they said of themselves, which are used no more.

Law: announcing is free, so whoever is known to us comes before strangers, however many these are. A source is judged by
what it did in this transfer; nothing here moves or asks. `spec/transfers.md`, planning.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from skyswarm.errors import SkyError
from skyswarm.usecases import asking, jobs
from skyswarm.usecases.deps import Deps
from skyswarm.usecases.jobs import Job, SourceState
from skyswarm.usecases.people import name_of
from skyswarm.usecases.views import viewing

TRIES = 4
"""Sources that are asked in a row for one object: a dead one may cost 15 s each. The others have their turn later."""
_MOST_REMEMBERED = 4096


def ranking(deps: Deps, agent: str, job: Job, sources: Iterable[str]) -> dict[str, int]:
    """Whom to ask first: 0 the manifest's issuer and whom the link names, 1 whom the user has named or our own
    chains reach, 2 strangers. Announcing is free, so strangers must never crowd out the others."""
    owners = {job.issuer, *(hint.rpartition("/a/")[2] for hint in job.hints)}
    now = deps.clock()
    out = {}
    with viewing(deps, agent) as view:
        for one in sources:
            near = one in owners or name_of(deps, agent, one) is not None
            near = near or view.evaluate(one, "fetch", now).trusted
            out[one] = 0 if one in owners else 1 if near else 2
    return out


def turns(deps: Deps, agent: str, job: Job) -> list[SourceState]:
    """Whom to ask now, at most four: the best first, and among equals who was not asked in vain lately."""
    active = job.active_sources()
    rank = ranking(deps, agent, job, [one.agent for one in active])
    order = sorted(active, key=lambda one: (rank[one.agent], _vain_at(deps, agent, job, one.agent)))
    near = [one for one in order if rank[one.agent] < 2]
    strangers = [one for one in order if rank[one.agent] == 2]
    # One place at least is a stranger's: whom we know may all be away.
    chosen = near[: TRIES - 1 if strangers else TRIES]
    return chosen + strangers[: TRIES - len(chosen)]


def _vain_at(deps: Deps, agent: str, job: Job, source: str) -> float:
    known = deps.cache.get((agent, "asked in vain"))
    return float(known.get((job.id, source), 0)) if isinstance(known, dict) else 0.0


def in_vain(deps: Deps, agent: str, job: Job, source: SourceState, error: SkyError) -> SkyError:
    """A source was asked in vain: it stands behind its equals from now on, or is dropped. Gives the error to tell."""
    known = deps.cache.get((agent, "asked in vain"))
    if not isinstance(known, dict) or len(known) > _MOST_REMEMBERED:
        known = deps.cache[agent, "asked in vain"] = {}
    known[job.id, source.agent] = deps.clock()
    told = asking.of_source(deps, agent, source.agent, error)
    if asking.refused_for_good(error):
        drop(deps, agent, job.id, source.agent, error)
    return told


def all_refuse(job: Job) -> bool:
    """Whether whoever was found has said no for good: by trust (SKY-2xx) or by a cap (SKY-4xx)."""
    return bool(job.sources) and all(
        one.state == "dropped" and one.code.startswith(("SKY-2", "SKY-4")) for one in job.sources
    )


def learn_source(
    deps: Deps, agent: str, transfer: str, source: SourceState, storage: str, chain: tuple[str, ...]
) -> None:
    """Remember what a source said of itself: its kind of storage, and the chain by which it serves us."""
    if source.storage == storage and source.chain == chain:
        return

    def step(job: Job) -> Job | None:
        for one in job.sources:
            if one.agent == source.agent and (one.storage, one.chain) != (storage, chain):
                return job.with_source(replace(one, storage=storage, chain=chain))
        return None

    jobs.change(deps, agent, transfer, step)


def drop(deps: Deps, agent: str, transfer: str, source: str, error: SkyError) -> Job:
    """Use that source no more in this transfer, and remember why."""

    def step(job: Job) -> Job | None:
        for one in job.sources:
            if one.agent == source and one.state == "active":
                return job.with_source(replace(one, state="dropped", code=error.code, reason=error.message))
        return None

    return jobs.change(deps, agent, transfer, step)
