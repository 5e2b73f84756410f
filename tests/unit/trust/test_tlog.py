"""trust/tlog.py against the definitions of RFC 6962, known tree heads and proofs with one fault each."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyswarm.errors import NoteError
from skyswarm.trust import tlog

VECTORS = Path(__file__).parents[2] / "vectors" / "tlog"
KNOWN = json.loads((VECTORS / "rfc6962.json").read_text())
PROOFS = json.loads((VECTORS / "proofs.json").read_text())


def hashes(count: int) -> list[bytes]:
    return [tlog.leaf_hash(b"%d" % number) for number in range(count)]


def naive(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962 §2.1 over leaf hashes."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + naive(leaves[:k]) + naive(leaves[k:])).digest()


def reader(leaves: list[bytes]) -> tlog.Reader:
    def read(level: int, index: int) -> bytes:
        block = leaves[index << level : (index + 1) << level]
        assert len(block) == 1 << level, "only full subtrees are read"
        return naive(block)

    return read


@pytest.mark.parametrize("size", range(9))
def test_known_tree_heads(size: int) -> None:
    leaves = [tlog.leaf_hash(bytes.fromhex(entry)) for entry in KNOWN["leaves"][:size]]
    assert tlog.tree_root(leaves).hex() == KNOWN["roots"][size]


@pytest.mark.parametrize("size", [0, 1, 2, 3, 5, 31, 32, 33, 255, 256, 257])
def test_frontier_is_the_root_of_the_definition_and_survives_its_dump(size: int) -> None:
    frontier = tlog.Frontier().append(hashes(size))
    assert frontier.root() == naive(hashes(size))
    assert tlog.Frontier.load(size, frontier.dump()) == frontier


@given(st.integers(0, 130), st.integers(0, 130))
def test_frontier_appended_in_two_steps_is_the_same(first: int, second: int) -> None:
    leaves = hashes(first + second)
    assert tlog.Frontier().append(leaves[:first]).append(leaves[first:]) == tlog.Frontier().append(leaves)


@given(st.integers(1, 150).flatmap(lambda size: st.tuples(st.integers(0, size - 1), st.just(size))))
def test_every_leaf_can_be_proved_and_no_other(place: tuple[int, int]) -> None:
    index, size = place
    leaves = hashes(size)
    root = naive(leaves)
    proof = tlog.prove_inclusion(index, size, reader(leaves))
    tlog.verify_inclusion(leaves[index], index, size, proof, root)
    with pytest.raises(NoteError):
        tlog.verify_inclusion(tlog.leaf_hash(b"no"), index, size, proof, root)
    for other in {0, size - 1, index ^ 1} - {index}:
        with pytest.raises(NoteError):
            tlog.verify_inclusion(leaves[index], other, size, proof, root)


@given(st.integers(1, 150).flatmap(lambda size: st.tuples(st.integers(1, size), st.just(size))))
def test_every_prefix_can_be_proved_and_no_other(place: tuple[int, int]) -> None:
    old, new = place
    leaves = hashes(new)
    proof = tlog.prove_consistency(old, new, reader(leaves))
    tlog.verify_consistency(old, new, proof, naive(leaves[:old]), naive(leaves))
    forked = [*leaves[:-1], tlog.leaf_hash(b"another end")]
    with pytest.raises(NoteError):
        tlog.verify_consistency(old, new, proof, naive(leaves[:old]), naive(forked))
    if old > 1:
        with pytest.raises(NoteError):
            tlog.verify_consistency(old, new, proof, naive(forked[: old - 1]), naive(leaves))


def outcome(check: Any) -> bool:
    try:
        check()
    except NoteError:
        return False
    return True


@pytest.mark.parametrize(
    "case", PROOFS["inclusion"], ids=lambda c: f"{c['index']} in {c['size']}, {c['fault']}"
)
def test_inclusion_vectors(case: dict[str, Any]) -> None:
    proof = [bytes.fromhex(one) for one in case["proof"]]
    leaf, root = bytes.fromhex(case["leaf"]), bytes.fromhex(case["root"])
    accepted = outcome(lambda: tlog.verify_inclusion(leaf, case["index"], case["size"], proof, root))
    assert accepted is (case["fault"] is None)


@pytest.mark.parametrize(
    "case", PROOFS["consistency"], ids=lambda c: f"{c['old']} to {c['new']}, {c['fault']}"
)
def test_consistency_vectors(case: dict[str, Any]) -> None:
    proof = [bytes.fromhex(one) for one in case["proof"]]
    roots = bytes.fromhex(case["old_root"]), bytes.fromhex(case["new_root"])
    accepted = outcome(lambda: tlog.verify_consistency(case["old"], case["new"], proof, *roots))
    assert accepted is (case["fault"] is None)


def test_the_empty_log() -> None:
    tlog.verify_consistency(0, 0, [], tlog.EMPTY_ROOT, tlog.EMPTY_ROOT)
    with pytest.raises(NoteError):
        tlog.verify_consistency(0, 0, [], bytes(32), bytes(32))
    with pytest.raises(NoteError):
        tlog.prove_inclusion(0, 0, reader([]))


@pytest.mark.parametrize(
    ("size", "data"), [(1, b""), (0, bytes(32)), (3, bytes(63)), (2, bytes(64)), (-1, b"")]
)
def test_a_frontier_that_cannot_be_is_refused(size: int, data: bytes) -> None:
    with pytest.raises(NoteError):
        tlog.Frontier.load(size, data)


@pytest.mark.parametrize(
    ("path", "tile"),
    [
        ("0/000", tlog.Tile(0, 0)),
        ("0/000.p/1", tlog.Tile(0, 0, 1)),
        ("1/x001/x234/067", tlog.Tile(1, 1234067)),
        ("63/x001/000.p/255", tlog.Tile(63, 1000, 255)),
        ("entries/x001/234", tlog.Tile(-1, 1234)),
        ("entries/999.p/17", tlog.Tile(-1, 999, 17)),
    ],
)
def test_tile_paths(path: str, tile: tlog.Tile) -> None:
    assert tlog.Tile.parse(path) == tile
    assert tile.path == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "0",
        "0/",
        "0/0",
        "0/00",
        "0/0000",
        "0/1000",
        "00/000",
        "01/000",
        "64/000",
        "-1/000",
        "0/x000/001",
        "0/x001/x002",
        "0/001/002",
        "0/x01/002",
        "0/000.p/0",
        "0/000.p/256",
        "0/000.p/01",
        "0/000.p/",
        "0/000.p",
        "0/000.p/999",
        "data/000",
        "entries/",
        "0/000/",
        "/0/000",
        "0//000",
        "0/\u0660\u0660\u0660",
        "0/x999/x999/x999/x999/x999/999",
        "0/" + "x001/" * 30 + "000",
        "0/000\n",
    ],
)
def test_no_other_spelling_of_a_tile_path(path: str) -> None:
    with pytest.raises(NoteError):
        tlog.Tile.parse(path)


def test_tiles_of_seventy_thousand_leaves_as_the_format_counts_them() -> None:
    size = 70_000
    assert tlog.Tile(0, 272).within(size) and not tlog.Tile(0, 273).within(size)
    assert tlog.Tile(0, 273, 112).within(size) and not tlog.Tile(0, 273, 113).within(size)
    assert tlog.Tile(1, 1, 17).within(size) and not tlog.Tile(1, 1, 18).within(size)
    assert tlog.Tile(2, 0, 1).within(size) and not tlog.Tile(2, 0, 2).within(size)
    assert tlog.Tile(-1, 273, 112).within(size) and not tlog.Tile(3, 0, 1).within(size)
