"""What a transfer costs and who pays: the estimate before the start, and the price of each piece as it goes.

Law: money is integer micro-dollars (µ$), always rounded up; prices come in as a table read from one dated data file
(`skyswarm/data/prices.json`, with source and date). An unknown storage is priced like the dearest known egress,
never like zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

GB = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """Of one kind of storage, in µ$: egress per GB to elsewhere and to the same place, reads and writes per 1,000."""

    egress: int
    egress_same: int
    read: int
    write: int


@dataclass(frozen=True, slots=True)
class Prices:
    """The table: by provider (the part of a storage kind before '/'), and the date it was read."""

    by_provider: Mapping[str, Price]
    dated: str

    @classmethod
    def parse(cls, doc: Mapping[str, Any]) -> Prices:
        """From the data file's JSON."""
        table = {
            name: Price(row["egress"], row["egress_same"], row["read"], row["write"])
            for name, row in doc["providers"].items()
        }
        return cls(table, doc["dated"])

    def of(self, kind: str) -> Price:
        """The price of a storage kind such as `s3/eu-central-1`."""
        known = self.by_provider.get(kind.partition("/")[0])
        if known is not None:
            return known
        table = self.by_provider.values()
        return Price(
            max(row.egress for row in table),
            max(row.egress_same for row in table),
            max(row.read for row in table),
            max(row.write for row in table),
        )

    def piece(self, source: str, destination: str, length: int) -> int:
        """µ$ for moving one piece of `length` bytes: the source's egress and read, the destination's write."""
        egress = self.of(source).egress_same if source == destination else self.of(source).egress
        return (
            _up(length * egress, GB) + _up(self.of(source).read, 1000) + _up(self.of(destination).write, 1000)
        )

    def lines(self, source: str, destination: str, size: int, pieces: int) -> tuple[dict[str, Any], ...]:
        """The estimate, line by line, each with who pays it: `them` (the source's owner) or `you`."""
        egress = self.of(source).egress_same if source == destination else self.of(source).egress
        rows = (
            (f"egress of {source}", "them", _up(size * egress, GB)),
            (f"reads of {source}", "them", _up(pieces * self.of(source).read, 1000)),
            (f"writes to {destination}", "you", _up(pieces * self.of(destination).write, 1000)),
        )
        return tuple({"what": what, "payer": payer, "micro": micro} for what, payer, micro in rows)


def _up(amount: int, per: int) -> int:
    return -(-amount // per)
