"""Signing keys in memory, and what a new agent's keys are made of. Nothing is kept.

Law: seeds come from the entropy that is passed in, stay inside, and show in no repr, error or log.
Three keys per agent: the one that signs now, the pre-rotated next one whose hash is in the chain, and the one
after it, because a rotation statement names the hash of a key that must be kept before it is stored.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from skyswarm.errors import AbsentError, ConflictError
from skyswarm.messages.keys import SEED_SIZE, SeedSigner
from skyswarm.ports.system import Entropy, Signer


@dataclass(frozen=True, slots=True)
class Prepared:
    """Keys of an agent that has no id yet: its inception holds `current_public` and `next_public`'s hash."""

    seeds: tuple[bytes, bytes, bytes] = field(repr=False)

    @property
    def current(self) -> Signer:
        """Signs the inception."""
        return SeedSigner(self.seeds[0])

    @property
    def current_public(self) -> bytes:
        return SeedSigner(self.seeds[0]).public

    @property
    def next_public(self) -> bytes:
        return SeedSigner(self.seeds[1]).public

    def __reduce__(self) -> str:
        raise TypeError("signing keys are not pickled")


def prepare(entropy: Entropy) -> Prepared:
    """Fresh keys, to be named in the inception whose hash is the agent's id; then `adopt` them under it."""
    return Prepared((entropy(SEED_SIZE), entropy(SEED_SIZE), entropy(SEED_SIZE)))


class MemoryKeys:
    """The Keys port."""

    def __init__(self, entropy: Entropy) -> None:
        self._entropy = entropy
        self._lock = threading.Lock()
        self._seeds: dict[str, tuple[bytes, bytes, bytes]] = {}

    def adopt(self, prepared: Prepared, agent: str) -> None:
        """Keep prepared keys under the agent's id. Idempotent; ConflictError when it has other keys."""
        with self._lock:
            if self._seeds.setdefault(agent, prepared.seeds) != prepared.seeds:
                raise ConflictError(f"agent {agent} has other keys here already")

    def create(self, agent: str) -> Prepared:
        """Fresh keys straight under an id, for when there is no inception that it is made of."""
        prepared = prepare(self._entropy)
        self.adopt(prepared, agent)
        return prepared

    def current(self, agent: str) -> Signer:
        return SeedSigner(self._of(agent)[0])

    def upcoming(self, agent: str) -> Signer:
        return SeedSigner(self._of(agent)[1])

    def following(self, agent: str) -> bytes:
        return SeedSigner(self._of(agent)[2]).public

    def rotate(self, agent: str, expect: bytes) -> bytes:
        with self._lock:
            current, upcoming, following = self._seeds.get(agent) or self._of(agent)
            if SeedSigner(current).public != expect:
                raise ConflictError(f"the keys of agent {agent} were rotated already")
            self._seeds[agent] = (upcoming, following, self._entropy(SEED_SIZE))
            return SeedSigner(following).public

    def _of(self, agent: str) -> tuple[bytes, bytes, bytes]:
        seeds = self._seeds.get(agent)
        if seeds is None:
            raise AbsentError(f"there is no signing key of agent {agent} here")
        return seeds
