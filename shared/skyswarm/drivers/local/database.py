"""One SQLite file shared by every thread and process of an agent: connections, transactions, errors.

Law: nothing outside this file opens the database, begins a transaction or sees a sqlite3 error; no table is named
here (`schema.py`). Writers of one process queue at a fair lock, writers of several processes at SQLite's.
Durability (`shared/decisions/local-sqlite.md`): what was acknowledged survives `kill -9` always, and a power cut
when its transaction asked for `durable`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from skyswarm.drivers.local import schema
from skyswarm.errors import BackendError, ForbiddenError, SkyError, StorageFullError, UnavailableError

_OLDEST_SQLITE = (3, 35)  # UPDATE … RETURNING
_WAL_KEPT = 64 << 20
_CACHE_KIB = 4096
_LEAST_ROOM = 1 << 16  # bytes: the index of the write-ahead log takes half of it
_GROWING = frozenset(
    {
        sqlite3.SQLITE_CANTOPEN,  # a side file, when there are no inodes left
        sqlite3.SQLITE_IOERR_DIR_FSYNC,
        sqlite3.SQLITE_IOERR_FSYNC,
        sqlite3.SQLITE_IOERR_SHMMAP,
        sqlite3.SQLITE_IOERR_SHMOPEN,
        sqlite3.SQLITE_IOERR_TRUNCATE,
        sqlite3.SQLITE_IOERR_WRITE,
    }
)
_FREE_SOME = "Free some space; nothing stored is lost."


class Database:
    """The file at `path`, made or brought up to the newest schema when it is opened.

    `busy` is how many seconds a call waits for other writers before UnavailableError. Errors of opening and of every
    transaction: UnavailableError, StorageFullError, ForbiddenError, BackendError.
    """

    def __init__(self, path: Path, *, busy: float = 10.0) -> None:
        self.path = path
        self._busy = busy
        self._idle: list[sqlite3.Connection] = []
        self._writer = threading.Lock()
        self._process = os.getpid()
        self._closed = threading.Event()
        if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
            raise BackendError(
                f"SQLite {sqlite3.sqlite_version} is too old",
                advice="Use a Python built with SQLite 3.35 or newer.",
            )
        with _translated(path):
            _create_private(path)
            try:
                self._set_up()
            except BaseException:
                self.close()
                raise

    @contextlib.contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A connection for SELECTs: each sees one committed state. Two of them may see two."""
        with _translated(self.path), self._connection() as connection:
            yield connection

    @contextlib.contextmanager
    def write(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """One atomic step: BEGIN IMMEDIATE, then COMMIT when the block ends and ROLLBACK when it raises.

        `durable`: on the disk when it returns, not only in the system's cache. Never nest.
        """
        if not self._writer.acquire(timeout=self._busy):
            raise UnavailableError(f"{self.path} was busy for {self._busy:.0f} s")
        try:
            with _translated(self.path), self._connection() as connection:
                if durable:
                    connection.execute("PRAGMA synchronous=FULL")
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                    connection.execute("COMMIT")
                finally:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    if durable:
                        connection.execute("PRAGMA synchronous=NORMAL")
        finally:
            self._writer.release()

    def check(self) -> list[str]:
        """What SQLite's quick check finds wrong; empty when nothing is."""
        try:
            with self.read() as connection:
                found = [str(row[0]) for row in connection.execute("PRAGMA quick_check(20)")]
        except BackendError as error:
            if type(error) is not BackendError:
                raise  # busy or forbidden: that says nothing about the file
            return [error.message]
        return [] if found == ["ok"] else found

    def close(self) -> None:
        """Close idle connections now and the others when they come back. Later calls raise UnavailableError."""
        self._closed.set()
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop().close()

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """One that no other thread uses meanwhile. It is kept for the next call only when all went well."""
        if self._closed.is_set():
            raise UnavailableError(f"{self.path} is closed: this agent is stopping")
        if self._process != os.getpid():
            raise BackendError(
                f"{self.path} was opened before a fork", advice="Open a Database of its own in each process."
            )
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._connect()
        try:
            yield connection
        except SkyError:  # the decision of a driver (a lost race, a quota): the connection is fine
            self._give_back(connection)
            raise
        except BaseException:
            connection.close()
            raise
        self._give_back(connection)

    def _give_back(self, connection: sqlite3.Connection) -> None:
        self._idle.append(connection)
        if self._closed.is_set():
            self.close()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path,
            timeout=self._busy,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
        try:  # the last of these opens the write-ahead log
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
            connection.execute(f"PRAGMA journal_size_limit={_WAL_KEPT}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _set_up(self) -> None:
        with self._connection() as connection:
            self._use_wal(connection)
        with self.write(durable=True) as connection:
            schema.migrate(connection, self.path)

    def _use_wal(self, connection: sqlite3.Connection) -> None:
        """SQLite does not wait its timeout when two processes turn a new file to WAL at once, so this loop does."""
        deadline = time.monotonic() + self._busy
        while True:
            try:
                mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
                break
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        if mode != "wal":
            raise BackendError(
                f"{self.path} is on a file system that SQLite's write-ahead log does not work on",
                advice="Keep the home folder on a local disk.",
            )


def _create_private(path: Path) -> None:
    """An empty file that only its owner may read; SQLite gives its side files the same mode."""
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW, 0o600))


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", None) is None:
            raise  # a mistake in our own use of the module, not a state of the file
        raise _of_sqlite(error, path) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFullError(f"no space left for {path}", advice=_FREE_SOME) from error
        if isinstance(error, PermissionError):
            raise ForbiddenError(f"no permission to use {path}") from error
        raise BackendError(f"{path} cannot be used: {error.strerror}") from error


def _of_sqlite(error: sqlite3.Error, path: Path) -> SkyError:
    code, name = error.sqlite_errorcode & 0xFF, error.sqlite_errorname
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return UnavailableError(f"{path} is busy: another process kept it locked")
    if code == sqlite3.SQLITE_FULL or _starved(error.sqlite_errorcode, path):
        return StorageFullError(f"no space left for {path}", advice=_FREE_SOME)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return BackendError(
            f"{path} is damaged ({name})",
            advice="Stop the agent, copy that file away and see what `skyswarm doctor` says. Keys are not in it.",
        )
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        return ForbiddenError(
            f"{path} cannot be written", advice="Run the agent as the user who owns its home."
        )
    return BackendError(
        f"{path} failed ({name}: {error})", advice="Look at the disk: free space, quota, mount and hardware."
    )


def _starved(extended: int, path: Path) -> bool:
    """Whether an error that does not say so is of a full disk: even reading needs 32 KiB beside the file, for the
    index of the write-ahead log. SQLite keeps the system's error to itself, so the disk is asked."""
    if extended == sqlite3.SQLITE_IOERR_SHMSIZE:
        return True  # that index could not be made longer
    if extended not in _GROWING:
        return False
    try:
        disk = os.statvfs(path.parent)
    except OSError:
        return False
    return disk.f_bavail * disk.f_frsize < _LEAST_ROOM or (disk.f_files > 0 and disk.f_favail == 0)
