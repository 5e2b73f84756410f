"""The stage of the demo: its folder, its processes, what is checked before anything is made, what is said at the end.

Law: every process that is started here is ended here, whatever happens; nothing of the story.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skyswarm.cli import human
from skyswarm.cli.agent import free_port
from skyswarm.cli.frame import Cli, local
from skyswarm.errors import InputError, SetupError, SkyError

CHUNK = 8 * 1024 * 1024
LIBRARY = 2 * 10**9
"""Room for two copies of the largest standard library, its databases and logs."""
_SKYSWARM = (sys.executable, "-m", "skyswarm.cli.main")
_ID = re.compile(r"\b[0-9a-f]{8,64}\b")


class DemoFailedError(SkyError):
    """A step of the demo did not do what it must."""

    code, status = "SKY-300", 409


@dataclass(slots=True)
class Stage:
    """Where the demo plays: the folder, one home and one serving process per name, agent ids."""

    cli: Cli
    folder: Path
    ids: dict[str, str] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def home(self, name: str) -> Path:
        return self.folder / name

    def run(self, name: str, *words: str, show: bool = True, may_fail: bool = False) -> Any:
        """One command of `name`'s; its JSON. Shown as a person would type it."""
        if show:
            self.say(f"  {name} $ skyswarm {shlex.join(words)}")
        command = [*_SKYSWARM, "--home", str(self.home(name)), "--json", *words]
        done = subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL)  # noqa: S603
        try:
            value = json.loads(done.stdout.splitlines()[-1])
        except (IndexError, ValueError) as error:
            raise DemoFailedError(
                f"`skyswarm {shlex.join(words)}` said {done.stderr.decode()[-500:]!r}"
            ) from error
        if done.returncode and not may_fail:
            raise DemoFailedError(f"`skyswarm {shlex.join(words)}` failed: {value}")
        return value

    def serve(self, name: str, *words: str) -> None:
        """Start the process of that name; `until_up` waits for it."""
        with (self.folder / f"{name}.out").open("wb") as log:
            command = [*_SKYSWARM, "--home", str(self.home(name)), *words]
            self.processes[name] = subprocess.Popen(  # noqa: S603
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )

    def until_up(self, name: str) -> None:
        """DemoFailedError when it has ended or does not listen."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if self.processes[name].poll() is not None:
                said = (self.folder / f"{name}.out").read_text()[-500:]
                raise DemoFailedError(f"{name} did not start: {said}")
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.ports[name]), 0.2):
                return
            time.sleep(0.05)
        raise DemoFailedError(f"{name} does not answer at port {self.ports[name]}")

    def until(self, what: str, happened: Any) -> None:
        """Ask again and again until it is so. DemoFailedError after a minute."""
        deadline = time.monotonic() + 60
        while not happened():
            if time.monotonic() > deadline:
                raise DemoFailedError(f"waited a minute for this in vain: {what}")
            time.sleep(0.2)
        self.say(f"    {what}")

    def say(self, text: str = "") -> None:
        self.cli.line(text)

    def named(self, text: str) -> str:
        """The text with the names of those on the stage instead of their ids."""
        names = {agent: name for name, agent in self.ids.items()}

        def name(match: re.Match[str]) -> str:
            return next((names[one] for one in names if one.startswith(match[0])), match[0])

        return _ID.sub(name, text)


@contextmanager
def opened(cli: Cli, folder: Path) -> Iterator[Stage]:
    """Make the folder, and stop every process of ours whatever happened; then say what is left and where."""
    folder.mkdir(parents=True, exist_ok=True)
    stage = Stage(cli, folder)
    polite = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield stage
    finally:
        for process in stage.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in stage.processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        signal.signal(signal.SIGTERM, polite)
        cli.progress("")
        _left(stage)


def _left(stage: Stage) -> None:
    folder = stage.folder
    total = sum(path.lstat().st_blocks * 512 for path in folder.rglob("*"))
    stage.say(f"\nNothing is left running. {human.size(total)} are left in {folder}:")
    stage.say("  bob/inbox/*.status.json   what bob's bucket says      bob/storage/   what he got")
    stage.say("  */log/*.jsonl             what each process did       *.out          what it printed")
    also = "     (`make clean` does it too)" if folder.parent.name == ".demo" else ""
    stage.say(f"Remove it all with: rm -r {shlex.quote(str(folder))}{also}")


def free_ports(count: int) -> list[int]:
    """Different ports that nothing listens on now, and that no outgoing connection takes meanwhile."""
    ports: set[int] = set()
    while len(ports) < count:
        ports.add(free_port())
    return list(ports)


def make_file(path: Path, size: int) -> None:
    """Random bytes, which nothing can compress or find twice."""
    with path.open("wb") as out:
        left = size
        while left:
            left -= out.write(os.urandom(min(CHUNK, left)))


# ---- before anything is made ---------------------------------------------------------------------
def checked_file(file: Path, place: Path) -> tuple[Path, int]:
    """The user's own file or folder, resolved, and its bytes. InputError: it cannot be shared."""
    path = local(file).resolve()
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        raise InputError(f"there is no {file}", advice="Check the path of FILE.") from error
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}", advice="Name another FILE.") from error
    if stat.S_ISREG(mode):
        found = [path]
    elif stat.S_ISDIR(mode):
        if place.resolve().is_relative_to(path):
            raise InputError(f"{file} holds the demo's own folder {place}", advice="Name another --dir.")
        found = [one for one in path.rglob("*") if one.is_file() and not one.is_symlink()]
    else:
        raise InputError(f"{file} is neither an ordinary file nor a folder", advice="Name another FILE.")
    for one in (path, *found):
        if not os.access(one, os.R_OK):
            raise InputError(f"{one} cannot be read", advice="Give yourself access to it, or name another.")
    total = sum(one.stat().st_size for one in found)
    if total == 0:
        raise InputError(f"{file} is empty", advice="Name a file that has something in it.")
    return path, total


def checked_size(size: int) -> None:
    """InputError: no file of that size can be made."""
    if size == 0:
        raise InputError("a file of 0 bytes shows nothing", advice="Name a size such as 64MiB.")


def checked_place(place: Path, need: int) -> None:
    """Whether the demo can work there. SetupError: it is in use, or there is no room."""
    there = next(one for one in (place, *place.parents) if one.exists())
    if not there.is_dir():
        raise SetupError(f"{there} is not a folder", advice="Name another --dir.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise SetupError(f"{there} cannot be written to", advice="Name another --dir.")
    if there == place and any(place.iterdir()):
        raise SetupError(f"{place} is not empty", advice="Name another --dir.")
    room = shutil.disk_usage(there).free
    if room < need:
        raise SetupError(
            f"the demo needs about {human.size(need)} in {place}, {human.size(room)} are free",
            advice="Try SIZE=64MiB, a smaller FILE, or another --dir.",
        )
