"""trust/chain.py, trust/branch.py and trust/keys.py: whatever comes in whatever order, the same statements
count.
"""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyswarm.errors import StatementError
from skyswarm.messages.keys import commitment, did_key
from skyswarm.messages.statements import Announce, Head, Inception, Rotate, Signed, parse_signed
from skyswarm.trust.branch import RECOVERY_WINDOW
from skyswarm.trust.chain import MAX_PENDING, Chain, Fate
from skyswarm.trust.keys import Checker
from tests.support.trust_authors import START, Author, forge, sign, signer


def chain_of(author: Author, *given: Signed, received: float = 0.0, known: set[str] | None = None) -> Chain:
    chain = Chain(author.id, Checker(known))
    for signed in given or author.said:
        chain.offer(signed, received)
    return chain


def ids(chain: Chain) -> list[str]:
    return [node.id for node in chain.accepted]


def busy(name: str = "carol") -> Author:
    author = Author(name)
    author.vouch(Author("bob"))
    author.rotate()
    author.revoke(Author("bob"))
    author.rotate(planned=True)
    author.vouch(Author("dan"))
    return author


def test_a_chain_in_order() -> None:
    carol = busy()
    chain = chain_of(carol)
    assert ids(chain) == [one.id for one in carol.said]
    assert chain.keys is not None and chain.keys.key == carol.key.public
    assert chain.keys.next == commitment(carol.next.public)
    assert (chain.keys.since, chain.pending, chain.equivocation, chain.gap()) == (4, 0, None, None)
    assert [chain.fate(one.id) for one in carol.said] == [Fate.ACCEPTED] * 6


@settings(max_examples=40, deadline=None)
@given(st.permutations(range(6)), st.lists(st.integers(0, 5), max_size=4))
def test_any_order_and_any_repetition_give_the_same_chain(order: list[int], again: list[int]) -> None:
    carol = busy()
    chain = chain_of(carol, *(carol.said[i] for i in (*order, *again)))
    assert ids(chain) == [one.id for one in carol.said]


def test_nothing_counts_before_the_inception_and_gaps_are_named() -> None:
    carol = busy()
    chain = chain_of(carol, *carol.said[1:])
    assert (ids(chain), chain.keys, chain.pending) == ([], None, 5)
    gap = chain.gap()
    assert gap is not None and gap.code == "SKY-213" and "inception" in gap.message
    chain.offer(carol.said[0], 0)
    assert len(chain.accepted) == 6
    chain = chain_of(carol, *carol.said[:2], *carol.said[4:])
    assert (len(chain.accepted), chain.pending) == (2, 2)
    assert chain.fate(carol.said[5].id) is Fate.PENDING
    gap = chain.gap()
    assert gap is not None and "from number 4" in gap.message
    assert chain.offer(carol.said[2], 0) is Fate.ACCEPTED
    assert chain.offer(carol.said[3], 0) is Fate.ACCEPTED
    assert len(chain.accepted) == 6 and chain.gap() is None


def test_an_inception_certifies_itself_only() -> None:
    carol, mallory = Author("carol"), Author("mallory")
    chain = Chain(carol.id, Checker())
    with pytest.raises(StatementError):
        chain.offer(mallory.said[0], 0)
    assert chain.offer(forge(carol.said[0]), 0) is Fate.REFUSED
    assert "signed by the key that it names" in chain.refused[carol.id]
    by_next = sign(carol.at(0), carol.next)
    assert chain.offer(by_next, 0) is Fate.REFUSED
    assert chain.offer(carol.said[0], 0) is Fate.ACCEPTED
    assert chain.offer(forge(carol.said[0]), 0) is Fate.ACCEPTED, (
        "the statement is here, whatever this copy's signature"
    )


def test_an_announcement_is_in_no_chain() -> None:
    carol = Author("carol")
    announce = Announce(carol.id, 0, 1, "https://x.example/a/" + carol.id, Head(0, carol.id), (), 2)
    with pytest.raises(StatementError):
        Chain(carol.id, Checker()).offer(sign(announce, carol.key), 0)  # type: ignore[arg-type]


@pytest.mark.parametrize("who", ["old key", "stranger", "next key"])
def test_only_the_key_of_the_time_signs_ordinary_statements(who: str) -> None:
    carol = Author("carol")
    carol.rotate()
    keys = {"old key": signer("carol", "key", 0), "stranger": signer("x"), "next key": carol.next}
    bad = sign(carol.twin().vouch(Author("bob")).statement, keys[who])  # type: ignore[arg-type]
    chain = chain_of(carol)
    assert chain.offer(bad, 0) is Fate.REFUSED
    good = carol.vouch(Author("bob"))
    assert good.id == bad.id
    assert chain.offer(good, 0) is Fate.ACCEPTED, "the forged copy does not mask the true one"


def test_a_rotation_shows_the_committed_key_and_is_signed_by_it() -> None:
    carol = Author("carol")
    chain = chain_of(carol)
    place = {"iss": carol.id, "seq": 1, "prev": carol.id, "next": commitment(signer("z").public)}
    stolen = sign(Rotate(key=did_key(signer("y").public), **place), carol.key, signer("y"))  # type: ignore[arg-type]
    assert chain.offer(stolen, 0) is Fate.REFUSED, "the signing key alone cannot rotate"
    shown = sign(Rotate(key=did_key(carol.next.public), **place), carol.key)  # type: ignore[arg-type]
    assert chain.offer(shown, 0) is Fate.REFUSED, "showing the committed key is not holding it"
    assert chain.offer(carol.rotate(planned=True), 0) is Fate.ACCEPTED
    chain = chain_of(carol)
    assert chain.keys is not None and chain.keys.key == signer("carol", "key", 1).public


def test_nothing_follows_a_retirement() -> None:
    carol = Author("carol")
    carol.retire()
    chain = chain_of(carol)
    assert chain.keys is not None and chain.keys.retired
    late = carol.twin()
    late.keys = 1
    assert chain.offer(late.vouch(Author("bob")), 0) is Fate.REFUSED
    assert chain.offer(carol.twin().vouch(Author("bob")), 0) is Fate.REFUSED


# ---- contradictions --------------------------------------------------------------------------
@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_two_statements_with_one_number_are_the_proof_and_void_what_follows(order: tuple[int, ...]) -> None:
    carol = Author("carol")
    carol.vouch(Author("bob"))
    other = carol.twin()
    one, two = carol.vouch(Author("dan")), other.vouch(Author("eve"))
    after = carol.vouch(Author("fay"))
    given = [carol.said[1], one, two, after]
    chain = chain_of(carol, carol.said[0], *(given[i] for i in order))
    assert ids(chain) == [carol.id, carol.said[1].id]
    assert chain.equivocation is not None and chain.equivocation.seq == 2
    pair = {parse_signed(chain.equivocation.first).id, parse_signed(chain.equivocation.second).id}
    assert pair == {one.id, two.id}
    assert {chain.fate(s.id) for s in (one, two, after)} == {Fate.VOID}
    assert chain.equivocation.error().code == "SKY-212"


def test_a_forged_twin_is_no_contradiction() -> None:
    carol = Author("carol")
    other = carol.twin()
    carol.vouch(Author("bob"))
    chain = chain_of(carol)
    for bad in (forge(other.vouch(Author("eve"))), sign(other.at(1), signer("mallory"))):
        assert chain.offer(bad, 0) is Fate.REFUSED
    assert chain.equivocation is None and len(chain.accepted) == 2
    chain = chain_of(carol, carol.said[0], forge(other.said[1]), carol.said[1])
    assert chain.equivocation is None and len(chain.accepted) == 2


def test_a_twin_whose_own_predecessor_is_withheld_is_proof_too() -> None:
    carol = Author("carol")
    other = carol.twin()
    for sub in ("bob", "dan", "eve"):
        carol.vouch(Author(sub))
    other.vouch(Author("x"))
    hidden, shown = other.said[1], other.vouch(Author("y"))
    for order in ([*carol.said, shown], [shown, *carol.said], [*carol.said[:3], shown, carol.said[3]]):
        chain = chain_of(carol, *order)
        assert chain.equivocation is not None and chain.equivocation.seq == 2
        assert len(chain.accepted) == 2
        chain.offer(hidden, 0)
        assert chain.equivocation is not None and chain.equivocation.seq == 1
        assert len(chain.accepted) == 1


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_a_rotation_ends_the_contradiction_of_a_stolen_signing_key(order: tuple[int, ...]) -> None:
    """Soft theft: the thief has the signing key; the owner answers with the committed one."""
    carol = Author("carol")
    carol.vouch(Author("bob"))
    thief = carol.twin()
    mine, bad = carol.vouch(Author("dan")), thief.vouch(Author("mallory"))
    worse = thief.vouch(Author("mallory2"))
    rotation = carol.rotate()
    given = [mine, bad, worse, rotation]
    chain = chain_of(carol, *carol.said[:2], *(given[i] for i in order))
    assert ids(chain) == [one.id for one in carol.said]
    assert chain.equivocation is None
    assert chain.fate(bad.id) is Fate.VOID and chain.fate(worse.id) is Fate.VOID


def test_a_rotation_supersedes_what_a_thief_signed_from_its_number_on() -> None:
    carol = Author("carol")
    carol.vouch(Author("bob"))
    thief = carol.twin()
    thief.revoke(Author("bob"))
    thief.vouch(Author("mallory"))
    chain = chain_of(thief)
    assert len(chain.accepted) == 4 and chain.rewrites == 0
    chain.offer(carol.rotate(), 0)
    assert ids(chain) == [one.id for one in carol.said] and chain.rewrites == 1


def test_an_old_stolen_key_cannot_void_what_a_rotation_has_sealed() -> None:
    carol = busy()
    old = carol.twin(upto=0)
    old.keys = 0
    chain = chain_of(carol)
    assert chain.offer(old.vouch(Author("mallory")), 0) is Fate.VOID
    assert chain.equivocation is None and len(chain.accepted) == 6


def test_two_rotations_from_one_state_are_a_contradiction() -> None:
    carol = Author("carol")
    carol.vouch(Author("bob"))
    thief = carol.twin()
    carol.rotate()
    place = {"iss": carol.id, "seq": 2, "prev": carol.said[1].id}
    next_key = signer("carol", "key", 1)
    rival = sign(Rotate(key=did_key(next_key.public), next=commitment(signer("t").public), **place), next_key)  # type: ignore[arg-type]
    chain = chain_of(carol)
    chain.offer(rival, 0)
    assert chain.equivocation is not None and chain.equivocation.seq == 2 and len(chain.accepted) == 2
    assert thief.id == carol.id


# ---- recovery --------------------------------------------------------------------------------
def stolen(name: str = "carol") -> tuple[Author, Author, Signed]:
    """Hard theft: the thief has the signing and the committed key, and rotates to its own."""
    owner = Author(name)
    owner.vouch(Author("bob"))
    thief = owner.twin()
    rotation = thief.rotate()
    thief.vouch(Author("mallory"))
    return owner, thief, rotation


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_a_recovery_undoes_the_rotation_of_a_thief(order: tuple[int, ...]) -> None:
    owner, thief, rotation = stolen()
    undo = owner.recover(rotation)
    mine = owner.vouch(Author("dan"))
    given = [rotation, thief.said[3], undo, mine]
    chain = chain_of(owner, *owner.said[:2], *(given[i] for i in order), received=START)
    assert ids(chain) == [one.id for one in owner.said]
    assert chain.equivocation is None
    assert chain.keys is not None and chain.keys.key == owner.key.public
    assert chain.fate(thief.said[3].id) is Fate.VOID
    assert [parse_signed(one).id for one in chain.prefix(9)] == [
        owner.id, owner.said[1].id, rotation.id, undo.id, mine.id
    ]  # fmt: skip


@pytest.mark.parametrize(("late", "wins"), [(0, True), (RECOVERY_WINDOW, True), (RECOVERY_WINDOW + 1, False)])
def test_a_recovery_counts_for_seven_days(late: int, wins: bool) -> None:
    owner, thief, rotation = stolen()
    undo = owner.recover(rotation)
    for first in (rotation, undo):
        chain = chain_of(owner, owner.said[0], owner.said[1])
        for signed in (first, undo if first is rotation else rotation):
            chain.offer(signed, START + late if signed is undo else START)
        chain.offer(thief.said[3], START)
        assert chain.fate(undo.id) is (Fate.ACCEPTED if wins else Fate.VOID)
        assert ids(chain)[2:] == ([undo.id] if wins else [rotation.id, thief.said[3].id])
        assert chain.equivocation is None


def test_an_earlier_receipt_moves_the_window() -> None:
    owner, _, rotation = stolen()
    undo = owner.recover(rotation)
    chain = chain_of(owner, owner.said[0], owner.said[1])
    chain.offer(rotation, START + 9)
    chain.offer(undo, START + 9 + RECOVERY_WINDOW)
    assert chain.fate(undo.id) is Fate.ACCEPTED
    chain.offer(rotation, START)
    assert chain.fate(undo.id) is Fate.VOID
    chain.offer(undo, START + RECOVERY_WINDOW)
    assert chain.fate(undo.id) is Fate.ACCEPTED


def test_a_recovery_needs_a_recovery_key_and_what_it_undoes() -> None:
    owner, thief, rotation = stolen()
    fake = thief.twin()
    fake.recovery = [signer("not", "committed")]
    chain = chain_of(owner, *thief.said)
    assert chain.offer(fake.recover(rotation), 0) is Fate.REFUSED
    by_signing_key = owner.twin()
    by_signing_key.recovery = [by_signing_key.key]
    assert chain.offer(by_signing_key.recover(rotation, generation=50), 0) is Fate.REFUSED
    alone = chain_of(owner, *owner.said[:2])
    undo = owner.recover(rotation)
    assert alone.offer(undo, 0) is Fate.VOID, "what it undoes is not here: it could take back anything"
    assert len(alone.accepted) == 2
    of_vouch = Author("carol")
    vouch = of_vouch.vouch(Author("bob"))
    chain = chain_of(of_vouch)
    assert chain.offer(of_vouch.recover(vouch), 0) is Fate.VOID, "only rotations and retirements are undone"


def test_a_recovery_undoes_a_retirement_and_settles_two_rival_rotations() -> None:
    carol = Author("carol")
    thief = carol.twin()
    end = thief.retire()
    chain = chain_of(carol, *thief.said)
    undo = carol.recover(end)
    assert chain.offer(undo, 0) is Fate.ACCEPTED and chain.keys is not None and not chain.keys.retired

    owner = Author("carol")
    thief = owner.twin()
    theirs = thief.say(
        Rotate, owner.next, key=did_key(owner.next.public), next=commitment(signer("t").public)
    )
    mine = owner.rotate()
    chain = chain_of(owner, *owner.said, theirs)
    assert chain.equivocation is not None
    undo = owner.recover(theirs)
    assert chain.offer(undo, 0) is Fate.ACCEPTED and chain.equivocation is None
    assert chain.fate(mine.id) is Fate.VOID


def test_a_recovery_undoes_what_stands_beside_it_and_nothing_else() -> None:
    carol = busy()
    later = carol.twin()
    late = later.rotate()
    elsewhere = carol.twin(upto=2)
    undo = elsewhere.say(
        Rotate,
        carol.recovery[0],
        key=did_key(signer("g").public),
        next=commitment(signer("h").public),
        undo=late.id,
    )
    chain = chain_of(carol, *later.said)
    assert chain.offer(undo, 0) is Fate.VOID
    assert len(chain.accepted) == 7 and chain.equivocation is None


def test_what_nobody_could_sign_in_its_place_is_no_proof() -> None:
    """It looks like a twin until its predecessor comes, and shows that there another key had to sign."""
    owner = Author("carol")
    first, second = (
        owner.twin().say(
            Rotate, owner.next, key=did_key(owner.next.public), next=commitment(signer(name).public)
        )
        for name in ("t1", "t2")
    )
    undo = owner.recover(first)
    mine = owner.vouch(Author("bob"))
    odd = owner.twin()
    odd.said = [owner.said[0], second]
    twin = odd.vouch(Author("mallory"))
    for order in itertools.permutations((mine, twin, second)):
        chain = chain_of(owner, owner.said[0], first, undo, *order)
        assert chain.equivocation is None and ids(chain) == [owner.id, undo.id, mine.id]
    assert chain_of(owner, owner.said[0], first, undo, mine, twin).equivocation is not None


# ---- bounds ----------------------------------------------------------------------------------
def test_forgeries_cost_one_verification_each_and_truth_is_verified_once() -> None:
    carol = busy()
    known: set[str] = set()
    checker = Checker(known)
    chain = Chain(carol.id, checker)
    for signed in (*carol.said, *carol.said):
        chain.offer(signed, 0)
    assert checker.count == 6
    again = Checker(known)
    chain = Chain(carol.id, again)
    for signed in reversed(carol.said):
        chain.offer(signed, 0)
    assert again.count == 0 and len(chain.accepted) == 6
    chain.offer(forge(carol.twin().vouch(Author("eve"))), 0)
    assert again.count == 1
    chain.offer(sign(carol.twin().vouch(Author("eve")).statement, signer("m")), 0)  # type: ignore[arg-type]
    assert again.count == 1, "who does not even claim the right key is refused unread"


def test_a_flood_of_numbers_ahead_keeps_the_nearest_and_costs_no_verification() -> None:
    carol = Author("carol")
    for number in range(5):
        carol.vouch(Author(f"s{number}"))
    checker = Checker()
    chain = Chain(carol.id, checker)
    chain.offer(carol.said[0], 0)
    chain.offer(carol.said[2], 0)
    far = carol.twin()
    far.said = [*far.said, *[far.said[-1]] * 1000]
    for _ in range(MAX_PENDING + 50):
        flood = far.vouch(Author("mallory"))
        chain.offer(flood, 0)
    assert (chain.pending, chain.overflowed, checker.count) == (MAX_PENDING, True, 1)
    assert chain.fate(carol.said[2].id) is Fate.PENDING, "what is nearest to the head stays"
    for signed in carol.said:
        chain.offer(signed, 0)
    assert len(chain.accepted) == 6


def test_a_wrong_number_behind_a_known_predecessor_is_never_followed() -> None:
    carol = Author("carol")
    carol.vouch(Author("bob"))
    odd = carol.twin()
    odd.said = [odd.said[0], odd.said[0], odd.said[0], odd.said[0]]
    jump = odd.vouch(Author("dan"))
    chain = chain_of(carol)
    assert chain.offer(jump, 0) is Fate.PENDING
    assert len(chain.accepted) == 2


@settings(max_examples=60, deadline=None)
@given(st.randoms(use_true_random=False))
def test_a_random_tree_gives_one_outcome_whatever_the_order(dice: random.Random) -> None:
    """Owner and thieves say anything, from anywhere, with what keys they have; the outcome depends on the set
    alone.
    """
    owner = Author("carol")
    voices = [owner]
    everything: list[tuple[Signed, float]] = [(owner.said[0], 0.0)]
    for step in range(dice.randrange(3, 12)):
        voice = dice.choice(voices)
        if dice.random() < 0.35:
            voice = voice.twin(dice.randrange(len(voice.said)))
            voice.keys = sum(isinstance(s.statement, Rotate) for s in voice.said)
            voices.append(voice)
        last = voice.said[-1].statement
        act = dice.random()
        if last.kind == "retire":
            continue
        if act < 0.55:
            said = voice.vouch(Author(f"s{step}"))
        elif act < 0.75:
            said = voice.rotate()
        elif act < 0.82:
            said = voice.retire()
        elif isinstance(last, Rotate) and last.undo is None and voice.keys < 50:
            said = voice.recover(voice.said[-1], generation=100 + 10 * step)
        else:
            continue
        everything.append((said, dice.choice((0.0, START, START + 2.0 * RECOVERY_WINDOW))))
        if dice.random() < 0.2:
            everything.append((forge(said), 0.0))
    keep = [one for one in everything if dice.random() < 0.9 or isinstance(one[0].statement, Inception)]
    outcomes = set()
    for _ in range(5):
        dice.shuffle(keep)
        chain = Chain(owner.id, Checker())
        for signed, received in keep:
            chain.offer(signed, received)
        fates = tuple(sorted((one.id, str(chain.fate(one.id))) for one, _ in keep))
        outcomes.add((tuple(ids(chain)), chain.equivocation, fates))
    assert len(outcomes) == 1
