"""Calls to repositories, and the errors that replies carry, turned back into the classes of `errors.py`.

Law: a peer's words choose at most among the errors that a peer may cause; never one that speaks of our own cap,
disk, lease, keys or proofs. Its sentence is shortened and freed of control characters, and marked as its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from skyswarm.errors import (
    AbsentError,
    ByteCapError,
    ConflictError,
    InputError,
    QuotaError,
    RepositoryError,
    RepositoryUnreachableError,
    SkyError,
    SourceChangedError,
    SourceUnreachableError,
    TrustError,
    UnavailableError,
)
from skyswarm.messages.fields import UNSAFE
from skyswarm.ports.network import Reply
from skyswarm.usecases.deps import Deps

MAX_REPLY = 1024 * 1024

_BLAMED = (
    InputError,
    TrustError,
    QuotaError,
    ByteCapError,
    UnavailableError,
    AbsentError,
    ConflictError,
    SourceChangedError,
)


def _tree(root: type[SkyError]) -> Iterator[type[SkyError]]:
    yield root
    for child in root.__subclasses__():
        yield from _tree(child)


_BY_CODE = {one.code: one for base in _BLAMED for one in _tree(base)}


def reply_error(reply: Reply, fallback: type[SkyError]) -> SkyError:
    """The error that a reply other than 200 names; `fallback` when it names none that a peer may cause."""
    try:
        error = json.loads(reply.body.decode())["error"]
        code, message = str(error["code"]), str(error["message"])
        advice = _plain(error.get("advice", ""), 300)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        if reply.status == 429:
            return QuotaError("the other side takes no more requests now", advice="Wait a little.")
        if reply.status in (502, 503, 504):
            return UnavailableError(f"the other side answered {reply.status}", advice="It is tried again.")
        return fallback(f"the other side answered {reply.status} and no sentence")
    return error_of(code, message, advice, fallback)


def error_of(code: str, message: str, advice: str, fallback: type[SkyError]) -> SkyError:
    """The error of a code and a sentence that a peer sent."""
    known = _BY_CODE.get(code)
    if known is None:
        return fallback(f"the other side says: {_plain(code, 16)} {_plain(message, 500)}", advice=advice)
    return known(_plain(message, 500), advice=advice)


def _plain(text: Any, most: int) -> str:
    return UNSAFE.sub(" ", str(text))[:most]


def get(deps: Deps, url: str, limit: int = MAX_REPLY, timeout: float | None = None) -> bytes:
    """The body of a 200 reply of a repository. RepositoryUnreachableError, or what the reply names."""
    return _call(deps, "GET", url, b"", limit, timeout)


def post(deps: Deps, url: str, body: bytes, limit: int = MAX_REPLY) -> bytes:
    """Likewise, with a body."""
    return _call(deps, "POST", url, body, limit, None)


def _call(deps: Deps, method: str, url: str, body: bytes, limit: int, timeout: float | None) -> bytes:
    headers = {"content-type": "application/json"} if body else {}
    seconds = deps.limits.call_timeout if timeout is None else timeout
    try:
        reply = deps.peers.call(method, url, body, headers, timeout=seconds, limit=limit)
    except SourceUnreachableError as error:
        raise RepositoryUnreachableError(
            error.message, advice="Others are used; it is tried again."
        ) from error
    if reply.status != 200:
        raise reply_error(reply, RepositoryError)
    return reply.body
