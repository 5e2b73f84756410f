"""Attacks with statements on an agent: forged, backdated, by the thousand. Through its HTTP doors, on SQLite."""

from __future__ import annotations

import pytest

from skyswarm.messages.statements import Announce, Head, Vouch
from skyswarm.usecases import introducing, people
from tests.support.attack import DAY, FILE, Agent, Sybil, Town, ask, sealed, submit


@pytest.fixture
def carol(place: Town, alice: Agent) -> Agent:
    """Alice trusts her, and lets her vouch for others."""
    return alice.welcomes(place.agent("carol"), depth=2)


def _vouch(issuer: Agent, sub: str, now: float, seq: int = 1, prev: str | None = None) -> Vouch:
    last = prev or issuer.deps.statements.of(issuer.id, issuer.id)[-1].id
    return Vouch(issuer.id, seq, last, sub, ("fetch",), 0, None, int(now) - 60, int(now) + DAY)


# ---- forged vouch ------------------------------------------------------------------------------
def test_attack_forged_vouch_attached_as_proof(place: Town, alice: Agent, carol: Agent, share: str) -> None:
    mallory = place.agent("mallory")
    forged = sealed(_vouch(carol, mallory.id, alice.now()), mallory.key)
    before = alice.rows()
    for proof in ([*mallory.chain(), forged], [*mallory.chain(), *carol.chain(), forged]):
        answer = ask(mallory, alice, share, proof=proof)
        assert (answer.status, answer.code) == (403, "SKY-210")
    assert alice.rows() == before, "a forgery and a stranger leave no trace"
    # Carol's own next statement, of that very number, is taken.
    real = carol.vouch(mallory)
    assert ask(mallory, alice, share, proof=[*mallory.chain(), real.envelope_bytes]).status == 200


def test_attack_forged_vouch_at_the_vouch_door(place: Town, alice: Agent, carol: Agent) -> None:
    mallory = place.agent("mallory")
    forged = sealed(_vouch(carol, alice.id, alice.now()), mallory.key)
    before = alice.rows()
    (outcome,) = submit(alice, [forged]).json["results"]
    assert (outcome["position"], outcome["code"]) == (None, "SKY-213")
    assert alice.rows() == before


def test_attack_forged_statements_do_not_crowd_out_a_revocation(
    place: Town, alice: Agent, carol: Agent, share: str
) -> None:
    """Thousands of forgeries in carol's name, with her next numbers; then her true revocation."""
    bob, mallory = place.agent("bob"), place.agent("mallory")
    carol.vouch(bob)
    assert ask(bob, alice, share, proof=[*bob.chain(), *carol.chain()]).status == 200
    before = alice.rows()
    for batch in range(3):
        junk = [
            sealed(_vouch(carol, f"{batch * 64 + n:064x}", alice.now(), seq=2 + n), mallory.key)
            for n in range(60)
        ]
        assert ask(mallory, alice, share, proof=junk).status in (401, 403)
    assert alice.rows() == before
    people.revoke(carol.deps, carol.id, sub=bob.id)
    submit(alice, carol.chain()[-1:], "revoke")
    assert ask(bob, alice, share).code == "SKY-211"


# ---- backdated statement -----------------------------------------------------------------------
def test_attack_backdated_vouch(place: Town, alice: Agent, carol: Agent, share: str) -> None:
    """After carol's key was rotated out, the thief of the old one signs a vouch that claims to be older."""
    mallory, stolen = place.agent("mallory"), carol.key
    born = carol.deps.statements.of(carol.id, carol.id)[0].id
    people.rotate(carol.deps, carol.id)
    alice.hears(carol)
    now = alice.now()
    old = Vouch(carol.id, 1, born, mallory.id, ("fetch",), 0, None, int(now) - 5 * DAY, int(now) + DAY)
    for door in (lambda: submit(alice, [sealed(old, stolen)]), lambda: None):
        door()
        answer = ask(mallory, alice, share, proof=[*mallory.chain(), sealed(old, stolen)])
        assert (answer.status, answer.code) in ((403, "SKY-210"), (403, "SKY-211"))
    assert carol.vouch(place.agent("dave")).statement.iss == carol.id
    alice.hears(carol)
    assert alice.sees(carol), "the rotation stands above what the thief wrote"


def test_attack_a_vouch_for_another_is_no_proof_for_me(
    place: Town, alice: Agent, carol: Agent, share: str
) -> None:
    """The confused deputy of statements: bob's vouch in mallory's hands."""
    bob, mallory = place.agent("bob"), place.agent("mallory")
    carol.vouch(bob)
    answer = ask(mallory, alice, share, proof=[*mallory.chain(), *bob.chain(), *carol.chain()])
    assert (answer.status, answer.code) == (403, "SKY-210")


def test_attack_an_announcement_as_proof(alice: Agent, carol: Agent, share: str) -> None:
    now = int(alice.now())
    event = Announce(carol.id, 0, now * 1000, carol.url, Head(0, carol.id), (), now + 60)
    answer = ask(carol, alice, share, proof=[sealed(event, carol.key)])
    assert (answer.status, answer.code) == (400, "SKY-109")


# ---- sybil flood -------------------------------------------------------------------------------
def test_attack_sybil_flood_in_proofs_leaves_nothing_and_costs_nothing(
    place: Town, alice: Agent, share: str
) -> None:
    """A region of agents that vouch for each other and for the asker, none of whom alice's chains reach."""
    mallory = place.agent("mallory")
    sybils = [Sybil(n) for n in range(30)]
    proof = [*mallory.chain()]
    for n, one in enumerate(sybils):
        one.vouch(sybils[n - 1].id, alice.now())
        one.vouch(mallory.id, alice.now())
        proof += one.chain[:2]
    proof = proof[:64]
    assert not alice.sees(mallory)  # from here on her own birth, all that she has stored, is checked
    before, checks = alice.rows(), alice.verifications()
    assert {ask(mallory, alice, share, proof=proof).code for _ in range(10)} == {"SKY-210"}
    assert (alice.rows(), alice.verifications()) == (before, checks)


def test_attack_sybil_flood_at_the_vouch_door_is_bounded(place: Town, alice: Agent, carol: Agent) -> None:
    """Vouches *for alice* are taken from anybody, but all strangers share one quota; those she knows have their own."""
    before, taken, refused = alice.rows(), 0, set()
    for n in range(12):
        one = Sybil(1000 + n)
        envelopes = [*one.chain, *(one.vouch(alice.id, alice.now()) for _ in range(30))]
        answer = submit(alice, envelopes)
        taken += answer.status == 200
        refused |= {answer.code} - {""}
    assert refused == {"SKY-429"}
    assert alice.rows() - before <= 120
    checks = alice.verifications()
    assert not alice.sees(Sybil(1000).id)
    assert alice.verifications() == checks, "what strangers say about each other costs no signature check"
    # Carol, whom a chain reaches, still gets through in that very minute.
    mine = carol.vouch(alice)
    assert submit(alice, [mine.envelope_bytes]).json["results"][0]["position"] is not None


def test_attack_sybil_flood_over_days_fills_the_store_slowly(place: Town, alice: Agent) -> None:
    before = alice.rows()
    for minute in range(25):
        one = Sybil(5000 + minute)
        submit(alice, [*one.chain, *(one.vouch(alice.id, alice.now()) for _ in range(60))])
        submit(alice, [one.vouch(alice.id, alice.now()) for _ in range(59)])
        place.ahead += 60
    assert 500 < alice.rows() - before <= 2 * 2000


def test_attack_strangers_by_the_thousand_share_one_quota(place: Town) -> None:
    """Identities are free, so a quota for each would be none."""
    alice, bob = place.agent("alice", strangers_per_minute=20), place.agent("bob")
    share = alice.publish({"a": FILE}).manifest.id
    alice.vouch(bob)
    alice.hears(bob)
    codes = []
    for n in range(40):
        one = Sybil(9000 + n)
        codes.append(ask(bob, alice, share, signer=one.key, agent=one.id, proof=one.chain).code)
    assert codes == ["SKY-210"] * 20 + ["SKY-429"] * 20
    assert ask(bob, alice, share).status == 200, "those who are trusted do not notice"


def test_attack_sybil_vouches_do_not_crowd_out_an_introduction(
    place: Town, alice: Agent, carol: Agent, share: str
) -> None:
    """Whoever likes vouches for bob; what he shows alice is still the vouch that counts with her."""
    bob = place.agent("bob")
    bob.hears(alice)
    for n in range(100):
        one = Sybil(20_000 + n)
        one.vouch(bob.id, bob.now())
        if n < 20:
            assert submit(bob, one.chain).status == 200
    introducing.introduction(bob.deps, bob.id, alice.id)
    carol.vouch(bob)
    bob.hears(carol)
    proof = introducing.introduction(bob.deps, bob.id, alice.id)
    assert carol.chain()[-1] in proof
    assert len(proof) <= 64
    assert ask(bob, alice, share, proof=proof).status == 200


def test_attack_forged_statements_do_not_crowd_out_an_introduction(
    place: Town, alice: Agent, carol: Agent, share: str
) -> None:
    bob, mallory = place.agent("bob"), place.agent("mallory")
    carol.vouch(bob)
    bob.hears(carol)
    from skyswarm.messages.statements import parse_signed
    from skyswarm.usecases.views import row_of

    junk = [sealed(_vouch(carol, bob.id, bob.now(), seq=2 + n), mallory.key) for n in range(100)]
    # As a lying repository would hand them out: unchecked.
    bob.deps.statements.append(bob.id, [row_of(parse_signed(one), bob.now()) for one in junk])
    proof = introducing.introduction(bob.deps, bob.id, alice.id)
    assert ask(bob, alice, share, proof=proof).status == 200


# ---- mutual distrust, cycles -----------------------------------------------------------------------
def test_attack_mutual_distrust(place: Town, alice: Agent, carol: Agent, share: str) -> None:
    """Bob and carol distrust each other: what each vouched for is lost, alice's own vouches stay."""
    bob = place.agent("bob")
    alice.vouch(bob, depth=2)
    people.distrust(carol.deps, carol.id, bob.id)
    people.distrust(bob.deps, bob.id, carol.id)
    alice.hears(bob, carol)
    assert ask(bob, alice, share).status == ask(carol, alice, share).status == 200


def test_attack_cyclic_vouches_reach_no_further(place: Town, alice: Agent, carol: Agent, share: str) -> None:
    bob, dave = place.agent("bob"), place.agent("dave")
    carol.vouch(bob, depth=7)
    bob.vouch(carol, depth=7)
    bob.vouch(dave, depth=7)
    dave.vouch(bob, depth=7)
    eve = place.agent("eve")
    dave.vouch(eve, depth=7)
    alice.hears(carol, bob, dave, eve)
    assert [alice.sees(one) for one in (carol, bob, dave, eve)] == [True, True, True, False]
    assert ask(eve, alice, share).code == "SKY-210"
