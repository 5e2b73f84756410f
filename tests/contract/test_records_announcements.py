"""The promises of the Announcements port, for every driver."""

from __future__ import annotations

from dataclasses import replace

from skyswarm.ports.records import AnnounceRow
from tests.support.lossy import twice
from tests.support.racing import race
from tests.support.record_rigs import ALICE, BOB, Rig

BASE = AnnounceRow("issuer", 0, 10, 1000, ("look-1", "look-2"), b"envelope")


def test_what_is_put_is_found_as_it_was(rig: Rig) -> None:
    assert rig.announcements.put(ALICE, BASE)
    assert rig.announcements.find(ALICE, "look-2", now=999) == [BASE]
    assert rig.announcements.of(ALICE, "issuer", now=999) == [BASE]
    assert rig.announcements.find(ALICE, "look-3", now=0) == []
    assert rig.announcements.of(ALICE, "nobody", now=0) == []


def test_only_a_greater_serial_replaces(rig: Rig) -> None:
    rig.announcements.put(ALICE, BASE)
    for serial in (10, 9):
        assert not rig.announcements.put(
            ALICE, replace(BASE, serial=serial, lookups=("other",), envelope=b"old")
        )
    assert rig.announcements.of(ALICE, "issuer", now=0) == [BASE]
    assert rig.announcements.find(ALICE, "other", now=0) == []
    newer = replace(BASE, serial=11, lookups=("look-2", "look-9"), envelope=b"new")
    assert rig.announcements.put(ALICE, newer)
    assert rig.announcements.find(ALICE, "look-1", now=0) == []
    assert rig.announcements.find(ALICE, "look-2", now=0) == [newer]
    assert rig.announcements.find(ALICE, "look-9", now=0) == [newer]


def test_parts_of_one_issuer_stand_side_by_side(rig: Rig) -> None:
    parts = [replace(BASE, part=part, lookups=(f"p{part}",)) for part in (2, 0, 1)]
    assert all(rig.announcements.put(ALICE, one) for one in parts)
    assert [one.part for one in rig.announcements.of(ALICE, "issuer", now=0)] == [0, 1, 2]


def test_an_announcement_may_name_nothing_or_one_share_twice(rig: Rig) -> None:
    assert rig.announcements.put(ALICE, replace(BASE, lookups=()))
    doubled = replace(BASE, serial=11, lookups=("twice", "twice"))
    assert rig.announcements.put(ALICE, doubled)
    assert rig.announcements.find(ALICE, "twice", now=0) == [doubled]
    assert rig.announcements.put(ALICE, replace(BASE, serial=12, lookups=()))
    assert rig.announcements.find(ALICE, "twice", now=0) == []


def test_expiry_is_decided_by_now_alone(rig: Rig) -> None:
    rig.announcements.put(ALICE, BASE)
    for now, seen in ((999, 1), (999.9, 1), (1000, 0), (5000, 0), (3, 1)):
        assert len(rig.announcements.find(ALICE, "look-1", now)) == seen
        assert len(rig.announcements.of(ALICE, "issuer", now)) == seen


def test_the_freshest_are_found_first_and_no_more_than_asked_for(rig: Rig) -> None:
    for number in range(70):
        rig.announcements.put(ALICE, AnnounceRow(f"i{number}", 0, number, 1000 + number, ("hot",), b"e"))
    assert [one.serial for one in rig.announcements.find(ALICE, "hot", now=0, limit=3)] == [69, 68, 67]
    assert len(rig.announcements.find(ALICE, "hot", now=0)) == 50
    # The expired ones do not take the places of the living.
    assert [one.serial for one in rig.announcements.find(ALICE, "hot", now=1067, limit=5)] == [69, 68]


def test_the_broom_takes_the_expired_and_nothing_else(rig: Rig) -> None:
    for number in range(6):
        rig.announcements.put(ALICE, AnnounceRow(f"i{number}", 0, 1, 100 + number, ("hot",), b"e"))
    rig.announcements.put(BOB, BASE)
    assert rig.announcements.sweep(ALICE, now=103) == 4
    assert rig.announcements.sweep(ALICE, now=103) == 0
    assert sorted(one.issuer for one in rig.announcements.find(ALICE, "hot", now=0)) == ["i4", "i5"]
    assert rig.announcements.put(ALICE, AnnounceRow("i0", 0, 2, 900, ("hot",), b"back"))
    assert len(rig.announcements.find(ALICE, "hot", now=0)) == 3
    assert rig.announcements.of(BOB, "issuer", now=0) == [BASE]


def test_the_broom_knows_a_renewal_from_what_it_renews(rig: Rig) -> None:
    for expires in (100, 500):
        assert rig.announcements.put(ALICE, replace(BASE, serial=expires, expires=expires))
    for now in (200, 300):
        assert rig.announcements.sweep(ALICE, now) == 0
    assert len(rig.announcements.find(ALICE, "look-1", now=300)) == 1
    assert rig.announcements.put(ALICE, replace(BASE, serial=600, expires=400))
    assert rig.announcements.sweep(ALICE, now=399) == 0
    assert rig.announcements.sweep(ALICE, now=400) == 1
    assert rig.announcements.of(ALICE, "issuer", now=0) == []


def test_agents_never_meet(rig: Rig) -> None:
    rig.announcements.put(ALICE, BASE)
    assert rig.announcements.find(BOB, "look-1", now=0) == []
    assert rig.announcements.put(BOB, replace(BASE, serial=1))
    assert rig.announcements.find(ALICE, "look-1", now=0) == [BASE]


def test_one_of_many_racing_equals_wins_and_the_greatest_stays(rig: Rig) -> None:
    same = race(
        [lambda n=n: rig.announcements.put(ALICE, replace(BASE, envelope=bytes([n]))) for n in range(8)]
    )
    assert sum(same) == 1
    race([lambda n=n: rig.announcements.put(ALICE, replace(BASE, serial=20 + n)) for n in range(8)])
    assert [one.serial for one in rig.announcements.find(ALICE, "look-1", now=0)] == [27]


def test_a_lost_acknowledgement_is_harmless(rig: Rig) -> None:
    assert twice(rig.announcements, "put", ALICE, BASE) is False
    assert rig.announcements.of(ALICE, "issuer", now=0) == [BASE]
    assert twice(rig.announcements, "sweep", ALICE, 2000) == 0
