"""Announcements: who holds what, found by look-up key.

Law: the item of an (issuer, part) is the truth and is changed only as the revision that was read, together with the
look-up items that it adds and drops, in one transaction; so a look-up never misses what is announced. What a look-up
finds is read again from the truth. A renewal that names the same shares writes one item.
"""

from __future__ import annotations

from collections.abc import Iterable

from skyswarm.drivers.aws.dynamo.items import Item, Key, Value, ordinal, pk
from skyswarm.drivers.aws.dynamo.table import MOST_ITEMS, Refused, Table, Write, pause
from skyswarm.errors import UnavailableError
from skyswarm.ports.records import AnnounceRow
from skyswarm.ports.sizes import check

_TRIES = 30
_PORTION = MOST_ITEMS - 2
"""Look-up items of one transaction; the truth and the entry for the broom are there, too."""


class DynamoAnnouncements:
    """The Announcements port."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def put(self, agent: str, row: AnnounceRow) -> bool:
        check(row)
        for attempt in range(1, _TRIES + 1):
            old = self._table.get(_key(agent, row.issuer, row.part))
            if old is not None and row.serial <= old["serial"]:
                # After a try, that very one may be ours, of which the answer was lost.
                return bool(attempt > 1 and row.serial == old["serial"] and row.envelope == old["envelope"])
            if self._replace(agent, old, row):
                return True
            pause(attempt)
        raise UnavailableError("too many announcements of one part at once")

    def _replace(self, agent: str, old: Item | None, row: AnnounceRow) -> bool:
        """Put `row` in the place of `old`; False when that is not there any more."""
        table, key = self._table, _key(agent, row.issuer, row.part)
        before, after = set(old["lookups"] if old else ()), set(row.lookups)
        drop, add = sorted(before - after), sorted(after - before)
        revision = old["revision"] if old else 0
        while len(drop) + len(add) > _PORTION:
            # More than one transaction holds. What is named no more goes first: for a moment less is found.
            now, drop = drop[:_PORTION], drop[_PORTION:]
            if not now:
                raise UnavailableError("an announcement names more shares than one transaction holds")
            before -= set(now)
            change = table.updating(
                key, "SET #lookups = :left, #revision = :new", "#revision = :old",
                left=tuple(sorted(before)), new=revision + 1, old=revision,
            )  # fmt: skip
            if not self._done([change, *(table.deleting(_look(agent, one, key)) for one in now)]):
                return False
            revision += 1
        condition = "#revision = :old" if revision else "attribute_not_exists(#pk)"
        read: dict[str, Value] = {"old": revision} if revision else {}
        put = table.putting(key, _values(row, revision + 1), condition, **read)
        # The broom's entry names an end that is never later than the true one: a later end need not be told.
        sooner = old is None or row.expires < old["expires"]
        if not (sooner or drop or add):
            return self._done_alone(put)
        entry = table.putting(_swept(agent, key), {"expires": row.expires, "item": key.pk, "part": row.part})
        looks = [table.putting(_look(agent, one, key), {"item": key.pk, "part": row.part}) for one in add]
        return self._done(
            [
                put,
                *([entry] if sooner else []),
                *looks,
                *(table.deleting(_look(agent, one, key)) for one in drop),
            ]
        )

    def _done(self, writes: list[Write]) -> bool:
        try:
            self._table.transact(writes)
        except Refused:
            return False
        return True

    def _done_alone(self, write: Write) -> bool:
        try:
            self._table.write(write)
        except Refused:
            return False
        return True

    def find(self, agent: str, lookup: str, now: float, limit: int = 50) -> list[AnnounceRow]:
        keys = (_named(item) for item in self._table.query(pk(agent, "look", lookup)))
        live = [row for row in self._true(keys) if row.expires > now and lookup in row.lookups]
        live.sort(key=lambda row: (-row.serial, row.issuer, row.part))
        return live[:limit]

    def _true(self, keys: Iterable[Key]) -> list[AnnounceRow]:
        return [_row(item) for item in self._table.get_many(keys).values()]

    def of(self, agent: str, issuer: str, now: float) -> list[AnnounceRow]:
        rows = [_row(item) for item in self._table.query(pk(agent, "ann", issuer))]
        return [row for row in rows if row.expires > now]

    def sweep(self, agent: str, now: float) -> int:
        dropped = 0
        for entry in list(self._table.query(pk(agent, "sweep"))):
            if entry["expires"] <= now:
                dropped += self._drop(agent, entry, now)
        return dropped

    def _drop(self, agent: str, entry: Item, now: float) -> int:
        table, key, place = self._table, _named(entry), Key(entry["pk"], entry["sk"])
        item = table.get(key)
        if item is None:
            return 0
        if item["expires"] > now:
            change, only = "SET #expires = :later", "#expires = :seen"
            later = table.updating(place, change, only, later=item["expires"], seen=entry["expires"])
            self._done_alone(later)  # unless it is another one by now, or gone with what it stood for
            return 0
        writes = [
            table.deleting(key, "#revision = :old", old=item["revision"]),
            table.deleting(place),
            *(table.deleting(_look(agent, one, key)) for one in set(item["lookups"])),
        ]
        return int(self._done(writes))


def _key(agent: str, issuer: str, part: int) -> Key:
    return Key(pk(agent, "ann", issuer), ordinal(part))


def _named(item: Item) -> Key:
    return Key(item["item"], ordinal(item["part"]))


def _look(agent: str, lookup: str, key: Key) -> Key:
    return Key(pk(agent, "look", lookup), f"{key.pk}#{key.sk}")


def _swept(agent: str, key: Key) -> Key:
    return Key(pk(agent, "sweep"), f"{key.pk}#{key.sk}")


def _values(row: AnnounceRow, revision: int) -> dict[str, Value]:
    return {
        "issuer": row.issuer, "part": row.part, "serial": row.serial, "expires": row.expires, "lookups": row.lookups,
        "envelope": row.envelope, "revision": revision,
    }  # fmt: skip


def _row(item: Item) -> AnnounceRow:
    return AnnounceRow(
        item["issuer"], item["part"], item["serial"], item["expires"], item["lookups"], item["envelope"]
    )
