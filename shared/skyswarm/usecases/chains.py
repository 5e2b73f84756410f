"""One issuer's chain, replayed from the statements that a tenant has stored.

Law: the store is the truth and is read on every call; what is kept in `deps.cache` is only which signatures were
checked before and the replay they led to, so that losing it loses nothing. `trust/chain.py` judges.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from skyswarm.messages.statements import parse_signed
from skyswarm.ports.records import StatementRow
from skyswarm.trust.chain import Chain
from skyswarm.trust.keys import Checker
from skyswarm.usecases.deps import Deps

MOST_CHAINS = 512
MOST_CHECKED = 200_000
_PAGE = 1000
_GUARD = threading.Lock()


@dataclass(slots=True)
class _Replay:
    chain: Chain
    positions: list[int] = field(default_factory=list)


@dataclass(slots=True)
class _Kept:
    replays: OrderedDict[str, _Replay] = field(default_factory=OrderedDict)
    checked: set[str] = field(default_factory=set)
    lock: threading.RLock = field(default_factory=threading.RLock)


@contextmanager
def replayed(deps: Deps, tenant: str, issuer: str) -> Iterator[tuple[Chain, list[StatementRow]]]:
    """The issuer's chain as stored with this tenant, and its rows by seq, held exclusively while in the block.

    Whoever offers the chain more inside the block must have stored it when the block ends, or raise.
    """
    with _GUARD:
        kept = deps.cache.get((tenant, "chains"))
        if not isinstance(kept, _Kept):
            kept = deps.cache[tenant, "chains"] = _Kept()
    with kept.lock:
        rows = rows_of(deps, tenant, issuer)
        positions = [row.position for row in rows]
        replay = kept.replays.pop(issuer, None)
        if replay is None or replay.positions != positions[: len(replay.positions)]:
            if len(kept.checked) > MOST_CHECKED:
                kept.checked.clear()
            replay = _Replay(Chain(issuer, Checker(kept.checked)))
        for row in rows[len(replay.positions) :]:
            replay.chain.offer(parse_signed(row.envelope), row.received)
        replay.positions = positions
        yield replay.chain, rows
        kept.replays[issuer] = replay
        while len(kept.replays) > MOST_CHAINS:
            kept.replays.popitem(last=False)


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
