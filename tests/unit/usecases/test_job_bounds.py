"""A transfer's stored state can always be read again, whatever peers and manifests have put into it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from skyswarm.errors import BackendError, DestinationConflictError, SourceRefusedError, TransferStateError
from skyswarm.messages import canonical
from skyswarm.ports.records import Transfer
from skyswarm.usecases import candidates, jobs, settle, tending
from skyswarm.usecases.jobs import note_failure
from skyswarm.usecases.reporting import report, status_of
from tests.support.land import Land, Person


@pytest.fixture
def bob(land: Land) -> Person:
    return land.agent("bob", failures_kept=1000)


def stored(bob: Person, transfer: str) -> bytes:
    row = bob.deps.transfers.get(bob.id, transfer)
    assert row is not None
    return row.doc_json


def test_attack_hundreds_of_long_escaped_paths_fail(alice: Person, bob: Person) -> None:
    transfer = bob.get(alice.publish({"a": b"abc"}).envelope, alice)
    for number in range(300):
        path = f"{number:04d}" + '"' * 1000
        note_failure(bob.deps, bob.id, transfer, path, DestinationConflictError(path * 3))
    assert len(stored(bob, transfer)) <= jobs.MAX_JOB
    failed = bob.job(transfer).failed
    assert 20 < len(failed) < 100 and all(len(one["message"]) <= 200 for one in failed)
    assert len(canonical.dumps(list(failed))) <= jobs.MAX_FAILED + 2
    assert status_of(bob.deps, bob.id, report(bob.deps, bob.id, transfer), 1).dump()


def test_attack_a_thousand_sources_with_long_reasons(alice: Person, bob: Person) -> None:
    transfer = bob.get(alice.publish({"a": b"abc"}).envelope, alice)
    for number in range(400):
        one = jobs.SourceState(agent=f"{number:064x}", endpoint="http://x.test/a/" + "0" * 400)
        jobs.change(bob.deps, bob.id, transfer, lambda now, add=one: now.with_source(add))  # type: ignore[misc]
        candidates.drop(bob.deps, bob.id, transfer, one.agent, SourceRefusedError("\u0001" * 500))
    job = bob.job(transfer)
    assert len(job.sources) == jobs.MAX_SOURCES and len(stored(bob, transfer)) <= jobs.MAX_JOB
    assert [one.agent for one in job.active_sources()] == [alice.id]
    assert job.sources[-1].agent == f"{399:064x}"
    assert max(len(one.reason) for one in job.sources) <= 200


def test_what_could_not_be_read_again_is_not_written(alice: Person, bob: Person) -> None:
    transfer = bob.get(alice.publish({"a": b"abc"}).envelope, alice)
    before = stored(bob, transfer)
    with pytest.raises(BackendError, match="more than can be read again"):
        jobs.store(bob.deps, bob.id, replace(bob.job(transfer), hints=("h" * jobs.MAX_JOB,)))
    assert stored(bob, transfer) == before


def spoil(bob: Person, transfer: str, data: bytes) -> None:
    row = bob.deps.transfers.get(bob.id, transfer)
    assert row is not None
    bob.deps.transfers.put(bob.id, replace(row, doc_json=data))


def test_a_job_of_before_that_is_too_long_is_read_and_cut(alice: Person, bob: Person) -> None:
    transfer = bob.get(alice.publish({"a": b"abc"}).envelope, alice)
    doc = canonical.loads(stored(bob, transfer), jobs.MAX_JOB)
    doc["failed"] = [{"path": f"{n}", "code": "SKY-330", "message": "m" * 4000} for n in range(75)]
    spoil(bob, transfer, canonical.dumps(doc))
    assert len(stored(bob, transfer)) > jobs.MAX_JOB
    settle.cancel(bob.deps, bob.id, transfer)
    assert bob.job(transfer).state == "cancelled" and len(stored(bob, transfer)) <= jobs.MAX_JOB


@pytest.mark.parametrize("data", [b"junk", b"{}", b"[]", b'{"sources":3}'])
def test_an_unreadable_job_stops_no_other_and_can_be_cancelled(
    alice: Person, bob: Person, data: bytes
) -> None:
    bad = bob.get(alice.publish({"a": b"abc"}).envelope, alice)
    good = bob.get(alice.publish({"b": b"abc"}, name="other").envelope, alice)
    spoil(bob, bad, data)
    found = {job.id: job for job in jobs.page(bob.deps, bob.id)}
    assert found.keys() == {bad, good} and found[bad].state == "failed"
    error = found[bad].error
    assert error is not None and error["code"] == "SKY-500" and "cannot be read" in error["message"]
    assert status_of(bob.deps, bob.id, report(bob.deps, bob.id, bad), 1).dump()
    tending.wake_up(bob.deps, bob.id, bob.url)
    tending.tend(bob.deps, bob.id, tending.Rounds(), "agent")
    with pytest.raises(TransferStateError):
        settle.resume(bob.deps, bob.id, bad)
    settle.cancel(bob.deps, bob.id, bad)
    assert bob.job(bad).state == "cancelled"
    tending.wake_up(bob.deps, bob.id, bob.url)


def test_an_unreadable_job_that_has_ended_stays_so(bob: Person) -> None:
    bob.deps.transfers.put(bob.id, Transfer("t-abcdefgh", "done", 5.0, b"junk"))
    assert bob.job("t-abcdefgh").state == "done"
