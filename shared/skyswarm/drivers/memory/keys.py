"""Signing keys in memory: one process, nothing kept.

Law: one lock, so that each method is one atomic step; seeds show in no repr, error or log.
"""

from __future__ import annotations

import threading

from skyswarm.drivers.seeds import Prepared, Seeds, prepare
from skyswarm.errors import AbsentError, ConflictError
from skyswarm.messages.keys import SEED_SIZE, SeedSigner
from skyswarm.ports.system import Entropy, Signer

__all__ = ["MemoryKeys", "Prepared", "prepare"]


class MemoryKeys:
    """The Keys port."""

    def __init__(self, entropy: Entropy) -> None:
        self._entropy = entropy
        self._lock = threading.Lock()
        self._seeds: dict[str, Seeds] = {}
        self._reserved: dict[tuple[str, str], Seeds] = {}

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
            current, upcoming, following = self._of(agent)
            if SeedSigner(current).public != expect:
                raise ConflictError(f"the keys of agent {agent} were rotated already")
            self._seeds[agent] = (upcoming, following, self._entropy(SEED_SIZE))
            return SeedSigner(following).public

    def reserve(self, agent: str, undone: str) -> tuple[bytes, bytes]:
        with self._lock:
            self._of(agent)
            if (agent, undone) not in self._reserved:
                self._reserved[agent, undone] = prepare(self._entropy).seeds
            made = Prepared(self._reserved[agent, undone])
        return made.current_public, made.next_public

    def replace(self, agent: str, undone: str, expect: bytes) -> None:
        with self._lock:
            seeds = self._reserved.get((agent, undone))
            if seeds is None:
                raise AbsentError(f"no keys are reserved for a recovery of agent {agent}")
            if Prepared(seeds).current_public != expect:
                raise ConflictError(f"other keys are reserved for a recovery of agent {agent}")
            self._seeds[agent] = self._reserved.pop((agent, undone))

    def _of(self, agent: str) -> Seeds:
        seeds = self._seeds.get(agent)
        if seeds is None:
            raise AbsentError(f"there is no signing key of agent {agent} here")
        return seeds
