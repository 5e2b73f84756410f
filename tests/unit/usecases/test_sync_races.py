"""Two processes of one agent that read one log at once, one of them lied to or cut off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from skyswarm.errors import ConflictError, UnavailableError
from skyswarm.messages.repository import StatementsPage
from skyswarm.usecases import repos, sync
from tests.support.inprocess import Party, World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def repo(world: World) -> Party:
    repo, alice = world.repository("repo"), world.agent("alice")
    for _ in range(300):
        alice.vouch(repo)
    sync.push(alice.deps, alice.id, repo.url)
    return repo


@pytest.fixture
def bob(world: World) -> Party:
    return world.agent("bob")


def whole(bob: Party, repo: Party) -> bool:
    """What bob knows of the log is the log."""
    held = repos.state(bob.deps, bob.id, repo.id)
    ids = [one for _, one in repos.logged(bob.deps, bob.id, repo.id)]
    return ids == repo.statements() and repos.root_at(bob.deps, bob.id, repo.id, held.size).hex() == held.root


class Hooked:
    """A port whose call of one kind is preceded by something else, once."""

    def __init__(self, port: Any, name: str, about: str, first: Callable[[], object]) -> None:
        self._port, self._name, self._about, self._first = port, name, about, [first]

    def __getattr__(self, name: str) -> Any:
        def call(agent: str, what: Any, *rest: Any) -> Any:
            if name == self._name and self._first and self._about in str(what):
                self._first.pop()()
            return getattr(self._port, name)(agent, what, *rest)

        return call


@pytest.mark.parametrize("start", [0, 256])
def test_attack_a_page_that_was_held_back_replaces_nothing_that_was_verified(
    world: World, repo: Party, bob: Party, start: int
) -> None:
    honest, held = world.routes[repo.url], [True]

    def liar(method: str, path: str, body: bytes) -> bytes:
        answer = honest(method, path, body)
        if path.startswith(f"/v1/statements?after={start}&") and held:
            held.clear()
            other = replace(bob.deps, cache={})
            repos.change(
                other, bob.id, repo.id, repos.State.restarted
            )  # it begins anew and is told the truth
            assert sync.pull(other, bob.id, repo.url) == sync.Pulled(302)
            page = StatementsPage.parse(answer)
            return StatementsPage(page.statements[::-1], page.next, page.count).dump()
        return answer

    world.serve(repo, liar)
    with pytest.raises(ConflictError):
        sync.pull(bob.deps, bob.id, repo.url)
    assert whole(bob, repo)
    assert sync.pull(bob.deps, bob.id, repo.url) == sync.Pulled(0)


def test_a_write_that_comes_late_replaces_nothing_that_was_verified(
    world: World, repo: Party, bob: Party
) -> None:
    """It was stopped between its claim and its write; meanwhile the other one started over and read to the end."""
    honest = world.routes[repo.url]

    def liar(method: str, path: str, body: bytes) -> bytes:
        answer = honest(method, path, body)
        if path.startswith("/v1/statements?after=0&"):
            page = StatementsPage.parse(answer)
            return StatementsPage(page.statements[::-1], page.next, page.count).dump()
        return answer

    def meanwhile() -> None:
        world.serve(repo, honest)
        other = replace(bob.deps, cache={})
        repos.change(other, bob.id, repo.id, repos.State.restarted)
        assert sync.pull(other, bob.id, repo.url) == sync.Pulled(302)

    world.serve(repo, liar)
    slow = replace(bob.deps, cache={}, notes=Hooked(bob.deps.notes, "put", f"logged/{repo.id}", meanwhile))  # type: ignore[arg-type]
    with pytest.raises(ConflictError):
        sync.pull(slow, bob.id, repo.url)
    assert whole(bob, repo)


@pytest.mark.parametrize("chunk", [0, 1])
def test_a_reader_that_was_cut_off_between_its_claim_and_its_write_is_no_hindrance(
    repo: Party, bob: Party, chunk: int
) -> None:
    def dies() -> None:
        raise UnavailableError("the store is away")

    about = f"logged/{repo.id}/{chunk:012d}"
    cut = replace(bob.deps, cache={}, notes=Hooked(bob.deps.notes, "put", about, dies))  # type: ignore[arg-type]
    with pytest.raises(UnavailableError):
        sync.pull(cut, bob.id, repo.url)
    assert repos.state(bob.deps, bob.id, repo.id).ahead > 0
    with pytest.raises(ConflictError, match="read again"):
        sync.pull(bob.deps, bob.id, repo.url)
    assert sync.pull(bob.deps, bob.id, repo.url) == sync.Pulled(302)
    assert whole(bob, repo)
