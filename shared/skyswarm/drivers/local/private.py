"""Files that only their owner may read: keys, secrets, settings.

Law: nothing here follows a link, widens a mode, or puts a byte of a file into an error. A file is replaced whole or
not at all, and is on the disk when the call returns; callers that race hold `locked` around read and replace.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from skyswarm.errors import SetupError, StorageFullError

_OTHERS = 0o077


def read(path: Path, limit: int, kind: type[SetupError] = SetupError) -> bytes:
    """The file's bytes, at most `limit`. FileNotFoundError when there is none; `kind` when it is not a plain file
    of this user that others cannot touch, or is longer."""
    with translated(path, kind):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            check(path, os.fstat(descriptor), kind)
            data = file.read(limit + 1)
    if len(data) > limit:
        raise kind(f"{path} is longer than the {limit} bytes that it may be")
    return data


def check(path: Path, state: os.stat_result, kind: type[SetupError] = SetupError) -> None:
    """Raise `kind` unless this is a plain file, or a folder, of this user's that nobody else may read or write."""
    folder = stat.S_ISDIR(state.st_mode)
    if not folder and not stat.S_ISREG(state.st_mode):
        raise kind(f"{path} is not a plain file", advice="Remove it and put the real file there.")
    if state.st_uid != os.geteuid():
        raise kind(
            f"{path} belongs to another user", advice="Run Skyswarm as the user who owns its home folder."
        )
    if state.st_mode & _OTHERS:
        mode = "700" if folder else "600"
        raise kind(
            f"{path} is open to other users (mode {stat.S_IMODE(state.st_mode):04o})",
            advice=f"Check who may have read it, then: chmod {mode} '{path}'",
        )


def write(path: Path, data: bytes, kind: type[SetupError] = SetupError) -> None:
    """Create or replace, atomically and durably, mode 0600. A crash leaves the old file or the new one."""
    fresh = pending(path)
    with translated(path, kind):
        with contextlib.suppress(FileNotFoundError):
            fresh.unlink()  # of a process that died here; the caller's lock says that none is at work
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
    move(fresh, path, kind)


def move(old: Path, path: Path, kind: type[SetupError] = SetupError) -> None:
    """Put a file that is on the disk in the place of another of its folder, atomically and durably."""
    with translated(path, kind):
        old.replace(path)
        sync_folder(path.parent)


def pending(path: Path) -> Path:
    """Where `write` prepares that file: a crash may leave one there, the next `write` takes it away."""
    return path.with_name(f".{path.name}.new")


def make_folder(path: Path, kind: type[SetupError] = SetupError) -> None:
    """A folder of mode 0700, durably. One that is there must be private already."""
    with translated(path, kind):
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            check(path, os.lstat(path), kind)
        else:
            sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(path: Path, kind: type[SetupError] = SetupError) -> Iterator[None]:
    """Alone among all threads and processes that lock this path. The system frees it when the process dies."""
    with translated(path, kind):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        with translated(path, kind):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def translated(path: Path, kind: type[SetupError]) -> Iterator[None]:
    """Foreign errors of the block as ours; FileNotFoundError stays as it is."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFullError(
                f"no space left for {path}", advice="Free some space; nothing stored is lost."
            ) from error
        if error.errno == errno.ELOOP:
            raise kind(f"{path} is a link", advice="Remove it and put the real file there.") from error
        raise kind(f"{path} cannot be used: {error.strerror}") from error
