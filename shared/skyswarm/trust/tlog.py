"""Merkle trees of transparency logs (RFC 6962 with SHA-256): roots, proofs, the frontier and tile paths.

Law: only hashes and integers live here; who signs a root and where tiles are kept does not. A log is
known by its *frontier* (the roots of its full subtrees from left to right, at most 64), so that appending
costs the new leaves only. Proofs are made from a reader of full subtrees and checked without one.
Formats: c2sp.org/tlog-tiles; `spec/repositories.md`, "The log".
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from skyswarm.errors import NoteError

HASH = 32
TILE = 256
TILE_LEVELS = 64
MAX_SIZE = 2**53 - 1
EMPTY_ROOT = hashlib.sha256(b"").digest()

Reader = Callable[[int, int], bytes]
"""`reader(level, index)`: hash of the full subtree over leaves [index·2^level, (index+1)·2^level)."""


def leaf_hash(entry: bytes) -> bytes:
    """Hash of a log entry (RFC 6962 §2.1)."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of two subtrees (RFC 6962 §2.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Frontier:
    """The compact range [0, size): one root per 1-bit of `size`, the largest subtree first."""

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.size <= MAX_SIZE:
            raise NoteError(f"a log of {self.size} leaves, 0 to 2^53-1 are allowed")
        if len(self.hashes) != self.size.bit_count() or any(len(one) != HASH for one in self.hashes):
            raise NoteError(f"a frontier of {self.size} leaves has other hashes than these")

    def append(self, leaves: Iterable[bytes]) -> Frontier:
        """The frontier after these leaf *hashes*. Costs one node hash per leaf on average."""
        stack, size = list(self.hashes), self.size
        for leaf in leaves:
            top, rest = leaf, size
            while rest & 1:
                top = hashlib.sha256(b"\x01" + stack.pop() + top).digest()
                rest >>= 1
            stack.append(top)
            size += 1
        return Frontier(size, tuple(stack))

    def root(self) -> bytes:
        """The Merkle tree hash of the whole log."""
        if not self.hashes:
            return EMPTY_ROOT
        top = self.hashes[-1]
        for left in self.hashes[-2::-1]:
            top = node_hash(left, top)
        return top

    def dump(self) -> bytes:
        """The hashes joined; with `size` that is all of it."""
        return b"".join(self.hashes)

    @classmethod
    def load(cls, size: int, data: bytes) -> Frontier:
        """From `size` and what `dump` gave. NoteError."""
        return cls(size, tuple(data[at : at + HASH] for at in range(0, len(data), HASH)))


def tree_root(leaves: Iterable[bytes]) -> bytes:
    """Merkle tree hash of leaf hashes."""
    return Frontier().append(leaves).root()


# ---- proofs ----------------------------------------------------------------------------------
def range_root(start: int, end: int, reader: Reader) -> bytes:
    """Hash of leaves [start, end), where `start` is a multiple of the next power of two ≥ end - start."""
    top: bytes | None = None
    low = end
    while low > start:
        level = min((low & -low).bit_length() - 1, (low - start).bit_length() - 1)
        low -= 1 << level
        block = reader(level, low >> level)
        top = block if top is None else node_hash(block, top)
    if top is None:
        raise NoteError("no subtree without leaves")
    return top


def prove_inclusion(index: int, size: int, reader: Reader) -> list[bytes]:
    """Audit path of leaf `index` in the first `size` leaves (RFC 6962 §2.1.1). NoteError: no such leaf."""
    if not 0 <= index < size <= MAX_SIZE:
        raise NoteError(f"no leaf {index} in a log of {size}")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(range_root(middle, end, reader))
            end = middle
        else:
            path.append(range_root(start, middle, reader))
            start = middle
    return path[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Raise NoteError unless `proof` shows the leaf *hash* at `index` of the log with that size and root."""
    if not 0 <= index < size <= MAX_SIZE or len(leaf) != HASH:
        raise NoteError(f"no leaf {index} in a log of {size}")
    node, last, here = index, size - 1, leaf
    for sibling in _hashes(proof):
        if last == 0:
            raise NoteError("inclusion proof with a hash too many")
        if node & 1 or node == last:
            here = node_hash(sibling, here)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            here = node_hash(here, sibling)
        node, last = node >> 1, last >> 1
    if last != 0:
        raise NoteError("inclusion proof with a hash too few")
    if here != root:
        raise NoteError(f"the inclusion proof of leaf {index} leads to another root")


def prove_consistency(old: int, new: int, reader: Reader) -> list[bytes]:
    """Proof that the log of `new` leaves begins with the one of `old` (RFC 6962 §2.1.2); may be empty."""
    if not 0 <= old <= new <= MAX_SIZE:
        raise NoteError(f"no proof from {old} to {new} leaves")
    if old in (0, new):
        return []
    path: list[bytes] = []
    start, end, whole = 0, new, True
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(range_root(middle, end, reader))
            end = middle
        else:
            path.append(range_root(start, middle, reader))
            start, whole = middle, False
    if not whole:
        path.append(range_root(start, end, reader))
    return path[::-1]


def verify_consistency(old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> None:
    """Raise NoteError unless `proof` shows that the log (new, new_root) begins with (old, old_root).

    Every log begins with the empty one, so there is nothing to prove from `old` = 0 to more: that is refused.
    """
    if not 0 <= old <= new <= MAX_SIZE or (old == 0 and new != 0):
        raise NoteError(f"no proof from {old} to {new} leaves")
    if old == new:
        if proof:
            raise NoteError("consistency proof where none is needed")
        if old_root != new_root or (new == 0 and new_root != EMPTY_ROOT):
            raise NoteError("two roots of one size")
        return
    hashes = _hashes(proof)
    node, last = old - 1, new - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    if node:
        if not hashes:
            raise NoteError("consistency proof with a hash too few")
        seed, hashes = hashes[0], hashes[1:]
    else:
        seed = old_root  # `old` is a power of two: its root is itself a node of the new tree
    was = now = seed
    for sibling in hashes:
        if last == 0:
            raise NoteError("consistency proof with a hash too many")
        if node & 1 or node == last:
            was, now = node_hash(sibling, was), node_hash(sibling, now)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            now = node_hash(now, sibling)
        node, last = node >> 1, last >> 1
    if last != 0:
        raise NoteError("consistency proof with a hash too few")
    if was != old_root or now != new_root:
        raise NoteError(f"the consistency proof from {old} to {new} leads to other roots")


def _split(count: int) -> int:
    """The largest power of two below `count`."""
    return 1 << ((count - 1).bit_length() - 1)


def _hashes(proof: Sequence[bytes]) -> list[bytes]:
    if len(proof) > 2 * TILE_LEVELS or any(len(one) != HASH for one in proof):
        raise NoteError("a proof is a short list of 32-byte hashes")
    return list(proof)


# ---- tiles -----------------------------------------------------------------------------------
_PATH = re.compile(r"(0|[1-9][0-9]?|entries)/((?:x[0-9]{3}/)*)([0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")


@dataclass(frozen=True, slots=True)
class Tile:
    """`width` hashes of `level` (each over 256^level leaves) from number index·256; level -1: log entries."""

    level: int
    index: int
    width: int = TILE

    @property
    def path(self) -> str:
        """What follows `tile/` in the URL: `<level>/<index>[.p/<width>]`."""
        digits = f"{self.index:03d}"
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        parts = [digits[at : at + 3] for at in range(0, len(digits), 3)]
        level = "entries" if self.level < 0 else str(self.level)
        name = "/".join([level, *(f"x{part}" for part in parts[:-1]), parts[-1]])
        return name if self.width == TILE else f"{name}.p/{self.width}"

    @classmethod
    def parse(cls, path: str) -> Tile:
        """From a path with no other spelling than the one `path` gives. NoteError."""
        match = _PATH.fullmatch(path) if len(path) <= 64 else None
        if match is None:
            raise NoteError(f"not a tile path: {path[:64]!r}")
        level, upper, last, width = match.groups()
        tile = cls(
            -1 if level == "entries" else int(level),
            int(upper.replace("x", "").replace("/", "") + last),
            TILE if width is None else int(width),
        )
        if tile.path != path or tile.level >= TILE_LEVELS or tile.width > TILE or tile.index > MAX_SIZE:
            raise NoteError(f"not a tile path: {path[:64]!r}")
        return tile

    def within(self, size: int) -> bool:
        """Whether a log of `size` leaves has all hashes of this tile."""
        return self.index * TILE + self.width <= size >> 8 * max(self.level, 0)
