"""Ranges of a local file: exactly the bytes asked for, through one buffer, from threads that share the
descriptor."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyswarm.drivers.local.reading import CHUNK, open_range
from skyswarm.errors import SourceChangedError, UnavailableError

DATA = bytes(range(256)) * 5000


@pytest.fixture(scope="module")
def fd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    path = tmp_path_factory.mktemp("reading") / "file"
    path.write_bytes(DATA)
    descriptor = os.open(path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


@given(st.integers(0, len(DATA)), st.integers(0, len(DATA)), st.integers(1, 1 << 20))
def test_exactly_the_range(fd: int, one: int, other: int, chunk: int) -> None:
    start, end = sorted((one, other))
    chunk = max(chunk, (end - start) // 50 + 1)
    got = [bytes(part) for part in open_range(fd, start, end - start, chunk)]
    assert b"".join(got) == DATA[start:end]
    assert all(0 < len(part) <= chunk for part in got)


def test_one_buffer_and_no_more_than_the_range(fd: int) -> None:
    chunks = open_range(fd, 0, 2 * CHUNK)
    first = next(chunks)
    kept = bytes(first)
    next(chunks)
    assert kept == DATA[:CHUNK]
    assert bytes(first) == DATA[CHUNK : 2 * CHUNK]  # the same memory: the first chunk's time was over
    (small,) = open_range(fd, 10, 5)
    assert isinstance(small.obj, bytearray)
    assert len(small.obj) == 5


def test_threads_share_a_descriptor(fd: int) -> None:
    def read(start: int) -> bytes:
        return b"".join(bytes(part) for part in open_range(fd, start, 100_000, 7_000))

    with ThreadPoolExecutor(4) as pool:
        starts = range(0, len(DATA) - 100_000, 37_000)
        assert list(pool.map(read, starts)) == [DATA[start : start + 100_000] for start in starts]


def test_a_file_that_is_too_short_has_changed(fd: int) -> None:
    got = bytearray()
    with pytest.raises(SourceChangedError):
        for part in open_range(fd, len(DATA) - 10, 11):
            got += part
    assert got == DATA[-10:]


def test_a_descriptor_that_cannot_be_read_is_an_error_of_ours(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)  # a folder
    try:
        with pytest.raises(UnavailableError):
            list(open_range(descriptor, 0, 1))
    finally:
        os.close(descriptor)
