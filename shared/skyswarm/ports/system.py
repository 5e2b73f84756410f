"""Time, randomness and keys: what the core may not take for itself, it is given through these."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from skyswarm.messages.keys import Signer  # drawn there: messages are below ports

__all__ = ["Clock", "Entropy", "Keys", "Signer"]

Clock = Callable[[], float]
"""Unix time in seconds."""

Entropy = Callable[[int], bytes]
"""`entropy(n)` gives n unpredictable bytes."""


class Keys(Protocol):
    """The signing keys of the agents that live here. Private halves never leave the driver."""

    def current(self, agent: str) -> Signer:
        """The key that signs for `agent` now. AbsentError when the agent has none here (retired, or not ours)."""
        ...

    def upcoming(self, agent: str) -> Signer:
        """The pre-rotated next key; its hash is already in the agent's chain. AbsentError when there is none."""
        ...

    def following(self, agent: str) -> bytes:
        """The public half of the key that the next `rotate` makes the upcoming one. It is made and kept early,
        because the rotation statement, which is stored first, names its hash. AbsentError as above."""
        ...

    def rotate(self, agent: str, expect: bytes) -> bytes:
        """Make the upcoming key current and the following one upcoming, and generate a new following one,
        atomically and durably.

        Conditional: nothing happens unless the current public key is `expect` (ConflictError otherwise).
        Returns the public half of the *new* upcoming key (the `following` of before). The order of a rotation is
        in usecases/identity.py: the statement is stored first, so that a crash between the two is mended by
        running it again.
        """
        ...

    def reserve(self, agent: str, undone: str) -> tuple[bytes, bytes]:
        """The public halves of a fresh signing key and a fresh upcoming one, for the recovery that undoes the statement
        `undone` (id): made from entropy alone and kept durably beside the agent's keys, which stay as they are. Until
        `replace` they stay the same for that statement, so that of two processes none loses what the other has named.
        AbsentError: the agent has no keys here."""
        ...

    def replace(self, agent: str, undone: str, expect: bytes) -> None:
        """Make the keys that were reserved for that recovery the agent's, all three of them, atomically and durably.

        Conditional: ConflictError unless the reserved signing key is `expect`; AbsentError when nothing is reserved, or
        not any more. As with `rotate` the statement is stored first, and a crash between the two is mended by running
        it again.
        """
        ...
