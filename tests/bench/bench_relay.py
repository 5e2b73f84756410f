"""The whole relay between two agents, against `rclone copyurl` of the same file followed by a SHA-256 check.

Both read the same presigned URL's file from the same server process (alice's agent). Ours counts everything between
asking for the transfer and the finished file: look-up, manifest, planning, leases, three checksums per piece. rclone
gets the URL for nothing. In memory (/dev/shm) when there is room, so that neither measures the disk.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from skyswarm.edge.runtime import Runtime, create
from skyswarm.messages.link import parse_link
from skyswarm.usecases import jobs, people, repos
from skyswarm.usecases.publish import Progress, Terms, publish
from skyswarm.usecases.starting import Wish, start_link

GIB = 1 << 30
TICK = os.sysconf("SC_CLK_TCK")


def run(workdir: Path, size: int = GIB, rounds: int = 3) -> dict[str, Any]:
    """Medians of `rounds` after one that warms up; needs about 3.3 × `size` of room."""
    shm = Path("/dev/shm")
    place = shm if shm.is_dir() and shutil.disk_usage(shm).free > 4 * size else workdir
    with tempfile.TemporaryDirectory(dir=place) as name, _swarm(Path(name), size) as swarm:
        found: dict[str, list[dict[str, float]]] = {"skyswarm": [], "rclone": []}
        for number in range(rounds + 1):
            for kind, one in (("skyswarm", _ours), ("rclone", _rclone)):
                result = one(swarm)
                if number:
                    found[kind].append(result)
        out = {
            kind: {key: statistics.median(one[key] for one in results) for key in results[0]}
            for kind, results in found.items()
        }
        for kind, one in out.items():
            gib = size / GIB
            print(
                f"relay {gib:g} GiB in {'memory' if place == shm else 'a folder'}: {kind:9} {one['wall']:.2f} s, "
                f"CPU s/GiB: mover {one['mover'] / gib:.2f}, server {one['server'] / gib:.2f}; "
                f"mover's peak {one['memory']:.0f} MB"
            )
        ratio = statistics.median(
            ours["wall"] / theirs["wall"]
            for ours, theirs in zip(found["skyswarm"], found["rclone"], strict=True)
        )
        print(
            f"relay: skyswarm takes {ratio:.2f} of rclone's time (bar: below 1)  {'ok' if ratio < 1 else 'MISSED'}"
        )
        alice, bob = swarm["pids"]["alice"], swarm["pids"]["bob"]
        print(
            f"relay: peak memory of the agents: alice {_peak(alice):.0f} MB, bob {_peak(bob):.0f} MB (bar: 300)"
        )
    return {"relay_vs_rclone": ratio, **out}


@contextlib.contextmanager
def _swarm(folder: Path, size: int) -> Iterator[dict[str, Any]]:
    ports = _ports(3)
    runtimes: dict[str, Runtime] = {}
    for name, port in zip(("repo", "alice", "bob"), ports, strict=True):
        role = "repository" if name == "repo" else "agent"
        runtimes[name], _ = create(folder / name, name=name, port=port, role=role)
    alice, bob = runtimes["alice"], runtimes["bob"]
    source = folder / "source"
    source.mkdir()
    with (source / "big.bin").open("wb") as file:
        for _ in range(size // (8 << 20)):
            file.write(os.urandom(8 << 20))
    processes = {
        name: subprocess.Popen(
            [sys.executable, "-m", "skyswarm.cli.main", "--home", str(one.home.path), *_serve(name)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for name, one in runtimes.items()
    }
    try:
        for port in ports:
            _until(lambda port=port: _open(port), 30)  # type: ignore[misc]
        for one in (alice, bob):
            repos.add(one.deps, one.agent, runtimes["repo"].endpoint)
        people.vouch(alice.deps, alice.agent, bob.agent)
        alice.add_storage("source", source)
        terms = Terms(name="big", repos=(runtimes["repo"].endpoint,))
        done = publish(alice.deps, alice.agent, "source", "big.bin", terms, alice.pool, Progress())
        link = f"skyswarm:{done.manifest.id}?at={alice.endpoint}"
        _until(lambda: repos.state(alice.deps, alice.agent, runtimes["repo"].agent).mine >= 1, 30)
        with (source / "big.bin").open("rb") as file:
            want = hashlib.file_digest(file, "sha256").hexdigest()
        pids = {name: process.pid for name, process in processes.items()}
        yield {
            "alice": alice,
            "bob": bob,
            "link": link,
            "pids": pids,
            "folder": folder,
            "want": want,
            "n": [0],
        }
    finally:
        for process in processes.values():
            process.send_signal(signal.SIGTERM)
        for process in processes.values():
            process.wait(15)
        for one in runtimes.values():
            one.close()


def _serve(name: str) -> list[str]:
    return ["repo", "serve"] if name == "repo" else ["serve"]


def _ours(swarm: dict[str, Any]) -> dict[str, float]:
    bob: Runtime = swarm["bob"]
    swarm["n"][0] += 1
    prefix = f"round-{swarm['n'][0]}"
    before = {name: _cpu(pid) for name, pid in swarm["pids"].items()}
    began = time.perf_counter()
    job = start_link(bob.deps, bob.agent, parse_link(swarm["link"]), Wish("home", prefix))
    deadline = time.monotonic() + 300
    while (state := jobs.load(bob.deps, bob.agent, job.id)).state in jobs.ACTIVE:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{job.id} is still {state.state}")
        time.sleep(0.005)
    wall = time.perf_counter() - began
    if state.state != "done":
        raise RuntimeError(f"{state.state}: {state.error}")
    used = {name: _cpu(pid) - before[name] for name, pid in swarm["pids"].items()}
    final = bob.home.storage / prefix / "big.bin"
    with final.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != swarm["want"]:
            raise RuntimeError("a wrong file")
    final.unlink()
    return {
        "wall": wall,
        "mover": used["bob"],
        "server": used["alice"],
        "memory": _peak(swarm["pids"]["bob"]),
    }


def _rclone(swarm: dict[str, Any]) -> dict[str, float]:
    alice: Runtime = swarm["alice"]
    storage = alice.storages.open(alice.agent, "source")
    url = storage.presign("big.bin", storage.stat("big.bin").version, 600).url
    target = swarm["folder"] / "rclone.bin"
    before = _cpu(swarm["pids"]["alice"])
    began = time.perf_counter()
    rclone = Path(sys.executable).parent / "rclone"
    process = subprocess.Popen([rclone, "copyurl", url, str(target), "--config", os.devnull])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    checked = time.process_time()
    with target.open("rb") as file:  # hashlib uses the CPU's SHA instructions; sha256sum may not
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    used = usage.ru_utime + usage.ru_stime + time.process_time() - checked
    wall = time.perf_counter() - began
    if process.returncode or digest != swarm["want"]:
        raise RuntimeError("rclone brought no file, or a wrong one")
    target.unlink()
    server = _cpu(swarm["pids"]["alice"]) - before
    return {"wall": wall, "mover": used, "server": server, "memory": usage.ru_maxrss / 1024}


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def _peak(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


def _ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _open(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
        return True
    return False


def _until(happened: Any, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            raise TimeoutError("waited in vain")
        time.sleep(0.02)


if __name__ == "__main__":
    run(Path(tempfile.gettempdir()))
