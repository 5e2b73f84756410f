"""The tables of one agent process, and how an older file becomes a newer one.

Law: every primary key begins with the agent. A migration, once released, never changes: a new one is added at the
end. `user_version` counts those that were applied; each file only goes forward.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from skyswarm.errors import BackendError

_FIRST = (
    """CREATE TABLE statements (
        agent TEXT NOT NULL, position INTEGER NOT NULL, id TEXT NOT NULL, issuer TEXT NOT NULL, seq INTEGER NOT NULL,
        kind TEXT NOT NULL, envelope BLOB NOT NULL, received REAL NOT NULL, PRIMARY KEY (agent, position))""",
    "CREATE INDEX statements_id ON statements (agent, id)",
    "CREATE INDEX statements_chain ON statements (agent, issuer, seq, position)",
    """CREATE TABLE announcements (
        agent TEXT NOT NULL, issuer TEXT NOT NULL, part INTEGER NOT NULL, serial INTEGER NOT NULL,
        expires INTEGER NOT NULL, lookups TEXT NOT NULL, envelope BLOB NOT NULL, PRIMARY KEY (agent, issuer, part))""",
    "CREATE INDEX announcements_expires ON announcements (agent, expires)",
    """CREATE TABLE lookups (
        agent TEXT NOT NULL, lookup TEXT NOT NULL, issuer TEXT NOT NULL, part INTEGER NOT NULL,
        PRIMARY KEY (agent, lookup, issuer, part)) WITHOUT ROWID""",
    """CREATE TABLE shares (
        agent TEXT NOT NULL, manifest TEXT NOT NULL, name TEXT NOT NULL, storage TEXT NOT NULL, prefix TEXT NOT NULL,
        files INTEGER NOT NULL, bytes INTEGER NOT NULL, created REAL NOT NULL, expires INTEGER NOT NULL,
        audience TEXT NOT NULL, survive INTEGER NOT NULL, cap_bytes INTEGER NOT NULL, origin TEXT NOT NULL,
        PRIMARY KEY (agent, manifest))""",
    """CREATE TABLE held (
        agent TEXT NOT NULL, storage TEXT NOT NULL, key TEXT NOT NULL, version TEXT NOT NULL, size INTEGER NOT NULL,
        content TEXT NOT NULL, pieces BLOB NOT NULL, extra BLOB NOT NULL, PRIMARY KEY (agent, storage, key))""",
    "CREATE INDEX held_content ON held (agent, content, storage, key)",
    """CREATE TABLE transfers (
        agent TEXT NOT NULL, id TEXT NOT NULL, state TEXT NOT NULL, created REAL NOT NULL, doc BLOB NOT NULL,
        version INTEGER NOT NULL, PRIMARY KEY (agent, id))""",
    "CREATE INDEX transfers_created ON transfers (agent, created, id)",
    # The plan of a batch never changes and may be long; its state changes with every lease. So they lie apart.
    """CREATE TABLE batches (
        agent TEXT NOT NULL, transfer TEXT NOT NULL, number INTEGER NOT NULL, team TEXT NOT NULL,
        done INTEGER NOT NULL DEFAULT 0, lease TEXT NOT NULL DEFAULT '', lease_until REAL NOT NULL DEFAULT 0,
        attempts INTEGER NOT NULL DEFAULT 0, progress BLOB NOT NULL, PRIMARY KEY (agent, transfer, number))""",
    "CREATE INDEX batches_undone ON batches (agent, transfer, number) WHERE done = 0",
    "CREATE INDEX batches_leased ON batches (lease) WHERE lease <> ''",
    """CREATE TABLE plans (
        agent TEXT NOT NULL, transfer TEXT NOT NULL, number INTEGER NOT NULL, plan BLOB NOT NULL,
        PRIMARY KEY (agent, transfer, number))""",
    """CREATE TABLE tallies (
        agent TEXT NOT NULL, transfer TEXT NOT NULL, scope TEXT NOT NULL, batches INTEGER NOT NULL,
        done INTEGER NOT NULL, files INTEGER NOT NULL, pieces INTEGER NOT NULL, bytes INTEGER NOT NULL,
        held_bytes INTEGER NOT NULL, failed INTEGER NOT NULL, wasted_bytes INTEGER NOT NULL,
        PRIMARY KEY (agent, transfer, scope)) WITHOUT ROWID""",
    """CREATE TABLE nonces (
        agent TEXT NOT NULL, nonce TEXT NOT NULL, expires REAL NOT NULL, PRIMARY KEY (agent, nonce)) WITHOUT ROWID""",
    "CREATE INDEX nonces_expires ON nonces (agent, expires)",
    """CREATE TABLE meters (
        agent TEXT NOT NULL, meter TEXT NOT NULL, total INTEGER NOT NULL, expires REAL NOT NULL,
        PRIMARY KEY (agent, meter)) WITHOUT ROWID""",
    "CREATE INDEX meters_expires ON meters (agent, expires) WHERE expires > 0",
    """CREATE TABLE notes (
        agent TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, version INTEGER NOT NULL,
        PRIMARY KEY (agent, key))""",
    """CREATE TABLE tasks (
        agent TEXT NOT NULL, id TEXT NOT NULL, kind TEXT NOT NULL, body BLOB NOT NULL, dedup TEXT NOT NULL,
        at REAL NOT NULL, due REAL NOT NULL, holder TEXT NOT NULL DEFAULT '', attempt INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (agent, id))""",
    "CREATE INDEX tasks_due ON tasks (due)",
    "CREATE INDEX tasks_waiting ON tasks (agent, dedup) WHERE dedup <> '' AND holder = ''",
    "CREATE INDEX tasks_held ON tasks (holder) WHERE holder <> ''",
)

# What came of one issuer since, and its newest key event: without reading the rest of its chain.
_SECOND = (
    "CREATE INDEX statements_arrival ON statements (agent, issuer, position)",
    "CREATE INDEX statements_keys ON statements (agent, issuer, seq, position) "
    "WHERE kind IN ('inception', 'rotate', 'retire')",
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (_FIRST, _SECOND)
"""Migration i brings a file from version i to i + 1, each inside the one transaction that `migrate` is called in."""


def migrate(
    connection: sqlite3.Connection, path: Path, migrations: tuple[tuple[str, ...], ...] = MIGRATIONS
) -> None:
    """Apply what is missing. BackendError when the file was written by a newer version than this one."""
    have = connection.execute("PRAGMA user_version").fetchone()[0]
    if have > len(migrations):
        raise BackendError(
            f"{path} was written by a newer Skyswarm (schema {have}, this one knows {len(migrations)})",
            advice="Upgrade this installation; nothing was changed.",
        )
    for migration in migrations[have:]:
        for statement in migration:
            connection.execute(statement)
    if have < len(migrations):
        connection.execute(f"PRAGMA user_version={len(migrations)}")
