"""The floor of a relay: presigned ranged GET → SHA-256 → part of an upload, 8 threads, without any agent around it.

Server and mover are processes of their own, so that the CPU seconds of each can be told apart. Beside it, in the same
run and from the same server: `rclone copyurl` of the file (one stream, its default), then a SHA-256 of the result.
rclone's figures hold the start of its process (about 0.1 s), ours begin after the imports and the source's hashing.

    python -m tests.bench.bench_relay_floor [FOLDER]
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from skyswarm.drivers.http.address import AddressPolicy
from skyswarm.drivers.http.fetcher import HttpFetcher
from skyswarm.drivers.local.reading import open_range
from skyswarm.edge.objects import serve_object
from skyswarm.edge.server import Server
from skyswarm.pieces.digest import unpack_all
from skyswarm.pieces.hasher import hash_file, verified
from skyswarm.pieces.size import piece_count, piece_size, piece_span
from tests.support.storages import FolderRig

GIB = 1 << 30
THREADS = 8


def run(workdir: Path, size: int = GIB, rounds: int = 3) -> dict[str, Any]:
    """Medians of `rounds`; prints a line for each client. Needs about 2.2 × `size` below `workdir`."""
    workdir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=workdir) as name:
        folder = Path(name)
        _make(folder / "source" / "big.bin", size)
        found: dict[str, list[dict[str, float]]] = {"skyswarm": [], "rclone": []}
        # The first round only warms up: a virtual machine pays up to 2 s per GiB for memory it touches first.
        for number in range(rounds + 1):
            for kind, one in (("skyswarm", _ours), ("rclone", _rclone)):
                with _server(folder) as (url, usage):
                    result = one(folder, url)
                result["server"] = usage["cpu"]
                if number:
                    found[kind].append(result)
    out = {kind: _median(results, size / GIB) for kind, results in found.items()}
    for kind, result in out.items():
        print(
            f"relay floor, {size / GIB:g} GiB, {kind:9} {result['wall']:.2f} s, "
            f"CPU s/GiB: mover {result['client']:.2f} (of it {result['check']:.2f} for a check afterwards), "
            f"server {result['server']:.2f}; mover's memory {result['memory']:.0f} MB"
        )
    print(f"relay floor: time {out['skyswarm']['wall'] / out['rclone']['wall']:.2f} of rclone's")
    return out


def _median(results: list[dict[str, float]], gib: float) -> dict[str, float]:
    wall = {"wall": statistics.median(result["wall"] for result in results)}
    memory = {"memory": statistics.median(result["memory"] for result in results)}
    names = ("client", "copy", "check", "server")
    return (
        wall | memory | {name: statistics.median(result[name] for result in results) / gib for name in names}
    )


def _make(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True)
    block = os.urandom(1 << 20)
    with path.open("wb") as file:
        for number in range(0, size, 1 << 20):
            file.write((number.to_bytes(8, "big") + block[8:])[: size - number])


@contextmanager
def _server(folder: Path) -> Iterator[tuple[str, dict[str, float]]]:
    """A server of the folder as a process; its CPU seconds are there after the block."""
    usage: dict[str, float] = {}
    process = _python("serve", str(folder))
    assert process.stdin and process.stdout
    try:
        yield process.stdout.readline().strip(), usage
        process.stdin.close()
        usage["cpu"] = float(process.stdout.read())
    finally:
        process.kill()
        process.wait()


def _python(*args: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-m", "tests.bench.bench_relay_floor", *args]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )


def _ours(folder: Path, url: str) -> dict[str, float]:
    out, _ = _python("move", str(folder), url).communicate(timeout=600)
    shutil.rmtree(folder / "sink")
    return dict(json.loads(out))


def _rclone(folder: Path, url: str) -> dict[str, float]:
    rclone = Path(sys.executable).parent / "rclone"
    target = folder / "copied"
    start = time.monotonic()
    process = subprocess.Popen(
        [rclone, "copyurl", url, str(target), "--config", os.devnull], stdout=sys.stderr
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, "rclone failed"
    before = time.process_time()
    with target.open("rb") as file:
        done = hashlib.file_digest(file, "sha256").hexdigest()
    check = time.process_time() - before
    wall = time.monotonic() - start
    assert done
    target.unlink()
    copy = usage.ru_utime + usage.ru_stime
    return {
        "wall": wall,
        "client": copy + check,
        "copy": copy,
        "check": check,
        "memory": usage.ru_maxrss / 1024,
    }


# ---- the two processes -------------------------------------------------------------------------
def _serve(folder: Path) -> None:
    rig = FolderRig(folder)
    storage = rig.open("source")
    server = Server(lambda request: serve_object(rig.open, rig.presigner(), request), "127.0.0.1", 0)
    server.start()
    rig.base = server.url
    found = storage.stat("big.bin")
    print(rig.open("source").presign(found.key, found.version, 3600).url, flush=True)
    before = time.process_time()
    sys.stdin.read()
    print(time.process_time() - before)
    server.stop()


def _move(folder: Path, url: str) -> None:
    source = folder / "source" / "big.bin"
    size = source.stat().st_size
    with source.open("rb") as file, ThreadPoolExecutor(2) as pool:
        hashed = hash_file(lambda offset, length: open_range(file.fileno(), offset, length), size, pool)
    digests = unpack_all(hashed.pieces)
    sink = FolderRig(folder).open("sink")
    fetcher = HttpFetcher(AddressPolicy(allow_private=True))
    before, start = time.process_time(), time.monotonic()
    upload = sink.begin("big.bin", size, piece_size(size), "bench")

    def one(index: int) -> None:
        offset, length = piece_span(size, index)
        chunks = verified(fetcher.read(url, offset, length), digests[index], length)
        sink.part(upload, index, digests[index], length, chunks)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(one, range(piece_count(size))))
    sink.finish(upload, digests, if_version=None)
    wall, cpu = time.monotonic() - start, time.process_time() - before
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"wall": wall, "client": cpu, "copy": cpu, "check": 0.0, "memory": memory}))


def _main(arguments: list[str]) -> None:
    if arguments[:1] == ["serve"]:
        _serve(Path(arguments[1]))
    elif arguments[:1] == ["move"]:
        _move(Path(arguments[1]), arguments[2])
    else:
        run(Path(arguments[0] if arguments else "/dev/shm"))


if __name__ == "__main__":
    _main(sys.argv[1:])
