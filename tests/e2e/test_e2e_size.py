"""Many files and a big one: memory stays bounded in every process, statuses are right, every byte arrives."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.support.stage import Actor, Stage, make_file, sha256, until
from tests.support.trio import no_upload_left

MIB = 1 << 20
GIB = 1 << 30
MEMORY = 300 * MIB


def pair(stage: Stage) -> tuple[Actor, Actor]:
    repo, alice, bob = stage.repository(), stage.agent("alice"), stage.agent("bob")
    for one in (alice, bob):
        one.use(repo)
    alice.vouch(bob)
    stage.start(repo, alice, bob)
    return alice, bob


def share(alice: Actor, folder: Path) -> tuple[bytes, int]:
    """Published by the command line in a process of its own: the manifest, and that process's VmHWM."""
    out = alice.home / "it.json"
    _, memory = alice.command("share", str(folder), "--name", "it", "--manifest-out", str(out), seconds=1500)
    return out.read_bytes(), memory


def tiny(tmp_path: Path, count: int, seconds: float) -> None:
    source = tmp_path / "src"
    for number in range(count):
        if number % 1000 == 0:
            folder = source / f"{number // 1000:03d}"
            folder.mkdir(parents=True)
        (folder / f"{number:06d}.txt").write_bytes(b"%d\n" % number * (number % 40))
    with Stage(tmp_path, patience=60.0) as stage:
        alice, bob = pair(stage)
        began = time.monotonic()
        envelope, publisher = share(alice, source)
        shared = time.monotonic()
        status = bob.drop(envelope)
        bob.wait("done", seconds)
        done = time.monotonic()
        until(lambda: status.exists() and json.loads(status.read_text())["state"] == "done", 30)
        told = json.loads(status.read_text())
        assert told["files"] == {"done": count, "total": count}
        assert told["bytes"]["done"] == told["bytes"]["total"]
        assert told["failed"] == [] and told["error"] is None
        root = bob.home / "storage" / "it"
        assert sum(1 for one in root.rglob("*.txt")) == count
        for number in range(0, count, max(1, count // 500)):
            name = f"{number // 1000:03d}/{number:06d}.txt"
            assert (root / name).read_bytes() == (source / name).read_bytes()
        memory = {"publisher": publisher, "alice": alice.memory(), "bob": bob.memory()}
        print(
            f"{count} files: shared in {shared - began:.1f} s, moved in {done - shared:.1f} s "
            f"({count / (done - shared):.0f}/s); VmHWM MiB { {k: v // MIB for k, v in memory.items()} }"
        )
        assert max(memory.values()) < MEMORY, memory


def big(tmp_path: Path, size: int, seconds: float) -> None:
    wanted = make_file(tmp_path / "src" / "big.bin", size, 11)
    with Stage(tmp_path, patience=120.0, batch_bytes=64 * MIB, stall=15.0) as stage:
        alice, bob = pair(stage)
        began = time.monotonic()
        envelope, publisher = share(alice, tmp_path / "src")
        shared = time.monotonic()
        bob.drop(envelope)
        bob.wait("done", seconds)
        done = time.monotonic()
        memory = {"publisher": publisher, "alice": alice.memory(), "bob": bob.memory()}
        print(
            f"{size // MIB} MiB: shared in {shared - began:.1f} s, moved in {done - shared:.1f} s "
            f"({size / MIB / (done - shared):.0f} MiB/s); VmHWM MiB { {k: v // MIB for k, v in memory.items()} }"
        )
        assert sha256(bob.home / "storage" / "big.bin") == wanted
        assert no_upload_left(bob)
        assert max(memory.values()) < MEMORY, memory


def test_two_thousand_tiny_files(tmp_path: Path) -> None:
    tiny(tmp_path, 2_000, 100)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("count", [20_000, 100_000])
def test_very_many_tiny_files(tmp_path: Path, count: int) -> None:
    tiny(tmp_path, count, 800)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_ten_gibibytes(tmp_path: Path) -> None:
    big(tmp_path, 10 * GIB, 900)
