"""Ed25519 keys as Skyswarm writes them (`spec/identity.md`): did:key, commitments, signing and checking.

Law: the one place that touches a signature library. libsodium's verdict is normative: every agent must accept and
refuse the very same signatures, or two honest agents would hold different trust graphs. Nothing here makes keys:
seeds come in as arguments.
"""

from __future__ import annotations

import hashlib
import re
from typing import Protocol

from nacl.bindings import crypto_sign, crypto_sign_open, crypto_sign_seed_keypair
from nacl.exceptions import BadSignatureError

from skyswarm.errors import MalformedError, SignatureError

PUBLIC_SIZE = 32
SEED_SIZE = 32
SIGNATURE_SIZE = 64

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_DIGITS = {letter: value for value, letter in enumerate(_ALPHABET)}
# Multicodec ed25519-pub (0xed as a varint) before 32 bytes. 34 bytes that start so are always 47 base58 digits, the
# first of them '6': no leading zeros, hence exactly one text per key.
_CODEC = b"\xed\x01"
_DIGIT_COUNT = 47
_DID_KEY = re.compile(rf"did:key:z([{_ALPHABET}]{{{_DIGIT_COUNT}}})")


class Signer(Protocol):
    """One agent's current Ed25519 signing key. May be a call to a key service: sign rarely."""

    @property
    def public(self) -> bytes:
        """The 32-byte public key."""
        ...

    def sign(self, message: bytes) -> bytes:
        """A 64-byte RFC 8032 signature."""
        ...


def did_key(public: bytes) -> str:
    """`did:key:z6Mk…` (56 characters) of a 32-byte public key. MalformedError when it has another length."""
    if len(public) != PUBLIC_SIZE:
        raise MalformedError(f"an Ed25519 public key is {PUBLIC_SIZE} bytes, not {len(public)}")
    number = int.from_bytes(_CODEC + public, "big")
    digits = []
    while number:
        number, digit = divmod(number, 58)
        digits.append(_ALPHABET[digit])
    return "did:key:z" + "".join(reversed(digits))


def parse_did_key(text: str) -> bytes:
    """The 32-byte public key of a did:key. MalformedError for other key types, other lengths and other alphabets."""
    match = _DID_KEY.fullmatch(text)
    if match is None:
        raise MalformedError("not a did:key of an Ed25519 key")
    number = 0
    for letter in match.group(1):
        number = number * 58 + _DIGITS[letter]
    if number >> (8 * PUBLIC_SIZE) != int.from_bytes(_CODEC, "big"):
        raise MalformedError("not a did:key of an Ed25519 key")
    return (number & ((1 << 8 * PUBLIC_SIZE) - 1)).to_bytes(PUBLIC_SIZE, "big")


def commitment(public: bytes) -> str:
    """What an inception or rotation holds of a key that is not shown yet: lowercase hex SHA-256 of its 32 bytes."""
    if len(public) != PUBLIC_SIZE:
        raise MalformedError(f"an Ed25519 public key is {PUBLIC_SIZE} bytes, not {len(public)}")
    return hashlib.sha256(public).hexdigest()


def verify(public: bytes, message: bytes, signature: bytes) -> None:
    """Return when libsodium accepts the signature of `message` under `public`; SignatureError otherwise."""
    if len(public) != PUBLIC_SIZE or len(signature) != SIGNATURE_SIZE:
        raise SignatureError("the signature or the key has not the length of an Ed25519 one")
    try:
        crypto_sign_open(signature + message, public)
    except BadSignatureError as error:
        raise SignatureError("the signature does not verify under this key") from error


class SeedSigner:
    """A Signer (`ports/system.py`) that holds its 32-byte seed in memory. The seed never shows in a repr or a log."""

    __slots__ = ("_public", "_secret")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_SIZE:
            raise MalformedError(f"an Ed25519 seed is {SEED_SIZE} bytes, not {len(seed)}")
        self._public, self._secret = crypto_sign_seed_keypair(seed)

    @property
    def public(self) -> bytes:
        """The 32-byte public key."""
        return self._public

    def sign(self, message: bytes) -> bytes:
        """A 64-byte RFC 8032 signature."""
        return crypto_sign(message, self._secret)[:SIGNATURE_SIZE]

    def __repr__(self) -> str:
        return f"SeedSigner({did_key(self._public)})"

    def __reduce__(self) -> str:
        raise TypeError("a signing key is not pickled")
