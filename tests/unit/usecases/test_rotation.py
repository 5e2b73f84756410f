"""Rotating the signing key, and the crash between the statement and the key store."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from skyswarm.errors import AbsentError, InputError
from skyswarm.messages.statements import Rotate
from skyswarm.usecases import people, tending
from skyswarm.usecases.views import viewing
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


def test_a_retired_agent_is_not_mended(alice: Person) -> None:
    people.retire(alice.deps, alice.id)
    assert people.mend_rotation(alice.deps, alice.id) is False
    bob = alice.land.agent("bob")
    alice.vouch(bob)  # signed and stored, and counts nowhere
    assert not alice.sees(bob)


def test_an_agent_without_an_inception(alice: Person) -> None:
    other = alice.land.agent("other")
    with pytest.raises(AbsentError):
        people.vouch(replace(other.deps, statements=type(other.deps.statements)()), other.id, alice.id)
