"""The promises of the Keys port, for every driver."""

from __future__ import annotations

import os

import pytest

from skyswarm.drivers.seeds import Prepared, make_recovery, prepare, read_recovery
from skyswarm.errors import AbsentError, ConflictError, MalformedError
from skyswarm.messages.keys import verify
from tests.support.racing import race
from tests.support.record_rigs import ALICE, BOB, Keyring

UNDONE, OTHER = "1" * 64, "2" * 64
"""Statements that recoveries undo."""


@pytest.fixture
def prepared(keyring: Keyring) -> Prepared:
    made = prepare(os.urandom)
    keyring.adopt(made, ALICE)
    return made


def test_an_agent_without_keys_here_is_absent(keyring: Keyring, prepared: Prepared) -> None:
    for ask in (keyring.current, keyring.upcoming, keyring.following):
        with pytest.raises(AbsentError):
            ask(BOB)
    with pytest.raises(AbsentError):
        keyring.rotate(BOB, prepared.current_public)


def test_adopted_keys_are_the_prepared_ones_and_sign(keyring: Keyring, prepared: Prepared) -> None:
    assert keyring.current(ALICE).public == prepared.current_public == prepared.current.public
    assert keyring.upcoming(ALICE).public == prepared.next_public
    for signer in (keyring.current(ALICE), keyring.upcoming(ALICE), prepared.current):
        verify(signer.public, b"message", signer.sign(b"message"))
    assert len({prepared.current_public, prepared.next_public, keyring.following(ALICE)}) == 3


def test_adopting_again_is_harmless_and_other_keys_are_refused(keyring: Keyring, prepared: Prepared) -> None:
    keyring.adopt(prepared, ALICE)
    with pytest.raises(ConflictError):
        keyring.adopt(prepare(os.urandom), ALICE)
    assert keyring.current(ALICE).public == prepared.current_public


def test_a_rotation_moves_every_key_up_by_one(keyring: Keyring, prepared: Prepared) -> None:
    before = [keyring.current(ALICE).public, keyring.upcoming(ALICE).public, keyring.following(ALICE)]
    assert keyring.rotate(ALICE, before[0]) == before[2]
    assert [keyring.current(ALICE).public, keyring.upcoming(ALICE).public] == before[1:]
    assert keyring.following(ALICE) not in before
    verify(before[1], b"m", keyring.current(ALICE).sign(b"m"))


def test_a_rotation_repeated_after_a_lost_acknowledgement_does_nothing(
    keyring: Keyring, prepared: Prepared
) -> None:
    keyring.rotate(ALICE, prepared.current_public)
    after = keyring.following(ALICE)
    with pytest.raises(ConflictError):
        keyring.rotate(ALICE, prepared.current_public)
    assert keyring.current(ALICE).public == prepared.next_public  # which tells the caller that it was done
    assert keyring.following(ALICE) == after


def test_one_of_many_racing_rotations_happens(keyring: Keyring, prepared: Prepared) -> None:
    results = race([lambda: keyring.rotate(ALICE, prepared.current_public)] * 8)
    assert len([one for one in results if isinstance(one, bytes)]) == 1
    assert keyring.current(ALICE).public == prepared.next_public


def test_agents_never_meet(keyring: Keyring, prepared: Prepared) -> None:
    other = prepare(os.urandom)
    keyring.adopt(other, BOB)
    keyring.rotate(BOB, other.current_public)
    assert keyring.current(ALICE).public == prepared.current_public
    assert keyring.current(BOB).public == other.next_public


def test_a_recovery_key_is_read_back_as_people_type(keyring: Keyring) -> None:
    public, text = make_recovery(os.urandom)
    assert [len(group) for group in text.split("-")] == [4] * 14
    for typed in (text, text.lower(), text.replace("-", " "), f"  {text.replace('-', '')}\n"):
        assert read_recovery(typed).public == public


def test_a_slip_in_a_recovery_key_is_found_and_not_repeated(keyring: Keyring) -> None:
    _, text = make_recovery(os.urandom)
    wrong = ("A" if text[0] != "A" else "B") + text[1:]
    for typed in (wrong, text[:-1], text + "A", "", "1" * 56, text[5:] + "-" + text[:4]):
        with pytest.raises(MalformedError) as caught:
            read_recovery(typed)
        assert not typed or typed[:12] not in str(caught.value)


# ---- keys for a recovery -------------------------------------------------------------------------
def test_reserved_keys_wait_beside_the_others_until_they_replace_them(
    keyring: Keyring, prepared: Prepared
) -> None:
    before = [keyring.current(ALICE).public, keyring.upcoming(ALICE).public, keyring.following(ALICE)]
    made = keyring.reserve(ALICE, UNDONE)
    assert keyring.reserve(ALICE, UNDONE) == made
    assert [keyring.current(ALICE).public, keyring.upcoming(ALICE).public, keyring.following(ALICE)] == before
    keyring.replace(ALICE, UNDONE, made[0])
    assert (keyring.current(ALICE).public, keyring.upcoming(ALICE).public) == made
    assert len({*before, *made, keyring.following(ALICE)}) == 6, "nothing of what a thief may have stays"
    verify(made[0], b"m", keyring.current(ALICE).sign(b"m"))
    assert keyring.rotate(ALICE, made[0])
    assert keyring.current(ALICE).public == made[1]


def test_each_recovery_has_keys_of_its_own_and_uses_them_once(keyring: Keyring, prepared: Prepared) -> None:
    one, other = keyring.reserve(ALICE, UNDONE), keyring.reserve(ALICE, OTHER)
    assert not set(one) & set(other)
    keyring.replace(ALICE, UNDONE, one[0])
    with pytest.raises(AbsentError):
        keyring.replace(ALICE, UNDONE, one[0])
    assert keyring.reserve(ALICE, UNDONE)[0] not in one
    keyring.replace(ALICE, OTHER, other[0])
    assert keyring.current(ALICE).public == other[0]


def test_other_reserved_keys_than_expected_stay_where_they_are(keyring: Keyring, prepared: Prepared) -> None:
    made = keyring.reserve(ALICE, UNDONE)
    with pytest.raises(ConflictError):
        keyring.replace(ALICE, UNDONE, prepared.current_public)
    with pytest.raises(AbsentError):
        keyring.replace(ALICE, OTHER, made[0])
    assert keyring.current(ALICE).public == prepared.current_public
    assert keyring.reserve(ALICE, UNDONE) == made


def test_a_rotation_leaves_reserved_keys_alone(keyring: Keyring, prepared: Prepared) -> None:
    made = keyring.reserve(ALICE, UNDONE)
    keyring.rotate(ALICE, prepared.current_public)
    assert keyring.reserve(ALICE, UNDONE) == made


def test_nothing_is_reserved_for_an_agent_without_keys_here(keyring: Keyring, prepared: Prepared) -> None:
    made = keyring.reserve(ALICE, UNDONE)
    with pytest.raises(AbsentError):
        keyring.reserve(BOB, UNDONE)
    with pytest.raises(AbsentError):
        keyring.replace(BOB, UNDONE, made[0])


def test_all_who_reserve_at_once_get_the_same_keys_and_one_replaces(
    keyring: Keyring, prepared: Prepared
) -> None:
    made = race([lambda: keyring.reserve(ALICE, UNDONE)] * 8)
    assert len(set(made)) == 1 and isinstance(made[0], tuple)
    ended = race([lambda: keyring.replace(ALICE, UNDONE, made[0][0])] * 8)
    assert None in ended and {type(one) for one in ended} <= {type(None), AbsentError, ConflictError}
    assert keyring.current(ALICE).public == made[0][0]
