"""What every use case is given: one bundle of ports. A front door builds it once per cold start."""

from __future__ import annotations

from dataclasses import dataclass, field

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
from skyswarm.usecases.costs import Prices
from skyswarm.usecases.limits import Limits
from skyswarm.usecases.pace import Pace


@dataclass(frozen=True, slots=True)
class Deps:
    """All ports. Nothing in here belongs to one agent: the agent is an argument of every call.

    `pace` and `cache` are this process's own hints: losing them loses nothing.
    """

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
    prices: Prices
    limits: Limits = field(default_factory=Limits)
    pace: Pace = field(default_factory=Pace)
    cache: dict[tuple[str, str], object] = field(default_factory=dict)
