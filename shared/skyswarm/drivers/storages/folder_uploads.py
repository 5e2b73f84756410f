"""The uploads of a folder storage: `<root>/.skyswarm/uploads/<32 hex>/` with `data`, `parts` and `meta`.

Law: an upload's folder appears whole and disappears whole (by renaming), whatever crashes; two processes that
begin the same one get the same. What is inside is folder_parts.py's.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from skyswarm.drivers.storages.folder_parts import Upload, UploadName, write_at
from skyswarm.drivers.storages.folder_tree import Tree, translated, translating
from skyswarm.drivers.storages.keys import HIDDEN
from skyswarm.errors import StorageFullError

UPLOADS = (HIDDEN, "uploads")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LEFTOVER = 3600.0


class Uploads:
    """The uploads of one folder storage."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._swept = False

    def begin(self, name: UploadName) -> str:
        """Make the upload unless it is there. StorageFullError when there is no room for its size."""
        with translating(f"starting {name.key}", writing=True):
            uploads = self._tree.open_folder(UPLOADS, create=True, mode=0o700)
            try:
                if not self._swept:
                    self._swept = True
                    _sweep(uploads)
                if not _exists(name.folder, uploads):
                    self._make(uploads, name)
            finally:
                os.close(uploads)
        return name.id

    @staticmethod
    def _make(uploads: int, name: UploadName) -> None:
        room = os.fstatvfs(uploads)
        free = room.f_bavail * room.f_frsize
        if free < name.size:
            raise StorageFullError(
                f"{name.key} has {name.size} bytes, {free} are free",
                advice="Free some space, then resume.",
            )
        made = f"{name.folder}.{os.urandom(8).hex()}.new"
        os.mkdir(made, 0o700, dir_fd=uploads)
        folder = os.open(made, _FOLDER, dir_fd=uploads)
        try:
            for file, content in (("meta", f"{name.id}\n".encode()), ("parts", b""), ("data", b"")):
                fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=folder)
                try:
                    write_at(fd, content, 0)
                    if file == "data":
                        os.ftruncate(fd, name.size)
                finally:
                    os.close(fd)
            # Another process may have made the same one meanwhile; a folder that is not empty is never replaced.
            os.rename(made, name.folder, src_dir_fd=uploads, dst_dir_fd=uploads)
        except OSError as error:
            _empty(folder)
            os.rmdir(made, dir_fd=uploads)
            if error.errno not in {errno.EEXIST, errno.ENOTEMPTY}:
                raise
        finally:
            os.close(folder)

    @contextmanager
    def open(self, name: UploadName) -> Iterator[Upload]:
        """The upload, open. AbsentError when there is none."""
        try:
            folder = self._tree.open_folder((*UPLOADS, name.folder))
            try:
                upload = Upload(folder, name)
            except OSError:
                os.close(folder)
                raise
        except OSError as error:
            raise translated(error, f"the upload of {name.key}") from error
        try:
            yield upload
        finally:
            upload.close()

    def remove(self, name: UploadName) -> None:
        """Forget an upload. Idempotent; renamed first, so that what a crash leaves is never taken for an upload."""
        gone = f"{name.folder}.{os.urandom(8).hex()}.gone"
        with translating(f"the upload of {name.key}", writing=True):
            try:
                uploads = self._tree.open_folder(UPLOADS)
            except FileNotFoundError:
                return
            try:
                with suppress(FileNotFoundError):
                    os.rename(name.folder, gone, src_dir_fd=uploads, dst_dir_fd=uploads)
                    _remove(gone, uploads)
            finally:
                os.close(uploads)


def _exists(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _empty(folder: int) -> None:
    """Remove the files of a folder of ours (it has no folders)."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries]
    for name in names:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)


def _remove(name: str, uploads: int) -> None:
    folder = os.open(name, _FOLDER, dir_fd=uploads)
    try:
        _empty(folder)
    finally:
        os.close(folder)
    with suppress(FileNotFoundError):
        os.rmdir(name, dir_fd=uploads)


def _sweep(uploads: int) -> None:
    """Remove what a crash has left half-made or half-removed more than an hour ago."""
    with os.scandir(uploads) as entries:
        names = [entry.name for entry in entries if entry.name.endswith((".new", ".gone"))]
    for name in names:
        with suppress(OSError):
            if time.time() - os.stat(name, dir_fd=uploads, follow_symlinks=False).st_mtime > _LEFTOVER:
                _remove(name, uploads)
