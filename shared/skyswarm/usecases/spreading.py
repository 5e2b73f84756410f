"""Keeping in touch with every repository an agent uses: one task hands in, reads and announces.

Law: repositories are independent; what fails with one is remembered there (`repos.py`) and never stops another.
"""

from __future__ import annotations

from concurrent.futures import Executor

from skyswarm.ports.records import Entry
from skyswarm.ports.work import Task
from skyswarm.usecases import repos, sync
from skyswarm.usecases.deps import Deps

ENDPOINT = "endpoint"


def set_endpoint(deps: Deps, agent: str, endpoint: str) -> None:
    """Remember where this agent is reached; told by whoever serves it."""
    known = deps.notes.get(agent, ENDPOINT)
    if known is None or known.value.decode() != endpoint:
        deps.notes.put(agent, Entry(ENDPOINT, endpoint.encode(), known.version if known else 0))


def endpoint_of(deps: Deps, agent: str) -> str | None:
    """Where this agent is reached; None before it was ever served."""
    known = deps.notes.get(agent, ENDPOINT)
    return known.value.decode() if known else None


def soon(deps: Deps, agent: str) -> None:
    """Something is new here that repositories should know: a statement, a share."""
    deps.tasks.push(Task(agent, "sync", b"{}", f"sync/{agent}"))


def synchronise(deps: Deps, agent: str, pool: Executor) -> None:
    """Pull, push and announce at every repository that does not rest."""
    urls = [repo.url for repo in repos.known(deps, agent)]
    if urls:
        sync.tend(deps, agent, urls, endpoint_of(deps, agent), pool)
