"""Finding who holds a share: side by side, verified, and never slower for a repository that is dead or lies."""

from __future__ import annotations

import hashlib
import hmac
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from skyswarm.errors import MalformedError
from skyswarm.messages.dsse import Envelope, seal
from skyswarm.messages.keys import SeedSigner
from skyswarm.messages.repository import AnnounceRequest, LookupReply, StatementsPage
from skyswarm.messages.statements import MAX_PAYLOAD, Announce, Head, payload_type
from skyswarm.usecases import repos, sync
from skyswarm.usecases.lookup import GRACE, locate, look_up, lookup_key
from tests.support.inprocess import Answer, Party, SlowAnswer, World, honest

MANIFEST = hashlib.sha256(b"a manifest").hexdigest()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as made:
        yield made


@pytest.fixture
def world() -> World:
    return World()


def sharing(world: World, name: str, *at: Party) -> Party:
    """An agent that announces MANIFEST at these repositories."""
    party = world.agent(name)
    party.share(MANIFEST)
    sync.announce_all(party.deps, party.id, [repo.url for repo in at], party.url)
    return party


def test_the_key_is_a_keyed_hash_of_the_manifest_id() -> None:
    made = hmac.new(bytes.fromhex(MANIFEST), b"skyswarm/v1/lookup", "sha256").digest()
    assert lookup_key(MANIFEST) == urlsafe_b64encode(made).rstrip(b"=").decode()
    with pytest.raises(MalformedError):
        lookup_key(MANIFEST.upper())


def test_answers_of_several_repositories_are_merged_freshest_first(
    world: World, pool: ThreadPoolExecutor
) -> None:
    one, two = world.repository("one"), world.repository("two")
    alice = sharing(world, "alice", one, two)
    world.now += 5
    bob = sharing(world, "bob", two)
    world.now += 5
    moved = replace(alice.deps, cache={})
    sync.announce_all(moved, alice.id, [one.url], f"https://elsewhere.example/a/{alice.id}")
    carol = world.agent("carol")
    found = locate(carol.deps, carol.id, MANIFEST, [one.url, two.url], pool)
    assert [(one.agent, one.endpoint) for one in found] == [
        (alice.id, f"https://elsewhere.example/a/{alice.id}"),
        (bob.id, bob.url),
    ]
    assert locate(carol.deps, carol.id, hashlib.sha256(b"other").hexdigest(), [one.url, two.url], pool) == []
    assert locate(carol.deps, carol.id, MANIFEST, [], pool) == []
    assert locate(carol.deps, carol.id, MANIFEST, ["not an address"], pool) == []


def test_a_repository_that_never_answers_does_not_slow_the_others(
    world: World, pool: ThreadPoolExecutor
) -> None:
    quick, stuck = world.repository("quick"), world.repository("stuck")
    sharing(world, "alice", quick)
    bob = world.agent("bob")
    go = threading.Event()
    world.serve(stuck, SlowAnswer(go.wait, honest(stuck)))
    started = time.monotonic()
    try:
        found = locate(bob.deps, bob.id, MANIFEST, [stuck.url, quick.url], pool)
        took = time.monotonic() - started
    finally:
        go.set()
    assert len(found) == 1
    assert took < GRACE + 1.0 < bob.deps.limits.lookup_timeout


def test_when_none_answers_it_ends_at_the_timeout(world: World, pool: ThreadPoolExecutor) -> None:
    stuck = world.repository("stuck")
    bob = world.agent("bob")
    deps = replace(bob.deps, limits=replace(bob.deps.limits, lookup_timeout=0.2))
    go = threading.Event()
    world.serve(stuck, SlowAnswer(go.wait, honest(stuck)))
    try:
        assert locate(deps, bob.id, MANIFEST, [stuck.url], pool) == []
    finally:
        go.set()


def test_a_repository_that_rests_is_asked_only_when_there_is_no_other(
    world: World, pool: ThreadPoolExecutor
) -> None:
    one, two = world.repository("one"), world.repository("two")
    sharing(world, "alice", one, two)
    bob = world.agent("bob")
    repos.failed(bob.deps, bob.id, one.id, MalformedError("it failed"))
    world.calls.clear()
    assert len(locate(bob.deps, bob.id, MANIFEST, [one.url, two.url], pool)) == 1
    assert not any(url.startswith(one.url) for _, url in world.calls)
    assert len(locate(bob.deps, bob.id, MANIFEST, [one.url], pool)) == 1


def test_those_that_rest_are_asked_when_the_others_know_nobody(
    world: World, pool: ThreadPoolExecutor
) -> None:
    one, two = world.repository("one"), world.repository("two")
    dead = world.repository("dead")
    sharing(world, "alice", one)
    bob = world.agent("bob")
    world.stop(dead)
    for resting in (one, dead):
        repos.failed(bob.deps, bob.id, resting.id, MalformedError("it failed"))
    answers = look_up(bob.deps, bob.id, MANIFEST, [one.url, two.url, dead.url], pool)
    assert len(answers.found) == 1
    assert set(answers.answered) == {one.url, two.url} and list(answers.failed) == [dead.url]


def answering(*rows: AnnounceRequest) -> Answer:
    """A repository that answers every look-up with these rows."""
    return lambda method, path, body: LookupReply(rows).dump()


def announced(
    party: Party, *, key: str = "", life: int = 3600, signer: SeedSigner | None = None
) -> AnnounceRequest:
    now = int(party.world.now)
    event = Announce(
        party.id, 0, now * 1000, party.url, Head(0, party.id), (key or lookup_key(MANIFEST),), now + life
    )
    made = seal(payload_type("announce"), event.payload(), signer or party.deps.keys.current(party.id)).dump()
    return AnnounceRequest(made, tuple(row.envelope for row in party.deps.statements.of(party.id, party.id)))


def test_a_lying_repository_makes_nobody_found_and_hides_nobody(
    world: World, pool: ThreadPoolExecutor
) -> None:
    liar, good = world.repository("liar"), world.repository("good")
    alice = sharing(world, "alice", good)
    mallory, bob = world.agent("mallory"), world.agent("bob")
    stale = announced(mallory, life=1)
    world.now += 2
    lies = (
        announced(alice, signer=SeedSigner(bytes(32))),  # in alice's name
        announced(mallory, key=lookup_key(hashlib.sha256(b"another share").hexdigest())),  # for another share
        stale,
        replace(announced(mallory), chain=announced(alice).chain),  # with the chain of another
        replace(announced(mallory), announce=announced(mallory).chain[0]),  # no announcement at all
        replace(announced(mallory), chain=(announced(mallory).announce,)),  # that is no chain
    )
    world.serve(liar, answering(*lies))
    found = locate(bob.deps, bob.id, MANIFEST, [liar.url, good.url], pool)
    assert [(one.agent, one.endpoint, one.repo) for one in found] == [(alice.id, alice.url, good.id)]
    world.serve(liar, lambda method, path, body: b"nonsense")
    assert len(locate(bob.deps, bob.id, MANIFEST, [liar.url, good.url], pool)) == 1


def test_the_key_that_is_known_here_counts_not_the_older_one_of_the_answer(
    world: World, pool: ThreadPoolExecutor
) -> None:
    """A repository that keeps a rotation back cannot make an old key count for somebody who has seen the rotation."""
    liar, good = world.repository("liar"), world.repository("good")
    alice, bob = world.agent("alice"), world.agent("bob")
    before = announced(alice)
    alice.rotate()
    sync.push(alice.deps, alice.id, good.url)
    world.serve(liar, answering(before))
    assert len(locate(bob.deps, bob.id, MANIFEST, [liar.url], pool)) == 1
    sync.pull(bob.deps, bob.id, good.url)
    assert locate(bob.deps, bob.id, MANIFEST, [liar.url], pool) == []


def test_an_issuer_with_a_long_chain_is_introduced_by_its_own_page(
    world: World, pool: ThreadPoolExecutor
) -> None:
    repo, alice, bob = world.repository("repo"), world.agent("alice"), world.agent("bob")
    for _ in range(70):
        alice.vouch(bob)
    alice.rotate()
    alice.share(MANIFEST)
    sync.announce_all(alice.deps, alice.id, [repo.url], alice.url)
    assert len(locate(bob.deps, bob.id, MANIFEST, [repo.url], pool)) == 1


def test_a_very_long_chain_is_read_page_by_page_also_when_its_beginning_is_known(
    world: World, pool: ThreadPoolExecutor
) -> None:
    repo, alice, bob = world.repository("repo"), world.agent("alice"), world.agent("bob")
    for _ in range(300):
        alice.vouch(bob)
    sync.push(alice.deps, alice.id, repo.url)
    sync.pull(bob.deps, bob.id, repo.url)
    alice.rotate()
    alice.share(MANIFEST)
    sync.announce_all(alice.deps, alice.id, [repo.url], alice.url)
    for reader in (bob, world.agent("carol")):
        assert len(locate(reader.deps, reader.id, MANIFEST, [repo.url], pool)) == 1


def test_an_answer_that_sends_us_on_and_on_is_followed_for_a_bounded_time(
    world: World, pool: ThreadPoolExecutor
) -> None:
    liar, bob = world.repository("liar"), world.agent("bob")
    rows = [replace(announced(world.agent(f"nobody-{number}")), chain=()) for number in range(50)]

    def slow(method: str, path: str, body: bytes) -> bytes:
        if "/lookup/" in path:
            return LookupReply(tuple(rows)).dump()
        world.now += 1.5
        return StatementsPage((), 0, 0).dump()

    world.serve(liar, slow)
    world.calls.clear()
    assert locate(bob.deps, bob.id, MANIFEST, [liar.url], pool) == []
    assert len(world.calls) == 1 + 2, "the look-up, and what was begun within its two seconds"


def test_copies_with_other_signatures_do_not_pile_up(world: World, pool: ThreadPoolExecutor) -> None:
    liar, alice, bob = world.repository("liar"), world.agent("alice"), world.agent("bob")
    row = announced(alice)
    true = Envelope.parse(row.chain[0], MAX_PAYLOAD)
    forged = [seal(true.payload_type, true.payload, SeedSigner(bytes([number]) * 32)) for number in range(5)]
    for copy in forged:
        world.serve(liar, answering(replace(row, chain=(row.chain[0], copy.dump()))))
        assert len(locate(bob.deps, bob.id, MANIFEST, [liar.url], pool)) == 1
    assert bob.statements() == [bob.id, alice.id]
