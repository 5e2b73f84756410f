"""What spec/trust.md says about a set of signed statements, computed the slow way: no increments, no caches,
no order.

Signatures are not checked here: the tests say who really signed what.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from skyswarm.messages.keys import commitment, parse_did_key
from skyswarm.messages.statements import Distrust, Inception, Logged, Retire, Revoke, Rotate, Vouch
from skyswarm.trust.branch import RECOVERY_WINDOW
from skyswarm.trust.graph import Edge
from tests.support.trust_graphs import budgets_by_chains


@dataclass(frozen=True)
class Heard:
    """A statement as it arrived: who really signed it (public keys), and when it came first."""

    statement: Logged
    signers: frozenset[bytes]
    received: float


@dataclass(frozen=True)
class _State:
    key: bytes
    next: str
    recovery: tuple[str, ...]
    retired: bool = False


def _after(state: _State | None, heard: Heard) -> _State | None:
    """The keys after a statement, or None when nobody who may has signed it."""
    event = heard.statement
    if state is None:
        if isinstance(event, Inception) and parse_did_key(event.key) in heard.signers:
            return _State(parse_did_key(event.key), event.next, event.recovery)
        return None
    if state.retired or isinstance(event, Inception):
        return None
    if isinstance(event, Rotate) and event.undo:
        allowed = any(commitment(one) in state.recovery for one in heard.signers)
        return replace(state, key=parse_did_key(event.key), next=event.next) if allowed else None
    if isinstance(event, Rotate | Retire):
        shown = parse_did_key(event.key)
        if commitment(shown) != state.next or shown not in heard.signers:
            return None
        if isinstance(event, Retire):
            return replace(state, key=shown, retired=True)
        return replace(state, key=shown, next=event.next)
    return state if state.key in heard.signers else None


def replay(issuer: str, heard: Sequence[Heard]) -> tuple[list[Logged], bool]:
    """One issuer's accepted chain, and whether it ends in a contradiction."""
    mine = {one.statement.id: one for one in heard if one.statement.iss == issuer}
    states: dict[str, _State] = {}
    grown = True
    while grown:
        grown = False
        for name, one in mine.items():
            prev = one.statement.prev
            follows = prev is None or (prev in states and mine[prev].statement.seq + 1 == one.statement.seq)
            if name not in states and follows:
                state = _after(None if prev is None else states[prev], one)
                if state is not None:
                    states[name], grown = state, True

    def below(name: str) -> list[str]:
        return [other for other in states if mine[other].statement.prev == name and in_force(other)]

    def in_force(name: str) -> bool:
        event = mine[name].statement
        if not (isinstance(event, Rotate) and event.undo):
            return True
        undone = mine.get(event.undo)
        return (
            undone is not None
            and event.undo in states
            and undone.statement.prev == event.prev
            and isinstance(undone.statement, Rotate | Retire)
            and not getattr(undone.statement, "undo", None)
            and mine[name].received <= undone.received + RECOVERY_WINDOW
        )

    def rank(name: str) -> int:
        event = mine[name].statement
        own = 0
        if isinstance(event, Rotate | Retire):
            own = 2 if getattr(event, "undo", None) else 1
        return max([own, *(rank(child) for child in below(name))])

    path: list[Logged] = []
    here = issuer if issuer in states else None
    while here is not None:
        path.append(mine[here].statement)
        ranked = sorted(((rank(child), child) for child in below(here)), reverse=True)
        if not ranked:
            return path, False
        strays = [
            int(isinstance(one.statement, Rotate | Retire))
            for name, one in mine.items()
            if one.statement.seq == len(path)
            and not getattr(one.statement, "undo", None)
            and (one.statement.prev not in mine or mine[one.statement.prev].statement.seq + 1 != len(path))
            and _after(states[here], one) is not None
        ]
        if (len(ranked) > 1 and ranked[1][0] == ranked[0][0]) or max(strays, default=-1) >= ranked[0][0]:
            return path, True
        here = ranked[0][1]
    return path, False


def live(
    chains: dict[str, tuple[list[Logged], bool]], now: float, skew: int, heed: Collection[str], root: str
) -> list[Edge]:
    """The vouches that count now."""
    edges: list[Edge] = []
    for issuer, (path, forked) in chains.items():
        if forked or any(isinstance(said, Retire) for said in path):
            continue
        for vouch in path:
            if isinstance(vouch, Vouch) and vouch.nbf - skew <= now < vouch.exp:
                scopes = set(vouch.scope)
                for later in path[vouch.seq :]:
                    if isinstance(later, Revoke) and (later.vouch == vouch.id or later.sub == vouch.sub):
                        scopes.clear()
                    if isinstance(later, Distrust) and later.sub == vouch.sub:
                        scopes.difference_update(later.scope)
                if issuer != root:
                    scopes -= advised(chains, heed, vouch.sub)
                if scopes:
                    edges.append(Edge(vouch.id, issuer, vouch.sub, frozenset(scopes), vouch.depth))
    return edges


def advised(chains: dict[str, tuple[list[Logged], bool]], heed: Collection[str], sub: str) -> set[str]:
    """The scopes for which somebody who is heeded distrusts `sub`."""
    out: set[str] = set()
    for other in heed:  # the root is among them
        standing: set[str] = set()
        for said in chains.get(other, ([], False))[0]:
            if isinstance(said, Distrust) and said.sub == sub:
                standing.update(said.scope)
            if isinstance(said, Vouch) and said.sub == sub:
                standing.difference_update(said.scope)
        out |= standing
    return out


def trusted(
    heard: Iterable[Heard], root: str, depth: int, scope: str, now: float, skew: int, heed: Collection[str]
) -> dict[str, int]:
    """Who is trusted for a scope, with the budget."""
    everything = list(heard)
    chains = {issuer: replay(issuer, everything) for issuer in {one.statement.iss for one in everything}}
    best: dict[tuple[object, object], Edge] = {}
    for edge in live(chains, now, skew, heed, root):
        pair = (edge.issuer, edge.subject)
        if scope in edge.scopes and (pair not in best or best[pair].depth < edge.depth):
            best[pair] = edge
    out: dict[str, int] = {}
    for agent, budget in budgets_by_chains(list(best.values()), {root: depth}, scope).items():
        path, forked = chains.get(str(agent), ([], False))
        if agent == root or not (forked or any(isinstance(said, Retire) for said in path)):
            out[str(agent)] = budget
    return out
