"""Agents that sign: real keys, real envelopes, made from a name. For tests of statements at rest, not of
transport.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from skyswarm.messages.dsse import Envelope, seal
from skyswarm.messages.keys import SeedSigner, commitment, did_key
from skyswarm.messages.statements import (
    Distrust,
    Inception,
    Logged,
    Retire,
    Revoke,
    Rotate,
    Signed,
    Vouch,
    parse_signed,
    payload_type,
)

DAY = 86400
START = 1_800_000_000
"""The time at which these tests play, Unix s."""


def signer(*words: object) -> SeedSigner:
    return SeedSigner(hashlib.sha256("/".join(map(str, words)).encode()).digest())


def sign(statement: Logged, *keys: SeedSigner) -> Signed:
    return parse_signed(seal(payload_type(statement.kind), statement.payload(), *keys).dump())


def forge(signed: Signed, by: SeedSigner | None = None) -> Signed:
    """The same statement under a signature that is wrong: by another key that claims to be the right one."""
    claimed = signed.envelope.signatures[0][0]
    envelope = seal(signed.envelope.payload_type, signed.envelope.payload, by or signer("mallory"))
    wrong = Envelope(envelope.payload_type, envelope.payload, ((claimed, envelope.signatures[0][1]),))
    return parse_signed(wrong.dump())


class Author:
    """An agent with its keys. Each act appends a signed statement to `said` and returns it."""

    def __init__(self, name: str, recovery: int = 1) -> None:
        self.name = name
        self.keys = 0
        self.recovery = [signer(name, "recovery", number) for number in range(recovery)]
        inception = Inception(
            did_key(self.key.public),
            commitment(self.next.public),
            tuple(sorted(commitment(one.public) for one in self.recovery)),
        )
        self.said: list[Signed] = [sign(inception, self.key)]
        self.id = inception.id

    @property
    def key(self) -> SeedSigner:
        return signer(self.name, "key", self.keys)

    @property
    def next(self) -> SeedSigner:
        return signer(self.name, "key", self.keys + 1)

    def twin(self, upto: int | None = None) -> Author:
        """Whoever holds the same keys: a thief, or the agent saying something else. `upto`: the last seq in
        common.
        """
        other = copy.copy(self)
        other.said = list(self.said if upto is None else self.said[: upto + 1])
        return other

    def at(self, seq: int) -> Logged:
        statement = self.said[seq].statement
        assert not hasattr(statement, "serial")
        return statement  # type: ignore[return-value]

    def say(self, kind: type[Any], *keys: SeedSigner, **fields: Any) -> Signed:
        place = {"iss": self.id, "seq": len(self.said), "prev": self.said[-1].id}
        signed = sign(kind(**place | fields), *(keys or (self.key,)))
        self.said.append(signed)
        return signed

    def vouch(self, sub: Author | str, **fields: Any) -> Signed:
        about = {"sub": getattr(sub, "id", sub), "scope": ("fetch",), "depth": 7, "limit": None}
        return self.say(Vouch, **about | {"nbf": START, "exp": START + 30 * DAY} | fields)

    def revoke(self, sub: Author | None = None, vouch: Signed | None = None, **fields: Any) -> Signed:
        return self.say(Revoke, sub=sub.id if sub else None, vouch=vouch.id if vouch else None, **fields)

    def distrust(self, sub: Author, scope: Sequence[str] = ("fetch",), **fields: Any) -> Signed:
        return self.say(Distrust, sub=sub.id, scope=tuple(scope), **fields)

    def rotate(self, *, planned: bool = False) -> Signed:
        keys = (self.key, self.next) if planned else (self.next,)
        after = signer(self.name, "key", self.keys + 2)
        signed = self.say(Rotate, *keys, key=did_key(self.next.public), next=commitment(after.public))
        self.keys += 1
        return signed

    def retire(self) -> Signed:
        return self.say(Retire, self.next, key=did_key(self.next.public))

    def recover(self, undone: Signed, generation: int = 100, with_key: int = 0) -> Signed:
        """Undo a rotation or retirement with a recovery key; the chain goes on from what came before it."""
        self.said = self.said[: undone.statement.seq]  # type: ignore[union-attr]
        self.keys = generation
        fresh, after = self.key, self.next
        return self.say(
            Rotate,
            self.recovery[with_key],
            key=did_key(fresh.public),
            next=commitment(after.public),
            undo=undone.id,
        )


@dataclass(frozen=True)
class Row:
    """A stored statement, as the view reads it."""

    issuer: str
    envelope: bytes
    received: float = 0.0
    position: int = 0


def rows(*authors: Author | Sequence[Signed], received: float = 0.0) -> list[Row]:
    """Everything that these have said, as rows."""
    out: list[Row] = []
    for author in authors:
        for signed in author.said if isinstance(author, Author) else author:
            out.append(Row(signed.statement.iss, signed.envelope_bytes, received, len(out)))
    return out
