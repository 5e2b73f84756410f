"""A storage in memory with every promise of ports/storage.py: for tests, and the plainest example of a driver.

Law: one lock, plain dictionaries, no time and no randomness but what is given. An upload's id is a number; a
finished one is remembered, so that `finish` is idempotent.
"""

from __future__ import annotations

import bisect
import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from skyswarm.drivers.storages.keys import parts_of
from skyswarm.drivers.storages.presign import Presigner
from skyswarm.errors import (
    AbsentError,
    ConflictError,
    ForbiddenError,
    PieceMismatchError,
    SourceChangedError,
    StorageFullError,
    TransferStateError,
)
from skyswarm.pieces.digest import PieceDigest
from skyswarm.pieces.size import MAX_PIECES
from skyswarm.ports.storage import ANY_VERSION, Grant, Listing, Object, Origin
from skyswarm.ports.system import Clock

_CHUNK = 1 << 18


@dataclass(slots=True)
class _Upload:
    key: str
    size: int
    piece_size: int
    media_type: str | None
    metadata: Mapping[str, str]
    parts: dict[int, tuple[bytes, bytes]] = field(default_factory=dict)  # index -> (sha256, data)
    finished: bool = False


class MemoryStorage:
    """Objects in a dictionary. `capacity` in bytes; `siblings` gives the storage of a name, for copies."""

    def __init__(
        self,
        name: str,
        presigner: Presigner,
        clock: Clock,
        *,
        kind: str = "memory",
        capacity: int = 1 << 40,
        siblings: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._name = name
        self._presigner = presigner
        self._clock = clock
        self._kind = kind
        self._capacity = capacity
        self._siblings = siblings
        self._lock = threading.Lock()
        self._objects: dict[str, tuple[Object, bytes]] = {}
        self._uploads: dict[str, _Upload] = {}
        self._tokens: dict[tuple[str, str, int, int], str] = {}
        self._counter = 0

    @property
    def kind(self) -> str:
        return self._kind

    @property
    def folds(self) -> bool:
        return False

    # ---- Source ----------------------------------------------------------------------------
    def list(self, prefix: str, after: str | None = None, limit: int = 1000) -> Listing:
        with self._lock:
            keys = sorted(key for key in self._objects if key.startswith(prefix))
            start = bisect.bisect_right(keys, after) if after is not None else 0
            page = keys[start : start + limit]
            more = start + limit < len(keys)
            return Listing(tuple(self._objects[key][0] for key in page), page[-1] if more else None)

    def stat(self, key: str) -> Object:
        return self._at(key)[0]

    def chunks(self, key: str, version: str, offset: int, length: int) -> Iterator[memoryview]:
        data = memoryview(self.pinned(key, version)[1])[offset : offset + length]
        if len(data) != length:
            raise SourceChangedError(f"{key} has no {length} bytes at {offset}")
        for start in range(0, length, _CHUNK):
            yield data[start : start + _CHUNK]
            self.pinned(key, version)

    def presign(self, key: str, version: str, ttl: int) -> Grant:
        return self._presigner.grant(self._name, key, version, ttl)

    def pinned(self, key: str, version: str) -> tuple[Object, bytes]:
        """The object and its bytes. AbsentError; SourceChangedError when it is no longer at `version`."""
        found = self._at(key)
        if found[0].version != version:
            raise SourceChangedError(f"{key} was changed since it was published")
        return found

    def _at(self, key: str) -> tuple[Object, bytes]:
        parts_of(key)
        with self._lock:
            found = self._objects.get(key)
        if found is None:
            raise AbsentError(f"there is no {key} in {self._name}")
        return found

    # ---- Sink ------------------------------------------------------------------------------
    def put(self, key: str, data: bytes, *, if_version: str | None, media_type: str | None = None) -> Object:
        parts_of(key)
        with self._lock:
            return self._publish(key, bytes(data), if_version, media_type)

    def begin(
        self,
        key: str,
        size: int,
        piece_size: int,
        token: str,
        *,
        media_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> str:
        parts_of(key)
        with self._lock:
            name = (token, key, size, piece_size)
            upload = self._tokens.get(name)
            if upload is not None and upload in self._uploads and not self._uploads[upload].finished:
                return upload
            if self._used() + size > self._capacity:
                raise StorageFullError(f"{size} bytes do not fit into {self._name}")
            self._counter += 1
            upload = self._tokens[name] = str(self._counter)
            self._uploads[upload] = _Upload(key, size, piece_size, media_type, dict(metadata or {}))
            return upload

    def part(
        self, upload: str, index: int, digest: PieceDigest, length: int, chunks: Iterable[memoryview]
    ) -> None:
        self._open(upload)
        data = b"".join(bytes(chunk) for chunk in chunks)  # a chunk is valid until the next only
        if len(data) != length:
            raise PieceMismatchError(f"part {index} has {len(data)} bytes instead of {length}")
        with self._lock:
            found = self._uploads.get(upload)
            if found is None or found.finished:
                raise AbsentError("this upload is finished or was aborted")
            found.parts[index] = (digest.sha256, data)

    def parts(self, upload: str, first: int = 0, count: int | None = None) -> frozenset[int]:
        end = MAX_PIECES if count is None else first + count
        return frozenset(index for index in self._open(upload).parts if first <= index < end)

    def finish(self, upload: str, digests: Sequence[PieceDigest], *, if_version: str | None) -> Object:
        with self._lock:
            found = self._uploads.get(upload)
            if found is None:
                raise AbsentError("this upload was aborted")
            if found.finished:
                if found.key not in self._objects:
                    raise AbsentError(f"{found.key} was finished and then removed")
                return self._objects[found.key][0]
            have = {index: sha for index, (sha, _) in found.parts.items()}
            missing = [index for index, digest in enumerate(digests) if have.get(index) != digest.sha256]
            data = b"".join(found.parts[index][1] for index in range(len(digests)) if not missing)
            if missing or len(data) != found.size:
                raise TransferStateError(f"{len(missing)} parts of {found.key} are not there yet")
            made = self._publish(found.key, data, if_version, found.media_type, found.metadata)
            found.finished, found.parts = True, {}
            return made

    def abort(self, upload: str) -> None:
        with self._lock:
            if upload in self._uploads and not self._uploads[upload].finished:
                del self._uploads[upload]

    def copy(
        self, upload: str, index: int, origin: Origin, offset: int, digest: PieceDigest, length: int
    ) -> bytes | None:
        other = origin.storage and self._siblings(origin.storage)
        if not isinstance(other, MemoryStorage):
            raise ForbiddenError(f"{self._name} cannot copy from {origin.storage or origin.kind}")
        chunks = other.chunks(origin.key, origin.version, offset, length)
        data = b"".join(bytes(chunk) for chunk in chunks)
        proof = hashlib.sha256(data).digest()
        if proof != digest.sha256:
            raise PieceMismatchError(
                f"piece {index} copied from {origin.storage} is not the one of the manifest"
            )
        self.part(upload, index, digest, length, [memoryview(data)])
        return proof

    def delete(self, key: str) -> None:
        parts_of(key)
        with self._lock:
            self._objects.pop(key, None)

    # ---- inside, with the lock held ----------------------------------------------------------
    def _open(self, upload: str) -> _Upload:
        found = self._uploads.get(upload)
        if found is None or found.finished:
            raise AbsentError("this upload is finished or was aborted")
        return found

    def _used(self) -> int:
        return sum(len(data) for _, data in self._objects.values())

    def _publish(
        self,
        key: str,
        data: bytes,
        if_version: str | None,
        media_type: str | None,
        metadata: Mapping[str, str] | None = None,
    ) -> Object:
        current = self._objects.get(key)
        if if_version != ANY_VERSION and (current[0].version if current else None) != if_version:
            raise ConflictError(f"{key} is not at the expected version")
        if self._used() + len(data) - (len(current[1]) if current else 0) > self._capacity:
            raise StorageFullError(f"{len(data)} bytes do not fit into {self._name}")
        self._counter += 1
        made = Object(key, len(data), f"m{self._counter}", self._clock(), media_type, metadata or {})
        self._objects[key] = (made, data)
        return made
