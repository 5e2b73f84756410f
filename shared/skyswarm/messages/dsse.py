"""DSSE envelopes (secure-systems-lab/dsse, v1.0.2), in the one form that Skyswarm accepts (`spec/identity.md`).

Law: the bytes that were signed are the bytes that travel, and one payload with one set of signatures has exactly one
envelope: canonical JSON, padded standard base64, signatures in ascending order of keyid. What a payload means is not
known here. Parsing checks no signature: `verify` does, against a key that the *caller* trusts.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Any

from skyswarm.errors import MalformedError, SignatureError, TooLargeError
from skyswarm.messages import canonical
from skyswarm.messages.keys import SIGNATURE_SIZE, Signer, did_key, parse_did_key, verify

MAX_SIGNATURES = 4
MAX_TYPE = 128

_TYPE = re.compile(rf"[\x21-\x7e]{{1,{MAX_TYPE}}}")
_OVERHEAD = 1024  # four signatures with their keyids, the payload type and the punctuation stay below


def pae(payload_type: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: what is really signed."""
    kind = payload_type.encode("utf-8")
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload, its type, and 1–4 signatures as (did:key, 64 bytes), in ascending order of did:key."""

    payload_type: str
    payload: bytes
    signatures: tuple[tuple[str, bytes], ...]

    def __post_init__(self) -> None:
        if _TYPE.fullmatch(self.payload_type) is None:
            raise MalformedError(f"an envelope's payloadType is 1–{MAX_TYPE} printable ASCII characters")
        if not 1 <= len(self.signatures) <= MAX_SIGNATURES:
            raise MalformedError(f"an envelope has 1–{MAX_SIGNATURES} signatures, not {len(self.signatures)}")
        last = ""
        for keyid, signature in self.signatures:
            parse_did_key(keyid)
            if keyid <= last:
                raise MalformedError("an envelope's signatures are in ascending order of keyid, one per key")
            if len(signature) != SIGNATURE_SIZE:
                raise MalformedError(f"a signature is {SIGNATURE_SIZE} bytes, not {len(signature)}")
            last = keyid

    def dump(self) -> bytes:
        """The envelope's only form as bytes."""
        return canonical.dumps(
            {
                "payload": base64.b64encode(self.payload).decode(),
                "payloadType": self.payload_type,
                "signatures": [
                    {"keyid": keyid, "sig": base64.b64encode(signature).decode()}
                    for keyid, signature in self.signatures
                ],
            }
        )

    @classmethod
    def parse(cls, data: bytes, limit: int) -> Envelope:
        """Read an envelope whose *payload* has at most `limit` bytes. MalformedError, TooLargeError."""
        value = canonical.loads(data, max_size(limit))
        if not isinstance(value, dict) or value.keys() != {"payload", "payloadType", "signatures"}:
            raise MalformedError("an envelope has payload, payloadType and signatures, nothing else")
        kind, listed = value["payloadType"], value["signatures"]
        if not isinstance(kind, str) or not isinstance(listed, list):
            raise MalformedError("an envelope's payloadType is a string, its signatures are a list")
        if len(listed) > MAX_SIGNATURES:
            raise TooLargeError(f"an envelope has at most {MAX_SIGNATURES} signatures, not {len(listed)}")
        payload = _binary(value["payload"])
        if len(payload) > limit:
            raise TooLargeError(f"{len(payload)} bytes of payload, at most {limit} are allowed")
        return cls(kind, payload, tuple(_signature(item) for item in listed))

    @property
    def keyids(self) -> tuple[str, ...]:
        """Who claims to have signed, as did:key. Claims only, until `verify`."""
        return tuple(keyid for keyid, _ in self.signatures)

    def verify(self, public: bytes) -> None:
        """Return when `public` has signed this payload under this type; SignatureError otherwise."""
        keyid = did_key(public)
        for claimed, signature in self.signatures:
            if claimed == keyid:
                verify(public, pae(self.payload_type, self.payload), signature)
                return
        raise SignatureError(f"not signed by {keyid}")

    def add(self, signer: Signer) -> Envelope:
        """The same payload with one signature more. MalformedError when that key has signed already."""
        mine = (did_key(signer.public), signer.sign(pae(self.payload_type, self.payload)))
        return Envelope(self.payload_type, self.payload, tuple(sorted((*self.signatures, mine))))


def seal(payload_type: str, payload: bytes, *signers: Signer) -> Envelope:
    """Sign a payload with one to four keys."""
    message = pae(payload_type, payload)
    signatures = sorted((did_key(signer.public), signer.sign(message)) for signer in signers)
    return Envelope(payload_type, payload, tuple(signatures))


def max_size(payload: int) -> int:
    """The most bytes that an envelope around `payload` bytes can have: a limit for bodies and fields."""
    return (payload + 2) // 3 * 4 + _OVERHEAD


def _signature(item: Any) -> tuple[str, bytes]:
    if not isinstance(item, dict) or item.keys() != {"keyid", "sig"} or not isinstance(item["keyid"], str):
        raise MalformedError("a signature of an envelope has keyid and sig, nothing else")
    return item["keyid"], _binary(item["sig"])


def _binary(text: Any) -> bytes:
    """Standard base64 with padding, in its one canonical spelling (no stray bits, no line breaks)."""
    if not isinstance(text, str):
        raise MalformedError("base64 is a JSON string")
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise MalformedError("not standard base64 with padding") from error
    if base64.b64encode(raw).decode() != text:
        raise MalformedError("base64 that is not in its canonical spelling")
    return raw
