"""Other agents, repositories and presigned URLs, as the use cases see them. Drivers are under drivers/http."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of a peer: HTTP status and body (at most the limit that was asked for)."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Peers(Protocol):
    """One HTTP exchange with another agent or a repository."""

    def call(
        self, method: str, url: str, body: bytes, headers: Mapping[str, str], *, timeout: float, limit: int
    ) -> Reply:
        """The reply whatever its status. Follows no redirect, keeps no cookie, retries nothing.

        SourceUnreachableError: no connection, no answer in `timeout` seconds, or a reply longer than `limit` bytes.
        """
        ...


class Fetcher(Protocol):
    """Reads presigned URLs: the data plane."""

    def read(self, url: str, offset: int, length: int) -> Iterator[memoryview]:
        """Exactly `length` bytes from `offset`, in chunks valid until the next is asked for.

        LinkExpiredError (400, 401, 403), SourceChangedError (404, 409, 410, 412, 416, or another range or length),
        UnavailableError (429, 5xx), StalledError (nothing for the driver's stall time, or too slow for its floor),
        SourceUnreachableError (no connection, cut in the middle). Empty when `length` is 0.
        """
        ...

    def small(self, url: str, limit: int) -> bytes:
        """A whole object of at most `limit` bytes, its size not known before. Errors as `read`, and
        TooLargeError when it is longer."""
        ...
