"""Manifests: vectors with one fault each, and the id of a share."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyswarm.errors import InputError, ManifestError, TooLargeError
from skyswarm.messages import canonical
from skyswarm.messages.manifest import MAX_MANIFEST, Manifest
from skyswarm.pieces.size import MAX_FILE, MAX_PIECES

VECTORS = json.loads((Path(__file__).parents[2] / "vectors/pieces/documents.json").read_text("ascii"))[
    "manifest"
]
GOOD = Manifest.parse(VECTORS["good"].encode())
HEX = st.binary(min_size=32, max_size=32).map(bytes.hex)


def test_good() -> None:
    assert GOOD.payload() == VECTORS["good"].encode()
    assert GOOD.id == VECTORS["id"] == hashlib.sha256(GOOD.payload()).hexdigest()
    assert (GOOD.name, GOOD.files, GOOD.pieces, GOOD.nonce) == ("holiday", 3, 18, bytes(range(16)))


@pytest.mark.parametrize("row", VECTORS["bad"], ids=lambda row: row["name"])
def test_one_fault(row: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        Manifest.parse(row["text"].encode())
    assert type(caught.value).__name__ == row["error"]


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    pages = draw(st.lists(HEX, min_size=1, max_size=8))
    depth = draw(st.integers(0, 2))
    files = draw(st.integers(len(pages), len(pages) * 1000 * 4096**depth))
    pieces = draw(st.integers(0, min(files * MAX_PIECES, 2**53 - 1)))
    created = draw(st.integers(0, 2**32))
    return Manifest(
        issuer=draw(HEX),
        name=draw(
            st.text("abc\u00e9 .-_\U0001f41d", min_size=1, max_size=40).filter(lambda name: name.strip("."))
        ),
        files=files,
        bytes=draw(st.integers(pieces, min(files * MAX_FILE, 2**53 - 1))) if pieces else 0,
        pieces=pieces,
        pages=tuple(pages),
        index_depth=depth,
        repos=tuple(draw(st.lists(HEX.map("https://r.example:8443/a/{}".format), max_size=8, unique=True))),
        created=created,
        expires=draw(st.just(0) | st.integers(created + 1, 2**33)),
        nonce=draw(st.binary(min_size=16, max_size=16)),
    )


@given(manifests())
def test_there_and_back(manifest: Manifest) -> None:
    assert Manifest.parse(manifest.payload()) == manifest


def test_the_nonce_parts_shares_of_one_tree() -> None:
    assert dataclasses.replace(GOOD, nonce=bytes(16)).id != GOOD.id


def test_what_breaks_the_spec_is_not_signed() -> None:
    for wrong in ({"files": 0}, {"nonce": b""}, {"expires": 1}, {"name": "a/b"}):
        with pytest.raises(InputError):
            dataclasses.replace(GOOD, **wrong).payload()  # type: ignore[arg-type]


def test_the_largest_manifest_fits_and_nothing_longer_is_read() -> None:
    largest = dataclasses.replace(
        GOOD,
        name="\u00e9" * 100,
        files=512 * 1000,
        pages=("f" * 64,) * 512,
        repos=tuple(f"https://{number}.{'a' * 60}.example/{'b' * 400}" for number in range(8)),
    )
    assert len(largest.payload()) < MAX_MANIFEST
    with pytest.raises(TooLargeError):
        Manifest.parse(b" " * (MAX_MANIFEST + 1))


def test_text_and_other_json_is_no_manifest() -> None:
    for value in (None, True, 7, "manifest", [], {}):
        with pytest.raises(ManifestError):
            Manifest.parse(canonical.dumps(value))
