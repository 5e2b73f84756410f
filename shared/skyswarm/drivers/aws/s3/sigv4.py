"""AWS Signature Version 4 for S3: signed headers and presigned URLs, by hmac alone.

Law: pure computation; time and credentials come in. Paths are percent-encoded once, by `quoted`, and sent as signed.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote

UNSIGNED = "UNSIGNED-PAYLOAD"
EMPTY = hashlib.sha256(b"").hexdigest()
LONGEST = 7 * 86400
"""Seconds a presigned URL may live."""

_ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who signs. `token`: of a role's session; `expires`: its end in Unix seconds, None when it is not known."""

    key: str
    secret: str = field(repr=False)
    token: str = field(default="", repr=False)
    expires: float | None = None


CredentialSource = Callable[[], Credentials]
"""Gives credentials that are good now; asked before every signature."""


def quoted(path: str) -> str:
    """A key as the path of a URL. '/' stays; everything but letters, digits and -._~ is encoded."""
    return quote(path, safe="/~")


def query_of(pairs: Mapping[str, str]) -> str:
    """The query string in the order that is signed."""
    encoded = sorted((quote(name, safe="~"), quote(value, safe="~")) for name, value in pairs.items())
    return "&".join(f"{name}={value}" for name, value in encoded)


def sign(
    who: Credentials,
    region: str,
    method: str,
    host: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    payload: str,
    now: float,
) -> dict[str, str]:
    """`headers` and those that make the request a signed one. `payload`: the body's SHA-256 in hex, which the server
    compares; `path` and `query` encoded; names of `headers` in lower case."""
    stamp = _stamp(now)
    signed = {**headers, "host": host, "x-amz-content-sha256": payload, "x-amz-date": stamp}
    if who.token:
        signed["x-amz-security-token"] = who.token
    names = ";".join(sorted(signed))
    scope, signature = _signature(who, region, stamp, _canonical(method, path, query, signed, names, payload))
    signed["authorization"] = (
        f"{_ALGORITHM} Credential={who.key}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return signed


def presign(
    who: Credentials, region: str, host: str, path: str, pairs: Mapping[str, str], now: float, seconds: int
) -> str:
    """The query of a GET that anybody may send for `seconds` from now (whole seconds of `now` count)."""
    stamp = _stamp(now)
    scope = _scope(region, stamp)
    every = {
        **pairs,
        "X-Amz-Algorithm": _ALGORITHM,
        "X-Amz-Credential": f"{who.key}/{scope}",
        "X-Amz-Date": stamp,
        "X-Amz-Expires": str(seconds),
        "X-Amz-SignedHeaders": "host",
    }
    if who.token:
        every["X-Amz-Security-Token"] = who.token
    query = query_of(every)
    _, signature = _signature(
        who, region, stamp, _canonical("GET", path, query, {"host": host}, "host", UNSIGNED)
    )
    return f"{query}&X-Amz-Signature={signature}"


def _canonical(
    method: str, path: str, query: str, headers: Mapping[str, str], names: str, payload: str
) -> str:
    lines = "".join(f"{name}:{' '.join(headers[name].split())}\n" for name in sorted(headers))
    return f"{method}\n{path}\n{query}\n{lines}\n{names}\n{payload}"


def _signature(who: Credentials, region: str, stamp: str, canonical: str) -> tuple[str, str]:
    scope = _scope(region, stamp)
    text = f"{_ALGORITHM}\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = b"AWS4" + who.secret.encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return scope, hmac.digest(key, text.encode(), "sha256").hex()


def _stamp(now: float) -> str:
    return datetime.fromtimestamp(int(now), UTC).strftime("%Y%m%dT%H%M%SZ")


def _scope(region: str, stamp: str) -> str:
    return f"{stamp[:8]}/{region}/s3/aws4_request"
