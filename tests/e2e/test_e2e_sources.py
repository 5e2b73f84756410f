"""Several sources at once; one that dies; one that says no from a moment on."""

from __future__ import annotations

from pathlib import Path

import pytest

from skyswarm.usecases import settle
from tests.support.faulty_proxy import Fault
from tests.support.stage import make_file, sha256, until
from tests.support.trio import MIB, trio


def swarm(tmp_path: Path, size: int, slow: int, fast: int, *, kill: bool) -> None:
    with trio(tmp_path, carol=True, batch_bytes=8 * MIB) as cast:
        assert cast.carol is not None and cast.second is not None
        published = cast.share(size)
        cast.spread(published)
        already = cast.proxy.sent()
        cast.proxy.fault, cast.second.fault = Fault(rate=slow), Fault(rate=fast)
        cast.bob.drop(published.envelope)
        if kill:
            until(lambda: cast.second is not None and cast.second.sent() > size // 8, 60)
            cast.carol.end()
        cast.bob.wait("done", 120)
        assert sha256(cast.final) == cast.files["big.bin"]
        alice, carol = (cast.bob.report().by_source.get(one.id, 0) for one in (cast.alice, cast.carol))
        print(f"alice at {slow} B/s gave {alice / size:.2f}, carol at {fast} B/s gave {carol / size:.2f}")
        assert alice + carol == size
        assert alice > 0
        if kill:
            assert carol < size
        else:
            assert carol > alice
            assert cast.proxy.sent() - already + cast.second.sent() <= size * 1.01
            until(lambda: len(cast.bob.report().job.receipts) == 2, 30, "both receipts")


def test_two_sources_share_the_work_by_their_speed(tmp_path: Path) -> None:
    swarm(tmp_path, 128 * MIB, 2 * MIB, 12 * MIB, kill=False)


@pytest.mark.slow
def test_when_one_source_dies_the_other_finishes(tmp_path: Path) -> None:
    swarm(tmp_path, 128 * MIB, 2 * MIB, 4 * MIB, kill=True)


def test_a_revocation_ends_the_next_fetch_and_a_new_vouch_resumes(tmp_path: Path) -> None:
    """carol serves dave because she vouched for bob and bob for dave; then she takes it back."""
    with trio(tmp_path, carol=True, batch_bytes=8 * MIB) as cast:
        carol, bob = cast.carol, cast.bob
        assert carol is not None and cast.second is not None
        dave = cast.stage.agent("dave")
        dave.use(cast.repo)
        cast.stage.start(dave)
        sha = make_file(tmp_path / "carols" / "hers.bin", 96 * MIB, 5)
        published = carol.publish(tmp_path / "carols")
        carol.vouch(bob, depth=2)
        bob.vouch(dave)
        dave.finds(published, carol)
        knows = dave.deps.statements
        until(lambda: "vouch" in {row.kind for row in knows.of(dave.id, bob.id)}, 60, "bob's vouch at dave's")
        cast.second.fault = Fault(rate=2 * MIB)
        transfer = dave.get(published.envelope)
        until(lambda: any(dave.parts(transfer).values()), 60)
        carol.revoke(bob, "he left")
        job = dave.wait("refused", 60, transfer)
        source = job.sources[0]
        assert source.state == "dropped" and source.code in ("SKY-210", "SKY-211"), source
        assert "revoke" in source.reason, source.reason
        assert not (dave.home / "storage" / "hers.bin").exists()
        there = {index for parts in dave.parts(transfer).values() for index in parts}
        assert there
        carol.vouch(dave)
        before = len(cast.second.ranges)
        cast.second.fault = Fault()
        settle.resume(dave.deps, dave.id, transfer)
        dave.wait("done", 60, transfer)
        assert sha256(dave.home / "storage" / "hers.bin") == sha
        assert not there & {one.first // (8 * MIB) for one in cast.second.ranges[before:]}


def test_another_repository_takes_the_place_of_the_first(tmp_path: Path) -> None:
    """The first is gone for good, with all it knew; the agents alone rebuild look-ups and chains in an empty one."""
    with trio(tmp_path, carol=True) as cast:
        assert cast.carol is not None
        cast.alice.vouch(cast.carol, depth=2)
        cast.carol.vouch(cast.bob)
        dave = cast.stage.agent("dave")
        cast.bob.vouch(dave)
        published = cast.share(9 * MIB)
        cast.bob.finds(published, cast.alice)
        cast.repo.end()
        other = cast.stage.repository("other")
        cast.stage.start(other)
        for one in (cast.alice, cast.carol, cast.bob, dave):
            one.use(other)
        cast.stage.start(dave)
        dave.finds(published, cast.alice, seconds=90)
        # Bob is known to alice by her own statement; the transfer finds her at the new repository alone.
        cast.bob.drop(published.envelope)
        cast.bob.wait("done", 60)
        assert sha256(cast.final) == cast.files["big.bin"]
        # What everybody said is in the new log: whoever reads it has every chain.
        ids = {one.id for one in (cast.alice, cast.carol, cast.bob, dave)}
        until(
            lambda: ids <= {row.issuer for row in other.deps.statements.after(other.id, 0, 1000)},
            60,
            "all chains at the new repository",
        )
