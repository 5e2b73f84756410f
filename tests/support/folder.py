"""A folder storage with an upload whose parts are written, for the tests of what a folder alone promises."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

from skyswarm.drivers.storages.folder import FolderStorage
from tests.support.storages import cut, digest_of, views

PIECE = 5000
DATA = random.Random(7).randbytes(3 * PIECE + 17)
PIECES = cut(DATA, PIECE)
DIGESTS = [digest_of(piece) for piece in PIECES]


def filled(storage: FolderStorage, key: str = "dir/big.bin") -> str:
    upload = storage.begin(key, len(DATA), PIECE, "t")
    for index, piece in enumerate(PIECES):
        storage.part(upload, index, DIGESTS[index], len(piece), views(piece))
    return upload


def parts_file(storage: FolderStorage) -> Path:
    (found,) = (storage.root / ".skyswarm/uploads").glob("*/parts")
    return found


def python(code: str, *args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run `code` in another process, with the packages of this one."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.run(
        [sys.executable, "-c", code, *args],
        env=environment,
        capture_output=True,
        text=True,
        check=check,
        timeout=60,
    )
