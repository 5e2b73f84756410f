"""One home, two processes: a `get` that moves the bytes by itself gives way to `serve`, and takes over when it dies."""

from __future__ import annotations

import json
import os
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from skyswarm.cli import human
from tests.support.cli import Shell, background, command, free_port, served, until


@pytest.fixture
def link(tmp_path: Path) -> str:
    """Of a file that bob may have. Alice is not served yet, so a transfer of it waits."""
    for name in ("alice", "bob"):
        command(tmp_path, "--home", name, "init", "--name", name, "--port", str(free_port()))
    bob = command(tmp_path, "--home", "bob", "whoami", "-q").out.strip()
    command(tmp_path, "--home", "alice", "vouch", bob)
    (tmp_path / "some.bin").write_bytes(os.urandom(40_000_000))
    return command(tmp_path, "--home", "alice", "share", "some.bin", "-q").out.strip()


def said(place: Path, *words: str) -> Any:
    return json.loads(command(place, "--home", "bob", "--json", *words, code=None).out)


def port_of(place: Path) -> list[str]:
    return [one["message"] for one in said(place, "doctor")["checks"] if one["check"] == "port"]


def test_a_get_gives_way_to_a_server_and_goes_on_watching(tmp_path: Path, link: str) -> None:
    with background(tmp_path, "--home", "bob", "get", link, "home:/") as get:
        until(lambda: said(tmp_path, "status")["moved_by"] == get.pid)
        assert said(tmp_path, "status")["served_by"] is None
        assert port_of(tmp_path) == [
            f"A `skyswarm get` (process {get.pid}) moves transfers now, and no process serves this home."
        ]
        with served(tmp_path, "--home", "bob", "serve") as process:
            status = said(tmp_path, "status")
            assert status["served_by"] == status["moved_by"] == process["pid"]
            assert get.poll() is None
            with served(tmp_path, "--home", "alice", "serve"):
                out, err = get.communicate(timeout=60)
        assert get.returncode == 0
    assert "A server takes over; this command only watches from now on." in err
    assert "done: 1 file, 40.0 MB" in out


def test_after_a_killed_server_a_get_takes_over_and_a_new_server_may_come(tmp_path: Path, link: str) -> None:
    with (
        served(tmp_path, "--home", "bob", "serve") as process,
        background(tmp_path, "--home", "bob", "get", link, "home:/") as get,
    ):
        until(lambda: said(tmp_path, "ls")["transfers"] != [])
        os.kill(process["pid"], signal.SIGKILL)
        until(lambda: said(tmp_path, "status")["moved_by"] == get.pid)
        with served(tmp_path, "--home", "bob", "serve") as again:
            assert said(tmp_path, "status")["served_by"] == again["pid"]
            assert port_of(tmp_path)[0].startswith(f"Process {again['pid']} answers at ")
            get.send_signal(signal.SIGINT)
            _, err = get.communicate(timeout=60)
    assert "has ended, so this command moves the bytes" in err
    assert f"goes on in process {again['pid']}" in err


def test_a_get_that_waits_says_that_it_stays_active_and_how_to_end_it(tmp_path: Path, link: str) -> None:
    with background(tmp_path, "--home", "bob", "get", link, "home:/") as get:
        until(lambda: [one for one in said(tmp_path, "ls")["transfers"] if one.get("waiting")] != [])
        (one,) = said(tmp_path, "ls")["transfers"]
        get.send_signal(signal.SIGINT)
        _, err = get.communicate(timeout=60)
    transfer = one["transfer"]
    assert f"{transfer} stays active and waits. End it for good: skyswarm cancel {transfer}\n" in err
    assert said(tmp_path, "ls")["transfers"][0]["state"] == one["state"] not in ("cancelled", "failed")
    assert said(tmp_path, "cancel", transfer)["state"] == "cancelled"


@pytest.mark.parametrize("who", ["get", "serve"])
def test_what_a_pause_says_is_safe_is_what_is_there(
    tmp_path: Path, link: str, who: str, capsys: pytest.CaptureFixture[str]
) -> None:
    many = tmp_path / "many"
    many.mkdir()
    for number in range(2000):
        (many / f"{number}.txt").write_bytes(b"%010d" % number)
    share = command(tmp_path, "--home", "alice", "share", "many", "-q").out.strip()
    with ExitStack() as stack:
        stack.enter_context(served(tmp_path, "--home", "alice", "serve"))
        if who == "serve":
            stack.enter_context(served(tmp_path, "--home", "bob", "serve"))
        with background(tmp_path, "--home", "bob", "get", share, "home:/m") as get:
            there = tmp_path / "bob" / "storage" / "m"
            until(lambda: there.exists() and any(there.rglob("*.txt")))
            bob = Shell(tmp_path / "bob", capsys)  # in this process, so that it is paused in time
            (one,) = bob.json("ls")["transfers"]
            bob("pause", one["transfer"])
            out, _ = get.communicate(timeout=60)
        count = sum(1 for _ in there.rglob("*.txt"))
    assert 0 < count < 2000
    assert f"paused: {human.some(count, 'file')}, {human.size(10 * count)} of 20.0 kB safe" in out


def test_what_is_resumed_while_nobody_serves_does_not_move_by_itself(tmp_path: Path, link: str) -> None:
    transfer = said(tmp_path, "get", link, "--detach")["transfer"]
    said(tmp_path, "pause", transfer)
    told = command(tmp_path, "--home", "bob", "resume", transfer, "--detach").err
    assert told == (
        "No process serves this home: nothing moves until `skyswarm serve` or "
        f"`skyswarm resume {transfer}` runs.\n"
    )


def test_options_of_serve_are_kept_once_it_has_started_and_not_before(tmp_path: Path, link: str) -> None:
    was = said(tmp_path, "whoami")["endpoint"]
    with served(tmp_path, "--home", "alice", "serve") as alice:
        port = alice["url"].rpartition(":")[2]
        assert "SKY-703" in command(tmp_path, "--home", "bob", "serve", "--port", port, code=None).err
        assert said(tmp_path, "whoami")["endpoint"] == was
    other = str(free_port())
    with (
        served(tmp_path, "--home", "alice", "serve", "--port", other) as alice,
        served(tmp_path, "--home", "bob", "serve", "--port", str(free_port())),
    ):
        assert alice["url"].endswith(f":{other}")
        moved = link.replace(f":{port}/", f":{other}/")
        # The URLs of her pieces lead to the new port, too.
        assert said(tmp_path, "get", moved, "home:/")["state"] == "done"
    assert said(tmp_path, "whoami")["endpoint"] != was
