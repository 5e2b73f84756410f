"""The lines of the attack list (`spec/threats.md`) that concern room: who may make whom store how much."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from skyswarm.messages.dsse import seal
from skyswarm.messages.keys import commitment, did_key
from skyswarm.messages.requests import SubmitReply, SubmitRequest
from skyswarm.messages.statements import Rotate, Vouch, payload_type
from skyswarm.usecases import repos, repository, sync
from skyswarm.usecases.quotas import Quotas
from tests.support.inprocess import DAY, Party, World

KIB = 1024
ALL = repository.VOUCH_KINDS | repository.REVOKE_KINDS


@pytest.fixture
def world() -> World:
    return World()


def vouch_for(party: Party, number: int) -> Vouch:
    now = int(party.world.now)
    sub = hashlib.sha256(b"sybil %d" % number).hexdigest()
    return Vouch(*party.next(), sub, ("fetch",), 0, None, now, now + DAY)


# ---- a repository against who reads it -------------------------------------------------------
def limited(party: Party, day: int, whole: int) -> Party:
    limits = replace(party.deps.limits, log_bytes_per_day=day, log_bytes=whole)
    return replace(party, deps=replace(party.deps, limits=limits))


def stored(party: Party) -> int:
    rows = party.deps.statements.after(party.id, 0, 100_000)
    return sum(len(row.envelope) for row in rows if row.issuer != party.id)


def test_attack_a_repository_cannot_fill_the_disk_of_who_reads_it(world: World) -> None:
    repo, mallory = world.repository("repo"), world.agent("mallory")
    alice = limited(world.agent("alice"), 300 * KIB, 700 * KIB)
    for number in range(1500):
        mallory.extend(vouch_for(mallory, number))
    repo.deps.statements.append(repo.id, mallory.deps.statements.of(mallory.id, mallory.id, 0, 10_000))
    repos.add(alice.deps, alice.id, repo.url)
    page = 256 * 1100  # the last one may go beyond
    for most in (300 * KIB, 600 * KIB, 700 * KIB, 700 * KIB):
        for _ in range(3):
            sync.tend(alice.deps, alice.id, [repo.url], alice.url)
            held = repos.state(alice.deps, alice.id, repo.id)
            assert held.alarm is None and held.error is None
            assert held.full is not None and held.full["code"] == "SKY-429"
        assert stored(alice) < most + page
        world.now += DAY
    alice.vouch(mallory)
    sync.tend(alice.deps, alice.id, [repo.url], alice.url)
    assert alice.chain[-1].id in repo.statements(), "handing in goes on"
    richer = limited(alice, 1 << 30, 1 << 30)
    sync.tend(richer.deps, richer.id, [repo.url], richer.url)
    held = repos.state(alice.deps, alice.id, repo.id)
    assert held.full is None and held.size == repo.deps.statements.count(repo.id)


def test_attack_what_a_repository_shows_of_single_chains_is_counted_too(world: World) -> None:
    repo, bob = world.repository("repo"), limited(world.agent("bob"), 16 * KIB, 16 * KIB)
    for number in range(100):
        repo.extend(vouch_for(repo, number))
    assert sync.pull(bob.deps, bob.id, repo.url).more is False
    held = repos.state(bob.deps, bob.id, repo.id)
    assert held.full is not None and held.size == 0
    assert bob.deps.meters.read(bob.id, f"read/{repo.id}") >= 16 * KIB


# ---- strangers against a repository ----------------------------------------------------------
def codes(repo: Party, party: Party, quotas: Quotas) -> list[str | None]:
    """What becomes of all that `party` has said: None, or why it is refused."""
    rows = party.deps.statements.of(party.id, party.id)
    out: list[str | None] = []
    for at in range(0, len(rows), 64):
        body = SubmitRequest(tuple(row.envelope for row in rows[at : at + 64])).dump()
        reply = SubmitReply.parse(repository.submit(repo.deps, repo.id, body, ALL, quotas))
        out += [one.code for one in reply.results]
    return out


def logged_of(repo: Party, *parties: Party) -> int:
    rows = repo.deps.statements.after(repo.id, 0, 10_000)
    return sum(len(row.envelope) for row in rows if row.issuer in {one.id for one in parties})


def test_attack_newcomers_share_one_quota_of_bytes(world: World) -> None:
    quotas = Quotas(newcomer_bytes_per_day=40 * KIB, reserve_bytes=4 * KIB)
    repo, old = world.repository("repo"), world.agent("old")
    assert codes(repo, old, quotas) == [None]
    world.now += 7 * DAY
    strangers = [world.agent(f"s{number}") for number in range(8)]
    for one in strangers:
        for number in range(20):
            one.extend(vouch_for(one, number))
    outcomes = [codes(repo, one, quotas) for one in strangers]
    assert all(one[0] is None for one in outcomes), "each has room for its inception"
    assert outcomes[0] == [None] * 21
    assert outcomes[-1][1] == "SKY-429" and set(outcomes[-1][1:]) == {"SKY-429", "SKY-213"}
    assert logged_of(repo, *strangers) <= 40 * KIB + 8 * 2 * 4 * KIB
    for number in range(20):
        old.extend(vouch_for(old, number))
    assert codes(repo, old, quotas) == [None] * 21, "who is here longer goes on"
    world.now += DAY
    assert codes(repo, strangers[-1], quotas) == [None] * 21, "each day anew"


def test_attack_a_flood_of_newcomers_keeps_no_revocation_out(world: World) -> None:
    quotas = Quotas(newcomer_bytes_per_day=20 * KIB)
    repo, bob, alice = world.repository("repo"), world.agent("bob"), world.agent("alice")
    alice.vouch(bob)
    assert codes(repo, alice, quotas) == [None, None]
    flood = world.agent("flood")
    for number in range(40):
        flood.extend(vouch_for(flood, number))
    assert "SKY-429" in codes(repo, flood, quotas)
    alice.vouch(flood)
    assert codes(repo, alice, quotas)[-1] == "SKY-429"
    for _ in range(3):
        alice.revoke(bob)
    alice.rotate()
    alice.revoke(bob)
    assert codes(repo, alice, quotas) == [None] * 8, "with what they follow"
    alice.vouch(bob)
    assert codes(repo, alice, quotas)[-1] == "SKY-429"


def test_attack_a_thief_who_uses_up_the_room_for_revocations_keeps_no_rotation_out(world: World) -> None:
    quotas = Quotas(newcomer_bytes_per_day=1)
    repo, bob, alice = world.repository("repo"), world.agent("bob"), world.agent("alice")
    for _ in range(40):
        alice.revoke(bob)
    outcomes = codes(repo, alice, quotas)
    assert 8 < outcomes.index("SKY-429") < 40
    key = alice.deps.keys
    beside = Rotate(
        alice.id, 1, alice.id, did_key(key.upcoming(alice.id).public), commitment(key.following(alice.id))
    )
    envelope = seal(payload_type("rotate"), beside.payload(), key.upcoming(alice.id)).dump()
    body = SubmitRequest((envelope,)).dump()
    reply = SubmitReply.parse(repository.submit(repo.deps, repo.id, body, ALL, quotas))
    assert [one.code for one in reply.results] == [None]
