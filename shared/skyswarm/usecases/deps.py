"""What every use case is given: one bundle of ports. A front door builds it once per cold start."""

from __future__ import annotations

from dataclasses import dataclass

from skyswarm.ports.network import Fetcher, Peers
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
from skyswarm.ports.storage import Storages
from skyswarm.ports.system import Clock, Entropy, Keys
from skyswarm.ports.work import Tasks


@dataclass(frozen=True, slots=True)
class Deps:
    """All ports. Nothing in here belongs to one agent: the agent is an argument of every call."""

    statements: Statements
    announcements: Announcements
    shares: Shares
    held: Held
    transfers: Transfers
    nonces: Nonces
    meters: Meters
    notes: Notes
    tasks: Tasks
    storages: Storages
    keys: Keys
    peers: Peers
    fetcher: Fetcher
    clock: Clock
    entropy: Entropy
