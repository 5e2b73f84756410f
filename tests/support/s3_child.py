"""A process of its own over the bucket of a rig: it uploads until it is killed, races to finish, or shows its memory.

`python -m tests.support.s3_child <rig> <folder> parts|finish|memory <upload or bytes>`
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from skyswarm.errors import ConflictError
from skyswarm.pieces.digest import PieceDigest
from tests.support.storages import S3_RIGS, S3Rig

MIB = 1 << 20
PIECE = 8 * MIB
COUNT = 8


def block(index: int) -> bytes:
    """Bytes of MiB `index` of the file."""
    return hashlib.shake_128(index.to_bytes(8, "big")).digest(1024) * 1024


def piece_chunks(index: int) -> Iterator[memoryview]:
    for number in range(PIECE // MIB):
        yield memoryview(block(index * (PIECE // MIB) + number))


def digest(index: int) -> PieceDigest:
    state = hashlib.sha256()
    for chunk in piece_chunks(index):
        state.update(chunk)
    return PieceDigest(state.digest(), 0, 0)


def parts(rig: S3Rig, upload: str) -> None:
    """Three parts, then half of one and a long wait for the kill."""

    def half() -> Iterator[memoryview]:
        for number, chunk in enumerate(piece_chunks(3)):
            if number == PIECE // MIB // 2:
                print("half", flush=True)
                sys.stdin.readline()
            yield chunk

    storage = rig.open()
    for index in range(3):
        storage.part(upload, index, digest(index), PIECE, piece_chunks(index))
        print(index, flush=True)
    storage.part(upload, 3, digest(3), PIECE, half())


def finish(rig: S3Rig, upload: str) -> None:
    storage = rig.open()
    storage.parts(upload)  # everything that is loaded late is loaded now
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        made = storage.finish(upload, [digest(0)], if_version=None)
    except ConflictError:
        print("conflict", flush=True)
    else:
        print(f"made {made.version}", flush=True)


def memory(rig: S3Rig, size: str) -> None:
    """One part of so many MiB, written and read back."""
    count = int(size)
    one = block(0)
    state = hashlib.sha256()
    for _ in range(count):
        state.update(one)
    storage = rig.open()
    upload = storage.begin("memory", count * MIB, count * MIB, "m")
    one_digest = PieceDigest(state.digest(), 0, 0)
    storage.part(upload, 0, one_digest, count * MIB, (memoryview(one) for _ in range(count)))
    made = storage.finish(upload, [one_digest], if_version=None)
    seen = hashlib.sha256()
    for chunk in storage.chunks("memory", made.version, 0, made.size):
        seen.update(chunk)
    assert seen.digest() == state.digest()
    print(peak(), flush=True)


def peak() -> int:
    """VmHWM of this process, in bytes; getrusage would count what the parent had when it forked."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


if __name__ == "__main__":
    name, folder, what, argument = sys.argv[1:]
    {"parts": parts, "finish": finish, "memory": memory}[what](S3_RIGS[name](Path(folder)), argument)
