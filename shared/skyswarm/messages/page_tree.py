"""The tree of pages beneath a manifest, written one file at a time and read one page at a time.

Law: whatever the share's size, what is held is one page of entries and at most two index pages of ids per
level. Storing and loading are the caller's functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from skyswarm.errors import ManifestError, TooLargeError
from skyswarm.messages import canonical
from skyswarm.messages.pages import (
    FRAME,
    MAX_INDEX_PAGES,
    MAX_PAGE,
    MAX_PAGE_FILES,
    FileEntry,
    Page,
    check_object,
    dump_index,
    join_page,
    object_id,
    parse_index,
)

MAX_ROOTS = 512
"""Ids that a manifest itself names."""
MAX_DEPTH = 2

Load = Callable[[str], bytes]
"""`load(id)` gives the bytes of a page or an index page (at most MAX_PAGE); they are checked against the id
here."""


class Root(Protocol):
    """What a manifest says of its tree. `bytes` is the sum of all files' sizes."""

    @property
    def files(self) -> int: ...
    @property
    def bytes(self) -> int: ...
    @property
    def pieces(self) -> int: ...
    @property
    def pages(self) -> tuple[str, ...]: ...
    @property
    def index_depth(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Totals:
    """The fields of a manifest that its pages decide: counts, bytes, and the ids at the top with their
    depth."""

    files: int
    bytes: int
    pieces: int
    pages: tuple[str, ...]
    index_depth: int


class PageWriter:
    """Takes entries one at a time and hands on each page as soon as it is full.

    `page_done(id, data, entries)` gets each page, in order; `index_done(id, data)` each index page. They are
    to store the bytes under the id before they return. `roots` and `fan` are the spec's; a smaller
    tree is as valid.
    """

    def __init__(
        self,
        page_done: Callable[[str, bytes, int], None],
        index_done: Callable[[str, bytes], None],
        *,
        roots: int = MAX_ROOTS,
        fan: int = MAX_INDEX_PAGES,
    ) -> None:
        self._page_done = page_done
        self._index_done = index_done
        self._roots, self._fan = roots, fan
        self._entries: list[bytes] = []
        self._room = MAX_PAGE - FRAME
        self._levels: list[list[str]] = [[]]  # ids not yet in an index page, by depth
        self._files = self._bytes = self._pieces = 0

    def add(self, entry: FileEntry) -> None:
        """The next file, in the order of the share. InputError subclasses when it cannot be in a manifest."""
        data = canonical.dumps(entry.to_json())
        if len(data) + 1 > self._room or len(self._entries) == MAX_PAGE_FILES:
            self._flush()
        self._entries.append(data)
        self._room -= len(data) + 1
        self._files += 1
        self._bytes += entry.size
        self._pieces += entry.count

    def close(self) -> Totals:
        """Hand on what is left, and the index pages if there must be any."""
        if self._entries:
            self._flush()
        depth = 0
        while depth + 1 < len(self._levels) or len(self._levels[depth]) > self._roots:
            if self._levels[depth]:
                self._index(depth)
            depth += 1
        if depth > MAX_DEPTH:
            raise TooLargeError("a share of more files than index pages of two levels can name")
        return Totals(self._files, self._bytes, self._pieces, tuple(self._levels[depth]), depth)

    def _flush(self) -> None:
        data = join_page(self._entries)
        name, count = object_id(data), len(self._entries)
        self._entries = []
        self._room = MAX_PAGE - FRAME
        self._page_done(name, data, count)
        self._name(0, name)

    def _name(self, depth: int, name: str) -> None:
        if len(self._levels) == depth:
            self._levels.append([])
        if len(self._levels[depth]) == self._fan:
            self._index(depth)
        self._levels[depth].append(name)

    def _index(self, depth: int) -> None:
        """Move the ids of a level into an index page, which the level above then names."""
        data = dump_index(self._levels[depth], depth + 1)
        self._levels[depth] = []
        self._index_done(object_id(data), data)
        self._name(depth + 1, object_id(data))


def page_ids(root: Root, load: Load) -> Iterator[str]:
    """The ids of all pages in order. ManifestError when an index page is not what its id or place says."""

    def below(names: Sequence[str], depth: int) -> Iterator[str]:
        if depth == 0:
            yield from names
            return
        for name in names:
            yield from below(parse_index(check_object(name, load(name)), depth), depth - 1)

    return below(root.pages, root.index_depth)


def read_pages(root: Root, load: Load) -> Iterator[Page]:
    """All pages in order, each checked against its id; ManifestError as soon as the totals cannot be
    right."""
    files = size = pieces = 0
    for name in page_ids(root, load):
        page = Page.parse(check_object(name, load(name)))
        files += len(page.files)
        size += sum(entry.size for entry in page.files)
        pieces += sum(entry.count for entry in page.files)
        if files > root.files or size > root.bytes or pieces > root.pieces:
            raise ManifestError("the pages hold more than the manifest says")
        yield page
    if (files, size, pieces) != (root.files, root.bytes, root.pieces):
        raise ManifestError("the pages hold less than the manifest says")
