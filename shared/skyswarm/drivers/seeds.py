"""What the keys of an agent are made of, for every driver of the Keys port.

Law: seeds come from the entropy that is passed in, stay inside, and show in no repr, error or log.
Three keys per agent: the one that signs now, the pre-rotated next one whose hash is in the chain, and the one after
it, because a rotation statement names the hash of a key that must be kept before that statement is stored. Recovery
keys are shown once and never stored.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field

from skyswarm.errors import MalformedError
from skyswarm.messages.keys import SEED_SIZE, SeedSigner
from skyswarm.ports.system import Entropy, Signer

Seeds = tuple[bytes, bytes, bytes]

_CHECK = 3  # bytes of checksum: with the seed, 35 bytes are exactly 14 groups of 4 letters
_RECOVERY = 56


@dataclass(frozen=True, slots=True)
class Prepared:
    """Keys of an agent that has no id yet: its inception holds `current_public` and `next_public`'s hash."""

    seeds: Seeds = field(repr=False)

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


def make_recovery(entropy: Entropy) -> tuple[bytes, str]:
    """A recovery key: its public half, whose hash goes into the inception, and the text to show its owner once."""
    seed = entropy(SEED_SIZE)
    text = base64.b32encode(seed + hashlib.sha256(seed).digest()[:_CHECK]).decode("ascii")
    return SeedSigner(seed).public, "-".join(text[start : start + 4] for start in range(0, _RECOVERY, 4))


def read_recovery(text: str) -> Signer:
    """The key of a recovery text as its owner typed it (case, spaces and dashes do not matter). MalformedError."""
    letters = re.sub(r"[\s-]", "", text).upper()
    if not re.fullmatch(rf"[A-Z2-7]{{{_RECOVERY}}}", letters):
        raise MalformedError(
            "a recovery key is 14 groups of 4 letters and digits 2-7", advice="Look for a slip."
        )
    data = base64.b32decode(letters)
    seed, check = data[:SEED_SIZE], data[SEED_SIZE:]
    if hashlib.sha256(seed).digest()[:_CHECK] != check:
        raise MalformedError(
            "that recovery key has a slip in it", advice="Compare it with what you wrote down."
        )
    return SeedSigner(seed)
