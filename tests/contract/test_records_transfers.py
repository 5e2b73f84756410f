"""The promises of the Transfers port, for every driver."""

from __future__ import annotations

from dataclasses import replace

import pytest

from skyswarm.errors import AbsentError, ConflictError, LeaseLostError, UnavailableError
from skyswarm.ports.records import Batch, Tally, Transfer
from tests.support.lossy import Lossy, twice
from tests.support.racing import race
from tests.support.record_rigs import ALICE, BOB, Rig

T1 = Transfer("t1", "moving", 10.5, b'{"a":1}')


def batches(count: int, group: str = "", start: int = 0) -> list[Batch]:
    return [Batch(number, group, f"plan {number}".encode()) for number in range(start, start + count)]


# ---- the transfer itself ---------------------------------------------------------------------
def test_a_transfer_is_replaced_by_who_read_it_last(rig: Rig) -> None:
    assert rig.transfers.get(ALICE, "t1") is None
    first = rig.transfers.put(ALICE, T1)
    assert rig.transfers.get(ALICE, "t1") == first == replace(T1, version=first.version)
    second = rig.transfers.put(ALICE, replace(first, state="done", doc_json=b"{}"))
    for stale in (T1, first, replace(second, version=second.version + 1)):
        with pytest.raises(ConflictError):
            rig.transfers.put(ALICE, stale)
    assert rig.transfers.get(ALICE, "t1") == second
    with pytest.raises(ConflictError):
        rig.transfers.put(ALICE, replace(T1, id="t2", version=1))
    assert rig.transfers.get(BOB, "t1") is None


def test_transfers_go_newest_first_page_by_page(rig: Rig) -> None:
    for number in range(130):
        rig.transfers.put(ALICE, Transfer(f"t{number:03}", "done", float(number // 3), b""))
    rig.transfers.put(BOB, Transfer("t999", "done", 999.0, b""))
    seen: list[str] = []
    while page := rig.transfers.page(ALICE, seen[-1] if seen else ""):
        assert len(page) <= 100
        seen += [one.id for one in page]
    assert seen == [f"t{number:03}" for number in reversed(range(130))]
    assert [one.id for one in rig.transfers.page(ALICE, limit=2)] == ["t129", "t128"]
    assert rig.transfers.page(ALICE, after="t999") == []


def test_one_of_many_racing_writers_of_a_transfer_wins(rig: Rig) -> None:
    row = T1
    for _ in range(5):
        results = race(
            [lambda n=n, r=row: rig.transfers.put(ALICE, replace(r, doc_json=bytes([n]))) for n in range(8)]
        )
        winners = [one for one in results if isinstance(one, Transfer)]
        assert winners == [rig.transfers.get(ALICE, "t1")]
        row = winners[0]


def test_a_lost_acknowledgement_of_a_transfer_is_a_conflict_that_reading_mends(rig: Rig) -> None:
    with pytest.raises(ConflictError):
        twice(rig.transfers, "put", ALICE, T1)
    kept = rig.transfers.get(ALICE, "t1")
    assert kept is not None and kept.doc_json == T1.doc_json


# ---- batches ---------------------------------------------------------------------------------
def test_batches_are_added_once_and_counted_once(rig: Rig) -> None:
    rig.transfers.add(ALICE, "t1", [*batches(3), *batches(2, "big", 3)])
    rig.transfers.add(ALICE, "t1", [replace(one, plan_json=b"other", group="x") for one in batches(7)])
    assert rig.transfers.tally(ALICE, "t1") == Tally(batches=7)
    assert rig.transfers.tally(ALICE, "t1", "") == Tally(batches=3)
    assert rig.transfers.tally(ALICE, "t1", "big") == Tally(batches=2)
    assert rig.transfers.tally(ALICE, "t1", "x") == Tally(batches=2)
    assert rig.transfers.batch(ALICE, "t1", 0) == Batch(0, "", b"plan 0")
    assert rig.transfers.batch(ALICE, "t1", 5) == Batch(5, "x", b"other")
    assert rig.transfers.batch(ALICE, "t1", 7) is None
    rig.transfers.add(ALICE, "t1", [])


def test_of_batches_planned_again_only_those_are_added_that_are_new(rig: Rig) -> None:
    rig.transfers.add(ALICE, "t1", batches(2, "g", 3))
    rig.transfers.lease(ALICE, "t1", 3, "w", 0, 10)
    rig.transfers.finish(ALICE, "t1", 3, "w", Tally(), {})
    rig.transfers.add(ALICE, "t1", [*batches(8, "g"), *batches(8, "other")])
    assert [one.number for one in rig.transfers.undone(ALICE, "t1")] == [0, 1, 2, 4, 5, 6, 7]
    assert rig.transfers.tally(ALICE, "t1") == Tally(batches=8, done=1)
    assert rig.transfers.tally(ALICE, "t1", "g") == Tally(batches=8, done=1)
    assert rig.transfers.tally(ALICE, "t1", "other") == Tally()


def test_a_new_batch_is_undone_and_free_whatever_was_given(rig: Rig) -> None:
    rig.transfers.add(ALICE, "t1", [Batch(0, "g", b"p", True, "someone", 1e9, 5, b"kept")])
    assert rig.transfers.batch(ALICE, "t1", 0) == Batch(0, "g", b"p", progress_json=b"kept")


def test_undone_batches_go_by_number_page_by_page(rig: Rig) -> None:
    rig.transfers.add(ALICE, "t1", list(reversed(batches(130))))
    for number in (0, 100, 129):
        rig.transfers.lease(ALICE, "t1", number, "w", 0, 10)
        rig.transfers.finish(ALICE, "t1", number, "w", Tally(), {})
    seen: list[int] = []
    while page := rig.transfers.undone(ALICE, "t1", seen[-1] if seen else -1):
        assert len(page) <= 100
        seen += [one.number for one in page]
    assert seen == [number for number in range(130) if number not in (0, 100, 129)]
    assert [one.number for one in rig.transfers.undone(ALICE, "t1", after=98, limit=2)] == [99, 101]


def test_transfers_and_agents_never_meet(rig: Rig) -> None:
    for agent, transfer, count in ((ALICE, "t1", 2), (ALICE, "t2", 3), (BOB, "t1", 4)):
        rig.transfers.add(agent, transfer, batches(count))
    assert rig.transfers.lease(ALICE, "t1", 0, "w", 0, 10) is not None
    assert rig.transfers.finish(ALICE, "t1", 0, "w", Tally(bytes=5), {})
    assert rig.transfers.lease(BOB, "t1", 0, "v", 0, 10) is not None
    assert rig.transfers.tally(ALICE, "t2") == Tally(batches=3)
    assert rig.transfers.tally(BOB, "t1") == Tally(batches=4)
    assert len(rig.transfers.undone(BOB, "t1")) == 4
    with pytest.raises(LeaseLostError):
        rig.transfers.save(ALICE, "t2", 0, "w", b"", 20)


# ---- leases ----------------------------------------------------------------------------------
def test_a_lease_keeps_others_out_until_it_expires(rig: Rig) -> None:
    rig.transfers.add(ALICE, "t1", batches(1))
    taken = rig.transfers.lease(ALICE, "t1", 0, "w", now=100, ttl=30)
    assert taken == Batch(0, "", b"plan 0", False, "w", 130, 1)
    assert rig.transfers.lease(ALICE, "t1", 0, "v", now=129.9, ttl=30) is None
    assert rig.transfers.batch(ALICE, "t1", 0) == taken
    again = rig.transfers.lease(ALICE, "t1", 0, "w", now=110, ttl=30)
    assert again is not None and (again.attempts, again.lease_until) == (2, 140)
    other = rig.transfers.lease(ALICE, "t1", 0, "v", now=140, ttl=30)
    assert other is not None and (other.lease, other.attempts) == ("v", 3)
    with pytest.raises(AbsentError):
        rig.transfers.lease(ALICE, "t1", 1, "w", 0, 10)
    with pytest.raises(AbsentError):
        rig.transfers.lease(ALICE, "nothing", 0, "w", 0, 10)


def test_progress_is_kept_for_the_next_holder(rig: Rig) -> None:
    rig.transfers.add(ALICE, "t1", batches(1))
    rig.transfers.lease(ALICE, "t1", 0, "w", 0, 10)
    rig.transfers.save(ALICE, "t1", 0, "w", b"half", until=50)
    assert rig.transfers.lease(ALICE, "t1", 0, "v", now=49, ttl=10) is None
    taken = rig.transfers.lease(ALICE, "t1", 0, "v", now=50, ttl=10)
    assert taken is not None and taken.progress_json == b"half"
    with pytest.raises(LeaseLostError):
        rig.transfers.save(ALICE, "t1", 0, "w", b"late", until=99)
    assert rig.transfers.batch(ALICE, "t1", 0) == taken


def test_an_expired_lease_that_nobody_took_is_still_held(rig: Rig) -> None:
    rig.transfers.add(ALICE, "t1", batches(1))
    rig.transfers.lease(ALICE, "t1", 0, "w", 0, 10)
    rig.transfers.save(ALICE, "t1", 0, "w", b"late but alone", until=500)
    assert rig.transfers.finish(ALICE, "t1", 0, "w", Tally(), {})


def test_only_the_holder_gives_a_lease_back(rig: Rig) -> None:
    rig.transfers.add(ALICE, "t1", batches(1))
    rig.transfers.lease(ALICE, "t1", 0, "w", 0, 100)
    rig.transfers.release(ALICE, "t1", 0, "v")
    assert rig.transfers.lease(ALICE, "t1", 0, "v", 1, 10) is None
    rig.transfers.release(ALICE, "t1", 0, "w")
    rig.transfers.release(ALICE, "t1", 0, "w")
    rig.transfers.release(ALICE, "t1", 77, "w")
    with pytest.raises(LeaseLostError):
        rig.transfers.save(ALICE, "t1", 0, "w", b"", 200)
    with pytest.raises(LeaseLostError):
        rig.transfers.finish(ALICE, "t1", 0, "w", Tally(), {})
    assert rig.transfers.lease(ALICE, "t1", 0, "v", 1, 10) is not None


def test_one_of_many_racing_workers_gets_the_lease(rig: Rig) -> None:
    rig.transfers.add(ALICE, "t1", batches(5))
    for number in range(5):
        results = race(
            [lambda n=n, b=number: rig.transfers.lease(ALICE, "t1", b, f"w{n}", 0, 10) for n in range(8)]
        )
        winners = [one for one in results if one is not None]
        assert winners == [rig.transfers.batch(ALICE, "t1", number)]


# ---- finishing and counting ------------------------------------------------------------------
DELTA = Tally(files=2, pieces=3, bytes=40, held_bytes=5, failed=1, wasted_bytes=7)


def test_finishing_counts_for_the_transfer_the_group_and_the_others(rig: Rig) -> None:
    rig.transfers.add(ALICE, "t1", [*batches(1, "g"), *batches(1, "", 1)])
    for number in (0, 1):
        rig.transfers.lease(ALICE, "t1", number, "w", 0, 10)
    others = {"from:x": Tally(bytes=30), "from:y": Tally(bytes=10, failed=2)}
    assert rig.transfers.finish(ALICE, "t1", 0, "w", DELTA, others)
    assert rig.transfers.finish(ALICE, "t1", 1, "w", replace(DELTA, done=1), {"from:x": Tally(bytes=1)})
    assert rig.transfers.tally(ALICE, "t1") == Tally(2, 2, 4, 6, 80, 10, 2, 14)
    assert rig.transfers.tally(ALICE, "t1", "g") == replace(DELTA, batches=1, done=1)
    assert rig.transfers.tally(ALICE, "t1", "") == replace(DELTA, batches=1, done=1)
    assert rig.transfers.tally(ALICE, "t1", "from:x") == Tally(bytes=31)
    assert rig.transfers.tally(ALICE, "t1", "from:y") == Tally(bytes=10, failed=2)
    assert rig.transfers.tally(ALICE, "t1", "nothing") == Tally()
    assert rig.transfers.tally(ALICE, "nothing") == Tally()
    assert rig.transfers.undone(ALICE, "t1") == []


def test_a_group_may_have_any_name_without_meeting_the_whole(rig: Rig) -> None:
    names = ["", "all", "group:", "group:all", "from:x", "é", "a/b"]
    for number, name in enumerate(names):
        rig.transfers.add(ALICE, "t1", [Batch(number, name, b"")])
    assert [rig.transfers.tally(ALICE, "t1", name).batches for name in names] == [1] * len(names)
    assert rig.transfers.tally(ALICE, "t1").batches == len(names)


def test_a_finished_batch_is_never_done_or_held_again(rig: Rig) -> None:
    rig.transfers.add(ALICE, "t1", batches(1))
    rig.transfers.lease(ALICE, "t1", 0, "w", 0, 10)
    rig.transfers.save(ALICE, "t1", 0, "w", b"all", 20)
    assert rig.transfers.finish(ALICE, "t1", 0, "w", DELTA, {"from:x": DELTA})
    for holder in ("w", "v"):
        assert not rig.transfers.finish(ALICE, "t1", 0, holder, DELTA, {"from:x": DELTA})
        assert rig.transfers.lease(ALICE, "t1", 0, holder, 1000, 10) is None
        with pytest.raises(LeaseLostError):
            rig.transfers.save(ALICE, "t1", 0, holder, b"", 2000)
    rig.transfers.release(ALICE, "t1", 0, "w")
    assert rig.transfers.batch(ALICE, "t1", 0) == Batch(0, "", b"plan 0", True, "", 0, 1, b"all")
    assert rig.transfers.tally(ALICE, "t1") == replace(DELTA, batches=1, done=1)
    assert rig.transfers.tally(ALICE, "t1", "from:x") == DELTA


def test_who_does_not_hold_a_batch_cannot_finish_it(rig: Rig) -> None:
    rig.transfers.add(ALICE, "t1", batches(1))
    for number in (0, 5):
        with pytest.raises(LeaseLostError):
            rig.transfers.finish(ALICE, "t1", number, "w", DELTA, {"from:x": DELTA})
    rig.transfers.lease(ALICE, "t1", 0, "w", 0, 10)
    rig.transfers.lease(ALICE, "t1", 0, "v", 20, 10)
    with pytest.raises(LeaseLostError):
        rig.transfers.finish(ALICE, "t1", 0, "w", DELTA, {})
    assert rig.transfers.tally(ALICE, "t1") == Tally(batches=1)
    assert rig.transfers.tally(ALICE, "t1", "from:x") == Tally()


def test_racing_finishes_count_once(rig: Rig) -> None:
    rig.transfers.add(ALICE, "t1", batches(4, "g"))
    for number in range(4):
        rig.transfers.lease(ALICE, "t1", number, "w", 0, 10)
    finish = [
        lambda n=n: rig.transfers.finish(ALICE, "t1", n % 4, "w", Tally(bytes=9), {}) for n in range(12)
    ]
    assert sum(race(finish)) == 4
    assert rig.transfers.tally(ALICE, "t1") == Tally(batches=4, done=4, bytes=36)
    assert rig.transfers.tally(ALICE, "t1", "g") == Tally(batches=4, done=4, bytes=36)


def test_workers_that_race_for_everything_finish_everything_once(rig: Rig) -> None:
    rig.transfers.add(ALICE, "t1", batches(40))

    def work(name: str) -> int:
        done = 0
        while found := rig.transfers.undone(ALICE, "t1", limit=40):
            for one in found:
                if rig.transfers.lease(ALICE, "t1", one.number, name, 0, 10) is not None:
                    done += rig.transfers.finish(ALICE, "t1", one.number, name, Tally(bytes=1), {})
        return done

    assert sum(race([lambda n=n: work(f"w{n}") for n in range(4)])) == 40
    assert rig.transfers.tally(ALICE, "t1") == Tally(batches=40, done=40, bytes=40)


def test_lost_acknowledgements_of_work_are_harmless(rig: Rig) -> None:
    twice(rig.transfers, "add", ALICE, "t1", batches(3, "g"))
    assert rig.transfers.tally(ALICE, "t1", "g") == Tally(batches=3)
    taken = twice(rig.transfers, "lease", ALICE, "t1", 0, "w", 0, 10)
    assert taken is not None and taken.lease == "w"
    twice(rig.transfers, "save", ALICE, "t1", 0, "w", b"p", 20)
    assert (
        twice(rig.transfers, "finish", ALICE, "t1", 0, "w", Tally(bytes=9), {"from:x": Tally(bytes=9)})
        is False
    )
    assert rig.transfers.tally(ALICE, "t1") == Tally(batches=3, done=1, bytes=9)
    assert rig.transfers.tally(ALICE, "t1", "from:x") == Tally(bytes=9)
    rig.transfers.lease(ALICE, "t1", 1, "w", 0, 10)
    twice(rig.transfers, "release", ALICE, "t1", 1, "w")
    lossy = Lossy(rig.transfers)
    lossy.lose("lease")
    with pytest.raises(UnavailableError):
        lossy.lease(ALICE, "t1", 1, "w", 0, 10)
    assert rig.transfers.lease(ALICE, "t1", 1, "v", 5, 10) is None
