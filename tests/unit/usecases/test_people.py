"""Names of one's own for agents, and statements about them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from skyswarm.errors import InputError
from skyswarm.messages.requests import Outcome, SubmitReply, SubmitRequest
from skyswarm.messages.statements import Vouch
from skyswarm.usecases import people, receiving
from tests.support.land import DAY, Land, Person

OTHER = "ab" * 32
THIRD = "ab" * 31 + "cd"


@pytest.fixture
def me() -> Person:
    return Land().agent("me")


def test_a_name_is_found_and_shown(me: Person) -> None:
    people.give_name(me.deps, me.id, "bob", OTHER)
    assert people.find(me.deps, me.id, "bob") == OTHER
    assert people.name_of(me.deps, me.id, OTHER) == "bob"
    assert people.name_of(me.deps, me.id, me.id) == "me"
    assert people.name_of(me.deps, me.id, THIRD) is None


def test_a_name_is_one_agents(me: Person) -> None:
    people.give_name(me.deps, me.id, "bob", OTHER)
    people.give_name(me.deps, me.id, "bob", OTHER)
    with pytest.raises(InputError, match="another agent bob already"):
        people.give_name(me.deps, me.id, "bob", THIRD)


def test_an_agent_is_renamed_and_its_old_name_is_free(me: Person) -> None:
    assert people.give_name(me.deps, me.id, "bob", OTHER) is None
    assert people.give_name(me.deps, me.id, "robert", OTHER) == "bob"
    assert people.give_name(me.deps, me.id, "robert", OTHER) is None
    assert people.name_of(me.deps, me.id, OTHER) == "robert"
    assert people.find(me.deps, me.id, "robert") == OTHER
    with pytest.raises(InputError, match="nobody called bob"):
        people.find(me.deps, me.id, "bob")
    people.give_name(me.deps, me.id, "bob", THIRD)
    assert people.find(me.deps, me.id, "bob") == THIRD


@pytest.mark.parametrize(
    "name",
    ["", " ", "a b", "-x", "1st", "a/b", "x" * 41, "bob\n", "\x1b[2J", "_x", "a\u202eb", "..", "b\u0000"],
)
def test_what_cannot_be_a_name(me: Person, name: str) -> None:
    with pytest.raises(InputError):
        people.give_name(me.deps, me.id, name, OTHER)


@pytest.mark.parametrize("name", ["bob", "Zoë", "Игорь", "b.c-d_e9", "x" * 40])
def test_what_can_be_a_name(me: Person, name: str) -> None:
    people.give_name(me.deps, me.id, name, OTHER)
    assert people.find(me.deps, me.id, name) == OTHER


@pytest.mark.parametrize("other", ["", "abc", "AB" * 32, "ab" * 33, "zz" * 32, OTHER + "\n"])
def test_what_is_no_agent(me: Person, other: str) -> None:
    with pytest.raises(InputError):
        people.give_name(me.deps, me.id, "bob", other)


def test_the_start_of_an_id_is_enough_when_it_is_clear(me: Person) -> None:
    people.give_name(me.deps, me.id, "bob", OTHER)
    assert people.find(me.deps, me.id, OTHER[:8]) == OTHER
    people.give_name(me.deps, me.id, "carol", THIRD)
    with pytest.raises(InputError):
        people.find(me.deps, me.id, OTHER[:8])
    assert people.find(me.deps, me.id, THIRD[:64]) == THIRD
    for text in (OTHER[:7], "nobody", "", "ab" * 30 + "g"):
        with pytest.raises(InputError):
            people.find(me.deps, me.id, text)


def test_an_id_needs_no_name(me: Person) -> None:
    assert people.find(me.deps, me.id, THIRD) == THIRD


def test_a_vouch_counts_from_now_also_with_a_peer_two_minutes_behind(me: Person) -> None:
    event = people.vouch(me.deps, me.id, OTHER, depth=3, scope=("store", "fetch", "fetch"), days=7).statement
    assert isinstance(event, Vouch)
    assert event.nbf == int(me.land.now) - 120
    assert event.exp == int(me.land.now) + 7 * DAY
    assert event.scope == ("fetch", "store")


@pytest.mark.parametrize("days", [90, 91, 1000])
def test_a_vouch_lasts_ninety_days_at_most(me: Person, days: int) -> None:
    event = people.vouch(me.deps, me.id, OTHER, days=days).statement
    assert isinstance(event, Vouch)
    assert event.exp - event.nbf == 90 * DAY


def test_statements_are_numbered_and_chained(me: Person) -> None:
    bob = me.land.agent("bob")
    steps = [
        me.vouch(bob, depth=1),
        people.revoke(me.deps, me.id, sub=bob.id, reason="gone"),
        people.distrust(me.deps, me.id, bob.id, reason="lies"),
        me.vouch(bob),
    ]
    assert [one.statement.seq for one in steps] == [1, 2, 3, 4]  # type: ignore[union-attr]
    assert [one.statement.prev for one in steps] == [me.id, *(one.id for one in steps[:-1])]  # type: ignore[union-attr]
    assert me.sees(bob)


def test_two_processes_of_one_agent_never_equivocate(me: Person) -> None:
    """The other one was faster between our look and our write: we sign anew, on what it wrote."""
    from dataclasses import replace

    bob, carol = me.land.agent("bob"), me.land.agent("carol")
    other = replace(me.deps, cache={})
    raced: list[str] = []

    class Racing:
        def __getattr__(self, name: str) -> object:
            return getattr(me.deps.statements, name)

        def extend(self, agent: str, row: object, beside: tuple[str, ...]) -> int:
            if not raced:
                raced.append(people.vouch(other, me.id, carol.id).id)
            return me.deps.statements.extend(agent, row, beside)  # type: ignore[arg-type]

    mine = people.vouch(replace(me.deps, statements=Racing()), me.id, bob.id)  # type: ignore[arg-type]
    assert mine.statement.prev == raced[0]  # type: ignore[union-attr]
    assert me.sees(bob) and me.sees(carol)


class Crash(BaseException):
    """The process is gone."""


class DyingNotes:
    """Notes whose process dies at a certain change."""

    def __init__(self, notes: Any, left: int) -> None:
        self._notes, self._left = notes, left

    def __getattr__(self, name: str) -> Any:
        if name in ("put", "delete"):
            if not self._left:
                raise Crash
            self._left -= 1
        return getattr(self._notes, name)


@pytest.mark.parametrize("changes", [0, 1, 2])
def test_a_crash_while_renaming_leaves_one_name_and_the_other_free(me: Person, changes: int) -> None:
    people.give_name(me.deps, me.id, "bob", OTHER)
    dying = replace(me.deps, notes=DyingNotes(me.deps.notes, changes))
    with pytest.raises(Crash):
        people.give_name(dying, me.id, "robert", OTHER)
    name = people.name_of(me.deps, me.id, OTHER)
    assert name is not None and people.find(me.deps, me.id, name) == OTHER
    (other,) = {"bob", "robert"} - {name}
    with pytest.raises(InputError, match="nobody called"):
        people.find(me.deps, me.id, other)
    people.give_name(me.deps, me.id, other, THIRD)
    assert people.find(me.deps, me.id, other) == THIRD and people.name_of(me.deps, me.id, OTHER) == name


def test_what_is_known_of_a_very_long_chain_is_taken_again_where_it_was(me: Person) -> None:
    bob = me.land.agent("bob")
    me.vouch(bob)
    for number in range(1005):
        people.vouch(bob.deps, bob.id, f"{number:064x}")
    me.deps.statements.append(me.id, bob.deps.statements.of(bob.id, bob.id, 0, 2000))
    last = bob.deps.statements.of(bob.id, bob.id, 1005)[-1]
    where = next(row.position for row in me.deps.statements.of(me.id, bob.id, 1005))
    body = SubmitRequest((last.envelope,)).dump()
    (outcome,) = SubmitReply.parse(receiving.deliver(me.deps, me.id, body, frozenset({"vouch"}))).results
    assert outcome == Outcome(where)
