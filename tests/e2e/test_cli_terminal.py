"""The command as a process: how fast it starts, what it loads, pipes, terminals, completion."""

from __future__ import annotations

import os
import pty
import resource
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.cli import SKYSWARM, command, environment

HEAVY = (
    "skyswarm.usecases",
    "skyswarm.edge",
    "skyswarm.drivers",
    "nacl",
    "awscrt",
    "rich",
    "pydantic",
    "urllib3",
)


def _children() -> float:
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


@pytest.mark.parametrize("words", [["version"], ["--version"], ["--help"], ["version", "--json"]])
def test_it_starts_at_once_and_loads_nothing_heavy(tmp_path: Path, words: list[str]) -> None:
    loaded = subprocess.run(
        [sys.executable, "-X", "importtime", *SKYSWARM[1:], *words],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    names = {line.rpartition("|")[2].strip() for line in loaded.splitlines()}
    assert not [name for name in names if name.startswith(HEAVY)]
    costs = []
    for _ in range(3):
        before = _children()
        command(tmp_path, *words)
        costs.append(_children() - before)
    assert min(costs) < 0.4


def on_terminal(cwd: Path, *words: str, **variables: str) -> tuple[int, str]:
    """Exit code and everything that a terminal got to see."""
    primary, secondary = pty.openpty()
    process = subprocess.Popen(
        [*SKYSWARM, *words],
        cwd=cwd,
        env=environment(cwd) | {"TERM": "xterm-256color"} | variables,
        stdin=secondary,
        stdout=secondary,
        stderr=secondary,
    )
    os.close(secondary)
    seen = b""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if not select.select([primary], [], [], 1.0)[0]:
            continue
        try:
            data = os.read(primary, 65536)
        except OSError:  # the other end is closed
            break
        if not data:
            break
        seen += data
    os.close(primary)
    return process.wait(20), seen.decode()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("terminal")
    command(place, "init", "--name", "alice")
    (place / "files").mkdir()
    (place / "files" / "a.bin").write_bytes(os.urandom(5_000_000))
    return place


def test_hashing_is_shown_live_on_a_terminal(place: Path) -> None:
    code, seen = on_terminal(place, "share", "files", "--name", "x")
    assert code == 0
    assert "link      'skyswarm:" in seen


def test_a_dumb_terminal_gets_no_control_codes(place: Path) -> None:
    code, seen = on_terminal(place, "share", "files", "--name", "y", TERM="dumb")
    assert code == 0 and "\x1b" not in seen and "link" in seen


def test_no_colour_anywhere(place: Path) -> None:
    for words in (("--help",), ("people",), ("doctor",), ("bogus",)):
        _, seen = on_terminal(place, *words, NO_COLOR="1")
        assert "\x1b[3" not in seen and "\x1b[1m" not in seen, seen


def test_a_question_is_asked_on_a_terminal(place: Path, tmp_path: Path) -> None:
    command(tmp_path, "init", "--name", "mallory")
    primary, secondary = pty.openpty()
    process = subprocess.Popen(
        [*SKYSWARM, "retire"],
        cwd=tmp_path,
        env=environment(tmp_path),
        stdin=secondary,
        stdout=secondary,
        stderr=secondary,
    )
    os.close(secondary)
    os.write(primary, b"n\n")
    assert process.wait(30) == 1
    assert b"for good? [y/N]" in os.read(primary, 4096)
    os.close(primary)
    assert b"retired" not in command(tmp_path, "doctor", code=None).out.encode()


def test_a_reader_that_has_had_enough_is_no_error(place: Path) -> None:
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [*SKYSWARM, "shares"], cwd=place, env=environment(place), stdout=writing, stderr=subprocess.PIPE
    )
    os.close(writing)
    os.close(reading)  # at once: the first write meets a closed pipe
    _, err = process.communicate(timeout=60)
    assert b"Traceback" not in err and b"SKY-500" not in err


def test_an_ascii_locale_is_no_error(place: Path) -> None:
    said = command(place, "people", "add", "zoë", "b" * 64, PYTHONIOENCODING="ascii")
    assert said.out.startswith("bbbbbbbbbbbb is zo? to you.")


def test_completion_for_shells(tmp_path: Path) -> None:
    script = command(
        tmp_path, "--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1", code=None
    )
    assert "_SKYSWARM_COMPLETE" in script.out
    words = command(
        tmp_path, _SKYSWARM_COMPLETE="complete_bash", COMP_WORDS="skyswarm re", COMP_CWORD="1", code=None
    )
    assert set(words.out.split()) >= {"receipts", "resume", "revoke", "repo", "retire"}
