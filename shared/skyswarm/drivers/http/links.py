"""Keep-alive connections to other agents and storages, on http.client: the ground of peers.py and fetcher.py.

Law: no statuses, no retries, no redirects here. Every byte that is read goes past a Pace, which knows how long it may
take; nothing waits without an end. TLS is always verified. Why http.client: it costs the least CPU per GiB and the
least import time of all clients measured, and it lets the socket and its pace be ours.
"""

from __future__ import annotations

import functools
import http.client
import io
import math
import re
import select
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from skyswarm.drivers.http.address import AddressPolicy
from skyswarm.errors import SourceUnreachableError, StalledError
from skyswarm.ports.system import Clock

if TYPE_CHECKING:
    import ssl

_IDLE = 30.0
_KEPT = 64
_PORTS = {"http": 80, "https": 443}
_LENGTH = re.compile(r"[0-9]{1,15}")
_CHUNK = 1 << 16


class Pace(Protocol):
    """How long reading may take. Both raise when it takes too long."""

    def wait(self) -> float:
        """Waiting begins; the seconds it may last."""
        ...

    def got(self, count: int) -> None:
        """It ended, with so many bytes."""
        ...


class Deadline:
    """All of it within so many seconds, else TimeoutError."""

    def __init__(self, seconds: float, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._end = clock() + seconds

    def wait(self) -> float:
        left = self._end - self._clock()
        if left <= 0:
            raise TimeoutError("timed out")
        return left

    def got(self, count: int) -> None:
        """Nothing to do: `wait` decides."""


class Floor:
    """Never more than `stall` seconds without a byte (TimeoutError), never fewer than `rate` bytes per second over
    `window` seconds (StalledError). Only time spent waiting counts: a slow destination is not the source's fault.
    Nothing after `end` on the clock (TimeoutError)."""

    def __init__(
        self,
        stall: float,
        rate: int,
        window: float,
        clock: Clock = time.monotonic,
        end: float = math.inf,
    ) -> None:
        self._end = end
        self._stall, self._rate, self._window, self._clock = stall, rate, window, clock
        self._began = self._waited = 0.0
        self._bytes = 0

    def wait(self) -> float:
        self._began = self._clock()
        if self._began >= self._end:
            raise TimeoutError("timed out")
        return min(self._stall, self._end - self._began)

    def got(self, count: int) -> None:
        self._bytes += count
        self._waited += self._clock() - self._began
        if self._waited >= self._window:
            if self._bytes < self._rate * self._waited:
                raise StalledError(f"{self._bytes} bytes came in {self._waited:.0f} s of waiting")
            self._waited, self._bytes = 0.0, 0


@dataclass(frozen=True, slots=True)
class Target:
    """A URL, parsed: where to connect, what to ask for."""

    scheme: str
    host: str
    port: int
    authority: str
    path: str

    @classmethod
    def parse(cls, url: str) -> Target:
        """SourceUnreachableError unless it is an absolute http or https URL without a user in it."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise SourceUnreachableError("not a URL") from error
        if (
            parts.scheme not in _PORTS
            or not host
            or "@" in parts.netloc
            or not url.isascii()
            or not url.isprintable()
            or " " in url
        ):
            raise SourceUnreachableError(
                "not an http(s) URL of a host", advice="The other side gave a wrong one."
            )
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(parts.scheme, host, port or _PORTS[parts.scheme], parts.netloc, path)


class _Reader(io.RawIOBase):
    """The socket's bytes, at the pace of the exchange under way."""

    def __init__(self, link: Link, sock: socket.socket) -> None:
        self._link = link
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)  # keeps the socket open while the answer is read

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._sock.settimeout(self._link.pace.wait())
        count = self._raw.readinto(buffer) or 0
        self._link.heard = self._link.heard or count > 0
        self._link.pace.got(count)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Files:
    """Stands for the socket where http.client asks it for a file to read the answer from."""

    def __init__(self, link: Link, sock: socket.socket) -> None:
        self._link = link
        self._sock = sock

    def makefile(self, _: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self._link, self._sock))


class Link(http.client.HTTPConnection):
    """One connection. `heard`: whether a byte of the answer under way has come."""

    def __init__(self, target: Target, policy: AddressPolicy) -> None:
        super().__init__(target.host, target.port)
        self.target = target
        self.pace: Pace = Deadline(0.0)
        self.heard = False
        self.idle_since = 0.0
        self._policy = policy

    def connect(self) -> None:
        """Connect within the pace's next wait; TLS verified against the host's name."""
        sock = self._policy.connect(self.target.host, self.target.port, self.pace.wait())
        if self.target.scheme == "https":
            try:
                sock.settimeout(self.pace.wait())
                sock = _context().wrap_socket(sock, server_hostname=self.target.host)
            except (OSError, ValueError) as error:  # ValueError: a host that cannot be a certificate's
                sock.close()
                raise SourceUnreachableError(f"{self.target.host}: no secure connection: {error}") from error
        self.sock = sock

    def exchange(
        self, pace: Pace, method: str, target: Target, headers: Mapping[str, str], body: bytes = b""
    ) -> http.client.HTTPResponse:
        """Ask, and read the head of the answer. OSError, http.client.HTTPException, SourceUnreachableError."""
        self.pace, self.heard = pace, False
        if self.sock is None:
            self.connect()
        self.sock.settimeout(pace.wait())
        self.putrequest(method, target.path, skip_host=True, skip_accept_encoding=True)
        self.putheader("Host", target.authority)
        self.putheader("Accept-Encoding", "identity")
        for name, value in headers.items():
            self.putheader(name, value)
        if body or method not in ("GET", "HEAD"):
            self.putheader("Content-Length", str(len(body)))
        self.endheaders(body or None)
        return self.getresponse()

    def response_class(self, sock: Any, *args: Any, **options: Any) -> http.client.HTTPResponse:  # type: ignore[override]
        return http.client.HTTPResponse(_Files(self, sock), *args, **options)  # type: ignore[arg-type]

    @property
    def dead(self) -> bool:
        """Whether the other side has closed an idle connection, or said something nobody asked for."""
        poll = select.poll()
        poll.register(self.sock, select.POLLIN | select.POLLHUP | select.POLLERR)
        return bool(poll.poll(0))


class Links:
    """Connections that are kept for the next exchange with the same host. Threads may share it."""

    def __init__(self, policy: AddressPolicy) -> None:
        self._policy = policy
        self._lock = threading.Lock()
        self._kept: list[Link] = []

    def take(self, target: Target, *, fresh: bool = False) -> tuple[Link, bool]:
        """A link to the target's host, and whether it was used before."""
        place = (target.scheme, target.host, target.port)
        while not fresh:
            with self._lock:
                found = [link for link in self._kept if _place(link) == place]
                if not found:
                    break
                link = found[-1]
                self._kept.remove(link)
            if time.monotonic() - link.idle_since < _IDLE and not link.dead:
                return link, True
            link.close()
        return Link(target, self._policy), False

    def give(self, link: Link) -> None:
        """Keep a link whose answer was read to its end."""
        link.idle_since = time.monotonic()
        with self._lock:
            self._kept.append(link)
            over = self._kept.pop(0) if len(self._kept) > _KEPT else None
        if over is not None:
            over.close()

    def close(self) -> None:
        """Close what is kept."""
        with self._lock:
            kept, self._kept = self._kept, []
        for link in kept:
            link.close()


def declared(response: http.client.HTTPResponse) -> int:
    """The bytes of the body that will come, as the head says it. http.client.HTTPException when it does not.

    Transfer codings are refused: http.client reads trailers and chunks of an answer in them without an end, and
    neither an agent nor a storage needs one to answer what is asked here.
    """
    lengths = response.headers.get_all("content-length") or []
    if "transfer-encoding" in response.headers:
        raise http.client.HTTPException("the answer comes in a transfer coding")
    if response.length == 0 and not lengths:
        return 0  # to HEAD, or a status that has no body
    if len(lengths) != 1 or not _LENGTH.fullmatch(lengths[0].strip()) or response.length is None:
        raise http.client.HTTPException("the answer has no length")
    return response.length


def body_of(response: http.client.HTTPResponse, length: int) -> bytes:
    """Exactly `length` bytes, the declared ones. ConnectionAbortedError when fewer come."""
    out = bytearray()
    while True:
        data = response.read(min(_CHUNK, length - len(out)))
        out += data
        if len(out) == length:
            return bytes(out)
        if not data:
            raise ConnectionAbortedError("it was cut in the middle")


def _place(link: Link) -> tuple[str, str, int]:
    return link.target.scheme, link.target.host, link.target.port


@functools.cache
def _context() -> ssl.SSLContext:
    import ssl

    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
