"""Transfers and their batches.

Law: a batch is one small item of its own partition, which is leased, saved and finished by conditional writes; its
plan, when it is long, lies apart, because a lease would pay for rewriting it. A marker per unfinished batch gives their
order. A transaction holds what must be true together: a new batch, its marker and its count; a finished one and what it
adds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from skyswarm.drivers.aws.dynamo import tallies
from skyswarm.drivers.aws.dynamo.items import Item, Key, Value, moment, ordinal, pk
from skyswarm.drivers.aws.dynamo.table import MOST_BYTES, MOST_ITEMS, Refused, Table, Write, pause
from skyswarm.errors import AbsentError, ConflictError, LeaseLostError, UnavailableError
from skyswarm.ports.records import Batch, Tally, Transfer
from skyswarm.ports.sizes import check, check_progress

_INLINE = 512
"""Bytes of a plan that stay in the batch's item: with them it is one write unit, mostly."""
_TRIES = 30
_ABSENT = "attribute_not_exists(#pk)"
_HELD = "#done = :undone AND #lease = :holder"


class DynamoTransfers:
    """The Transfers port."""

    def __init__(self, table: Table) -> None:
        self._table = table

    # ---- the transfer itself -----------------------------------------------------------------------
    def put(self, agent: str, transfer: Transfer) -> Transfer:
        check(transfer)
        table, new = self._table, replace(transfer, version=transfer.version + 1)
        key = _transfer_key(agent, new.id)
        values: dict[str, Value] = {
            "id": new.id, "state": new.state, "created": new.created, "doc": new.doc_json, "version": new.version,
        }  # fmt: skip
        try:
            if transfer.version:
                table.write(table.putting(key, values, "#version = :old", old=transfer.version))
            else:
                listed = table.putting(_listed(agent, new), {"id": new.id})
                table.transact([table.putting(key, values, _ABSENT), listed])
        except Refused as refused:
            raise ConflictError(f"transfer {new.id} has changed since it was read") from refused
        return new

    def get(self, agent: str, transfer: str) -> Transfer | None:
        item = self._table.get(_transfer_key(agent, transfer))
        return None if item is None else _transfer(item)

    def page(self, agent: str, after: str = "", limit: int = 100) -> list[Transfer]:
        high = ""
        if after:
            last = self.get(agent, after)
            if last is None:
                return []
            high = _listed(agent, last).sk
        keys: list[Key] = []
        for item in self._table.query(pk(agent, "transfers"), high=high, forward=False, page=limit + 1):
            if len(keys) == limit:
                break
            if item["sk"] != high:
                keys.append(_transfer_key(agent, item["id"]))
        found = self._table.get_many(keys)
        return [_transfer(found[key]) for key in keys if key in found]

    # ---- batches ---------------------------------------------------------------------------------
    def add(self, agent: str, transfer: str, batches: Sequence[Batch]) -> None:
        portion: list[Batch] = []
        items = size = 0
        groups: set[str] = set()
        first: dict[int, Batch] = {}
        for batch in batches:
            check(batch)
            first.setdefault(batch.number, batch)
        for batch in first.values():
            need, weight = _items(batch), len(batch.plan_json) + len(batch.progress_json) + 1000
            if items + need + len(groups | {batch.group}) + 1 > MOST_ITEMS or size + weight > MOST_BYTES:
                self._add(agent, transfer, portion)
                portion, items, size, groups = [], 0, 0, set()
            portion.append(batch)
            groups.add(batch.group)
            items += need
            size += weight
        self._add(agent, transfer, portion)

    def _add(self, agent: str, transfer: str, batches: list[Batch]) -> None:
        """Those that are new, in one transaction: tried with all of them, because planning is seldom repeated."""
        while batches:
            writes: list[Write] = []
            owner: list[int] = []
            for batch in batches:
                made = self._new(agent, transfer, batch)
                writes += made
                owner += [batch.number] * len(made)
            deltas = tallies.merged(
                (group, Tally(batches=1)) for batch in batches for group in (None, batch.group)
            )
            writes += tallies.counting(self._table, agent, transfer, batches[0].number, deltas)
            try:
                self._table.transact(writes)
                return
            except Refused as refused:
                known = {owner[place] for place in refused.at()}
                batches = [batch for batch in batches if batch.number not in known]

    def _new(self, agent: str, transfer: str, batch: Batch) -> list[Write]:
        table, key = self._table, _batch_key(agent, transfer, batch.number)
        values: dict[str, Value] = {
            "number": batch.number, "group": batch.group, "done": 0, "lease": "", "until": 0, "attempts": 0,
            "progress": batch.progress_json,
        }  # fmt: skip
        marker = table.putting(Key(_open(agent, transfer), ordinal(batch.number)), {})
        if _items(batch) == 2:
            return [table.putting(key, {**values, "plan": batch.plan_json}, _ABSENT), marker]
        return [
            table.putting(key, values, _ABSENT),
            marker,
            table.putting(Key(key.pk, "plan"), {"plan": batch.plan_json}),
        ]

    def lease(
        self, agent: str, transfer: str, number: int, holder: str, now: float, ttl: float
    ) -> Batch | None:
        key = _batch_key(agent, transfer, number)
        update = self._table.updating(
            key,
            "SET #lease = :holder, #until = :until ADD #attempts :one",
            "#done = :undone AND (#lease = :nobody OR #lease = :holder OR #until <= :now)",
            holder=holder, until=now + ttl, one=1, undone=0, nobody="", now=now,
        )  # fmt: skip
        try:
            item = self._table.write(update)
        except Refused as refused:
            if refused.item is None and self._table.get(key) is None:
                raise AbsentError(f"there is no batch {number} in transfer {transfer}") from refused
            return None
        return self._one(item)

    def save(
        self, agent: str, transfer: str, number: int, holder: str, progress_json: bytes, until: float
    ) -> None:
        check_progress(progress_json)
        update = self._table.updating(
            _batch_key(agent, transfer, number), "SET #progress = :progress, #until = :until", _HELD,
            progress=progress_json, until=until, undone=0, holder=holder,
        )  # fmt: skip
        try:
            self._table.write(update)
        except Refused as refused:
            raise _lost(number, holder) from refused

    def release(self, agent: str, transfer: str, number: int, holder: str) -> None:
        update = self._table.updating(
            _batch_key(agent, transfer, number), "SET #lease = :nobody, #until = :zero", _HELD,
            nobody="", zero=0, undone=0, holder=holder,
        )  # fmt: skip
        try:
            self._table.write(update)
        except Refused:
            return

    def finish(
        self, agent: str, transfer: str, number: int, holder: str, delta: Tally, others: Mapping[str, Tally]
    ) -> bool:
        key = _batch_key(agent, transfer, number)
        for attempt in range(1, _TRIES + 1):
            item = self._table.get(key)
            if item is not None and item["done"]:
                return False
            if item is None or item["lease"] != holder:
                raise _lost(number, holder)
            whole = replace(delta, done=1)
            deltas = tallies.merged(iter([(None, whole), (item["group"], whole), *others.items()]))
            writes = [
                self._table.updating(
                    key, "SET #done = :one, #lease = :nobody, #until = :zero", _HELD,
                    one=1, nobody="", zero=0, undone=0, holder=holder,
                ),
                self._table.deleting(Key(_open(agent, transfer), ordinal(number))),
                *tallies.counting(self._table, agent, transfer, number, deltas),
            ]  # fmt: skip
            try:
                self._table.transact(writes)
                return True
            except Refused:
                pause(attempt)
        raise UnavailableError(f"batch {number} is busy")

    def batch(self, agent: str, transfer: str, number: int) -> Batch | None:
        item = self._table.get(_batch_key(agent, transfer, number))
        return None if item is None else self._one(item)

    def _one(self, item: Item) -> Batch:
        for batch in self._batches([item]):
            return batch
        raise UnavailableError(f"batch {item['number']} is just being planned")

    def undone(self, agent: str, transfer: str, after: int = -1, limit: int = 100) -> list[Batch]:
        out: list[Batch] = []
        keys: list[Key] = []
        for marker in self._table.query(_open(agent, transfer), low=ordinal(max(after + 1, 0)), page=limit):
            keys.append(_batch_key(agent, transfer, int(marker["sk"])))
            if len(keys) >= min(limit - len(out), MOST_ITEMS):
                out += self._unfinished(keys)
                keys = []
            if len(out) >= limit:
                break
        return (out + self._unfinished(keys))[:limit]

    def _unfinished(self, keys: list[Key]) -> list[Batch]:
        found = self._table.get_many(keys)
        return self._batches([found[key] for key in keys if key in found and not found[key]["done"]])

    def _batches(self, items: Sequence[Item]) -> list[Batch]:
        """As they are, with the plans that lie apart; one whose plan is just being written is not there yet."""
        apart = self._table.get_many(Key(item["pk"], "plan") for item in items if "plan" not in item)
        out = []
        for item in items:
            whole = item if "plan" in item else apart.get(Key(item["pk"], "plan"))
            if whole is None:
                continue
            lease, until = item["lease"], float(item["until"])
            out.append(
                Batch(
                    item["number"], item["group"], whole["plan"], bool(item["done"]), lease, until, item["attempts"],
                    item["progress"],
                )
            )  # fmt: skip
        return out

    def tally(self, agent: str, transfer: str, group: str | None = None) -> Tally:
        return tallies.read(self._table, agent, transfer, group)


def _items(batch: Batch) -> int:
    """How many items a new batch is."""
    return 2 if len(batch.plan_json) <= _INLINE else 3


def _lost(number: int, holder: str) -> LeaseLostError:
    return LeaseLostError(f"batch {number} is no longer held by {holder}")


def _transfer_key(agent: str, transfer: str) -> Key:
    return Key(pk(agent, "transfer", transfer), "-")


def _listed(agent: str, transfer: Transfer) -> Key:
    return Key(pk(agent, "transfers"), f"{moment(transfer.created)}#{transfer.id}")


def _batch_key(agent: str, transfer: str, number: int) -> Key:
    return Key(pk(agent, "batch", transfer, str(number)), "-")


def _open(agent: str, transfer: str) -> str:
    return pk(agent, "open", transfer)


def _transfer(item: Item) -> Transfer:
    return Transfer(item["id"], item["state"], float(item["created"]), item["doc"], item["version"])
