"""All mandatory checksums of a piece in one pass, and of a file's pieces on all cores at constant memory.

Law: chunks in, digests out; where the bytes come from is the caller's affair. A chunk is read before the next
is asked for and never kept. hashlib and awscrt release the GIL, so plain threads use every core.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from skyswarm.errors import ManifestError, PieceMismatchError, SourceChangedError
from skyswarm.pieces import crc
from skyswarm.pieces.digest import SHA256, PieceDigest, content_of
from skyswarm.pieces.size import BLOCK, piece_count, piece_span

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

OpenRange = Callable[[int, int], Iterator[memoryview]]
"""`open_range(offset, length)` gives exactly those bytes in chunks; called from several threads at once."""

EXTRAS = frozenset({"md5", "sha256", "dropbox"})
"""Optional checksums of a whole file: MD5, SHA-256, Dropbox's content_hash."""

_ORDERED = frozenset({"md5", "sha256"})  # a running state over the whole file: no two pieces at once
AHEAD = 32
"""Pieces of one file handed to the executor before the first of them is done."""


class PieceHasher:
    """The running checksums of one piece."""

    __slots__ = ("_crc32c", "_crc64nvme", "_sha256", "_sum32", "_sum64", "length")

    def __init__(self) -> None:
        self._crc32c, self._crc64nvme = crc.both()
        self._sha256 = hashlib.sha256()
        self._sum32 = 0
        self._sum64 = 0
        self.length = 0
        """Bytes taken in so far."""

    def update(self, chunk: memoryview | bytes) -> None:
        """Take in the next bytes."""
        self._sha256.update(chunk)
        self._sum32 = self._crc32c(chunk, self._sum32)
        self._sum64 = self._crc64nvme(chunk, self._sum64)
        self.length += len(chunk)

    def digest(self) -> PieceDigest:
        """Of what was taken in so far."""
        return PieceDigest(self._sha256.digest(), self._sum32, self._sum64)


def verified(
    chunks: Iterable[memoryview], digest: PieceDigest, length: int, *, crcs: bool = False
) -> Iterator[memoryview]:
    """`chunks`, passed through and hashed on the way; PieceMismatchError at the end unless they were the
    piece.

    A reader must not count the bytes as the piece before the iterator has ended. It never passes on more than
    `length` bytes. The SHA-256 alone decides what the bytes are; with `crcs` the CRCs of the manifest are
    checked as well (a tenth more work), for a destination that will be asked to compare one of them.
    """
    hasher = PieceHasher() if crcs else hashlib.sha256()
    seen = 0
    for chunk in chunks:
        seen += len(chunk)
        if seen > length:
            raise PieceMismatchError(f"a piece of {length} bytes came longer than that")
        hasher.update(chunk)
        yield chunk
    if seen != length:
        raise PieceMismatchError(f"a piece of {length} bytes ended after {seen}")
    if hasher.digest() != (digest if crcs else digest.sha256):
        raise PieceMismatchError("the bytes of a piece do not have the checksums of the manifest")


@dataclass(frozen=True, slots=True)
class HashedFile:
    """A file's size in bytes, content id, packed piece records, and the extras that were asked for, in
    hex."""

    size: int
    content: str
    pieces: bytes
    extras: dict[str, str]


def hash_file(
    open_range: OpenRange,
    size: int,
    pool: Executor | None = None,
    extras: frozenset[str] = frozenset(),
    progress: Callable[[int], None] | None = None,
) -> HashedFile:
    """Hash `size` bytes. `progress(n)` is told of each n bytes done, in order, in the caller's thread.

    With a `pool` of threads the file's pieces are spread over it, at most AHEAD of them at once; the caller
    must not itself be a task of that pool. md5 and sha256 run over the whole file in order, so with one of
    them the file is hashed in the caller's thread, in one pass all the same.

    SourceChangedError when `open_range` gives another number of bytes than asked for, TooLargeError above
    MAX_FILE; what `open_range` or `progress` raises is passed on, after the pieces that were begun have ended.
    """
    if unknown := extras - EXTRAS:
        raise ManifestError(f"no such checksum: {', '.join(sorted(unknown))}")
    count = piece_count(size)
    blocks = "dropbox" in extras
    ordered = {name: _RUNNING[name]() for name in _ORDERED & extras}

    results: Generator[tuple[bytes, bytes], None, None]
    if pool is None or count < 2 or ordered:
        running = list(ordered.values())
        results = (_piece(open_range, *piece_span(size, index), blocks, running) for index in range(count))
    else:
        results = _spread(pool, open_range, size, count, blocks)

    packed = bytearray()
    dropbox = hashlib.sha256()
    with closing(results):  # not left to the collector: an error's traceback would keep the generator alive
        for index, (record, block_sums) in enumerate(results):
            packed += record
            dropbox.update(block_sums)
            if progress is not None:
                progress(piece_span(size, index)[1])

    values = {name: state.hexdigest() for name, state in ordered.items()}
    if blocks:
        values["dropbox"] = dropbox.hexdigest()
    return HashedFile(size, content_of(packed), bytes(packed), values)


_RUNNING = {"md5": lambda: hashlib.md5(usedforsecurity=False), "sha256": hashlib.sha256}


def _spread(
    pool: Executor, open_range: OpenRange, size: int, count: int, blocks: bool
) -> Generator[tuple[bytes, bytes], None, None]:
    """The pieces' results in order, computed by `pool`. Closing it drops what has not begun."""
    waiting: deque[Future[tuple[bytes, bytes]]] = deque()
    try:
        for index in range(count):
            if len(waiting) == AHEAD:
                yield waiting[0].result()
                waiting.popleft()
            waiting.append(pool.submit(_piece, open_range, *piece_span(size, index), blocks, ()))
        while waiting:
            yield waiting[0].result()
            waiting.popleft()
    finally:
        # After an error: drop what has not begun, wait for what has, since the caller may now close the file.
        for future in waiting:
            future.cancel()
        for future in waiting:
            if not future.cancelled():
                future.exception()


def _piece(
    open_range: OpenRange, offset: int, length: int, blocks: bool, running: Iterable[hashlib._Hash]
) -> tuple[bytes, bytes]:
    """One piece: its packed record, and with `blocks` the SHA-256s of its 4 MiB blocks, in order."""
    hasher = PieceHasher()
    block = _Blocks() if blocks and length > BLOCK else None
    for chunk in open_range(offset, length):
        hasher.update(chunk)
        for state in running:
            state.update(chunk)
        if block is not None:
            block.update(chunk)
    if hasher.length != length:
        raise SourceChangedError(f"{hasher.length} bytes were read where the file has {length}")
    record = hasher.digest().pack()
    if block is not None:
        return record, block.digests()
    return record, record[:SHA256] if blocks else b""  # one block is the whole piece: the same SHA-256


class _Blocks:
    """SHA-256 of each 4 MiB of a piece. Pieces begin at multiples of 4 MiB, so no block spans two."""

    __slots__ = ("_done", "_room", "_sha256")

    def __init__(self) -> None:
        self._done = bytearray()
        self._sha256 = hashlib.sha256()
        self._room = BLOCK

    def update(self, chunk: memoryview) -> None:
        while len(chunk) >= self._room:
            self._sha256.update(chunk[: self._room])
            self._done += self._sha256.digest()
            self._sha256 = hashlib.sha256()
            chunk, self._room = chunk[self._room :], BLOCK
        self._sha256.update(chunk)
        self._room -= len(chunk)

    def digests(self) -> bytes:
        """The blocks' SHA-256s, the unfinished last one too."""
        return bytes(self._done) + (self._sha256.digest() if self._room < BLOCK else b"")
