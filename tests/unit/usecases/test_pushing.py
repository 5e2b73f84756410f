"""Handing our own chain in again after a rotation has made void what a repository took: nothing is left out of it, and
nobody is accused of what we made void ourselves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from skyswarm.errors import OmissionError
from skyswarm.messages.dsse import seal
from skyswarm.messages.requests import Outcome, SubmitReply
from skyswarm.messages.statements import Vouch, parse_signed, payload_type
from skyswarm.usecases import people, repos, spreading, sync
from skyswarm.usecases.logreading import PROMISE
from tests.support.inprocess import DAY, Party, World, row

LATE = 2 * PROMISE + 600
"""Seconds after which a statement that was taken must be in the log, whatever the clocks."""


@pytest.fixture
def world() -> World:
    return World()


def contradict(alice: Party, seq: int, prev: str) -> None:
    """An old copy of her home has signed another vouch with that number."""
    now = int(alice.world.now)
    twin = Vouch(alice.id, seq, prev, "ab" * 32, ("fetch",), 1, None, now, now + DAY)
    made = seal(payload_type("vouch"), twin.payload(), alice.deps.keys.current(alice.id))
    alice.deps.statements.append(alice.id, [row(parse_signed(made.dump()), alice.world.now)])


@pytest.mark.parametrize("read_before", [False, True], ids=["log never read", "its beginning was read"])
@pytest.mark.parametrize("earlier", [False, True], ids=["as remembered now", "as remembered before"])
def test_a_rotation_beside_void_statements_is_handed_in_and_nobody_is_accused(
    world: World, read_before: bool, earlier: bool
) -> None:
    alice, repo = world.agent("alice"), world.repository("repo")
    repos.add(alice.deps, alice.id, repo.url)
    if read_before:
        sync.push(alice.deps, alice.id, repo.url)
        sync.pull(alice.deps, alice.id, repo.url)
    for name in ("bob", "carol"):
        alice.vouch(world.agent(name))
    sync.push(alice.deps, alice.id, repo.url)
    if earlier:  # the state that was kept before it named what was pushed
        repos.change(alice.deps, alice.id, repo.id, lambda now: replace(now, pushed_head=""))
    contradict(alice, 1, alice.id)
    rotated = people.rotate(alice.deps, alice.id)
    assert getattr(rotated.statement, "seq", None) == 1, "it stands beside what it makes void"
    assert spreading.told(alice.deps, alice.id)[0] == 0
    world.now += LATE
    pulled = sync.pull(alice.deps, alice.id, repo.url)
    assert pulled.alarms == () and repos.state(alice.deps, alice.id, repo.id).alarm is None
    assert sync.push(alice.deps, alice.id, repo.url) == 1
    assert spreading.told(alice.deps, alice.id)[0] == 1
    assert rotated.statement.id in repo.statements()
    assert sync.push(alice.deps, alice.id, repo.url) == 0, "once is enough"
    world.now += LATE
    assert sync.pull(alice.deps, alice.id, repo.url).alarms == ()
    assert repos.state(alice.deps, alice.id, repo.id).mine == 2


def test_a_rotation_is_handed_in_before_the_log_is_read_as_well(world: World) -> None:
    alice, repo = world.agent("alice"), world.repository("repo")
    for name in ("bob", "carol"):
        alice.vouch(world.agent(name))
    sync.push(alice.deps, alice.id, repo.url)
    contradict(alice, 1, alice.id)
    rotated = people.rotate(alice.deps, alice.id)
    assert sync.push(alice.deps, alice.id, repo.url) >= 1
    assert rotated.statement.id in repo.statements()
    world.now += LATE
    assert sync.pull(alice.deps, alice.id, repo.url).alarms == ()


def test_what_was_taken_after_the_rotation_is_still_owed(world: World) -> None:
    """A repository that takes the rotation and leaves it out of its log is found out all the same."""
    alice, repo = world.agent("alice"), world.repository("repo")
    sync.push(alice.deps, alice.id, repo.url)
    alice.vouch(world.agent("bob"))
    contradict(alice, 1, alice.id)
    people.rotate(alice.deps, alice.id)

    def forgetting(method: str, path: str, body: bytes) -> bytes:
        return SubmitReply((Outcome(9),)).dump()

    world.serve(repo, forgetting)
    assert sync.push(alice.deps, alice.id, repo.url) == 1
    world.serve(repo)
    world.now += LATE
    (alarm,) = sync.pull(alice.deps, alice.id, repo.url).alarms
    assert isinstance(alarm, OmissionError)
    assert sync.push(alice.deps, alice.id, repo.url) == 1, "it is handed in again"
