"""The home folder of one agent process: where what lies, who may serve it.

Law: paths, the settings file, the presigning secret and the one lock; no ports are built here. Everything but the
user's own `storage/` and `inbox/` is private to its owner.

    config.json   settings (config.py)          keys/     signing keys (keys.py) and the presigning secret
    agent.db      records and tasks             objects/  side objects: the storage `#objects`
    inbox/        manifests dropped here        storage/  the storage `home`, unless the settings say otherwise
    log/          what happened                 lock      held by the process that serves this home
    lock.wanted   held by a server that waits for `lock`: a command that moves transfers then hands it over
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from skyswarm.drivers.local import private
from skyswarm.drivers.local.config import MAX_CONFIG, Config, parse
from skyswarm.errors import AbsentError, HomeInUseError, KeyFileError, NoHomeError, SetupError
from skyswarm.ports.system import Entropy

_UNFINISHED = ".unfinished"
_CHANGES = ".config.lock"
_SECRET = 32
_PATIENCE = 0.5
SERVER, MOVER = "serve", "get"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has the lock: its process id (0: not said yet), and whether it serves or is a command that moves bytes."""

    pid: int
    role: str = SERVER


class Home:
    """The home at `path`. Making this object touches nothing; `founding` makes the folder."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.keys = self.path / "keys"
        self.database = self.path / "agent.db"
        self.objects = self.path / "objects"
        self.inbox = self.path / "inbox"
        self.storage = self.path / "storage"
        self.log = self.path / "log"

    @classmethod
    @contextlib.contextmanager
    def founding(cls, path: Path, entropy: Entropy = os.urandom) -> Iterator[Home]:
        """Alone among all processes while the block runs: folders and the presigning secret, for a block that ends
        with `complete`. What an attempt that died before that had made, keys too, is cleared first: nobody has used
        it. SetupError when there is an agent, or anything else, in that folder."""
        home = cls(path)
        home._refuse_taken()
        home._make_folder()
        with private.locked(home.path / _CHANGES):
            home._refuse_taken()  # another process may have made it while this one waited
            home._clear()
            private.write(home.path / _UNFINISHED, b"")
            for folder in (home.keys, home.objects, home.inbox, home.storage, home.log):
                private.make_folder(folder)
            private.write(home.keys / "presign", entropy(_SECRET), KeyFileError)
            yield home

    def complete(self, config: Config) -> None:
        """The last step of `founding`: with its first settings, durably written, the folder is a home."""
        self._write(config.dump())

    def config(self) -> Config:
        """The settings as they are now. NoHomeError when there is no agent here; SetupError when they are wrong."""
        try:
            return parse(private.read(self.path / "config.json", MAX_CONFIG))
        except FileNotFoundError as error:
            raise NoHomeError(
                f"there is no agent in {self.path}",
                advice="Make one with `skyswarm init`, or name its --home.",
            ) from error

    def save(self, config: Config) -> None:
        """Replace the settings, atomically and durably."""
        data = config.dump()
        with private.locked(self.path / _CHANGES):
            self._write(data)

    def change(self, step: Callable[[Config], Config]) -> Config:
        """Read, decide and write as one step among all processes; returns what was written."""
        with private.locked(self.path / _CHANGES):
            config = step(self.config())
            self._write(config.dump())
            return config

    def presign_secret(self) -> bytes:
        """The 32 bytes that presigned URLs of this home's storages are signed with. KeyFileError."""
        try:
            secret = private.read(self.keys / "presign", _SECRET, KeyFileError)
        except FileNotFoundError as error:
            raise KeyFileError(f"{self.keys / 'presign'} is missing") from error
        if len(secret) != _SECRET:
            raise KeyFileError(f"{self.keys / 'presign'} is damaged: it must be {_SECRET} random bytes")
        return secret

    def storage_path(self, name: str) -> Path:
        """Where the folder storage of that name is; `#objects` and `#inbox` too. AbsentError, SetupError."""
        own = {"#objects": self.objects, "#inbox": self.inbox}
        if name in own:
            return own[name]
        found = self.config().storages.get(name)
        if found is None:
            raise AbsentError(f"there is no storage named {name!r}")
        try:
            return self.path / Path(found.path).expanduser()
        except RuntimeError as error:
            raise SetupError(
                f"the storage {name!r} is in {found.path}, and there is no such user",
                advice="Give its path without '~' in config.json.",
            ) from error

    @contextlib.contextmanager
    def lock(self, role: str = SERVER) -> Iterator[None]:
        """Be the one process that works for this home: SERVER, or MOVER, which gives way when a server wants it
        (`wanted`). HomeInUseError names the other one.

        The system frees the lock when its holder dies, however it dies; the file stays and says nothing by itself.
        """
        try:
            with private.translated(self.path / "lock", SetupError):
                descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except FileNotFoundError as error:
            raise NoHomeError(
                f"there is no agent in {self.path}", advice="Make one with `skyswarm init`."
            ) from error
        try:
            if not _taken(descriptor):
                other = _who(descriptor)
                doing = "is served by" if other.role == SERVER else "has its transfers moved by"
                raise HomeInUseError(
                    f"{self.path} {doing} process {other.pid or 'unknown'} already",
                    advice="Use that one, or stop it first.",
                )
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()} {role}\n".encode(), 0)
            if (self.path / "config.json").exists():
                self._finish()  # whoever completed the home may have died before that
            yield
            os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def wanting(self) -> Iterator[None]:
        """While the block runs, a MOVER knows that the lock is wanted. Freed by the system like the lock."""
        with private.translated(self.path / "lock.wanted", SetupError):
            descriptor = os.open(self.path / "lock.wanted", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            yield
        finally:
            os.close(descriptor)

    def wanted(self) -> bool:
        """Whether a server waits for the lock."""
        return _flocked(self.path / "lock.wanted", fcntl.LOCK_EX) is not None

    def holder(self) -> Holder | None:
        """Who works for this home now; None when there is none."""
        return _flocked(self.path / "lock", fcntl.LOCK_SH)

    def server(self) -> int | None:
        """The process that serves this home now; None when there is none (a MOVER is none)."""
        found = self.holder()
        return found.pid if found is not None and found.role == SERVER else None

    def _refuse_taken(self) -> None:
        with contextlib.suppress(FileNotFoundError), private.translated(self.path, SetupError):
            there = {entry.name for entry in self.path.iterdir()}
            if "config.json" in there:
                raise SetupError(f"there is an agent in {self.path} already", advice="Nothing was changed.")
            if _UNFINISHED not in there and there - {_CHANGES, private.pending(Path(_UNFINISHED)).name}:
                raise SetupError(
                    f"{self.path} is not empty and not an agent's home",
                    advice="Choose another folder with --home.",
                )
            self.path.chmod(0o700)

    def _make_folder(self) -> None:
        try:
            with private.translated(self.path, SetupError):
                self.path.parent.mkdir(parents=True, exist_ok=True)
            private.make_folder(self.path)
        except FileNotFoundError as error:  # /proc has folders in which none can be made
            raise SetupError(
                f"{self.path} cannot be made: {error.strerror}", advice="Choose another folder with --home."
            ) from error

    def _clear(self) -> None:
        """Keys and records of an agent that no settings ever named. What lies in `storage` may be the user's."""
        with private.translated(self.path, SetupError):
            for name in ("agent.db", "agent.db-journal", "agent.db-wal", "agent.db-shm"):
                (self.path / name).unlink(missing_ok=True)
            if self.keys.is_dir() and not self.keys.is_symlink():
                shutil.rmtree(self.keys)

    def _write(self, data: bytes) -> None:
        private.write(self.path / "config.json", data)
        self._finish()

    def _finish(self) -> None:
        """No longer may `founding` clear anything here, not even when somebody takes the settings away."""
        with contextlib.suppress(FileNotFoundError):
            (self.path / _UNFINISHED).unlink()


def _taken(descriptor: int) -> bool:
    """Tries for a moment: `holder` of another process may look just now, or the one before may be ending."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)


def _flocked(path: Path, how: int) -> Holder | None:
    """Who holds the file's lock so that we could not have it; None: nobody."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return _who(descriptor)
    finally:
        os.close(descriptor)
    return None


def _who(descriptor: int) -> Holder:
    pid, _, role = os.pread(descriptor, 64, 0).decode("ascii", "replace").strip().partition(" ")
    return Holder(int(pid) if pid.isdigit() else 0, role or SERVER)
