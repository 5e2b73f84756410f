"""Signing keys in a folder: the Keys port of an agent that is a process on its user's machine.

Law: a private key is in its file (`<folder>/<agent>/seeds`, mode 0600, folder 0700) and in a SeedSigner, nowhere
else: no repr, no error, no log. One file holds all three seeds of an agent, so one rename is one rotation: a crash at
any point leaves the keys of before or the keys of after. Keys for a recovery wait in a file of the same kind
(`reserved-<id of what it undoes>`), which one rename makes the agent's.
"""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path

from skyswarm.drivers.local import private
from skyswarm.drivers.seeds import Prepared, Seeds, make_recovery, prepare, read_recovery
from skyswarm.errors import AbsentError, ConflictError, KeyFileError, MalformedError
from skyswarm.messages.keys import SEED_SIZE, SeedSigner
from skyswarm.ports.system import Entropy, Signer

__all__ = ["FileKeys", "Prepared", "make_recovery", "prepare", "read_recovery"]

_HEAD = b"skyswarm keys 1\n"
_SIZE = len(_HEAD) + 3 * SEED_SIZE
_ID = re.compile(r"[0-9a-f]{64}")


class FileKeys:
    """The Keys port. Errors of every method: KeyFileError (others can read it, damaged, unreadable), AbsentError."""

    def __init__(self, folder: Path, entropy: Entropy = os.urandom) -> None:
        self._folder = folder
        self._entropy = entropy
        self._known: dict[str, tuple[tuple[int, ...], tuple[SeedSigner, ...]]] = {}
        self._lock = threading.Lock()

    def adopt(self, prepared: Prepared, agent: str) -> None:
        """Keep prepared keys under the agent's id, durably. Idempotent; ConflictError when it has other keys."""
        if not _ID.fullmatch(agent):
            raise MalformedError("an agent id is 64 lowercase hex digits")
        home = self._folder / agent
        private.make_folder(home, KeyFileError)
        with private.locked(home / "lock", KeyFileError):
            try:
                known = self._read(agent)
            except AbsentError:
                private.write(home / "seeds", _HEAD + b"".join(prepared.seeds), KeyFileError)
                return
            if known != prepared.seeds:
                raise ConflictError(f"agent {agent} has other keys here already")

    def current(self, agent: str) -> Signer:
        return self._signers(agent)[0]

    def upcoming(self, agent: str) -> Signer:
        return self._signers(agent)[1]

    def following(self, agent: str) -> bytes:
        return self._signers(agent)[2].public

    def rotate(self, agent: str, expect: bytes) -> bytes:
        self._read(agent)
        home = self._folder / agent
        with private.locked(home / "lock", KeyFileError):
            current, upcoming, following = self._read(agent)
            if SeedSigner(current).public != expect:
                raise ConflictError(f"the keys of agent {agent} were rotated already")
            fresh = self._entropy(SEED_SIZE)
            private.write(home / "seeds", _HEAD + upcoming + following + fresh, KeyFileError)
            return SeedSigner(following).public

    def reserve(self, agent: str, undone: str) -> tuple[bytes, bytes]:
        self._read(agent)
        path = self._reserved(agent, undone)
        with private.locked(path.parent / "lock", KeyFileError):
            try:
                seeds = self._load(path)
            except FileNotFoundError:
                seeds = prepare(self._entropy).seeds
                private.write(path, _HEAD + b"".join(seeds), KeyFileError)
        made = Prepared(seeds)
        return made.current_public, made.next_public

    def replace(self, agent: str, undone: str, expect: bytes) -> None:
        self._state(agent)
        path = self._reserved(agent, undone)
        with private.locked(path.parent / "lock", KeyFileError):
            try:
                seeds = self._load(path)
            except FileNotFoundError as error:
                raise AbsentError(f"no keys are reserved for a recovery of agent {agent}") from error
            if Prepared(seeds).current_public != expect:
                raise ConflictError(f"other keys are reserved for a recovery of agent {agent}")
            private.move(path, path.parent / "seeds", KeyFileError)

    def _reserved(self, agent: str, undone: str) -> Path:
        if not _ID.fullmatch(undone):
            raise MalformedError("a statement id is 64 lowercase hex digits")
        return self._folder / agent / f"reserved-{undone}"

    def _signers(self, agent: str) -> tuple[SeedSigner, ...]:
        """Kept in memory while the file is the very same, so that a rotation by another process is seen at once."""
        state = self._state(agent)
        seen = (state.st_ino, state.st_mtime_ns, state.st_ctime_ns, state.st_mode, state.st_uid)
        with self._lock:
            known = self._known.get(agent)
        if known is not None and known[0] == seen:
            return known[1]
        signers = tuple(SeedSigner(seed) for seed in self._read(agent))
        with self._lock:
            self._known[agent] = (seen, signers)
        return signers

    def _state(self, agent: str) -> os.stat_result:
        if not _ID.fullmatch(agent):
            raise AbsentError("no agent of that id has keys here")
        try:
            return os.lstat(self._folder / agent / "seeds")
        except (FileNotFoundError, NotADirectoryError) as error:
            raise AbsentError(f"there is no signing key of agent {agent} here") from error
        except OSError as error:
            raise KeyFileError(f"the keys of agent {agent} cannot be read: {error.strerror}") from error

    def _read(self, agent: str) -> Seeds:
        self._state(agent)
        path = self._folder / agent / "seeds"
        private.check(path.parent, os.lstat(path.parent), KeyFileError)
        try:
            return self._load(path)
        except FileNotFoundError as error:
            raise AbsentError(f"there is no signing key of agent {agent} here") from error

    def _load(self, path: Path) -> Seeds:
        """The seeds of a file. KeyFileError; FileNotFoundError when there is none."""
        data = private.read(path, _SIZE, KeyFileError)
        if len(data) != _SIZE or not data.startswith(_HEAD):
            raise KeyFileError(
                f"{path} is damaged or of a newer version",
                advice="Restore it from a backup. A new agent has a new id.",
            )
        first, second, third = (
            data[start : start + SEED_SIZE] for start in range(len(_HEAD), _SIZE, SEED_SIZE)
        )
        return first, second, third
