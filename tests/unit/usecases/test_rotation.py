"""Rotating the signing key, and the crash between the statement and the key store."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from skyswarm.errors import AbsentError, ConflictError, EquivocationError, InputError
from skyswarm.messages.dsse import seal
from skyswarm.messages.keys import did_key
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
    contradicted(alice, bob, carol)
    with pytest.raises(EquivocationError, match="number 1 ") as caught:
        people.vouch(alice.deps, alice.id, "ab" * 32)
    assert "rotate-key" in caught.value.advice


def contradicted(alice: Person, *others: Person) -> None:
    """A thief of her key, or an old copy of her home, has signed other vouches with the numbers of hers, and more."""
    stolen, prev = (
        alice.deps.keys.current(alice.id),
        people.vouch(alice.deps, alice.id, others[0].id).statement.prev,
    )
    for seq in range(1, 4):
        twin = Vouch(
            iss=alice.id, seq=seq, prev=prev, sub=others[-1].id, scope=("fetch",), depth=seq, limit=None,
            nbf=int(alice.land.now) - 120, exp=int(alice.land.now) + 86_400,
        )  # fmt: skip
        sealed = seal(payload_type("vouch"), twin.payload(), stolen).dump()
        alice.deps.statements.append(alice.id, [row_of(parse_signed(sealed), alice.land.now)])
        prev = twin.id


@pytest.mark.parametrize("thief_follows", [False, True])
def test_a_rotation_mends_a_contradicted_chain_for_everybody(alice: Person, thief_follows: bool) -> None:
    bob, carol, mallory = (alice.land.agent(name) for name in ("bob", "carol", "mallory"))
    bob.vouch(alice, depth=2)
    contradicted(alice, carol, mallory)
    bob.hears(alice)
    assert people.disputed(alice.deps, alice.id) == 1
    assert not bob.sees(alice) and not bob.sees(carol) and not bob.sees(mallory)
    stolen = alice.deps.keys.current(alice.id)
    people.rotate(alice.deps, alice.id)
    assert people.disputed(alice.deps, alice.id) is None
    assert alice.deps.keys.current(alice.id).public == key_of(alice)
    alice.vouch(carol)  # number 2, which the thief has filled
    if thief_follows:
        late = Vouch(
            iss=alice.id, seq=1, prev=alice.id, sub=mallory.id, scope=("fetch",), depth=7, limit=None,
            nbf=int(alice.land.now) - 120, exp=int(alice.land.now) + 86_400,
        )  # fmt: skip
        sealed = seal(payload_type("vouch"), late.payload(), stolen).dump()
        alice.deps.statements.append(alice.id, [row_of(parse_signed(sealed), alice.land.now)])
    bob.hears(alice)
    assert bob.sees(alice) and bob.sees(carol) and not bob.sees(mallory)
    assert alice.sees(carol) and not alice.sees(mallory)


def test_a_rotation_does_not_make_void_what_another_process_has_just_signed(alice: Person) -> None:
    """Its vouch has the number that the rotation was made for: the rotation takes the next one."""
    bob = alice.land.agent("bob")

    once = [True]

    class Raced:
        def __getattr__(self, name: str) -> Any:
            return getattr(alice.deps.statements, name)

        def of(self, *given: Any) -> Any:
            if once:  # it looks whether the number is taken
                once.clear()
                alice.vouch(bob)
            return alice.deps.statements.of(*given)

    signed = people.rotate(replace(alice.deps, statements=Raced()), alice.id)  # type: ignore[arg-type]
    assert signed.statement.seq == 2 and alice.sees(bob)  # type: ignore[union-attr]


def test_two_rotations_of_one_number_are_not_mended_by_a_third(alice: Person) -> None:
    """A thief of the committed key: only a recovery would do."""
    twin = Rotate(
        iss=alice.id, seq=1, prev=alice.id, key=did_key(alice.deps.keys.upcoming(alice.id).public),
        next="ab" * 32,
    )  # fmt: skip
    thief = alice.deps.keys.upcoming(alice.id)
    people.rotate(alice.deps, alice.id)
    sealed = seal(payload_type("rotate"), twin.payload(), thief).dump()
    alice.deps.statements.append(alice.id, [row_of(parse_signed(sealed), alice.land.now)])
    count = alice.deps.statements.count(alice.id)
    for change in (people.rotate, people.retire):
        with pytest.raises((EquivocationError, ConflictError)):
            change(alice.deps, alice.id)
    assert alice.deps.statements.count(alice.id) == count
    with viewing(alice.deps, alice.id) as view:
        state = view.key_state(alice.id)
    assert state is not None and state.equivocation is not None and state.equivocation.rank == 1
    assert "recovery" in state.equivocation.error().advice


def test_an_agent_without_an_inception(alice: Person) -> None:
    other = alice.land.agent("other")
    with pytest.raises(AbsentError):
        people.vouch(replace(other.deps, statements=type(other.deps.statements)()), other.id, alice.id)
