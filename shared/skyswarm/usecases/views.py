"""An agent's trust view, built from its stored statements and kept up to date within one process.

Law: the store is the truth; the view in `deps.cache` is a memo that only ever reads forward from the last position.
One lock per agent: views are not thread-safe by themselves.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from skyswarm.errors import (
    AbsentError,
    ConflictError,
    EquivocationError,
    InputError,
    SignatureError,
    StatementError,
)
from skyswarm.messages.dsse import seal
from skyswarm.messages.statements import Announce, Head, Logged, Seen, Signed, parse_signed, payload_type
from skyswarm.ports.records import StatementRow
from skyswarm.ports.system import Signer
from skyswarm.trust.chain import Chain, Fate
from skyswarm.trust.keys import Checker, KeyState
from skyswarm.trust.view import Standing, TrustView
from skyswarm.usecases.chains import replayed, rows_of
from skyswarm.usecases.deps import Deps
from skyswarm.usecases.repos import held_checkpoints, places

_READ = 1000
_MOST_VIEWS = 256
_GUARD = threading.Lock()
T = TypeVar("T", bound=Logged)


@dataclass(slots=True)
class _Kept:
    view: TrustView
    position: int = 0
    placed: dict[str, int] = field(default_factory=dict)
    """By log origin, where the next positions to give to the view are: cuts are judged by them."""
    lock: threading.RLock = field(default_factory=threading.RLock)


@contextmanager
def viewing(deps: Deps, agent: str) -> Iterator[TrustView]:
    """The agent's view, up to date with its stored statements, held exclusively while in the block."""
    key = (agent, "view")
    with _GUARD:
        kept = deps.cache.get(key)
        if not isinstance(kept, _Kept):
            if len(deps.cache) > _MOST_VIEWS:
                deps.cache.clear()
            kept = _Kept(TrustView(agent, rest=lambda issuer: rows_of(deps, agent, issuer)))
            deps.cache[key] = kept
    with kept.lock:
        while rows := deps.statements.after(agent, kept.position, _READ):
            kept.view.offer(rows)
            kept.position = rows[-1].position + 1
            if len(rows) < _READ:
                break
        for statement, origin, index in places(deps, agent, kept.placed):
            kept.view.place([(statement, origin, index)])
            kept.placed[origin] = index + 1
        yield kept.view


def row_of(signed: Signed, received: float) -> StatementRow:
    """The stored form of a signed statement of a chain. StatementError for an announcement."""
    statement = signed.statement
    if isinstance(statement, Announce):
        raise StatementError("an announcement is in no chain")
    return StatementRow(
        id=signed.id,
        issuer=statement.iss,
        seq=statement.seq,
        kind=statement.kind,
        envelope=signed.envelope_bytes,
        received=received,
    )


def own_head(deps: Deps, agent: str) -> Head:
    """Sequence number and id of the agent's newest own statement."""
    return _own(deps, agent).head


def _own(deps: Deps, agent: str) -> Standing:
    with viewing(deps, agent) as view:
        standing = view.key_state(agent)
    if standing is None:
        raise AbsentError(
            f"agent {agent[:12]} has no inception here", advice="Make one with `skyswarm init`."
        )
    return standing


def seen(deps: Deps, agent: str) -> tuple[Seen, ...]:
    """The newest checkpoints that the agent holds, for a statement's `seen`."""
    return held_checkpoints(deps, agent)[:8]


def issue(
    deps: Deps, agent: str, make: Callable[[int, str, tuple[Seen, ...]], T], signer: Signer | None = None
) -> Signed:
    """Sign and store the agent's next statement. `make(seq, prev, seen)` builds it; it may be called again after a
    lost race with another process of this agent, so an agent can never equivocate by accident.

    What would not count is never stored, for it would take the number of what does. So where somebody else has signed
    in its name only a rotation or retirement goes, at the first number in dispute: it makes void what is there.
    InputError: the agent has retired. ConflictError: its keys are just being changed. EquivocationError: it would not
    count beside what somebody else has signed.
    """
    observed, lost = seen(deps, agent), ""
    while True:
        own = _own(deps, agent)
        statement = make(own.head.seq + 1, own.head.id, observed)
        key = signer or deps.keys.current(agent)
        signed = parse_signed(seal(payload_type(statement.kind), statement.payload(), key).dump())
        _must_count(own.keys, signed)
        row = row_of(signed, deps.clock())
        try:
            deps.statements.extend(agent, row, _void(deps, agent, own.head, signed, row))
        except ConflictError as error:
            if (
                own.head.id == lost
            ):  # nobody lengthens our chain, yet its next number is taken again and again
                raise EquivocationError(
                    f"number {statement.seq} of this agent's chain is taken by statements that do not count",
                    advice="Somebody else signs with its key just now. Try again.",
                ) from error
            lost = own.head.id
            continue
        return signed


def _void(deps: Deps, agent: str, head: Head, signed: Signed, row: StatementRow) -> tuple[str, ...]:
    """The ids that have the number of the agent's next statement and are void beside it: signed by a thief, or by an
    old copy of this home. ConflictError: the chain goes on there, another process was faster. EquivocationError: this
    statement would be one more contradiction."""
    if not any(one.seq == row.seq for one in deps.statements.of(agent, agent, row.seq, 1)):
        return ()
    with replayed(deps, agent, agent) as (line, rows):
        if not line.accepted or line.accepted[-1].id != head.id:
            raise ConflictError("another process of this agent has just signed this number")
        contradiction = line.equivocation
    trial = Chain(agent, Checker())
    for one in rows:
        trial.offer(parse_signed(one.envelope), one.received)
    trial.offer(signed, row.received)
    if trial.fate(signed.id) is not Fate.ACCEPTED or trial.equivocation is not None:
        mends = contradiction is not None and not contradiction.rank
        raise EquivocationError(
            f"somebody else has signed number {row.seq} of this agent's chain",
            advice="`skyswarm rotate-key` mends it."
            if mends
            else "It has its next key too, or an old copy of this home rotated. "
            + way_back(line.keys, "Make a new agent: skyswarm init"),
        )
    return tuple({one.id for one in rows if one.seq == row.seq})


def way_back(keys: KeyState | None, otherwise: str) -> str:
    """What to do where the agent's keys were changed by somebody who has the committed one too; `otherwise` when it was
    made without a recovery key."""
    if keys is None or not keys.recovery:
        return otherwise
    return f"If that was not you: `skyswarm recover`, within 7 days. {otherwise}"


def _must_count(keys: KeyState, signed: Signed) -> None:
    """Refuse what the agent's own chain would refuse."""
    if keys.retired:
        raise InputError(
            "this agent has retired; nothing it signs counts any more",
            advice=way_back(keys, "`skyswarm init` makes a new one."),
        )
    try:
        Checker().follow(keys, signed)
    except SignatureError as error:
        raise ConflictError(
            "the key of this agent is being changed, or a change of it was cut short",
            advice=way_back(
                keys,
                "Try again; if it stays so, `skyswarm serve` or `skyswarm rotate-key` finishes the change.",
            ),
        ) from error
