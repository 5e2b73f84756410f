"""What an agent takes at its vouch and revoke doors, and how it introduces itself at others'."""

from __future__ import annotations

from dataclasses import replace

import pytest

from skyswarm.errors import (
    MalformedError,
    NotTrustedError,
    QuotaError,
    RequestError,
    ShareDeniedError,
    TooLargeError,
)
from skyswarm.messages.httpsig import Checked
from skyswarm.messages.requests import FetchRequest, SubmitReply, SubmitRequest, Want
from skyswarm.messages.statements import parse_signed
from skyswarm.usecases import people, receiving, serving
from skyswarm.usecases.introducing import introduction
from skyswarm.usecases.proofs import brought, learn
from skyswarm.usecases.repository import REVOKE_KINDS, VOUCH_KINDS
from tests.support.land import Land, Person


@pytest.fixture
def carol(land: Land, alice: Person) -> Person:
    return alice.welcomes(land.agent("carol"), depth=2)


def chain(who: Person) -> list[bytes]:
    return [row.envelope for row in who.deps.statements.of(who.id, who.id)]


def deliver(to: Person, envelopes: list[bytes], kinds: frozenset[str] = VOUCH_KINDS) -> list[str | None]:
    """The codes of the outcomes."""
    body = receiving.deliver(to.deps, to.id, SubmitRequest(tuple(envelopes)).dump(), kinds)
    return [one.code for one in SubmitReply.parse(body).results]


def test_a_vouch_of_somebody_trusted_is_taken_and_counts(land: Land, alice: Person, carol: Person) -> None:
    bob = land.agent("bob")
    carol.vouch(bob)
    assert deliver(alice, chain(carol)[1:]) == [None]
    assert alice.sees(bob)


def test_twice_is_harmless(alice: Person, carol: Person, land: Land) -> None:
    carol.vouch(land.agent("bob"))
    count = [deliver(alice, chain(carol)) and alice.deps.statements.count(alice.id) for _ in range(3)]
    assert len(set(count)) == 1


def test_a_vouch_for_me_is_taken_from_anybody_with_its_chain(land: Land, alice: Person) -> None:
    eve = land.agent("eve")
    eve.vouch(alice)
    assert deliver(alice, chain(eve)[1:]) == ["SKY-213"], "without its inception nobody can check it"
    assert deliver(alice, chain(eve)) == [None, None]
    assert not alice.sees(eve), "that she vouches for me makes her nobody"


def test_what_is_not_about_me_is_refused(land: Land, alice: Person) -> None:
    eve, bob = land.agent("eve"), land.agent("bob")
    eve.vouch(bob)
    with pytest.raises(NotTrustedError):
        deliver(alice, chain(eve))
    carol = land.agent("carol")
    alice.vouch(carol)
    assert deliver(alice, [*chain(eve), *chain(carol)]) == ["SKY-210", "SKY-210", None]


def test_the_kind_must_be_of_the_door(land: Land, alice: Person, carol: Person) -> None:
    people.revoke(carol.deps, carol.id, sub=land.agent("bob").id)
    with pytest.raises(RequestError):
        deliver(alice, chain(carol)[-1:])
    assert deliver(alice, chain(carol)[-1:], REVOKE_KINDS) == [None]


def test_too_many_and_not_at_all(alice: Person, carol: Person) -> None:
    with pytest.raises(TooLargeError):
        deliver(alice, chain(carol) * 65)
    with pytest.raises(MalformedError):
        receiving.deliver(alice.deps, alice.id, b"nonsense", VOUCH_KINDS)
    assert deliver(alice, chain(carol) * 64) == [None] * 64


def test_each_issuer_has_its_own_quota_and_it_comes_back(land: Land, alice: Person, carol: Person) -> None:
    dave = land.agent("dave")
    alice.vouch(dave)
    deliver(alice, chain(carol) * 64)
    with pytest.raises(QuotaError):
        deliver(alice, chain(carol) * 64)
    assert deliver(alice, chain(dave)) == [None]
    land.now += 60
    assert deliver(alice, chain(carol)) == [None]


# ---- proofs ------------------------------------------------------------------------------------------------
def test_a_proof_is_learnt_ring_by_ring(land: Land, alice: Person, carol: Person) -> None:
    """Out of order, over several hops: what a chain reaches is stored, the rest is not."""
    bob, dave, eve = land.agent("bob"), land.agent("dave"), land.agent("eve")
    carol.vouch(bob, depth=1)
    bob.vouch(dave)
    dave.vouch(eve)
    found = brought(
        [*reversed(chain(eve)), *reversed(chain(dave)), *reversed(chain(bob)), *reversed(chain(carol))]
    )
    before = alice.deps.statements.count(alice.id)
    new = learn(alice.deps, alice.id, found, "fetch", land.now)
    assert alice.sees(bob) and alice.sees(dave) and not alice.sees(eve)
    assert new == alice.deps.statements.count(alice.id) - before == 1 + 2 + 2
    assert learn(alice.deps, alice.id, found, "fetch", land.now) == 0


def test_a_rotation_in_a_proof(land: Land, alice: Person, carol: Person) -> None:
    for _ in range(3):
        people.rotate(carol.deps, carol.id)
    bob = land.agent("bob")
    carol.vouch(bob)
    assert learn(alice.deps, alice.id, brought(chain(carol)), "fetch", land.now) == 4
    assert alice.sees(bob)


def test_the_newer_half_alone_is_enough_when_the_older_is_here(
    land: Land, alice: Person, carol: Person
) -> None:
    people.rotate(carol.deps, carol.id)
    alice.hears(carol)
    bob = land.agent("bob")
    carol.vouch(bob)
    assert learn(alice.deps, alice.id, brought(chain(carol)[-1:]), "fetch", land.now) == 1
    assert alice.sees(bob)


def test_with_a_gap_nothing_is_stored(land: Land, alice: Person, carol: Person) -> None:
    people.rotate(carol.deps, carol.id)
    carol.vouch(land.agent("bob"))
    assert learn(alice.deps, alice.id, brought(chain(carol)[-1:]), "fetch", land.now) == 0


# ---- introductions -----------------------------------------------------------------------------------------
def test_an_introduction_is_our_chain_and_those_who_vouch_for_us(
    land: Land, alice: Person, carol: Person
) -> None:
    bob = land.agent("bob")
    assert introduction(bob.deps, bob.id, alice.id) == tuple(chain(bob))
    carol.vouch(bob)
    bob.hears(carol)
    assert introduction(bob.deps, bob.id, alice.id) == (*chain(bob), *chain(carol))


def test_who_the_other_side_vouches_for_comes_first(land: Land, alice: Person, carol: Person) -> None:
    """Earlier vouches of strangers, and long chains, do not push out the one that counts."""
    bob = land.agent("bob")
    strangers = [land.agent(f"s{n}") for n in range(30)]
    for one in strangers:
        one.vouch(bob)
    bob.hears(*strangers, alice)
    carol.vouch(bob)
    bob.hears(carol)
    told = introduction(bob.deps, bob.id, alice.id)
    assert told[: len(chain(bob)) + len(chain(carol))] == (*chain(bob), *chain(carol))
    assert len(told) <= 64
    # For somebody we know nothing of: the earliest.
    assert parse_signed(introduction(bob.deps, bob.id, "f" * 64)[1]).statement.iss == strangers[0].id


def test_a_voucher_with_a_long_chain_gives_way(land: Land, alice: Person, carol: Person) -> None:
    bob, dave = land.agent("bob"), land.agent("dave")
    for n in range(70):
        people.distrust(dave.deps, dave.id, f"{n:064x}")
    dave.vouch(bob)
    carol.vouch(bob)
    bob.hears(dave, carol)
    assert introduction(bob.deps, bob.id, alice.id) == (*chain(bob), *chain(carol))


def test_our_own_chain_too_long_is_left_to_repositories(land: Land, alice: Person) -> None:
    bob = land.agent("bob")
    for n in range(70):
        people.distrust(bob.deps, bob.id, f"{n:064x}")
    assert introduction(bob.deps, bob.id, alice.id) == ()


def test_a_first_request_goes_without_proof_and_the_second_with_it(
    land: Land, alice: Person, carol: Person
) -> None:
    bob = land.agent("bob")
    carol.vouch(bob)
    bob.hears(carol)
    transfer = bob.get(alice.publish({"a": b"abc"}).envelope, alice)
    bob.work()
    assert bob.job(transfer).state == "done"
    assert alice.told.count("refused") == 1, "only the very first was not known"


# ---- a share's threshold -----------------------------------------------------------------------------------
def test_a_share_that_asks_for_two_independent_chains(land: Land, alice: Person, carol: Person) -> None:
    bob, dave = land.agent("bob"), land.agent("dave")
    alice.vouch(dave, depth=1)
    carol.vouch(bob)
    bob.hears(carol, dave)
    alice.hears(carol, dave, bob)
    share = alice.publish({"a": b"abc"}, survive=1)
    transfer = bob.get(share.envelope, alice)
    bob.work()
    assert bob.job(transfer).state == "refused"
    dave.vouch(bob)
    bob.hears(dave)
    transfer = bob.get(share.envelope, alice)
    bob.work()
    assert bob.job(transfer).state == "done", "the second voucher came along as proof"


def test_windowed_meters_say_when_they_end(land: Land, alice: Person, carol: Person) -> None:
    """So that a store may forget them."""
    ends: dict[str, float] = {}
    real = alice.deps.meters

    class Watching:
        def __getattr__(self, name: str) -> object:
            return getattr(real, name)

        def add(self, agent: str, meter: str, amount: int, limit: int, expires: float = 0) -> int:
            ends[meter] = expires
            return real.add(agent, meter, amount, limit, expires)

    alice.deps = replace(alice.deps, meters=Watching())  # type: ignore[arg-type]
    bob = land.agent("bob")
    carol.vouch(bob)
    bob.hears(carol)
    bob.get(alice.publish({"a": b"abc"}).envelope, alice)
    bob.work()
    minute = int(land.now) // 60
    windowed = {meter for meter in ends if meter.endswith(f"/{minute}")}
    assert len(windowed) == 3, ends  # strangers, asks, receipts
    assert all(ends[meter] == int(land.now) + 60 for meter in windowed)


class Counting:
    """A port that notes which of its methods are called."""

    def __init__(self, port: object, calls: list[str]) -> None:
        self._port, self._calls = port, calls

    def __getattr__(self, name: str) -> object:
        self._calls.append(name)
        return getattr(self._port, name)


def test_attack_no_share_and_one_for_others_cost_the_same_steps(
    land: Land, alice: Person, carol: Person
) -> None:
    """The same answer after the same reads and writes: what takes equally long tells nothing."""
    share = alice.publish({"a": b"abc"}, audience=("f" * 64,), survive=3).manifest.id
    ended = alice.publish({"a": b"abc"}, expires=int(land.now) + 10).manifest.id
    land.now += 10
    ports = ("statements", "shares", "held", "nonces", "meters", "notes", "storages", "keys")
    steps = []
    for manifest in ("0" * 64, "0" * 64, share, ended):
        calls: list[str] = []
        counted = {name: Counting(getattr(alice.deps, name), calls) for name in ports}
        deps = replace(alice.deps, **counted)  # type: ignore[arg-type]
        checked = Checked(
            carol.id,
            "",
            carol.deps.keys.current(carol.id).public,
            land.entropy(8).hex(),
            0,
            0,
            land.now + 200,
        )
        with pytest.raises(ShareDeniedError) as caught:
            serving.fetch_piece(deps, alice.id, checked, FetchRequest(manifest, (Want(0, 0, 0, 1),)))
        steps.append((calls, str(caught.value)))
    assert steps[1] == steps[2] == steps[3]
