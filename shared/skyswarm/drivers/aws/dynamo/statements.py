"""Statements: an append-only log with a counter.

Law: a row is two items, by its position and by its issuer, both whole and written with the counter in one transaction
that holds only while the counter stands where it was read. So positions have no gap. The counter alone is no proof of
what else is there, because a transaction that is being committed may be seen in parts: that a row is new, and that an
own number is free, are conditions of the transaction, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from skyswarm.drivers.aws.dynamo.items import Item, Key, Value, ordinal, pk
from skyswarm.drivers.aws.dynamo.table import MOST_BYTES, MOST_ITEMS, Refused, Table, Write, pause
from skyswarm.errors import ConflictError, UnavailableError
from skyswarm.ports.records import StatementRow
from skyswarm.ports.sizes import check

_BLOCK = 10_000
"""Positions in one partition of the log."""
_ROWS = (MOST_ITEMS - 1) // 3
_TRIES = 60
_ABSENT = "attribute_not_exists(#pk)"


class DynamoStatements:
    """The Statements port."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def append(self, agent: str, rows: Sequence[StatementRow]) -> list[int]:
        places: dict[Key, int] = {}
        for row in rows:
            check(row)
        for portion in _portions({_key(agent, row): row for row in rows}):
            places |= self._append(agent, portion)
        return [places[_key(agent, row)] for row in rows]

    def _append(self, agent: str, rows: dict[Key, StatementRow]) -> dict[Key, int]:
        for attempt in range(1, _TRIES + 1):
            count = self.count(agent)
            found = self._table.get_many(rows, "position")
            places = {key: int(item["position"]) for key, item in found.items()}
            new = {key: row for key, row in rows.items() if key not in places}
            if not new or self._add(agent, count, new, self._taken(agent, new.values())):
                return places | {key: count + at for at, key in enumerate(new)}
            pause(attempt)
        raise UnavailableError("too many writers at this log now")

    def extend(self, agent: str, row: StatementRow) -> int:
        check(row)
        key = _key(agent, row)
        low = ordinal(row.seq)
        for attempt in range(1, _TRIES + 1):
            count = self.count(agent)
            twins = list(self._table.query(key.pk, low=low, high=f"{low}~"))
            for twin in twins:
                if twin["sk"] == key.sk:
                    return int(twin["position"])
            if twins and row.id not in {twin["id"] for twin in twins}:
                raise ConflictError(f"there is another statement {row.seq} of {row.issuer} already")
            # That id is there with another envelope: then its number is its own.
            number = self._taken(agent, [row]) if twins else [self._free(agent, row)]
            if self._add(agent, count, {key: row}, number):
                return count
            pause(attempt)
        raise UnavailableError("too many writers at this log now")

    def _taken(self, agent: str, rows: Iterable[StatementRow]) -> list[Write]:
        """Say that the numbers of these rows are taken, whatever was said before."""
        ids = {_number(agent, row): row.id for row in rows}
        return [self._table.putting(key, {"id": name}) for key, name in ids.items()]

    def _free(self, agent: str, row: StatementRow) -> Write:
        """Take the number of a row, unless another one has it."""
        condition = "attribute_not_exists(#pk) OR #id = :id"
        return self._table.putting(_number(agent, row), {"id": row.id}, condition, id=row.id)

    def _add(self, agent: str, count: int, rows: dict[Key, StatementRow], numbers: list[Write]) -> bool:
        """Add rows from position `count` on; False when that, or one of them, is not as it was read."""
        table, total = self._table, count + len(rows)
        condition = "#count = :old" if count else _ABSENT
        old: dict[str, Value] = {"old": count} if count else {}
        writes: list[Write] = [table.putting(_counter(agent), {"count": total}, condition, **old), *numbers]
        for at, (key, row) in enumerate(rows.items()):
            values = _values(replace(row, position=count + at))
            place = _place(agent, count + at)
            writes += [table.putting(key, values, _ABSENT), table.putting(place, values, _ABSENT)]
        try:
            table.transact(writes)
        except Refused:
            return False
        return True

    def after(self, agent: str, position: int, limit: int) -> list[StatementRow]:
        out: list[StatementRow] = []
        position = max(position, 0)
        while len(out) < limit:
            before = len(out)
            first = _place(agent, position)
            for item in self._table.query(first.pk, low=first.sk, page=limit - len(out)):
                if item["position"] != position:
                    return out  # a transaction that is being committed: what is behind comes when it is whole
                out.append(_row(item))
                position += 1
                if len(out) >= limit:
                    return out
            if len(out) == before or position % _BLOCK:
                break
        return out

    def of(self, agent: str, issuer: str, seq: int = 0, limit: int = 1000) -> list[StatementRow]:
        out: list[StatementRow] = []
        for item in self._table.query(pk(agent, "iss", issuer), low=ordinal(seq), page=limit + 1):
            if len(out) >= limit and item["seq"] != out[-1].seq:
                break  # all of one number are there: only then their order is known
            out.append(_row(item))
        return sorted(out, key=lambda row: (row.seq, row.position))[:limit]

    def count(self, agent: str) -> int:
        item = self._table.get(_counter(agent))
        return 0 if item is None else int(item["count"])


def _portions(rows: dict[Key, StatementRow]) -> Iterator[dict[Key, StatementRow]]:
    """Rows in portions that one transaction holds, in order."""
    portion: dict[Key, StatementRow] = {}
    size = 0
    for key, row in rows.items():
        need = 2 * (len(row.envelope) + 1000)
        if portion and (len(portion) == _ROWS or size + need > MOST_BYTES):
            yield portion
            portion, size = {}, 0
        portion[key] = row
        size += need
    if portion:
        yield portion


def _counter(agent: str) -> Key:
    return Key(pk(agent, "log"), "count")


def _place(agent: str, position: int) -> Key:
    return Key(pk(agent, "log", str(position // _BLOCK)), ordinal(position))


def _number(agent: str, row: StatementRow) -> Key:
    return Key(pk(agent, "seq", row.issuer), ordinal(row.seq))


def _key(agent: str, row: StatementRow) -> Key:
    """By issuer and number; two envelopes of one id are two rows."""
    name = hashlib.sha256(row.id.encode() + b"\0" + row.envelope).hexdigest()
    return Key(pk(agent, "iss", row.issuer), f"{ordinal(row.seq)}#{name}")


def _values(row: StatementRow) -> dict[str, Value]:
    return {
        "id": row.id, "issuer": row.issuer, "seq": row.seq, "kind": row.kind, "envelope": row.envelope,
        "received": row.received, "position": row.position,
    }  # fmt: skip


def _row(item: Item) -> StatementRow:
    return StatementRow(
        item["id"], item["issuer"], item["seq"], item["kind"], item["envelope"], float(item["received"]),
        item["position"],
    )  # fmt: skip
