"""A Merkle tree over a file's piece digests: shows that one piece belongs to a file in at most 14 hashes.

Law: the shape and the checks of RFC 9162 (section 2.1), with a prefix of our own before every hash, so that
no node of it is ever a node of a transparency log, a piece or a content id. Leaves are the pieces' SHA-256s.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from skyswarm.errors import ManifestError

_LEAF = b"skyswarm/v1/piece-leaf\x00"
_NODE = b"skyswarm/v1/piece-node\x00"


def merkle_root(pieces: Sequence[bytes]) -> bytes:
    """The 32-byte root over the pieces' SHA-256s, in order; that of no pieces is the hash of nothing."""
    if not pieces:
        return hashlib.sha256().digest()
    row = [_leaf(piece) for piece in pieces]
    while len(row) > 1:
        # Level by level is RFC 9162's tree too: an odd last node moves up unchanged.
        row = [_node(row[at], row[at + 1]) if at + 1 < len(row) else row[at] for at in range(0, len(row), 2)]
    return row[0]


def merkle_proof(pieces: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """The hashes beside the way from piece `index` to the root, from the bottom. ManifestError: no such
    piece."""
    if not 0 <= index < len(pieces):
        raise ManifestError(f"no piece {index} among {len(pieces)}")
    row = [_leaf(piece) for piece in pieces]
    proof = []
    while len(row) > 1:
        if index ^ 1 < len(row):
            proof.append(row[index ^ 1])
        row = [_node(row[at], row[at + 1]) if at + 1 < len(row) else row[at] for at in range(0, len(row), 2)]
        index //= 2
    return tuple(proof)


def check_proof(root: bytes, count: int, index: int, piece: bytes, proof: Sequence[bytes]) -> None:
    """ManifestError unless `proof` shows that `piece` is number `index` of the `count` pieces under
    `root`."""
    if not 0 <= index < count:
        raise ManifestError(f"no piece {index} among {count}")
    at, last, node = index, count - 1, _leaf(piece)
    left = list(proof)
    while last:
        if at ^ 1 <= last:  # it has a neighbour on this level; the odd last one has none
            if not left:
                raise ManifestError("a Merkle proof that is too short")
            beside = left.pop(0)
            node = _node(beside, node) if at & 1 else _node(node, beside)
        at, last = at // 2, last // 2
    if left or node != root:
        raise ManifestError("a Merkle proof that does not lead to the root")


def _leaf(piece: bytes) -> bytes:
    return hashlib.sha256(_LEAF + piece).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(_NODE + left + right).digest()
