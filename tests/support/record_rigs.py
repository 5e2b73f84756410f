"""The drivers under the record, task and key contracts, one rig each. A new driver joins with one function here."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from skyswarm.drivers.local.database import Database
from skyswarm.drivers.local.keys import FileKeys
from skyswarm.drivers.local.records import (
    SqliteAnnouncements,
    SqliteHeld,
    SqliteMeters,
    SqliteNonces,
    SqliteNotes,
    SqliteShares,
    SqliteStatements,
    SqliteTransfers,
)
from skyswarm.drivers.local.tasks import SqliteTasks
from skyswarm.drivers.memory.keys import MemoryKeys
from skyswarm.drivers.memory.records import (
    MemoryAnnouncements,
    MemoryHeld,
    MemoryMeters,
    MemoryNonces,
    MemoryNotes,
    MemoryShares,
    MemoryStatements,
    MemoryTransfers,
)
from skyswarm.drivers.memory.tasks import MemoryTasks
from skyswarm.ports.records import (
    Announcements,
    Held,
    Meters,
    Nonces,
    Notes,
    Shares,
    Statements,
    Transfers,
)
from skyswarm.ports.work import Tasks

ALICE = "a" * 64
BOB = "b" * 64


@dataclass(frozen=True)
class Rig:
    """All record ports of one driver over one store that is new and empty."""

    statements: Statements
    announcements: Announcements
    shares: Shares
    held: Held
    transfers: Transfers
    nonces: Nonces
    meters: Meters
    notes: Notes
    tasks: Tasks
    close: Callable[[], None] = lambda: None


def memory(folder: Path) -> Rig:
    return Rig(
        MemoryStatements(),
        MemoryAnnouncements(),
        MemoryShares(),
        MemoryHeld(),
        MemoryTransfers(),
        MemoryNonces(),
        MemoryMeters(),
        MemoryNotes(),
        MemoryTasks(),
    )


def sqlite(folder: Path) -> Rig:
    """Also what another process over the same folder would have: see `tests/support/record_child.py`."""
    database = Database(folder / "agent.db")
    return Rig(
        SqliteStatements(database),
        SqliteAnnouncements(database),
        SqliteShares(database),
        SqliteHeld(database),
        SqliteTransfers(database),
        SqliteNonces(database),
        SqliteMeters(database),
        SqliteNotes(database),
        SqliteTasks(database),
        database.close,
    )


RIGS: dict[str, Callable[[Path], Rig]] = {"memory": memory, "sqlite": sqlite}
"""Every driver that has to keep the promises. Listed and not to be reached is a failure, never a skip."""

SHARED_RIGS: dict[str, Callable[[Path], Rig]] = {"sqlite": sqlite}
"""Those that several processes use at once."""

Keyring = MemoryKeys | FileKeys


def memory_keys(folder: Path) -> Keyring:
    return MemoryKeys(os.urandom)


def file_keys(folder: Path) -> Keyring:
    return FileKeys(folder)


KEYRINGS: dict[str, Callable[[Path], Keyring]] = {"memory": memory_keys, "files": file_keys}
