"""Telling the repositories what was signed, and hearing what is new, from a command.

Law: when a process serves this home it does both by itself; else the command does, with every repository side by side.
A dead one is named and stops nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skyswarm.cli import human
from skyswarm.cli.frame import Cli
from skyswarm.errors import SkyError

if TYPE_CHECKING:
    from skyswarm.edge.runtime import Runtime


def spread(cli: Cli, runtime: Runtime) -> dict[str, Any]:
    """Tell the repositories what was signed. `by`: `process` when the one that serves this home does it in a moment."""
    if runtime.home.server() is not None:
        return {"by": "process", "repos": [], "failed": []}
    from skyswarm.usecases import repos, sync

    deps, me = runtime.deps, runtime.agent
    return {"by": "command"} | _each(
        cli, runtime, repos.known(deps, me), lambda url: sync.push(deps, me, url)
    )


def hear(cli: Cli, runtime: Runtime) -> None:
    """Read what is new at the repositories."""
    from skyswarm.usecases import repos, sync

    deps, me = runtime.deps, runtime.agent
    _each(cli, runtime, repos.known(deps, me), lambda url: sync.pull(deps, me, url))


def _each(cli: Cli, runtime: Runtime, known: Any, act: Any) -> dict[str, Any]:
    """Do it with every repository side by side; a dead one is named and stops nothing."""
    running = [(repo.url, runtime.pool.submit(act, repo.url)) for repo in known]
    done: list[str] = []
    failed: list[dict[str, str]] = []
    for url, future in running:
        try:
            future.result()
            done.append(url)
        except SkyError as error:
            failed.append({"repo": url, **error.to_json()})
            cli.hint(f"{url}: {error}")
    return {"repos": done, "failed": failed}


def told_lines(told: dict[str, Any]) -> list[str]:
    """Who knows about it."""
    if told["by"] == "process":
        return []
    count = len(told["repos"])
    if not count and not told["failed"]:
        return ["You use no repository; it goes along with your own requests."]
    return [f"Told {count} of {human.some(count + len(told['failed']), 'repository')}."]
