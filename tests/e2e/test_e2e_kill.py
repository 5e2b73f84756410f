"""Processes that die at any moment: the file arrives whole, and nothing that was verified is moved again."""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from skyswarm.pieces.size import piece_size
from skyswarm.usecases.receipts import newest
from tests.support.faulty_proxy import Fault, FaultyProxy
from tests.support.stage import Actor, Stage, make_file, sha256, until, watched

MIB = 1 << 20
THREADS = 8


@contextlib.contextmanager
def three(tmp_path: Path, **limits: float) -> Iterator[tuple[Stage, Actor, Actor, Actor, FaultyProxy]]:
    """A repository, alice behind a proxy, and bob, whom alice trusts; all running."""
    proxy = FaultyProxy()
    with contextlib.closing(proxy), Stage(tmp_path, **limits) as stage:
        repo, alice, bob = stage.repository(), stage.agent("alice", public_url=proxy.url), stage.agent("bob")
        proxy.target = alice.port
        for one in (alice, bob):
            one.use(repo)
        alice.vouch(bob)
        stage.start(repo, alice, bob)
        yield stage, repo, alice, bob, proxy


def kill_run(tmp_path: Path, size: int, kills: int, rate: int) -> None:
    seed = int(os.environ.get("SKYSWARM_SEED", "0")) or int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed} (SKYSWARM_SEED repeats it)")
    dice = random.Random(seed)
    piece = piece_size(size)
    with three(tmp_path, patience=120.0, batch_bytes=8 * MIB) as (_, repo, alice, bob, proxy):
        wanted = make_file(tmp_path / "src" / "big.bin", size, seed)
        published = alice.publish(tmp_path / "src")
        bob.finds(published, alice)
        proxy.fault = Fault(rate=rate)
        final = bob.home / "storage" / "big.bin"
        with watched(final, size) as wrong:
            bob.drop(published.envelope)
            points = sorted(dice.uniform(0.0, 0.8) for _ in range(kills))
            victims = [dice.choice((bob, bob, alice, repo)) for _ in range(kills)]
            again: list[str] = []
            known: dict[int, float] = {}  # piece → when it was seen present
            done = {"bob": 0, "alice": 0, "repo": 0}
            began = time.monotonic()
            for point, victim in zip(points, victims, strict=True):
                until(lambda at=point: present(bob, known) >= at * size / piece or finished(bob), 240)
                jitter = time.monotonic() + dice.uniform(0.0, 0.3)
                until(lambda at=jitter: time.monotonic() >= at, 5, pause=0.005)
                if finished(bob):
                    break
                present(bob, known)
                victim.end()
                done[victim.name] += 1
                victim.launch()
                victim.ready()
            job = bob.wait("done", 300)
            seconds = time.monotonic() - began
        assert not wrong, wrong[:5]
        assert sha256(final) == wanted
        # No piece that was present was asked for afterwards.
        for one in proxy.ranges:
            if one.first % piece == 0 and known.get(one.first // piece, 1e18) < one.at - 0.05:
                again.append(f"piece {one.first // piece}, present before, was asked for again")
        assert not again, again[:5]
        total = sum(done.values())
        sent = proxy.sent()
        print(f"{total} kills {done}, {sent / size:.3f} × the size moved, {seconds:.1f} s")
        assert sent <= size + total * THREADS * piece
        # Receipts: complete on both sides, the same, and not more than was handed out.
        until(lambda: bob.report().job.receipts, 60, "the receipt")
        ours, _ = newest(bob.deps, bob.id, alice.id, bob.id)
        theirs, _ = newest(alice.deps, alice.id, alice.id, bob.id)
        assert (
            ours is not None and theirs is not None and ours.complete and ours.receipt.id == theirs.receipt.id
        )
        assert ours.dump() == theirs.dump()
        assert ours.receipt.bytes <= sent
        tally = bob.report(job.id).tally
        assert (tally.bytes, tally.files, tally.failed) == (size, 1, 0)
        print(f"receipt: {ours.receipt.bytes / size:.3f} × the size, wasted {ours.receipt.wasted}")
        # A short transfer may be over before the last kills on a fast machine; a long one may not.
        assert total >= (0.8 * kills if kills > 10 else 2)


def finished(bob: Actor) -> bool:
    job = bob.job()
    return job is not None and job.state not in ("queued", "planning", "moving", "settling")


def present(bob: Actor, known: dict[int, float]) -> int:
    """How many pieces are at bob's; `known` gets when each was first seen."""
    for parts in bob.parts().values():
        for index in parts:
            known.setdefault(index, time.time())
    return len(known)


def test_a_file_survives_six_kills(tmp_path: Path) -> None:
    kill_run(tmp_path, 96 * MIB, 6, 5 * MIB)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_gibibyte_survives_fifty_kills(tmp_path: Path) -> None:
    kill_run(tmp_path, 1024 * MIB, 50, 2 * MIB)
