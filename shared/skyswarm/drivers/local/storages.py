"""The storages of the one agent whose home this is, as its settings name them.

Law: opens folders only; the settings are read again when their file has changed, so a storage added by another
process is there at once.
"""

from __future__ import annotations

import threading

from skyswarm.drivers.local.config import Config
from skyswarm.drivers.local.home import Home
from skyswarm.drivers.storages.folder import FolderStorage
from skyswarm.drivers.storages.presign import Presigner
from skyswarm.errors import AbsentError, NoHomeError

OWN = frozenset({"#objects", "#inbox"})
"""Folders of the home itself, always there."""


class LocalStorages:
    """The Storages port over a home's `config.json`."""

    def __init__(self, home: Home, presigner: Presigner) -> None:
        self._home = home
        self._presigner = presigner
        self._lock = threading.Lock()
        self._state: tuple[int, int] | None = None
        self._config: Config | None = None
        self._opened: dict[str, FolderStorage] = {}

    def open(self, agent: str, name: str) -> FolderStorage:
        with self._lock:
            config = self._read(agent)
            found = self._opened.get(name)
            if found is None:
                if name not in OWN and name not in config.storages:
                    raise AbsentError(f"there is no storage named {name!r}")
                found = self._opened[name] = FolderStorage(
                    self._home.storage_path(name),
                    name,
                    self._presigner,
                    fsync=config.fsync,
                    kind="folder" if name in OWN else config.storages[name].priced_as,
                    siblings=lambda sibling: self._sibling(agent, sibling),
                )
            return found

    def names(self, agent: str) -> tuple[str, ...]:
        with self._lock:
            return tuple(sorted(self._read(agent).storages))

    def _sibling(self, agent: str, name: str) -> FolderStorage | None:
        try:
            return self.open(agent, name)
        except AbsentError:
            return None

    def _read(self, agent: str) -> Config:
        """The settings as they are now; what was opened under other ones is forgotten."""
        try:
            found = (self._home.path / "config.json").stat()
        except FileNotFoundError as error:
            raise NoHomeError(f"there is no agent in {self._home.path}") from error
        state = (found.st_mtime_ns, found.st_ino)
        if self._config is None or state != self._state:
            self._config, self._state = self._home.config(), state
            self._opened.clear()
        if agent != self._config.agent:
            raise AbsentError(f"the agent {agent[:12]} does not live here")
        return self._config
