"""What each call of the record ports costs in DynamoDB's units: the table of `shared/decisions/aws-dynamodb.md`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from skyswarm.drivers.aws.dynamo.records import Table
from skyswarm.drivers.aws.dynamo.schema import create_table
from skyswarm.drivers.aws.session import Session
from skyswarm.ports.records import AnnounceRow, Batch, Entry, HeldFile, Share, StatementRow, Tally, Transfer
from tests.support.dynamo_rigs import Units
from tests.support.emulators import REGION, ministack, unique
from tests.support.record_rigs import Rig, dynamo_rig

PAGE = Path(__file__).parents[2] / "shared" / "decisions" / "aws-dynamodb.md"
ME = "a" * 64
STATEMENT = StatementRow("s" * 64, "i" * 64, 0, "vouch", bytes(1100), 12.5)
ANNOUNCED = AnnounceRow("i" * 64, 0, 10, 1000, tuple(f"{n:043}" for n in range(10)), bytes(1500))
HELD = HeldFile("home", "photos/2024/a.jpg", "v1", 3, "c" * 64, bytes(44))
SHARE = Share("m" * 64, "Photos", "home", "p/", 12, 3456, 1.5, 99)
PLAN = bytes(300)

Call = Callable[[Rig], object]


def planned(rig: Rig) -> None:
    rig.transfers.add(ME, "t", [Batch(number, "0.0", PLAN) for number in range(100)])


def leased(rig: Rig) -> None:
    planned(rig)
    rig.transfers.lease(ME, "t", 0, "w", 0, 10)


def finished(rig: Rig) -> None:
    leased(rig)
    rig.transfers.finish(ME, "t", 0, "w", Tally(bytes=9, pieces=1), {"from:" + "x" * 64: Tally(bytes=9)})


def nothing(rig: Rig) -> None:
    """As the table is."""


CALLS: dict[str, tuple[Call, Call]] = {
    "Nonces.use": (nothing, lambda rig: rig.nonces.use(ME, "n", 100, 50)),
    "Meters.add": (nothing, lambda rig: rig.meters.add(ME, "m", 1, 10, 60)),
    "Meters.add, negative": (
        lambda rig: rig.meters.add(ME, "m", 5, 10),
        lambda rig: rig.meters.add(ME, "m", -1, 10),
    ),
    "Notes.put, 1 KB": (nothing, lambda rig: rig.notes.put(ME, Entry("k", bytes(800)))),
    "Shares.get": (lambda rig: rig.shares.put(ME, SHARE), lambda rig: rig.shares.get(ME, SHARE.manifest)),
    "Held.put, 1 small file": (nothing, lambda rig: rig.held.put(ME, [HELD])),
    "Held.find, 1 holder": (
        lambda rig: rig.held.put(ME, [HELD]),
        lambda rig: rig.held.find(ME, HELD.content),
    ),
    "Statements.append, 1 of 1.1 KB": (nothing, lambda rig: rig.statements.append(ME, [STATEMENT])),
    "Statements.after, 100 of 1.1 KB": (
        lambda rig: rig.statements.append(ME, [replace(STATEMENT, id=f"{n:064}", seq=n) for n in range(100)]),
        lambda rig: rig.statements.after(ME, 0, 100),
    ),
    "Announcements.put, first, 10 shares": (nothing, lambda rig: rig.announcements.put(ME, ANNOUNCED)),
    "Announcements.put, renewal": (
        lambda rig: rig.announcements.put(ME, ANNOUNCED),
        lambda rig: rig.announcements.put(ME, replace(ANNOUNCED, serial=11)),
    ),
    "Announcements.find, 1 holder": (
        lambda rig: rig.announcements.put(ME, ANNOUNCED),
        lambda rig: rig.announcements.find(ME, ANNOUNCED.lookups[0], 0),
    ),
    "Transfers.put, state of 3 KB": (
        lambda rig: rig.transfers.put(ME, Transfer("t", "queued", 1.5, b"")),
        lambda rig: rig.transfers.put(ME, Transfer("t", "moving", 1.5, bytes(2800), 1)),
    ),
    "Transfers.add, 100 batches": (nothing, planned),
    "Transfers.lease": (planned, lambda rig: rig.transfers.lease(ME, "t", 0, "w", 0, 10)),
    "Transfers.save": (leased, lambda rig: rig.transfers.save(ME, "t", 0, "w", bytes(150), 20)),
    "Transfers.finish, 1 source": (
        leased,
        lambda rig: rig.transfers.finish(
            ME, "t", 0, "w", Tally(bytes=9), {"from:" + "x" * 64: Tally(bytes=9)}
        ),
    ),
    "Transfers.tally": (finished, lambda rig: rig.transfers.tally(ME, "t")),
    "Transfers.undone, 64 of 100": (planned, lambda rig: rig.transfers.undone(ME, "t", limit=64)),
}


def measured() -> dict[str, tuple[float, float, int]]:
    """Write units, read units and requests of each call, in a table that has only what the call needs."""
    server = ministack()
    session = Session(REGION, server.url, server.key, server.secret)
    client = session.client("dynamodb")
    units = Units()
    units.watch(client)
    out = {}
    for name, (before, call) in CALLS.items():
        table = unique("cost")
        create_table(session, table)
        rig = dynamo_rig(Table(client, table))
        before(rig)
        units.taken()
        call(rig)
        out[name] = units.taken()
        client.delete_table(TableName=table)
    return out


def dollars(writes: float, reads: float) -> str:
    """Of 1,000 calls, on demand in us-east-1."""
    return f"{(writes * 0.625 + reads * 0.125) / 1000:.4f}"


def told() -> dict[str, list[str]]:
    """What the page says: | call | write units | read units | requests | dollars of 1,000 calls |"""
    lines = [line for line in PAGE.read_text().splitlines() if "|" in line]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    return {row[0]: row[1:] for row in rows if row[0] in CALLS}


def test_the_page_tells_what_every_call_costs() -> None:
    cost = measured()
    assert told() == {
        call: [f"{writes:g}", f"{reads:g}", str(requests), dollars(writes, reads)]
        for call, (writes, reads, requests) in cost.items()
    }


if __name__ == "__main__":
    for call, (writes, reads, requests) in measured().items():
        print(f"| {call} | {writes:g} | {reads:g} | {requests} | {dollars(writes, reads)} |")
