"""No room at the destination: a transfer stops, says so, keeps what is verified, and resume goes on from there."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from skyswarm.usecases import settle
from tests.support.faulty_proxy import Fault
from tests.support.stage import sha256, until
from tests.support.trio import MIB, Cast, trio


def resumes(cast: Cast, transfer: str, size: int) -> None:
    """Resume moves only what is not there yet."""
    there = {index for parts in cast.bob.parts(transfer).values() for index in parts}
    before = len(cast.proxy.ranges)
    settle.resume(cast.bob.deps, cast.bob.id, transfer)
    cast.bob.wait("done", 90, transfer)
    assert sha256(cast.final) == cast.files["big.bin"]
    again = {one.first // (8 * MIB) for one in cast.proxy.ranges[before:]} & there
    assert not again, f"pieces {again} were there and came again"
    assert cast.bob.report(transfer).tally.bytes == size


def test_a_size_no_file_may_have_stops_the_transfer_at_once(tmp_path: Path) -> None:
    with trio(tmp_path) as cast:
        published = cast.share(40 * MIB)
        cast.bob.finds(published, cast.alice)
        cast.bob.largest_file(24 * MIB)
        cast.bob.drop(published.envelope)
        job = cast.bob.wait("stopped", 60)
        assert job.error is not None and job.error["code"] == "SKY-331", job.error
        assert "resume" in job.error["advice"]
        assert not cast.final.exists()
        cast.bob.largest_file(-1)
        resumes(cast, job.id, 40 * MIB)


def test_a_limit_that_comes_in_the_middle_keeps_what_is_there(tmp_path: Path) -> None:
    """The process may write no file beyond some size from the moment on when a third has come."""
    with trio(tmp_path) as cast:
        published = cast.share(64 * MIB)
        cast.bob.finds(published, cast.alice)
        cast.proxy.fault = Fault(rate=3 * MIB)
        cast.bob.drop(published.envelope)
        until(lambda: any(cast.bob.parts().values()), 60)
        cast.bob.largest_file(20 * MIB)
        job = cast.bob.wait("stopped", 60)
        assert job.error is not None and job.error["code"] == "SKY-331", job.error
        assert not cast.final.exists()
        assert any(cast.bob.parts(job.id).values())
        cast.bob.largest_file(-1)
        cast.proxy.fault = Fault()
        resumes(cast, job.id, 64 * MIB)


@pytest.mark.slow
def test_a_file_system_that_fills_up_in_the_middle(tmp_path: Path) -> None:
    """A file of another program takes the room of a small file system; only where it can be mounted (as root)."""
    small = tmp_path / "small"
    small.mkdir()
    mounted = (
        os.geteuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(small)], capture_output=True
        ).returncode
    )
    if not mounted:
        print("no file system could be mounted: the two tests above stand for this one")
        return
    try:
        with trio(tmp_path) as cast:
            published = cast.share(40 * MIB)
            cast.bob.storage("small", small)
            cast.bob.finds(published, cast.alice)
            cast.proxy.fault = Fault(rate=3 * MIB)
            transfer = cast.bob.get(published.envelope, "small")
            until(lambda: any(cast.bob.parts(transfer).values()), 60)
            greedy = small / "greedy"
            with greedy.open("wb") as file:
                try:
                    while True:
                        file.write(bytes(MIB))
                        file.flush()
                except OSError:
                    pass
            job = cast.bob.wait("stopped", 60, transfer)
            assert job.error is not None and job.error["code"] == "SKY-331", job.error
            greedy.unlink()
            cast.proxy.fault = Fault()
            settle.resume(cast.bob.deps, cast.bob.id, transfer)
            cast.bob.wait("done", 60, transfer)
            assert sha256(small / "big.bin") == cast.files["big.bin"]
            # And one that does not fit from the start is known before anything moves.
            greedy.write_bytes(bytes(20 * MIB))
            sent = cast.proxy.sent()
            other = cast.bob.get(published.envelope, "small", prefix="again")
            job = cast.bob.wait("stopped", 60, other)
            assert job.error is not None and job.error["code"] == "SKY-331", job.error
            assert cast.proxy.sent() == sent
    finally:
        subprocess.run(["umount", "-l", str(small)], check=False)
