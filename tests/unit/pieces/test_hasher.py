"""Hashing of pieces and files: equal to the plain way, in order, bounded, and honest about sources that are
not."""

from __future__ import annotations

import hashlib
import json
import random
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from awscrt.checksums import crc32c, crc64nvme
from hypothesis import given
from hypothesis import strategies as st

from skyswarm.errors import ManifestError, PieceMismatchError, SourceChangedError
from skyswarm.messages.fields import b64url
from skyswarm.pieces.digest import PieceDigest, pack_all, unpack_all, whole_crc32c
from skyswarm.pieces.hasher import AHEAD, EXTRAS, PieceHasher, hash_file, verified
from skyswarm.pieces.size import BLOCK, SMALLEST, piece_count, piece_span

FILES = json.loads((Path(__file__).parents[2] / "vectors/pieces/files.json").read_text("ascii"))
CHUNK = 300_000  # no divisor of a piece or of a block
DATA = random.Random(2).randbytes(2 * SMALLEST + BLOCK + 77)


class Source:
    """`open_range` over bytes, through one buffer per range that is spoilt as soon as the next chunk is asked
    for."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.open = 0
        self._lock = threading.Lock()

    def __call__(self, offset: int, length: int) -> Generator[memoryview, None, None]:
        with self._lock:
            self.open += 1
        try:
            buffer = bytearray(CHUNK)
            for at in range(offset, offset + length, CHUNK):
                chunk = self.data[at : min(at + CHUNK, offset + length)]
                buffer[: len(chunk)] = chunk
                yield memoryview(buffer)[: len(chunk)]
                buffer[:] = bytes(CHUNK)
        finally:
            with self._lock:
                self.open -= 1


def plain_digest(piece: bytes) -> PieceDigest:
    return PieceDigest(hashlib.sha256(piece).digest(), crc32c(piece), crc64nvme(piece))


def plain_pieces(data: bytes) -> bytes:
    spans = [piece_span(len(data), index) for index in range(piece_count(len(data)))]
    return pack_all(plain_digest(data[offset : offset + length]) for offset, length in spans)


def plain_extras(data: bytes) -> dict[str, str]:
    blocks = b"".join(hashlib.sha256(data[at : at + BLOCK]).digest() for at in range(0, len(data), BLOCK))
    return {
        "md5": hashlib.md5(data).hexdigest(),
        "sha256": hashlib.sha256(data).hexdigest(),
        "dropbox": hashlib.sha256(blocks).hexdigest(),
    }


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(3) as executor:
        yield executor


@pytest.mark.parametrize("row", FILES, ids=lambda row: row["name"])
def test_vectors(row: dict[str, Any]) -> None:
    data = bytes.fromhex(row["unit"]) * row["times"]
    hashed = hash_file(Source(data), len(data), extras=EXTRAS)
    assert (hashed.size, hashed.content, b64url(hashed.pieces)) == (
        row["size"],
        row["content"],
        row["pieces"],
    )
    assert hashed.extras == {name: row[name] for name in EXTRAS}


@pytest.mark.parametrize("extras", [(), ("dropbox",), ("md5",), ("sha256", "dropbox"), tuple(sorted(EXTRAS))])
@pytest.mark.parametrize("size", [BLOCK, BLOCK + 1, SMALLEST, SMALLEST + 1, 2 * SMALLEST, len(DATA)])
def test_a_file_equals_the_plain_way_with_and_without_threads(
    size: int, extras: tuple[str, ...], pool: ThreadPoolExecutor
) -> None:
    data = DATA[:size]
    for executor in (None, pool):
        told: list[int] = []
        hashed = hash_file(Source(data), size, executor, frozenset(extras), told.append)
        assert hashed.pieces == plain_pieces(data)
        assert hashed.extras == {name: plain_extras(data)[name] for name in extras}
        assert told == [piece_span(size, index)[1] for index in range(piece_count(size))]
    assert whole_crc32c(unpack_all(hashed.pieces), size) == crc32c(data)


@given(st.lists(st.binary(max_size=50), max_size=8))
def test_chunks_do_not_matter(chunks: list[bytes]) -> None:
    hasher = PieceHasher()
    for chunk in chunks:
        hasher.update(memoryview(chunk))
    assert hasher.digest() == plain_digest(b"".join(chunks))
    assert hasher.length == len(b"".join(chunks))


@given(st.integers(1, 2 * BLOCK), st.integers(BLOCK // 2, 3 * BLOCK))
def test_dropbox_blocks_do_not_depend_on_chunks(chunk: int, size: int) -> None:
    data = memoryview(DATA)[:size]
    chunk = max(chunk, size // 20)

    def open_range(offset: int, length: int) -> Iterator[memoryview]:
        return (data[at : min(at + chunk, offset + length)] for at in range(offset, offset + length, chunk))

    hashed = hash_file(open_range, size, extras=frozenset({"dropbox"}))
    assert hashed.extras["dropbox"] == plain_extras(bytes(data))["dropbox"]


class Counting(ThreadPoolExecutor):
    """Knows how many tasks were in its hands at once."""

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        self.now = self.most = 0
        self._counting = threading.Lock()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future = super().submit(fn, *args, **kwargs)
        with self._counting:
            self.now += 1
            self.most = max(self.most, self.now)
        future.add_done_callback(self._less)
        return future

    def _less(self, _: Future[Any]) -> None:
        with self._counting:
            self.now -= 1


def test_what_is_in_flight_is_bounded_and_the_order_kept() -> None:
    count = AHEAD + 20
    one = bytes(1 << 20)

    def open_range(offset: int, length: int) -> Iterator[memoryview]:
        yield memoryview(offset.to_bytes(8, "big"))
        left = length - 8
        while left:
            step = min(left, len(one))
            yield memoryview(one)[:step]
            left -= step

    with Counting(2) as executor:
        hashed = hash_file(open_range, count * SMALLEST, executor)
    assert 2 < executor.most <= AHEAD
    assert len({digest.sha256 for digest in unpack_all(hashed.pieces)}) == count
    last = (count - 1) * SMALLEST
    piece = last.to_bytes(8, "big") + bytes(SMALLEST - 8)
    assert unpack_all(hashed.pieces)[-1] == plain_digest(piece)


@pytest.mark.parametrize("threads", [False, True])
def test_a_source_that_breaks_stops_all_and_leaves_nothing_open(
    threads: bool, pool: ThreadPoolExecutor
) -> None:
    source = Source(DATA)

    def breaking(offset: int, length: int) -> Iterator[memoryview]:
        with closing(source(offset, length)) as chunks:
            for number, chunk in enumerate(chunks):
                if offset and number == 3:
                    raise SourceChangedError("gone")
                yield chunk

    with pytest.raises(SourceChangedError, match="gone") as caught:
        hash_file(breaking, len(DATA), pool if threads else None)
    assert (
        caught.tb is not None
    )  # what it holds is alive, and yet nothing reads any more: the file can be closed
    assert source.open == 0


def test_progress_may_stop_it(pool: ThreadPoolExecutor) -> None:
    class StopError(Exception):
        pass

    def stop(_: int) -> None:
        raise StopError

    source = Source(DATA)
    with pytest.raises(StopError):
        hash_file(source, len(DATA), pool, progress=stop)
    assert source.open == 0


@pytest.mark.parametrize("threads", [False, True])
@pytest.mark.parametrize("by", [-1, 1])
def test_a_source_of_another_length_is_one_that_changed(
    by: int, threads: bool, pool: ThreadPoolExecutor
) -> None:
    source = Source(DATA + b"more")

    def wrong(offset: int, length: int) -> Iterator[memoryview]:
        return source(offset, length + by if offset else length)

    with pytest.raises(SourceChangedError):
        hash_file(wrong, len(DATA), pool if threads else None)


def test_extras_are_known_ones() -> None:
    with pytest.raises(ManifestError, match="sha1"):
        hash_file(Source(b""), 0, extras=frozenset({"sha1"}))


PIECE = DATA[:1_000_000]
DIGEST = plain_digest(PIECE)


@pytest.mark.parametrize("crcs", [False, True])
def test_verified_passes_the_piece_through(crcs: bool) -> None:
    out = b"".join(
        bytes(chunk) for chunk in verified(Source(PIECE)(0, len(PIECE)), DIGEST, len(PIECE), crcs=crcs)
    )
    assert out == PIECE
    assert list(verified(iter(()), plain_digest(b""), 0, crcs=crcs)) == []


def spoilt(at: int) -> bytes:
    return PIECE[:at] + bytes([PIECE[at] ^ 1]) + PIECE[at + 1 :]


@pytest.mark.parametrize("crcs", [False, True])
@pytest.mark.parametrize(
    "sent",
    [b"", PIECE[:-1], PIECE + b"x", spoilt(0), spoilt(len(PIECE) - 1)],
    ids=["none", "short", "long", "first", "last"],
)
def test_verified_refuses_everything_else_and_never_gives_more(sent: bytes, crcs: bool) -> None:
    got = bytearray()
    with pytest.raises(PieceMismatchError):
        for chunk in verified(Source(sent)(0, len(sent)), DIGEST, len(PIECE), crcs=crcs):
            got += chunk
    assert len(got) <= len(PIECE)


def test_a_wrong_crc_is_found_when_asked_for() -> None:
    lie = PieceDigest(DIGEST.sha256, DIGEST.crc32c ^ 1, DIGEST.crc64nvme)
    assert b"".join(verified([memoryview(PIECE)], lie, len(PIECE))) == PIECE
    with pytest.raises(PieceMismatchError):
        list(verified([memoryview(PIECE)], lie, len(PIECE), crcs=True))
