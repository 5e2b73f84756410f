"""Keys of the storages that are ours to name (folder, memory): parsed once, before anything is opened.

Law: no I/O. A key that parses has only plain components; what a folder makes of them is in folder_tree.py.
"""

from __future__ import annotations

from skyswarm.errors import UnsafePathError

HIDDEN = ".skyswarm"
"""The folder of uploads, locks and temporary files, hidden at every level and whatever its case."""

MAX_KEY = 4000
MAX_NAME = 255


def parts_of(key: str) -> tuple[str, ...]:
    """The components of a key. UnsafePathError: empty, '.', '..', NUL, too long, not UTF-8, or hidden."""
    parts = tuple(key.split("/"))
    try:
        sizes = [len(part.encode("utf-8")) for part in parts]
    except UnicodeEncodeError as error:
        raise UnsafePathError("a key that is not UTF-8") from error
    if sum(sizes) + len(sizes) - 1 > MAX_KEY or max(sizes) > MAX_NAME:
        raise UnsafePathError(f"a key over {MAX_KEY} bytes, or a name in it over {MAX_NAME}: {key[:80]}…")
    for part in parts:
        if part in {"", ".", ".."} or "\0" in part:
            raise UnsafePathError(f"the key {key!r} has an empty or a dot component, or a NUL")
        if is_hidden(part):
            raise UnsafePathError(f"the key {key!r} is inside {HIDDEN}, which is the storage's own")
    return parts


def is_hidden(name: str) -> bool:
    """Whether a component is the storage's own. Folded, because some file systems fold."""
    return name.casefold() == HIDDEN
