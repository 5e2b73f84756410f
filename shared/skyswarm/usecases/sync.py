"""An agent and its repositories, all together: read their logs, hand in own statements, announce what is shared.

Law: repositories are independent. What happens to one is remembered in its own State and rests it for a while; it
never stops another and is never raised. What is asked for by name (`pull`, `push`) asks also one that rests, and ends
its rest when it answers. `spec/repositories.md`, "What an agent does".
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor

from skyswarm.errors import ConflictError, SkyError
from skyswarm.usecases import logreading, pushing, repos
from skyswarm.usecases.announcing import announce_all
from skyswarm.usecases.deps import Deps
from skyswarm.usecases.logreading import Pulled, compare
from skyswarm.usecases.repos import Repo, held_checkpoints, parse_repo

__all__ = ["Pulled", "announce_all", "compare", "held_checkpoints", "pull", "push", "tend"]

PULLS = 16
"""Pulls of one log in one go (each up to 16,384 statements); a longer one is read on the next time."""


def pull(deps: Deps, agent: str, url: str) -> Pulled:
    """`logreading.pull`; a repository that answers rests no longer."""
    pulled = logreading.pull(deps, agent, url)
    repos.rouse(deps, agent, parse_repo(url).id)
    return pulled


def push(deps: Deps, agent: str, url: str, *, afresh: bool = False) -> int:
    """`pushing.push`; a repository that took something rests no longer."""
    taken = pushing.push(deps, agent, url, afresh=afresh)
    if taken:
        repos.rouse(deps, agent, parse_repo(url).id)
    return taken


def tend(
    deps: Deps, agent: str, urls: Sequence[str], endpoint: str | None, executor: Executor | None = None
) -> float:
    """Pull, push and announce at every repository that is not resting; when to call again (Unix s).

    With an executor they are tended side by side, so that a dead one slows none; it may be the very one that this runs
    in. Errors are remembered in each State.
    """
    awake = repos.awake(deps, agent, tuple(parse_repo(url) for url in urls))
    if executor is None:
        for repo in awake:
            _tend(deps, agent, repo, endpoint)
    else:
        started = [(repo, executor.submit(_tend, deps, agent, repo, endpoint)) for repo in awake]
        for repo, future in started:
            if future.cancel():  # no thread was free: we are one
                _tend(deps, agent, repo, endpoint)
            else:
                future.result()
    if endpoint is None:  # never served yet: nobody could reach what would be announced
        return deps.clock() + deps.limits.announce_ttl / 2
    return announce_all(deps, agent, urls, endpoint)


def _tend(deps: Deps, agent: str, repo: Repo, endpoint: str | None) -> None:
    try:
        for _ in range(PULLS):
            if not logreading.pull(deps, agent, repo.url).more:
                break
        if pushing.push(deps, agent, repo.url):
            logreading.pull(deps, agent, repo.url)
        if endpoint is None:
            repos.worked(deps, agent, repo.id)  # else when it took the announcement too
    except ConflictError:
        return  # another process of this agent is at it
    except SkyError as error:
        repos.failed(deps, agent, repo.id, error)
