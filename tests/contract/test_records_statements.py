"""The promises of the Statements port, for every driver."""

from __future__ import annotations

import threading
from dataclasses import replace
from functools import partial

import pytest

from skyswarm.errors import ConflictError
from skyswarm.ports.records import StatementRow
from tests.support.lossy import twice
from tests.support.racing import race
from tests.support.record_rigs import ALICE, BOB, Rig


def row(key: str, issuer: str = "i", seq: int = 0, kind: str = "vouch") -> StatementRow:
    return StatementRow(key, issuer, seq, kind, f"envelope of {key}".encode(), 12.5)


def test_positions_are_contiguous_from_zero(rig: Rig) -> None:
    assert rig.statements.count(ALICE) == 0
    assert rig.statements.append(ALICE, [row("x", seq=0), row("y", seq=1)]) == [0, 1]
    assert rig.statements.extend(ALICE, row("z", seq=2)) == 2
    assert rig.statements.count(ALICE) == 3
    kept = rig.statements.after(ALICE, 0, 10)
    assert [(one.id, one.position) for one in kept] == [("x", 0), ("y", 1), ("z", 2)]
    assert kept[0] == StatementRow("x", "i", 0, "vouch", b"envelope of x", 12.5, 0)


def test_a_known_statement_keeps_its_first_position(rig: Rig) -> None:
    rig.statements.append(ALICE, [row("x", seq=0), row("y", seq=1)])
    assert rig.statements.append(ALICE, [row("y", seq=1), row("z", seq=2), row("z", seq=2), row("x")]) == [
        1,
        2,
        2,
        0,
    ]
    assert rig.statements.count(ALICE) == 3


def test_two_envelopes_of_one_statement_are_both_kept(rig: Rig) -> None:
    forged, true = replace(row("x", seq=0), envelope=b"worthless"), row("x", seq=0)
    assert rig.statements.append(ALICE, [forged]) == [0]
    assert rig.statements.append(ALICE, [true, forged, true]) == [1, 0, 1]
    assert [one.envelope for one in rig.statements.of(ALICE, "i")] == [b"worthless", true.envelope]
    assert rig.statements.extend(ALICE, true) == 1


def test_once_takes_no_second_envelope_of_an_id(rig: Rig) -> None:
    first, second = row("x", seq=0), replace(row("x", seq=0), envelope=b"other signatures")
    assert rig.statements.append(ALICE, [row("w"), first, second], once=True) == [0, 1, 1]
    assert rig.statements.append(ALICE, [second, row("y", seq=1), row("y", seq=1)], once=True) == [1, 2, 2]
    assert rig.statements.append(BOB, [second], once=True) == [0], "of another agent"
    assert rig.statements.append(ALICE, [second]) == [3]
    assert rig.statements.append(ALICE, [second], once=True) == [1]
    envelopes = [replace(row("z", seq=2), envelope=b"%d" % number) for number in range(8)]
    calls = [partial(rig.statements.append, ALICE, [one], once=True) for one in envelopes]
    assert race(calls) == [[4]] * 8 and rig.statements.count(ALICE) == 5


def test_a_worthless_copy_keeps_no_statement_out_of_our_own_chain(rig: Rig) -> None:
    forged, true = replace(row("x", seq=0), envelope=b"worthless"), row("x", seq=0)
    rig.statements.append(ALICE, [forged])
    assert rig.statements.extend(ALICE, true) == 1
    assert rig.statements.extend(ALICE, true) == 1
    assert [one.envelope for one in rig.statements.of(ALICE, "i")] == [b"worthless", true.envelope]
    with pytest.raises(ConflictError):
        rig.statements.extend(ALICE, row("y", seq=0))


def test_appending_nothing_changes_nothing(rig: Rig) -> None:
    assert rig.statements.append(ALICE, []) == []
    assert rig.statements.count(ALICE) == 0


def test_both_halves_of_an_equivocation_are_kept(rig: Rig) -> None:
    rig.statements.append(ALICE, [row("one", seq=4), row("other", seq=4), row("later", seq=5)])
    assert [one.id for one in rig.statements.of(ALICE, "i")] == ["one", "other", "later"]


def test_an_own_chain_takes_one_statement_per_sequence_number(rig: Rig) -> None:
    assert rig.statements.extend(ALICE, row("mine", seq=7)) == 0
    with pytest.raises(ConflictError):
        rig.statements.extend(ALICE, row("other", seq=7))
    assert [one.id for one in rig.statements.after(ALICE, 0, 10)] == ["mine"]
    assert rig.statements.extend(ALICE, row("of another issuer", issuer="j", seq=7)) == 1


def test_extend_sees_what_append_brought(rig: Rig) -> None:
    rig.statements.append(ALICE, [row("brought", seq=3)])
    with pytest.raises(ConflictError):
        rig.statements.extend(ALICE, row("mine", seq=3))
    assert rig.statements.extend(ALICE, row("brought", seq=3)) == 0


def test_extend_goes_beside_exactly_those_that_are_known_to_be_void(rig: Rig) -> None:
    rig.statements.append(ALICE, [row("one", seq=3), row("other", seq=3), row("else", issuer="j", seq=3)])
    for wrong in [(), ("one",), ("one", "other", "third"), ("one", "else")]:
        with pytest.raises(ConflictError):
            rig.statements.extend(ALICE, row("mine", seq=3), wrong)
    assert rig.statements.extend(ALICE, row("mine", seq=3), ("other", "one")) == 3
    assert twice(rig.statements, "extend", ALICE, row("mine", seq=3), ("other", "one")) == 3
    with pytest.raises(ConflictError):
        rig.statements.extend(ALICE, row("late", seq=3), ("one", "other"))
    with pytest.raises(ConflictError):  # what was void must still be there
        rig.statements.extend(ALICE, row("next", seq=4), ("gone",))
    assert rig.statements.extend(ALICE, row("next", seq=4)) == 4


def test_one_of_many_racing_processes_extends_beside_what_is_void(rig: Rig) -> None:
    for seq in range(5):
        rig.statements.append(ALICE, [row(f"a{seq}", seq=seq), row(f"b{seq}", seq=seq)])
        void = (f"a{seq}", f"b{seq}")
        mine = [row(f"{seq}.{number}", seq=seq) for number in range(8)]
        results = race([partial(rig.statements.extend, ALICE, one, void) for one in mine])
        assert [one for one in results if not isinstance(one, ConflictError)] == [3 * seq + 2]
    assert rig.statements.count(ALICE) == 15


def test_after_goes_on_page_by_page(rig: Rig) -> None:
    rig.statements.append(ALICE, [row(f"s{number:04}", seq=number) for number in range(130)])
    seen: list[str] = []
    while page := rig.statements.after(ALICE, len(seen), 100):
        assert len(page) <= 100
        seen += [one.id for one in page]
    assert seen == [f"s{number:04}" for number in range(130)]
    assert rig.statements.after(ALICE, 130, 100) == []


def test_of_goes_by_sequence_then_position(rig: Rig) -> None:
    order = [5, 2, 9, 2, 0]
    rig.statements.append(ALICE, [row(f"n{place}", seq=seq) for place, seq in enumerate(order)])
    rig.statements.append(ALICE, [row("stranger", issuer="j", seq=2)])
    assert [one.id for one in rig.statements.of(ALICE, "i")] == ["n4", "n1", "n3", "n0", "n2"]
    assert [one.id for one in rig.statements.of(ALICE, "i", seq=2, limit=3)] == ["n1", "n3", "n0"]
    assert rig.statements.of(ALICE, "nobody") == []


def test_what_came_of_one_issuer_since_a_position(rig: Rig) -> None:
    rig.statements.append(
        ALICE, [row("x", seq=5), row("other", issuer="j"), row("y", seq=1), row("z", seq=3)]
    )
    rig.statements.append(BOB, [row("w", seq=0)])
    assert [(one.id, one.position) for one in rig.statements.since(ALICE, "i", 0)] == [
        ("x", 0),
        ("y", 2),
        ("z", 3),
    ]
    assert [one.id for one in rig.statements.since(ALICE, "i", 1, 1)] == ["y"]
    assert [one.id for one in rig.statements.since(ALICE, "i", 3)] == ["z"]
    assert rig.statements.since(ALICE, "i", 4) == rig.statements.since(ALICE, "nobody", 0) == []


def test_the_newest_key_event_is_the_one_with_the_greatest_number(rig: Rig) -> None:
    assert rig.statements.key_event(ALICE, "i") is None
    rows = [row("r", seq=3, kind="rotate"), row("v", seq=9), row("b", seq=0, kind="inception")]
    rig.statements.append(ALICE, [*rows, row("t", issuer="j", seq=4, kind="retire")])
    newest = rig.statements.key_event(ALICE, "i")
    assert newest is not None and (newest.id, newest.position) == ("r", 0)
    rig.statements.append(ALICE, [row("twin", seq=3, kind="retire")])
    newest = rig.statements.key_event(ALICE, "i")
    assert newest is not None and newest.id == "twin"
    assert rig.statements.key_event(BOB, "i") is None


def test_agents_never_meet(rig: Rig) -> None:
    rig.statements.append(ALICE, [row("x", seq=0)])
    assert rig.statements.count(BOB) == 0
    assert rig.statements.extend(BOB, row("another", seq=0)) == 0
    assert rig.statements.append(BOB, [row("x", seq=0)]) == [1]
    assert [one.id for one in rig.statements.of(ALICE, "i")] == ["x"]


def test_one_of_many_racing_processes_extends(rig: Rig) -> None:
    for seq in range(5):
        results = race(
            [lambda n=n, s=seq: rig.statements.extend(ALICE, row(f"{s}.{n}", seq=s)) for n in range(8)]
        )
        assert [one for one in results if not isinstance(one, ConflictError)] == [seq]
    assert rig.statements.count(ALICE) == 5


def test_racing_appends_leave_no_gap_and_nothing_twice(rig: Rig) -> None:
    def add(start: int) -> list[int]:
        return [
            position
            for first in range(start, start + 20, 5)
            for position in rig.statements.append(
                ALICE, [row(f"s{n}", seq=n) for n in range(first, first + 5)]
            )
        ]

    race([lambda s=start: add(s) for start in (0, 0, 10, 20)])
    rows = rig.statements.after(ALICE, 0, 100)
    assert [one.position for one in rows] == list(range(40))
    assert sorted(one.seq for one in rows) == list(range(40))


def test_a_reader_never_sees_half_an_append(rig: Rig) -> None:
    counts: list[int] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            counts.append(rig.statements.count(ALICE))

    def write() -> None:
        for number in range(10):
            rig.statements.append(ALICE, [row(f"{number}.{part}", seq=number) for part in range(10)])
        stop.set()

    race([read, write])
    assert not [count for count in counts if count % 10]


def test_a_reader_of_a_long_append_sees_its_first_ones(rig: Rig) -> None:
    rows = [row(f"{number}", seq=number) for number in range(100)]
    seen: list[list[int]] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.append([one.seq for one in rig.statements.after(ALICE, 0, 200)])

    def write() -> None:
        rig.statements.append(ALICE, rows)
        stop.set()

    race([read, write])
    assert seen == [list(range(len(one))) for one in seen]
    assert not [one for one in seen if 0 < len(one) < 16]
    assert rig.statements.count(ALICE) == 100


def test_a_lost_acknowledgement_is_harmless(rig: Rig) -> None:
    assert twice(rig.statements, "append", ALICE, [row("x", seq=0), row("y", seq=1)]) == [0, 1]
    assert twice(rig.statements, "extend", ALICE, row("z", seq=2)) == 2
    assert rig.statements.count(ALICE) == 3
