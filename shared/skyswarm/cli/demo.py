"""The main job, told from start to end with real processes: `skyswarm demo`, `make demo`.

Law: everything is done with the commands a person would type, each shown before it runs; what is claimed at the end is
checked here with plain SHA-256 of the files, not by asking the agents. Whatever happens, no process is left behind.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skyswarm.cli import human
from skyswarm.cli.frame import Cli
from skyswarm.errors import SetupError, SkyError

NAMES = ("repo", "alice", "bob", "carol")
CHUNK = 8 * 1024 * 1024
WAIT = 900.0


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

    def say(self, text: str = "") -> None:
        self.cli.line(text)


_LEFT_OUT = ("--exclude", "site-packages", "--exclude", "dist-packages", "--exclude", "__pycache__")
_SKYSWARM = (sys.executable, "-m", "skyswarm.cli.main")


def run(cli: Cli, *, file: Path | None, size: int, keep: bool, folder: Path | None) -> None:
    """Play it. DemoFailedError, SetupError (no room, the file cannot be read)."""
    del keep  # the folders always stay: the demo says where to look
    place = (folder or Path(tempfile.mkdtemp(prefix="skyswarm-demo-"))).absolute()
    if folder is not None and folder.exists() and any(folder.iterdir()):
        raise SetupError(f"{folder} is not empty", advice="Name another --dir.")
    place.mkdir(parents=True, exist_ok=True)
    library = Path(sysconfig.get_paths()["stdlib"])
    big = file.stat().st_size if file else size
    room = shutil.disk_usage(place).free
    if room < 2.2 * big + 2 * 10**9:
        raise SetupError(
            f"the demo needs about {human.size(int(2.2 * big) + 2 * 10**9)} in {place}, {human.size(room)} are free",
            advice="Try SIZE=64MiB, or another --dir.",
        )
    stage = Stage(cli, place)
    with _ended(stage):
        _cast(stage)
        _trust(stage)
        shares = _share(stage, library, file, size)
        results = [_transfer(stage, *one) for one in shares]
        _receipts(stage)
        _prune(stage)
        _table(stage, results)


# ---- acts --------------------------------------------------------------------------------------
def _cast(stage: Stage) -> None:
    stage.say(
        "1. A repository and three agents: each its own process, home folder, key, database, port, storage."
    )
    for name, port in zip(NAMES, _free_ports(len(NAMES)), strict=True):
        stage.ports[name] = port
        words = ["repo", "init"] if name == "repo" else ["init"]
        made = stage.run(name, *words, "--name", name, "--port", str(port))
        stage.ids[name] = made["agent"]
    for name in NAMES:
        words = ["repo", "serve"] if name == "repo" else ["serve"]
        log = (stage.folder / f"{name}.out").open("wb")
        command = [*_SKYSWARM, "--home", str(stage.home(name)), *words]
        stage.processes[name] = subprocess.Popen(  # noqa: S603
            command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
        )
        log.close()
    for name in NAMES:
        _until_up(stage, name)
    url = f"http://127.0.0.1:{stage.ports['repo']}/a/{stage.ids['repo']}"
    for name in NAMES[1:]:
        stage.run(name, "repo", "add", url)
        for other in NAMES[1:]:
            if other != name:
                stage.run(name, "people", "add", other, stage.ids[other], show=False)


def _trust(stage: Stage) -> None:
    stage.say("\n2. Trust: alice trusts carol and whom she vouches for; carol vouches for bob; bob for dave.")
    stage.run("alice", "trust", "carol", "--depth", "3")
    stage.run("carol", "vouch", "bob", "--depth", "1")
    dave = stage.run("dave", "init", "--name", "dave", show=False)
    stage.ids["dave"] = dave["agent"]
    for name in ("alice", "bob"):
        stage.run(name, "people", "add", "dave", dave["agent"], show=False)
    stage.run("bob", "vouch", "dave")
    _until(stage, "alice sees bob", lambda: _why(stage, "bob")["trusted"] and _why(stage, "dave")["trusted"])
    for name in ("bob", "dave"):
        stage.say(f"  alice sees {name}: {' → '.join(_why(stage, name)['path'])}")


def _share(stage: Stage, library: Path, file: Path | None, size: int) -> list[tuple[str, Path, Path]]:
    stage.say("\n3. Alice shares this machine's Python library (thousands of files) and one large file.")
    if file is None:
        file = stage.folder / "large.bin"
        _make_file(stage, file, size)
    shares = []
    for name, path in (("python-library", library), ("large-file", file)):
        out = stage.folder / f"{name}.manifest.json"
        began = time.monotonic()
        made = stage.run("alice", "share", str(path), "--name", name, *_LEFT_OUT, "--manifest-out", str(out))
        took = max(0.001, time.monotonic() - began)
        stage.say(
            f"    {made['files']} files, {human.size(made['bytes'])} hashed and signed in {took:.1f} s"
            f" ({human.size(int(made['bytes'] / took))}/s)"
        )
        shares.append((name, out, path))
    return shares


def _transfer(stage: Stage, name: str, manifest: Path, source: Path) -> dict[str, Any]:
    stage.say(f"\n4. The manifest of {name} is dropped into bob's inbox folder.")
    inbox = stage.home("bob") / "inbox"
    stage.say(f"  bob $ cp {manifest.name} {inbox}/")
    partial = inbox / f".{manifest.name}.part"
    shutil.copyfile(manifest, partial)
    partial.rename(inbox / manifest.name)
    status_file = inbox / f"{name}.status.json"
    began = time.monotonic()
    status: dict[str, Any] = {}
    shown = ""
    while time.monotonic() - began < WAIT:
        with suppress(FileNotFoundError, ValueError):
            status = json.loads(status_file.read_bytes())
        if status:
            line = _progress(status)
            if line != shown:
                stage.cli.progress(line)
                shown = line
            if status["state"] in ("done", "failed", "refused", "stopped", "cancelled"):
                break
        time.sleep(0.1)
    took = time.monotonic() - began
    stage.cli.progress("")
    if status.get("state") != "done":
        raise DemoFailedError(f"{name} ended as {status.get('state')}: {status.get('error')}")
    stage.say(f"    why alice let bob in: {' → '.join(_named(stage, status['chain']))}")
    files, same = _compare(source, stage.home("bob") / "storage", name)
    if not same:
        raise DemoFailedError(f"{name}: the files at bob's are not those of alice")
    stage.say(f"    {files} files compared with SHA-256 outside of the agents: all the same")
    return {"name": name, "status": status, "seconds": took, "chain": _named(stage, status["chain"])}


def _receipts(stage: Stage) -> None:
    stage.say("\n5. Receipts: bob signed what he got, alice signed the same; both keep them.")

    def complete() -> bool:
        found = stage.run("bob", "receipts", show=False)["receipts"]
        return len(found) >= 2 and all(one["complete"] for one in found)

    _until(stage, "both receipts signed by both", complete)
    for one in stage.run("bob", "receipts")["receipts"]:
        stage.say(f"    {one['id'][:12]}…  {human.size(one['bytes'])}  signed by both")


def _prune(stage: Stage) -> None:
    stage.say("\n6. Carol revokes bob. What hung on him is pruned too.")
    stage.run("carol", "revoke", "bob", "--reason", "no longer with us")
    _until(stage, "the revocation reached alice", lambda: not _why(stage, "bob")["trusted"])
    for other in ("bob", "dave"):
        stage.say(f"  alice sees {other}: {_why(stage, other)['reason']}")
    stage.say("  Alice shares one more file; bob has its link and asks.")
    later = stage.folder / "later.txt"
    later.write_text("what bob may not have any more\n")
    made = stage.run("alice", "share", str(later))
    said = stage.run("bob", "get", made["link"], "home:/", "--yes", may_fail=True)
    error = said.get("error") or {}
    if (
        error.get("code") not in ("SKY-211", "SKY-312")
        or (stage.home("bob") / "storage" / "later.txt").exists()
    ):
        raise DemoFailedError(f"bob's next fetch was not refused: {said}")
    stage.say(f"    refused: {error['code']} {error['message']}")


def _table(stage: Stage, results: Sequence[dict[str, Any]]) -> None:
    stage.say("")
    rows = []
    for one in results:
        status = one["status"]
        rows.append(
            (
                one["name"],
                str(status["files"]["done"]),
                human.size(status["bytes"]["done"]),
                str(status["pieces"]["done"]),
                f"{status['bytes']['done'] / 1e6 / max(0.001, one['seconds']):.0f}",
                "every piece",
                " → ".join(one["chain"]),
                "both signed",
            )
        )
    head = ("SHARE", ">FILES", ">BYTES", ">PIECES", ">MB/s", "VERIFIED", "CHAIN", "RECEIPTS")
    stage.cli.table(head, rows)
    stage.say(f"\nNothing is left running. Look around in {stage.folder}:")
    stage.say("  bob/inbox/*.status.json   what bob's bucket says      bob/storage/   what he got")
    stage.say("  */log/*.jsonl             what each process did       *.out          what it printed")
    stage.say(f"Remove it all with: rm -r {shlex.quote(str(stage.folder))}")


# ---- means -------------------------------------------------------------------------------------
@contextmanager
def _ended(stage: Stage) -> Iterator[None]:
    """Stop every process of ours whatever happened."""
    try:
        yield
    finally:
        for process in stage.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in stage.processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _until_up(stage: Stage, name: str) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if stage.processes[name].poll() is not None:
            raise DemoFailedError(
                f"{name} did not start: {(stage.folder / f'{name}.out').read_text()[-500:]}"
            )
        with suppress(OSError), socket.create_connection(("127.0.0.1", stage.ports[name]), 0.2):
            return
        time.sleep(0.05)
    raise DemoFailedError(f"{name} does not answer at port {stage.ports[name]}")


def _until(stage: Stage, what: str, happened: Any) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        if time.monotonic() > deadline:
            raise DemoFailedError(f"waited a minute for this in vain: {what}")
        time.sleep(0.2)
    stage.say(f"    {what}")


def _why(stage: Stage, name: str) -> dict[str, Any]:
    value: dict[str, Any] = stage.run("alice", "people", "why", name, show=False)
    return value


def _named(stage: Stage, ids: Sequence[str]) -> list[str]:
    names = {agent: name for name, agent in stage.ids.items()}
    return [names.get(one, one[:8]) for one in ids]


def _progress(status: dict[str, Any]) -> str:
    done, total = status["bytes"]["done"], max(1, status["bytes"]["total"])
    bar = "▓" * (20 * done // total)
    return (
        f"  {status['transfer']}  {bar:░<20}  {status['files']['done']}/{status['files']['total']} files"
        f"  {human.size(done)}  {human.size(status['rate'])}/s  {status['state']}"
    )


def _make_file(stage: Stage, path: Path, size: int) -> None:
    stage.say(f"  (making {human.size(size)} of random bytes)")
    with path.open("wb") as out:
        left = size
        while left:
            left -= out.write(os.urandom(min(CHUNK, left)))


def _compare(source: Path, storage: Path, name: str) -> tuple[int, bool]:
    """How many files arrived, and whether each equals its source."""
    if source.is_file():
        return 1, _sha256(source) == _sha256(storage / source.name)
    arrived = [path for path in (storage / name).rglob("*") if path.is_file()]
    return len(arrived), all(
        _sha256(path) == _sha256(source / path.relative_to(storage / name)) for path in arrived
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
