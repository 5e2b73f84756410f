"""Choosing a source by speed and bytes in flight; rests after failures."""

from __future__ import annotations

from collections import Counter

from skyswarm.usecases.pace import Pace

ME, A, B = "me", "a", "b"
MIB = 1 << 20


def failed(pace: Pace, source: str, now: float) -> None:
    pace.failed(ME, source, 0, now, 2.0, 30.0, "why")


def test_pieces_are_spread_by_what_is_in_flight() -> None:
    pace = Pace()
    assert Counter(pace.choose(ME, [A, B], MIB, 0.0) for _ in range(10)) == {A: 5, B: 5}


def test_the_faster_source_gets_more() -> None:
    pace = Pace()
    for _ in range(50):
        pace.landed(ME, A, 3 * MIB, 0.1)
        pace.landed(ME, B, MIB, 0.1)
    chosen = Counter(pace.choose(ME, [A, B], MIB, 0.0) for _ in range(100))
    assert 70 <= chosen[A] <= 80


def test_what_landed_is_no_longer_in_flight() -> None:
    pace = Pace()
    for _ in range(5):
        assert pace.choose(ME, [A, B], MIB, 0.0) == A
        pace.landed(ME, A, MIB, 0)
        assert pace.choose(ME, [A, B], MIB, 0.0) == A
        pace.let_go(ME, A, MIB)


def test_a_source_rests_twice_as_long_each_time_up_to_a_bound() -> None:
    pace = Pace()
    ends = []
    for _ in range(7):
        failed(pace, A, 100.0)
        ends.append(pace.awake_at(ME, [A]) - 100.0)
    assert ends == [2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    pace.choose(ME, [A], MIB, 150.0)
    pace.let_go(ME, A, MIB)
    failed(pace, A, 160.0)
    assert pace.awake_at(ME, [A]) == 190.0, "what came to nothing is no reason to trust it again"
    pace.landed(ME, A, MIB, 1.0)
    failed(pace, A, 200.0)
    assert pace.awake_at(ME, [A]) == 202.0


def test_who_rests_is_not_chosen_until_it_is_awake() -> None:
    pace = Pace()
    failed(pace, A, 100.0)
    assert {pace.choose(ME, [A, B], MIB, 101.0) for _ in range(4)} == {B}
    assert pace.choose(ME, [A], MIB, 101.9) is None
    assert pace.choose(ME, [A], MIB, 102.0) == A
    failed(pace, B, 100.0)
    assert pace.awake_at(ME, [A, B]) == 102.0
    assert pace.why(ME, A) == "why"


def test_one_agents_failures_are_not_anothers() -> None:
    pace = Pace()
    failed(pace, A, 100.0)
    assert pace.choose("another", [A], MIB, 101.0) == A


def test_nobody_to_choose_from() -> None:
    assert Pace().choose(ME, [], MIB, 0.0) is None
    assert Pace().awake_at(ME, []) == 0.0


def test_it_forgets_rather_than_grow() -> None:
    pace = Pace()
    for n in range(10_000):
        pace.choose(ME, [f"s{n}"], 1, 0.0)
    assert len(pace._seen) <= 4097
