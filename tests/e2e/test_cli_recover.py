"""A thief copies a whole home and takes the agent away with its own commands; the owner takes it back, all by real
processes: a repository between them, and bob, who trusts the owner and hears both."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import SKYSWARM, command, environment, free_port, served

CAROL, MALLORY = "c" * 64, "d" * 64


class World:
    """Homes of alice and bob in one folder, both at one repository. Bob vouches for alice, she for carol."""

    def __init__(self, place: Path, repo: str) -> None:
        self.place = place
        made = self("alice", "init", "--name", "alice", "--recovery", "--repo", repo)
        self.alice, self.paper = str(made["agent"]), str(made["recovery"])
        self("bob", "init", "--name", "bob", "--repo", repo)
        self("bob", "vouch", self.alice, "--depth", "3")
        self("alice", "vouch", CAROL)

    def __call__(self, home: str, *words: str, code: int | None = 0) -> Any:
        return json.loads(command(self.place, "--home", home, "--json", *words, code=code).out)

    def trusted(self) -> set[str]:
        """Whom bob trusts."""
        found = self("bob", "people", "--refresh")["people"]
        return {one["agent"] for one in found if one["trusted"]}

    def recover(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """With the key from a pipe."""
        done = subprocess.run(
            [*SKYSWARM, "--home", "alice", "recover", *words],
            cwd=self.place, env=environment(self.place), input=self.paper + "\n", capture_output=True, text=True,
            timeout=60,
        )  # fmt: skip
        assert done.returncode == code, done
        return done


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    command(tmp_path, "--home", "repo", "repo", "init", "--port", str(free_port()))
    with served(tmp_path, "--home", "repo", "repo", "serve") as repo:
        yield World(tmp_path, repo["endpoint"])


def test_a_thief_rotates_her_away_and_she_takes_herself_back(world: World) -> None:
    shutil.copytree(world.place / "alice", world.place / "thief")
    world("thief", "rotate-key")
    world("thief", "vouch", MALLORY)
    world("thief", "rotate-key")
    assert world.trusted() == {world.alice, CAROL, MALLORY}

    said = json.loads(world.recover("--yes", "--json").stdout)
    assert [(one["seq"], one["kind"]) for one in said["void"]] == [(2, "rotate"), (3, "vouch"), (4, "rotate")]
    assert len(said["told"]["repos"]) == 1
    assert world.trusted() == {world.alice, CAROL}
    # What the thief says now goes nowhere; what she says counts.
    world("thief", "vouch", MALLORY, code=None)
    assert world.trusted() == {world.alice, CAROL}
    world("alice", "vouch", MALLORY)
    assert world.trusted() == {world.alice, CAROL, MALLORY}
    (keys,) = [one for one in world("alice", "doctor")["checks"] if one["check"] == "keys"]
    assert keys["level"] == "ok"
    groups = world.paper.split("-")
    kept = "".join(path.read_text("latin-1") for path in (world.place / "alice").rglob("*") if path.is_file())
    assert not [one for one in groups if one in kept + json.dumps(said)]


def test_a_thief_retires_her_and_she_lives_again_by_a_key_typed_unseen(world: World) -> None:
    assert world.trusted() == {world.alice, CAROL}
    shutil.copytree(world.place / "alice", world.place / "thief")
    world("thief", "retire", "--yes")
    assert CAROL not in world.trusted()

    primary, secondary = pty.openpty()
    process = subprocess.Popen(
        [*SKYSWARM, "--home", "alice", "recover"], cwd=world.place, env=environment(world.place),
        stdin=secondary, stdout=secondary, stderr=secondary, start_new_session=True,
        preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),  # noqa: PLW1509 - its terminal from now on
    )  # fmt: skip
    os.close(secondary)
    seen = _until(primary, b"not shown): ", b"")
    os.write(primary, world.paper.encode() + b"\n")
    seen = _until(primary, b"after it? [y/N]", seen)
    os.write(primary, b"y\n")
    seen = _until(primary, b"yours again", seen)
    seen += _rest(primary)
    assert process.wait(30) == 0
    os.close(primary)
    assert not [group for group in world.paper.split("-") if group.encode() in seen], "typed without an echo"
    assert b"Undo the retirement with number 2" in seen
    assert world.trusted() == {world.alice, CAROL}


def test_without_a_key_on_stdin_it_says_how_to_give_one(tmp_path: Path) -> None:
    command(tmp_path, "init", "--name", "alice", "--recovery")
    said = command(tmp_path, "recover", code=2)
    assert "no recovery key on stdin" in said.err and "--key-file" in said.err


def _until(terminal: int, wanted: bytes, seen: bytes) -> bytes:
    """What the terminal has shown once it shows that; every read waits for more, the test's own timeout ends it."""
    while wanted not in seen:
        seen += os.read(terminal, 4096)
    return seen


def _rest(terminal: int) -> bytes:
    seen = b""
    try:
        while more := os.read(terminal, 4096):
            seen += more
    except OSError:  # the other end is closed
        pass
    return seen
