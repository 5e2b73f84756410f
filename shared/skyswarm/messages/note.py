"""Signed notes, checkpoints and cosignatures (c2sp.org/signed-note, tlog-checkpoint, tlog-cosignature).

Law: text and signature lines only; which key is whose, and what a log may do, is decided elsewhere.
`SignedNote.parse` says nothing about trust: no field of a note is to be believed before `verify` named a
known key that signed it. Ed25519 alone is known here (types 0x01 and 0x04); other signatures are carried
and ignored, as the format demands. `spec/repositories.md`, "The checkpoint".
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from skyswarm.errors import NoteError, SignatureError, TooLargeError
from skyswarm.messages.keys import verify as verify_ed25519

MAX_NOTE = 128 * 1024
MAX_SIGNATURES = 64
PLAIN = 0x01
COSIGNATURE = 0x04

Sign = Callable[[bytes], bytes]
"""RFC 8032 over a message."""

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,15}")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


@dataclass(frozen=True, slots=True)
class NoteKey:
    """A key that is known: `name`, Ed25519 `public` key (32 bytes), and the signature type it is used for."""

    name: str
    public: bytes
    kind: int = PLAIN

    def __post_init__(self) -> None:
        _check_name(self.name)
        if len(self.public) != 32 or self.kind not in (PLAIN, COSIGNATURE):
            raise NoteError("a note key is an Ed25519 key of type 1 (log) or 4 (cosigner)")

    @property
    def id(self) -> bytes:
        """The 4-byte key id: a short name, not a proof of anything."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:4]

    @property
    def vkey(self) -> str:
        """The verifier key as text: name+hex id+base64."""
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(bytes([self.kind]) + self.public).decode()}"

    @classmethod
    def parse(cls, vkey: str) -> NoteKey:
        """From a verifier key. NoteError."""
        name, _, rest = vkey.partition("+")
        short, _, data = rest.partition("+")
        raw = _base64(data)
        if len(raw) != 33:
            raise NoteError("not the verifier key of an Ed25519 note")
        key = cls(name, raw[1:], raw[0])
        if key.id.hex() != short:
            raise NoteError(f"the verifier key of {name!r} does not match its key id")
        return key


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line, not verified."""

    name: str
    id: bytes
    signature: bytes

    @property
    def line(self) -> str:
        return f"\u2014 {self.name} {base64.b64encode(self.id + self.signature).decode()}\n"


@dataclass(frozen=True, slots=True)
class SignedNote:
    """A text (ends in a newline) and its signature lines, in order."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def dump(self) -> bytes:
        """The note's bytes; `parse` of them gives an equal note."""
        return (self.text + "\n" + "".join(one.line for one in self.signatures)).encode()

    @classmethod
    def parse(cls, data: bytes) -> SignedNote:
        """From bytes of at most 128 KiB with 1 to 64 signatures. NoteError, TooLargeError."""
        if len(data) > MAX_NOTE:
            raise TooLargeError(f"a note of {len(data)} bytes, at most {MAX_NOTE} are allowed")
        try:
            whole = data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise NoteError("a note that is not UTF-8") from error
        if _CONTROL.search(whole):
            raise NoteError("a note with a control character")
        text, blank, lines = whole.rpartition("\n\n")
        if not blank or not lines.endswith("\n"):
            raise NoteError("a note is a text, an empty line and signature lines")
        found = tuple(_signature(line) for line in lines[:-1].split("\n"))
        if len(found) > MAX_SIGNATURES:
            raise TooLargeError(f"a note with {len(found)} signatures, at most {MAX_SIGNATURES} are read")
        return cls(text + "\n", found)

    def verify(self, keys: Iterable[NoteKey]) -> list[tuple[NoteKey, int | None]]:
        """The known keys that signed, each with its cosignature's time (Unix s; None: plain).

        Unknown keys are ignored. SignatureError when a known key's signature does not verify, NoteError when its
        time is none; the list may be empty, so the caller must look for the key it needs.
        """
        known = {(key.name, key.id): key for key in keys}
        out: list[tuple[NoteKey, int | None]] = []
        for one in self.signatures:
            key = known.get((one.name, one.id))
            if key is None:
                continue
            if key.kind == PLAIN:
                verify_ed25519(key.public, self.text.encode(), one.signature)
                out.append((key, None))
            else:
                if len(one.signature) != 72:
                    raise SignatureError("a cosignature is 8 bytes of time and 64 of signature")
                when = int.from_bytes(one.signature[:8], "big")
                verify_ed25519(key.public, cosigned(self.text, when), one.signature[8:])
                out.append((key, when))
        return out

    def signed(self, key: NoteKey, sign: Sign) -> SignedNote:
        """This note with the plain signature of `key` (an earlier line of that key is replaced)."""
        return self._with(NoteSignature(key.name, key.id, sign(self.text.encode())))

    def cosigned(self, key: NoteKey, sign: Sign, when: int) -> SignedNote:
        """This note with the cosignature of `key`, made at `when` (Unix s)."""
        made = when.to_bytes(8, "big") + sign(cosigned(self.text, when))
        return self._with(NoteSignature(key.name, key.id, made))

    def _with(self, new: NoteSignature) -> SignedNote:
        kept = tuple(one for one in self.signatures if (one.name, one.id) != (new.name, new.id))
        return SignedNote(self.text, (*kept, new))


def cosigned(text: str, when: int) -> bytes:
    """The bytes that a cosigner signs at `when`."""
    if not 0 <= when < 2**63:
        raise NoteError("a cosignature's time is below 2^63")
    return f"cosignature/v1\ntime {when}\n{text}".encode()


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A log's tree head: `size` leaves, `root` of 32 bytes; `extensions` are carried without meaning."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The note text."""
        root = base64.b64encode(self.root).decode()
        return "".join(f"{line}\n" for line in (self.origin, str(self.size), root, *self.extensions))

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """From a note's text. NoteError."""
        lines = text.split("\n")
        if len(lines) < 4 or lines[-1] or not all(lines[:-1]):
            raise NoteError("a checkpoint is three non-empty lines: origin, size, root")
        origin, size, root = lines[:3]
        if not _DECIMAL.fullmatch(size) or int(size) >= 2**53:
            raise NoteError(f"not the size of a log: {size[:32]!r}")
        raw = _base64(root)
        if len(raw) != 32:
            raise NoteError("a checkpoint's root is 32 bytes")
        return cls(origin, int(size), raw, tuple(lines[3:-1]))


def _signature(line: str) -> NoteSignature:
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != "\u2014":
        raise NoteError("not a signature line")
    _check_name(parts[1])
    raw = _base64(parts[2])
    if len(raw) < 5:
        raise NoteError("a signature line with no signature")
    return NoteSignature(parts[1], raw[:4], raw[4:])


def _check_name(name: str) -> None:
    if not name or "+" in name or any(char.isspace() for char in name) or _CONTROL.search(name):
        raise NoteError("a key name is not empty and has neither a space nor a plus")


def _base64(text: str) -> bytes:
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise NoteError("not base64") from error
    if base64.b64encode(raw).decode() != text:
        raise NoteError("base64 with another spelling")
    return raw
