"""Why somebody is not trusted: the former chain with the fewest links missing (spec/trust.md, "Answers").

Law: reads what trust/upkeep.py has, decides nothing.
"""

from __future__ import annotations

from collections import deque
from itertools import pairwise

from skyswarm.trust.upkeep import Upkeep
from skyswarm.trust.verdict import Broken, Reason
from skyswarm.trust.vouches import Record

MOST = 2000
"""Agents looked at."""

_Step = tuple[Record, Broken | None, str]


def explain(state: Upkeep, sub: str, scope: str) -> Broken:
    """What `sub` lacks: the missing link nearest to it on the way back to the root over vouches that count or
    once did.
    """
    missing = {sub: 0}
    came: dict[str, _Step] = {}
    queue = deque([sub])
    while queue and len(missing) < MOST:
        agent = queue.popleft()
        if agent == state.root:
            return _told(state, _steps(came, agent, sub), sub)
        for record in sorted(state.about.get(agent, {}).values(), key=_newest_first):
            if scope not in record.vouch.scope:
                continue
            broken = state.broken(record, scope)
            cost = missing[agent] + (broken is not None)
            before = record.vouch.iss
            if cost < missing.get(before, cost + 1):
                missing[before], came[before] = cost, (record, broken, agent)
                if broken is None:
                    queue.appendleft(before)
                else:
                    queue.append(before)
    return Broken(Reason.NEVER, state.root, sub)


def _newest_first(record: Record) -> tuple[str, bool, int, str]:
    """By issuer, and of each the newest vouch first: why that one ended is what its issuer thinks now."""
    vouch = record.vouch
    return vouch.iss, record.void, -vouch.seq, vouch.id


def _steps(came: dict[str, _Step], agent: str, sub: str) -> list[_Step]:
    steps: list[_Step] = []
    while agent != sub:
        steps.append(came[agent])
        agent = came[agent][2]
    return steps


def _told(state: Upkeep, steps: list[_Step], sub: str) -> Broken:
    for _, broken, _ in reversed(steps):
        if broken is not None:
            return broken
    for (first, _, _), (second, _, _) in pairwise(steps):
        if first.edge is not None and second.edge is not None and not first.edge.admits(second.edge):
            return second.broken(Reason.CUT)
    return Broken(Reason.FAR, state.root, sub)
