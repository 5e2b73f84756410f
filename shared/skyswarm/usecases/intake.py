"""How much an agent reads of one repository: so many bytes a day and in all, so that none fills its disk.

Law: what is stored because a repository showed it is counted for that repository, by the bytes that were read. When
the room is used up its log is read no further; everything else with it goes on. `Limits` has the numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

from skyswarm.errors import QuotaError
from skyswarm.ports.records import StatementRow
from skyswarm.usecases.chains import store_genuine
from skyswarm.usecases.deps import Deps

_DAY = 86_400
_NO_LIMIT = 2**62


def full(deps: Deps, agent: str, repo: str) -> QuotaError | None:
    """Why nothing more is read of a repository's log now; None: there is room."""
    if deps.meters.read(agent, f"read/{repo}") >= deps.limits.log_bytes:
        return QuotaError(
            f"its log is read no further: {deps.limits.log_bytes:,} bytes of it are here",
            advice="Use another repository, or allow more: log_bytes in limits.json.",
        )
    if deps.meters.read(agent, _today(deps, repo)) >= deps.limits.log_bytes_per_day:
        return QuotaError(
            f"its log is read on tomorrow: {deps.limits.log_bytes_per_day:,} bytes were read today",
            advice="Use another repository too, or allow more: log_bytes_per_day in limits.json.",
        )
    return None


def count(deps: Deps, agent: str, repo: str, size: int) -> None:
    """Count bytes that were read. One answer (1 MiB) per reader may go beyond the limits: `full` is asked before."""
    until = (int(deps.clock()) // _DAY + 1) * _DAY
    deps.meters.add(agent, _today(deps, repo), size, _NO_LIMIT, until)
    deps.meters.add(agent, f"read/{repo}", size, _NO_LIMIT)


def genuine(deps: Deps, agent: str, repo: str, rows: Sequence[StatementRow]) -> list[StatementRow]:
    """`store_genuine` of what a repository showed, counted when some of it was new; nothing when there is no room."""
    if full(deps, agent, repo) is not None:
        return []
    before = deps.statements.count(agent)
    stored = store_genuine(deps, agent, rows)
    if deps.statements.count(agent) != before:
        count(deps, agent, repo, sum(len(row.envelope) for row in rows))
    return stored


def _today(deps: Deps, repo: str) -> str:
    return f"read/{repo}/{int(deps.clock()) // _DAY}"
