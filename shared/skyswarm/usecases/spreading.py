"""Keeping in touch with every repository an agent uses: one task hands in, reads and announces; who has been told.

Law: repositories are independent; what fails with one is remembered there (`repos.py`) and never stops another.
"""

from __future__ import annotations

from concurrent.futures import Executor

from skyswarm.ports.records import Entry
from skyswarm.ports.work import Task
from skyswarm.usecases import repos, sync
from skyswarm.usecases.chains import replayed
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
    """Something is new here that repositories should know: a statement, a share. Those that rest are tried as well."""
    repos.hasten(deps, agent)
    regularly(deps, agent)


def regularly(deps: Deps, agent: str) -> None:
    """Time has passed: whatever is due at the repositories that do not rest."""
    deps.tasks.push(Task(agent, "sync", b"{}", f"sync/{agent}"))


def synchronise(deps: Deps, agent: str, pool: Executor) -> None:
    """Pull, push and announce at every repository that does not rest."""
    urls = [repo.url for repo in repos.known(deps, agent)]
    if urls:
        sync.tend(deps, agent, urls, endpoint_of(deps, agent), pool)


def told(deps: Deps, agent: str) -> tuple[int, int, dict[str, dict[str, str]]]:
    """How many repositories have taken or hold our newest statement, of how many, and why the others (by URL) failed
    when they were last tried. One that was not tried yet is in neither."""
    with replayed(deps, agent, agent) as (line, _):
        chain = [node.id for node in line.accepted]
    count, errors = 0, {}
    every = repos.known(deps, agent)
    for repo in every:
        held = repos.state(deps, agent, repo.id)
        # By id: what it holds or took may have been replaced by a recovery, or by a rotation beside what it made void.
        if chain[-1:] in ([held.mine_head], [held.pushed_head]):
            count += 1
        elif held.error is not None:
            errors[repo.url] = held.error
    return count, len(every), errors
