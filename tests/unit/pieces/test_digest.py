"""Digests and their records: vectors, published values, and what follows for the whole file."""

from __future__ import annotations

import base64
import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pytest
from awscrt.checksums import crc32c, crc64nvme
from hypothesis import given
from hypothesis import strategies as st

from skyswarm.errors import ManifestError, TooLargeError
from skyswarm.messages.fields import from_b64url
from skyswarm.pieces.crc import combine_crc32c, combine_crc64nvme
from skyswarm.pieces.digest import (
    RECORD,
    PieceDigest,
    check_packed,
    content_id,
    content_of,
    pack_all,
    unpack_all,
    whole_crc32c,
    whole_crc64nvme,
)
from skyswarm.pieces.hasher import PieceHasher
from skyswarm.pieces.size import MAX_PIECES, piece_count, piece_span

FILES = json.loads((Path(__file__).parents[2] / "vectors/pieces/files.json").read_text("ascii"))
DIGESTS = st.builds(
    PieceDigest, st.binary(min_size=32, max_size=32), st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
)


def digest_of(piece: bytes) -> PieceDigest:
    hasher = PieceHasher()
    hasher.update(piece)
    return hasher.digest()


@pytest.mark.parametrize("row", FILES, ids=lambda row: row["name"])
def test_vectors(row: dict[str, Any]) -> None:
    data = bytes.fromhex(row["unit"]) * row["times"]
    digests = [digest_of(data)] if data else []
    assert pack_all(digests) == from_b64url(row["pieces"])
    assert content_id(digests) == row["content"]


def test_published_check_values() -> None:
    # The CRC catalogue's check values (CRC-32/ISCSI, CRC-64/NVME): the CRC of the digits 1 to 9.
    digest = digest_of(b"123456789")
    assert digest.crc32c == 0xE3069283
    assert digest.crc64nvme == 0xAE8B14860A799888


def test_dropbox_publishes_this_content_hash() -> None:
    # dropbox.com/developers/reference/content-hash: blocks of milky-way-nasa.jpg. The rule over blocks is the
    # one of our content id over pieces, so a file of up to 4 MiB has the same value for both.
    blocks = [
        "2a846fa617c3361fc117e1c5c1e1838c336b6a5cef982c1a2d9bdf68f2f1992a",
        "c68469027410ea393eba6551b9fa1e26db775f00eae70a0c3c129a0011a39cf9",
        "7376192de020925ce6c5ef5a8a0405e931b0a9a8c75517aacd9ca24a8a56818b",
    ]
    digests = [PieceDigest(bytes.fromhex(block), 0, 0) for block in blocks]
    assert content_id(digests) == "485291fa0ee50c016982abbfa943957bcd231aae0492ccbaa22c58e3997b35e0"


def test_content_id_is_the_value_in_s3s_composite_checksum() -> None:
    # S3: base64(SHA-256(the parts' SHA-256s in order)), a hyphen, the number of parts.
    parts = [b"a" * 100, b"b" * 100, b"c"]
    raw = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()
    composite = f"{base64.b64encode(raw).decode()}-{len(parts)}"
    ours = bytes.fromhex(content_id(digest_of(part) for part in parts))
    assert f"{base64.b64encode(ours).decode()}-{len(parts)}" == composite


def test_empty_file() -> None:
    assert content_id(()) == hashlib.sha256(b"").hexdigest()
    assert pack_all(()) == b""
    assert unpack_all(b"") == ()
    assert whole_crc32c((), 0) == whole_crc64nvme((), 0) == 0


@given(st.lists(DIGESTS, max_size=20))
def test_records_there_and_back(digests: list[PieceDigest]) -> None:
    packed = pack_all(digests)
    assert len(packed) == len(digests) * RECORD
    assert check_packed(packed) == len(digests)
    assert list(unpack_all(packed)) == digests
    assert [PieceDigest.unpack(digest.pack()) for digest in digests] == digests
    assert content_of(packed) == content_id(digests)


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_crcs_combine(first: bytes, second: bytes) -> None:
    assert combine_crc32c(crc32c(first), crc32c(second), len(second)) == crc32c(first + second)
    assert combine_crc64nvme(crc64nvme(first), crc64nvme(second), len(second)) == crc64nvme(first + second)


def test_whole_crcs_of_a_file_of_pieces() -> None:
    data = random.Random(1).randbytes((16 << 20) + 12_345)
    spans = [piece_span(len(data), index) for index in range(piece_count(len(data)))]
    digests = [digest_of(data[offset : offset + length]) for offset, length in spans]
    assert len(digests) == 3
    assert whole_crc32c(digests, len(data)) == crc32c(data)
    assert whole_crc64nvme(digests, len(data)) == crc64nvme(data)
    with pytest.raises(ManifestError, match="which has 3"):
        whole_crc32c(digests[:2], len(data))


def test_what_is_no_record_is_refused() -> None:
    good = digest_of(b"x").pack()
    with pytest.raises(ManifestError):
        PieceDigest.unpack(good + b"\0")
    with pytest.raises(ManifestError):
        unpack_all(good[:-1])
    with pytest.raises(TooLargeError):
        unpack_all(good * (MAX_PIECES + 1))
    for sha256, first, second in (
        (bytes(31), 0, 0),
        (bytes(32), 1 << 32, 0),
        (bytes(32), 0, 1 << 64),
        (bytes(32), -1, 0),
    ):
        with pytest.raises(ManifestError):
            PieceDigest(sha256, first, second)
