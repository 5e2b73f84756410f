"""The HTTP server of an agent that is a process: sockets, threads, start and stop. Linux (epoll).

Law: what a request means is the app's; bytes and phases are connection.py's. A few threads wait together on one
epoll with EPOLLONESHOT, so a connection has one owner at a time and no queue lies between. None of them ever waits
for a client: a thousand slow ones cost a thousand small buffers and no thread. Why not a library:
`decisions/storage-http-server.md`. Plain HTTP: TLS ends at a proxy in front.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import select
import socket
import threading
import time
from contextlib import suppress
from email.utils import formatdate

from skyswarm.edge.connection import Connection, Limits, Log, Want, discard
from skyswarm.edge.http import App
from skyswarm.edge.shares import Shares, client_of
from skyswarm.edge.wire import encode_head, error_response
from skyswarm.errors import PortInUseError, SetupError, UnavailableError

_ARM = {
    Want.READ: select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLONESHOT,
    Want.WRITE: select.EPOLLOUT | select.EPOLLONESHOT,
}
_LISTEN = select.EPOLLIN | select.EPOLLONESHOT
_BODIES = 64 << 20
_PASSING = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Server:
    """Serves `app` at `host`:`port` (0: any free one) from `start` to `stop`.

    `workers` threads call the app; at most `connections` are open, half of them for one client: beyond that the one
    that was idle the longest makes room. Where none is idle, a client over its half is refused, and others wait in the
    system's queue. Bodies that are not whole yet take `bodies` bytes at most, half of them for one client; more is
    answered 503. `log` is called once per answer, from any of the threads.
    """

    def __init__(
        self,
        app: App,
        host: str,
        port: int,
        *,
        workers: int = 16,
        connections: int = 1000,
        bodies: int = _BODIES,
        limits: Limits | None = None,
        log: Log | None = None,
    ) -> None:
        self._app = app
        self._host = host
        self._port = port
        self._workers = workers
        self._most = connections
        self._limits = limits or Limits()
        self._log = log
        self._places = Shares(connections)
        self._bodies = Shares(bodies)
        self._connections: dict[int, Connection] = {}
        self._threads: list[threading.Thread] = []
        self._draining = False
        self._stopped = threading.Event()
        self._full = threading.Lock()
        self._paused = False

    @property
    def url(self) -> str:
        """`http://host:port` as this machine reaches it. Only after `start`."""
        host, port = self._listener.getsockname()[:2]
        address = ipaddress.ip_address(host)
        if address.is_unspecified:
            address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
        return f"http://[{address}]:{port}" if address.version == 6 else f"http://{address}:{port}"

    def start(self) -> None:
        """Listen and serve; returns at once. PortInUseError, SetupError (no such address here, port not allowed)."""
        self._listener = _listen(self._host, self._port)
        self._epoll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll.register(self._wake, select.EPOLLIN)  # not one-shot: it wakes every thread
        self._epoll.register(self._listener.fileno(), _LISTEN)
        for number in range(self._workers):
            self._spawn(f"http-{number}")
        janitor = threading.Thread(target=self._look_after, name="http-janitor", daemon=True)
        janitor.start()
        self._threads.append(janitor)

    def stop(self, grace: float = 0.5) -> None:
        """Stop listening, let answers under way go on for `grace` seconds, close everything. Idempotent; nothing to do
        when `start` has failed.

        A thread whose app call does not return within another 0.3 s is left behind; it ends with the process.
        """
        if self._stopped.is_set() or not self._threads:
            return
        with self._full:  # nobody arms a listener that is being closed
            self._draining = True
            self._listener.close()
        end = time.monotonic() + grace
        while time.monotonic() < end:
            busy = [connection for connection in list(self._connections.values()) if not connection.idle]
            if not busy:
                break
            time.sleep(0.01)
        self._stopped.set()
        os.eventfd_write(self._wake, 1)
        end = time.monotonic() + 0.3
        for thread in list(self._threads):
            if thread.ident is not None:  # one may be taking over just now
                thread.join(max(0.0, end - time.monotonic()))
        if not any(thread.is_alive() for thread in self._threads):
            for connection in list(self._connections.values()):
                connection.close()
            self._connections.clear()
            self._epoll.close()
            os.close(self._wake)

    # ---- threads -------------------------------------------------------------------------------
    def _spawn(self, name: str) -> None:
        thread = threading.Thread(target=self._work, args=(name,), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _work(self, name: str) -> None:
        """One of the threads. A defect that comes up is shown by threading.excepthook; another takes over."""
        try:
            while not self._stopped.is_set():
                for fd, _ in self._epoll.poll(-1, 1):
                    if fd == self._wake:
                        return
                    connection = self._connections.get(fd)
                    if connection is not None:
                        self._advance(fd, connection)
                    elif not self._draining:
                        self._accept()
        finally:
            if not self._stopped.is_set():
                self._threads.remove(threading.current_thread())
                self._spawn(name)

    def _accept(self) -> None:
        try:
            sock, address = self._listener.accept()
        except OSError as error:
            # Gone before it was accepted: nothing. No descriptors left: the janitor listens again in a second.
            if self._draining:
                return
            with self._full:
                self._paused = error.errno in _PASSING
                self._listen_on()
            return
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = client_of(str(address[0]))
        admitted = self._places.take(client, 1)
        if not admitted and self._ask_to_leave(client):
            admitted = self._places.take(client, 1, over=True)
        connection = Connection(sock, self._app, self._limits, self._log, client, self._bodies)
        with self._full:
            if admitted:
                self._connections[sock.fileno()] = connection
            self._paused = len(self._connections) >= self._most
            self._listen_on()
        if not admitted:
            _refuse(sock)
            return
        if self._paused:
            self._ask_to_leave(None, but=connection)
        self._advance(sock.fileno(), connection, new=True)

    def _ask_to_leave(self, client: str | None, but: Connection | None = None) -> bool:
        """Shut down the connection (of `client`) that has been idle the longest; its owner then closes it. False when
        none is idle. A request that crosses this is lost as at the end of any idle time: its client asks again."""
        with self._full:
            idle = [
                connection
                for connection in self._connections.values()
                if connection.idle
                and not connection.asked_to_leave
                and connection is not but
                and client in (None, connection.client)
            ]
            if not idle:
                return False
            longest = min(idle, key=lambda connection: connection.quiet_since)
            longest.asked_to_leave = True
        with suppress(OSError):
            longest.sock.shutdown(socket.SHUT_RDWR)
        return True

    def _advance(self, fd: int, connection: Connection, new: bool = False) -> None:
        want = Want.CLOSE
        try:
            want = connection.advance(self._draining)
        finally:
            if want is Want.CLOSE:
                with self._full:
                    del self._connections[fd]
                connection.close()
                self._places.give(connection.client, 1)
                self._resume()
        if want is not Want.CLOSE:
            (self._epoll.register if new else self._epoll.modify)(fd, _ARM[want])

    def _resume(self) -> None:
        """Listen again when there is room again."""
        with self._full:
            if self._paused and len(self._connections) < self._most:
                self._paused = False
                self._listen_on()

    def _listen_on(self) -> None:
        """Under the lock: wait for the next client, unless there is no room or no more listening."""
        if not self._paused and not self._draining:
            self._epoll.modify(self._listener.fileno(), _LISTEN)

    def _look_after(self) -> None:
        """Shut down, about once a second, what is past its deadline; its owner then closes it."""
        limits = self._limits
        while not self._stopped.wait(min(1.0, limits.idle / 2, limits.head / 2, limits.stall / 2)):
            now = time.monotonic()
            for connection in list(self._connections.values()):
                if connection.overdue(now):
                    with suppress(OSError):
                        connection.sock.shutdown(socket.SHUT_RDWR)
            self._resume()
            if self._paused:
                self._ask_to_leave(None)


def _refuse(sock: socket.socket) -> None:
    """A short answer to whoever has too many connections at work already; nothing waits for it to be read."""
    error = UnavailableError("this address has too many connections", advice="Ask again in a few seconds.")
    answer = error_response(503, error)
    body = answer.body if isinstance(answer.body, bytes) else b""
    with suppress(OSError):
        discard(sock)
        sock.send(encode_head(answer, formatdate(usegmt=True), keep=False) + body)
    sock.close()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, number, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, number)
    except (OSError, UnicodeError) as error:  # UnicodeError: not even the form of a name
        why = error.strerror if isinstance(error, OSError) else "not the name of a host"
        raise SetupError(f"{host[:80]} is no address to listen at: {why or error}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(256)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(
                f"port {port} of {host} is taken by another program", advice="Choose another one with --port."
            ) from error
        raise SetupError(f"cannot listen at {host}:{port}: {error.strerror}") from error
    return listener
