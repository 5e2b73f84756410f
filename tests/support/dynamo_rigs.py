"""Rigs over DynamoDB with something in between: a proxy, a counter of units.

Law: the servers and tables are those of the contract; only what stands before them is added here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from skyswarm.drivers.aws.dynamo import records
from skyswarm.drivers.aws.dynamo.schema import create_table
from skyswarm.drivers.aws.session import Session
from tests.support.dynamo_proxy import DynamoProxy
from tests.support.emulators import REGION, Emulator, unique
from tests.support.record_rigs import Rig, dynamo_rig


@dataclass
class Wired:
    """Ports whose every request passes a proxy; `patient` ports try again as in production, `rig`'s do not."""

    rig: Rig
    patient: Rig
    proxy: DynamoProxy
    client: Any
    table: str
    server: Emulator

    def items(self) -> list[dict[str, Any]]:
        """All there are in the table, as they are on the wire."""
        pages = self.client.get_paginator("scan").paginate(TableName=self.table)
        return [item for page in pages for item in page["Items"]]

    def fresh(self) -> Rig:
        """Patient ports of a client that nobody else has: one that was throttled stays slow for a while."""
        client = _session(self.proxy.url, self.server).client("dynamodb")
        return dynamo_rig(records.Table(client, self.table))


@contextmanager
def wired(server: Emulator) -> Iterator[Wired]:
    proxy, straight, session = _lines(server)
    name = unique("wired")
    create_table(straight, name)
    once = {"retries": {"mode": "standard", "total_max_attempts": 1}}
    try:
        yield Wired(
            dynamo_rig(records.Table(session.client("dynamodb", **once), name)),
            dynamo_rig(records.Table(session.client("dynamodb"), name)),
            proxy,
            straight.client("dynamodb"),
            name,
            server,
        )
    finally:
        straight.client("dynamodb").delete_table(TableName=name)
        proxy.reset()


@cache
def _lines(server: Emulator) -> tuple[DynamoProxy, Session, Session]:
    """A proxy, and the clients before and behind it: they take a while to make, so there is one of each."""
    proxy = DynamoProxy(server.url)
    return proxy, _session(server.url, server), _session(proxy.url, server)


def _session(url: str, server: Emulator) -> Session:
    return Session(REGION, url, server.key, server.secret)


@dataclass
class Units:
    """What DynamoDB would have billed since the last look. Writes are counted by the server (1 KB each, twice in a
    transaction); strong reads here, by DynamoDB's published rule, because no server that we have counts all of them:
    4 KB each, a query by the sum of its page, other readings by the item, one that is absent like a small one."""

    writes: float = 0
    reads: int = 0
    calls: int = 0
    _keys: int = 0

    def watch(self, client: Any) -> None:
        client.meta.events.register("provide-client-params.dynamodb", self._ask)
        client.meta.events.register("after-call.dynamodb", self._count)

    def _ask(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        if "ReturnConsumedCapacity" in model.input_shape.members:
            params["ReturnConsumedCapacity"] = "TOTAL"
        if model.name == "BatchGetItem":
            self._keys = sum(len(one["Keys"]) for one in params["RequestItems"].values())

    def _count(self, parsed: dict[str, Any], model: Any, **_: Any) -> None:
        self.calls += 1
        if model.name == "GetItem":
            self.reads += _units(_size(parsed.get("Item", {})))
        elif model.name == "Query":
            self.reads += _units(sum(_size(item) for item in parsed["Items"]))
        elif model.name == "BatchGetItem":
            found = [item for items in parsed["Responses"].values() for item in items]
            self.reads += sum(_units(_size(item)) for item in found) + self._keys - len(found)
        else:
            told = parsed.get("ConsumedCapacity", [])
            self.writes += sum(one["CapacityUnits"] for one in (told if isinstance(told, list) else [told]))

    def taken(self) -> tuple[float, float, int]:
        """(write units, read units, requests); begins anew."""
        out = (self.writes, float(self.reads), self.calls)
        self.writes, self.reads, self.calls = 0, 0, 0
        return out


def _units(size: int) -> int:
    return max(1, -(-size // 4096))


def _size(item: dict[str, Any]) -> int:
    return sum(len(name.encode()) + _weight(value) for name, value in item.items())


def _weight(value: dict[str, Any]) -> int:
    ((kind, plain),) = value.items()
    if kind == "L":
        return 3 + sum(1 + _weight(one) for one in plain)
    return len(plain) // 2 + 2 if kind == "N" else len(plain if kind == "B" else plain.encode())
