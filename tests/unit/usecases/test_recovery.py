"""Taking an agent back from a thief of its signing and its next key, as the use case does it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from skyswarm.drivers.memory.keys import MemoryKeys, Prepared
from skyswarm.drivers.seeds import prepare
from skyswarm.errors import ConflictError, EquivocationError, InputError
from skyswarm.messages.dsse import seal
from skyswarm.messages.keys import SeedSigner, commitment, did_key
from skyswarm.messages.statements import Inception, Retire, Rotate, Vouch, parse_signed, payload_type
from skyswarm.trust.branch import RECOVERY_WINDOW
from skyswarm.usecases import people, recovery, spreading, tending
from skyswarm.usecases.views import row_of, viewing
from tests.support.land import DAY, Land, Person

PAPER = SeedSigner(bytes(range(32)))


def born(land: Land, name: str, *papers: SeedSigner) -> Person:
    """An agent whose inception has these recovery keys."""
    made = land.agent(name)
    prepared = prepare(land.entropy)
    birth = Inception(
        did_key(prepared.current_public),
        commitment(prepared.next_public),
        tuple(sorted(commitment(one.public) for one in papers)),
    )
    keys = made.deps.keys
    assert isinstance(keys, MemoryKeys)
    keys.adopt(prepared, birth.id)
    signed = parse_signed(seal(payload_type("inception"), birth.payload(), prepared.current).dump())
    made.deps.statements.append(birth.id, [row_of(signed, land.now)])
    spreading.set_endpoint(made.deps, birth.id, made.url)
    return Person(name, birth.id, made.url, land, made.deps)


@pytest.fixture
def alice(land: Land) -> Person:
    return born(land, "alice", PAPER)


@pytest.fixture
def mallory(land: Land) -> Person:
    return land.agent("mallory")


class Thief:
    """Has the signing and the next key of somebody, and signs on from number `at` of her chain."""

    def __init__(self, owner: Person, at: int | None = None) -> None:
        self.owner = owner
        self.key, self.next = owner.deps.keys.current(owner.id), owner.deps.keys.upcoming(owner.id)
        rows = owner.deps.statements.of(owner.id, owner.id)
        self.prev, self.seq = (rows[-1].id, len(rows)) if at is None else (rows[at - 1].id, at)

    def say(self, kind: type[Any], signer: Any, /, **fields: Any) -> str:
        event = kind(iss=self.owner.id, seq=self.seq, prev=self.prev, **fields)
        signed = parse_signed(seal(payload_type(event.kind), event.payload(), signer).dump())
        self.owner.deps.statements.append(self.owner.id, [row_of(signed, self.owner.land.now)])
        self.seq, self.prev = self.seq + 1, event.id
        return str(event.id)

    def rotate(self, number: int = 1) -> str:
        after = SeedSigner(bytes([number]) * 32)
        said = self.say(Rotate, self.next, key=did_key(self.next.public), next=commitment(after.public))
        self.key, self.next = self.next, after
        return said

    def retire(self) -> str:
        return self.say(Retire, self.next, key=did_key(self.next.public))

    def vouch(self, sub: Person) -> str:
        now = int(self.owner.land.now)
        return self.say(
            Vouch, self.key, sub=sub.id, scope=("fetch",), depth=3, limit=None, nbf=now - 120, exp=now + DAY
        )


def chain_is_ours(person: Person) -> bool:
    """Whether the keys of her home are those that her chain names, both of them."""
    with viewing(person.deps, person.id) as view:
        state = view.key_state(person.id)
    assert state is not None
    keys = person.deps.keys
    here = keys.current(person.id).public, commitment(keys.upcoming(person.id).public)
    return (
        here == (state.key, state.keys.next)
        and not state.retired
        and state.equivocation is None
        and keys.following(person.id) not in here
    )


@pytest.mark.parametrize("end", [False, True])
def test_the_owner_is_trusted_again_and_the_thief_s_word_is_void(
    alice: Person, mallory: Person, land: Land, end: bool
) -> None:
    bob, carol = land.agent("bob"), land.agent("carol")
    bob.vouch(alice, depth=2)
    alice.vouch(carol)
    thief = Thief(alice)
    stolen = [thief.retire()] if end else [thief.rotate(), thief.vouch(mallory), thief.rotate(2)]
    bob.hears(alice)
    assert bob.sees(alice) is bob.sees(carol) is not end and bob.sees(mallory) is not end
    with pytest.raises((InputError, ConflictError)) as caught:
        alice.vouch(carol)
    assert "skyswarm recover" in caught.value.advice
    before = [alice.deps.keys.current(alice.id).public, alice.deps.keys.upcoming(alice.id).public]

    land.now += RECOVERY_WINDOW
    found = recovery.plan(alice.deps, alice.id, PAPER)
    assert found.id == stolen[0] and [one.id for one in found.void] == stolen
    made = recovery.recover(alice.deps, alice.id, PAPER)
    assert chain_is_ours(alice)
    fresh = [alice.deps.keys.current(alice.id).public, alice.deps.keys.upcoming(alice.id).public]
    assert not set(fresh) & {*before, alice.deps.keys.following(alice.id)} and PAPER.public not in fresh
    assert made.done == alice.deps.statements.of(alice.id, alice.id, found.seq, 2)[-1].id
    dan = land.agent("dan")
    alice.vouch(dan)  # with the number of the thief's next statement
    bob.hears(alice)
    with viewing(bob.deps, bob.id) as view:
        assert view.evaluate(alice.id, "fetch", land.now).trusted
        assert view.evaluate(dan.id, "fetch", land.now).trusted
        assert not view.evaluate(mallory.id, "fetch", land.now).trusted
    people.rotate(alice.deps, alice.id)
    assert chain_is_ours(alice)


def test_after_seven_days_it_is_refused_with_the_reason_and_nothing_is_changed(
    alice: Person, land: Land
) -> None:
    Thief(alice).rotate()
    land.now += RECOVERY_WINDOW + 1
    count = alice.deps.statements.count(alice.id)
    for act in (recovery.plan, recovery.recover):
        with pytest.raises(InputError, match="received 7 days ago, and a recovery counts for 7 days only"):
            act(alice.deps, alice.id, PAPER)
    assert alice.deps.statements.count(alice.id) == count


def test_again_it_changes_nothing(alice: Person) -> None:
    stolen = Thief(alice).rotate()
    made = recovery.recover(alice.deps, alice.id, PAPER)
    key, count = alice.deps.keys.current(alice.id).public, alice.deps.statements.count(alice.id)
    for undo in (None, stolen, stolen[:8]):
        again = recovery.recover(alice.deps, alice.id, PAPER, undo)
        assert (again.done, again.id) == (made.done, stolen)
    assert alice.deps.keys.current(alice.id).public == key
    assert alice.deps.statements.count(alice.id) == count


def test_a_second_thief_is_undone_as_well(alice: Person, mallory: Person) -> None:
    Thief(alice).rotate()
    first = recovery.recover(alice.deps, alice.id, PAPER)
    alice.vouch(mallory)
    again = Thief.__new__(Thief)
    again.owner, again.key, again.next = (
        alice,
        alice.deps.keys.current(alice.id),
        alice.deps.keys.upcoming(alice.id),
    )
    with viewing(alice.deps, alice.id) as view:
        state = view.key_state(alice.id)
    assert state is not None
    again.seq, again.prev = state.head.seq + 1, state.head.id
    stolen = again.rotate(7)
    made = recovery.recover(alice.deps, alice.id, PAPER)
    assert made.id == stolen and made.done != first.done
    assert chain_is_ours(alice) and alice.sees(mallory), "what was signed before it stays"


class Crash(BaseException):
    """The process is gone."""


class Dying:
    """A port whose process dies as it is told that."""

    def __init__(self, port: Any, step: str) -> None:
        self._port, self._step = port, step

    def __getattr__(self, name: str) -> Any:
        if name == self._step:
            raise Crash
        return getattr(self._port, name)


def test_a_crash_before_the_statement_leaves_all_as_it_was(alice: Person) -> None:
    Thief(alice).rotate()
    for port, step in (("keys", "reserve"), ("statements", "extend")):
        key, count = alice.deps.keys.current(alice.id).public, alice.deps.statements.count(alice.id)
        given: Any = {port: Dying(getattr(alice.deps, port), step)}
        with pytest.raises(Crash):
            recovery.recover(replace(alice.deps, **given), alice.id, PAPER)
        assert alice.deps.keys.current(alice.id).public == key
        assert alice.deps.statements.count(alice.id) == count
    recovery.recover(alice.deps, alice.id, PAPER)
    assert chain_is_ours(alice)


@pytest.mark.parametrize("way", ["start", "command"])
def test_a_crash_after_the_statement_is_mended(alice: Person, way: str) -> None:
    Thief(alice).rotate()
    dying: Any = Dying(alice.deps.keys, "replace")
    for _ in range(2):
        with pytest.raises(Crash):
            recovery.recover(replace(alice.deps, keys=dying), alice.id, PAPER)
    count = alice.deps.statements.count(alice.id)
    assert not chain_is_ours(alice)
    if way == "start":
        tending.wake_up(alice.deps, alice.id, alice.url)
    else:
        assert recovery.recover(alice.deps, alice.id, PAPER).done
    assert chain_is_ours(alice) and alice.deps.statements.count(alice.id) == count
    assert recovery.finish(alice.deps, alice.id) is False


def test_of_two_at_once_one_is_stored_and_its_keys_are_kept(alice: Person) -> None:
    Thief(alice).rotate()
    once = [True]

    class Raced:
        def __getattr__(self, name: str) -> Any:
            if name == "extend" and once:
                once.clear()
                recovery.recover(alice.deps, alice.id, PAPER)
            return getattr(alice.deps.statements, name)

    raced: Any = Raced()
    made = recovery.recover(replace(alice.deps, statements=raced), alice.id, PAPER)
    assert chain_is_ours(alice)
    found = [one.id for one in alice.deps.statements.of(alice.id, alice.id, 1)]
    assert found == [made.id, made.done]


def test_what_a_thief_signs_meanwhile_is_void_too(alice: Person, mallory: Person) -> None:
    thief = Thief(alice)
    thief.rotate()
    once = [True]

    class Raced:
        def __getattr__(self, name: str) -> Any:
            if name == "extend" and once:
                once.clear()
                thief.vouch(mallory)
            return getattr(alice.deps.statements, name)

    raced: Any = Raced()
    recovery.recover(replace(alice.deps, statements=raced), alice.id, PAPER)
    assert chain_is_ours(alice) and not alice.sees(mallory)


def test_a_rotation_beside_her_own_is_undone(alice: Person, mallory: Person) -> None:
    """Both have the same number: the chain ends there, and another rotation would mend nothing."""
    thief = Thief(alice)
    mine = people.rotate(alice.deps, alice.id)
    stolen = thief.rotate()
    thief.vouch(mallory)
    with pytest.raises((EquivocationError, ConflictError)):
        people.rotate(alice.deps, alice.id)
    found = recovery.recover(alice.deps, alice.id, PAPER)
    assert found.id == stolen and mine.id in {one.id for one in found.void}
    assert chain_is_ours(alice) and not alice.sees(mallory)


def test_a_branch_of_the_thief_s_own_is_left_by_undoing_her_own_rotation(
    alice: Person, mallory: Person
) -> None:
    """The thief's first statement is a vouch beside hers, and the rotation comes after: undoing that would keep it."""
    carol = alice.land.agent("carol")
    thief = Thief(alice)
    alice.vouch(carol)
    mine = people.rotate(alice.deps, alice.id)
    thief.vouch(mallory)
    thief.rotate()
    assert recovery.recover(alice.deps, alice.id, PAPER).id == mine.id
    assert chain_is_ours(alice) and alice.sees(carol) and not alice.sees(mallory)


def test_a_thief_of_the_whole_home_is_undone_by_name(alice: Person, mallory: Person) -> None:
    """It rotates as she would, to the keys that are here: only she knows that it was not her."""
    keys = alice.deps.keys
    assert isinstance(keys, MemoryKeys)
    copy = MemoryKeys(alice.land.entropy)
    copy.adopt(Prepared(keys._of(alice.id)), alice.id)
    stolen = people.rotate(replace(alice.deps, keys=copy), alice.id)
    assert people.mend_rotation(alice.deps, alice.id) is True
    with pytest.raises(InputError, match="nothing was found to undo") as caught:
        recovery.plan(alice.deps, alice.id, PAPER)
    assert stolen.id[:12] in caught.value.advice and "--undo" in caught.value.advice
    recovery.recover(alice.deps, alice.id, PAPER, stolen.id[:12])
    assert chain_is_ours(alice)


def test_the_keys_of_a_thief_are_never_taken_for_a_rotation_cut_short(alice: Person) -> None:
    """It rotated to her own next key, but the key after it is the thief's."""
    Thief(alice).rotate()
    before = alice.deps.keys.current(alice.id).public
    with pytest.raises(InputError, match="not the one that your statements name") as caught:
        people.mend_rotation(alice.deps, alice.id)
    assert "skyswarm recover" in caught.value.advice
    assert alice.deps.keys.current(alice.id).public == before


def test_only_a_key_of_this_agent_s_will_do(alice: Person, bob: Person, land: Land) -> None:
    Thief(alice).rotate()
    with pytest.raises(InputError, match="none of this agent's"):
        recovery.recover(alice.deps, alice.id, SeedSigner(bytes(32)))
    with pytest.raises(InputError, match="made without a recovery key"):
        recovery.recover(bob.deps, bob.id, PAPER)
    other = born(land, "other", SeedSigner(b"x" * 32), PAPER)
    Thief(other).retire()
    recovery.recover(other.deps, other.id, PAPER)
    assert chain_is_ours(other)


@pytest.mark.parametrize("undo", ["", "abc", "0" * 64, "MFRG-GZDF-MZTW-Q2LK"])
def test_what_is_to_be_undone_is_a_rotation_and_never_repeated(alice: Person, undo: str) -> None:
    stolen = Thief(alice).rotate()
    with pytest.raises(InputError, match="the id of no rotation or retirement") as caught:
        recovery.plan(alice.deps, alice.id, PAPER, undo)
    assert stolen[:12] in caught.value.advice
    assert not undo or undo not in f"{caught.value} {caught.value.advice}"
    with pytest.raises(InputError, match="the id of no rotation or retirement"):
        recovery.plan(alice.deps, alice.id, PAPER, alice.id)


def test_a_thief_of_the_signing_key_alone_needs_no_recovery(alice: Person, mallory: Person) -> None:
    thief = Thief(alice)
    alice.vouch(alice.land.agent("carol"))
    thief.vouch(mallory)
    with pytest.raises(InputError, match="no recovery is needed") as caught:
        recovery.recover(alice.deps, alice.id, PAPER)
    assert "rotate-key" in caught.value.advice
    people.rotate(alice.deps, alice.id)
    assert not alice.sees(mallory)


def test_a_second_recovery_that_would_contradict_the_first_is_not_stored(alice: Person) -> None:
    """Nothing would mend that. Undoing the later rotation has kept the earlier one."""
    thief = Thief(alice)
    first, second = thief.rotate(), thief.rotate(2)
    recovery.recover(alice.deps, alice.id, PAPER, second)
    assert chain_is_ours(alice)
    count = alice.deps.statements.count(alice.id)
    with pytest.raises(EquivocationError, match="would contradict another one"):
        recovery.recover(alice.deps, alice.id, PAPER, first)
    assert alice.deps.statements.count(alice.id) == count and chain_is_ours(alice)
