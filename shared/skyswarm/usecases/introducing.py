"""Introducing ourselves: the statements that let an agent who has read no repository see why it may let us in.

Law: only statements that are public anyway, checked by us; at most as many as one request carries. Anybody may vouch
for us, so a list of who does is nothing to rely on: whom the other side vouches for comes first, then whom we trust,
then who did so first. How far the store was read for that is remembered, so that asking again costs what is new.
"""

from __future__ import annotations

from skyswarm.errors import ConflictError
from skyswarm.messages.requests import MAX_PROOF
from skyswarm.messages.statements import Vouch, parse_signed
from skyswarm.ports.records import Entry
from skyswarm.trust.view import TrustView
from skyswarm.usecases.deps import Deps
from skyswarm.usecases.views import viewing

_READ = 1000
_MOST_VOUCHERS = 8
_MOST_LOOKED_AT = 64
_FRIENDS = 500
_SCANNED = "introduction/scanned"
_BY = "introduction/by/"
_AT = "introduction/at/"


def introduction(deps: Deps, agent: str, audience: str = "") -> tuple[bytes, ...]:
    """For `audience`: our own chain and those of agents that vouch for us, the most useful first, whole chains only."""
    _scan(deps, agent)
    with viewing(deps, agent) as view:
        out = _chain(view, agent)
        if len(out) > MAX_PROOF:
            return ()  # too long to send along: repositories have it
        told = 0
        for issuer in _vouchers(deps, agent, view, audience):
            chain = _chain(view, issuer) if _vouches(view, issuer, agent) else []
            if chain and len(out) + len(chain) <= MAX_PROOF:
                out += chain
                told += 1
            if told == _MOST_VOUCHERS:
                break
    return tuple(out)


def _vouchers(deps: Deps, agent: str, view: TrustView, audience: str) -> list[str]:
    """Who said to vouch for us, as far as one looks."""
    view.key_state(audience)
    known = view.chain(audience)
    friends = [
        node.statement.sub for node in (known.accepted if known else ()) if isinstance(node.statement, Vouch)
    ]
    near = [
        one
        for one in dict.fromkeys((audience, *friends[-_FRIENDS:]))
        if one and deps.notes.get(agent, _BY + one)
    ]
    now = deps.clock()
    first = [entry.value.decode() for entry in deps.notes.page(agent, _AT, limit=_MOST_LOOKED_AT)]
    first.sort(key=lambda one: not view.evaluate(one, "fetch", now).trusted)  # stable: the earliest first
    return list(dict.fromkeys((*near[:_MOST_LOOKED_AT], *first)))


def _vouches(view: TrustView, issuer: str, agent: str) -> bool:
    """Whether a vouch of its chain is for us; that it may have ended is for the other side to see."""
    view.key_state(issuer)
    chain = view.chain(issuer)
    return chain is not None and any(
        isinstance(node.statement, Vouch) and node.statement.sub == agent for node in chain.accepted
    )


def _chain(view: TrustView, issuer: str) -> list[bytes]:
    view.key_state(issuer)
    chain = view.chain(issuer)
    return list(chain.prefix(len(chain.accepted) - 1)) if chain and chain.accepted else []


def _scan(deps: Deps, agent: str) -> None:
    """Note the issuers of vouches for us among the statements stored since the last look."""
    known = deps.notes.get(agent, _SCANNED)
    position = int(known.value) if known else 0
    start = position
    while rows := deps.statements.after(agent, position, _READ):
        for row in rows:
            if row.kind != "vouch" or row.issuer == agent or deps.notes.get(agent, _BY + row.issuer):
                continue
            statement = parse_signed(row.envelope).statement
            if isinstance(statement, Vouch) and statement.sub == agent:
                _note(deps, agent, f"{_AT}{row.position:016d}", row.issuer.encode())
                _note(deps, agent, _BY + row.issuer, b"1")
        position = rows[-1].position + 1
    if position != start:
        _note(deps, agent, _SCANNED, str(position).encode())


def _note(deps: Deps, agent: str, key: str, value: bytes) -> None:
    known = deps.notes.get(agent, key)
    try:
        deps.notes.put(agent, Entry(key, value, known.version if known else 0))
    except ConflictError:
        return  # another process noted the same
