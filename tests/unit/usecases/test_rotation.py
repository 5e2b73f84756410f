"""Rotating the signing key, and the crash between the statement and the key store."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from skyswarm.errors import AbsentError, ConflictError, EquivocationError, InputError
from skyswarm.messages.dsse import seal
from skyswarm.messages.statements import Rotate, Vouch, parse_signed, payload_type
from skyswarm.usecases import people, tending
from skyswarm.usecases.views import row_of, viewing
from tests.support.land import Person


class Crash(BaseException):
    """The process is gone."""


class DyingKeys:
    """A key store whose process dies as it is told to rotate."""

    def __init__(self, keys: Any) -> None:
        self._keys = keys

    def __getattr__(self, name: str) -> Any:
        return getattr(self._keys, name)

    def rotate(self, agent: str, expect: bytes) -> bytes:
        raise Crash


def key_of(person: Person) -> bytes:
    with viewing(person.deps, person.id) as view:
        state = view.key_state(person.id)
    assert state is not None
    return state.key


def test_a_rotation_changes_the_key_and_nothing_else(alice: Person) -> None:
    before, upcoming = alice.deps.keys.current(alice.id).public, alice.deps.keys.upcoming(alice.id).public
    signed = people.rotate(alice.deps, alice.id)
    assert isinstance(signed.statement, Rotate)
    now = alice.deps.keys.current(alice.id).public
    assert now == upcoming == key_of(alice) != before
    assert people.mend_rotation(alice.deps, alice.id) is False
    for _ in range(3):
        people.rotate(alice.deps, alice.id)
        assert alice.deps.keys.current(alice.id).public == key_of(alice)


def test_a_crash_after_the_statement_is_mended_at_the_next_start(alice: Person) -> None:
    dying = replace(alice.deps, keys=DyingKeys(alice.deps.keys))
    with pytest.raises(Crash):
        people.rotate(dying, alice.id)
    assert alice.deps.keys.current(alice.id).public != key_of(alice), "the store is behind"
    tending.wake_up(alice.deps, alice.id, alice.url)
    assert alice.deps.keys.current(alice.id).public == key_of(alice)
    assert people.mend_rotation(alice.deps, alice.id) is False
    # She can go on: what she signs now counts.
    bob = alice.land.agent("bob")
    alice.vouch(bob)
    assert alice.sees(bob)
    people.rotate(alice.deps, alice.id)
    assert alice.deps.keys.current(alice.id).public == key_of(alice)


def test_crash_after_crash(alice: Person) -> None:
    """It dies again while it mends; nothing is lost."""
    dying = replace(alice.deps, keys=DyingKeys(alice.deps.keys))
    with pytest.raises(Crash):
        people.rotate(dying, alice.id)
    with pytest.raises(Crash):
        people.mend_rotation(dying, alice.id)
    assert people.mend_rotation(alice.deps, alice.id) is True
    assert people.mend_rotation(alice.deps, alice.id) is False


def test_an_old_copy_of_a_home_says_so(alice: Person) -> None:
    """Its key store is two rotations behind its statements: mending would be guessing."""
    old = replace(alice.deps, keys=_copy(alice))
    people.rotate(alice.deps, alice.id)
    people.rotate(alice.deps, alice.id)
    with pytest.raises(InputError, match="not the one that your statements name"):
        people.mend_rotation(old, alice.id)


def _copy(person: Person) -> Any:
    from skyswarm.drivers.memory.keys import MemoryKeys, Prepared

    keys = person.deps.keys
    assert isinstance(keys, MemoryKeys)
    made = MemoryKeys(person.land.entropy)
    made.adopt(Prepared(keys._of(person.id)), person.id)
    return made


def test_a_retired_agent_is_not_mended_and_signs_nothing_any_more(alice: Person) -> None:
    people.retire(alice.deps, alice.id)
    assert people.mend_rotation(alice.deps, alice.id) is False
    bob, count = alice.land.agent("bob"), alice.deps.statements.count(alice.id)
    for sub in (bob.id, "ab" * 32):
        with pytest.raises(InputError, match="has retired"):
            people.vouch(alice.deps, alice.id, sub)
    assert alice.deps.statements.count(alice.id) == count
    assert not alice.sees(bob)


def test_nothing_is_signed_with_the_old_key_while_a_rotation_is_cut_short(alice: Person) -> None:
    """It would count nowhere and take the number of what does, for ever."""
    bob, carol = alice.land.agent("bob"), alice.land.agent("carol")
    with pytest.raises(Crash):
        people.rotate(replace(alice.deps, keys=DyingKeys(alice.deps.keys)), alice.id)
    with pytest.raises(ConflictError, match="being changed"):
        people.vouch(alice.deps, alice.id, bob.id)
    with pytest.raises(ConflictError, match="being changed"):
        people.rotate(alice.deps, alice.id)
    assert people.mend_rotation(alice.deps, alice.id) is True
    for other in (bob, carol):
        alice.vouch(other)
        assert alice.sees(other)


class Slow:
    """A key store whose owner rotates in another process after this one has looked at the keys."""

    def __init__(self, person: Person) -> None:
        self._keys, self._person = person.deps.keys, person

    def __getattr__(self, name: str) -> Any:
        return getattr(self._keys, name)

    def following(self, agent: str) -> bytes:
        found: bytes = self._keys.following(agent)
        people.rotate(self._person.deps, agent)
        return found


def test_of_two_rotations_at_once_one_wins_and_the_other_leaves_no_trace(alice: Person) -> None:
    with pytest.raises(ConflictError, match="being changed"):
        people.rotate(replace(alice.deps, keys=Slow(alice)), alice.id)
    assert alice.deps.keys.current(alice.id).public == key_of(alice)
    bob = alice.land.agent("bob")
    alice.vouch(bob)
    assert alice.sees(bob)


def test_a_number_taken_by_a_contradiction_ends_in_an_error_not_in_trying_for_ever(alice: Person) -> None:
    bob, carol = alice.land.agent("bob"), alice.land.agent("carol")
    mine = people.vouch(alice.deps, alice.id, bob.id).statement
    assert isinstance(mine, Vouch)
    twin = replace(mine, sub=carol.id)
    sealed = seal(payload_type("vouch"), twin.payload(), alice.deps.keys.current(alice.id)).dump()
    alice.deps.statements.append(alice.id, [row_of(parse_signed(sealed), alice.land.now)])
    with pytest.raises(EquivocationError, match="number 1 "):
        people.vouch(alice.deps, alice.id, "ab" * 32)


def test_an_agent_without_an_inception(alice: Person) -> None:
    other = alice.land.agent("other")
    with pytest.raises(AbsentError):
        people.vouch(replace(other.deps, statements=type(other.deps.statements)()), other.id, alice.id)
