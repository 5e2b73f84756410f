"""Bad networks, liars, wrong clocks, dead repositories: a right file or a clear error, never a wrong file or a hang.

The long run (`slow`) has every fault alone, for ever, and with a second honest source; the quick one has one of a kind.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from skyswarm.messages.link import Link
from skyswarm.usecases import settle, starting
from tests.support.faulty_proxy import Fault
from tests.support.stage import sha256, until
from tests.support.trio import MIB, trio

PASSING = {
    "corrupt": Fault(corrupt=0.01, times=2),
    "stall": Fault(stall=True, times=3),
    "503": Fault(status=503, times=6),
    "429": Fault(status=429, times=6),
    "expired": Fault(expired=True, times=5),
    "cut": Fault(cut=True, times=5),
    "wrong-range": Fault(wrong_range=True, times=1),
}
"""Faults that pass: the file arrives. (A wrong range and a 412 say that the file changed: see LASTING.)"""

LASTING = {
    "corrupt": (Fault(corrupt=0.01), "failed", "SKY-310", "SKY-320"),
    "stall": (Fault(stall=True), "failed", "SKY-310", "sent nothing"),
    "503": (Fault(status=503), "failed", "SKY-310", "503"),
    "expired": (Fault(expired=True), "failed", "SKY-310", "403"),
    "cut": (Fault(cut=True), "failed", "SKY-310", "127.0.0.1"),
    "412": (Fault(status=412), "failed", "SKY-300", "1 of 1 files could not be had"),
    "wrong-range": (Fault(wrong_range=True), "failed", "SKY-300", "1 of 1 files could not be had"),
}
"""Faults for ever at the only source: the state, the code, and what the message names."""


def passes(tmp_path: Path, name: str) -> None:
    with trio(tmp_path) as cast:
        published = cast.share(24 * MIB)
        cast.bob.finds(published, cast.alice)
        cast.proxy.fault = PASSING[name]
        cast.bob.drop(published.envelope)
        if name == "wrong-range":
            cast.bob.wait("failed", 60)
            assert not cast.final.exists()
            return
        cast.bob.wait("done", 60)
        assert sha256(cast.final) == cast.files["big.bin"]


def lasts(tmp_path: Path, name: str) -> None:
    fault, state, code, why = LASTING[name]
    with trio(tmp_path, patience=4.0, stall=1.0) as cast:
        published = cast.share(24 * MIB)
        cast.bob.finds(published, cast.alice)
        cast.proxy.fault = fault
        cast.bob.drop(published.envelope)
        job = cast.bob.wait(state, 60)
        assert job.error is not None
        assert job.error["code"] == code and why in job.error["message"], job.error
        assert not cast.final.exists()
        # The fault goes away, the user says `resume`: the file arrives.
        cast.proxy.fault = Fault()
        job = settle.resume(cast.bob.deps, cast.bob.id, job.id)
        cast.bob.wait("done", 60, job.id)
        assert sha256(cast.final) == cast.files["big.bin"]


def second(tmp_path: Path, name: str) -> None:
    fault = LASTING[name][0]
    with trio(tmp_path, carol=True, batch_bytes=8 * MIB) as cast:
        published = cast.share(64 * MIB)
        cast.spread(published)
        assert cast.second is not None
        cast.second.fault = Fault(rate=4 * MIB)  # slow enough that the other one is tried as well
        cast.proxy.fault = fault
        cast.bob.drop(published.envelope)
        job = cast.bob.wait("done", 60)
        assert sha256(cast.final) == cast.files["big.bin"]
        assert cast.carol is not None
        given = cast.bob.report().by_source
        assert given.get(cast.carol.id) == 64 * MIB and not given.get(cast.alice.id)
        if name == "corrupt":
            liar = next(one for one in job.sources if one.agent == cast.alice.id)
            assert (liar.state, liar.code) == ("dropped", "SKY-320") or 0 < liar.strikes < 3, liar
            assert cast.bob.report().tally.wasted_bytes > 0


def test_a_fault_that_passes_costs_only_time(tmp_path: Path) -> None:
    passes(tmp_path, "cut")


def test_a_liar_alone_gives_a_clear_error_and_a_resume_completes(tmp_path: Path) -> None:
    lasts(tmp_path, "corrupt")


def test_a_liar_is_dropped_when_there_is_another_source(tmp_path: Path) -> None:
    second(tmp_path, "corrupt")


@pytest.mark.slow
@pytest.mark.parametrize("name", PASSING)
def test_every_fault_that_passes(tmp_path: Path, name: str) -> None:
    passes(tmp_path, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", LASTING)
def test_every_fault_that_lasts(tmp_path: Path, name: str) -> None:
    lasts(tmp_path, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", LASTING)
def test_every_fault_with_a_second_source(tmp_path: Path, name: str) -> None:
    second(tmp_path, name)


# ---- clocks ------------------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize("offset", [-90, 90])
def test_a_clock_that_is_a_little_wrong_does_no_harm(tmp_path: Path, offset: float) -> None:
    with trio(tmp_path) as cast:
        published = cast.share(9 * MIB)
        cast.bob.finds(published, cast.alice)
        cast.bob.end()
        cast.bob.start(offset=offset)
        cast.bob.drop(published.envelope)
        cast.bob.wait("done", 60)
        assert sha256(cast.final) == cast.files["big.bin"]
        until(lambda: cast.bob.report().job.receipts, 30, "the receipt")


@pytest.mark.slow
@pytest.mark.parametrize("offset", [-600, 600])
def test_a_clock_that_is_far_off_is_said_clearly(tmp_path: Path, offset: float) -> None:
    with trio(tmp_path) as cast:
        published = cast.share(9 * MIB)
        cast.bob.finds(published, cast.alice)
        cast.bob.end()
        cast.bob.start(offset=offset)
        cast.bob.drop(published.envelope)
        job = cast.bob.wait("refused", 60)
        assert job.error is not None and "SKY-202" in str(job) and "clock" in str(job.error), job


# ---- repositories ------------------------------------------------------------------------------
def test_a_link_with_an_endpoint_needs_no_repository(tmp_path: Path) -> None:
    with trio(tmp_path, start=False) as cast:
        cast.stage.start(cast.alice, cast.bob)  # the repository is down
        published = cast.share(9 * MIB)
        link = Link(published.manifest.id, "it", (cast.repo.endpoint,), cast.alice.endpoint)
        starting.start_link(cast.bob.deps, cast.bob.id, link, starting.Wish("home"))
        cast.bob.wait("done", 60)
        assert sha256(cast.final) == cast.files["big.bin"]


@pytest.mark.slow
def test_a_repository_that_dies_in_the_middle_does_no_harm(tmp_path: Path) -> None:
    with trio(tmp_path) as cast:
        published = cast.share(40 * MIB)
        cast.bob.finds(published, cast.alice)
        cast.proxy.fault = Fault(rate=4 * MIB)
        cast.bob.drop(published.envelope)
        until(lambda: cast.proxy.sent() > 4 * MIB, 30)
        cast.repo.end()
        cast.bob.wait("done", 90)
        assert sha256(cast.final) == cast.files["big.bin"]


@pytest.mark.slow
def test_a_repository_that_stays_away_is_said_clearly(tmp_path: Path) -> None:
    with trio(tmp_path, patience=4.0) as cast:
        published = cast.share(9 * MIB)
        cast.bob.finds(published, cast.alice)
        cast.repo.end()
        cast.bob.drop(published.envelope)
        job = cast.bob.wait("failed", 60)
        assert job.error is not None and job.error["code"] == "SKY-310", job.error
        assert "repositor" in job.error["message"]
