"""The storages under the shared contract, one rig each. A new driver joins with one class and one line in RIGS."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from skyswarm.drivers.storages.folder import FolderStorage
from skyswarm.drivers.storages.memory import MemoryStorage
from skyswarm.drivers.storages.presign import Presigner
from skyswarm.pieces.digest import PieceDigest
from skyswarm.pieces.hasher import PieceHasher
from skyswarm.ports.storage import Storage

SECRET = b"a presigning secret of 32 bytes!"
AGENT = "a" * 64


class Rig:
    """One storage under test. `open` gives a driver over the same objects, as another process would have it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.base = f"http://127.0.0.1:1/a/{AGENT}"
        self.now: Callable[[], float] = time.time
        self.secret = SECRET

    def presigner(self) -> Presigner:
        return Presigner(self.secret, self.base, self.now)

    def open(self, name: str = "main") -> Storage:
        raise NotImplementedError


class MemoryRig(Rig):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._made: dict[str, MemoryStorage] = {}

    def open(self, name: str = "main") -> Storage:
        if name not in self._made:
            self._made[name] = MemoryStorage(
                name, self.presigner(), time.time, siblings=self._made.get, capacity=1 << 30
            )
        return self._made[name]


class FolderRig(Rig):
    def open(self, name: str = "main") -> FolderStorage:
        root = self.folder / name
        root.mkdir(parents=True, exist_ok=True)
        return FolderStorage(root, name, self.presigner(), fsync=False, siblings=self._sibling)

    def _sibling(self, name: str) -> FolderStorage | None:
        return self.open(name) if (self.folder / name).is_dir() else None


RIGS: dict[str, type[Rig]] = {"memory": MemoryRig, "folder": FolderRig}


def digest_of(data: bytes) -> PieceDigest:
    hasher = PieceHasher()
    hasher.update(data)
    return hasher.digest()


def cut(data: bytes, piece: int) -> list[bytes]:
    return [data[at : at + piece] for at in range(0, len(data), piece)]


def views(data: bytes, step: int = 1000) -> Iterator[memoryview]:
    """The bytes through one buffer that is used again, as every driver gives them."""
    buffer = bytearray(step)
    for at in range(0, len(data), step):
        chunk = data[at : at + step]
        buffer[: len(chunk)] = chunk
        yield memoryview(buffer)[: len(chunk)]


def read(storage: Storage, key: str, version: str, offset: int, length: int) -> bytes:
    return b"".join(bytes(chunk) for chunk in storage.chunks(key, version, offset, length))
