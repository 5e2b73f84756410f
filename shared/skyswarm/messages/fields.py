"""Strict reading of JSON objects into typed values: the rules that all messages share (`spec/messages.md`).

Law: each field is read once by name and kind; `end` refuses whatever is left, so an unknown field is an error and
never silently dropped. No message is known here. Every failure is the error class that the caller gave.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from skyswarm.errors import InputError, MalformedError
from skyswarm.messages.canonical import MAX_INTEGER
from skyswarm.messages.keys import parse_did_key

MAX_TIME = 253_402_300_799
"""The last second of the year 9999: no clock on the wire is later."""

ID = re.compile(r"[0-9a-f]{64}")
# What a log may be called in a signed note: printable, without space and without '+'.
ORIGIN = re.compile(r"[!-*,-~]{1,128}")
# 32 bytes in base64url: the last digit carries two zero bits, so each key has one spelling.
LOOKUP = re.compile(r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]")
_B64URL = re.compile(r"[A-Za-z0-9_-]*")
# C0, DEL, C1, line and paragraph separators, and the marks that reorder text: they forge terminals and pages.
UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")

T = TypeVar("T")


class Fields:
    """The fields of one JSON object. `where` names it in messages; `error` is raised for every fault."""

    __slots__ = ("_error", "_left", "_where")

    def __init__(self, value: Any, where: str, error: type[InputError]) -> None:
        if not isinstance(value, dict):
            raise error(f"{where} is not a JSON object")
        self._left: dict[str, Any] = dict(value)
        self._where = where
        self._error = error

    def fail(self, name: str, rule: str) -> InputError:
        """The error to raise for a field that breaks `rule`."""
        return self._error(f"{self._where}: {name} {rule}")

    def has(self, name: str) -> bool:
        """Whether an optional field is there and still unread."""
        return name in self._left

    def end(self) -> None:
        """All fields must have been read."""
        if self._left:
            raise self._error(f"{self._where}: unknown field {min(self._left)[:40]!r}")

    def take(self, name: str) -> Any:
        """The raw value."""
        try:
            return self._left.pop(name)
        except KeyError:
            raise self._error(f"{self._where}: {name} is missing") from None

    def fixed(self, name: str, value: Any) -> None:
        """The field must be exactly that value (and type: true is not 1)."""
        found = self.take(name)
        if found != value or type(found) is not type(value):
            raise self.fail(name, f"must be {value!r}")

    def integer(self, name: str, low: int = 0, high: int = MAX_INTEGER) -> int:
        value = self.take(name)
        if type(value) is not int or not low <= value <= high:
            raise self.fail(name, f"must be an integer from {low} to {high}")
        return value

    def time(self, name: str) -> int:
        """Unix seconds."""
        return self.integer(name, 0, MAX_TIME)

    def text(self, name: str, most: int, least: int = 0) -> str:
        """Text for people: `least` to `most` code points, no control or direction characters."""
        value = self.take(name)
        if not isinstance(value, str) or not least <= len(value) <= most or UNSAFE.search(value):
            raise self.fail(name, f"must be text of {least} to {most} characters without control characters")
        return value

    def lines(self, name: str, most: int) -> str:
        """Text for machines with line ends (a signed note): at most `most` code points, no other control characters."""
        value = self.take(name)
        if not isinstance(value, str) or len(value) > most or UNSAFE.search(value.replace("\n", "")):
            raise self.fail(name, f"must be text of at most {most} characters")
        return value

    def mapping(self, name: str) -> dict[str, Any]:
        """A JSON object, handed on unread."""
        value = self.take(name)
        if not isinstance(value, dict):
            raise self.fail(name, "must be a JSON object")
        return value

    def match(self, name: str, pattern: re.Pattern[str], rule: str) -> str:
        value = self.take(name)
        if not isinstance(value, str) or pattern.fullmatch(value) is None:
            raise self.fail(name, rule)
        return value

    def choice(self, name: str, allowed: Iterable[str]) -> str:
        value = self.take(name)
        if not isinstance(value, str) or value not in allowed:
            raise self.fail(name, "must be one of " + ", ".join(allowed))
        return value

    def id(self, name: str) -> str:
        """A SHA-256 in lowercase hex: agent, statement, manifest, page, content, commitment."""
        return self.match(name, ID, "must be 64 lowercase hex digits")

    def did(self, name: str) -> str:
        """A did:key, kept as text."""
        value = self.take(name)
        try:
            parse_did_key(value if isinstance(value, str) else "")
        except MalformedError as error:
            raise self.fail(name, "must be a did:key of an Ed25519 key") from error
        return str(value)

    def url(self, name: str, parse: Callable[[str], T]) -> T:
        """A URL read by one of the parsers of `messages/urls.py`."""
        value = self.take(name)
        try:
            return parse(value if isinstance(value, str) else "")
        except MalformedError as error:
            raise self.fail(name, f"is {error.message}") from error

    def maybe(self, name: str, read: Callable[[str], T]) -> T | None:
        """The field must be there; null gives None, everything else is read by `read`."""
        if name in self._left and self._left[name] is None:
            del self._left[name]
            return None
        return read(name)

    def items(self, name: str, most: int, read: Callable[[Fields], T]) -> tuple[T, ...]:
        """A list of at most `most` values; each is given to `read` as the field `item` of its own Fields."""
        value = self.take(name)
        if not isinstance(value, list) or len(value) > most:
            raise self.fail(name, f"must be a list of at most {most}")
        return tuple(read(Fields({"item": item}, f"{self._where}: {name}", self._error)) for item in value)

    def ids(self, name: str, most: int) -> tuple[str, ...]:
        """A list of SHA-256 in hex."""
        return self.items(name, most, lambda field: field.id("item"))

    def object(self, name: str) -> Fields:
        """A nested object."""
        return Fields(self.take(name), f"{self._where}: {name}", self._error)


def b64url(raw: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def from_b64url(text: str) -> bytes:
    """The bytes of base64url without padding, in its one canonical spelling. MalformedError."""
    if _B64URL.fullmatch(text) is None:
        raise MalformedError("not base64url without padding")
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error as error:
        raise MalformedError("not base64url without padding") from error
    if b64url(raw) != text:
        raise MalformedError("base64url that is not in its canonical spelling")
    return raw
