"""The composition root of an agent on one machine: a home folder in, a bundle of ports out.

Law: the only place that chooses the local drivers and takes time and randomness from the system. Nothing runs here;
`process.py` does.
"""

from __future__ import annotations

import ipaddress
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

from skyswarm.drivers.http.fetcher import HttpFetcher
from skyswarm.drivers.http.peers import AddressPolicy, HttpPeers
from skyswarm.drivers.local.config import Config, StorageConfig
from skyswarm.drivers.local.database import Database
from skyswarm.drivers.local.home import Home
from skyswarm.drivers.local.keys import FileKeys
from skyswarm.drivers.local.records import (
    SqliteAnnouncements,
    SqliteHeld,
    SqliteMeters,
    SqliteNonces,
    SqliteNotes,
    SqliteShares,
)
from skyswarm.drivers.local.records_statements import SqliteStatements
from skyswarm.drivers.local.records_transfers import SqliteTransfers
from skyswarm.drivers.local.storages import LocalStorages
from skyswarm.drivers.local.tasks import SqliteTasks
from skyswarm.drivers.seeds import make_recovery
from skyswarm.drivers.storages.presign import Presigner
from skyswarm.edge.founding import bear
from skyswarm.edge.limits_file import read_limits
from skyswarm.edge.pricing import prices
from skyswarm.messages.keys import commitment
from skyswarm.ports.system import Clock, Entropy
from skyswarm.usecases.deps import Deps
from skyswarm.usecases.limits import Limits


class Runtime:
    """One agent (or repository) of one home folder, ready to act. `close` it."""

    def __init__(
        self,
        home: Home,
        *,
        clock: Clock = time.time,
        entropy: Entropy = os.urandom,
        limits: Limits | None = None,
        policy: AddressPolicy | None = None,
    ) -> None:
        self.home = home
        self.config = home.config()
        self.agent = self.config.agent
        self.name = self.config.name
        self.database = Database(home.database)
        # An agent that the internet reaches must not be sent into the network it stands in.
        policy = policy or AddressPolicy(allow_private=not _public(self.config.public_url))
        limits = limits or read_limits(home.path)
        self.presigner = Presigner(home.presign_secret(), lambda: self.base_url, clock)
        self.storages = LocalStorages(home, self.presigner)
        self.tasks = SqliteTasks(self.database)
        self.transfers = SqliteTransfers(self.database)
        self.pool = ThreadPoolExecutor(max_workers=max(2, os.cpu_count() or 2), thread_name_prefix="cpu")
        self.network = ThreadPoolExecutor(max_workers=16, thread_name_prefix="net")
        self.deps = Deps(
            statements=SqliteStatements(self.database),
            announcements=SqliteAnnouncements(self.database),
            shares=SqliteShares(self.database),
            held=SqliteHeld(self.database),
            transfers=self.transfers,
            nonces=SqliteNonces(self.database),
            meters=SqliteMeters(self.database),
            notes=SqliteNotes(self.database),
            tasks=self.tasks,
            storages=self.storages,
            keys=FileKeys(home.keys, entropy),
            peers=HttpPeers(policy),
            fetcher=HttpFetcher(policy, stall=limits.stall, window=limits.stall),
            clock=clock,
            entropy=entropy,
            prices=prices(),
            limits=limits,
        )

    @property
    def base_url(self) -> str:
        """Where this process is reached, without a slash at the end."""
        config = self.config
        if config.public_url:
            return config.public_url.rstrip("/")
        host = "127.0.0.1" if config.host in ("0.0.0.0", "::", "") else config.host  # noqa: S104
        return f"http://{f'[{host}]' if ':' in host else host}:{config.port}"

    @property
    def endpoint(self) -> str:
        """What this agent announces: its base URL and id."""
        return f"{self.base_url}/a/{self.agent}"

    def change(self, step: Callable[[Config], Config]) -> None:
        """Change the settings, atomically among processes, and use them from now on."""
        self.config = self.home.change(step)

    def add_storage(self, name: str, path: Path) -> None:
        """Give a folder a name as a storage of this user. Replaces nothing: SetupError when the name is taken."""
        added = StorageConfig("folder", str(path.absolute()))

        def step(config: Config) -> Config:
            return replace(config, storages=MappingProxyType({**config.storages, name: added}))

        self.change(step)

    def close(self) -> None:
        """Free threads and files."""
        self.pool.shutdown(wait=True, cancel_futures=True)
        self.network.shutdown(wait=False, cancel_futures=True)
        self.database.close()


def _public(url: str | None) -> bool:
    """Whether an agent reached by this URL is reached from the internet, as far as the name tells."""
    host = urlsplit(url).hostname if url else None
    if not host or host == "localhost" or ("." not in host.strip("[]") and ":" not in host):
        return False
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return True


def create(
    path: Path,
    *,
    name: str,
    host: str = "127.0.0.1",
    port: int = 0,
    public_url: str | None = None,
    role: str = "agent",
    recovery: bool = False,
    fsync: bool = True,
    clock: Clock = time.time,
    entropy: Entropy = os.urandom,
) -> tuple[Runtime, str | None]:
    """Make a home with a new identity. Returns the runtime, and the recovery key's text to be shown once.

    Of several at once one makes it, the others get the SetupError that there is an agent already. Keys and inception
    are stored under the id before the settings name it: a crash leaves a home that `create` takes again.
    """
    commitments: tuple[str, ...] = ()
    text = None
    if recovery:
        public, text = make_recovery(entropy)
        commitments = (commitment(public),)
    born = bear(entropy, commitments)
    config = Config(
        name=name,
        agent=born.id,
        host=host,
        port=port,
        public_url=public_url,
        storages=MappingProxyType({"home": StorageConfig("folder", "storage")}),
        role=role,
        fsync=fsync,
    )
    config.dump()  # what is wrong in it is said before anything is made
    with Home.founding(path, entropy) as home:
        FileKeys(home.keys, entropy).adopt(born.prepared, born.id)
        database = Database(home.database)
        try:
            SqliteStatements(database).append(born.id, [born.row(clock())])
        finally:
            database.close()
        home.complete(config)
    return Runtime(home, clock=clock, entropy=entropy), text


def open_runtime(
    path: Path,
    *,
    clock: Clock = time.time,
    entropy: Entropy = os.urandom,
    limits: Limits | None = None,
    policy: AddressPolicy | None = None,
) -> Runtime:
    """The agent of an existing home. NoHomeError, SetupError, KeyFileError."""
    return Runtime(Home(path), clock=clock, entropy=entropy, limits=limits, policy=policy)
