"""Statements: an append-only log with a counter.

Law: a row is two items, by its position and by its issuer, both whole, and two or three that lead to it: the ids of its
number, its place among what came from its issuer, and its place among key events. All are written with the counter in
one transaction that holds only while the counter stands where it was read. So positions have no gap. The counter alone
is no proof of what else is there, because a transaction that is being committed may be seen in parts: that a row is
new, and which ids its number has, are conditions of the transaction, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

from skyswarm.drivers.aws.dynamo.items import Item, Key, Value, ordinal, pk
from skyswarm.drivers.aws.dynamo.table import MOST_BYTES, MOST_ITEMS, Refused, Table, Write, pause
from skyswarm.errors import ConflictError, UnavailableError
from skyswarm.ports.records import StatementRow
from skyswarm.ports.sizes import check

_BLOCK = 10_000
"""Positions in one partition of the log."""
_ROWS = (MOST_ITEMS - 1) // 5
_TRIES = 60
_ABSENT = "attribute_not_exists(#pk)"
_KEY_EVENTS = frozenset({"inception", "rotate", "retire"})


class DynamoStatements:
    """The Statements port."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def append(self, agent: str, rows: Sequence[StatementRow], *, once: bool = False) -> list[int]:
        for row in rows:
            check(row)
        first: dict[str, Key] = {}
        keys = [first.setdefault(row.id, _key(agent, row)) if once else _key(agent, row) for row in rows]
        wanted: dict[Key, StatementRow] = {}
        for key, row in zip(keys, rows, strict=True):
            wanted.setdefault(key, row)
        places: dict[Key, int] = {}
        for portion in _portions(wanted):
            places |= self._append(agent, portion, once)
        return [places[key] for key in keys]

    def _append(self, agent: str, rows: dict[Key, StatementRow], once: bool) -> dict[Key, int]:
        for attempt in range(1, _TRIES + 1):
            count = self.count(agent)
            found = self._table.get_many(rows, "position")
            places = {key: int(item["position"]) for key, item in found.items()}
            if once:
                places |= self._known(agent, rows)
            new = {key: row for key, row in rows.items() if key not in places}
            if not new or self._add(agent, count, new, self._taken(agent, new.values(), once)):
                return places | {key: count + at for at, key in enumerate(new)}
            pause(attempt)
        raise UnavailableError("too many writers at this log now")

    def _known(self, agent: str, rows: dict[Key, StatementRow]) -> dict[Key, int]:
        """The first positions of those whose id is there, in whatever envelope."""
        numbers = self._table.get_many((_number(agent, row) for row in rows.values()), "ids")
        out: dict[Key, int] = {}
        for key, row in rows.items():
            if row.id in numbers.get(_number(agent, row), {}).get("ids", ()):
                twins = [twin for twin in self._twins(key, row) if twin["id"] == row.id]
                if twins:
                    out[key] = min(int(twin["position"]) for twin in twins)
        return out

    def _twins(self, key: Key, row: StatementRow) -> list[Item]:
        """All rows of that issuer and number."""
        low = ordinal(row.seq)
        return list(self._table.query(key.pk, low=low, high=f"{low}~"))

    def extend(self, agent: str, row: StatementRow, beside: Collection[str] = ()) -> int:
        check(row)
        key = _key(agent, row)
        for attempt in range(1, _TRIES + 1):
            count = self.count(agent)
            twins = self._twins(key, row)
            for twin in twins:
                if twin["sk"] == key.sk:
                    return int(twin["position"])
            known = {twin["id"] for twin in twins}
            if row.id in known:
                number = self._taken(agent, [row], once=False)
            elif known == set(beside):
                number = [self._beside(agent, row, frozenset(beside))]
            else:
                raise ConflictError(f"other statements than expected have number {row.seq} of {row.issuer}")
            if self._add(agent, count, {key: row}, number):
                return count
            pause(attempt)
        raise UnavailableError("too many writers at this log now")

    def _taken(self, agent: str, rows: Iterable[StatementRow], once: bool) -> list[Write]:
        """Note the ids of these rows under their numbers; `once`: none of them may be there."""
        ids: dict[Key, list[str]] = {}
        for row in rows:
            ids.setdefault(_number(agent, row), []).append(row.id)
        out = []
        for key, names in ids.items():
            values: dict[str, Value] = {f"id{at}": name for at, name in enumerate(names)} if once else {}
            absent = " AND ".join(f"NOT contains(#ids, :{name})" for name in values)
            condition = f"attribute_not_exists(#ids) OR ({absent})" if absent else ""
            out.append(self._table.updating(key, "ADD #ids :ids", condition, ids=frozenset(names), **values))
        return out

    def _beside(self, agent: str, row: StatementRow, others: frozenset[str]) -> Write:
        """Take the number of a row, if exactly these others have it."""
        condition = "#ids = :others" if others else "attribute_not_exists(#ids)"
        values: dict[str, Value] = {"others": others} if others else {}
        return self._table.updating(
            _number(agent, row), "ADD #ids :ids", condition, ids=frozenset({row.id}), **values
        )

    def _add(self, agent: str, count: int, rows: dict[Key, StatementRow], numbers: list[Write]) -> bool:
        """Add rows from position `count` on; False when that, or one of them, is not as it was read."""
        table, total = self._table, count + len(rows)
        condition = "#count = :old" if count else _ABSENT
        old: dict[str, Value] = {"old": count} if count else {}
        writes: list[Write] = [table.putting(_counter(agent), {"count": total}, condition, **old), *numbers]
        for at, (key, row) in enumerate(rows.items()):
            position = count + at
            values = _values(replace(row, position=position))
            place = _place(agent, position)
            writes += [table.putting(key, values, _ABSENT), table.putting(place, values, _ABSENT)]
            writes.append(table.putting(_arrival(agent, row.issuer, position), {"row": key.sk}))
            if row.kind in _KEY_EVENTS:
                writes.append(table.putting(_event(agent, row, position), {"row": key.sk}))
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

    def since(self, agent: str, issuer: str, position: int, limit: int = 1_000_000) -> list[StatementRow]:
        out: list[StatementRow] = []
        chain = pk(agent, "iss", issuer)
        low = _arrival(agent, issuer, max(position, 0))
        arrived = self._table.query(low.pk, low=low.sk, page=min(limit, 1000))
        while keys := [
            Key(chain, item["row"]) for item in islice(arrived, min(MOST_ITEMS, limit - len(out)))
        ]:
            found = self._table.get_many(keys)
            for key in keys:
                if key not in found:
                    return out  # a transaction that is being committed: what is behind comes when it is whole
                out.append(_row(found[key]))
        return out

    def key_event(self, agent: str, issuer: str) -> StatementRow | None:
        chain = pk(agent, "iss", issuer)
        for item in self._table.query(pk(agent, "key", issuer), forward=False, page=1):
            found = self._table.get(Key(chain, item["row"]))
            if found is not None:
                return _row(found)
        return None

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


def _arrival(agent: str, issuer: str, position: int) -> Key:
    return Key(pk(agent, "came", issuer), ordinal(position))


def _event(agent: str, row: StatementRow, position: int) -> Key:
    return Key(pk(agent, "key", row.issuer), f"{ordinal(row.seq)}#{ordinal(position)}")


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
