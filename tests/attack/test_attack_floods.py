"""The lines of the attack list (`spec/threats.md`) that concern room: who may make whom store how much."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from skyswarm.messages.statements import Vouch
from skyswarm.usecases import repos, sync
from tests.support.inprocess import DAY, Party, World

KIB = 1024


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
