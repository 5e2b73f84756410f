"""The command line in a test: in this process for what needs no other, as a real process for the rest."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from skyswarm.cli.main import run

SKYSWARM = [sys.executable, "-m", "skyswarm.cli.main"]
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one value on stdout."""
        (line,) = self.out.splitlines()
        return json.loads(line)


class Shell:
    """Commands of one home, run in this process."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home, self._capsys = home, capsys

    def __call__(self, *words: str, code: int = 0) -> Said:
        self._capsys.readouterr()
        got = run(["--home", str(self.home), *words])
        captured = self._capsys.readouterr()
        assert got == code, (words, captured)
        return Said(got, captured.out, captured.err)

    def json(self, *words: str, code: int = 0) -> Any:
        return self(*words, "--json", code=code).json


def environment(home: Path) -> dict[str, str]:
    """Of a real process: its own HOME, this checkout's package, nothing of ours that steers it."""
    keep = {key: value for key, value in os.environ.items() if key in ("PATH", "LANG", "LC_ALL", "TMPDIR")}
    return keep | {"HOME": str(home), "PYTHONPATH": str(ROOT / "shared")}


def command(cwd: Path, *words: str, code: int | None = 0, timeout: float = 60, **variables: str) -> Said:
    """Run the real command to its end, with `cwd` as HOME and working directory."""
    done = subprocess.run(
        [*SKYSWARM, *words],
        cwd=cwd,
        env=environment(cwd) | variables,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=timeout,
        text=True,
    )
    assert code is None or done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
    return Said(done.returncode, done.stdout, done.stderr)


@contextmanager
def background(cwd: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A real command that goes on; it is ended, however the test ends."""
    process = subprocess.Popen(
        [*SKYSWARM, *words],
        cwd=cwd,
        env=environment(cwd),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


@contextmanager
def served(cwd: Path, *words: str) -> Iterator[dict[str, Any]]:
    """A home that is served by a real process; what it said when it was ready."""
    with background(cwd, *words, "--json") as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()
        yield {**json.loads(line), "pid": process.pid, "process": process}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def until(happened: Any, seconds: float = 20) -> None:
    """Ask again and again until it is so."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
