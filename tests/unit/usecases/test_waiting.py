"""A transfer that waits says why, and is tried again soon: in the job, in its status, until something moves."""

from __future__ import annotations

import pytest

from skyswarm.errors import NoSourceError, RepositoryUnreachableError
from skyswarm.messages.link import Link
from skyswarm.usecases import jobs, people, repos, settle, starting
from skyswarm.usecases.lookup import Answers
from skyswarm.usecases.reporting import report, status_of
from skyswarm.usecases.work import perform
from tests.support.land import INLINE, Land, Person


@pytest.fixture
def bob(bob: Person, alice: Person) -> Person:
    people.give_name(bob.deps, bob.id, "alice", alice.id)
    return bob


def waits(bob: Person, transfer: str) -> tuple[str, str, float]:
    """Code, sentence and seconds until the next try, as the status has them."""
    status = status_of(bob.deps, bob.id, report(bob.deps, bob.id, transfer), bob.land.now)
    assert status.error is None and status.waiting is not None and status.finished is None
    assert status.dump()
    return status.waiting.code, status.waiting.message, status.waiting.next - bob.land.now


def later(bob: Person, seconds: int) -> None:
    for _ in range(seconds):
        bob.land.now += 1
        bob.work()


def test_nobody_could_be_asked(alice: Person, bob: Person) -> None:
    transfer = bob.get(alice.publish({"a": b"abc"}).envelope)
    bob.work()
    code, message, seconds = waits(bob, transfer)
    assert code == NoSourceError.code and "you use none" in message
    assert 0 < seconds <= 5


def test_a_repository_that_is_away_is_named(alice: Person, bob: Person) -> None:
    away = f"http://repo.test/a/{'7' * 64}"
    repos.add(bob.deps, bob.id, away)
    transfer = bob.get(alice.publish({"a": b"abc"}).envelope)
    bob.work()
    assert "repository http://repo.test: nobody at repo.test" in waits(bob, transfer)[1]


def test_what_the_repositories_said() -> None:
    gone = RepositoryUnreachableError("it cannot be reached")
    one, two = f"http://one/a/{'1' * 64}", f"http://two/a/{'2' * 64}"
    said = [
        Answers((), (one,), {}).nobody("it"),
        Answers((), (one, two), {}).nobody("it"),
        Answers((), (one,), {two: gone}).nobody("it"),
        Answers((), (), {one: gone, two: gone}).nobody("it"),
    ]
    assert said == [
        "1 repository asked, nobody has announced it yet",
        "2 repositories asked, nobody has announced it yet",
        "2 repositories asked, 1 did not answer (http://two: it cannot be reached); "
        "nobody has announced it yet at the others",
        "2 repositories asked, none did answer (http://one: it cannot be reached; http://two: it cannot be reached)",
    ]


UNUSABLE = "http://127.0.0.1:1/a/00"
WHY = "the address of a repository ends with /a/ and its id of 64 hex digits"


def link_of(alice: Person, *urls: str) -> Link:
    return Link(alice.publish({"a": b"abc"}).manifest.id, "it", urls)


def started(bob: Person, link: Link) -> str:
    transfer = starting.start_link(bob.deps, bob.id, link, starting.Wish("home")).id
    bob.work()
    return transfer


def test_an_address_that_cannot_be_asked_is_named_beside_what_the_others_said(
    alice: Person, bob: Person
) -> None:
    repos.add(bob.deps, bob.id, f"http://repo.test/a/{'7' * 64}")
    message = waits(bob, started(bob, link_of(alice, UNUSABLE)))[1]
    assert message == (
        f"repository http://repo.test: nobody at repo.test; 1 address could not be asked ({UNUSABLE}: {WHY})"
    )


def test_when_no_address_can_be_asked_they_are_named(alice: Person, bob: Person) -> None:
    urls = (UNUSABLE, "http://two.test", "http://three.test/" + "x" * 300)
    alone, three = (waits(bob, started(bob, link_of(alice, *some)))[1] for some in (urls[:1], urls))
    before = "no repository could be asked who holds it: "
    assert alone == before + f"1 address could not be asked ({UNUSABLE}: {WHY})"
    assert three == before + f"3 addresses could not be asked ({UNUSABLE}, http://two.test and more: {WHY})"


@pytest.mark.parametrize("planned", [False, True], ids=["before it is planned", "while it moves"])
def test_a_giver_that_is_away_is_named_and_found_soon_after_it_is_back(
    land: Land, alice: Person, bob: Person, planned: bool
) -> None:
    transfer = bob.get(alice.publish({"a": b"abc"}).envelope, alice)
    if planned:
        (delivery,) = bob.deps.tasks.pull("test/0", land.now, 60.0)
        perform(bob.deps, delivery, "test/0", INLINE)
        assert bob.job(transfer).state == "moving"
    land.down.add(alice.id)
    bob.work()
    later(bob, 200)
    _, message, seconds = waits(bob, transfer)
    assert message == "alice does not answer: nobody at alice.test"
    assert seconds <= 5
    waiting = bob.job(transfer).waiting
    assert waiting is not None and land.now - waiting["since"] >= 195
    land.down.clear()
    later(bob, 6)
    assert (bob.job(transfer).state, bob.job(transfer).waiting) == ("done", None)


def test_the_job_is_not_written_at_each_try_and_later_tries_are_rarer(
    land: Land, alice: Person, bob: Person
) -> None:
    transfer = bob.get(alice.publish({"a": b"abc"}).envelope, alice)
    land.down.add(alice.id)
    bob.work()
    later(bob, 320)
    calls = len(land.calls)
    version = bob.job(transfer).version
    later(bob, 120)
    assert len(land.calls) - calls <= 12, "two calls a try, every 30 s"
    assert 2 <= bob.job(transfer).version - version <= 6


def test_the_user_ends_the_waiting(land: Land, alice: Person, bob: Person) -> None:
    transfer = bob.get(alice.publish({"a": b"abc"}).envelope, alice)
    land.down.add(alice.id)
    bob.work()
    assert bob.job(transfer).waiting is not None
    settle.pause(bob.deps, bob.id, transfer)
    assert jobs.load(bob.deps, bob.id, transfer).waiting is None


def test_patience_ends_it_with_the_reason(land: Land, alice: Person, bob: Person) -> None:
    transfer = bob.get(alice.publish({"a": b"abc"}).envelope, alice)
    land.down.add(alice.id)
    later(bob, 660)
    job = bob.job(transfer)
    assert (job.state, job.waiting) == ("failed", None)
    assert job.error is not None and "alice does not answer" in job.error["message"]
