"""The main job, told from start to end with real processes: `skyswarm demo`, `make demo`.

Law: everything is done with the commands a person would type, each shown before it runs; what is claimed at the end is
checked here with plain SHA-256 of the files, not by asking the agents. Processes and folders are the stage's.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skyswarm.cli import human
from skyswarm.cli.frame import Cli, local
from skyswarm.cli.stage import (
    LIBRARY,
    DemoFailedError,
    Stage,
    checked_file,
    checked_place,
    checked_size,
    free_ports,
    make_file,
    opened,
)

NAMES = ("repo", "alice", "bob", "carol")
WAIT = 900.0
_LEFT_OUT = ("--exclude", "site-packages", "--exclude", "dist-packages", "--exclude", "__pycache__")


@dataclass(frozen=True, slots=True)
class Shared:
    """One share of alice's: what it is called, its manifest's file, and the file or folder it was made from."""

    name: str
    manifest: Path
    source: Path


def run(cli: Cli, *, file: Path | None, size: int, folder: Path | None) -> None:
    """Play it. DemoFailedError; before anything is made InputError (the file, the size), SetupError (no room)."""
    place = local(
        folder or Path(tempfile.gettempdir()) / f"skyswarm-demo-{time.strftime('%Y%m%d-%H%M%S')}"
    ).absolute()
    if file is None:
        checked_size(size)
        need = 2 * size
    else:
        file, need = checked_file(file, place)
    checked_place(place, need + need // 10 + LIBRARY)
    with opened(cli, place) as stage:
        _cast(stage)
        _trust(stage)
        shares = _share(stage, Path(sysconfig.get_paths()["stdlib"]).resolve(), file, size)
        stage.say("\n4. Each manifest is dropped into bob's inbox folder; his agent does the rest.")
        results = [_transfer(stage, one) for one in shares]
        _receipts(stage)
        _prune(stage)
        _table(stage, results)


# ---- acts --------------------------------------------------------------------------------------
def _cast(stage: Stage) -> None:
    stage.say(
        "1. A repository and three agents: each its own process, home folder, key, database, port, storage."
    )
    for name, port in zip(NAMES, free_ports(len(NAMES)), strict=True):
        stage.ports[name] = port
        words = ["repo", "init"] if name == "repo" else ["init"]
        made = stage.run(name, *words, "--name", name, "--port", str(port))
        stage.ids[name] = made["agent"]
    for name in NAMES:
        stage.serve(name, *(["repo", "serve"] if name == "repo" else ["serve"]))
    for name in NAMES:
        stage.until_up(name)
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
    stage.until(
        "alice sees bob and dave", lambda: all(_why(stage, one)["trusted"] for one in ("bob", "dave"))
    )
    for name in ("bob", "dave"):
        stage.say(f"  alice sees {name}: {' → '.join(_why(stage, name)['path'])}")


def _share(stage: Stage, library: Path, file: Path | None, size: int) -> list[Shared]:
    what = "one large file" if file is None else f"your own {file.name}"
    stage.say(f"\n3. Alice shares this machine's Python library (thousands of files) and {what}.")
    if file is None:
        file = stage.folder / "large.bin"
        stage.say(f"  (making {human.size(size)} of random bytes)")
        make_file(file, size)
    shares: list[Shared] = []
    for name, path, more in (("python-library", library, _LEFT_OUT), (file.name, file, ())):
        out = stage.folder / f"{len(shares) + 1}-{'python-library' if more else 'file'}.manifest.json"
        began = time.monotonic()
        made = stage.run("alice", "share", str(path), "--name", name, *more, "--manifest-out", str(out))
        took = max(0.001, time.monotonic() - began)
        stage.say(
            f"    {human.some(made['files'], 'file')}, {human.size(made['bytes'])} hashed and signed in {took:.1f} s"
        )
        shares.append(Shared(name, out, path))
    return shares


def _transfer(stage: Stage, shared: Shared) -> dict[str, Any]:
    inbox = stage.home("bob") / "inbox"
    stage.say(f"  bob $ cp {shared.manifest.name} {inbox}/")
    partial = inbox / f".{shared.manifest.name}.part"
    shutil.copyfile(shared.manifest, partial)
    partial.rename(inbox / shared.manifest.name)
    status_file = inbox / shared.manifest.name.replace(".manifest.json", ".status.json")
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
    stage.cli.progress("")
    if status.get("state") != "done":
        why = stage.named(str(status.get("error")))
        raise DemoFailedError(f"{shared.name} ended as {status.get('state')}: {why}")
    chain = [stage.named(one) for one in status["chain"]]
    stage.say(f"    why alice let bob in: {' → '.join(chain)}")
    files, same = _compare(shared, stage.home("bob") / "storage")
    if not same or files != status["files"]["total"]:
        raise DemoFailedError(f"{shared.name}: the files at bob's are not those of alice")
    stage.say(f"    {human.some(files, 'file')} compared with SHA-256 outside of the agents: all the same")
    return {"name": shared.name, "status": status, "chain": chain}


def _receipts(stage: Stage) -> None:
    stage.say("\n5. Receipts: bob signed what he got, alice signed the same; both keep them.")

    def complete() -> bool:
        found = stage.run("bob", "receipts", show=False)["receipts"]
        return len(found) >= 2 and all(one["complete"] for one in found)

    stage.until("both receipts signed by both", complete)
    for one in stage.run("bob", "receipts")["receipts"]:
        stage.say(f"    {one['id'][:12]}…  {human.size(one['bytes'])}  signed by both")


def _prune(stage: Stage) -> None:
    stage.say("\n6. Carol revokes bob. What hung on him is pruned too.")
    stage.run("carol", "revoke", "bob", "--reason", "no longer with us")
    stage.until("the revocation reached alice", lambda: not _why(stage, "bob")["trusted"])
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
    stage.say(f"    refused: {error['code']} {stage.named(error['message'])}")


def _table(stage: Stage, results: Sequence[dict[str, Any]]) -> None:
    stage.say("")
    rows = []
    for one in results:
        status = one["status"]
        rows.append(
            (
                one["name"],
                f"{status['files']['done']:,}",
                human.size(status["bytes"]["done"]),
                f"{status['pieces']['done']:,}",
                f"{human.size(status['rate'])}/s",
                "every piece",
                " → ".join(one["chain"]),
                "both signed",
            )
        )
    head = ("SHARE", ">FILES", ">BYTES", ">PIECES", ">SPEED", "VERIFIED", "CHAIN", "RECEIPTS")
    stage.cli.table(head, rows)


# ---- means -------------------------------------------------------------------------------------
def _why(stage: Stage, name: str) -> dict[str, Any]:
    value: dict[str, Any] = stage.run("alice", "people", "why", name, show=False)
    return value


def _progress(status: dict[str, Any]) -> str:
    """The speed is the one that the status document gives, as in the table at the end."""
    done, total = status["bytes"]["done"], max(1, status["bytes"]["total"])
    bar = "▓" * (20 * done // total)
    files = f"{status['files']['done']:,}/{human.some(status['files']['total'], 'file')}"
    return (
        f"  {status['transfer']}  {bar:░<20}  {files}"
        f"  {human.size(done)}  {human.size(status['rate'])}/s  {status['state']}"
    )


def _compare(shared: Shared, storage: Path) -> tuple[int, bool]:
    """How many files arrived, and whether each equals its source."""
    source = shared.source
    if source.is_file():
        return 1, _sha256(source) == _sha256(storage / source.name)
    top = storage / shared.name
    arrived = [path for path in top.rglob("*") if path.is_file()]
    return len(arrived), all(_sha256(path) == _sha256(source / path.relative_to(top)) for path in arrived)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
