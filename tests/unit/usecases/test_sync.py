"""An agent's sync with its repositories: reading logs, handing in, announcing, and rebuilding a repository."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from skyswarm.errors import InputError, RepositoryError, RepositoryUnreachableError
from skyswarm.messages import canonical
from skyswarm.messages.dsse import seal
from skyswarm.messages.keys import commitment, did_key
from skyswarm.messages.repository import StatementsPage
from skyswarm.messages.requests import Outcome, SubmitReply, SubmitRequest
from skyswarm.messages.statements import Announce, Head, Rotate, Vouch, parse_signed, payload_type
from skyswarm.ports.records import StatementRow
from skyswarm.usecases import chains, logreading, repos, repository, spreading, sync, tending, views
from skyswarm.usecases.lookup import locate
from tests.support.inprocess import DAY, Party, World, row

MANIFEST = hashlib.sha256(b"a manifest").hexdigest()


def tend(world: World, *parties: Party) -> None:
    for party in parties:
        urls = [repo.url for repo in repos.known(party.deps, party.id)]
        sync.tend(party.deps, party.id, urls, party.url)


def settle(world: World, *parties: Party) -> None:
    """Everybody tends twice: what one hands in, the other reads in the second round."""
    for _ in range(2):
        tend(world, *parties)


def test_three_agents_lose_nothing_when_a_repository_is_replaced_by_an_empty_one() -> None:
    world = World()
    first, second = world.repository("first"), world.repository("second")
    alice, bob, carol = (world.agent(name) for name in ("alice", "bob", "carol"))
    everyone = (alice, bob, carol)
    for party in everyone:
        repos.add(party.deps, party.id, first.url)
        repos.add(party.deps, party.id, second.url)
    alice.vouch(carol)
    carol.vouch(bob)
    alice.share(MANIFEST)
    settle(world, *everyone)
    known = set(alice.statements()) | {first.id, second.id}
    assert {alice.id, bob.id, carol.id} < known
    with ThreadPoolExecutor(4) as pool:
        before = locate(bob.deps, bob.id, MANIFEST, [first.url, second.url], pool)
        assert [(one.agent, one.endpoint) for one in before] == [(alice.id, alice.url)]

        # Both stop, for good. An empty one starts elsewhere, and nobody copies anything over.
        world.stop(first)
        world.stop(second)
        third = world.repository("third")
        for party in everyone:
            repos.remove(party.deps, party.id, first.id)
            repos.add(party.deps, party.id, third.url)
        settle(world, *everyone)

        after = locate(bob.deps, bob.id, MANIFEST, [second.url, third.url], pool)
        assert [(one.agent, one.endpoint, one.repo) for one in after] == [(alice.id, alice.url, third.id)]
    assert set(third.statements()) - {third.id} == known - {first.id, second.id}
    newcomer = world.agent("dora")
    repos.add(newcomer.deps, newcomer.id, third.url)
    tend(world, newcomer)
    assert known - {first.id, second.id} <= set(newcomer.statements())


def test_a_pull_brings_only_what_is_new_and_remembers_where_everything_stood() -> None:
    world = World()
    repo, alice, bob = world.repository("repo"), world.agent("alice"), world.agent("bob")
    assert sync.push(alice.deps, alice.id, repo.url) == 1
    assert sync.pull(bob.deps, bob.id, repo.url) == sync.Pulled(2)
    alice.vouch(bob)
    assert sync.push(alice.deps, alice.id, repo.url) == 1
    world.now += 61
    assert sync.pull(bob.deps, bob.id, repo.url) == sync.Pulled(1)
    assert sync.pull(bob.deps, bob.id, repo.url) == sync.Pulled(0)
    assert [one for _, one in repos.logged(bob.deps, bob.id, repo.id)] == repo.statements()
    (held,) = sync.held_checkpoints(bob.deps, bob.id)
    assert (held.origin, held.size) == (f"skyswarm/{repo.id}", 3)
    assert list(repos.places(bob.deps, bob.id, {held.origin: 2})) == [(alice.chain[1].id, held.origin, 2)]


def test_a_long_log_is_read_in_several_pulls_that_each_keep_their_progress() -> None:
    world = World()
    repo, alice, bob = world.repository("repo"), world.agent("alice"), world.agent("bob")
    for _ in range(600):
        alice.vouch(bob)
    assert sync.push(alice.deps, alice.id, repo.url) == 601
    pulled = sync.pull(bob.deps, bob.id, repo.url)
    assert pulled == sync.Pulled(602)
    state = repos.state(bob.deps, bob.id, repo.id)
    assert (state.size, state.ahead) == (602, 0)
    assert repos.root_at(bob.deps, bob.id, repo.id, 602).hex() == state.root


def two_envelopes(party: Party) -> tuple[StatementRow, StatementRow]:
    """Of one rotation: a planned one may bear the old key's signature too."""
    old, new = party.deps.keys.current(party.id), party.deps.keys.upcoming(party.id)
    signed = party.rotate()
    more = seal(signed.envelope.payload_type, signed.envelope.payload, new, old)
    return row(signed, party.world.now), row(parse_signed(more.dump()), party.world.now)


@pytest.mark.parametrize("between", [0, 1, 300])
def test_an_id_that_stands_in_a_log_twice_stops_no_reader(between: int) -> None:
    """Two processes of the repository took two envelopes of one statement at once, in one page or in two."""
    world = World()
    repo, alice, bob = world.repository("repo"), world.agent("alice"), world.agent("bob")
    one, other = two_envelopes(alice)
    repo.deps.statements.append(repo.id, [alice.deps.statements.of(alice.id, alice.id)[0], one])
    for _ in range(between):
        repo.vouch(bob)
    repo.deps.statements.append(repo.id, [other])
    alice.vouch(bob)
    for reader in (alice, bob):
        assert sync.pull(reader.deps, reader.id, repo.url) == sync.Pulled(between + 4)
        held = repos.state(reader.deps, reader.id, repo.id)
        assert held.alarm is None and held.size == between + 4
        assert repos.root_at(reader.deps, reader.id, repo.id, held.size).hex() == held.root
    assert [at for at, who in repos.logged(bob.deps, bob.id, repo.id) if who == one.id] == [2, between + 3]
    assert sync.push(alice.deps, alice.id, repo.url) == 1
    assert sync.pull(bob.deps, bob.id, repo.url) == sync.Pulled(1)


def test_a_repository_takes_no_second_envelope_of_a_statement_that_another_process_took() -> None:
    world = World()
    repo, alice = world.repository("repo"), world.agent("alice")
    one, other = two_envelopes(alice)
    birth = alice.deps.statements.of(alice.id, alice.id)[0].envelope
    repository.submit(repo.deps, repo.id, SubmitRequest((birth,)).dump(), repository.VOUCH_KINDS)

    class Racing:
        def __getattr__(self, name: str) -> Any:
            return getattr(repo.deps.statements, name)

        def append(self, agent: str, rows: Any, **how: Any) -> list[int]:
            repository.submit(
                repo.deps, repo.id, SubmitRequest((one.envelope,)).dump(), repository.VOUCH_KINDS
            )
            return repo.deps.statements.append(agent, rows, **how)

    slow = replace(repo.deps, statements=Racing(), cache={})  # type: ignore[arg-type]
    body = SubmitRequest((other.envelope,)).dump()
    reply = SubmitReply.parse(repository.submit(slow, repo.id, body, repository.VOUCH_KINDS))
    assert reply.results == (Outcome(2),)
    assert repo.statements() == [repo.id, alice.id, one.id]


def test_an_interrupted_pull_goes_on_where_it_stopped() -> None:
    world = World()
    repo, alice, bob = world.repository("repo"), world.agent("alice"), world.agent("bob")
    for _ in range(400):
        alice.vouch(bob)
    sync.push(alice.deps, alice.id, repo.url)
    whole = world.routes[repo.url]

    def breaks(method: str, path: str, body: bytes) -> bytes:
        if path.startswith("/v1/statements?after=256"):
            raise RepositoryError("out of breath")
        return whole(method, path, body)

    world.serve(repo, breaks)
    with pytest.raises(RepositoryError):
        sync.pull(bob.deps, bob.id, repo.url)
    assert repos.state(bob.deps, bob.id, repo.id).ahead == 256
    assert list(repos.logged(bob.deps, bob.id, repo.id)) == [], "what is not verified has no position yet"
    world.serve(repo, whole)
    world.calls.clear()
    assert sync.pull(bob.deps, bob.id, repo.url) == sync.Pulled(146)
    assert not any("after=0" in url for _, url in world.calls)


def test_a_dead_repository_rests_and_stops_no_other() -> None:
    world = World()
    dead, alive = world.repository("dead"), world.repository("alive")
    world.stop(dead)
    alice = world.agent("alice")
    for repo in (dead, alive):
        repos.add(alice.deps, alice.id, repo.url)
    due = sync.tend(alice.deps, alice.id, [dead.url, alive.url], alice.url)
    assert alice.id in alive.statements()
    state = repos.state(alice.deps, alice.id, dead.id)
    assert state.error is not None and state.error["code"] == RepositoryUnreachableError.code
    assert due == state.retry_at == world.now + repos.BACKOFF
    world.calls.clear()
    sync.tend(alice.deps, alice.id, [dead.url, alive.url], alice.url)
    assert not any(url.startswith(dead.url) for _, url in world.calls), "it rests"
    world.now += repos.BACKOFF
    world.serve(dead)
    sync.tend(alice.deps, alice.id, [dead.url, alive.url], alice.url)
    assert alice.id in dead.statements()
    assert repos.state(alice.deps, alice.id, dead.id).error is None


def resting(world: World, failures: int) -> tuple[Party, Party]:
    """An agent whose only repository, back by now, has failed that often in a row."""
    repo, alice = world.repository("repo"), world.agent("alice")
    repos.add(alice.deps, alice.id, repo.url)
    for _ in range(failures):
        repos.failed(alice.deps, alice.id, repo.id, RepositoryError("it was away"))
    return repo, alice


def test_a_rest_doubles_up_to_a_minute() -> None:
    world = World()
    repo, alice = resting(world, 0)
    rests = []
    for _ in range(7):
        now = repos.failed(alice.deps, alice.id, repo.id, RepositoryError("it is away"))
        rests.append(now.retry_at - world.now)
    assert rests == [5, 10, 20, 40, 60, 60, 60]


@pytest.mark.parametrize("what", ["pull", "push", "look-up", "add", "start"])
def test_what_ends_a_rest(what: str) -> None:
    world = World()
    repo, alice = resting(world, 9)
    assert repos.awake(alice.deps, alice.id, repos.known(alice.deps, alice.id)) == ()
    if what == "pull":
        sync.pull(alice.deps, alice.id, repo.url)
    elif what == "push":
        assert sync.push(alice.deps, alice.id, repo.url)
    elif what == "look-up":
        with ThreadPoolExecutor(1) as pool:
            assert locate(alice.deps, alice.id, MANIFEST, [repo.url], pool) == []
    elif what == "add":
        repos.add(alice.deps, alice.id, repo.url)
    else:
        tending.wake_up(alice.deps, alice.id, alice.url)
    state = repos.state(alice.deps, alice.id, repo.id)
    assert (state.failures, state.retry_at) == (0, 0)
    assert state.error is not None, "why it failed is told until a whole round went well"
    sync.tend(alice.deps, alice.id, [repo.url], alice.url)
    assert repos.state(alice.deps, alice.id, repo.id).error is None


def test_a_repository_that_takes_no_announcement_rests_longer_each_time() -> None:
    world = World()
    repo, alice = world.repository("repo"), world.agent("alice")
    whole = world.routes[repo.url]

    def refuses(method: str, path: str, body: bytes) -> bytes:
        if path.endswith("/announce"):
            raise RepositoryError("not now")
        return whole(method, path, body)

    world.serve(repo, refuses)
    for failures in (1, 2, 3):
        sync.tend(alice.deps, alice.id, [repo.url], alice.url)
        state = repos.state(alice.deps, alice.id, repo.id)
        assert state.failures == failures
        world.now = float(state.retry_at)


def test_something_new_is_brought_to_those_that_rest_too_but_not_at_every_word() -> None:
    world = World()
    repo, alice = resting(world, 9)
    spreading.soon(alice.deps, alice.id)
    state = repos.state(alice.deps, alice.id, repo.id)
    assert (state.failures, state.retry_at) == (9, world.now + repos.BACKOFF)
    world.now += repos.BACKOFF
    assert repos.awake(alice.deps, alice.id, repos.known(alice.deps, alice.id)) != ()
    repos.failed(alice.deps, alice.id, repo.id, RepositoryError("it is still away"))
    spreading.regularly(alice.deps, alice.id)
    assert repos.state(alice.deps, alice.id, repo.id).retry_at == world.now + repos.BACKOFF_MOST


def test_who_has_been_told_of_the_newest_statement() -> None:
    world = World()
    taken, dead, unread = (world.repository(name) for name in ("taken", "dead", "unread"))
    alice, bob = world.agent("alice"), world.agent("bob")
    assert spreading.told(alice.deps, alice.id) == (0, 0, {})
    for repo in (taken, dead, unread):
        repos.add(alice.deps, alice.id, repo.url)
    world.stop(dead)
    alice.vouch(bob)
    sync.tend(alice.deps, alice.id, [taken.url, dead.url], alice.url)
    count, of, errors = spreading.told(alice.deps, alice.id)
    assert (count, of, list(errors)) == (1, 3, [dead.url])
    assert errors[dead.url]["code"] == RepositoryUnreachableError.code
    alice.revoke(bob)
    assert spreading.told(alice.deps, alice.id)[0] == 0, "not of this one yet"
    sync.push(alice.deps, alice.id, taken.url)
    assert spreading.told(alice.deps, alice.id)[0] == 1


def test_announcements_are_renewed_before_they_expire_and_withdrawn_when_a_share_ends() -> None:
    world = World()
    repo, alice, bob = world.repository("repo"), world.agent("alice"), world.agent("bob")
    alice.share(MANIFEST)
    with ThreadPoolExecutor(2) as pool:

        def found() -> int:
            return len(locate(bob.deps, bob.id, MANIFEST, [repo.url], pool))

        due = sync.announce_all(alice.deps, alice.id, [repo.url], alice.url)
        assert due == world.now + alice.deps.limits.announce_ttl / 2 and found() == 1
        world.calls.clear()
        assert sync.announce_all(alice.deps, alice.id, [repo.url], alice.url) == due
        assert world.calls == [], "nothing is told twice before it is due"
        world.now = due + 1
        assert sync.announce_all(alice.deps, alice.id, [repo.url], alice.url) > world.now
        world.now = due + alice.deps.limits.announce_ttl / 2 + 1
        assert found() == 1, "the first announcement would have expired by now"
        alice.deps.shares.delete(alice.id, MANIFEST)
        sync.announce_all(alice.deps, alice.id, [repo.url], alice.url)
        assert found() == 0


def test_many_shares_are_announced_in_parts_and_each_is_found() -> None:
    world = World()
    repo, alice, bob = world.repository("repo"), world.agent("alice"), world.agent("bob")
    manifests = [hashlib.sha256(b"%d" % number).hexdigest() for number in range(150)]
    for one in manifests:
        alice.share(one)
    sync.announce_all(alice.deps, alice.id, [repo.url], alice.url)
    assert len(repo.deps.announcements.of(repo.id, alice.id, world.now)) == 3
    with ThreadPoolExecutor(2) as pool:
        assert all(locate(bob.deps, bob.id, one, [repo.url], pool) for one in manifests[::30])
    for one in manifests[70:]:
        alice.deps.shares.delete(alice.id, one)
    world.now += 1
    sync.announce_all(alice.deps, alice.id, [repo.url], alice.url)
    told = repo.deps.announcements.of(repo.id, alice.id, world.now)
    assert [len(one.lookups) for one in told] == [64, 6, 0]


def test_a_rotated_key_announces_and_is_found_everywhere() -> None:
    world = World()
    repo, alice, bob = world.repository("repo"), world.agent("alice"), world.agent("bob")
    alice.share(MANIFEST)
    sync.announce_all(alice.deps, alice.id, [repo.url], alice.url)
    alice.rotate()
    world.now += 1
    sync.announce_all(alice.deps, alice.id, [repo.url], alice.url)
    with ThreadPoolExecutor(2) as pool:
        (found,) = locate(bob.deps, bob.id, MANIFEST, [repo.url], pool)
    assert found.announce.head.seq == 1


def test_a_repository_that_rotates_its_key_is_still_believed() -> None:
    world = World()
    repo, alice, bob = world.repository("repo"), world.agent("alice"), world.agent("bob")
    sync.push(alice.deps, alice.id, repo.url)
    sync.pull(bob.deps, bob.id, repo.url)
    repo.rotate()
    assert sync.pull(bob.deps, bob.id, repo.url) == sync.Pulled(1)
    assert repos.state(bob.deps, bob.id, repo.id).size == 3


def test_the_memory_of_a_log_outlives_its_removal() -> None:
    world = World()
    repo, alice = world.repository("repo"), world.agent("alice")
    repos.add(alice.deps, alice.id, repo.url)
    tend(world, alice)
    before = repos.state(alice.deps, alice.id, repo.id)
    repos.remove(alice.deps, alice.id, repo.url)
    assert repos.known(alice.deps, alice.id) == ()
    assert repos.state(alice.deps, alice.id, repo.id) == before and before.size == 2


def test_a_tenant_that_serves_a_log_never_reads_another_into_it() -> None:
    world = World()
    one, other = world.repository("one"), world.repository("other")
    world.call("GET", f"{one.url}/v1/checkpoint", b"", {}, timeout=1, limit=10_000)
    with pytest.raises(RepositoryError):
        sync.pull(one.deps, one.id, other.url)


def test_a_round_inside_the_only_thread_of_its_own_pool_ends() -> None:
    world = World()
    one, two = world.repository("one"), world.repository("two")
    alice = world.agent("alice")
    with ThreadPoolExecutor(1) as pool:
        urls = [one.url, two.url]
        pool.submit(sync.tend, alice.deps, alice.id, urls, alice.url, pool).result(timeout=30)
    assert alice.id in one.statements() and alice.id in two.statements()


def test_positions_in_logs_reach_the_trust_view_so_that_cuts_are_judged_by_them() -> None:
    """Alice keeps carol's vouch for bob and cuts off what carol logs later, by the position in the repository's log."""
    world = World()
    repo = world.repository("repo")
    alice, bob, carol, dora = (world.agent(name) for name in ("alice", "bob", "carol", "dora"))
    carol.vouch(bob)
    tend_at(repo, carol, bob, dora)
    cut = ((f"skyswarm/{repo.id}", repo.deps.statements.count(repo.id) - 1),)
    now = int(world.now)
    alice.extend(Vouch(*alice.next(), carol.id, ("fetch",), 2, None, now, now + DAY, cut))
    carol.vouch(dora)
    tend_at(repo, carol)
    tend_at(repo, alice)
    with views.viewing(alice.deps, alice.id) as view:
        assert view.evaluate(bob.id, "fetch", world.now).trusted
        assert not view.evaluate(dora.id, "fetch", world.now).trusted


def tend_at(repo: Party, *parties: Party) -> None:
    for party in parties:
        sync.tend(party.deps, party.id, [repo.url], party.url)


def test_a_rotation_that_replaces_what_was_logged_already_is_handed_in() -> None:
    """The owner takes the chain back from its inception on; the log has a statement with that number already."""
    world = World()
    repo, alice, bob = world.repository("repo"), world.agent("alice"), world.agent("bob")
    alice.vouch(bob)
    tend_at(repo, alice)
    assert repos.state(alice.deps, alice.id, repo.id).mine == 2
    keys = alice.deps.keys
    new = keys.upcoming(alice.id)
    event = Rotate(alice.id, 1, alice.id, did_key(new.public), commitment(keys.following(alice.id)))
    signed = parse_signed(seal(payload_type("rotate"), event.payload(), new).dump())
    alice.deps.statements.append(alice.id, [row(signed, world.now)])
    assert sync.push(alice.deps, alice.id, repo.url) == 1
    assert event.id in repo.statements()
    tend_at(repo, alice)
    assert repos.state(alice.deps, alice.id, repo.id).mine == 2
    assert sync.push(alice.deps, alice.id, repo.url) == 0


def test_a_clock_that_was_ahead_once_does_not_silence_an_agent_until_then() -> None:
    world = World()
    repo, alice = world.repository("repo"), world.agent("alice")
    repos.add(alice.deps, alice.id, repo.url)
    alice.share(MANIFEST)
    year = 365 * DAY
    repos.change(alice.deps, alice.id, repo.id, lambda now: replace(now, retry_at=int(world.now + year)))
    assert [one.id for one in repos.awake(alice.deps, alice.id, repos.known(alice.deps, alice.id))] == [
        repo.id
    ]
    tend(world, alice)
    (first,) = repo.deps.announcements.of(repo.id, alice.id, world.now)
    told = alice.deps.notes.get(alice.id, f"announced/{repo.id}")
    assert told is not None
    value = canonical.loads(told.value, 1 << 16)
    late = canonical.dumps(value | {"expires": value["expires"] + year})
    alice.deps.notes.put(alice.id, replace(told, value=late))
    world.now += 60
    tend(world, alice)
    (second,) = repo.deps.announcements.of(repo.id, alice.id, world.now)
    assert second.serial > first.serial
    world.now += 60
    tend(world, alice)
    assert repo.deps.announcements.of(repo.id, alice.id, world.now) == [second], "only once"


def flooded(reader: Party, issuer: Party, count: int, seq: int = 1) -> None:
    """A repository that the reader uses has forged that many statements with one number in the issuer's name."""
    now = int(reader.world.now)
    events = [
        Vouch(issuer.id, seq, issuer.id, f"{number:064x}", ("fetch",), 0, None, now, now + DAY)
        for number in range(count)
    ]
    sealed = [
        seal(payload_type("vouch"), one.payload(), reader.deps.keys.current(reader.id)) for one in events
    ]
    reader.deps.statements.append(reader.id, [row(parse_signed(one.dump()), now) for one in sealed])


def test_forged_twins_of_one_number_do_not_hide_what_comes_after_them() -> None:
    world = World()
    repo, alice, bob = world.repository("repo"), world.agent("alice"), world.agent("bob")
    sync.pull(bob.deps, bob.id, repo.url)
    flooded(bob, repo, 2100)
    sync.push(alice.deps, alice.id, repo.url)
    repo.rotate()
    assert sync.pull(bob.deps, bob.id, repo.url) == sync.Pulled(2)
    rows = chains.rows_of(bob.deps, bob.id, repo.id)
    assert len(rows) == 2102 and [one.position for one in rows[1:]] == sorted(
        one.position for one in rows[1:]
    )


def test_a_repository_that_names_ever_more_of_its_own_chain_is_read_to_a_bound() -> None:
    world = World()
    repo, bob = world.repository("repo"), world.agent("bob")
    whole = world.routes[repo.url]
    birth = repo.deps.statements.of(repo.id, repo.id)[0].envelope

    def endless(method: str, path: str, body: bytes) -> bytes:
        if "issuer=" in path:
            assert len(world.calls) < 1000
            return StatementsPage((birth,), int(path.rpartition("=")[2]) + 1, 2**50).dump()
        return whole(method, path, body)

    world.serve(repo, endless)
    assert sync.pull(bob.deps, bob.id, repo.url).rows == 1
    assert len(world.calls) <= logreading.CHAIN_PAGES + 2


@pytest.mark.parametrize("what", ["an announcement", "another's", "junk"])
def test_what_is_no_chain_of_the_repository_is_nonsense(what: str) -> None:
    world = World()
    repo, alice, bob = world.repository("repo"), world.agent("alice"), world.agent("bob")
    whole = world.routes[repo.url]
    event = Announce(repo.id, 0, 1, repo.url, Head(0, repo.id), (), 3600)
    bad = {
        "an announcement": seal(
            payload_type("announce"), event.payload(), repo.deps.keys.current(repo.id)
        ).dump(),
        "another's": alice.deps.statements.of(alice.id, alice.id)[0].envelope,
        "junk": b"{}",
    }[what]

    def lies(method: str, path: str, body: bytes) -> bytes:
        return StatementsPage((bad,), 1, 1).dump() if "issuer=" in path else whole(method, path, body)

    world.serve(repo, lies)
    with pytest.raises(RepositoryError):
        sync.pull(bob.deps, bob.id, repo.url)


def test_what_was_told_while_the_clock_was_ahead_is_told_again_until_it_is_news() -> None:
    world = World()
    repo, alice, bob = world.repository("repo"), world.agent("alice"), world.agent("bob")
    world.now += 100
    sync.announce_all(alice.deps, alice.id, [repo.url], alice.url)
    world.now -= 100
    alice.share(MANIFEST)
    with ThreadPoolExecutor(1) as pool:
        for passed, found in ((0, 0), (95, 0), (5, 0), (1, 1)):
            world.now += passed
            sync.announce_all(alice.deps, alice.id, [repo.url], alice.url)
            assert len(locate(bob.deps, bob.id, MANIFEST, [repo.url], pool)) == found
    world.calls.clear()
    sync.announce_all(alice.deps, alice.id, [repo.url], alice.url)
    assert world.calls == []


def test_only_so_many_repositories_and_proofs_against_one_are_kept() -> None:
    world = World()
    alice = world.agent("alice")
    urls = [f"https://r.example/a/{number:064x}" for number in range(repos.MAX_REPOS + 1)]
    for url in urls[:-1]:
        repos.add(alice.deps, alice.id, url)
    with pytest.raises(InputError, match="100 repositories"):
        repos.add(alice.deps, alice.id, urls[-1])
    repos.add(alice.deps, alice.id, urls[0])
    for number in range(repos.MAX_PROOFS + 5):
        repos.alarm(alice.deps, alice.id, "ab" * 32, RepositoryError("caught"), f"one {number}", "two")
    kept = alice.deps.notes.page(alice.id, "proof/", limit=1000)
    assert len(kept) == repos.MAX_PROOFS
