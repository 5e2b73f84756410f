"""How a file is cut into pieces: by its size and nothing else, so that equal files have equal ids everywhere.

Law: arithmetic only; every number of `spec/pieces.md` about sizes is here and nowhere else. Sizes and offsets
are bytes. A piece is the unit of transfer and of verification, and one part of an S3 multipart upload, so no
piece is larger than S3's largest part (5 GiB) and no file has more pieces than S3 has parts (10,000).
"""

from __future__ import annotations

from skyswarm.errors import ManifestError, TooLargeError

MIB = 1 << 20
GIB = 1 << 30

BLOCK = 4 * MIB
"""Every piece size is a multiple of this: the block of Dropbox's content_hash and of its upload offsets."""

SMALLEST = 8 * MIB
LARGEST = 5 * GIB
MAX_PIECES = 10_000
MAX_FILE = MAX_PIECES * LARGEST
"""50,000 GiB, which is S3's largest object too."""

# (largest file, its piece size), in order. Up to 64 GiB a piece doubles when there would be more than 1,024
# of them, above it when there would be more than 10,000; the last step ends at S3's largest part.
_STEPS = (
    *((1024 * piece, piece) for piece in (SMALLEST, 16 * MIB, 32 * MIB, 64 * MIB)),
    *((MAX_PIECES * piece, piece) for piece in (64 * MIB, 128 * MIB, 256 * MIB, 512 * MIB)),
    *((MAX_PIECES * piece, piece) for piece in (1 * GIB, 2 * GIB, 4 * GIB, LARGEST)),
)


def piece_size(size: int) -> int:
    """The size of every piece but the last of a file of `size` bytes. TooLargeError above MAX_FILE."""
    if size < 0:
        raise ManifestError(f"a file of {size} bytes")
    for largest, piece in _STEPS:
        if size <= largest:
            return piece
    raise TooLargeError(
        f"a file of {size} bytes; the largest that can be shared has {MAX_FILE} (48.8 TiB)",
        advice="Split it: no storage here holds a larger object.",
    )


def piece_count(size: int) -> int:
    """How many pieces a file of `size` bytes has: 0 when it is empty, at most MAX_PIECES."""
    return -(-size // piece_size(size))


def piece_span(size: int, index: int) -> tuple[int, int]:
    """Offset and length in bytes of piece `index` (from 0). ManifestError when there is no such piece."""
    piece = piece_size(size)
    offset = index * piece
    if not 0 <= offset < size:
        raise ManifestError(f"piece {index} of a file of {size} bytes, which has {piece_count(size)}")
    return offset, min(piece, size - offset)
