"""What the DynamoDB driver makes of lost answers, throttles, conflicts and leftovers: the real SDK against a real
server, with a proxy in between. What a caller of the ports sees is what the ports promise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from skyswarm.errors import BackendError, ConflictError, ForbiddenError, UnavailableError
from skyswarm.ports.records import AnnounceRow, Batch, Entry, HeldFile, Share, StatementRow, Tally, Transfer
from tests.support.dynamo_proxy import cancel, leave, lose, refuse, through
from tests.support.dynamo_rigs import Wired, wired
from tests.support.emulators import ministack, moto
from tests.support.record_rigs import ALICE, Rig

SERVERS = {"ministack": ministack, "moto": moto}
ROW = StatementRow("x", "i", 0, "vouch", b"envelope", 12.5)
ANNOUNCED = AnnounceRow("issuer", 0, 10, 1000, ("look",), b"envelope")
HELD = HeldFile("home", "a", "v1", 3, "c1", bytes(44))
SHARE = Share("m1", "n", "s", "", 0, 0, 0.0, 0)
THROTTLES = ("ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded")


@pytest.fixture(params=SERVERS)
def wire(request: pytest.FixtureRequest) -> Iterator[Wired]:
    with wired(SERVERS[request.param]()) as made:
        yield made
        assert not made.proxy.left(), "not everything happened that should"


@pytest.fixture
def first(request: pytest.FixtureRequest) -> Iterator[Wired]:
    """On the server that knows the tokens of transactions."""
    with wired(ministack()) as made:
        yield made
        assert not made.proxy.left(), "not everything happened that should"


# ---- lost answers: the SDK repeats the request by itself ------------------------------------------
def test_a_finish_whose_answer_is_lost_counts_once_and_says_so(first: Wired) -> None:
    transfers = first.patient.transfers
    transfers.add(ALICE, "t", [Batch(0, "g", b"")])
    transfers.lease(ALICE, "t", 0, "w", 0, 10)
    first.proxy.next("TransactWriteItems", lose)
    assert transfers.finish(ALICE, "t", 0, "w", Tally(bytes=9), {"from:x": Tally(bytes=9)})
    assert transfers.tally(ALICE, "t") == Tally(batches=1, done=1, bytes=9)
    assert transfers.tally(ALICE, "t", "from:x") == Tally(bytes=9)


def test_what_is_given_back_to_a_meter_is_given_back_once(first: Wired) -> None:
    first.patient.meters.add(ALICE, "m", 9, 10)
    first.proxy.next("TransactWriteItems", lose)
    assert first.patient.meters.add(ALICE, "m", -4, 10) == 5


def test_what_is_added_to_a_meter_errs_to_the_safe_side(wire: Wired) -> None:
    wire.proxy.next("UpdateItem", lose)
    assert wire.patient.meters.add(ALICE, "m", 4, 10) == 8


def test_statements_are_added_once(wire: Wired) -> None:
    statements = wire.patient.statements
    wire.proxy.next("TransactWriteItems", lose, through, lose)
    assert statements.append(ALICE, [ROW, replace(ROW, id="y", seq=1)]) == [0, 1]
    assert statements.extend(ALICE, replace(ROW, id="z", seq=2)) == 2
    assert [row.position for row in statements.after(ALICE, 0, 10)] == [0, 1, 2]


def test_batches_are_added_and_counted_once(wire: Wired) -> None:
    wire.proxy.next("TransactWriteItems", lose)
    wire.patient.transfers.add(ALICE, "t", [Batch(number, "g", b"") for number in range(3)])
    assert wire.patient.transfers.tally(ALICE, "t", "g") == Tally(batches=3)


def test_an_announcement_whose_answer_is_lost_was_news_all_the_same(wire: Wired) -> None:
    announcements = wire.patient.announcements
    wire.proxy.next("TransactWriteItems", lose)
    assert announcements.put(ALICE, ANNOUNCED)
    renewed = replace(ANNOUNCED, serial=11)
    wire.proxy.next("PutItem", lose)
    assert announcements.put(ALICE, renewed)
    assert announcements.find(ALICE, "look", 0) == [renewed]


def test_a_nonce_whose_answer_is_lost_is_used(wire: Wired) -> None:
    wire.proxy.next("PutItem", lose)
    assert not wire.patient.nonces.use(ALICE, "n", 100, 50)


def test_a_note_whose_answer_is_lost_is_a_conflict_that_reading_mends(wire: Wired) -> None:
    wire.proxy.next("PutItem", lose)
    with pytest.raises(ConflictError):
        wire.patient.notes.put(ALICE, Entry("k", b"one"))
    kept = wire.patient.notes.get(ALICE, "k")
    assert kept is not None and kept.value == b"one"


def test_a_lease_whose_answer_is_lost_is_held(wire: Wired) -> None:
    transfers = wire.patient.transfers
    transfers.add(ALICE, "t", [Batch(0, "g", b"plan")])
    wire.proxy.next("UpdateItem", lose)
    taken = transfers.lease(ALICE, "t", 0, "w", 0, 10)
    assert taken is not None and (taken.lease, taken.attempts, taken.plan_json) == ("w", 2, b"plan")


# ---- throttles and outages ------------------------------------------------------------------------
def calls(rig: Rig) -> dict[str, tuple[str, Callable[[], object]]]:
    """Each port's calls and the operation they begin with."""
    return {
        "append": ("GetItem", lambda: rig.statements.append(ALICE, [ROW])),
        "after": ("Query", lambda: rig.statements.after(ALICE, 0, 10)),
        "announce": ("TransactWriteItems", lambda: rig.announcements.put(ALICE, ANNOUNCED)),
        "share": ("PutItem", lambda: rig.shares.put(ALICE, SHARE)),
        "held": ("BatchWriteItem", lambda: rig.held.put(ALICE, [HELD])),
        "lease": ("UpdateItem", lambda: rig.transfers.lease(ALICE, "t", 0, "w", 0, 10)),
        "page": ("Query", lambda: rig.transfers.page(ALICE)),
        "nonce": ("PutItem", lambda: rig.nonces.use(ALICE, "n", 100, 50)),
        "meter": ("UpdateItem", lambda: rig.meters.add(ALICE, "m", 1, 10)),
        "note": ("PutItem", lambda: rig.notes.put(ALICE, Entry("k", b""))),
        "delete": ("DeleteItem", lambda: rig.notes.delete(ALICE, "k")),
    }


@pytest.mark.parametrize("kind", [*THROTTLES, "InternalServerError"])
def test_a_throttle_is_an_error_that_may_be_tried_again(first: Wired, kind: str) -> None:
    for operation, call in calls(first.rig).values():
        first.proxy.next(operation, refuse(kind, 500 if kind == "InternalServerError" else 400))
        with pytest.raises(UnavailableError) as found:
            call()
        assert found.value.retryable


def test_a_throttle_that_passes_is_nobodys_trouble(first: Wired) -> None:
    first.proxy.next("PutItem", refuse(THROTTLES[0]))
    assert first.fresh().nonces.use(ALICE, "n", 100, 50)


def test_what_is_not_allowed_is_said_to_be(first: Wired) -> None:
    for operation, call in calls(first.rig).values():
        first.proxy.next(operation, refuse("AccessDeniedException"))
        with pytest.raises(ForbiddenError):
            call()


@pytest.mark.parametrize("kind", ["ResourceNotFoundException", "ValidationException"])
def test_a_table_that_is_missing_or_refuses_is_no_missing_record(first: Wired, kind: str) -> None:
    for operation, call in calls(first.rig).values():
        first.proxy.next(operation, refuse(kind))
        with pytest.raises(BackendError) as found:
            call()
        assert type(found.value) is BackendError


# ---- transactions that meet -----------------------------------------------------------------------
@pytest.mark.parametrize(
    "reason", ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"]
)
def test_transactions_that_meet_are_tried_again(first: Wired, reason: str) -> None:
    transfers = first.rig.transfers
    transfers.add(ALICE, "t", [Batch(0, "g", b"")])
    transfers.lease(ALICE, "t", 0, "w", 0, 10)
    met = cancel("None", "None", reason, "None")
    first.proxy.next("TransactWriteItems", met, met, met)
    assert transfers.finish(ALICE, "t", 0, "w", Tally(bytes=9), {})
    assert transfers.tally(ALICE, "t") == Tally(batches=1, done=1, bytes=9)


def test_a_write_that_meets_a_transaction_is_tried_again(first: Wired) -> None:
    first.proxy.next(
        "UpdateItem", refuse("TransactionConflictException"), refuse("TransactionConflictException")
    )
    assert first.rig.meters.add(ALICE, "m", 1, 10) == 1


def test_transactions_that_meet_for_ever_are_an_outage(first: Wired) -> None:
    first.proxy.next("TransactWriteItems", *[cancel("TransactionConflict")] * 12)
    with pytest.raises(UnavailableError):
        first.rig.transfers.put(ALICE, Transfer("t", "queued", 0.0, b""))
    assert first.rig.transfers.get(ALICE, "t") is None


# ---- leftovers ------------------------------------------------------------------------------------
def test_what_a_batch_leaves_over_is_written_after_all(wire: Wired) -> None:
    rows = [replace(HELD, key=f"k{number:02}") for number in range(20)]
    wire.proxy.next("BatchWriteItem", leave(7), leave(0), leave(3))
    wire.rig.held.put(ALICE, rows)
    wire.proxy.next("BatchGetItem", leave(4), leave(0), leave(1))
    assert wire.rig.held.find(ALICE, "c1", limit=50) == rows


def test_a_batch_that_is_left_over_for_ever_is_an_outage(first: Wired) -> None:
    first.proxy.next("BatchWriteItem", *[leave(0)] * 12)
    with pytest.raises(UnavailableError):
        first.rig.held.put(ALICE, [HELD])
    assert first.rig.held.find(ALICE, "c1") == []


# ---- a crash between two steps --------------------------------------------------------------------
def test_a_crash_in_a_long_append_leaves_the_first_ones(wire: Wired) -> None:
    rows = [replace(ROW, id=f"s{number}", seq=number) for number in range(120)]
    wire.proxy.next("TransactWriteItems", through, refuse("InternalServerError", 500))
    with pytest.raises(UnavailableError):
        wire.rig.statements.append(ALICE, rows)
    kept = [row.id for row in wire.rig.statements.after(ALICE, 0, 999)]
    assert kept == [row.id for row in rows[: len(kept)]]
    assert 16 <= len(kept) < 120
    assert wire.rig.statements.append(ALICE, rows) == list(range(120))


def test_a_crash_in_a_long_plan_is_mended_by_planning_again(wire: Wired) -> None:
    batches = [Batch(number, "g" if number % 2 else "", b"p" * 600) for number in range(80)]
    wire.proxy.next("TransactWriteItems", through, refuse("InternalServerError", 500))
    with pytest.raises(UnavailableError):
        wire.rig.transfers.add(ALICE, "t", batches)
    some = wire.rig.transfers.tally(ALICE, "t").batches
    assert 0 < some < 80
    assert len(wire.rig.transfers.undone(ALICE, "t")) == some
    wire.rig.transfers.add(ALICE, "t", batches)
    assert wire.rig.transfers.tally(ALICE, "t").batches == 80
    assert wire.rig.transfers.tally(ALICE, "t", "g").batches == 40
    assert wire.rig.transfers.undone(ALICE, "t") == batches


def test_an_announcement_of_all_other_shares_is_two_steps_that_may_be_repeated(wire: Wired) -> None:
    old = replace(ANNOUNCED, lookups=tuple(f"old{number}" for number in range(64)))
    new = replace(ANNOUNCED, serial=11, lookups=tuple(f"new{number}" for number in range(64)))
    announcements = wire.rig.announcements
    assert announcements.put(ALICE, old)
    wire.proxy.next("TransactWriteItems", through, refuse("InternalServerError", 500))
    with pytest.raises(UnavailableError):
        announcements.put(ALICE, new)
    assert announcements.find(ALICE, "new0", 0) == []
    assert announcements.put(ALICE, new)
    assert announcements.find(ALICE, "old0", 0) == announcements.find(ALICE, "old63", 0) == []
    assert announcements.find(ALICE, "new63", 0) == [new]
    assert announcements.sweep(ALICE, 5000) == 1
    assert wire.items() == []
