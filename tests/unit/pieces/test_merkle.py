"""Merkle proofs over pieces: every proof holds, nothing else does, and the tree is RFC 9162's."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyswarm.errors import ManifestError
from skyswarm.pieces.merkle import check_proof, merkle_proof, merkle_root


def pieces(count: int) -> list[bytes]:
    return [hashlib.sha256(bytes([index])).digest() for index in range(count)]


def rfc9162_root(leaves: list[bytes]) -> bytes:
    """The recursive definition of section 2.1.1, with the prefixes of the spec."""
    if len(leaves) == 1:
        return hashlib.sha256(b"skyswarm/v1/piece-leaf\0" + leaves[0]).digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    both = rfc9162_root(leaves[:split]) + rfc9162_root(leaves[split:])
    return hashlib.sha256(b"skyswarm/v1/piece-node\0" + both).digest()


@pytest.mark.parametrize("count", range(1, 20))
def test_shape_and_all_proofs(count: int) -> None:
    leaves = pieces(count)
    root = merkle_root(leaves)
    assert root == rfc9162_root(leaves)
    for index in range(count):
        proof = merkle_proof(leaves, index)
        assert len(proof) <= (count - 1).bit_length()
        check_proof(root, count, index, leaves[index], proof)


def test_ten_thousand_pieces_need_fourteen_hashes() -> None:
    leaves = pieces(256) * 40
    proof = merkle_proof(leaves[:10_000], 9_999)
    assert len(proof) <= 14
    check_proof(merkle_root(leaves[:10_000]), 10_000, 9_999, leaves[9_999], proof)


@given(st.integers(1, 40), st.data())
def test_a_changed_proof_is_refused(count: int, data: st.DataObject) -> None:
    leaves = pieces(count)
    index = data.draw(st.integers(0, count - 1))
    root, proof = merkle_root(leaves), list(merkle_proof(leaves, index))
    wrong: list[tuple[bytes, int, int, bytes, list[bytes]]] = [
        (bytes(32), count, index, leaves[index], proof),
        (root, count, index, bytes(32), proof),
        (root, count, index, leaves[index], [*proof, bytes(32)]),
        (root, count, count, leaves[index], proof),
        (root, count, -1, leaves[index], proof),
    ]
    if proof:
        at = data.draw(st.integers(0, len(proof) - 1))
        wrong.append((root, count, index, leaves[index], proof[:at] + proof[at + 1 :]))
        wrong.append((root, count, index, leaves[index], [*proof[:at], bytes(32), *proof[at + 1 :]]))
        other = (index + 1) % count
        wrong.append((root, count, other, leaves[index], proof))
    for case in wrong:
        with pytest.raises(ManifestError):
            check_proof(*case)


def test_none_and_nowhere() -> None:
    assert merkle_root([]) == hashlib.sha256().digest()
    with pytest.raises(ManifestError):
        merkle_proof([], 0)
