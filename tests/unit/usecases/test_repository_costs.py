"""What an unsigned request makes a repository read: nothing that it does not need for its answer."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from skyswarm.drivers.memory.records import MemoryStatements
from skyswarm.errors import SignatureError
from skyswarm.messages.dsse import Envelope, seal
from skyswarm.messages.keys import SeedSigner
from skyswarm.messages.repository import AnnounceRequest, LookupReply
from skyswarm.messages.statements import Announce, Head, payload_type
from skyswarm.ports.records import StatementRow
from skyswarm.usecases import repository
from skyswarm.usecases.chains import replayed
from skyswarm.usecases.lookup import lookup_key
from tests.support.inprocess import Party, World

KEY = lookup_key(hashlib.sha256(b"a manifest").hexdigest())
THIEF = SeedSigner(bytes([66]) * 32)
LONG = 80


class Counted(MemoryStatements):
    """The real store, which counts the rows that it gives."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = 0

    def of(self, agent: str, issuer: str, seq: int = 0, limit: int = 1000) -> list[StatementRow]:
        found = super().of(agent, issuer, seq, limit)
        self.rows += len(found)
        return found

    def since(self, agent: str, issuer: str, position: int, limit: int = 1_000_000) -> list[StatementRow]:
        found = super().since(agent, issuer, position, limit)
        self.rows += len(found)
        return found


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def repo(world: World) -> Party:
    made = world.repository("repo")
    counted = Counted()
    counted.append(made.id, made.deps.statements.of(made.id, made.id))
    return replace(made, deps=replace(made.deps, statements=counted))


def talker(world: World, repo: Party, name: str) -> Party:
    """An agent with a long chain that is here."""
    party = world.agent(name)
    for _ in range(LONG):
        party.vouch(repo)
    repo.deps.statements.append(repo.id, party.deps.statements.of(party.id, party.id))
    return party


def told(party: Party) -> Envelope:
    now = int(party.world.now)
    event = Announce(party.id, 0, now * 1000, party.url, Head(0, party.id), (KEY,), now + 3600)
    return seal(payload_type("announce"), event.payload(), party.deps.keys.current(party.id))


def forged(party: Party) -> bytes:
    """Signed by a thief in the name of the true key, so that its signature must be checked."""
    true = told(party)
    ((keyid, _),) = true.signatures
    ((_, worthless),) = seal(true.payload_type, true.payload, THIEF).signatures
    return replace(true, signatures=((keyid, worthless),)).dump()


def announce(repo: Party, envelope: bytes) -> None:
    repository.announce(repo.deps, repo.id, AnnounceRequest(envelope, ()).dump())


def read_by(repo: Party, act: Callable[[], object]) -> int:
    counted = repo.deps.statements
    assert isinstance(counted, Counted)
    before = counted.rows
    act()
    return counted.rows - before


def test_attack_a_forged_announcement_reads_no_chain(repo: Party, world: World) -> None:
    alice = talker(world, repo, "alice")
    announce(repo, told(alice).dump())

    def refused() -> None:
        with pytest.raises(SignatureError):
            announce(repo, forged(alice))

    assert [read_by(repo, refused) for _ in range(3)] == [0, 0, 0]
    alice.vouch(repo)
    repo.deps.statements.append(repo.id, alice.deps.statements.of(alice.id, alice.id)[-1:])
    assert read_by(repo, refused) <= 2, "what is new, and no more"
    world.now += 1
    assert read_by(repo, lambda: announce(repo, told(alice).dump())) == 0


def test_attack_a_look_up_reads_only_what_it_answers(repo: Party, world: World) -> None:
    parties = [talker(world, repo, f"a{number}") for number in range(3)]
    for party in parties:
        announce(repo, told(party).dump())
    answer: list[LookupReply] = []

    def look_up() -> None:
        answer.append(LookupReply.parse(repository.lookup(repo.deps, repo.id, KEY, world.now)))

    assert read_by(repo, look_up) == len(parties), "where each came first"
    assert read_by(repo, look_up) == 0
    assert [len(one.chain) for one in answer[-1].found] == [1, 1, 1]
    parties[1].rotate()
    repo.deps.statements.append(repo.id, parties[1].deps.statements.of(parties[1].id, parties[1].id)[-1:])
    assert read_by(repo, look_up) == 0
    assert [len(one.chain) for one in answer[-1].found] == [1, 0, 1], "65 and more are read by issuer"


def test_attack_who_is_busy_with_one_issuer_holds_up_no_other(repo: Party, world: World) -> None:
    alice, bob = talker(world, repo, "alice"), talker(world, repo, "bob")
    done = threading.Event()

    def other() -> None:
        announce(repo, told(bob).dump())
        done.set()

    with replayed(repo.deps, repo.id, alice.id):
        thread = threading.Thread(target=other, daemon=True)
        thread.start()
        assert done.wait(10)
    thread.join()
