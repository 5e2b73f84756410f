"""Piece hashing against what the machine can do and against torrent makers; manifests and paths by the entry.

Law: every contender reads the same file from the page cache in a process of its own, in turns, round after
round; the median counts, and ratios are of one run. Run as `python -m tests.bench.bench_pieces [folder]`, or
`run` from another bench. A peer that is not installed is a row that says so, never a bar that is met.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from skyswarm.drivers.local.reading import CHUNK, open_range
from skyswarm.messages.manifest import FileEntry, PageWriter, read_pages
from skyswarm.pieces.hasher import hash_file
from skyswarm.pieces.paths import PathSet, SharePath
from skyswarm.pieces.size import piece_size

SIZE = 2 << 30
ROUNDS = 5
ENTRIES = 100_000
THREADS = min(2, len(os.sched_getaffinity(0)))
SHIFT = (piece_size(SIZE) - 1).bit_length()
"""log2 of the piece size, which the torrent makers are given too."""

Row = dict[str, Any]
"""`name`, `value` with `unit`; where there is a bar also `ratio`, `bar` in words and `ok`; of a process
`peak_mb` (with what the kernel maps for it: a peer that maps the file shows the file) and `cpu_s`."""


# ---- contenders: each prints its seconds, without the interpreter's start -----------------------
def ours(path: str) -> None:
    """All mandatory checksums, on THREADS threads."""
    fd = os.open(path, os.O_RDONLY)
    with ThreadPoolExecutor(THREADS) as pool:
        hash_file(partial(open_range, fd), 1 << 20, pool)  # loads the native code, starts nothing else
        start = time.perf_counter()
        hash_file(partial(open_range, fd), SIZE, pool)
        print(time.perf_counter() - start)


def plain(path: str) -> None:
    """SHA-256 of the file, one thread: the limit of one core."""
    fd = os.open(path, os.O_RDONLY)
    start = time.perf_counter()
    sha256 = hashlib.sha256()
    for chunk in open_range(fd, 0, SIZE, CHUNK):
        sha256.update(chunk)
    sha256.digest()
    print(time.perf_counter() - start)


def torf(path: str) -> None:
    """SHA-1 of pieces, BitTorrent v1."""
    import torf as maker

    torrent = maker.Torrent(path, piece_size=1 << SHIFT)
    start = time.perf_counter()
    torrent.generate(threads=THREADS)
    print(time.perf_counter() - start)


def libtorrent(path: str) -> None:
    """SHA-256 Merkle trees of 16 KiB blocks, BitTorrent v2."""
    import libtorrent as maker

    files = maker.file_storage()
    maker.add_files(files, path)
    torrent = maker.create_torrent(files, 1 << SHIFT, maker.create_torrent.v2_only)
    start = time.perf_counter()
    maker.set_piece_hashes(torrent, str(Path(path).parent))
    torrent.generate()
    print(time.perf_counter() - start)


def entries() -> None:
    """A share of many small files: written as pages and read again. Prints entries per CPU second of both."""
    hashed = hash_file(lambda offset, length: iter([memoryview(b"x")]), 1)
    files = []
    for number in range(ENTRIES):
        path = SharePath.parse(f"lib/python3.11/site-packages/package{number // 50}/module_{number}.py")
        files.append(FileEntry.of(path, hashed, 1_700_000_000 + number)[0])
    stored: dict[str, bytes] = {}
    start = time.process_time()
    writer = PageWriter(lambda name, data, count: stored.__setitem__(name, data), stored.__setitem__)
    for entry in files:
        writer.add(entry)
    totals = writer.close()
    written = time.process_time()
    assert sum(len(page.files) for page in read_pages(totals, stored.__getitem__)) == ENTRIES
    print(json.dumps([ENTRIES / (written - start), ENTRIES / (time.process_time() - written)]))


def paths() -> None:
    """A million paths in the set that finds clashes. Prints paths per CPU second."""
    start = time.process_time()
    seen = PathSet()
    for number in range(1_000_000):
        seen.add(SharePath.parse(f"photos/{number // 1000}/{number}.jpg"))
    print(len(seen) / (time.process_time() - start))


def make(path: str) -> None:
    """SIZE bytes that are in the page cache, and on the disk, afterwards."""
    block = random.Random(0).randbytes(64 << 20)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    for _ in range(SIZE // len(block)):
        os.write(fd, block)
    os.fsync(fd)  # writing back must not run beside the first contenders
    for _ in open_range(fd, 0, SIZE):
        pass


def nothing() -> None:
    """The interpreter with all that is imported here: what the other processes' memory begins with."""
    PathSet()
    print(0)


# ---- the arena ---------------------------------------------------------------------------------
# A child begins with the peak of the process that forked it, so a small one stands between: it alone is
# forked by us.
BETWEEN = """
import os, sys
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(pid, 0)
sys.stderr.write(f"\\n{usage.ru_maxrss / 1024} {usage.ru_utime + usage.ru_stime}")
sys.exit(os.waitstatus_to_exitcode(status))
"""


def child(*command: str) -> tuple[str, float, float, float]:
    """Runs a program to its end. Its output, wall seconds, peak memory in MB, CPU seconds (start
    included)."""
    between = (sys.executable, "-I", "-S", "-c", BETWEEN, *command)
    start = time.perf_counter()
    done = subprocess.run(between, capture_output=True, text=True, env=_environment(), check=False)
    taken = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-2000:]}")
    peak, cpu = done.stderr.splitlines()[-1].split()
    return done.stdout, taken, float(peak), float(cpu)


def _environment() -> dict[str, str]:
    root = Path(__file__).parents[2]
    return {**os.environ, "PYTHONPATH": f"{root / 'shared'}{os.pathsep}{root}"}


def contender(name: str, *arguments: str) -> tuple[str, float, float, float]:
    return child(sys.executable, "-m", "tests.bench.bench_pieces", "--child", name, *arguments)


def hashing(folder: Path) -> list[Row]:
    """The file hashed by everybody, and who is how far ahead of whom."""
    path = folder / "bench_pieces.bin"
    contender("make", str(path))
    load = os.getloadavg()[0]
    seconds: dict[str, list[float]] = {}
    cpus: dict[str, list[float]] = {}
    peaks: dict[str, float] = {}
    missing: dict[str, str] = {}
    mktorrent = shutil.which("mktorrent")
    names = ["ours", "plain"]
    if mktorrent is None:
        missing["mktorrent"] = "not installed (Debian package mktorrent)"
    else:
        names.append("mktorrent")
    for name in ("libtorrent", "torf"):
        if _importable(name):
            names.append(name)
        else:
            missing[name] = f"not installed (Python package {name})"
    torrent = folder / "bench_pieces.torrent"
    try:
        for turn in range(ROUNDS):
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                if name == "mktorrent":
                    torrent.unlink(missing_ok=True)
                    assert mktorrent is not None
                    shape = ("-t", str(THREADS), "-l", str(SHIFT), "-o", str(torrent))
                    _, taken, peak, cpu = child(mktorrent, *shape, str(path))
                    if not torrent.stat().st_size:  # it exits with 0 on an option it does not know
                        raise RuntimeError("mktorrent made nothing")
                else:
                    out, _, peak, cpu = contender(name, str(path))
                    taken = float(out)
                seconds.setdefault(name, []).append(taken)
                cpus.setdefault(name, []).append(cpu)
                peaks[name] = max(peaks.get(name, 0.0), peak)
    finally:
        path.unlink()
        torrent.unlink(missing_ok=True)
    median = {name: statistics.median(taken) for name, taken in seconds.items()}
    rows = [
        {
            "name": f"hash 2 GiB: {LABELS[name]}",
            "value": median[name],
            "unit": "s",
            "gib_per_s": SIZE / (1 << 30) / median[name],
            "cpu_s": statistics.median(cpus[name]),
            "peak_mb": peaks[name],
            "rounds": seconds[name],
        }
        for name in names
    ]
    # Wall time tells what a quiet machine does. Where others run too, the CPU ratio is what can still be
    # believed.
    cpu = statistics.median(cpus["plain"]) / statistics.median(cpus["ours"])
    rows.append(
        {
            "name": "ours: CPU of plain SHA-256 over ours, starts included",
            "value": cpu,
            "unit": "x",
            "ratio": cpu,
        }
    )
    rows.append({"name": "load of the machine before the first round", "value": load, "unit": "runnable"})
    rows.append(
        _bar("of plain SHA-256 times the cores", median["plain"] / THREADS / median["ours"], ">=", 0.75)
    )
    for name, sign, limit in (("mktorrent", "<=", 1.25), ("libtorrent", "<", 1.0)):
        text = f"of the time of {LABELS[name]}"
        if name in missing:
            rows.append(
                {
                    "name": f"ours: {text}",
                    "value": None,
                    "unit": missing[name],
                    "bar": f"{sign} {limit}",
                    "ok": False,
                }
            )
        else:
            rows.append(_bar(text, median["ours"] / median[name], sign, limit))
    if "torf" in missing:
        rows.append({"name": f"hash 2 GiB: {LABELS['torf']}", "value": None, "unit": missing["torf"]})
    return rows


LABELS = {
    "ours": f"SHA-256 + CRC-32C + CRC-64/NVME of pieces, {THREADS} threads (Skyswarm)",
    "plain": "SHA-256 of the file, 1 thread (hashlib)",
    "mktorrent": f"mktorrent, {THREADS} threads (SHA-1)",
    "libtorrent": "libtorrent v2 (SHA-256 Merkle)",
    "torf": f"torf, {THREADS} threads (SHA-1)",
}


def _bar(text: str, ratio: float, sign: str, limit: float) -> Row:
    met = {">=": ratio >= limit, "<=": ratio <= limit, "<": ratio < limit}[sign]
    return {
        "name": f"ours: {text}",
        "value": ratio,
        "unit": "x",
        "ratio": ratio,
        "bar": f"{sign} {limit}",
        "ok": met,
    }


def _importable(name: str) -> bool:
    return (
        subprocess.run([sys.executable, "-c", f"import {name}"], capture_output=True, check=False).returncode
        == 0
    )


def records() -> list[Row]:
    """Manifests and paths by the entry, on one core."""
    base = contender("nothing")[2]
    rates = [json.loads(contender("entries")[0]) for _ in range(3)]
    rows: list[Row] = []
    for text, rate in zip(("written to pages", "read from pages"), zip(*rates, strict=True), strict=True):
        value = statistics.median(rate)
        row = {
            "name": f"{ENTRIES:,} entries {text}",
            "value": value,
            "unit": "per CPU s",
            "ratio": value / 30_000,
        }
        rows.append({**row, "bar": "> 30,000/s", "ok": value > 30_000})
    out, _, peak, _ = contender("paths")
    row = {
        "name": "1,000,000 paths checked for clashes",
        "value": float(out),
        "unit": "per CPU s",
        "peak_mb": peak,
    }
    rows.append(
        {**row, "bar": "< 40 MB over the bare process", "ok": peak - base < 40, "over_mb": peak - base}
    )
    return rows


def run(workdir: Path) -> list[Row]:
    """All rows. `workdir` needs room for a file of 2 GiB."""
    return hashing(workdir) + records()


def show(rows: list[Row]) -> None:
    """Print the rows; exit with 1 when a bar is missed."""
    for row in rows:
        value = f"{row['value']:12,.3f}" if row["value"] is not None else " " * 11 + "-"
        more = [f"{row['gib_per_s']:.2f} GiB/s"] if "gib_per_s" in row else []
        more += [f"{row['cpu_s']:.2f} CPU s"] if "cpu_s" in row else []
        more += [f"{row['peak_mb']:.0f} MB peak"] if "peak_mb" in row else []
        more += [f"bar {row['bar']}: {'met' if row['ok'] else 'NOT MET'}"] if "bar" in row else []
        print(f"{row['name']:75} {value} {row['unit']:10} {' · '.join(more)}")
    if not all(row.get("ok", True) for row in rows):
        sys.exit(1)


def main() -> None:
    children = {"make": make, "ours": ours, "plain": plain, "torf": torf, "libtorrent": libtorrent}
    if sys.argv[1:2] == ["--child"]:
        name = sys.argv[2]
        if name in children:
            children[name](sys.argv[3])
        else:
            {"entries": entries, "paths": paths, "nothing": nothing}[name]()
        return
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as folder:
        show(run(Path(folder)))


if __name__ == "__main__":
    main()
