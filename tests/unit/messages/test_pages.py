"""Entries, pages and index pages: vectors with one fault each, round trips, limits, and lists that lie."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyswarm.errors import InputError, ManifestError, TooLargeError
from skyswarm.messages.fields import from_b64url
from skyswarm.messages.pages import (
    MAX_INDEX_PAGES,
    MAX_PAGE,
    MAX_PAGE_FILES,
    FileEntry,
    Page,
    check_list,
    check_object,
    dump_index,
    is_media_type,
    object_id,
    parse_index,
)
from skyswarm.pieces.digest import RECORD, content_of
from skyswarm.pieces.hasher import HashedFile
from skyswarm.pieces.paths import SharePath
from skyswarm.pieces.size import MAX_FILE, SMALLEST, piece_count

VECTORS = json.loads((Path(__file__).parents[2] / "vectors/pieces/documents.json").read_text("ascii"))
PAGE = Page.parse(VECTORS["page"]["good"].encode())
LIST = from_b64url(VECTORS["list"])
HEX = st.binary(min_size=32, max_size=32).map(bytes.hex)


def hashed(size: int, seed: int = 0) -> HashedFile:
    """What hashing gave for a file of that size, without having one."""
    records = hashlib.shake_256(f"{seed} {size}".encode()).digest(piece_count(size) * RECORD)
    return HashedFile(size, content_of(records), records, {})


@st.composite
def entries(draw: st.DrawFn) -> FileEntry:
    size = draw(st.integers(0, 3) | st.integers(0, 40 * SMALLEST) | st.integers(0, MAX_FILE))
    parts = st.text("ab\u00e9\u65e5\U0001f41d \"'", min_size=1, max_size=10)
    path = draw(st.lists(parts, min_size=1, max_size=4).map("/".join))
    media_type = draw(st.none() | st.sampled_from(["text/plain", "a/b+c; d=e", "not one"]))
    entry, aside = FileEntry.of(
        SharePath.parse(path), hashed(size), draw(st.integers(-(2**35), 2**37)), media_type
    )
    assert (aside is None) == (entry.count <= FileEntry.MAX_INLINE) == (entry.list_id is None)
    if aside is not None:
        assert check_list(entry, aside) == aside
    return entry


@pytest.mark.parametrize("row", VECTORS["page"]["bad"], ids=lambda row: row["name"])
def test_page_with_one_fault(row: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        Page.parse(row["text"].encode())
    assert type(caught.value).__name__ == row["error"]


@pytest.mark.parametrize("row", VECTORS["index"]["bad"], ids=lambda row: row["name"])
def test_index_with_one_fault(row: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        parse_index(row["text"].encode())
    assert type(caught.value).__name__ == row["error"]


def test_good_page() -> None:
    assert PAGE.dump() == VECTORS["page"]["good"].encode()
    assert PAGE.id == VECTORS["page"]["id"]
    note, film, empty = PAGE.files
    assert (note.path.text, note.size, note.count, note.media_type) == (
        "notes/check.txt",
        9,
        1,
        "text/plain; charset=utf-8",
    )
    assert (film.list_id, film.count, film.modified) == (object_id(LIST), 17, -1)
    assert (empty.pieces, empty.count, empty.extras) == (b"", 0, {})


def test_good_index() -> None:
    data = VECTORS["index"]["good"].encode()
    assert dump_index(parse_index(data, 1), 1) == data
    with pytest.raises(ManifestError, match="depth"):
        parse_index(data, 2)


@given(st.lists(entries(), min_size=1, max_size=5))
def test_there_and_back(files: list[FileEntry]) -> None:
    page = Page(tuple(files))
    data = page.dump()
    assert Page.parse(data) == page
    assert page.id == hashlib.sha256(data).hexdigest()


def test_a_media_type_that_is_none_is_left_out_and_not_accepted() -> None:
    entry, _ = FileEntry.of(SharePath.parse("a"), hashed(1), 0, "no type\n")
    assert entry.media_type is None
    for text in ("", "text", "text/", "/plain", "text/plain\r\n", "a/b c", "\u00e9/b", "a/" + "b" * 254):
        assert not is_media_type(text)
    assert is_media_type("application/vnd.skyswarm.manifest+json; charset=utf-8")


def test_check_list() -> None:
    film = PAGE.files[1]
    assert check_list(film, LIST) == LIST
    swapped = LIST[RECORD : 2 * RECORD] + LIST[:RECORD] + LIST[2 * RECORD :]
    other_crc = LIST[:40] + bytes([LIST[40] ^ 1]) + LIST[41:]
    for lie in (b"", LIST[:-1], LIST[:-RECORD], LIST + LIST[:RECORD], swapped, other_crc):
        with pytest.raises(ManifestError):
            check_list(film, lie)
    lying, _ = FileEntry.of(SharePath.parse("film.mkv"), HashedFile(film.size, "0" * 64, LIST, {}), 0)
    with pytest.raises(ManifestError, match="content"):
        check_list(lying, LIST)


def test_check_object() -> None:
    assert check_object(object_id(b"page"), b"page") == b"page"
    with pytest.raises(ManifestError):
        check_object(object_id(b"page"), b"other")


def test_limits_of_a_page() -> None:
    entry, _ = FileEntry.of(SharePath.parse("a"), hashed(1), 0)
    assert len(Page.parse(Page((entry,) * MAX_PAGE_FILES).dump()).files) == MAX_PAGE_FILES
    for count in (0, MAX_PAGE_FILES + 1):
        with pytest.raises(TooLargeError):
            Page((entry,) * count).dump()
    too_many = (
        Page((entry,) * MAX_PAGE_FILES)
        .dump()
        .replace(b'"files":[', b'"files":[' + Page((entry,)).dump()[10:-22] + b",")
    )
    with pytest.raises(ManifestError, match="1 to 1000"):
        Page.parse(too_many)
    large, _ = FileEntry.of(SharePath.parse("a" * 200), hashed(16 * SMALLEST), 0)
    with pytest.raises(TooLargeError, match="bytes"):
        Page((large,) * MAX_PAGE_FILES).dump()
    with pytest.raises(TooLargeError):
        Page.parse(b" " * (MAX_PAGE + 1))


def test_limits_of_an_index() -> None:
    ids = [object_id(number.to_bytes(2, "big")) for number in range(MAX_INDEX_PAGES)]
    assert parse_index(dump_index(ids, 2), 2) == tuple(ids)
    with pytest.raises(ManifestError):
        parse_index(dump_index([*ids, ids[0]], 1))
