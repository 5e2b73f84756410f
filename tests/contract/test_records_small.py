"""The promises of the Shares, Held, Nonces, Meters and Notes ports, for every driver."""

from __future__ import annotations

from dataclasses import replace

import pytest

from skyswarm.errors import ConflictError, QuotaError, TooLargeError, UnavailableError
from skyswarm.ports.records import (
    AnnounceRow,
    Batch,
    Entry,
    HeldFile,
    Share,
    StatementRow,
    Transfer,
)
from skyswarm.ports.sizes import MAX_KEY, MAX_PROGRESS, MAX_VALUE
from tests.support.lossy import Lossy, twice
from tests.support.racing import race
from tests.support.record_rigs import ALICE, BOB, Rig

SHARE = Share("m1", "Photos – 2024", "home", "p/", 12, 3456, 1.5, 99, (ALICE, BOB), 1, 5000, "received")
HELD = HeldFile("home", "dir/é.txt", "v1", 3, "c1", bytes(range(88)), b'{"md5":"x"}')


# ---- shares ----------------------------------------------------------------------------------
def test_a_share_comes_back_as_it_was_and_is_replaced_whole(rig: Rig) -> None:
    assert rig.shares.get(ALICE, "m1") is None
    rig.shares.put(ALICE, SHARE)
    assert rig.shares.get(ALICE, "m1") == SHARE
    plain = Share("m1", "n", "s", "", 0, 0, 0.0, 0)
    rig.shares.put(ALICE, plain)
    assert rig.shares.get(ALICE, "m1") == plain


def test_shares_go_by_manifest_page_by_page(rig: Rig) -> None:
    names = [f"m{number:03}" for number in range(130)]
    for name in reversed(names):
        rig.shares.put(ALICE, replace(SHARE, manifest=name))
    seen: list[str] = []
    while page := rig.shares.page(ALICE, seen[-1] if seen else ""):
        assert len(page) <= 100
        seen += [one.manifest for one in page]
    assert seen == names
    assert len(rig.shares.page(ALICE, limit=7)) == 7


def test_a_share_is_deleted_once_or_twice(rig: Rig) -> None:
    rig.shares.put(ALICE, SHARE)
    rig.shares.put(BOB, SHARE)
    rig.shares.delete(ALICE, "m1")
    rig.shares.delete(ALICE, "m1")
    assert rig.shares.get(ALICE, "m1") is None
    assert rig.shares.get(BOB, "m1") == SHARE
    assert rig.shares.page(ALICE) == []


def test_a_lost_acknowledgement_of_a_share_is_harmless(rig: Rig) -> None:
    twice(rig.shares, "put", ALICE, SHARE)
    assert rig.shares.page(ALICE) == [SHARE]
    twice(rig.shares, "delete", ALICE, "m1")
    assert rig.shares.page(ALICE) == []


# ---- held ------------------------------------------------------------------------------------
def test_a_held_file_is_known_at_its_version_only(rig: Rig) -> None:
    rig.held.put(ALICE, [HELD])
    assert rig.held.at(ALICE, "home", HELD.key, "v1") == HELD
    assert rig.held.at(ALICE, "home", HELD.key, "v2") is None
    assert rig.held.at(ALICE, "other", HELD.key, "v1") is None
    assert rig.held.at(BOB, "home", HELD.key, "v1") is None


def test_a_held_file_is_found_by_content_until_it_changes(rig: Rig) -> None:
    rig.held.put(ALICE, [HELD, replace(HELD, key="b"), replace(HELD, key="c", content="c2")])
    assert [one.key for one in rig.held.find(ALICE, "c1")] == ["b", HELD.key]
    rig.held.put(ALICE, [replace(HELD, version="v2", content="c2")])
    assert [one.key for one in rig.held.find(ALICE, "c1")] == ["b"]
    assert [one.key for one in rig.held.find(ALICE, "c2")] == ["c", HELD.key]
    assert rig.held.find(BOB, "c1") == []


def test_no_more_held_files_than_asked_for_and_the_last_of_one_key_counts(rig: Rig) -> None:
    rig.held.put(ALICE, [replace(HELD, key=f"k{number:02}") for number in range(30)])
    assert len(rig.held.find(ALICE, "c1")) == 10
    assert len(rig.held.find(ALICE, "c1", limit=25)) == 25
    rig.held.put(ALICE, [replace(HELD, key="one", content="x"), replace(HELD, key="one", content="y")])
    assert rig.held.find(ALICE, "x") == []
    assert len(rig.held.find(ALICE, "y")) == 1
    rig.held.put(ALICE, [])


def test_a_lost_acknowledgement_of_a_held_file_is_harmless(rig: Rig) -> None:
    twice(rig.held, "put", ALICE, [HELD])
    assert rig.held.find(ALICE, "c1") == [HELD]


# ---- nonces ----------------------------------------------------------------------------------
def test_a_nonce_is_good_once_until_it_expires(rig: Rig) -> None:
    assert rig.nonces.use(ALICE, "n", expires=100, now=50)
    for now in (
        50,
        99,
        100,
    ):  # in its last second the request is still accepted, so the nonce must be remembered
        assert not rig.nonces.use(ALICE, "n", expires=100, now=now)
    assert rig.nonces.use(ALICE, "n", expires=200, now=101)
    assert not rig.nonces.use(ALICE, "n", expires=300, now=150)
    assert rig.nonces.use(BOB, "n", expires=100, now=50)
    assert rig.nonces.use(ALICE, "other", expires=100, now=50)


def test_cleaning_never_forgets_a_nonce_that_may_be_replayed(rig: Rig) -> None:
    """Hundreds of uses make every driver clean; one whose clock is minutes behind still finds the old nonce used."""
    assert rig.nonces.use(ALICE, "old", expires=100, now=50)
    for number in range(300):
        assert rig.nonces.use(ALICE, f"n{number}", expires=400, now=340)
    for now in (50, 100):
        assert not rig.nonces.use(ALICE, "old", expires=100, now=now)
    assert not rig.nonces.use(ALICE, "n0", expires=400, now=341)


def test_one_of_many_racing_uses_a_nonce(rig: Rig) -> None:
    for number in range(5):
        assert sum(race([lambda n=number: rig.nonces.use(ALICE, f"n{n}", 100, 50)] * 8)) == 1


def test_a_lost_acknowledgement_of_a_nonce_refuses(rig: Rig) -> None:
    """The asker has to sign anew: refusing a good request is mended, accepting it twice is not."""
    assert twice(rig.nonces, "use", ALICE, "n", 100, 50) is False


# ---- meters ----------------------------------------------------------------------------------
def test_a_meter_adds_up_to_its_limit_and_not_beyond(rig: Rig) -> None:
    assert rig.meters.read(ALICE, "m") == 0
    assert rig.meters.add(ALICE, "m", 7, limit=10) == 7
    with pytest.raises(QuotaError):
        rig.meters.add(ALICE, "m", 4, limit=10)
    assert rig.meters.read(ALICE, "m") == 7
    assert rig.meters.add(ALICE, "m", 3, limit=10) == 10
    assert rig.meters.add(ALICE, "m", 0, limit=10) == 10
    assert rig.meters.add(ALICE, "m", -4, limit=10) == 6
    assert rig.meters.add(ALICE, "m", 2**60, limit=2**62) == 2**60 + 6


def test_meters_of_other_names_and_agents_are_their_own(rig: Rig) -> None:
    rig.meters.add(ALICE, "m", 7, limit=10)
    assert rig.meters.add(ALICE, "m/2", 1, limit=10) == 1
    assert rig.meters.add(BOB, "m", 2, limit=10) == 2
    assert rig.meters.read(ALICE, "m") == 7


def test_a_meter_is_kept_through_its_window_and_a_day_and_without_one_for_ever(rig: Rig) -> None:
    """Hundreds of windows make every driver forget old ones; which is only allowed a day after their end."""
    day = 86_400
    rig.meters.add(ALICE, "for ever", 7, 10)
    rig.meters.add(ALICE, "young", 7, 10, expires=10 * day + 5000)
    rig.meters.add(BOB, "of another", 7, 10, expires=1)
    for number in range(300):
        rig.meters.add(ALICE, f"w{number}", 1, 10, expires=11 * day + number)
    assert rig.meters.read(ALICE, "young") == 7
    assert rig.meters.read(ALICE, "for ever") == 7
    assert rig.meters.read(BOB, "of another") == 7
    assert rig.meters.read(ALICE, "w0") == 1
    with pytest.raises(QuotaError):
        rig.meters.add(ALICE, "young", 4, 10, expires=10 * day + 5000)


def test_racing_additions_are_all_counted_and_none_passes_the_limit(rig: Rig) -> None:
    def add() -> int:
        return sum(1 for _ in range(10) if added(rig))

    def added(rig: Rig) -> bool:
        try:
            return rig.meters.add(ALICE, "m", 3, limit=150) > 0
        except QuotaError:
            return False

    assert sum(race([add] * 8)) == 50
    assert rig.meters.read(ALICE, "m") == 150


def test_a_lost_acknowledgement_of_a_meter_errs_to_the_safe_side(rig: Rig) -> None:
    twice(rig.meters, "add", ALICE, "m", 4, 10)
    assert rig.meters.read(ALICE, "m") == 8
    lossy = Lossy(rig.meters)
    lossy.lose("add")
    with pytest.raises(UnavailableError):
        lossy.add(ALICE, "m", 2, 10)
    with pytest.raises(QuotaError):
        lossy.add(ALICE, "m", 2, 10)
    assert rig.meters.read(ALICE, "m") == 10


# ---- notes -----------------------------------------------------------------------------------
def test_a_note_is_replaced_by_who_read_it_last(rig: Rig) -> None:
    assert rig.notes.get(ALICE, "k") is None
    first = rig.notes.put(ALICE, Entry("k", b"one"))
    assert first.version > 0
    assert rig.notes.get(ALICE, "k") == first
    second = rig.notes.put(ALICE, replace(first, value=b"two"))
    assert second.version != first.version
    for stale in (Entry("k", b"x"), replace(first, value=b"x"), Entry("k", b"x", second.version + 7)):
        with pytest.raises(ConflictError):
            rig.notes.put(ALICE, stale)
    assert rig.notes.get(ALICE, "k") == second == Entry("k", b"two", second.version)


def test_a_note_with_a_version_must_exist(rig: Rig) -> None:
    with pytest.raises(ConflictError):
        rig.notes.put(ALICE, Entry("k", b"x", 3))
    assert rig.notes.get(ALICE, "k") is None


def test_a_note_is_deleted_once_or_twice(rig: Rig) -> None:
    rig.notes.put(ALICE, Entry("k", b"alice"))
    kept = rig.notes.put(BOB, Entry("k", b"bob"))
    rig.notes.delete(ALICE, "k")
    rig.notes.delete(ALICE, "k")
    assert rig.notes.get(ALICE, "k") is None
    assert rig.notes.get(BOB, "k") == kept
    assert rig.notes.put(ALICE, Entry("k", b"again")).value == b"again"


def test_notes_go_by_key_within_their_prefix_page_by_page(rig: Rig) -> None:
    names = [f"repo/{number:03}" for number in range(130)]
    for name in [*names, "repo", "repo.", "repo0", "rep", "z", ""]:
        rig.notes.put(ALICE, Entry(name, name.encode()))
    rig.notes.put(BOB, Entry("repo/bob", b""))
    seen: list[str] = []
    while page := rig.notes.page(ALICE, "repo/", seen[-1] if seen else ""):
        assert len(page) <= 100
        seen += [one.key for one in page]
    assert seen == names
    assert [one.key for one in rig.notes.page(ALICE, "repo/", after="repo/126", limit=2)] == [
        "repo/127",
        "repo/128",
    ]
    assert rig.notes.page(ALICE, "repo/", after="s") == []
    assert len(rig.notes.page(ALICE, "repo/", after="a", limit=500)) == 130


@pytest.mark.parametrize(
    "prefix", ["a", "a\ud7ff", "é", "a\U0010ffff", "\U0010ffff", "a%", "a_", "\U0001f41d"]
)
def test_any_prefix_finds_its_own_and_no_other(rig: Rig, prefix: str) -> None:
    inside = sorted(prefix + end for end in ("", "\x00", "~", "\U0010ffff", "\U0010ffff\U0010ffff", "b"))
    outside = {"", "A", "b", "aé", "ax", "a\ue000", "~", "\U0010fffe", prefix[:-1] + chr(ord(prefix[-1]) - 1)}
    for key in {*inside, *(one for one in outside if not one.startswith(prefix))}:
        rig.notes.put(ALICE, Entry(key, b""))
    assert [one.key for one in rig.notes.page(ALICE, prefix)] == inside


def test_one_of_many_racing_writers_of_a_note_wins(rig: Rig) -> None:
    version = 0
    for _ in range(5):
        results = race(
            [lambda n=n, v=version: rig.notes.put(ALICE, Entry("k", bytes([n]), v)) for n in range(8)]
        )
        winners = [one for one in results if isinstance(one, Entry)]
        assert [rig.notes.get(ALICE, "k")] == winners
        version = winners[0].version


def test_a_lost_acknowledgement_of_a_note_is_a_conflict_that_reading_mends(rig: Rig) -> None:
    with pytest.raises(ConflictError):
        twice(rig.notes, "put", ALICE, Entry("k", b"one"))
    kept = rig.notes.get(ALICE, "k")
    assert kept is not None and kept.value == b"one"
    twice(rig.notes, "delete", ALICE, "k")
    assert rig.notes.get(ALICE, "k") is None


# ---- sizes -----------------------------------------------------------------------------------
def test_what_some_store_could_not_hold_is_refused_by_all(rig: Rig) -> None:
    big = bytes(MAX_VALUE + 1)
    long = StatementRow("x", "i", 0, "vouch", big, 1.5)
    short = replace(long, id="short", envelope=b"e")
    for write in (
        lambda: rig.notes.put(ALICE, Entry("k", big)),
        lambda: rig.notes.put(ALICE, Entry("é" * (MAX_KEY // 2) + "x", b"")),
        lambda: rig.transfers.put(ALICE, Transfer("t", "moving", 1.5, big)),
        lambda: rig.transfers.add(ALICE, "t", [Batch(0, "", b""), Batch(1, "", big)]),
        lambda: rig.transfers.add(ALICE, "t", [Batch(0, "", b"", progress_json=bytes(MAX_PROGRESS + 1))]),
        lambda: rig.statements.append(ALICE, [short, long]),
        lambda: rig.statements.extend(ALICE, long),
        lambda: rig.announcements.put(ALICE, AnnounceRow("i", 0, 1, 99, (), big)),
    ):
        with pytest.raises(TooLargeError):
            write()
    assert rig.notes.page(ALICE, "") == rig.transfers.page(ALICE) == rig.transfers.undone(ALICE, "t") == []
    assert rig.statements.count(ALICE) == 0
    assert rig.announcements.of(ALICE, "i", 0) == []


def test_progress_is_kept_up_to_its_most(rig: Rig) -> None:
    rig.transfers.add(ALICE, "t", [Batch(0, "", bytes(MAX_VALUE))])
    rig.transfers.lease(ALICE, "t", 0, "w", 0, 10)
    rig.transfers.save(ALICE, "t", 0, "w", bytes(MAX_PROGRESS), 20)
    with pytest.raises(TooLargeError):
        rig.transfers.save(ALICE, "t", 0, "w", bytes(MAX_PROGRESS + 1), 20)
    kept = rig.transfers.batch(ALICE, "t", 0)
    assert kept is not None and len(kept.progress_json) == MAX_PROGRESS


def test_a_note_of_a_name_that_cannot_be_is_not_there(rig: Rig) -> None:
    assert rig.notes.put(ALICE, Entry("k" * MAX_KEY, b"v")).version == 1
    assert rig.notes.get(ALICE, "k" * 5000) is None
    rig.notes.delete(ALICE, "k" * 5000)
    assert rig.notes.page(ALICE, "k" * 5000) == []
    assert [one.key for one in rig.notes.page(ALICE, "k", after="j" * 5000)] == ["k" * MAX_KEY]


def test_a_file_of_ten_thousand_pieces_is_held(rig: Rig) -> None:
    huge = replace(HELD, pieces=bytes(range(250)) * 1760)
    assert len(huge.pieces) == 44 * 10_000
    rig.held.put(ALICE, [huge, HELD, huge])
    assert rig.held.at(ALICE, "home", HELD.key, "v1") == huge
    assert rig.held.find(ALICE, "c1") == [huge]
