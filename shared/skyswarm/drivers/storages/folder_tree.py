"""Opening files below one root folder, and nowhere else: the only file that turns a key into a descriptor.

Law: every access walks component by component with O_NOFOLLOW from the root's descriptor, so a link swapped in
during a race leads to an error, never out. A link to a file is followed only by resolving it, checking that the
target is in the link's own folder or below it, and walking there the same way: who shares a folder shares nothing
beside it. No walk enters the home of an agent, nor makes a folder into what looks like one. Foreign errors are
translated here.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from skyswarm.drivers.storages.keys import HIDDEN, is_hidden
from skyswarm.errors import (
    AbsentError,
    ConflictError,
    ForbiddenError,
    SkyError,
    StorageFullError,
    UnavailableError,
    UnsafePathError,
)

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

HOME = frozenset({"agent.db", "config.json", "keys"})
"""What a folder has that is some agent's home: its keys are never read, listed or written by way of a storage."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_IN_THE_WAY = {errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ELOOP}


def translated(error: OSError, what: str, *, writing: bool = False) -> SkyError:
    """The SkyError for a system error of this folder."""
    number, text = error.errno, error.strerror or str(error)
    if number in _FULL:
        return StorageFullError(f"{what}: {text}", advice="Free some space, then resume.")
    if number == errno.EXDEV:
        return ForbiddenError(
            f"{what}: on another file system than the storage's folder",
            advice="Add that place as a storage of its own.",
        )
    if number in _FORBIDDEN:
        return ForbiddenError(f"{what}: {text}")
    if number == errno.ENAMETOOLONG:
        return UnsafePathError(f"{what}: the file system cannot hold a name this long")
    if number in _IN_THE_WAY:
        if writing:
            return ConflictError(f"{what}: a file, a folder or a link is in the way")
        return AbsentError(f"{what}: no such file")
    if number == errno.ENOENT:
        return AbsentError(f"{what}: no such file")
    return UnavailableError(f"{what}: {text}")


@contextmanager
def translating(what: str, *, writing: bool = False) -> Iterator[None]:
    """Turn an OSError inside into the SkyError it means."""
    try:
        yield
    except OSError as error:
        raise translated(error, what, writing=writing) from error


def looks_like_home(folder: int, adding: str = "") -> bool:
    """Whether the open folder is the home of an agent, or would look like one with the name `adding` in it."""
    for sign in HOME - {adding.casefold()}:
        try:
            os.stat(sign, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
    return True


def version_of(found: os.stat_result) -> str:
    """The version token of a file: `<size>-<mtime in ns>-<inode>` (`decisions/storage-folder.md` says why these)."""
    return f"{found.st_size}-{found.st_mtime_ns}-{found.st_ino}"


class Tree:
    """The files below `root`. Descriptors it gives are the caller's to close."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def open_root(self) -> int:
        """The root itself, which may be reached through links: its user chose it."""
        try:
            return os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError) as error:
            # Not AbsentError: a disk that is not mounted now must not look like files that were deleted.
            raise UnavailableError(
                f"the folder {self.root} is not there", advice="Is its disk mounted?"
            ) from error

    def open_folder(
        self, parts: Sequence[str], *, create: bool = False, sync: bool = False, mode: int = 0o777
    ) -> int:
        """The folder at `parts`; with `create` made where missing, durably with `sync`. Raises OSError as it comes;
        ForbiddenError where the way leads through or to the home of an agent."""
        here = self.open_root()
        try:
            for part in parts:
                refuse_home(here, part if create else "")
                below = _step(here, part, create, sync, mode)
                os.close(here)
                here = below
            refuse_home(here)
        except (OSError, SkyError):
            os.close(here)
            raise
        return here

    def open_file(self, parts: Sequence[str]) -> int:
        """The regular file at `parts`, for reading. AbsentError, ForbiddenError (no file, or a link that leads
        elsewhere than to a file in here), UnavailableError."""
        with translating("/".join(parts)):
            try:
                return self._open_plain(parts)
            except _LinkError:
                try:
                    return self._open_plain(self._target(parts))
                except _LinkError as error:
                    raise ForbiddenError("a link that changed while it was followed") from error

    def _open_plain(self, parts: Sequence[str]) -> int:
        folder = self.open_folder(parts[:-1])
        try:
            # Looked at before it is opened: opening a device can do something, opening a pipe can wait.
            _check_file(os.stat(parts[-1], dir_fd=folder, follow_symlinks=False).st_mode)
            fd = os.open(parts[-1], _FILE, dir_fd=folder)
        finally:
            os.close(folder)
        try:
            _check_file(os.fstat(fd).st_mode)
        except (SkyError, _LinkError):
            os.close(fd)
            raise
        return fd

    def _target(self, parts: Sequence[str]) -> tuple[str, ...]:
        """Where the link at `parts` leads, as components below the root. Only a hint: the caller walks there anew.

        Only into the link's own folder: a share may be any folder below the root, and has nothing from beside it.
        """
        folder = Path(os.path.realpath(self.root), *parts[:-1])
        try:
            target = os.path.realpath(folder / parts[-1], strict=True)
        except OSError as error:
            raise ForbiddenError("a link that leads to nothing") from error
        below = Path(os.path.relpath(target, folder)).parts or (os.curdir,)
        if below[0] in {os.pardir, os.curdir}:
            raise ForbiddenError("a link that leads out of its folder")
        if any(is_hidden(part) for part in below):
            raise ForbiddenError("a link into the storage's own folder")
        return (*parts[:-1], *below)


class _LinkError(Exception):
    """There is a link in the last place."""


def refuse_home(folder: int, adding: str = "") -> None:
    """ForbiddenError when the open folder is the home of an agent, or `adding` would make it look like one: a share
    that brings such names must not shut the folder that it is received in."""
    if looks_like_home(folder):
        raise ForbiddenError("the home of an agent: no storage leads into it")
    if adding.casefold() in HOME and looks_like_home(folder, adding):
        raise ForbiddenError(f"with {adding} in it this folder would look like the home of an agent")


def refuse_added(folder: int, added: str, undo: Callable[[], object]) -> None:
    """The same once more when `added` is there: `refuse_home` before it may have been too early in a race of several
    such names. The last of them sees them all, takes its own back by `undo`, and raises ForbiddenError."""
    if added.casefold() in HOME and looks_like_home(folder):
        with suppress(OSError):  # already used by somebody, or gone
            undo()
        raise ForbiddenError(f"with {added} in it this folder would look like the home of an agent")


def _check_file(mode: int) -> None:
    if stat.S_ISLNK(mode):
        raise _LinkError
    if stat.S_ISDIR(mode):
        raise AbsentError("a folder, not a file")
    if not stat.S_ISREG(mode):
        raise ForbiddenError(_KINDS.get(stat.S_IFMT(mode), "not a regular file"))


_KINDS = {
    stat.S_IFSOCK: "a socket",
    stat.S_IFIFO: "a pipe",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
}


def _step(here: int, part: str, create: bool, sync: bool, mode: int) -> int:
    try:
        return os.open(part, _FOLDER, dir_fd=here)
    except FileNotFoundError:
        if not create:
            raise
    except OSError as error:
        if part == HIDDEN and error.errno in {errno.ELOOP, errno.ENOTDIR}:
            raise ForbiddenError(
                f"{HIDDEN} in the storage's folder is a link or a file, not a folder of this program's",
                advice="See who made it, then remove it.",
            ) from error
        raise
    with suppress(FileExistsError):
        os.mkdir(part, mode, dir_fd=here)
        refuse_added(here, part, lambda: os.rmdir(part, dir_fd=here))
        if sync:
            os.fsync(here)
    return os.open(part, _FOLDER, dir_fd=here)
