"""Listing a folder: lazily, in the order of the keys' UTF-8 bytes, continued from any key.

Law: reads names and attributes, opens no file's data, holds no descriptor between two pages. What it keeps in memory
is the names of the folders on the path to the place it is at: one folder with a million files costs about
100 MB while it is listed, a million files in many folders next to nothing. It is no snapshot: what changes
meanwhile may or may not be seen.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import quote_from_bytes, unquote_to_bytes

from skyswarm.drivers.storages.folder_tree import Tree, translating, version_of
from skyswarm.drivers.storages.keys import is_hidden, parts_of
from skyswarm.errors import AbsentError, ForbiddenError, UnsafePathError
from skyswarm.ports.storage import Listing, Object

_LONG = 150
"""Characters from which a key is checked: below, its URL has at most 12 * 150 beside its address."""


@dataclass(slots=True)
class _Level:
    """A folder that is being listed: its path ('' or ending in '/') and the names left, last one first."""

    path: str
    names: list[str]


class Walk:
    """One listing under way. `prefix` is a plain string prefix of keys, as in S3; `after` a token of `page`.
    `check` of a key and version raises UnsafePathError for what nobody could fetch: it is skipped."""

    def __init__(self, tree: Tree, prefix: str, after: str | None, check: Callable[[str, str], None]) -> None:
        self._tree = tree
        self._check = check
        self._prefix = prefix
        self._after = "" if after is None else os.fsdecode(unquote_to_bytes(after))
        start = prefix[: prefix.rfind("/") + 1]
        self._levels: list[_Level] = []
        with suppress(AbsentError):
            self._descend(start)

    def page(self, limit: int) -> Listing:
        """The next objects, at most `limit` (skipped ones count too)."""
        objects: list[Object] = []
        skipped: list[tuple[str, str]] = []
        last = ""
        for last, found in self._entries():
            if isinstance(found, Object):
                objects.append(found)
            else:
                skipped.append((_shown(last), found))
            if len(objects) + len(skipped) >= limit:
                more = any(level.names for level in self._levels)
                token = quote_from_bytes(os.fsencode(last)) if more else None
                return Listing(tuple(objects), token, tuple(skipped))
        return Listing(tuple(objects), None, tuple(skipped))

    def _entries(self) -> Iterator[tuple[str, Object | str]]:
        """Keys in order, each with its object or the reason why it is skipped."""
        while self._levels:
            level = self._levels[-1]
            if not level.names:
                self._levels.pop()
                continue
            try:
                folder = self._open(level.path)
            except AbsentError:
                self._levels.pop()  # removed meanwhile
                continue
            try:
                yield from self._level(level, folder)
            finally:
                os.close(folder)

    def _level(self, level: _Level, folder: int) -> Iterator[tuple[str, Object | str]]:
        """The rest of one folder, until it ends or a folder below has to be listed first."""
        while level.names and self._levels[-1] is level:
            name = level.names.pop()
            key = level.path + name
            found = self._below(key) if name.endswith("/") else self._entry(key, name, folder)
            if found is not None:
                yield key, found

    def _below(self, path: str) -> str | None:
        """Begin to list a folder; the reason when it cannot be. One that is gone meanwhile: nothing."""
        try:
            self._descend(path)
        except AbsentError:
            return None
        except (ForbiddenError, UnsafePathError) as error:
            return error.message
        return None

    def _entry(self, key: str, name: str, folder: int) -> Object | str | None:
        """What is at one name: an object, the reason why not, or nothing when it is gone meanwhile."""
        link = False
        try:
            parts = parts_of(key)
            with translating(key):
                found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if not stat.S_ISREG(found.st_mode):
                link = stat.S_ISLNK(found.st_mode)
                fd = self._tree.open_file(parts)  # a link to a file in here, or the reason why not
                found = os.fstat(fd)
                os.close(fd)
            version = version_of(found)
            if len(key) > _LONG:
                self._check(key, version)
        except AbsentError:
            return "a link to a folder" if link else None
        except (ForbiddenError, UnsafePathError) as error:
            return error.message
        return Object(key, found.st_size, version, found.st_mtime)

    def _descend(self, path: str) -> None:
        if path:
            parts_of(path[:-1])
        folder = self._open(path)
        try:
            with translating(path):
                names = self._names(path, folder)
        finally:
            os.close(folder)
        if names:
            self._levels.append(_Level(path, names))

    def _open(self, path: str) -> int:
        with translating(path):
            return self._tree.open_folder(path.split("/")[:-1])

    def _names(self, path: str, folder: int) -> list[str]:
        """Names in `path` that are under the prefix and not done yet, sorted, last one first; folders end in '/'."""
        names = []
        with os.scandir(folder) as entries:
            for entry in entries:
                if is_hidden(entry.name):
                    continue
                below = entry.is_dir(follow_symlinks=False)
                name = f"{entry.name}/" if below else entry.name
                key = path + name
                wanted = key.startswith(self._prefix) or (below and self._prefix.startswith(key))
                inside = below and self._after.startswith(key) and self._after != key
                done = key <= self._after and not inside
                if wanted and not done:
                    names.append(name)
        names.sort(reverse=True)
        return names


def _shown(key: str) -> str:
    """A key that may not be UTF-8, so that it can be shown and stored."""
    return os.fsencode(key).decode("utf-8", "backslashreplace")
