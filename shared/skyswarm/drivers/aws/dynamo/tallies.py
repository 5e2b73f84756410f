"""Counters of transfers and their groups, each in some shards.

Law: a counter is added to inside of the transaction that makes it true, in the shard of the batch's number, so that
workers who finish at once meet rarely; it is read as the sum of its shards. Nothing is ever taken away.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields

from skyswarm.drivers.aws.dynamo.items import Key, Value, pk
from skyswarm.drivers.aws.dynamo.table import Table, Write
from skyswarm.ports.records import Tally

SHARDS = 16
_COUNTERS = tuple(one.name for one in fields(Tally))


def plus(one: Tally, other: Tally) -> Tally:
    return Tally(*(getattr(one, name) + getattr(other, name) for name in _COUNTERS))


def merged(deltas: Iterator[tuple[str | None, Tally]]) -> dict[str | None, Tally]:
    """One sum per group; None is the whole transfer. One transaction may touch each but once."""
    out: dict[str | None, Tally] = {}
    for group, delta in deltas:
        out[group] = plus(out.get(group, Tally()), delta)
    return out


def counting(
    table: Table, agent: str, transfer: str, number: int, deltas: Mapping[str | None, Tally]
) -> list[Write]:
    """The writes that add `deltas` in the shard of a batch."""
    shard = f"{number % SHARDS:02d}"
    out = []
    for group, delta in deltas.items():
        added: dict[str, Value] = {name: value for name in _COUNTERS if (value := getattr(delta, name))}
        if added:
            change = "ADD " + ", ".join(f"#{name} :{name}" for name in added)
            out.append(table.updating(Key(_pk(agent, transfer, group), shard), change, **added))
    return out


def read(table: Table, agent: str, transfer: str, group: str | None) -> Tally:
    """The sum. It counts at least what was acknowledged before; of what is being committed, some or all."""
    total = Tally()
    for item in table.query(_pk(agent, transfer, group)):
        total = plus(total, Tally(**{name: item.get(name, 0) for name in _COUNTERS}))
    return total


def _pk(agent: str, transfer: str, group: str | None) -> str:
    return pk(agent, "tally", transfer) if group is None else pk(agent, "tally", transfer, group)
