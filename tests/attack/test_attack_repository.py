"""The lines of the attack list (`spec/threats.md`) that concern repositories: each test is named after its line."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest

from skyswarm.drivers.memory.records import MemoryNotes, MemoryStatements
from skyswarm.errors import (
    ConflictError,
    ForkError,
    OmissionError,
    QuotaError,
    RepositoryError,
    RepositoryUnreachableError,
    RollbackError,
    SignatureError,
)
from skyswarm.messages.dsse import Envelope, seal
from skyswarm.messages.httpsig import MAX_SKEW
from skyswarm.messages.keys import SeedSigner
from skyswarm.messages.note import Checkpoint, NoteKey, SignedNote
from skyswarm.messages.repository import StatementsPage
from skyswarm.messages.requests import SubmitReply, SubmitRequest
from skyswarm.messages.statements import Vouch, parse_signed, payload_type
from skyswarm.usecases import proofs, receiving, repos, repository, sync, views
from skyswarm.usecases.logreading import FROZEN, PROMISE
from skyswarm.usecases.lookup import locate
from tests.support.inprocess import DAY, Answer, Party, World, honest, row

MANIFEST = hashlib.sha256(b"a manifest").hexdigest()


@pytest.fixture
def world() -> World:
    return World()


def alarms(party: Party, repo: Party) -> list[type[RepositoryError]]:
    return [type(one) for one in sync.pull(party.deps, party.id, repo.url).alarms]


def copy(world: World, repo: Party, without: str = "") -> Party:
    """The repository's second face: same identity and key, its statements so far, except one."""
    face = replace(
        repo, deps=replace(repo.deps, statements=MemoryStatements(), notes=MemoryNotes(), cache={})
    )
    rows = repo.deps.statements.after(repo.id, 0, 1000)
    face.deps.statements.append(repo.id, [one for one in rows if one.id != without])
    return face


def proof_holds(proof: tuple[str, ...], repo: Party) -> bool:
    """Whether a stranger with the repository's chain sees two signed notes that cannot be of one log."""
    key = NoteKey(f"skyswarm/{repo.id}", repo.deps.keys.current(repo.id).public)
    notes = [SignedNote.parse(one.encode()) for one in proof]
    assert all(any(found == key for found, _ in note.verify([key])) for note in notes)
    first, second = (Checkpoint.parse(note.text) for note in notes)
    return first.size == second.size and first.root != second.root


def known_state(party: Party, repo: Party) -> repos.State:
    return repos.state(party.deps, party.id, repo.id)


# ---- forked or rolled-back log ---------------------------------------------------------------
def test_attack_rolled_back_log(world: World) -> None:
    repo, alice, bob = world.repository("repo"), world.agent("alice"), world.agent("bob")
    sync.push(alice.deps, alice.id, repo.url)
    before = copy(world, repo)
    revoked = [alice.vouch(bob), alice.revoke(bob)]
    sync.push(alice.deps, alice.id, repo.url)
    assert alarms(bob, repo) == []
    held = known_state(bob, repo)
    world.now += 5
    world.serve(repo, honest(before))  # as if the revocation had never been
    assert alarms(bob, repo) == [RollbackError]
    after = known_state(bob, repo)
    assert (after.size, after.root) == (held.size, held.root), "what was read stays read"
    assert {one.id for one in revoked} <= set(bob.statements())
    assert after.alarm is not None and after.alarm["code"] == RollbackError.code
    (proof,) = repos.proofs(bob.deps, bob.id, repo.id)
    sizes = [Checkpoint.parse(SignedNote.parse(one.encode()).text).size for one in proof]
    assert sizes == [held.size, before.deps.statements.count(repo.id)]
    world.serve(repo)  # it comes back to its senses: it is read on, and the alarm stays
    assert alarms(bob, repo) == []
    assert known_state(bob, repo).alarm == after.alarm


def test_attack_an_old_checkpoint_replayed_by_somebody_between_is_no_alarm(world: World) -> None:
    repo, alice, bob = world.repository("repo"), world.agent("alice"), world.agent("bob")
    old = world.call("GET", f"{repo.url}/v1/checkpoint", b"", {}, timeout=1, limit=10_000).body
    world.now += 5
    sync.push(alice.deps, alice.id, repo.url)
    sync.pull(bob.deps, bob.id, repo.url)
    whole = honest(repo)
    world.serve(repo, lambda method, path, body: old if "checkpoint" in path else whole(method, path, body))
    with pytest.raises(RepositoryError):
        sync.pull(bob.deps, bob.id, repo.url)
    assert repos.proofs(bob.deps, bob.id, repo.id) == []


def test_attack_forked_log_of_one_size(world: World) -> None:
    repo, alice, bob, carol = (
        world.repository("repo"),
        *(world.agent(name) for name in ("alice", "bob", "carol")),
    )
    for party in (alice, carol):
        sync.push(party.deps, party.id, repo.url)
    other = copy(world, repo, without=carol.id)  # a log in which carol never was
    repository.submit(other.deps, repo.id, SubmitRequest((row_of(bob),)).dump(), repository.VOUCH_KINDS)
    assert alarms(alice, repo) == []
    world.serve(repo, honest(other))
    assert alarms(alice, repo) == [ForkError]
    (proof,) = repos.proofs(alice.deps, alice.id, repo.id)
    assert proof_holds(proof, repo)


def row_of(party: Party) -> bytes:
    return party.deps.statements.of(party.id, party.id)[0].envelope


def test_attack_forked_log_that_grows_differently(world: World) -> None:
    """Larger than before, and properly signed, but not the old log continued."""
    repo, alice, bob, carol = (
        world.repository("repo"),
        *(world.agent(name) for name in ("alice", "bob", "carol")),
    )
    for party in (alice, carol):
        sync.push(party.deps, party.id, repo.url)
    sync.pull(bob.deps, bob.id, repo.url)
    held = known_state(bob, repo)
    other = copy(world, repo, without=carol.id)
    extra = [world.agent(f"x{number}") for number in range(3)]
    body = SubmitRequest(tuple(row_of(one) for one in extra)).dump()
    repository.submit(other.deps, repo.id, body, repository.VOUCH_KINDS)
    world.serve(repo, honest(other))
    assert alarms(bob, repo) == [ForkError]
    after = known_state(bob, repo)
    assert (after.size, after.root, after.ahead) == (held.size, held.root, 0)
    assert len(list(repos.logged(bob.deps, bob.id, repo.id))) == held.size
    world.serve(repo)
    assert alarms(bob, repo) == []


def test_attack_forked_log_shown_to_two_agents_is_proved_by_comparing_notes(world: World) -> None:
    """A split view: each face is consistent, and each agent sees one only. Handing on a checkpoint proves it."""
    repo, alice, bob = world.repository("repo"), world.agent("alice"), world.agent("bob")
    sync.push(alice.deps, alice.id, repo.url)
    other = copy(world, repo, without=alice.id)
    repository.submit(other.deps, repo.id, SubmitRequest((row_of(bob),)).dump(), repository.VOUCH_KINDS)
    assert alarms(alice, repo) == []
    world.serve(repo, honest(other))
    assert alarms(bob, repo) == []
    seen_by_bob = known_state(bob, repo).note.encode()
    caught = sync.compare(alice.deps, alice.id, repo.id, seen_by_bob)
    assert isinstance(caught, ForkError)
    (proof,) = repos.proofs(alice.deps, alice.id, repo.id)
    assert proof_holds(proof, repo)
    assert sync.compare(bob.deps, bob.id, repo.id, seen_by_bob) is None
    slandered = SignedNote(Checkpoint(f"skyswarm/{repo.id}", 2, bytes(32)).text, ())
    thief = SeedSigner(bytes(32))
    with pytest.raises(SignatureError):
        sync.compare(
            bob.deps,
            bob.id,
            repo.id,
            slandered.signed(NoteKey(f"skyswarm/{repo.id}", thief.public), thief.sign).dump(),
        )
    assert repos.proofs(bob.deps, bob.id, repo.id) == [], "nobody else can slander a repository"


def test_attack_forked_log_by_reordering_or_altering_what_is_served(world: World) -> None:
    repo, alice = world.repository("repo"), world.agent("alice")
    others = [world.agent(f"x{number}") for number in range(4)]
    for party in (alice, *others):
        sync.push(party.deps, party.id, repo.url)
    whole = honest(repo)

    def reordered(method: str, path: str, body: bytes) -> bytes:
        answer = whole(method, path, body)
        if not path.startswith("/v1/statements?after"):
            return answer
        page = StatementsPage.parse(answer)
        return replace(page, statements=page.statements[::-1]).dump()

    world.serve(repo, reordered)
    assert alarms(alice, repo) == [ForkError]
    assert known_state(alice, repo).size == 0

    def shortened(method: str, path: str, body: bytes) -> bytes:
        answer = whole(method, path, body)
        return replace(StatementsPage.parse(answer), statements=()).dump() if "after=" in path else answer

    world.serve(repo, shortened)
    with pytest.raises(RepositoryError):
        sync.pull(alice.deps, alice.id, repo.url)


def test_attack_frozen_log(world: World) -> None:
    repo, bob = world.repository("repo"), world.agent("bob")
    note = world.call("GET", f"{repo.url}/v1/checkpoint", b"", {}, timeout=1, limit=10_000).body
    whole = honest(repo)
    world.serve(repo, lambda method, path, body: note if "checkpoint" in path else whole(method, path, body))
    world.now += FROZEN - 1
    assert alarms(bob, repo) == []
    world.now += 2
    with pytest.raises(RepositoryError, match="frozen"):
        sync.pull(bob.deps, bob.id, repo.url)


def test_attack_somebody_else_answers_at_the_address_of_a_repository(world: World) -> None:
    repo, mallory, bob = world.repository("repo"), world.repository("mallory"), world.agent("bob")
    world.routes[repo.url] = honest(mallory)
    with pytest.raises(RepositoryError):
        sync.pull(bob.deps, bob.id, repo.url)

    def with_the_right_origin(method: str, path: str, body: bytes) -> bytes:
        answer = honest(mallory)(method, path, body)
        if "checkpoint" not in path:
            return answer
        text = SignedNote.parse(answer).text.replace(mallory.id, repo.id)
        signer = mallory.deps.keys.current(mallory.id)
        return SignedNote(text, ()).signed(NoteKey(f"skyswarm/{repo.id}", signer.public), signer.sign).dump()

    world.routes[repo.url] = with_the_right_origin
    with pytest.raises((RepositoryError, SignatureError)):
        sync.pull(bob.deps, bob.id, repo.url)
    assert known_state(bob, repo).size == 0 and bob.statements() == [bob.id]


# ---- withheld revocation ---------------------------------------------------------------------
def withholding(repo: Party, kind: str) -> Answer:
    """Answers that a statement of that kind was taken, and forgets it: two faces, one for the issuer."""
    whole = honest(repo)
    dropped: list[int] = []

    def answer(method: str, path: str, body: bytes) -> bytes:
        if method != "POST" or not path.endswith(("/vouch", "/revoke")):
            return whole(method, path, body)
        kept, places = [], []
        for one in SubmitRequest.parse(body).statements:
            hide = parse_signed(one).statement.kind == kind
            dropped.extend([1] * hide)
            places.append(hide)
            if not hide:
                kept.append(one)
        reply = SubmitReply.parse(
            repository.submit(repo.deps, repo.id, SubmitRequest(tuple(kept)).dump(), ALL)
        )
        results = iter(reply.results)
        lie = repo.deps.statements.count(repo.id) + len(dropped)
        full = (
            tuple(replace(reply.results[0], position=lie) if hide else next(results) for hide in places)
            if kept
            else (tuple(repository.Outcome(lie) for _ in places))
        )
        return SubmitReply(full, reply.promise).dump()

    return answer


ALL = repository.VOUCH_KINDS | repository.REVOKE_KINDS


def test_attack_withheld_revocation_is_had_from_another_repository(world: World) -> None:
    """One repository keeps the revocation back; the union of two does not."""
    liar, good = world.repository("liar"), world.repository("good")
    world.serve(liar, withholding(liar, "revoke"))
    alice, bob, carol = world.agent("alice"), world.agent("bob"), world.agent("carol")
    for party in (alice, carol):
        for repo in (liar, good):
            repos.add(party.deps, party.id, repo.url)
    alice.vouch(bob)
    revoked = alice.revoke(bob)
    for party in (alice, carol):
        sync.tend(party.deps, party.id, [liar.url, good.url], party.url)
    assert revoked.id in carol.statements()
    assert revoked.id not in liar.statements()


def test_attack_withheld_revocation_is_noticed_by_its_issuer(world: World) -> None:
    """The issuer reads the log itself: what was taken must be in a log that is signed later than promised."""
    liar, alice, bob = world.repository("liar"), world.agent("alice"), world.agent("bob")
    world.serve(liar, withholding(liar, "revoke"))
    alice.vouch(bob)
    alice.revoke(bob)
    assert sync.push(alice.deps, alice.id, liar.url) == 3
    assert alarms(alice, liar) == [], "within its promise"
    world.now += PROMISE + MAX_SKEW
    assert alarms(alice, liar) == [], "its clock may be ahead of ours: perhaps it signed this in time"
    world.now += 61  # until it signs anew
    assert alarms(alice, liar) == [OmissionError]
    held = known_state(alice, liar)
    assert held.alarm is not None and held.alarm["code"] == OmissionError.code
    assert (held.mine, held.pushed) == (2, 2), "it is handed in again"
    world.serve(liar)
    assert sync.push(alice.deps, alice.id, liar.url) == 1
    assert alarms(alice, liar) == [] and known_state(alice, liar).mine == 3


# ---- repository shut down --------------------------------------------------------------------
def test_attack_repository_shut_down(world: World) -> None:
    """Shut down without a word: everything is found again through an empty one, from the agents alone."""
    only = world.repository("only")
    alice, bob = world.agent("alice"), world.agent("bob")
    vouched = [alice.vouch(bob), alice.revoke(bob), alice.rotate()]
    alice.share(MANIFEST)
    for party in (alice, bob):
        sync.tend(party.deps, party.id, [only.url], party.url)
    world.stop(only)
    with ThreadPoolExecutor(2) as pool:
        assert locate(bob.deps, bob.id, MANIFEST, [only.url], pool) == []
        with pytest.raises(RepositoryUnreachableError):
            sync.pull(bob.deps, bob.id, only.url)
        fresh = world.repository("fresh")
        for party in (alice, bob):
            sync.tend(party.deps, party.id, [only.url, fresh.url], party.url)
        assert [one.agent for one in locate(bob.deps, bob.id, MANIFEST, [only.url, fresh.url], pool)] == [
            alice.id
        ]
    assert {one.id for one in vouched} | {alice.id, bob.id} <= set(fresh.statements())


# ---- flood -----------------------------------------------------------------------------------
def test_attack_flood_by_one_issuer(world: World) -> None:
    """A flood ends at the issuer's own quota; nobody else notices."""
    repo = world.repository("repo")
    quotas = repository.Quotas(statements_per_day=100)
    world.serve(repo, honest(repo, quotas))
    mallory, alice = world.agent("mallory"), world.agent("alice")
    for number in range(150):
        mallory.extend(vouch_for(mallory, number))
    with pytest.raises(QuotaError):
        sync.push(mallory.deps, mallory.id, repo.url)
    assert repo.deps.statements.count(repo.id) == 1 + 1 + 100
    alice.vouch(mallory)
    assert sync.push(alice.deps, alice.id, repo.url) == 2


def vouch_for(party: Party, number: int) -> Vouch:
    now = int(party.world.now)
    sub = hashlib.sha256(b"sybil %d" % number).hexdigest()
    return Vouch(*party.next(), sub, ("fetch",), 0, None, now, now + DAY)


def test_attack_flood_of_one_number_leaves_two_as_the_proof(world: World) -> None:
    repo, mallory = world.repository("repo"), world.agent("mallory")
    sync.push(mallory.deps, mallory.id, repo.url)
    signer = mallory.deps.keys.current(mallory.id)
    twins = []
    for number in range(50):
        event = vouch_for(mallory, number)
        twins.append(seal(payload_type("vouch"), event.payload(), signer).dump())
    body = SubmitRequest(tuple(twins)).dump()
    reply = SubmitReply.parse(repository.submit(repo.deps, repo.id, body, ALL))
    assert [one.position for one in reply.results[:2]] == [2, 3]
    assert {one.code for one in reply.results[2:]} == {"SKY-212"}


# ---- forged vouch, sequence fast-forward -----------------------------------------------------
def test_attack_forged_vouch_never_enters_a_repository(world: World) -> None:
    repo, alice, mallory = world.repository("repo"), world.agent("alice"), world.agent("mallory")
    sync.push(alice.deps, alice.id, repo.url)
    event = vouch_for(alice, 1)
    forged = seal(payload_type("vouch"), event.payload(), mallory.deps.keys.current(mallory.id))
    mislabelled = Envelope(
        forged.payload_type,
        forged.payload,
        ((parse_signed(row_of(alice)).envelope.keyids[0], forged.signatures[0][1]),),
    )
    body = SubmitRequest((forged.dump(), mislabelled.dump())).dump()
    reply = SubmitReply.parse(repository.submit(repo.deps, repo.id, body, ALL))
    assert [one.code for one in reply.results] == [SignatureError.code] * 2
    assert event.id not in repo.statements()


def test_attack_forged_statement_in_my_name_does_not_take_my_next_number(world: World) -> None:
    """A lying repository serves, in a log that it signs, a statement in bob's name that bob never made."""
    repo, bob, mallory = world.repository("repo"), world.agent("bob"), world.agent("mallory")
    sync.push(bob.deps, bob.id, repo.url)
    forged = parse_signed(
        seal(payload_type("vouch"), vouch_for(bob, 1).payload(), mallory.deps.keys.current(mallory.id)).dump()
    )
    repo.deps.statements.append(repo.id, [row(forged, world.now)])
    assert alarms(bob, repo) == []
    assert forged.id not in bob.statements()
    mine = bob.vouch(mallory)  # would be a ConflictError for ever
    assert mine.statement.iss == bob.id
    with pytest.raises(ConflictError):
        bob.deps.statements.extend(bob.id, row(forged, world.now))


def test_attack_forged_statement_in_my_name_handed_to_me_does_not_take_my_next_number(world: World) -> None:
    """Brought to the agent itself: as the proof of a request, or to its own door, by anyone at all."""
    bob, mallory = world.agent("bob"), world.agent("mallory")
    forged = seal(
        payload_type("vouch"), vouch_for(bob, 1).payload(), mallory.deps.keys.current(mallory.id)
    ).dump()
    found = proofs.brought([forged, row_of(mallory)])
    assert proofs.learn(bob.deps, bob.id, found, "fetch", world.now) == 0
    body = SubmitRequest((forged,)).dump()
    (outcome,) = SubmitReply.parse(receiving.deliver(bob.deps, bob.id, body, repository.VOUCH_KINDS)).results
    assert outcome.code == SignatureError.code
    assert bob.statements() == [bob.id]
    mine = views.issue(
        bob.deps, bob.id, lambda seq, prev, seen: replace(vouch_for(bob, 2), seq=seq, prev=prev)
    )
    assert mine.id == bob.statements()[-1]


def test_attack_sequence_fast_forward_is_not_stored(world: World) -> None:
    repo, mallory = world.repository("repo"), world.agent("mallory")
    sync.push(mallory.deps, mallory.id, repo.url)
    now = int(world.now)
    far = Vouch(mallory.id, 2**53 - 1, mallory.id, repo.id, ("fetch",), 0, None, now, now + DAY)
    body = SubmitRequest(
        (seal(payload_type("vouch"), far.payload(), mallory.deps.keys.current(mallory.id)).dump(),)
    ).dump()
    (outcome,) = SubmitReply.parse(repository.submit(repo.deps, repo.id, body, ALL)).results
    assert outcome.code == "SKY-213" and repo.deps.statements.count(repo.id) == 2


# ---- stolen key ------------------------------------------------------------------------------
def test_attack_stolen_key_cannot_shut_its_owner_out_of_a_repository(world: World) -> None:
    """The thief fills the quota and the owner's next number; the owner's rotation is taken all the same."""
    repo, alice = world.repository("repo"), world.agent("alice")
    quotas = repository.Quotas(statements_per_day=5)
    world.serve(repo, honest(repo, quotas))
    sync.push(alice.deps, alice.id, repo.url)
    stolen = alice.deps.keys.current(alice.id)
    thief = Party(
        "thief",
        alice.id,
        world,
        replace(alice.deps, statements=MemoryStatements(), notes=MemoryNotes(), cache={}),
    )
    thief.deps.statements.append(alice.id, alice.deps.statements.after(alice.id, 0, 10))
    for number in range(6):
        thief.extend(vouch_for(thief, number), stolen)
    with pytest.raises(QuotaError):
        sync.push(thief.deps, alice.id, repo.url)
    alice.rotate()
    assert sync.push(alice.deps, alice.id, repo.url) == 1
    assert alice.chain[-1].id in repo.statements()
    sync.pull(alice.deps, alice.id, repo.url)
    assert known_state(alice, repo).mine == 2


# ---- cut and paste of requests ---------------------------------------------------------------
def test_attack_replayed_submission_changes_nothing(world: World) -> None:
    repo, alice = world.repository("repo"), world.agent("alice")
    sync.push(alice.deps, alice.id, repo.url)
    before = repo.statements()
    world.calls.clear()
    for _ in range(3):
        sync.push(alice.deps, alice.id, repo.url, afresh=True)
    assert repo.statements() == before
    assert all(not parse_qs(urlsplit(url).query) for method, url in world.calls if method == "POST")


def test_attack_withheld_revocation_by_a_copy_with_a_worthless_signature(world: World) -> None:
    """A liar serves the true revocation under somebody else's signature first: the true copy must still count."""
    liar, repo, alice, carol, bob = (
        world.repository("liar"),
        world.repository("repo"),
        *(world.agent(name) for name in ("alice", "carol", "bob")),
    )
    alice.vouch(carol)
    carol.vouch(bob)
    revoked = carol.revoke(bob)
    junk = seal(revoked.envelope.payload_type, revoked.envelope.payload, SeedSigner(b"j" * 32)).dump()
    for kept in carol.deps.statements.of(carol.id, carol.id):
        forged = replace(kept, envelope=junk) if kept.id == revoked.id else kept
        liar.deps.statements.append(liar.id, [forged])
    for party in (carol, bob):
        sync.push(party.deps, party.id, repo.url)
    sync.pull(alice.deps, alice.id, liar.url)
    with views.viewing(alice.deps, alice.id) as view:
        assert view.evaluate(bob.id, "fetch", world.now).trusted
    sync.pull(alice.deps, alice.id, repo.url)
    with views.viewing(alice.deps, alice.id) as view:
        assert not view.evaluate(bob.id, "fetch", world.now).trusted
