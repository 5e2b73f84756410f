"""The repository's use cases: what it takes, what it refuses, what it answers."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import cast

import pytest

from skyswarm.drivers.memory.records import MemoryStatements
from skyswarm.errors import (
    QuotaError,
    RequestError,
    RollbackError,
    SequenceError,
    SignatureError,
    SkyError,
    StaleRequestError,
    TooLargeError,
)
from skyswarm.messages.dsse import seal
from skyswarm.messages.keys import SeedSigner, did_key
from skyswarm.messages.repository import AnnounceReply, AnnounceRequest, LookupReply, StatementsPage
from skyswarm.messages.requests import Outcome, SubmitReply, SubmitRequest
from skyswarm.messages.statements import (
    Announce,
    Head,
    Logged,
    Retire,
    Revoke,
    Seen,
    Signed,
    Vouch,
    parse_signed,
    payload_type,
)
from skyswarm.usecases import repository
from skyswarm.usecases.lookup import lookup_key
from skyswarm.usecases.repository import REVOKE_KINDS, VOUCH_KINDS, Quotas
from tests.support.inprocess import DAY, Party, World

MANIFEST = hashlib.sha256(b"a manifest").hexdigest()
KEY = lookup_key(MANIFEST)
SEEN = tuple(Seen(f"skyswarm/{n:064x}", n + 1, f"{n:064x}") for n in range(8))
THIEF = SeedSigner(bytes([66]) * 32)


def chain_of(party: Party) -> list[bytes]:
    return [row.envelope for row in party.deps.statements.of(party.id, party.id)]


def submit(
    repo: Party,
    *envelopes: bytes,
    kinds: frozenset[str] = VOUCH_KINDS | REVOKE_KINDS,
    quotas: Quotas = repository.QUOTAS,
) -> list[Outcome]:
    body = SubmitRequest(envelopes).dump()
    return list(SubmitReply.parse(repository.submit(repo.deps, repo.id, body, kinds, quotas)).results)


def codes(outcomes: list[Outcome]) -> list[str | int | None]:
    return [one.position if one.code is None else one.code for one in outcomes]


def told(
    party: Party, *, serial: int = 0, life: int = 3600, signer: SeedSigner | None = None, part: int = 0
) -> bytes:
    """An announcement of MANIFEST by `party`."""
    now = int(party.world.now)
    last = party.chain[-1]
    event = Announce(
        party.id,
        part,
        serial or now * 1000,
        party.url,
        Head(last.seq, last.id),
        (KEY,),
        (serial // 1000 or now) + life,
    )
    return seal(payload_type("announce"), event.payload(), signer or party.deps.keys.current(party.id)).dump()


def announce(
    repo: Party, envelope: bytes, *chain: bytes, quotas: Quotas = repository.QUOTAS
) -> AnnounceReply:
    return AnnounceReply.parse(
        repository.announce(repo.deps, repo.id, AnnounceRequest(envelope, chain).dump(), quotas)
    )


def found(repo: Party) -> list[AnnounceRequest]:
    return list(LookupReply.parse(repository.lookup(repo.deps, repo.id, KEY, repo.world.now)).found)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def repo(world: World) -> Party:
    return world.repository("repo")


@pytest.fixture
def alice(world: World) -> Party:
    return world.agent("alice")


# ---- announce --------------------------------------------------------------------------------
def test_an_announcement_with_its_chain_is_taken_and_found_with_that_chain(repo: Party, alice: Party) -> None:
    reply = announce(repo, told(alice), *chain_of(alice))
    assert reply == AnnounceReply(True, Head(0, alice.id))
    (row,) = found(repo)
    assert row == AnnounceRequest(told(alice), tuple(chain_of(alice)))


def test_an_announcement_brought_twice_or_an_older_one_changes_nothing(
    repo: Party, alice: Party, world: World
) -> None:
    first = told(alice)
    announce(repo, first, *chain_of(alice))
    world.now += 10
    second = told(alice)
    assert announce(repo, second).fresh
    assert not announce(repo, second).fresh
    assert not announce(repo, first).fresh
    assert [row.announce for row in found(repo)] == [second]


def test_a_replayed_announcement_does_not_use_up_its_issuers_quota(
    repo: Party, alice: Party, world: World
) -> None:
    quotas = Quotas(announcements_per_hour=2)
    first = told(alice)
    announce(repo, first, *chain_of(alice), quotas=quotas)
    for _ in range(5):
        assert not announce(repo, first, quotas=quotas).fresh
    world.now += 1
    assert announce(repo, told(alice), quotas=quotas).fresh
    world.now += 1
    with pytest.raises(QuotaError):
        announce(repo, told(alice), quotas=quotas)
    bob = world.agent("bob")
    assert announce(repo, told(bob), *chain_of(bob), quotas=quotas).fresh, "quotas are per issuer"


@pytest.mark.parametrize("late", [0, 1, 4000])
def test_an_expired_announcement_is_refused_and_is_not_found_any_more(
    repo: Party, alice: Party, world: World, late: int
) -> None:
    envelope = told(alice)
    announce(repo, envelope, *chain_of(alice))
    world.now += 3600 + late
    with pytest.raises(StaleRequestError):
        announce(repo, envelope)
    assert found(repo) == []


def test_an_announcement_from_the_future_cannot_block_later_ones(
    repo: Party, alice: Party, world: World
) -> None:
    with pytest.raises(StaleRequestError):
        announce(repo, told(alice, serial=int(world.now + 121) * 1000), *chain_of(alice))
    assert announce(repo, told(alice, serial=int(world.now + 119) * 1000), *chain_of(alice)).fresh, (
        "a skewed clock"
    )


def test_an_announcement_counts_only_under_the_issuers_current_key(
    repo: Party, alice: Party, world: World
) -> None:
    with pytest.raises(SequenceError):
        announce(repo, told(alice))
    with pytest.raises(SignatureError):
        announce(repo, told(alice, signer=THIEF), *chain_of(alice))
    old = told(alice)
    announce(repo, old, *chain_of(alice))
    alice.rotate()
    world.now += 1
    with pytest.raises(SequenceError):
        announce(repo, told(alice))  # the repository has not its rotation
    assert announce(repo, told(alice), *chain_of(alice)).head.seq == 1
    with pytest.raises(SignatureError):
        announce(repo, old)


def test_an_agent_that_retired_announces_no_more(repo: Party, alice: Party, world: World) -> None:
    key = alice.deps.keys.upcoming(alice.id)
    last = told(alice)
    alice.extend(Retire(*alice.next(), did_key(key.public)), key)
    submit(repo, *chain_of(alice))
    with pytest.raises(SignatureError):
        announce(repo, last)


def test_a_chain_of_somebody_else_does_not_come_with_an_announcement(
    repo: Party, alice: Party, world: World
) -> None:
    with pytest.raises(RequestError):
        announce(repo, told(alice), *chain_of(alice), *chain_of(world.agent("bob")))


# ---- submit ----------------------------------------------------------------------------------
def test_statements_get_positions_and_the_checkpoint_covers_them(
    repo: Party, alice: Party, world: World
) -> None:
    alice.vouch(world.agent("bob"))
    body = SubmitRequest(tuple(chain_of(alice))).dump()
    reply = SubmitReply.parse(repository.submit(repo.deps, repo.id, body, VOUCH_KINDS))
    assert codes(list(reply.results)) == [1, 2]
    assert reply.promise is not None and reply.promise.split("\n")[:2] == [f"skyswarm/{repo.id}", "3"]
    assert codes(submit(repo, *chain_of(alice))) == [1, 2], "bringing it twice changes nothing"
    assert repo.statements() == [repo.id, *(one.id for one in alice.chain)]


def test_a_gap_is_refused_with_the_number_that_is_wanted(repo: Party, alice: Party, world: World) -> None:
    for _ in range(3):
        alice.vouch(world.agent("bob"))
    birth, first, second, third = chain_of(alice)
    (outcome,) = submit(repo, third)
    assert outcome.code == SequenceError.code and "number 0 is wanted next" in str(outcome.message)
    submit(repo, birth, first)
    outcomes = submit(repo, third, second)
    assert outcomes[0].code == SequenceError.code and "number 2 is wanted next" in str(outcomes[0].message)
    assert outcomes[1].position == 3
    assert codes(submit(repo, third)) == [4]


def test_only_the_holder_of_the_key_adds_to_a_chain(repo: Party, alice: Party, world: World) -> None:
    submit(repo, *chain_of(alice))
    now = int(world.now)
    event = Vouch(*alice.next(), world.agent("bob").id, ("fetch",), 2, None, now, now + DAY)
    forged = seal(payload_type("vouch"), event.payload(), THIEF).dump()
    assert codes(submit(repo, forged)) == [SignatureError.code]
    assert len(repo.statements()) == 2
    assert alice.extend(event).id == event.id
    assert codes(submit(repo, chain_of(alice)[-1])) == [2], (
        "the same statement, truly signed, has its place still"
    )


def test_a_batch_names_its_kind_but_brings_the_chain_it_hangs_on(
    repo: Party, alice: Party, world: World
) -> None:
    bob = world.agent("bob")
    alice.vouch(bob)
    submit(repo, *chain_of(alice))
    with pytest.raises(RequestError):
        submit(repo, chain_of(alice)[-1], kinds=REVOKE_KINDS)
    alice.vouch(bob)
    alice.revoke(bob)
    assert codes(submit(repo, *chain_of(alice)[2:], kinds=REVOKE_KINDS)) == [3, 4]
    assert submit(repo, kinds=VOUCH_KINDS) == []
    with pytest.raises(RequestError):
        submit(repo, told(alice))


def test_more_than_sixty_four_statements_are_not_looked_at(repo: Party, alice: Party, world: World) -> None:
    for _ in range(64):
        alice.vouch(repo)
    with pytest.raises(TooLargeError):
        submit(repo, *chain_of(alice))
    assert codes(submit(repo, *chain_of(alice)[:64]))[-1] == 64


def twin(party: Party, prev: Signed, number: int) -> bytes:
    """Another statement after `prev`, truly signed."""
    now = int(party.world.now)
    sub = hashlib.sha256(b"sub %d" % number).hexdigest()
    event = Vouch(
        party.id, cast(Logged, prev.statement).seq + 1, prev.id, sub, ("fetch",), 0, None, now, now + DAY
    )
    return seal(payload_type("vouch"), event.payload(), party.deps.keys.current(party.id)).dump()


def test_equivocating_twins_are_both_kept_as_the_proof_and_no_third(repo: Party, alice: Party) -> None:
    birth = parse_signed(chain_of(alice)[0])
    twins = [twin(alice, birth, number) for number in range(3)]
    assert codes(submit(repo, birth.envelope_bytes, *twins)) == [1, 2, 3, "SKY-212"]
    page = StatementsPage.parse(repository.chain(repo.deps, repo.id, alice.id, 1))
    assert sorted(page.statements) == sorted(twins[:2])
    alice.rotate()
    assert codes(submit(repo, chain_of(alice)[-1])) == [4], "its owner mends it with the committed key"


def test_quotas_are_per_issuer_and_leave_room_for_key_events(repo: Party, alice: Party, world: World) -> None:
    quotas = Quotas(statements_per_day=2)
    bob = world.agent("bob")
    for _ in range(3):
        alice.vouch(bob)
    outcomes = submit(repo, *chain_of(alice), *chain_of(bob), quotas=quotas)
    assert codes(outcomes) == [1, 2, 3, QuotaError.code, 4]
    assert codes(submit(repo, chain_of(alice)[3], quotas=quotas)) == [QuotaError.code]
    carol = world.agent("carol")
    carol.vouch(bob)
    carol.vouch(bob)
    carol.rotate()
    assert codes(submit(repo, *chain_of(carol), quotas=quotas)) == [5, 6, 7, 8]
    world.now += DAY
    assert codes(submit(repo, chain_of(alice)[3], quotas=quotas)) == [9]


def test_forgeries_in_somebodys_name_do_not_use_up_his_quota(repo: Party, alice: Party, world: World) -> None:
    quotas = Quotas(statements_per_day=1)
    submit(repo, *chain_of(alice), quotas=quotas)
    now = int(world.now)
    for number in range(5):
        sub = hashlib.sha256(b"%d" % number).hexdigest()
        event = Vouch(*alice.next(), sub, ("fetch",), 2, None, now, now + DAY)
        assert codes(
            submit(repo, seal(payload_type("vouch"), event.payload(), THIEF).dump(), quotas=quotas)
        ) == [SignatureError.code]
    alice.vouch(repo)
    assert codes(submit(repo, *chain_of(alice), quotas=quotas)) == [1, 2]


def test_another_process_of_the_repository_sees_the_same_chains(
    repo: Party, alice: Party, world: World
) -> None:
    """What is kept in the process is only a memo: with and without it the answers are the same."""
    alice.vouch(repo)
    birth, first = chain_of(alice)
    submit(repo, birth)
    repo.deps.cache.clear()
    assert codes(submit(repo, first)) == [2]
    birth_signed = parse_signed(birth)
    other = twin(alice, birth_signed, 7)
    cache = dict(repo.deps.cache)
    repo.deps.cache.clear()
    assert codes(submit(repo, other)) == [3]  # by another process
    repo.deps.cache.clear()
    repo.deps.cache.update(cache)
    assert codes(submit(repo, twin(alice, birth_signed, 8))) == ["SKY-212"]


# ---- what is asked ---------------------------------------------------------------------------
def test_statements_come_in_pages_in_the_order_of_the_log(repo: Party, alice: Party) -> None:
    for _ in range(9):
        alice.vouch(repo)
    submit(repo, *chain_of(alice))
    seen: list[bytes] = []
    after, pages = 0, 0
    while True:
        page = StatementsPage.parse(repository.statements(repo.deps, repo.id, after, 4))
        seen += page.statements
        after, pages = page.next, pages + 1
        if page.next >= page.count:
            break
    assert (pages, after) == (3, 11)
    assert [parse_signed(one).id for one in seen] == repo.statements()
    assert StatementsPage.parse(repository.statements(repo.deps, repo.id, 99, 4)).statements == ()


def test_a_page_of_big_statements_stays_below_its_limit(repo: Party, alice: Party) -> None:
    rows = repo.deps.statements.after(repo.id, 0, 1)
    fat = b'{"payload":"%s"}' % (b"A" * 5000)
    repo.deps.statements.append(
        repo.id,
        [replace(rows[0], id=hashlib.sha256(b"%d" % n).hexdigest(), envelope=fat) for n in range(255)],
    )
    body = repository.statements(repo.deps, repo.id, 1, 256)
    assert len(body) < 1024 * 1024
    assert 100 < StatementsPage.parse(body).next < 256


def test_an_issuers_chain_comes_in_pages_that_never_part_twins(repo: Party, alice: Party) -> None:
    birth = parse_signed(chain_of(alice)[0])
    submit(repo, birth.envelope_bytes, twin(alice, birth, 0), twin(alice, birth, 1))
    first = StatementsPage.parse(repository.chain(repo.deps, repo.id, alice.id, 0, 2))
    assert (len(first.statements), first.next, first.count) == (1, 1, 2)
    second = StatementsPage.parse(repository.chain(repo.deps, repo.id, alice.id, 1, 2))
    assert (len(second.statements), second.next, second.count) == (2, 2, 2)
    nobody = StatementsPage.parse(repository.chain(repo.deps, repo.id, "0" * 64, 0))
    assert nobody == StatementsPage((), 0, 0)


def test_a_lookup_names_each_agent_once_who_came_first_first(repo: Party, world: World) -> None:
    parties = [world.agent(f"a{number}") for number in range(3)]
    for party in parties:
        world.now += 1
        announce(repo, told(party), *chain_of(party))
        announce(repo, told(party, part=1))
    rows = [parse_signed(row.announce).statement for row in found(repo)]
    assert [row.iss for row in rows] == [party.id for party in parties]


@pytest.mark.parametrize("key", ["", "x", "A" * 42, "A" * 44, "A" * 42 + "B", "/" * 43, MANIFEST])
def test_what_is_no_lookup_key_is_refused(repo: Party, key: str) -> None:
    with pytest.raises(RequestError):
        repository.lookup(repo.deps, repo.id, key, repo.world.now)


def test_a_repository_never_sees_a_manifest_id(repo: Party, alice: Party) -> None:
    announce(repo, told(alice), *chain_of(alice))
    (row,) = repo.deps.announcements.of(repo.id, alice.id, repo.world.now)
    assert MANIFEST not in repr(row) and bytes.fromhex(MANIFEST) not in row.envelope
    assert row.lookups == (KEY,) and lookup_key(hashlib.sha256(b"another").hexdigest()) != KEY


def test_bodies_that_are_none_are_input_errors(repo: Party) -> None:
    for body in (
        b"",
        b"{}",
        b"[]",
        b'{"v":1}',
        b'{"statements":[{}],"v":1}',
        b'{"announce":{},"chain":[],"v":1}',
    ):
        for call in (
            lambda body=body: repository.announce(repo.deps, repo.id, body),
            lambda body=body: repository.submit(repo.deps, repo.id, body, VOUCH_KINDS),
        ):
            with pytest.raises(SkyError) as caught:
                call()
            assert caught.value.code.startswith("SKY-1")


def test_attack_strangers_with_later_serials_do_not_hide_who_came_first(repo: Party, world: World) -> None:
    owner = world.agent("owner")
    announce(repo, told(owner), *chain_of(owner))
    for number in range(60):
        sybil = world.agent(f"s{number}")
        announce(repo, told(sybil, serial=int(world.now + 100) * 1000), *chain_of(sybil))
    rows = [parse_signed(row.announce).statement for row in found(repo)]
    assert len(rows) == 50 and rows[0].iss == owner.id


def test_attack_a_flood_of_new_identities_meets_one_shared_quota(repo: Party, world: World) -> None:
    quotas = Quotas(newcomers_per_hour=3, newcomers_per_day=4)
    old, *others = [world.agent(f"a{number}") for number in range(6)]
    assert codes(submit(repo, *chain_of(old), quotas=quotas)) == [1]
    for one in others[:2]:
        announce(repo, told(one), *chain_of(one), quotas=quotas)
    before = repo.deps.statements.count(repo.id)
    with pytest.raises(QuotaError, match="lately"):
        announce(repo, told(others[2]), *chain_of(others[2]), quotas=quotas)
    assert codes(submit(repo, *chain_of(others[2]), quotas=quotas)) == ["SKY-429"]
    assert repo.deps.statements.count(repo.id) == before
    old.vouch(others[0])
    assert codes(submit(repo, *chain_of(old), quotas=quotas))[-1] == before, "who is here goes on"
    world.now += 3600
    assert codes(submit(repo, *chain_of(others[2]), quotas=quotas)) == [before + 1]
    assert codes(submit(repo, *chain_of(others[3]), quotas=quotas)) == ["SKY-429"], "the day's"


def test_a_thief_who_filled_the_numbers_to_come_does_not_silence_the_owner(repo: Party, alice: Party) -> None:
    birth = parse_signed(chain_of(alice)[0])
    filled = [twin(alice, birth, number) for number in range(2)]
    filled += [twin(alice, parse_signed(one), number) for one in filled for number in range(1)]
    assert codes(submit(repo, birth.envelope_bytes, *filled)) == [1, 2, 3, 4, 5]
    alice.rotate()
    alice.vouch(repo)
    alice.vouch(repo)
    assert codes(submit(repo, *chain_of(alice))) == [1, 6, 7, 8]
    third = twin(alice, parse_signed(chain_of(alice)[1]), 9)
    assert codes(submit(repo, third)) == ["SKY-212"], "what does not continue her chain is one too many"


def test_a_lookup_leaves_nobody_out_because_others_have_much_to_say(repo: Party, world: World) -> None:
    parties = [world.agent(f"a{number}") for number in range(12)]
    for party in parties:
        for _ in range(62):
            revoked = Revoke(*party.next(), sub=party.id, reason="\u0416" * 200, seen=SEEN)
            party.extend(revoked)
        party.rotate()
        for at in range(0, 64, 16):
            submit(repo, *chain_of(party)[at : at + 16])
        announce(repo, told(party))
    answers = found(repo)
    assert [parse_signed(one.announce).statement.iss for one in answers] == [party.id for party in parties]
    assert len(answers[0].chain) == 64 and answers[-1].chain == ()


def test_a_repository_that_was_set_back_takes_no_announcement_either(repo: Party, alice: Party) -> None:
    announce(repo, told(alice), *chain_of(alice))
    repository.checkpoint(repo.deps, repo.id)
    repo.world.now += 1
    back = MemoryStatements()
    back.append(repo.id, repo.deps.statements.of(repo.id, alice.id))
    with pytest.raises(RollbackError):
        repository.announce(
            replace(repo.deps, statements=back, cache={}), repo.id, AnnounceRequest(told(alice)).dump()
        )
