"""The DynamoDB table itself: its definition, whose keys they are, long pages, big items, and what its broom may do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from skyswarm.drivers.aws.dynamo.schema import TTL, definition
from skyswarm.errors import ConflictError, UnavailableError
from skyswarm.ports.records import (
    AnnounceRow,
    Batch,
    Entry,
    HeldFile,
    Share,
    StatementRow,
    Tally,
    Transfer,
)
from skyswarm.ports.sizes import MAX_PROGRESS, MAX_VALUE
from tests.support.dynamo_proxy import Answer, Forward
from tests.support.dynamo_rigs import Wired, wired
from tests.support.emulators import ministack, moto
from tests.support.record_rigs import ALICE, BOB, Rig

SERVERS = {"ministack": ministack, "moto": moto}
BIG = 300 * 1024
DAY = 86_400


@pytest.fixture(params=SERVERS)
def wire(request: pytest.FixtureRequest) -> Iterator[Wired]:
    with wired(SERVERS[request.param]()) as made:
        yield made


def fill(rig: Rig, agent: str) -> None:
    """Something of every kind."""
    rig.statements.append(agent, [StatementRow("x", "i#1", 0, "vouch", b"e", 1.5)])
    rig.statements.extend(agent, StatementRow("y", "i#1", 1, "vouch", b"e", 1.5))
    rig.announcements.put(agent, AnnounceRow("i", 0, 1, 5000, ("look#1", "look%2"), b"e"))
    rig.shares.put(agent, Share("m", "n", "s", "", 0, 0, 0.0, 0))
    rig.held.put(agent, [HeldFile("home", "a#b", "v", 1, "c", bytes(440_000))])
    rig.transfers.put(agent, Transfer("t#1", "moving", 1.5, b"{}"))
    rig.transfers.add(agent, "t#1", [Batch(0, "g#1", b"p" * 2000), Batch(1, "", b"")])
    rig.transfers.lease(agent, "t#1", 0, "w", 0, 10)
    rig.transfers.finish(agent, "t#1", 0, "w", Tally(bytes=1), {"from:x#1": Tally(bytes=1)})
    rig.nonces.use(agent, "n#1", expires=1000, now=950)
    rig.meters.add(agent, "m#1", 7, 10, expires=2000)
    rig.meters.add(agent, "for ever", 7, 10)
    rig.notes.put(agent, Entry("k#1", b""))


# ---- definition and keys --------------------------------------------------------------------------
def test_the_table_is_the_one_that_is_drawn(wire: Wired) -> None:
    found = wire.client.describe_table(TableName=wire.table)["Table"]
    drawn = definition(wire.table)
    assert found["KeySchema"] == drawn["KeySchema"]
    assert found["BillingModeSummary"]["BillingMode"] == drawn["BillingMode"] == "PAY_PER_REQUEST"
    assert not found.get("GlobalSecondaryIndexes") and not found.get("LocalSecondaryIndexes")
    told = wire.client.describe_time_to_live(TableName=wire.table)["TimeToLiveDescription"]
    assert (told["AttributeName"], told["TimeToLiveStatus"]) == (TTL, "ENABLED")


def test_every_partition_begins_with_the_agent_it_is_of(wire: Wired) -> None:
    fill(wire.rig, ALICE)
    alone = {item["pk"]["S"] for item in wire.items()}
    assert {name.partition("#")[0] for name in alone} == {ALICE}
    fill(wire.rig, BOB)
    both = {item["pk"]["S"] for item in wire.items()}
    assert both == alone | {name.replace(ALICE, BOB) for name in alone}


@pytest.mark.parametrize("odd", ["a#b", "a%23b", "%", "#", "a#", "##", "é" * 900, "x" * 700])
def test_odd_names_meet_no_other(wire: Wired, odd: str) -> None:
    for name in ("a", "b", odd):
        wire.rig.meters.add(ALICE, name, 1, 10)
        wire.rig.transfers.add(ALICE, name, [Batch(0, odd, b"")])
        assert wire.rig.nonces.use(ALICE, name, 100, 50)
    assert [wire.rig.meters.read(ALICE, name) for name in ("a", "b", odd)] == [1, 1, 1]
    assert wire.rig.transfers.tally(ALICE, odd, odd) == Tally(batches=1)
    assert wire.rig.transfers.tally(ALICE, "a", "b") == Tally()
    assert not wire.rig.nonces.use(ALICE, odd, 100, 50)


def test_a_long_key_of_a_storage_is_held_like_any_other(wire: Wired) -> None:
    rows = [HeldFile("s" * 60, "é" * 500 + end, "v", 1, "c", bytes(44)) for end in ("a", "b" * 20)]
    wire.rig.held.put(ALICE, rows)
    found = wire.rig.held.find(ALICE, "c")
    assert sorted(found, key=lambda row: row.key) == rows


# ---- the broom ------------------------------------------------------------------------------------
def swept(wire: Wired, at: float) -> int:
    """What the broom of DynamoDB may do at that time, done at once and to all."""
    gone = [item for item in wire.items() if TTL in item and float(item[TTL]["N"]) < at]
    for item in gone:
        wire.client.delete_item(TableName=wire.table, Key={"pk": item["pk"], "sk": item["sk"]})
    return len(gone)


def test_the_broom_may_take_expired_nonces_and_meters_and_nothing_else(wire: Wired) -> None:
    fill(wire.rig, ALICE)
    everything = len(wire.items())
    assert swept(wire, 1e12) == 2
    assert len(wire.items()) == everything - 2
    assert wire.rig.meters.read(ALICE, "for ever") == 7


def test_the_broom_comes_later_than_any_clock_that_is_behind(wire: Wired) -> None:
    fill(wire.rig, ALICE)
    assert swept(wire, 1000 + 600) == 0
    assert not wire.rig.nonces.use(ALICE, "n#1", expires=1000, now=1000)
    assert swept(wire, 2000 + DAY) == 1
    assert wire.rig.meters.read(ALICE, "m#1") == 7
    assert swept(wire, 2001 + DAY) == 1


def test_nothing_waits_for_the_broom(wire: Wired) -> None:
    fill(wire.rig, ALICE)
    assert wire.rig.nonces.use(ALICE, "n#1", expires=3000, now=1001)
    assert wire.rig.announcements.find(ALICE, "look#1", now=5000) == []


# ---- long pages -----------------------------------------------------------------------------------
def test_pages_beyond_a_megabyte_are_whole(wire: Wired) -> None:
    """A query ends after 1 MB, whatever was asked for."""
    notes = [Entry(f"big/{number:02}", bytes([number]) * BIG) for number in range(10)]
    for note in notes:
        wire.rig.notes.put(ALICE, note)
    wire.proxy.asked.clear()
    assert [one.value for one in wire.rig.notes.page(ALICE, "big/")] == [one.value for one in notes]
    assert wire.proxy.asked["Query"] >= 3
    assert [one.key for one in wire.rig.notes.page(ALICE, "big/", "big/02", 4)] == [
        f"big/{number:02}" for number in (3, 4, 5, 6)
    ]


def test_statements_beyond_a_megabyte_are_whole(wire: Wired) -> None:
    rows = [StatementRow(f"s{n}", "i", n // 2, "vouch", bytes([n]) * BIG, 1.0) for n in range(12)]
    assert wire.rig.statements.append(ALICE, rows) == list(range(12))
    wire.proxy.asked.clear()
    placed = [replace(row, position=at) for at, row in enumerate(rows)]
    assert wire.rig.statements.after(ALICE, 0, 100) == placed
    assert wire.rig.statements.of(ALICE, "i") == placed
    assert wire.rig.statements.of(ALICE, "i", seq=1, limit=5) == placed[2:7]
    assert wire.proxy.asked["Query"] >= 6


def test_transfers_beyond_sixteen_megabytes_are_whole() -> None:
    """A reading of many items ends after 16 MB and leaves the others over."""
    with wired(ministack()) as wire:
        for number in range(60):
            wire.rig.transfers.put(ALICE, Transfer(f"t{number:02}", "done", float(number), bytes(BIG)))
        found = wire.rig.transfers.page(ALICE)
    assert [one.id for one in found] == [f"t{number:02}" for number in reversed(range(60))]
    assert {len(one.doc_json) for one in found} == {BIG}


def test_a_log_goes_on_beyond_a_partition(wire: Wired) -> None:
    """Positions are in partitions of 10,000; the counter is set, so that the log need not be filled."""
    pk = {"S": f"{ALICE}#log"}
    counter = {"pk": pk, "sk": {"S": "count"}, "count": {"N": "9990"}}
    wire.client.put_item(TableName=wire.table, Item=counter)
    rows = [StatementRow(f"s{n}", "i", n, "vouch", b"e", 1.0) for n in range(30)]
    assert wire.rig.statements.append(ALICE, rows) == list(range(9990, 10_020))
    assert [row.position for row in wire.rig.statements.after(ALICE, 9995, 15)] == list(range(9995, 10_010))
    assert len(wire.rig.statements.after(ALICE, 9990, 100)) == 30
    assert [row.id for row in wire.rig.statements.after(ALICE, 10_000, 1)] == ["s10"]


def test_a_gap_that_a_transaction_is_about_to_fill_ends_a_page(wire: Wired) -> None:
    """A query that runs while a transaction is committed may see its second row before its first."""
    rows = [StatementRow(f"s{n}", "i", n, "vouch", b"e", 1.0) for n in range(5)]
    wire.rig.statements.append(ALICE, rows)
    (row,) = [
        item
        for item in wire.items()
        if item["pk"]["S"] == f"{ALICE}#log#0" and item["sk"]["S"] == f"{2:020d}"
    ]
    wire.client.delete_item(TableName=wire.table, Key={"pk": row["pk"], "sk": row["sk"]})
    assert [one.position for one in wire.rig.statements.after(ALICE, 0, 10)] == [0, 1]
    assert wire.rig.statements.after(ALICE, 2, 10) == []
    wire.client.put_item(TableName=wire.table, Item=row)
    assert [one.position for one in wire.rig.statements.after(ALICE, 2, 10)] == [2, 3, 4]


def test_what_a_transaction_has_written_of_its_parts_is_enough_to_keep_the_promises(wire: Wired) -> None:
    """While one is committed, its counter may be seen before its rows: here the rows are taken away for a while."""
    mine = StatementRow("mine", "me", 0, "vouch", b"e", 1.0)
    wire.rig.statements.extend(ALICE, mine)
    hidden = [item for item in wire.items() if "#iss#" in item["pk"]["S"]]
    assert len(hidden) == 1
    wire.client.delete_item(TableName=wire.table, Key={"pk": hidden[0]["pk"], "sk": hidden[0]["sk"]})

    def back(body: bytes, forward: Forward) -> Answer:
        wire.client.put_item(TableName=wire.table, Item=hidden[0])
        return forward(body)

    wire.proxy.next("TransactWriteItems", back)
    with pytest.raises(ConflictError):
        wire.rig.statements.extend(ALICE, replace(mine, id="other"))
    assert [row.id for row in wire.rig.statements.of(ALICE, "me")] == ["mine"]
    assert wire.rig.statements.count(ALICE) == 1


def test_a_row_that_is_just_being_committed_is_not_added_twice(wire: Wired) -> None:
    """As above; it is the position of the first that every call gives."""
    row = StatementRow("x", "i", 0, "vouch", b"e", 1.0)
    assert wire.rig.statements.append(ALICE, [row]) == [0]
    (hidden,) = [item for item in wire.items() if "#iss#" in item["pk"]["S"]]
    wire.client.delete_item(TableName=wire.table, Key={"pk": hidden["pk"], "sk": hidden["sk"]})

    def back(body: bytes, forward: Forward) -> Answer:
        wire.client.put_item(TableName=wire.table, Item=hidden)
        return forward(body)

    wire.proxy.next("TransactWriteItems", back)
    assert wire.rig.statements.append(ALICE, [replace(row, id="y", seq=1), row]) == [1, 0]
    assert [one.id for one in wire.rig.statements.after(ALICE, 0, 10)] == ["x", "y"]


def test_a_batch_whose_plan_is_just_being_written_comes_later(wire: Wired) -> None:
    wire.rig.transfers.add(ALICE, "t", [Batch(0, "", bytes(600)), Batch(1, "", bytes(6))])
    (plan,) = [item for item in wire.items() if item["sk"]["S"] == "plan"]
    wire.client.delete_item(TableName=wire.table, Key={"pk": plan["pk"], "sk": plan["sk"]})
    assert [one.number for one in wire.rig.transfers.undone(ALICE, "t")] == [1]
    for call in (
        lambda: wire.rig.transfers.batch(ALICE, "t", 0),
        lambda: wire.rig.transfers.lease(ALICE, "t", 0, "w", 0, 10),
    ):
        with pytest.raises(UnavailableError):
            call()
    wire.client.put_item(TableName=wire.table, Item=plan)
    taken = wire.rig.transfers.lease(ALICE, "t", 0, "w", 0, 10)
    assert taken is not None and taken.plan_json == bytes(600)


# ---- big items ------------------------------------------------------------------------------------
def test_the_biggest_values_fit(wire: Wired) -> None:
    rig, value = wire.rig, bytes(MAX_VALUE)
    assert rig.notes.put(ALICE, Entry("k" * 1000, value)) == rig.notes.get(ALICE, "k" * 1000)
    assert rig.transfers.put(ALICE, Transfer("t" * 100, "moving", 1.5, value)).version == 1
    row = StatementRow("x" * 64, "i" * 64, 2**53, "vouch", value, 1.5)
    assert rig.statements.append(ALICE, [row]) == [0]
    assert rig.statements.extend(ALICE, replace(row, id="y", seq=2)) == 1
    looks = tuple(f"{number:043}" for number in range(64))
    assert rig.announcements.put(ALICE, AnnounceRow("i" * 64, 4095, 2**53, 99, looks, value))
    assert len(rig.announcements.find(ALICE, looks[63], 0)) == 1
    rig.transfers.add(
        ALICE, "t", [Batch(n, "g" * 300, value, progress_json=bytes(MAX_PROGRESS)) for n in range(12)]
    )
    assert rig.transfers.lease(ALICE, "t", 11, "w" * 200, 0, 10) is not None
    rig.transfers.save(ALICE, "t", 11, "w" * 200, bytes(MAX_PROGRESS), 20)
    assert [one.plan_json for one in rig.transfers.undone(ALICE, "t")] == [value] * 12


def test_pieces_that_fit_into_no_item_lie_in_two(wire: Wired) -> None:
    most = HeldFile("home", "huge", "v1", 5 << 40, "c", bytes(range(256)) * 1718 + b"x" * 192)
    assert len(most.pieces) == 10_000 * 44
    wire.rig.held.put(ALICE, [most, replace(most, key="other", pieces=most.pieces[:-44])])
    assert wire.rig.held.at(ALICE, "home", "huge", "v1") == most
    assert [len(one.pieces) for one in wire.rig.held.find(ALICE, "c")] == [440_000, 439_956]
    small = replace(most, version="v2", pieces=bytes(44))
    wire.rig.held.put(ALICE, [small])
    assert wire.rig.held.at(ALICE, "home", "huge", "v2") == small
    wire.rig.held.put(ALICE, [replace(most, version="v3")])
    assert wire.rig.held.at(ALICE, "home", "huge", "v3") == replace(most, version="v3")


def test_workers_who_finish_at_once_count_in_shards(wire: Wired) -> None:
    wire.rig.transfers.add(ALICE, "t", [Batch(number, "g", b"") for number in range(20)])
    for number in range(20):
        wire.rig.transfers.lease(ALICE, "t", number, "w", 0, 10)
        wire.rig.transfers.finish(ALICE, "t", number, "w", Tally(bytes=1), {})
    places = [item["sk"]["S"] for item in wire.items() if item["pk"]["S"] == f"{ALICE}#tally#t"]
    assert sorted(places) == [f"{shard:02d}" for shard in range(16)]
    assert wire.rig.transfers.tally(ALICE, "t") == Tally(batches=20, done=20, bytes=20)
