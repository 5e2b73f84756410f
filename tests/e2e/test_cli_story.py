"""The tour of the README with real processes: a repository, alice and bob, from `init` to a revocation."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import background, command, free_port, served, until

PAGE = resources.files("skyswarm.cli").joinpath("json.md").read_text("utf-8")


@dataclass
class World:
    """A folder with everybody's homes; alice and the repository are served, bob is not."""

    place: Path
    alice_id: str
    bob_id: str

    def alice(self, *words: str, code: int = 0) -> Any:
        return json.loads(command(self.place, "--home", "alice", "--json", *words, code=code).out)

    def bob(self, *words: str, code: int = 0) -> Any:
        return json.loads(command(self.place, "--home", "bob", "--json", *words, code=code).out)

    def share(self, name: str, size: int) -> tuple[str, Path]:
        """A fresh file of alice's, shared; the link and the file."""
        file = self.place / "files" / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(os.urandom(size))
        return str(self.alice("share", str(file))["link"]), file

    def safe(self, name: str) -> int:
        """Bytes of bob's transfer of that name that are safe; -1 before there is one."""
        found = [one for one in self.bob("ls")["transfers"] if one["name"] == name]
        return int(found[0]["bytes"]["done"]) if found else -1


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    place = tmp_path_factory.mktemp("story")
    command(place, "--home", "repo", "repo", "init", "--port", str(free_port()))
    for name in ("alice", "bob"):
        command(place, "--home", name, "init", "--name", name, "--port", str(free_port()))
    with served(place, "--home", "repo", "repo", "serve") as repo, served(place, "--home", "alice", "serve"):
        found = World(
            place,
            *(command(place, "--home", name, "whoami", "-q").out.strip() for name in ("alice", "bob")),
        )
        for who in (found.alice, found.bob):
            assert who("repo", "add", repo["endpoint"])["error"] is None
        found.alice("people", "add", "bob", found.bob_id)
        found.bob("people", "add", "alice", found.alice_id)
        found.alice("vouch", "bob")
        yield found


def same(one: Path, other: Path) -> bool:
    return hashlib.sha256(one.read_bytes()).digest() == hashlib.sha256(other.read_bytes()).digest()


def written(folder: Path) -> int:
    """Bytes on the disk below a folder, as far as they stay while it is looked at."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            total += path.lstat().st_blocks * 512
    return total


def keys_of_example(name: str) -> set[str]:
    text = re.search(rf"```json {name}\n(.*?)```", PAGE, re.DOTALL)
    assert text
    return set(json.loads(text[1]))


def test_get_without_a_process_moves_the_bytes_itself(world: World) -> None:
    link, file = world.share("first.bin", 20_000_000)
    said = command(world.place, "--home", "bob", "get", link, "home:/in")
    assert "\x1b" not in said.out + said.err and "\r" not in said.out
    lines = said.out.splitlines()
    assert any(
        line.startswith("1 file, 20.0 MB → home:/in. You pay about $0.00, alice about $0.00.")
        for line in lines
    )
    assert re.match(r"t-\w{8} done: 1 file, 20\.0 MB in \d+:\d\d.*; every piece verified$", lines[-4])
    assert lines[-3:] == [
        "from      alice: 20.0 MB",
        "let in    alice → me",
        "receipts  1, signed by both sides",
    ]
    assert "No process serves this home" in said.err
    assert same(file, world.place / "bob" / "storage" / "in" / "first.bin")


def test_a_transfer_is_kept_with_its_history_and_receipt(world: World) -> None:
    link, _ = world.share("kept.bin", 1000)
    done = world.bob("get", link)
    assert (done["state"], done["chain"]) == ("done", [world.alice_id, world.bob_id])
    whole = world.bob("ls", done["transfer"])
    assert set(whole) == keys_of_example("ls-one")
    assert [one["state"] for one in whole["history"]][-1] == "done"
    for who, way in ((world.bob, "got"), (world.alice, "gave")):
        found = [one for one in who("receipts")["receipts"] if one["transfer"] == done["transfer"]]
        assert [(one["way"], one["bytes"], one["complete"]) for one in found] == [(way, 1000, True)]
        example = re.search(r"```json receipts\n(.*?)```", PAGE, re.DOTALL)
        assert example and set(found[0]) == set(json.loads(example[1])["receipts"][0])


def test_a_manifest_file_serves_as_well_as_a_link(world: World) -> None:
    file = world.place / "files" / "by-file.txt"
    file.parent.mkdir(exist_ok=True)
    file.write_text("by file")
    made = world.alice("share", str(file))
    command(world.place, "--home", "bob", "get", made["manifest_file"], "down/here", "--quiet")
    assert same(file, world.place / "down" / "here" / "by-file.txt")


def test_when_a_process_serves_it_the_command_only_watches(world: World) -> None:
    link, file = world.share("watched.bin", 300_000_000)
    with served(world.place, "--home", "bob", "serve") as process:
        assert world.bob("status")["served_by"] == process["pid"]
        with background(world.place, "--home", "bob", "get", link, "home:/watched") as get:
            assert get.stdout is not None
            until(lambda: world.safe("watched.bin") >= 0)
            get.send_signal(signal.SIGINT)
            _, err = get.communicate(timeout=20)
            assert get.returncode in (130, 0)
            assert "Close this window any time." in err
        transfer = world.bob("ls")["transfers"][0]["transfer"]
        watched = command(world.place, "--home", "bob", "watch", transfer, "--json").out.splitlines()
        states = [json.loads(line)["state"] for line in watched]
        assert states[-1] == "done"
        error = world.bob("serve", code=1)["error"]
        assert error["code"] == "SKY-702" and str(process["pid"]) in error["message"]
    assert same(file, world.place / "bob" / "storage" / "watched" / "watched.bin")
    assert process["process"].returncode == 0
    assert world.bob("status")["served_by"] is None


def test_a_killed_get_goes_on_where_it_was(world: World) -> None:
    link, file = world.share("killed.bin", 300_000_000)
    before = written(world.place / "bob" / "storage" / ".skyswarm")
    with background(world.place, "--home", "bob", "get", link, "home:/killed") as get:
        hidden = world.place / "bob" / "storage" / ".skyswarm"
        until(lambda: written(hidden) > before + 20_000_000)
        get.kill()
        get.communicate()
    stopped = world.bob("ls")["transfers"][0]
    assert (stopped["name"], stopped["state"]) == ("killed.bin", "moving")
    done = world.bob("resume", stopped["transfer"])
    assert (done["state"], done["transfer"]) == ("done", stopped["transfer"])
    assert same(file, world.place / "bob" / "storage" / "killed" / "killed.bin")


def test_doctor_sees_the_repository_and_the_clock(world: World) -> None:
    checks = {one["check"]: one for one in world.alice("doctor")["checks"]}
    assert checks["repos"]["level"] == checks["clock"]["level"] == checks["port"]["level"] == "ok"


def test_after_a_revocation_the_next_fetch_is_refused_with_the_reason(world: World) -> None:
    link, _ = world.share("refused.bin", 1000)
    told = world.alice("revoke", "bob", "--reason", "moved on")
    assert (told["pruned"], told["told"]["by"]) == ([world.bob_id], "process")
    said = command(world.place, "--home", "bob", "get", link, "home:/refused", code=1)
    assert re.search(r"^SKY-(211|312) .*moved on", said.err, re.MULTILINE), said
    assert world.bob("ls")["transfers"][0]["state"] == "refused"
    assert not (world.place / "bob" / "storage" / "refused" / "refused.bin").exists()
    assert "(moved on)" in world.alice("people", "why", "bob")["reason"]
