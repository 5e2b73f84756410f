"""What an agent does by itself as time passes: look into the inbox, keep announcements and logs fresh, sweep.

Law: each round decides from the stored state and `now` what is due; a schedule of a cloud may call it as well as a
thread. Slow work becomes tasks, so that a dead repository never holds up an inbox. Its duties are independent: the
error of one never keeps another from its turn.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from skyswarm.errors import SkyError
from skyswarm.usecases import inbox, jobs, repos
from skyswarm.usecases.deps import Deps
from skyswarm.usecases.jobs import ACTIVE
from skyswarm.usecases.people import mend_rotation
from skyswarm.usecases.settle import give_uploads_up, wake
from skyswarm.usecases.spreading import regularly, set_endpoint
from skyswarm.usecases.starting import Wish

SYNC_EVERY = 5.0
SWEEP_EVERY = 300.0
CANCELLED_LATELY = 86_400
"""A transfer that was cancelled within this time (s) before a start may have left uploads: a crash came in between."""


@dataclass(slots=True)
class Rounds:
    """When each thing is due next (Unix s). `tend` changes it, also when it raises."""

    sync: float = 0.0
    statuses: float = 0.0
    sweep: float = 0.0


def wake_up(deps: Deps, agent: str, endpoint: str) -> None:
    """Once after a start: make tasks for whatever a crash or a lost message left without one."""
    set_endpoint(deps, agent, endpoint)
    mend_rotation(deps, agent)
    for repo in repos.known(deps, agent):
        repos.rouse(deps, agent, repo.id)  # what failed before this start says little about now
    for job in jobs.page(deps, agent, limit=1000):
        if job.state in ACTIVE:
            wake(deps, agent, job)
        elif job.state == "cancelled" and job.finished > deps.clock() - CANCELLED_LATELY:
            # Its storage may be away or taken out of use since: that must not stop an agent from starting.
            with suppress(SkyError):
                give_uploads_up(deps, agent, job)


def tend(deps: Deps, agent: str, rounds: Rounds, role: str) -> Rounds:
    """One round; cheap when nothing is due. Every duty has its turn, then the errors they met are raised as one."""
    now = deps.clock()
    if role == "repository":
        if _due(now, rounds.sweep, SWEEP_EVERY):
            deps.announcements.sweep(agent, now)
            rounds.sweep = now + SWEEP_EVERY
        return rounds
    duties: list[Callable[[], object]] = [lambda: inbox.look(deps, agent, Wish("home"))]
    if _due(now, rounds.statuses, deps.limits.status_every):
        rounds.statuses = now + deps.limits.status_every
        duties.append(lambda: inbox.refresh(deps, agent))
    if _due(now, rounds.sync, SYNC_EVERY):
        rounds.sync = now + SYNC_EVERY
        duties.append(lambda: regularly(deps, agent))
    troubles: list[SkyError] = []
    for duty in duties:
        try:
            duty()
        except SkyError as error:
            troubles.append(error)
    if troubles:
        first = troubles[0]
        first.message = "; ".join(dict.fromkeys(one.message for one in troubles))
        raise first
    return rounds


def _due(now: float, at: float, every: float) -> bool:
    """Due by now, or put off by a clock that was ahead then."""
    return now >= at or at > now + every
