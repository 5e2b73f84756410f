"""One connection of the server as a machine that never waits: it goes on as far as the socket lets it.

Law: no threads here, one owner at a time (server.py sees to it). `advance` returns what to wait for. Everything a
stranger sends is bounded: head, body, and the time for each of the phases; how much an answer's reader may dawdle too.
"""

from __future__ import annotations

import email.utils
import errno
import fcntl
import os
import socket
import sys
import termios
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum

from skyswarm.edge.http import App, FileRange, Request, Response
from skyswarm.edge.shares import Shares
from skyswarm.edge.wire import Head, WireError, encode_head, error_response, head_end, parse_head
from skyswarm.errors import UnavailableError

_RECEIVE = 64 << 10
_AHEAD = 16 << 10
"""Bytes that are received at once while a head is awaited: what was sent ahead of an answer stays small too."""
_SEND = 1 << 20
_IN_A_ROW = 64
_LINGER = 2.0
"""Seconds that a refused client has to read why, before what it still sends resets the connection."""
_NO_SENDFILE = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}
_GONE = {
    *(
        errno.EIO,
        errno.ESTALE,
        errno.EBADF,
        errno.ENOTCONN,
        errno.EPIPE,
        errno.ECONNRESET,
        errno.ECONNABORTED,
    ),
    *(errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN, errno.EPROTO),
}
"""The client, its network or the file's disk is away: the connection ends, and it is no defect of ours."""


class Want(Enum):
    """What a connection waits for."""

    READ = "read"
    WRITE = "write"
    CLOSE = "close"


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one connection: seconds, bytes, bytes per second."""

    body: int = 256 << 10
    idle: float = 75.0
    """From an answer to the first byte of the next request."""
    head: float = 10.0
    """From its first byte to the end of the head."""
    stall: float = 30.0
    """Without one byte of progress in a body or an answer."""
    floor: int = 8 << 10
    """A body or an answer as a whole may not be slower than this, after `stall`."""


Log = Callable[[str, str, int, int, float], None]
"""`log(method, path, status, sent, seconds)`, once per answer. `path` comes without its query, which carries
signatures; `sent` counts the body's bytes that were given to the system: all of them, or the client went away."""


class Connection:
    """A client's connection: reads requests, has `app` answer them, sends the answers."""

    def __init__(
        self, sock: socket.socket, app: App, limits: Limits, log: Log | None, client: str, bodies: Shares
    ) -> None:
        self.sock = sock
        self.client = client
        """Whose it is, for the shares."""
        self.asked_to_leave = False
        """Whether the server has shut it down to make room."""
        self.quiet_since = time.monotonic()
        """When the last answer was over; else when it began."""
        self._at_work = False
        self._refused = False
        """Whether it was malformed or too much: what still comes is thrown away, for a moment."""
        self._bodies = bodies
        self._held = 0
        self._app = app
        self._limits = limits
        self._log = log
        self._buffer = bytearray()
        self._head: Head | None = None
        self._out = memoryview(b"")
        self._file: FileRange | None = None
        self._position = 0
        self._keep = True
        self._answered: tuple[str, str, int, float] | None = None  # method, path, status, when it began
        self._sent = 0
        self._queued = 0
        self._last = float("inf")
        self.deadline = time.monotonic() + limits.head
        """On the monotonic clock; past it the server asks `overdue`."""

    def overdue(self, now: float) -> bool:
        """Whether the client has had its time. Asked by another thread than the owner's.

        The system says that a socket can be written to only when a third of its buffer is free, which can take a
        slow reader a minute: an answer also makes progress while less and less of it is left in that buffer.
        """
        if self.deadline > now:
            return False
        if self._queued and now < self._last:
            left = _unsent(self.sock)
            if 0 < left < self._queued:
                self._queued = left
                self._progress()
                return False
        return True

    @property
    def idle(self) -> bool:
        """Whether nothing of a request has come, none is at work and nothing of an answer is left."""
        return not self._buffer and not self._at_work and self._answered is None

    def advance(self, draining: bool = False) -> Want:
        """Read, answer and send as much as goes without waiting."""
        try:
            for _ in range(_IN_A_ROW):
                if self._answered is not None:
                    if not self._send():
                        return Want.WRITE
                    self._done()
                    if self._refused:
                        self.sock.shutdown(socket.SHUT_WR)
                        self._until(_LINGER)
                    elif not self._keep or draining:
                        return Want.CLOSE
                if self._refused:
                    return Want.CLOSE if discard(self.sock) else Want.READ
                request = self._receive()
                if isinstance(request, Want):
                    return request
                self._begin(request, draining)
        except OSError as error:
            if isinstance(error, ConnectionError | TimeoutError) or error.errno in _GONE:
                return Want.CLOSE
            raise
        return Want.WRITE  # others first; the socket is writable, so this comes back at once

    def close(self) -> None:
        """Close the socket and what an unfinished answer holds."""
        if self._answered is not None:
            self._done()
        self._let_go()
        self.sock.close()

    # ---- requests ------------------------------------------------------------------------------
    def _receive(self) -> Request | Response | Want:
        """The next request; an answer to one that is malformed; or what to wait for."""
        try:
            while True:
                request = self._parse()
                if request is not None:
                    return request
                missing = self._head.length - len(self._buffer) if self._head is not None else _AHEAD
                data = self.sock.recv(min(_RECEIVE, missing))
                if not data:
                    return Want.CLOSE
                if self._head is not None:
                    self._progress()
                    self._hold(len(data))
                elif not self._buffer:
                    self._until(self._limits.head)
                self._buffer += data
        except BlockingIOError:
            return Want.READ
        except WireError as error:
            self._keep, self._refused, self._head = False, True, None
            self._buffer.clear()
            return error_response(error.status, error.error)

    def _hold(self, count: int) -> None:
        """Bytes of a body are about to be kept. WireError when the server has too many already."""
        if not self._bodies.take(self.client, count):
            error = UnavailableError(
                "too many requests are being received", advice="Ask again in a few seconds."
            )
            raise WireError(503, error)
        self._held += count

    def _let_go(self) -> None:
        """The body is not kept any more."""
        held, self._held = self._held, 0
        if held:
            self._bodies.give(self.client, held)

    def _parse(self) -> Request | None:
        head = self._head
        if head is None:
            end = head_end(self._buffer) if self._buffer else 0
            if not end:
                return None
            head = self._head = parse_head(bytes(self._buffer[:end]), self._limits.body)
            del self._buffer[:end]
            self._until(self._limits.stall + head.length / self._limits.floor)
            if head.waits and len(self._buffer) < head.length:
                self.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if len(self._buffer) < head.length:
            return None
        body = bytes(self._buffer[: head.length])
        del self._buffer[: head.length]
        self._head, self._keep = None, head.keep
        return Request(head.method, head.headers.get("host", ""), head.path, head.query, head.headers, body)

    # ---- answers -------------------------------------------------------------------------------
    def _begin(self, asked: Request | Response, draining: bool) -> None:
        """Have the request answered and get the answer ready to be sent."""
        started = time.monotonic()
        if isinstance(asked, Request):
            method, path = asked.method, asked.path
            self.deadline = float("inf")  # the app's own time is the app's own matter
            self._at_work = True
            response = self._app(asked)
        else:
            method, path, response = "-", "-", asked
        self._let_go()
        body = response.body
        length = body.length if isinstance(body, FileRange) else len(body)
        try:
            head = encode_head(response, email.utils.formatdate(usegmt=True), self._keep and not draining)
        except ValueError:
            response.close()
            raise
        self._answered = (method, path, response.status, started)
        self._at_work = False
        self._sent = -len(head)
        if isinstance(body, FileRange):
            self._file, self._position = body, body.offset
            self._out = memoryview(head)
            if method == "HEAD":
                self._position += length
        else:
            self._out = memoryview(head if method == "HEAD" else head + body)
        self._until(self._limits.stall + length / self._limits.floor)
        self._progress()

    def _send(self) -> bool:
        """Whether the whole answer is with the system now. ConnectionError when it cannot be completed."""
        file = self._file
        end = file.offset + file.length if file is not None else 0
        try:
            while self._out:
                more = socket.MSG_MORE if file is not None and self._position < end else 0
                self._moved(self.sock.send(self._out, more))
            while file is not None and self._position < end:
                self._moved(self._send_file(file.fd, min(_SEND, end - self._position)))
        except BlockingIOError:
            self._queued = _unsent(self.sock)
            return False
        return True

    def _moved(self, count: int) -> None:
        self._sent += count
        self._queued = 0
        if self._out:
            self._out = self._out[count:]
        elif count:
            self._position += count
        else:
            raise ConnectionAbortedError("the file was cut while it was sent")
        self._progress()

    def _send_file(self, fd: int, count: int) -> int:
        try:
            return os.sendfile(self.sock.fileno(), fd, self._position, count)
        except OSError as error:
            if error.errno not in _NO_SENDFILE:
                raise
            return self.sock.send(os.pread(fd, count, self._position))

    def _done(self) -> None:
        """The answer is over, sent or given up."""
        answered, self._answered = self._answered, None
        file, self._file = self._file, None
        self._out = memoryview(b"")
        if file is not None:
            file.close()
        self.quiet_since = time.monotonic()
        self._until(self._limits.idle)
        if self._log is not None and answered is not None:
            method, path, status, started = answered
            self._log(method, path, status, max(self._sent, 0), time.monotonic() - started)

    # ---- time ----------------------------------------------------------------------------------
    def _until(self, seconds: float) -> None:
        """A phase begins that may last so long."""
        self._last = self.deadline = time.monotonic() + seconds

    def _progress(self) -> None:
        self.deadline = min(self._last, time.monotonic() + self._limits.stall)


def discard(sock: socket.socket) -> bool:
    """Throw away what has come; True at its end. Closing a socket with unread bytes would take the answer from its
    reader. Never waits."""
    with suppress(BlockingIOError):
        for _ in range(_IN_A_ROW):
            if not sock.recv(_RECEIVE):
                return True
    return False


def _unsent(sock: socket.socket) -> int:
    """Bytes that the system still has and the other side has not acknowledged (SIOCOUTQ); 0 when it is closed."""
    try:
        return int.from_bytes(fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except (OSError, ValueError):
        return 0
