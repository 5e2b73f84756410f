"""What is known of each piece, its 44-byte record, and what follows for the whole file (`spec/pieces.md`).

Law: values and arithmetic over digests; no file data passes here. The SHA-256s alone are the identity of the
content. The CRCs are what storages compute by themselves; they are signed with the manifest but prove nothing
against a forger.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from skyswarm.errors import ManifestError, TooLargeError
from skyswarm.pieces import crc
from skyswarm.pieces.size import MAX_PIECES, piece_count, piece_span

_LAYOUT = struct.Struct(">32sIQ")
RECORD = _LAYOUT.size
"""Bytes of one packed digest: sha256 (32) | crc32c (4, big-endian) | crc64nvme (8, big-endian)."""

SHA256 = 32


@dataclass(frozen=True, slots=True)
class PieceDigest:
    """The three checksums of one piece. ManifestError when a value does not fit its width."""

    sha256: bytes
    crc32c: int
    crc64nvme: int

    def __post_init__(self) -> None:
        if len(self.sha256) != SHA256 or not 0 <= self.crc32c < 1 << 32 or not 0 <= self.crc64nvme < 1 << 64:
            raise ManifestError("a piece digest is 32 bytes of SHA-256, a 32-bit and a 64-bit CRC")

    def pack(self) -> bytes:
        """The record of RECORD bytes."""
        return _LAYOUT.pack(self.sha256, self.crc32c, self.crc64nvme)

    @classmethod
    def unpack(cls, record: bytes) -> PieceDigest:
        """From one record; ManifestError unless it has exactly RECORD bytes."""
        if len(record) != RECORD:
            raise ManifestError(f"a piece record has {RECORD} bytes, not {len(record)}")
        return cls(*_LAYOUT.unpack(record))


def pack_all(digests: Iterable[PieceDigest]) -> bytes:
    """The records of a file's pieces, in order, one after the other."""
    return b"".join(digest.pack() for digest in digests)


def check_packed(packed: bytes) -> int:
    """How many records there are. ManifestError when one is cut off, TooLargeError above MAX_PIECES."""
    if len(packed) > MAX_PIECES * RECORD:
        raise TooLargeError(f"a piece list of {len(packed)} bytes, at most {MAX_PIECES * RECORD} are allowed")
    count, rest = divmod(len(packed), RECORD)
    if rest:
        raise ManifestError(f"a piece list of {len(packed)} bytes, which is no multiple of {RECORD}")
    return count


def unpack_all(packed: bytes) -> tuple[PieceDigest, ...]:
    """The opposite of `pack_all`. Errors as in `check_packed`."""
    check_packed(packed)
    return tuple(PieceDigest(*fields) for fields in _LAYOUT.iter_unpack(packed))


def content_id(digests: Iterable[PieceDigest]) -> str:
    """Hex SHA-256 of the pieces' SHA-256s in order: a file's identity, and S3's composite checksum of it."""
    return hashlib.sha256(b"".join(digest.sha256 for digest in digests)).hexdigest()


def content_of(packed: bytes | bytearray) -> str:
    """`content_id` of packed records (whole ones), without unpacking them."""
    sums = b"".join([packed[at : at + SHA256] for at in range(0, len(packed), RECORD)])
    return hashlib.sha256(sums).hexdigest()


def whole_crc32c(digests: Sequence[PieceDigest], size: int) -> int:
    """The CRC-32C of the whole file of `size` bytes. ManifestError when these are not its number of
    pieces."""
    whole = 0
    for digest, length in zip(digests, _lengths(digests, size), strict=True):
        whole = crc.combine_crc32c(whole, digest.crc32c, length)
    return whole


def whole_crc64nvme(digests: Sequence[PieceDigest], size: int) -> int:
    """The CRC-64/NVME of the whole file of `size` bytes. ManifestError as in `whole_crc32c`."""
    whole = 0
    for digest, length in zip(digests, _lengths(digests, size), strict=True):
        whole = crc.combine_crc64nvme(whole, digest.crc64nvme, length)
    return whole


def _lengths(digests: Sequence[PieceDigest], size: int) -> list[int]:
    count = piece_count(size)
    if len(digests) != count:
        raise ManifestError(f"{len(digests)} pieces for a file of {size} bytes, which has {count}")
    return [piece_span(size, index)[1] for index in range(count)]
