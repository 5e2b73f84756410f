"""Introducing ourselves: the statements that let an agent who has read no repository see why it may let us in.

Law: only statements that are public anyway; at most as many as one request carries. Who vouches for us is remembered
as far as the store was read, so that asking again costs what is new.
"""

from __future__ import annotations

from skyswarm.errors import ConflictError
from skyswarm.messages.requests import MAX_PROOF
from skyswarm.messages.statements import Vouch, parse_signed
from skyswarm.ports.records import Entry
from skyswarm.usecases.deps import Deps

_READ = 1000
_MOST_VOUCHERS = 8
_SCANNED = "introduction/scanned"


def introduction(deps: Deps, agent: str) -> tuple[bytes, ...]:
    """Our own chain and those of the agents that vouch for us, newest vouchers first, whole chains only."""
    _scan(deps, agent)
    out = [row.envelope for row in deps.statements.of(agent, agent, 0, MAX_PROOF + 1)]
    if len(out) > MAX_PROOF:
        return ()  # too long to send along: repositories have it
    for entry in deps.notes.page(agent, "introduction/by/", limit=_MOST_VOUCHERS):
        issuer = entry.key.removeprefix("introduction/by/")
        chain = [row.envelope for row in deps.statements.of(agent, issuer, 0, MAX_PROOF + 1)]
        if len(out) + len(chain) <= MAX_PROOF:
            out += chain
    return tuple(out)


def _scan(deps: Deps, agent: str) -> None:
    """Note the issuers of vouches for us among the statements stored since the last look."""
    known = deps.notes.get(agent, _SCANNED)
    position = int(known.value) if known else 0
    start = position
    while rows := deps.statements.after(agent, position, _READ):
        for row in rows:
            if row.kind != "vouch" or row.issuer == agent:
                continue
            statement = parse_signed(row.envelope).statement
            if isinstance(statement, Vouch) and statement.sub == agent:
                _note(deps, agent, f"introduction/by/{row.issuer}", b"1")
        position = rows[-1].position + 1
    if position != start:
        _note(deps, agent, _SCANNED, str(position).encode())


def _note(deps: Deps, agent: str, key: str, value: bytes) -> None:
    known = deps.notes.get(agent, key)
    try:
        deps.notes.put(agent, Entry(key, value, known.version if known else 0))
    except ConflictError:
        return  # another process noted the same
