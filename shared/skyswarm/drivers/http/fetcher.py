"""Reads presigned URLs: the data plane's reading half, the Fetcher port.

Law: exactly the bytes that were asked for or an error that says whose fault it was; no URL is ever put into a message
(it carries a signature). Redirects are followed, at most three, never to less security, and with nothing secret
in the request: there is nothing in it but a range. What comes is verified by the caller, not here.
"""

from __future__ import annotations

import http.client
import math
import re
import time
from collections.abc import Iterator
from urllib.parse import urljoin

from skyswarm.drivers.http.address import AddressPolicy
from skyswarm.drivers.http.links import Deadline, Floor, Link, Links, Target, body_of, declared
from skyswarm.errors import (
    LinkExpiredError,
    SkyError,
    SourceChangedError,
    SourceUnreachableError,
    StalledError,
    TooLargeError,
    UnavailableError,
)
from skyswarm.ports.system import Clock

CHUNK = 1 << 20
"""Bytes per chunk. CPU s/GiB of fetch, SHA-256 and write with 8 threads: 1.6 at 128 and 256 KiB, 1.45 at 512 KiB,
1.35 at 1 and 2 MiB (fewer hand-overs of the interpreter's lock, still inside a second-level cache of 2 MiB)."""

_REDIRECTS = 3
_MOVED = {301, 302, 303, 307, 308}
_PINNED = re.compile(r"[?&]x-skyswarm-etag=([0-9A-Za-z-]{1,80})(?=&|$)")
"""In URLs of buckets without versions: the state that was granted (`shared/decisions/aws-s3.md`)."""
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,15})-([0-9]{1,15})/(?:[0-9]{1,15}|\*)")


class HttpFetcher:
    """Threads may share it. `head`: seconds until an answer's head is there; `stall`: seconds without a byte;
    `rate`: bytes per second below which, over `window` seconds of waiting, a source counts as stalled; `small`: seconds
    that a small object may take in all, its redirects too."""

    def __init__(
        self,
        policy: AddressPolicy,
        *,
        head: float = 20.0,
        stall: float = 15.0,
        rate: int = 1024,
        window: float = 15.0,
        small: float = 60.0,
        clock: Clock = time.monotonic,
    ) -> None:
        self._links = Links(policy)
        self._head = head
        self._stall = stall
        self._rate = rate
        self._window = window
        self._small = small
        self._clock = clock

    def read(self, url: str, offset: int, length: int) -> Iterator[memoryview]:
        if length == 0:
            return
        headers = {"Range": f"bytes={offset}-{offset + length - 1}"}
        if pinned := _PINNED.search(url):
            headers["If-Match"] = f'"{pinned[1]}"'
        link, response = self._ask(url, headers)
        whole = False
        try:
            with _Translating(link.target):
                _check(response, link.target, offset, length)
                buffer = memoryview(bytearray(min(CHUNK, length)))
                left = length
                while left:
                    count = response.readinto(buffer[: min(left, len(buffer))])
                    if not count:
                        raise SourceUnreachableError(
                            f"{link.target.authority} cut the connection in the middle"
                        )
                    left -= count
                    if not left:
                        whole = response.isclosed() and not response.will_close
                    yield buffer[:count]
        finally:
            self._end(link, response, whole)

    def small(self, url: str, limit: int) -> bytes:
        link, response = self._ask(url, {}, self._clock() + self._small)
        whole = False
        try:
            with _Translating(link.target):
                if response.status != 200:
                    raise _refusal(response.status, link.target)
                _check_coding(response, link.target)
                length = declared(response)
                if length > limit:
                    raise TooLargeError(f"an object of {length} bytes, at most {limit} were expected")
                data = body_of(response, length)
                whole = response.isclosed() and not response.will_close
                return data
        finally:
            self._end(link, response, whole)

    def close(self) -> None:
        """Close the connections that are kept."""
        self._links.close()

    def _ask(
        self, url: str, headers: dict[str, str], end: float = math.inf
    ) -> tuple[Link, http.client.HTTPResponse]:
        """The answer's head, redirects followed; its body is still to be read, at the pace of a Floor."""
        for _ in range(_REDIRECTS + 1):
            target = Target.parse(url)
            link, response = self._get(target, headers, end)
            if response.status not in _MOVED:
                link.pace = Floor(self._stall, self._rate, self._window, self._clock, end)
                return link, response
            place = response.headers.get("location", "")
            self._end(link, response, False)
            with _Translating(target):
                url = urljoin(url, place)
            if not place or (target.scheme == "https" and not url.startswith("https:")):
                raise SourceUnreachableError(f"{target.authority} sends elsewhere, which is not followed")
        raise SourceUnreachableError(f"{target.authority} sends elsewhere again and again")

    def _get(
        self, target: Target, headers: dict[str, str], end: float
    ) -> tuple[Link, http.client.HTTPResponse]:
        """Ask once; once more when a kept connection turns out to be closed before a byte of the answer came."""
        link, used = self._links.take(target)
        while True:
            try:
                with _Translating(target):
                    pace = Deadline(min(self._head, end - self._clock()), self._clock)
                    return link, link.exchange(pace, "GET", target, {"User-Agent": "skyswarm", **headers})
            except SkyError as error:
                link.close()
                if not used or link.heard or isinstance(error, StalledError):
                    raise
            except BaseException:
                link.close()
                raise
            link, used = self._links.take(target, fresh=True)

    def _end(self, link: Link, response: http.client.HTTPResponse, whole: bool) -> None:
        if whole:
            self._links.give(link)
        else:
            response.close()
            link.close()


class _Translating:
    """Turns what the network and http.client raise into the port's errors."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, TimeoutError):
            raise StalledError(f"{self._target.authority} sent nothing for too long") from error
        if isinstance(error, OSError | http.client.HTTPException | ValueError):
            raise SourceUnreachableError(f"{self._target.authority} cannot be read: {error}") from error


def _check(response: http.client.HTTPResponse, target: Target, offset: int, length: int) -> None:
    """Whether what will come is the range that was asked for."""
    if response.status == 206:
        found = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
        exact = found is not None and (int(found[1]), int(found[2])) == (offset, offset + length - 1)
    elif response.status == 200:
        exact = offset == 0  # the range may have been the whole object
    else:
        raise _refusal(response.status, target)
    if not exact or declared(response) != length:
        raise SourceChangedError(
            f"{target.authority} answered with other bytes than the range that was asked for"
        )
    _check_coding(response, target)


def _check_coding(response: http.client.HTTPResponse, target: Target) -> None:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise SourceChangedError(f"{target.authority} answered in an encoding nobody asked for")


def _refusal(status: int, target: Target) -> SkyError:
    said = f"{target.authority} answered {status}"
    if status in {400, 401, 403}:  # S3 says 400 when the session that signed has ended
        return LinkExpiredError(said, advice="A new URL is asked for.")
    if status in {404, 409, 410, 412, 416}:
        return SourceChangedError(f"{said}: the object is gone or changed")
    if status == 429 or status >= 500:
        return UnavailableError(said, advice="It is tried again.")
    return SourceUnreachableError(said)
