"""Which contents an agent holds where: a cache, written in bulk.

Law: the item of a key is the truth. The item that finds it by its content is written before and only ever a hint: it
may outlive the truth, and is checked against it by whoever reads it. Pieces that do not fit into one item lie in two.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace

from skyswarm.drivers.aws.dynamo.items import Item, Key, Value, pk
from skyswarm.drivers.aws.dynamo.table import MOST_ITEMS, Table, Write
from skyswarm.ports.records import HeldFile

_ROOM = 320 * 1024
"""Bytes of pieces in the first item: 10,000 pieces are 440,000 bytes, an item holds 409,600 in all."""
_SORT = 900


class DynamoHeld:
    """The Held port."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def put(self, agent: str, rows: Sequence[HeldFile]) -> None:
        newest = list({(row.storage, row.key): row for row in rows}.values())
        hints: list[Write] = []
        truths: list[Write] = []
        for row in newest:
            key = _key(agent, row.storage, row.key)
            if len(row.pieces) > _ROOM:
                rest = {"pieces": row.pieces[_ROOM:]}
                hints.append(self._table.putting(_rest_key(key, row.pieces), rest))
            where: dict[str, Value] = {"storage": row.storage, "key": row.key}
            hints.append(self._table.putting(_hint_key(agent, row), where))
            truths.append(self._table.putting(key, _values(row)))
        self._table.write_many(hints)
        self._table.write_many(truths)

    def at(self, agent: str, storage: str, key: str, version: str) -> HeldFile | None:
        item = self._table.get(_key(agent, storage, key))
        if item is None or item["version"] != version:
            return None
        return next(iter(self._whole([item])), None)

    def find(self, agent: str, content: str, limit: int = 10) -> list[HeldFile]:
        out: list[HeldFile] = []
        asked: list[Key] = []
        for hint in self._table.query(pk(agent, "content", content), page=limit):
            asked.append(_key(agent, hint["storage"], hint["key"]))
            if len(asked) >= min(limit - len(out), MOST_ITEMS):
                out += self._true(asked, content)
                asked = []
            if len(out) >= limit:
                break
        return (out + self._true(asked, content))[:limit]

    def _true(self, keys: list[Key], content: str) -> list[HeldFile]:
        """What is really there with that content, in the order of the keys."""
        found = self._table.get_many(keys)
        return self._whole([found[key] for key in keys if key in found and found[key]["content"] == content])

    def _whole(self, items: Iterable[Item]) -> list[HeldFile]:
        """Rows, with the pieces of a second item; a row whose second item was replaced meanwhile is none."""
        out = []
        for item in items:
            row = HeldFile(
                item["storage"], item["key"], item["version"], item["size"], item["content"], item["pieces"],
                item["extra"],
            )  # fmt: skip
            if "rest" in item:
                rest = self._table.get(Key(item["pk"], item["rest"]))
                if rest is None:
                    continue
                row = replace(row, pieces=row.pieces + rest["pieces"])
            out.append(row)
        return out


def _key(agent: str, storage: str, key: str) -> Key:
    name = hashlib.sha256(f"{storage}\0{key}".encode()).hexdigest()
    return Key(pk(agent, "held", name), "-")


def _rest_key(key: Key, pieces: bytes) -> Key:
    return Key(key.pk, f"rest#{hashlib.sha256(pieces).hexdigest()}")


def _hint_key(agent: str, row: HeldFile) -> Key:
    name = f"{row.storage}\0{row.key}".encode()
    sort = f"={name.decode()}"
    if len(name) > _SORT:
        sort = f"={name[:_SORT].decode(errors='ignore')}\0{hashlib.sha256(name).hexdigest()}"
    return Key(pk(agent, "content", row.content), sort)


def _values(row: HeldFile) -> dict[str, Value]:
    values: dict[str, Value] = {
        "storage": row.storage,
        "key": row.key,
        "version": row.version,
        "size": row.size,
        "content": row.content,
        "pieces": row.pieces[:_ROOM],
        "extra": row.extra_json,
    }
    if len(row.pieces) > _ROOM:
        values["rest"] = f"rest#{hashlib.sha256(row.pieces).hexdigest()}"
    return values
