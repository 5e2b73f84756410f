"""Starting a transfer once, whatever is delivered twice; planning, which may be repeated and raced."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from skyswarm.errors import AbsentError, InputError, ManifestError, SignatureError, SkyError, UnsafePathError
from skyswarm.messages.dsse import Envelope, seal
from skyswarm.messages.link import Link
from skyswarm.ports.records import Batch
from skyswarm.usecases import jobs, plan, settle, starting
from skyswarm.usecases.starting import Wish
from skyswarm.usecases.work import perform
from tests.support.land import INLINE, Land, Person

MIB = 1 << 20


@pytest.fixture
def bob(land: Land, alice: Person) -> Person:
    return alice.welcomes(land.agent("bob", batch_files=3, batch_bytes=40 * MIB))


def batches(bob: Person, transfer: str) -> list[Batch]:
    return bob.deps.transfers.undone(bob.id, transfer, -1, 1000)


# ---- starting ------------------------------------------------------------------------------------------
def test_a_manifest_starts_a_transfer(alice: Person, bob: Person) -> None:
    published = alice.publish({"a": b"a"})
    job = starting.start_manifest(bob.deps, bob.id, published.envelope, Wish("home", "deep/er/", max_cost=7))
    assert (job.state, job.prefix, job.max_cost, job.files, job.bytes) == ("queued", "deep/er", 7, 1, 1)
    assert bob.job(job.id) == job


def test_the_same_drop_starts_one_transfer(alice: Person, bob: Person) -> None:
    envelope = alice.publish({"a": b"a"}).envelope
    name = starting.drop_id("x.manifest.json", envelope)
    first = starting.start_manifest(bob.deps, bob.id, envelope, Wish("home"), transfer=name)
    settle.pause(bob.deps, bob.id, name)
    again = starting.start_manifest(bob.deps, bob.id, envelope, Wish("home"), transfer=name)
    assert (again.id, again.state) == (first.id, "paused"), "as it is now, not anew"
    assert len(jobs.page(bob.deps, bob.id)) == 1
    assert starting.drop_id("y.manifest.json", envelope) != name
    assert starting.drop_id("x.manifest.json", envelope + b" ") != name


def test_a_held_transfer_waits_for_its_user(alice: Person, bob: Person) -> None:
    transfer = bob.get(alice.publish({"a": b"a"}).envelope, alice, hold=True)
    assert bob.work() == 0
    assert bob.job(transfer).state == "paused"
    settle.resume(bob.deps, bob.id, transfer)
    bob.work()
    assert bob.job(transfer).state == "done"


def test_a_link_starts_a_transfer_from_its_hint(alice: Person, bob: Person) -> None:
    published = alice.publish({"a": b"a"})
    link = Link(published.manifest.id, "it", (), alice.url)
    job = starting.start_link(bob.deps, bob.id, link, Wish("home"))
    assert [one.agent for one in job.sources] == [alice.id]
    bob.work()
    assert bob.job(job.id).state == "done"
    assert bob.files() == {"a": b"a"}


@pytest.mark.parametrize(
    "at", ["http://alice.test", "http://alice.test/a/" + "x" * 64, "http://alice.test/a/" + "a" * 63]
)
def test_a_hint_that_names_no_agent(bob: Person, at: str) -> None:
    with pytest.raises(InputError):
        starting.start_link(bob.deps, bob.id, Link("a" * 64, "it", (), at), Wish("home"))
    assert jobs.page(bob.deps, bob.id) == []


def _other_signature(envelope: bytes, land: Land) -> bytes:
    parsed = Envelope.parse(envelope, 1 << 17)
    stranger = land.agent("stranger")
    return seal(parsed.payload_type, parsed.payload, stranger.deps.keys.current(stranger.id)).dump()


REFUSED: dict[str, tuple[Callable[[bytes, Land], bytes], type[SkyError]]] = {
    "nothing": (lambda *_: b"", InputError),
    "not JSON": (lambda *_: b"\x00\xff", InputError),
    "cut": (lambda envelope, _: envelope[:-9], InputError),
    "a byte changed": (lambda envelope, _: envelope.replace(b'"sig":"', b'"sig":"AAAA', 1)[:-4], InputError),
    "a statement": (
        lambda _, land: land.agent("x").deps.statements.of(*_ids(land))[0].envelope,
        ManifestError,
    ),
    "another's signature": (_other_signature, ManifestError),
}


def _ids(land: Land) -> tuple[str, str]:
    newest = list(land.people)[-1]
    return newest, newest


@pytest.mark.parametrize("name", REFUSED)
def test_a_manifest_that_is_none(land: Land, alice: Person, bob: Person, name: str) -> None:
    bob.hears(alice)
    make, kind = REFUSED[name]
    with pytest.raises((kind, SignatureError)):
        starting.start_manifest(
            bob.deps, bob.id, make(alice.publish({"a": b"a"}).envelope, land), Wish("home")
        )
    assert jobs.page(bob.deps, bob.id) == []
    assert bob.files("#objects") == {}


def test_a_manifest_that_has_ended(land: Land, alice: Person, bob: Person) -> None:
    envelope = alice.publish({"a": b"a"}, expires=int(land.now) + 10).envelope
    land.now += 10
    with pytest.raises(ManifestError, match="expired"):
        starting.start_manifest(bob.deps, bob.id, envelope, Wish("home"))


@pytest.mark.parametrize(
    ("wish", "kind"), [(Wish("none"), AbsentError), (Wish("home", "../x"), UnsafePathError)]
)
def test_a_destination_that_is_none(alice: Person, bob: Person, wish: Wish, kind: type[SkyError]) -> None:
    with pytest.raises(kind):
        starting.start_manifest(bob.deps, bob.id, alice.publish({"a": b"a"}).envelope, wish)
    assert jobs.page(bob.deps, bob.id) == []


# ---- planning ------------------------------------------------------------------------------------------
FILES = {"big": b"x" * (17 * MIB), "e": b"", **{f"s{n}": b"s" * n for n in range(1, 8)}}


def _uploads(bob: Person) -> int:
    return len(bob.bucket("home")._uploads)


def test_planning_again_adds_nothing(alice: Person, bob: Person) -> None:
    transfer = bob.get(alice.publish(FILES).envelope, alice)
    plan.plan(bob.deps, bob.id, transfer, INLINE)
    first, uploads = batches(bob, transfer), _uploads(bob)
    assert len(first) >= 4 and uploads == 1
    # As after a crash just before the last page was noted, and once more from the start.
    jobs.change(bob.deps, bob.id, transfer, _replanned)
    plan.plan(bob.deps, bob.id, transfer, INLINE)
    plan.plan(bob.deps, bob.id, transfer, INLINE)
    assert batches(bob, transfer) == first
    assert _uploads(bob) == uploads
    assert bob.deps.transfers.tally(bob.id, transfer).batches == len(first)
    bob.work()
    assert bob.job(transfer).state == "done"
    assert bob.files() == {f"it/{key}": data for key, data in FILES.items()}


def _replanned(job: jobs.Job) -> jobs.Job:
    return replace(job, planned=False, planned_pages=0, state="planning")


def test_planning_is_raced_at_every_write(alice: Person, bob: Person) -> None:
    """Another worker plans the whole transfer just before each batch is added."""
    transfer = bob.get(alice.publish(FILES).envelope, alice)
    raced: list[int] = []

    class Racing:
        def __getattr__(self, name: str) -> Any:
            return getattr(bob.deps.transfers, name)

        def add(self, agent: str, name: str, found: Any) -> None:
            if not raced:
                raced.append(1)
                plan.plan(bob.deps, agent, name, INLINE)
            bob.deps.transfers.add(agent, name, found)

    plan.plan(replace(bob.deps, transfers=Racing()), bob.id, transfer, INLINE)  # type: ignore[arg-type]
    assert raced == [1]
    tally = bob.deps.transfers.tally(bob.id, transfer)
    assert tally.batches == len(batches(bob, transfer))
    bob.work()
    assert bob.job(transfer).state == "done"
    assert bob.files() == {f"it/{key}": data for key, data in FILES.items()}


def test_batches_are_a_function_of_the_pages_alone(land: Land, alice: Person) -> None:
    """Two receivers of one share cut it alike."""
    published = alice.publish(FILES)
    cuts = []
    for name in ("one", "two"):
        who = land.agent(name)
        alice.vouch(who)
        alice.hears(who)
        transfer = who.get(published.envelope, alice)
        plan.plan(who.deps, who.id, transfer, INLINE)
        cuts.append([(one.number, one.group) for one in batches(who, transfer)])
    assert cuts[0] == cuts[1]


def test_the_estimate_is_there_before_anything_moves(alice: Person, bob: Person) -> None:
    transfer = bob.get(alice.publish(FILES).envelope, alice)
    plan.plan(bob.deps, bob.id, transfer, INLINE)
    job = bob.job(transfer)
    assert [line["payer"] for line in job.estimate] == ["them", "them", "you"]
    assert bob.files() == {}


def test_a_transfer_that_was_cancelled_meanwhile_is_not_planned(alice: Person, bob: Person) -> None:
    transfer = bob.get(alice.publish(FILES).envelope, alice)
    settle.cancel(bob.deps, bob.id, transfer)
    bob.work()
    assert bob.job(transfer).state == "cancelled"
    assert batches(bob, transfer) == [] and bob.files() == {}


def test_serving_on_what_could_not_be_had_answers_changed(land: Land, alice: Person, bob: Person) -> None:
    """Bob keeps sharing though one file of it is not there any more; carol gets the rest and a clear word."""
    published = alice.publish({"a": b"a" * 30, "b": b"b" * 30})
    transfer = bob.get(published.envelope, alice, keep=True)
    for _ in range(100):
        if bob.job(transfer).state not in ("queued", "planning", "moving"):
            break
        for delivery in bob.deps.tasks.pull("w", land.now, 60.0):
            if delivery.task.kind == "settle" and bob.files():
                bob.bucket("home").delete("it/b")
            perform(bob.deps, delivery, "w", INLINE)
    assert bob.job(transfer).state == "done"
    carol = land.agent("carol", patience=30.0)
    bob.vouch(carol)
    bob.hears(carol)
    wanted = carol.get(published.envelope, bob)
    for _ in range(20):
        carol.work()
        land.now += 10
    job = carol.job(wanted)
    assert job.state == "failed"
    assert [(one["path"], one["code"]) for one in job.failed] == [("b", "SKY-313")]
    assert carol.files() == {"it/a": b"a" * 30}
