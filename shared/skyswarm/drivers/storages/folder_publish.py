"""How a finished file appears under its key in a folder storage: one link or rename, under one lock per key.

Law: nothing is written into a file that has its final name. Conditional writes of all processes that use this
driver exclude each other; other programs are noticed where they can be, but a program that writes a file between
our look and our rename loses its write, as with any two editors.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from skyswarm.drivers.storages.folder_parts import write_at
from skyswarm.drivers.storages.folder_tree import (
    Tree,
    refuse_added,
    refuse_home,
    translated,
    translating,
    version_of,
)
from skyswarm.drivers.storages.keys import HIDDEN
from skyswarm.errors import AbsentError, ConflictError, ForbiddenError, UnavailableError
from skyswarm.ports.storage import ANY_VERSION, Object

_WAIT = 30.0
"""Seconds for another writer of the same lock. Held longer, it is no writer of ours: they link and rename."""
_LEFTOVER = 3600.0
_NO_LINK = {errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.EMLINK}

_LOCK = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Publisher:
    """The conditional writes of one folder storage; durable with `fsync`."""

    def __init__(self, tree: Tree, fsync: bool, patience: float = _WAIT) -> None:
        self._tree = tree
        self._patience = patience
        self._fsync = fsync
        self._swept = False

    def put(self, parts: Sequence[str], data: bytes, if_version: str | None) -> Object:
        """Write a temporary file, then publish it."""
        key = "/".join(parts)
        with translating(f"writing {key}", writing=True):
            folder = self._tree.open_folder((HIDDEN, "tmp"), create=True, mode=0o700)
            temporary = f"{os.urandom(12).hex()}.tmp"
            try:
                if not self._swept:
                    self._swept = True
                    _sweep(folder)
                fd = os.open(
                    temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=folder
                )
                try:
                    write_at(fd, data, 0)
                    if self._fsync:
                        os.fsync(fd)
                    return self.publish(parts, fd, folder, temporary, if_version)
                finally:
                    os.close(fd)
                    with suppress(FileNotFoundError):
                        os.unlink(temporary, dir_fd=folder)
            finally:
                os.close(folder)

    def delete(self, parts: Sequence[str]) -> None:
        """Remove the name `parts`, a link itself and not what it leads to. Idempotent."""
        key = "/".join(parts)
        try:
            folder = self._tree.open_folder(parts[:-1])
            try:
                with self._alone(key):
                    os.unlink(parts[-1], dir_fd=folder)
                if self._fsync:
                    os.fsync(folder)
            finally:
                os.close(folder)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return
        except OSError as error:
            raise translated(error, f"removing {key}", writing=True) from error

    def publish(
        self, parts: Sequence[str], fd: int, folder: int, file: str, if_version: str | None
    ) -> Object:
        """Make the finished file `file` in `folder` (open as `fd`) appear under its key; it stays there as well.

        Doing it again when it has happened is harmless: the two are the same inode. OSError as it comes.
        """
        key = "/".join(parts)
        parent = self._tree.open_folder(parts[:-1], create=True, sync=self._fsync)
        try:
            refuse_home(parent, parts[-1])
            with self._alone(key):
                current = _lstat(parts[-1], parent)
                if current is None or not os.path.samestat(current, os.fstat(fd)):
                    self._replace(parts, parent, folder, file, if_version)
                if current is None:
                    refuse_added(parent, parts[-1], lambda: os.unlink(parts[-1], dir_fd=parent))
            if self._fsync:
                os.fsync(parent)
        finally:
            os.close(parent)
        return object_of(key, os.fstat(fd))

    def _replace(
        self, parts: Sequence[str], parent: int, folder: int, file: str, if_version: str | None
    ) -> None:
        if if_version is None:
            try:
                self._link(file, parts[-1], folder, parent)
            except FileExistsError as error:
                raise ConflictError(f"there is a {parts[-1]} already") from error
            return
        if if_version != ANY_VERSION:
            try:
                version = self._version(parts)
            except AbsentError:
                version = ""
            if version != if_version:
                raise ConflictError(f"{parts[-1]} is not at the expected version")
        second = f"{file}.{os.urandom(8).hex()}"
        self._link(file, second, folder, folder)
        try:
            os.rename(second, parts[-1], src_dir_fd=folder, dst_dir_fd=parent)
        except OSError:
            os.rename(second, file, src_dir_fd=folder, dst_dir_fd=folder)  # the same inode: `second` may stay
            with suppress(FileNotFoundError):
                os.unlink(second, dir_fd=folder)
            raise

    @staticmethod
    def _link(file: str, name: str, folder: int, parent: int) -> None:
        """`name` for the file `file`, never over another. Where there are no hard links (FAT) it is moved, which
        `_alone` makes as safe among ourselves; an upload that was moved is known by its bytes at the next `finish`."""
        try:
            os.link(file, name, src_dir_fd=folder, dst_dir_fd=parent, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            if _lstat(name, parent) is not None:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from error
            os.rename(file, name, src_dir_fd=folder, dst_dir_fd=parent)

    @contextmanager
    def _alone(self, key: str) -> Iterator[None]:
        """Excludes every other conditional write of this key by this driver, also in other processes.

        Others may be able to write into the folder: a lock that is a link is not followed, and one that never
        comes free is UnavailableError.
        """
        folder = self._tree.open_folder((HIDDEN, "locks"), create=True, mode=0o700)
        try:
            name = f"{hashlib.sha256(key.encode()).digest()[0] & 63:02d}"
            fd = os.open(name, _LOCK, 0o600, dir_fd=folder)
        except OSError as error:
            if error.errno not in {errno.ELOOP, errno.EISDIR, errno.ENXIO}:
                raise
            raise _no_lock(name) from error
        finally:
            os.close(folder)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise _no_lock(name)
            end = time.monotonic() + self._patience
            while not _locked(fd):
                if time.monotonic() > end:
                    raise UnavailableError(
                        f"writing {key}: another process has held the lock for {self._patience:.0f} s",
                        advice=f"See who holds {HIDDEN}/locks/{name} in the storage's folder.",
                    )
                time.sleep(0.01)
            yield
        finally:
            os.close(fd)

    def _version(self, parts: Sequence[str]) -> str:
        fd = self._tree.open_file(parts)
        try:
            return version_of(os.fstat(fd))
        finally:
            os.close(fd)


def _sweep(folder: int) -> None:
    """Remove the temporary files that a crash has left more than an hour ago."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries]
    for name in names:
        with suppress(OSError):
            if time.time() - os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime > _LEFTOVER:
                os.unlink(name, dir_fd=folder)


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _no_lock(name: str) -> ForbiddenError:
    return ForbiddenError(
        f"{HIDDEN}/locks/{name} in the storage's folder is not an ordinary file",
        advice="See who made it, then remove it.",
    )


def object_of(key: str, found: os.stat_result) -> Object:
    """The object that a file is."""
    return Object(key, found.st_size, version_of(found), found.st_mtime)


def _lstat(name: str, folder: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
