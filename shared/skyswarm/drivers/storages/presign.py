"""Presigned URLs of storages that have no signing of their own (folder, memory): made and checked only here.

Law: pure computation over a secret and a clock that are given; the secret never leaves this object. A URL names
one storage, one key, one version and one end; GET and HEAD only. One secret per agent: a URL says nothing about
whose storage it is, so a shared secret would open one agent's files with another agent's URL.

    http://host:8441/a/<agent>/o/photos/2024/sea.jpg?v=1024-1700000000000000000-77&e=1700000900&s=<43 letters>
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, unquote_to_bytes, urlsplit

from skyswarm.errors import InputError, LinkExpiredError, RequestError, SignatureError, UnsafePathError
from skyswarm.messages.urls import MAX_URL
from skyswarm.ports.storage import Grant
from skyswarm.ports.system import Clock

OBJECTS = "/o/"
"""What comes after the base's path in every presigned path."""

METHODS = ("GET", "HEAD")
_CONTEXT = b"skyswarm/v1/presign\n"
_SAFE = "/~"
_LAST = 10**12 - 1
_SIGNATURE = 43


@dataclass(frozen=True, slots=True)
class Signed:
    """A presigned URL that has been checked: what its holder may read."""

    storage: str
    key: str
    version: str
    expires: int


class Presigner:
    """Makes and checks presigned URLs. `secret`: at least 32 bytes; `base_url` without a trailing '/', or what gives it
    now, where it may change."""

    def __init__(self, secret: bytes, base_url: str | Callable[[], str], clock: Clock) -> None:
        if len(secret) < 32:
            raise InputError("a presigning secret has at least 32 bytes")
        self._secret = secret
        self._base_url = base_url
        self._clock = clock

    @property
    def _base(self) -> str:
        base = self._base_url
        return (base if isinstance(base, str) else base()).rstrip("/")

    def grant(self, storage: str, key: str, version: str, ttl: int) -> Grant:
        """A URL for `ttl` seconds from now. UnsafePathError: longer than any receiver takes (`spec/messages.md`)."""
        self.check_length(storage, key, version)
        expires = int(self._clock()) + ttl
        signature = self._sign(storage, key, version, expires)
        return Grant(self._url(storage, key, version, expires, signature), expires)

    def check_length(self, storage: str, key: str, version: str) -> None:
        """UnsafePathError when no URL can be made for the key, whenever it ends."""
        length = len(self._url(storage, key, version, _LAST, "s" * _SIGNATURE))
        if length > MAX_URL:
            raise UnsafePathError(
                f"its URL would have {length} characters, and {MAX_URL} is the most: {key[:80]}…",
                advice="Give it, or the folders above it, shorter names; signs beyond ASCII count threefold per byte.",
            )

    def _url(self, storage: str, key: str, version: str, expires: int, signature: str) -> str:
        path = f"{quote(storage, safe='')}/{quote(key, safe=_SAFE)}"
        query = f"v={quote(version, safe='')}&e={expires}&s={signature}"
        return f"{self._base}{OBJECTS}{path}?{query}"

    def check_url(self, method: str, url: str) -> Signed:
        """`check` for a whole URL that this presigner made."""
        parts = urlsplit(url)
        cut = len(urlsplit(self._base).path) + len(OBJECTS)
        return self.check(method, parts.path[cut:], parts.query)

    def check(self, method: str, rest: str, query: str) -> Signed:
        """What a request may read. `rest` is the percent-encoded path behind `/o/`, `query` is as it came.

        RequestError (not a presigned URL at all), SignatureError (tampered, other method), LinkExpiredError.
        """
        # 1. Parse strictly: three fields once each, and nothing else.
        try:
            pairs = parse_qsl(query, strict_parsing=True, errors="strict", max_num_fields=8)
            name, _, quoted = rest.partition("/")
            storage, key = (unquote_to_bytes(part).decode("utf-8") for part in (name, quoted))
        except ValueError as error:
            raise RequestError(f"not a presigned URL: {error}") from error
        fields = dict(pairs)
        if len(pairs) != 3 or fields.keys() != {"v", "e", "s"} or not key:
            raise RequestError(
                "not a presigned URL", advice="It has a storage, a key, and v, e, s in the query."
            )
        expiry = fields["e"]
        if not (expiry.isascii() and expiry.isdigit() and len(expiry) <= 12 and str(int(expiry)) == expiry):
            raise RequestError("not a presigned URL: its end is not a number")
        expires = int(expiry)
        # 2. The signature before anything else it says is believed.
        if method not in METHODS:
            raise SignatureError(f"a presigned URL is for GET and HEAD, not for {method[:16]}")
        good = self._sign(storage, key, fields["v"], expires)
        if not hmac.compare_digest(good.encode(), fields["s"].encode("utf-8", "surrogateescape")):
            raise SignatureError("the signature of this URL is wrong")
        # 3. The end.
        if self._clock() > expires:
            raise LinkExpiredError("this presigned URL is past its time", advice="Ask for a new one.")
        return Signed(storage, key, fields["v"], expires)

    def _sign(self, storage: str, key: str, version: str, expires: int) -> str:
        """HMAC over lengths and fields, so that no two different requests give the same bytes."""
        mac = hmac.new(self._secret, _CONTEXT, hashlib.sha256)
        for field in ("GET", storage, key, version, str(expires)):
            raw = field.encode("utf-8")
            mac.update(len(raw).to_bytes(4, "big"))
            mac.update(raw)
        return base64.urlsafe_b64encode(mac.digest()).decode("ascii").rstrip("=")
