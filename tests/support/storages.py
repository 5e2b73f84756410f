"""The storages under the shared contract, one rig each. A new driver joins with one class and one line in RIGS."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skyswarm.drivers.storages.folder import FolderStorage
from skyswarm.drivers.storages.memory import MemoryStorage
from skyswarm.drivers.storages.presign import Presigner
from skyswarm.pieces.digest import PieceDigest
from skyswarm.pieces.hasher import PieceHasher
from skyswarm.ports.storage import Storage
from tests.support.emulators import REGION, Emulator, ministack, seaweedfs, unique

if TYPE_CHECKING:
    from skyswarm.drivers.aws.s3.storage import S3Storage
    from skyswarm.drivers.aws.session import Session

SECRET = b"a presigning secret of 32 bytes!"
AGENT = "a" * 64


class Rig:
    """One storage under test. `open` gives a driver over the same objects, as another process would have it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.base = f"http://127.0.0.1:1/a/{AGENT}"
        self.now: Callable[[], float] = time.time
        self.secret = SECRET

        self.piece = 5000
        """Bytes of a part of an upload: as small as that storage takes them."""
        self.many = 40
        """Parts of a larger upload."""
        self.proves_copies = True
        self.replaces_parts = True
        """Whether a part that is written again is listed once."""
        self.ordered = True
        """Whether it lists by the bytes of the keys."""

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


class S3Rig(Rig):
    """A prefix of its own in a bucket of this test process: SeaweedFS has no room for hundreds of them. Another process
    finds it by a file in the folder."""

    anonymous = False

    def server(self) -> Emulator:
        raise NotImplementedError

    def __init__(self, folder: Path, *, versioned: bool = False) -> None:
        super().__init__(folder)
        from skyswarm.drivers.local.database import Database
        from skyswarm.drivers.local.records import SqliteNotes

        self.versioned = versioned
        self.notes = SqliteNotes(Database(folder / "notes.db"))
        place = folder / "bucket.json"
        if place.exists():
            self.url, self.bucket, self.root = json.loads(place.read_text())
        else:
            self.url, self.root = self.server().url, unique("rig")
            self.bucket = s3_bucket(self.url, versioned)
            place.write_text(json.dumps([self.url, self.bucket, self.root]))

    def session(self) -> Session:
        return s3_session(self.url)

    def open(self, name: str = "main", **options: Any) -> S3Storage:
        from skyswarm.drivers.aws.s3.opening import open_bucket

        return open_bucket(
            self.session(), self.bucket, AGENT, self.notes, self.now, os.urandom,
            prefix=f"{self.root}/{name}/", versioned=self.versioned,
            siblings=lambda other: self.open(other) if other in ("main", "origin") else None, **options,
        )  # fmt: skip


class MinistackRig(S3Rig):
    """It computes no checksum of copied parts, and answers those who sign nothing."""

    anonymous = True

    def __init__(self, folder: Path, *, versioned: bool = False) -> None:
        super().__init__(folder, versioned=versioned)
        self.proves_copies = False

    def server(self) -> Emulator:
        return ministack()


class SeaweedRig(S3Rig):
    """It refuses parts below 5 MiB, as S3 does. It lists folder by folder, and parts again, as S3 does not."""

    def __init__(self, folder: Path, *, versioned: bool = False) -> None:
        super().__init__(folder, versioned=versioned)
        self.piece, self.many = 5 << 20, 4
        self.ordered = self.replaces_parts = False

    def server(self) -> Emulator:
        return seaweedfs()


@cache
def s3_session(url: str) -> Session:
    """One for each server: its clients take a while to make."""
    from skyswarm.drivers.aws.session import Session

    emulator = Emulator(url)
    return Session(REGION, url, emulator.key, emulator.secret)


@cache
def s3_bucket(url: str, versioned: bool) -> str:
    """A bucket there."""
    client, bucket = s3_session(url).client("s3", s3={"addressing_style": "path"}), unique("store")
    client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    if versioned:
        client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return bucket


SERVED: dict[str, type[Rig]] = {"memory": MemoryRig, "folder": FolderRig}
"""Those whose presigned URLs are ours to answer."""

S3_RIGS: dict[str, type[S3Rig]] = {"s3-ministack": MinistackRig, "s3-seaweedfs": SeaweedRig}

RIGS: dict[str, type[Rig]] = {**SERVED, **S3_RIGS}
"""Every driver that has to keep the promises. Listed and not to be reached is a failure, never a skip."""


@dataclass(frozen=True)
class Sample:
    """Bytes of three parts and a bit, and what an upload of them takes."""

    piece: int
    data: bytes
    pieces: list[bytes]
    digests: list[PieceDigest]

    def begun(self, storage: Storage, key: str = "dir/big.bin", token: str = "t1") -> str:
        return storage.begin(key, len(self.data), self.piece, token)

    def write(self, storage: Storage, upload: str, index: int) -> None:
        piece = self.pieces[index]
        storage.part(upload, index, self.digests[index], len(piece), views(piece, max(1000, self.piece // 5)))

    def filled(self, storage: Storage, key: str = "dir/big.bin", token: str = "t1") -> str:
        upload = self.begun(storage, key, token)
        for index in range(len(self.pieces)):
            self.write(storage, upload, index)
        return upload


@cache
def sample(piece: int) -> Sample:
    data = random.Random(7).randbytes(3 * piece + 17)
    pieces = cut(data, piece)
    return Sample(piece, data, pieces, [digest_of(one) for one in pieces])


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
