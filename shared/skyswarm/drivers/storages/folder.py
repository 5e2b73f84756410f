"""A folder of this machine as a storage: both ports of ports/storage.py over plain files.

Law: what is where on disk is decided here and in the files named folder_*; nothing outside `root` is opened. An
object appears under its key by one link or rename of a finished file.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from skyswarm.drivers.local.reading import open_range
from skyswarm.drivers.storages.folder_parts import UploadName, hash_range, write_chunks
from skyswarm.drivers.storages.folder_publish import Publisher, object_of
from skyswarm.drivers.storages.folder_tree import Tree, translated, translating, version_of
from skyswarm.drivers.storages.folder_uploads import Uploads
from skyswarm.drivers.storages.folder_walk import Walk
from skyswarm.drivers.storages.keys import parts_of
from skyswarm.drivers.storages.presign import Presigner
from skyswarm.errors import (
    AbsentError,
    ForbiddenError,
    InputError,
    PieceMismatchError,
    SourceChangedError,
    TransferStateError,
)
from skyswarm.pieces.digest import PieceDigest
from skyswarm.pieces.size import MAX_PIECES
from skyswarm.ports.storage import Grant, Listing, Object, Origin

_WALKS = 8
_COPY = 8 << 20
_NO_COPY = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF}


class FolderStorage:
    """Files below `root` (it must exist). With `fsync` an object is on the disk when `put` or `finish` returns.

    `siblings` gives the folder storage of a name, for copies without a network. Threads may share an instance.
    """

    def __init__(
        self,
        root: Path,
        name: str,
        presigner: Presigner,
        *,
        fsync: bool = True,
        kind: str = "folder",
        siblings: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._tree = Tree(root)
        self._name = name
        self._presigner = presigner
        self._fsync = fsync
        self._kind = kind
        self._siblings = siblings
        self._uploads = Uploads(self._tree)
        self._publisher = Publisher(self._tree, fsync)
        self._walks: dict[tuple[str, str], Walk] = {}
        self._walks_lock = threading.Lock()

    @property
    def kind(self) -> str:
        return self._kind

    @property
    def folds(self) -> bool:
        return False

    @property
    def root(self) -> Path:
        """Where the files are."""
        return self._tree.root

    # ---- Source ----------------------------------------------------------------------------
    def list(self, prefix: str, after: str | None = None, limit: int = 1000) -> Listing:
        if limit < 1:
            raise InputError("a page of a listing has at least one object")
        # A walk is kept for the next page: sorting a folder of a million names again for each would be quadratic.
        walk = None
        if after is not None:
            with self._walks_lock:
                walk = self._walks.pop((prefix, after), None)
        walk = walk or Walk(self._tree, prefix, after, self._reachable)
        page = walk.page(limit)
        if page.next is not None:
            with self._walks_lock:
                self._walks[prefix, page.next] = walk
                while len(self._walks) > _WALKS:
                    self._walks.pop(next(iter(self._walks)))
        return page

    def stat(self, key: str) -> Object:
        fd = self._tree.open_file(parts_of(key))
        try:
            return object_of(key, os.fstat(fd))
        finally:
            os.close(fd)

    def open_at(self, key: str, version: str) -> tuple[int, Object]:
        """A descriptor of the file while it is at `version`; the caller closes it. AbsentError, SourceChangedError."""
        fd = self._tree.open_file(parts_of(key))
        found = object_of(key, os.fstat(fd))
        if found.version != version:
            os.close(fd)
            raise SourceChangedError(f"{key} was changed since it was published")
        return fd, found

    def chunks(self, key: str, version: str, offset: int, length: int) -> Iterator[memoryview]:
        fd, _ = self.open_at(key, version)
        try:
            yield from open_range(fd, offset, length)
            _still(fd, key, version)
        finally:
            os.close(fd)

    def presign(self, key: str, version: str, ttl: int) -> Grant:
        return self._presigner.grant(self._name, key, version, ttl)

    # ---- Sink: whole objects -------------------------------------------------------------------
    def put(self, key: str, data: bytes, *, if_version: str | None, media_type: str | None = None) -> Object:
        del media_type  # a folder keeps none
        return self._publisher.put(parts_of(key), data, if_version)

    def delete(self, key: str) -> None:
        """Folders that become empty stay: one of them may be somebody's inbox, and none shows in `list`."""
        self._publisher.delete(parts_of(key))

    # ---- Sink: uploads -------------------------------------------------------------------------
    def begin(
        self,
        key: str,
        size: int,
        piece_size: int,
        token: str,
        *,
        media_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> str:
        del media_type, metadata  # a folder keeps none
        name = UploadName.make(token, key, size, piece_size)
        # A file in the way of a folder is better known now than after all bytes have come.
        try:
            os.close(self._tree.open_folder(parts_of(key)[:-1]))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise translated(error, f"writing {key}", writing=True) from error
        return self._uploads.begin(name)

    def part(
        self, upload: str, index: int, digest: PieceDigest, length: int, chunks: Iterable[memoryview]
    ) -> None:
        """A part that is there already is not read again: `chunks` is left alone."""

        def fill(fd: int, offset: int) -> None:
            write_chunks(fd, offset, length, chunks)

        self._write(upload, index, digest, length, fill)

    def parts(self, upload: str, first: int = 0, count: int | None = None) -> frozenset[int]:
        with self._uploads.open(UploadName.parse(upload)) as found:
            end = MAX_PIECES if count is None else first + count
            return frozenset(index for index in found.present() if first <= index < end)

    def finish(self, upload: str, digests: Sequence[PieceDigest], *, if_version: str | None) -> Object:
        name = UploadName.parse(upload)
        parts = parts_of(name.key)
        try:
            with self._uploads.open(name) as found:
                have = found.present()
                missing = [index for index, digest in enumerate(digests) if have.get(index) != digest.sha256]
                if missing or len(digests) != name.count:
                    raise TransferStateError(
                        f"{name.key} has {name.count} parts, {len(missing)} of them are not there yet"
                    )
                with translating(f"writing {name.key}", writing=True):
                    if self._fsync:
                        os.fsync(found.data)
                    made = self._publisher.publish(parts, found.data, found.folder, "data", if_version)
        except AbsentError as error:
            return self._finished_before(name, digests, error)
        self._uploads.remove(name)
        return made

    def abort(self, upload: str) -> None:
        with suppress(AbsentError):
            self._uploads.remove(UploadName.parse(upload))

    def copy(
        self, upload: str, index: int, origin: Origin, offset: int, digest: PieceDigest, length: int
    ) -> bytes | None:
        """Shares blocks where the file system can (btrfs, XFS), else the kernel copies. The proof is computed here,
        from the bytes of the destination."""
        other = self if origin.storage == self._name else origin.storage and self._siblings(origin.storage)
        if not isinstance(other, FolderStorage):
            raise ForbiddenError(f"{self._name} cannot copy from {origin.storage or origin.kind}")

        def fill(fd: int, at: int) -> None:
            behind, _ = other.open_at(origin.key, origin.version)
            try:
                _copy_range(behind, offset, fd, at, length)
                _still(behind, origin.key, origin.version)
            finally:
                os.close(behind)
            if hash_range(fd, at, length) != digest.sha256:
                raise PieceMismatchError(
                    f"piece {index} copied from {origin.storage} is not the one of the manifest"
                )

        self._write(upload, index, digest, length, fill)
        return digest.sha256

    def _reachable(self, key: str, version: str) -> None:
        self._presigner.check_length(self._name, key, version)

    # ---- inside --------------------------------------------------------------------------------
    def _write(
        self, upload: str, index: int, digest: PieceDigest, length: int, fill: Callable[[int, int], None]
    ) -> None:
        name = UploadName.parse(upload)
        if name.span(index)[1] != length:
            raise PieceMismatchError(
                f"part {index} of {name.key} has {name.span(index)[1]} bytes, not {length}"
            )
        with self._uploads.open(name) as found:
            if os.fstat(found.data).st_nlink > 1 and self._published(name.key, found.data):
                raise AbsentError(
                    f"the upload of {name.key} is finished"
                )  # writing now would change the object
            found.write(index, digest.sha256, fill)
            if self._fsync:
                # Has the disk begin now, so that `finish` need not wait for all of it: measured, 1 GiB, 0.45 → 0.01 s.
                os.posix_fadvise(found.data, *name.span(index), os.POSIX_FADV_DONTNEED)

    def _published(self, key: str, fd: int) -> bool:
        """Whether the object under `key` is this very file."""
        try:
            final = self._tree.open_file(parts_of(key))
        except (AbsentError, ForbiddenError):
            return False
        try:
            return os.path.samestat(os.fstat(final), os.fstat(fd))
        finally:
            os.close(final)

    def _finished_before(
        self, name: UploadName, digests: Sequence[PieceDigest], error: AbsentError
    ) -> Object:
        """The object, if these very bytes are under the key: the upload was finished before. Else `error` again."""
        try:
            found = self.stat(name.key)
            fd, _ = self.open_at(name.key, found.version)
        except (AbsentError, SourceChangedError):
            raise error from None
        try:
            same = found.size == name.size and len(digests) == name.count
            for index, digest in enumerate(digests if same else ()):
                same = same and hash_range(fd, *name.span(index)) == digest.sha256
        finally:
            os.close(fd)
        if not same:
            raise error
        return found


def _still(fd: int, key: str, version: str) -> None:
    if version_of(os.fstat(fd)) != version:
        raise SourceChangedError(f"{key} was changed while it was read")


def _copy_range(source: int, offset: int, fd: int, at: int, length: int) -> None:
    """Copy inside the kernel; through one small buffer where it cannot (two file systems)."""
    done = 0
    while done < length:
        try:
            step = os.copy_file_range(source, fd, min(_COPY, length - done), offset + done, at + done)
        except OSError as error:
            if done or error.errno not in _NO_COPY:
                raise translated(error, "copying a part", writing=True) from error
            write_chunks(fd, at, length, open_range(source, offset, length))
            return
        if not step:
            raise SourceChangedError("the file ended while it was copied")
        done += step
