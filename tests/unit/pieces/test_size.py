"""Piece sizes: the vectors of the spec, and what must hold for every size in between."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyswarm.errors import ManifestError, TooLargeError
from skyswarm.pieces.size import (
    BLOCK,
    LARGEST,
    MAX_FILE,
    MAX_PIECES,
    SMALLEST,
    piece_count,
    piece_size,
    piece_span,
)

VECTORS = json.loads((Path(__file__).parents[2] / "vectors/pieces/sizes.json").read_text("ascii"))
GIB = 1 << 30
# Sizes are drawn evenly over their magnitudes, otherwise hardly one would be below a terabyte.
SIZES = st.integers(0, 45).flatmap(lambda bits: st.integers(0, min(1 << bits, MAX_FILE))) | st.integers(
    0, MAX_FILE
)


@pytest.mark.parametrize("row", VECTORS, ids=lambda row: str(row["size"]))
def test_vectors(row: dict[str, Any]) -> None:
    size = row["size"]
    assert piece_size(size) == row["piece"]
    assert piece_count(size) == row["count"]
    if size:
        assert piece_span(size, row["count"] - 1) == (size - row["last"], row["last"])


def test_the_figures_of_the_design() -> None:
    assert piece_size(5 << 40) == GIB
    assert piece_size(MAX_FILE) == LARGEST == 5 * GIB  # S3's largest part
    assert round(MAX_FILE / (1 << 40), 1) == 48.8
    assert piece_count(MAX_FILE) == MAX_PIECES
    assert piece_count(64 * GIB) == 1024
    assert piece_count(625 * GIB) == 10_000


@given(SIZES)
def test_every_piece_is_whole_blocks_and_no_file_has_too_many(size: int) -> None:
    piece = piece_size(size)
    assert piece % BLOCK == 0
    assert SMALLEST <= piece <= LARGEST
    assert piece_count(size) <= MAX_PIECES
    if size <= 64 * GIB:
        assert piece_count(size) <= 1024


@given(SIZES, SIZES)
def test_larger_files_never_have_smaller_pieces(one: int, other: int) -> None:
    small, large = sorted((one, other))
    assert piece_size(small) <= piece_size(large)


@given(SIZES, st.data())
def test_spans_tile_the_file(size: int, data: st.DataObject) -> None:
    count = piece_count(size)
    if not count:
        return
    assert piece_span(size, 0)[0] == 0
    offset, length = piece_span(size, count - 1)
    assert offset + length == size
    assert 0 < length <= piece_size(size)
    index = data.draw(st.integers(0, count - 1))
    offset, length = piece_span(size, index)
    assert length == piece_size(size) or index == count - 1
    if index + 1 < count:
        assert piece_span(size, index + 1)[0] == offset + length


def test_there_are_no_other_pieces_and_no_larger_files() -> None:
    with pytest.raises(ManifestError, match="which has 2"):
        piece_span(SMALLEST + 1, 2)
    with pytest.raises(ManifestError):
        piece_span(SMALLEST, -1)
    with pytest.raises(ManifestError):
        piece_span(0, 0)
    with pytest.raises(TooLargeError, match=r"48\.8 TiB"):
        piece_size(MAX_FILE + 1)
    with pytest.raises(ManifestError):
        piece_size(-1)
