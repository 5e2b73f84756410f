"""The tree of pages: written and read at bounded memory, at every depth, and readers that cannot be
fooled."""

from __future__ import annotations

import dataclasses
import hashlib
import tracemalloc
from collections.abc import Iterator

import pytest

from skyswarm.errors import ManifestError, TooLargeError
from skyswarm.messages.page_tree import PageWriter, Totals, page_ids, read_pages
from skyswarm.messages.pages import MAX_INDEX_PAGES, MAX_PAGE, FileEntry, Page, dump_index, object_id
from skyswarm.pieces.digest import RECORD, content_of
from skyswarm.pieces.hasher import HashedFile
from skyswarm.pieces.paths import SharePath
from skyswarm.pieces.size import SMALLEST, piece_count


def entry(number: int, size: int = 7, name: str = "file") -> FileEntry:
    records = hashlib.shake_256(b"%d" % number).digest(piece_count(size) * RECORD)
    return FileEntry.of(
        SharePath.parse(f"{name}/{number}"), HashedFile(size, content_of(records), records, {}), number
    )[0]


class Store:
    """Keeps what a writer hands on, and tells how often it was read."""

    def __init__(self, **shape: int) -> None:
        self.objects: dict[str, bytes] = {}
        self.pages: list[tuple[str, int]] = []
        self.indexes: list[str] = []
        self.writer = PageWriter(self.page_done, self.index_done, **shape)

    def page_done(self, name: str, data: bytes, entries: int) -> None:
        self.objects[name] = data
        self.pages.append((name, entries))

    def index_done(self, name: str, data: bytes) -> None:
        self.objects[name] = data
        self.indexes.append(name)

    def load(self, name: str) -> bytes:
        return self.objects[name]


def test_a_small_share() -> None:
    store = Store()
    files = [entry(number, size) for number, size in enumerate((0, 1, SMALLEST + 1, 17 * SMALLEST))]
    for one in files:
        store.writer.add(one)
    totals = store.writer.close()
    assert totals == Totals(4, 18 * SMALLEST + 2, 20, (store.pages[0][0],), 0)
    assert [one for page in read_pages(totals, store.load) for one in page.files] == files


def test_pages_end_at_a_thousand_files_or_a_mebibyte() -> None:
    store = Store()
    for number in range(2500):
        store.writer.add(entry(number))
    assert [count for _, count in store.pages] == [1000, 1000]  # handed on as soon as they are full
    totals = store.writer.close()
    assert [count for _, count in store.pages] == [1000, 1000, 500]
    assert [name for name, _ in store.pages] == list(page_ids(totals, store.load)) == list(totals.pages)

    wide = Store()
    many = 900
    for number in range(many):
        wide.writer.add(entry(number, 16 * SMALLEST, "x" * 255 + "/" + "y" * 255))
    wide.writer.close()
    lengths = [len(data) for data in wide.objects.values()]
    assert len(lengths) == 2
    assert MAX_PAGE - 2000 < max(lengths) <= MAX_PAGE
    assert sum(count for _, count in wide.pages) == many


def deep(pages: int, **shape: int) -> tuple[Store, Totals]:
    """A tree of that many pages of one entry, through the writer's own way of naming pages."""
    store = Store(**shape)
    for number in range(pages):
        store.writer.add(entry(number))
        store.writer._flush()
    return store, store.writer.close()


@pytest.mark.parametrize(
    ("pages", "depth", "top"),
    [(1, 0, 1), (512, 0, 512), (513, 1, 1), (4096, 1, 1), (4097, 1, 2), (8200, 1, 3)],
)
def test_index_pages_begin_above_512(pages: int, depth: int, top: int) -> None:
    store, totals = deep(pages)
    assert (totals.index_depth, len(totals.pages), totals.files) == (depth, top, pages)
    assert list(page_ids(totals, store.load)) == [name for name, _ in store.pages]
    assert sum(len(page.files) for page in read_pages(totals, store.load)) == pages


def test_two_levels() -> None:
    # 2.1 million pages would be needed; with narrow index pages the same code builds the same shapes.
    for pages in range(1, 33):
        store, totals = deep(pages, roots=2, fan=4)
        assert totals.index_depth == (0 if pages <= 2 else 1 if pages <= 8 else 2)
        assert list(page_ids(totals, store.load)) == [name for name, _ in store.pages]
    with pytest.raises(TooLargeError):
        deep(33, roots=2, fan=4)


def test_memory_does_not_grow_with_the_share() -> None:
    def discard(*_: object) -> None:
        pass

    one = entry(1)
    peaks = []
    for count in (3_000, 30_000):
        writer = PageWriter(discard, discard)
        tracemalloc.start()
        try:
            for _ in range(count):
                writer.add(one)
            totals = writer.close()
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
        assert totals.files == count
    assert peaks[1] < peaks[0] + 30 * 200  # thirty more ids, nothing else


def honest() -> tuple[Store, Totals]:
    store = Store()
    for number in range(1500):
        store.writer.add(entry(number))
    return store, store.writer.close()


@pytest.mark.parametrize(
    "change",
    [{"files": 1499}, {"files": 1501}, {"bytes": 1}, {"bytes": 1 << 40}, {"pieces": 1}, {"pieces": 9999}],
)
def test_sums_that_lie(change: dict[str, int]) -> None:
    store, totals = honest()
    with pytest.raises(ManifestError, match=r"more|less"):
        list(read_pages(dataclasses.replace(totals, **change), store.load))  # type: ignore[arg-type]


def test_an_excess_is_found_before_the_page_is_used() -> None:
    store, totals = honest()
    seen: list[Page] = []

    def read() -> Iterator[Page]:
        for page in read_pages(dataclasses.replace(totals, files=1000), store.load):
            seen.append(page)
            yield page

    with pytest.raises(ManifestError):
        list(read())
    assert sum(len(page.files) for page in seen) == 1000


def test_objects_that_are_not_what_they_are_called() -> None:
    store, totals = honest()
    first, second = totals.pages
    store.objects[first] = store.objects[second]
    with pytest.raises(ManifestError, match="something else"):
        list(read_pages(totals, store.load))


def test_an_index_page_in_the_place_of_another() -> None:
    store, totals = honest()
    index = dump_index(totals.pages, 1)
    store.objects[object_id(index)] = index
    good = dataclasses.replace(totals, pages=(object_id(index),), index_depth=1)
    assert list(page_ids(good, store.load)) == list(totals.pages)
    for wrong in (dataclasses.replace(good, index_depth=2), dataclasses.replace(good, index_depth=0)):
        with pytest.raises(ManifestError):
            list(read_pages(wrong, store.load))


def test_an_index_that_repeats_one_page_ends_at_the_files_that_were_promised() -> None:
    store, totals = honest()
    bomb = dump_index([totals.pages[0]] * MAX_INDEX_PAGES, 1)
    store.objects[object_id(bomb)] = bomb
    loads = 0

    def load(name: str) -> bytes:
        nonlocal loads
        loads += 1
        return store.objects[name]

    with pytest.raises(ManifestError, match="more"):
        list(read_pages(dataclasses.replace(totals, pages=(object_id(bomb),) * 512, index_depth=1), load))
    assert loads <= 4
