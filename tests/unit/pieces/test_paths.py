"""Safe paths and clashing paths: the vectors, properties, and the memory that a set of many takes."""

from __future__ import annotations

import json
import os.path
import time
import tracemalloc
import unicodedata
from array import array
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyswarm.errors import InputError, PathCollisionError, UnsafePathError
from skyswarm.pieces.paths import MAX_PART, MAX_PARTS, MAX_PATH, PathSet, SharePath, fold

VECTORS = json.loads((Path(__file__).parents[2] / "vectors/pieces/paths.json").read_text("ascii"))


def named(row: dict[str, Any]) -> str:
    return str(row["name"])


@pytest.mark.parametrize("text", VECTORS["good"], ids=lambda text: ascii(text)[:40])
def test_good(text: str) -> None:
    path = SharePath.parse(text)
    assert path.text == str(path) == text
    assert "/".join(path.parts) == text


@pytest.mark.parametrize("row", VECTORS["bad"], ids=named)
def test_refused(row: dict[str, Any]) -> None:
    with pytest.raises(UnsafePathError) as caught:
        SharePath.parse(row["path"])
    assert type(caught.value).__name__ == row["error"]
    assert str(caught.value).isascii()  # an error is printed: it must not carry what it refuses


@pytest.mark.parametrize("text", VECTORS["unportable"])
def test_stored_but_not_by_windows(text: str) -> None:
    path = SharePath.parse(text)
    assert not path.portable
    assert path.obstacle


@pytest.mark.parametrize(
    "text", ["a.b", "console", "COM", "com10", "a b", "nullify.txt", ".config", "aux2/lpt"]
)
def test_portable(text: str) -> None:
    assert SharePath.parse(text).portable


@pytest.mark.parametrize("row", VECTORS["clashes"], ids=named)
def test_clashes(row: dict[str, Any]) -> None:
    paths = [SharePath.parse(text) for text in row["paths"]]
    for folding in (True, False):
        seen = PathSet(folding)
        for path in paths[:-1]:
            seen.add(path)
        if row["exact"] or (folding and row["exact"] is False):
            with pytest.raises(PathCollisionError):
                seen.add(paths[-1])
        else:
            seen.add(paths[-1])
            assert len(seen) == len(paths)


@given(
    st.text(max_size=40)
    | st.lists(st.sampled_from(["..", ".", "", "a", "C:", "\\", "\x00", ".skyswarm"])).map("/".join)
)
def test_what_is_accepted_stays_inside(text: str) -> None:
    try:
        path = SharePath.parse(text)
    except UnsafePathError:
        return
    inside = os.path.normpath(os.path.join("/top", text))
    assert inside == "/top/" + text
    assert len(text.encode()) <= MAX_PATH
    assert len(path.parts) <= MAX_PARTS
    assert all(0 < len(part.encode()) <= MAX_PART for part in path.parts)


@given(st.text(max_size=20))
def test_folding_does_not_depend_on_case_or_normal_form(text: str) -> None:
    assert fold(unicodedata.normalize("NFD", text)) == fold(unicodedata.normalize("NFC", text)) == fold(text)
    # Case folding and Python's `upper` agree wherever upper-casing can be undone.
    if text.upper().casefold() == text.casefold():
        assert fold(text.upper()) == fold(text)


NAMES = st.lists(st.sampled_from("aAbB"), min_size=1, max_size=4).map("/".join)


@given(st.lists(NAMES, max_size=12), st.booleans())
def test_a_set_finds_exactly_the_clashes(texts: list[str], folding: bool) -> None:
    seen = PathSet(folding)
    files: set[str] = set()
    folders: set[str] = set()
    for text in texts:
        key = text.lower() if folding else text
        above = {key[:at] for at in range(len(key)) if key[at] == "/"}
        if key in files or key in folders or above & files:
            with pytest.raises(PathCollisionError):
                seen.add(SharePath.parse(text))
            return
        seen.add(SharePath.parse(text))
        files.add(key)
        folders |= above


def test_a_hundred_thousand_paths_in_seven_megabytes() -> None:
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        seen = PathSet()
        for number in range(100_000):
            seen.add(
                SharePath.parse(f"lib/python3.11/site-packages/package{number // 50}/module_{number}.py")
            )
        used = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert len(seen) == 100_000
    assert used < 7_000_000  # of which 5 MB are the empty buckets: a million paths take 16 MB


def test_names_that_were_searched_for_one_bucket_cost_no_quadratic_time() -> None:
    """65,536 hashes find one more name for a bucket, so a hostile share can put all of its paths into one."""
    seen = PathSet()
    for folder in "ab":
        seen.add(SharePath.parse(f"{folder}/x"))
    for number, bucket in enumerate(seen._buckets):
        if bucket is not None:
            spaced = range(number << 48, (number + 1) << 48, 1 << 30)
            seen._buckets[number] = array("Q", sorted({*spaced, *bucket}))
    began = time.process_time()
    for number in range(100):  # the folders are met anew with every path
        seen.add(SharePath.parse(f"{'ab'[number % 2]}/{number}"))
    assert time.process_time() - began < 0.2
    for clash in ("a/x", "a", "b"):
        with pytest.raises(PathCollisionError):
            seen.add(SharePath.parse(clash))


def test_paths_are_text() -> None:
    for wrong in (None, 7, b"a", ["a"], ""):
        with pytest.raises(InputError, match="text, and not empty"):
            SharePath.parse(wrong)  # type: ignore[arg-type]
