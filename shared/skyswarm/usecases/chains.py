"""One issuer's chain, replayed from the statements that a tenant has stored.

Law: the store is the truth and is asked on every call for what is new; what is kept in `deps.cache` is only which
signatures were checked before and the replay they led to, so that losing it loses nothing. `trust/chain.py` judges.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice

from skyswarm.messages.statements import parse_signed
from skyswarm.ports.records import StatementRow
from skyswarm.trust.chain import Chain
from skyswarm.trust.keys import Checker, KeyState
from skyswarm.usecases.deps import Deps

MOST_ISSUERS = 20_000
"""Issuers of whom something is kept in this process; a few hundred bytes each, besides what follows."""
MOST_BYTES = 64 * 1024 * 1024
"""Envelopes of the chains that are kept replayed."""
MOST_CHECKED = 200_000
_PAGE = 1000
_GUARD = threading.Lock()


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an issuer's chain stands: its keys, and number and id of the newest statement that counts."""

    keys: KeyState
    seq: int
    id: str


@dataclass(slots=True)
class _Replay:
    """`rows` by seq; `end`: the position after the last of them."""

    chain: Chain
    rows: list[StatementRow] = field(default_factory=list)
    end: int = 0
    size: int = 0


@dataclass(slots=True)
class _Slot:
    """What is kept of one issuer. `standing`: with the position that it counts up to; it outlives the replay."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    users: int = 0
    replay: _Replay | None = None
    standing: tuple[Standing, int] | None = None


@dataclass(slots=True)
class _Kept:
    slots: OrderedDict[str, _Slot] = field(default_factory=OrderedDict)
    replays: OrderedDict[str, int] = field(default_factory=OrderedDict)
    size: int = 0
    checked: set[str] = field(default_factory=set)


@contextmanager
def replayed(deps: Deps, tenant: str, issuer: str) -> Iterator[tuple[Chain, list[StatementRow]]]:
    """The issuer's chain as stored with this tenant, and its rows by seq, held exclusively while in the block: others
    who want the same issuer wait, nobody else does.

    Whoever offers the chain more inside the block must have stored it when the block ends, or raise.
    """
    with _slot(deps, tenant, issuer) as (kept, slot), slot.lock:
        replay, slot.replay = slot.replay, None
        replay = _caught_up(deps, tenant, issuer, kept, replay)
        where = _standing(replay.chain)
        slot.standing = None if where is None else (where, replay.end)
        yield replay.chain, replay.rows
        slot.replay = replay
        _make_room(kept, issuer, replay.size)


def standing(deps: Deps, tenant: str, issuer: str) -> Standing | None:
    """Where the issuer's chain stands; None: its inception is not here. When nothing of it came since it was looked at
    last, this reads no statement."""
    with _slot(deps, tenant, issuer) as (_, slot):
        known = slot.standing
        if known is not None and not deps.statements.since(tenant, issuer, known[1], 1):
            return known[0]
    with replayed(deps, tenant, issuer) as (line, _):
        return _standing(line)


def _standing(line: Chain) -> Standing | None:
    if line.keys is None:
        return None
    newest = line.accepted[-1]
    return Standing(line.keys, newest.statement.seq, newest.id)


@contextmanager
def _slot(deps: Deps, tenant: str, issuer: str) -> Iterator[tuple[_Kept, _Slot]]:
    """The issuer's slot, which stays while in the block."""
    with _GUARD:
        kept = deps.cache.get((tenant, "chains"))
        if not isinstance(kept, _Kept):
            kept = deps.cache[tenant, "chains"] = _Kept()
        slot = kept.slots.setdefault(issuer, _Slot())
        kept.slots.move_to_end(issuer)
        slot.users += 1
    try:
        yield kept, slot
    finally:
        with _GUARD:
            slot.users -= 1
            for name in list(islice(kept.slots, max(0, len(kept.slots) - MOST_ISSUERS))):
                if not kept.slots[name].users:
                    del kept.slots[name]
                    kept.size -= kept.replays.pop(name, 0)


def _caught_up(deps: Deps, tenant: str, issuer: str, kept: _Kept, replay: _Replay | None) -> _Replay:
    """The replay with all that is stored by now. Only what is new is read, unless something was dropped before."""
    new = deps.statements.since(tenant, issuer, replay.end) if replay is not None else []
    if replay is None or (new and replay.chain.overflowed):
        if len(kept.checked) > MOST_CHECKED:
            kept.checked.clear()
        replay = _Replay(Chain(issuer, Checker(kept.checked)))
        new = rows_of(deps, tenant, issuer)
    if new:
        new.sort(key=_place)
        for row in new:
            replay.chain.offer(parse_signed(row.envelope), row.received)
        replay.rows = sorted((*replay.rows, *new), key=_place)
        replay.end = max(replay.end, *(row.position + 1 for row in new))
        replay.size += sum(len(row.envelope) for row in new)
    return replay


def _place(row: StatementRow) -> tuple[int, int]:
    return row.seq, row.position


def _make_room(kept: _Kept, issuer: str, size: int) -> None:
    """Count a replay that is kept, and let go of those that were used longest ago."""
    with _GUARD:
        kept.size += size - kept.replays.pop(issuer, 0)
        kept.replays[issuer] = size
        while kept.size > MOST_BYTES and len(kept.replays) > 1:
            name, freed = kept.replays.popitem(last=False)
            kept.size -= freed
            if name in kept.slots:
                kept.slots[name].replay = None


def rows_of(deps: Deps, tenant: str, issuer: str) -> list[StatementRow]:
    """All stored statements of an issuer, by seq, then position."""
    rows: list[StatementRow] = []
    most = _PAGE
    while True:
        seq = rows[-1].seq if rows else 0
        page = deps.statements.of(tenant, issuer, seq, most)
        while rows and rows[-1].seq == seq:
            rows.pop()  # the page begins with them again
        rows += page
        if len(page) < most:
            return rows
        if page[-1].seq == seq:
            most *= 2  # forged twins of one number fill the page: what comes after them must not be hidden


def store_genuine(deps: Deps, tenant: str, rows: Sequence[StatementRow]) -> list[StatementRow]:
    """Store, of one issuer's rows, those that hang on its stored chain and are signed by whom they must be.

    Returns the ones that are stored now, old or new, each as it is stored. Others leave no trace: so a forged statement
    in an agent's own name can never take the number of its next one, nor do copies with other signatures pile up.
    """
    if not rows:
        return []
    before = rows_of(deps, tenant, rows[0].issuer)
    have = {(row.id, row.envelope) for row in before}
    if not all((row.id, row.envelope) in have for row in rows):
        chain = Chain(rows[0].issuer, Checker())
        for row in (*before, *rows):
            chain.offer(parse_signed(row.envelope), row.received)
        new = [
            row
            for row in rows
            if (row.id, row.envelope) not in have and chain.checked(row.id) == row.envelope
        ]
        deps.statements.append(tenant, new)
        have |= {(row.id, row.envelope) for row in new}
        rows = [replace(row, envelope=chain.checked(row.id) or row.envelope) for row in rows]
    return [row for row in rows if (row.id, row.envelope) in have]


def keep(deps: Deps, tenant: str, rows: Sequence[StatementRow]) -> dict[str, int]:
    """Store what others handed us, unverified, except in our own name, where it must be genuine: a forged statement
    would take the number of our next one. The positions of what is stored, by id."""
    own = sorted((row for row in rows if row.issuer == tenant), key=lambda row: row.seq)
    kept = [row for row in rows if row.issuer != tenant] + store_genuine(deps, tenant, own)
    return (
        dict(zip((row.id for row in kept), deps.statements.append(tenant, kept), strict=True)) if kept else {}
    )
