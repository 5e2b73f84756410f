"""Paths of a share, parsed once into a type that cannot leave a destination, and a small set that finds
clashes.

Law: text in, a safe path or UnsafePathError out; nothing is repaired, shortened or re-encoded
(`spec/pieces.md`, paths). What every storage can hold is required; what only some cannot hold (Windows names)
is told by `obstacle`.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from array import array
from bisect import bisect_left
from dataclasses import dataclass

from skyswarm.errors import PathCollisionError, UnsafePathError

MAX_PART = 255
"""UTF-8 bytes of one part: NAME_MAX of Linux and macOS."""
MAX_PATH = 1024
"""UTF-8 bytes of a whole path: the longest key of S3 and GCS."""
MAX_PARTS = 64
HIDDEN = ".skyswarm"
"""Where a folder keeps this agent's own state; never the first part of a share's path, in any spelling."""

# C0, DEL, C1; line and paragraph separators; what reorders the text around it (bidi embeddings, overrides,
# isolates); lone surrogates; Unicode's noncharacters, which XML listings cannot carry.
_FORBIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef"
    + "".join(chr(plane + last) for plane in range(0, 0x110000, 0x10000) for last in (0xFFFE, 0xFFFF))
    + "]"
)
_DRIVE = re.compile(r"[A-Za-z]:")
# What HFS+ leaves out when it compares names; Windows drops trailing dots and spaces and cuts a name at ':'.
_IGNORED = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u206a-\u206f\ufeff]")
_WINDOWS_CHARACTERS = re.compile(r'[<>:"|?*]')
_WINDOWS_DEVICE = re.compile(
    r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9\u00b9\u00b2\u00b3]) *(?:\.|$)", re.IGNORECASE
)


def fold(text: str) -> str:
    """The form in which two names are one file on some storage: NFC, full case folding, NFC."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


@dataclass(frozen=True, slots=True)
class SharePath:
    """A relative path of '/'-separated parts, as given (no normalisation). Make it with `parse`."""

    text: str

    def __post_init__(self) -> None:
        _check(self.text)

    @classmethod
    def parse(cls, text: str) -> SharePath:
        """UnsafePathError unless `text` is a path that stays inside every destination."""
        return cls(text)

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts, at least one, none of them empty, '.' or '..'."""
        return tuple(self.text.split("/"))

    @property
    def fold(self) -> str:
        """The form that is compared where the destination folds case or normalises."""
        return fold(self.text)

    @property
    def obstacle(self) -> str:
        """Why Windows and the storages that follow it (OneDrive, SMB) cannot hold it; "" when they can."""
        for part in self.parts:
            if found := _WINDOWS_CHARACTERS.search(part):
                return f"{_show(part)} has the character {found[0]}"
            if part[-1] in ". ":
                return f"{_show(part)} ends in a dot or a space"
            if _WINDOWS_DEVICE.match(part):
                return f"{_show(part)} is the name of a device"
        return ""

    @property
    def portable(self) -> bool:
        """Whether every storage known here can hold it."""
        return not self.obstacle

    def __str__(self) -> str:
        return self.text


def _check(text: str) -> None:
    if not isinstance(text, str) or not text:
        raise UnsafePathError("a path must be text, and not empty")
    # Characters first: what follows may then encode and print the text.
    if found := _FORBIDDEN.search(text):
        raise _unsafe(text, f"has the character U+{ord(found[0]):04X}, which no path may have")
    if "\\" in text:
        raise _unsafe(text, "has a backslash, which some systems read as a separator")
    size = len(text) if text.isascii() else len(text.encode())
    if size > MAX_PATH:
        raise _unsafe(text, f"has {size} bytes, more than {MAX_PATH}")
    if text[0] == "/" or _DRIVE.match(text):
        raise _unsafe(text, "is absolute")
    parts = text.split("/")
    if len(parts) > MAX_PARTS:
        raise _unsafe(text, f"has {len(parts)} parts, more than {MAX_PARTS}")
    for part in parts:
        if part in ("", ".", ".."):
            raise _unsafe(text, f"has the part {part!r}")
        if size > MAX_PART and len(part.encode()) > MAX_PART:
            raise _unsafe(text, f"has a part of more than {MAX_PART} bytes")
    if (text[0] == "." or not parts[0].isascii()) and _is_hidden(parts[0]):
        raise _unsafe(text, f"is inside {HIDDEN}, where agents keep their own state")


def _show(text: str) -> str:
    return ascii(text if len(text) <= 80 else text[:80] + "…")


def _unsafe(text: str, what: str) -> UnsafePathError:
    return UnsafePathError(f"the path {_show(text)} {what}")


def _is_hidden(part: str) -> bool:
    return fold(_IGNORED.sub("", part)).partition(":")[0].rstrip(". ") == HIDDEN


_BUCKETS = 1 << 16
_FILE, _FOLDER = 0, 1


class PathSet:
    """Paths seen so far, at about 10 bytes for each and for each of their folders, to find those that clash.

    Two paths clash when they are equal, or when one is a file where the other needs a folder. With `folding`
    (the rule for destinations that fold case or normalise, as Windows and macOS do) they are compared by
    their `fold`. Only 63 bits of a hash are kept: among ten million paths there is one chance in 180,000 that
    an innocent one is refused, and none that a clash passes. Buckets are kept in order: names can be searched
    for one of them, and must not make it slow.
    """

    __slots__ = ("_buckets", "_chain", "_folding", "_size")

    def __init__(self, folding: bool = True) -> None:
        self._buckets: list[array[int] | None] = [None] * _BUCKETS
        self._chain = ""  # the folder of the last path: neighbours in a listing mostly share it
        self._folding = folding
        self._size = 0

    def __len__(self) -> int:
        """Paths added; folders are not counted."""
        return self._size

    def add(self, path: SharePath) -> None:
        """PathCollisionError when it clashes with one added before; the set is of no use after that."""
        text = path.fold if self._folding else path.text
        chain = text.rpartition("/")[0]
        if chain != self._chain:
            end = len(chain)
            while end > 0 and self._enter(chain[:end], _FOLDER, path):  # a known folder has known parents
                end = chain.rfind("/", 0, end)
            self._chain = chain
        self._enter(text, _FILE, path)
        self._size += 1

    def _enter(self, text: str, kind: int, path: SharePath) -> bool:
        """Whether `text` is new. As a folder it may be known as one already; as a file it may not be
        known."""
        number = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
        entry = (number & ~1) | kind
        bucket = self._buckets[number >> 48]
        if bucket is None:
            self._buckets[number >> 48] = array("Q", (entry,))
            return True
        at = bisect_left(bucket, number & ~1)  # where it is known as either kind: never as both
        known = bucket[at] if at < len(bucket) else None
        if known == entry ^ 1:
            raise PathCollisionError(f"{_show(path.text)}: a file and a folder of this share have one name")
        if known != entry:
            bucket.insert(at, entry)
            return True
        if kind == _FILE:
            rule = "equal to it but for case and the encoding of accents" if self._folding else "equal to it"
            raise PathCollisionError(
                f"{_show(path.text)}: another file of this share has a path that is {rule}",
                advice="Rename one of the two.",
            )
        return False
