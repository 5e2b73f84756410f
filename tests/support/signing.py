"""Keys, agents and statements for tests: everything from fixed seeds, so every run signs the same bytes."""

from __future__ import annotations

import hashlib

from skyswarm.messages.dsse import seal
from skyswarm.messages.keys import SeedSigner, commitment, did_key
from skyswarm.messages.statements import Inception, Statement, Vouch, payload_type

DAY = 86_400


def signer(name: str) -> SeedSigner:
    """The key of that name."""
    return SeedSigner(hashlib.sha256(name.encode()).digest())


def hex_id(name: str) -> str:
    """An id that no real statement has."""
    return hashlib.sha256(b"id " + name.encode()).hexdigest()


def born(name: str) -> Inception:
    """An agent whose first key is `name`, whose next is `name next`."""
    return Inception(did_key(signer(name).public), commitment(signer(f"{name} next").public))


def a_vouch(giver: str = "alice", sub: str = "bob", seq: int = 1) -> Vouch:
    """The first vouch of one agent for another."""
    me = born(giver)
    return Vouch(me.iss, seq, me.id, born(sub).iss, ("fetch",), 2, None, 1000, 1000 + DAY)


def enveloped(statement: Statement, *names: str) -> bytes:
    """A statement sealed with these keys."""
    return seal(payload_type(statement.kind), statement.payload(), *map(signer, names)).dump()
