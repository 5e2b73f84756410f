"""The drivers under the record, task and key contracts, one rig each. A new driver joins with one function here."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from tests.support.emulators import REGION, Emulator, ministack, moto, unique

if TYPE_CHECKING:
    from skyswarm.drivers.aws.dynamo.table import Table
    from skyswarm.drivers.aws.session import Session

ALICE = "a" * 64
BOB = "b" * 64
REAL = "SKYSWARM_TEST_REGION"
"""Names the region of an AWS account on which the contract is to be held as well: it costs some cents."""


@dataclass(frozen=True)
class Rig:
    """All record ports of one driver over one store that is new and empty; and its tasks, where it keeps them, too."""

    statements: Statements
    announcements: Announcements
    shares: Shares
    held: Held
    transfers: Transfers
    nonces: Nonces
    meters: Meters
    notes: Notes
    tasks: Tasks | None
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


def dynamodb(folder: Path) -> Rig:
    return _dynamo(folder, ministack)


def dynamodb_moto(folder: Path) -> Rig:
    return _dynamo(folder, moto)


def dynamodb_real(folder: Path) -> Rig:
    """On an account of AWS, by the user's own profile; a table per test, which takes some seconds each."""
    return _dynamo(folder, lambda: Emulator(""))


def _dynamo(folder: Path, server: Callable[[], Emulator]) -> Rig:
    """Over a table of its own, which another process finds by a file in the folder."""
    # Here, so that processes over other stores need not load the SDK.
    from skyswarm.drivers.aws.dynamo import records
    from skyswarm.drivers.aws.dynamo.schema import create_table

    place = folder / "table.json"
    if there := place.exists():
        url, name = json.loads(place.read_text())
    else:
        url, name = server().url, unique("records")
    session = _session(url)
    if not there:
        create_table(session, name)
        place.write_text(json.dumps([url, name]))
    client = session.client("dynamodb")

    def close() -> None:
        if not there:
            client.delete_table(TableName=name)

    return dynamo_rig(records.Table(client, name), close)


def dynamo_rig(table: Table, close: Callable[[], None] = lambda: None) -> Rig:
    """All record ports over a DynamoDB table."""
    from skyswarm.drivers.aws.dynamo import records

    return Rig(
        records.DynamoStatements(table),
        records.DynamoAnnouncements(table),
        records.DynamoShares(table),
        records.DynamoHeld(table),
        records.DynamoTransfers(table),
        records.DynamoNonces(table),
        records.DynamoMeters(table),
        records.DynamoNotes(table),
        None,
        close,
    )


@cache
def _session(url: str) -> Session:
    """One for each server: its clients take a while to make."""
    from skyswarm.drivers.aws.session import Session

    if not url:
        return Session(os.environ[REAL])
    emulator = Emulator(url)
    return Session(REGION, url, emulator.key, emulator.secret)


def aws(name: str) -> Callable[[Path], Any]:
    """A rig of `aws_rigs.py`, which loads the SDK."""

    def make(folder: Path) -> Any:
        return getattr(importlib.import_module("tests.support.aws_rigs"), name)(folder)

    return make


Makers = dict[str, Callable[[Path], Rig]]

RIGS: Makers = {"memory": memory, "sqlite": sqlite, "dynamodb": dynamodb, "dynamodb-moto": dynamodb_moto}
"""Every driver that has to keep the promises. Listed and not to be reached is a failure, never a skip."""

SHARED_RIGS: Makers = {"sqlite": sqlite, "dynamodb": dynamodb, "dynamodb-moto": dynamodb_moto}
"""Those that several processes use at once."""

if REAL in os.environ:
    RIGS["dynamodb-real"] = SHARED_RIGS["dynamodb-real"] = dynamodb_real

TASK_RIGS: Makers = {"memory": memory, "sqlite": sqlite, "sqs": aws("sqs")}
"""Those that keep tasks as well."""

MADE_RIGS: Makers = {"sqlite": sqlite}
"""Those whose store is made by whoever comes first, not by the deployment."""

Keyring = MemoryKeys | FileKeys


def memory_keys(folder: Path) -> Keyring:
    return MemoryKeys(os.urandom)


def file_keys(folder: Path) -> Keyring:
    return FileKeys(folder)


KEYRINGS: dict[str, Callable[[Path], Keyring]] = {
    "memory": memory_keys,
    "files": file_keys,
    "secrets": aws("secret_keys"),
    "secrets-moto": aws("secret_keys_moto"),
}
