"""An edge server of a test, and raw bytes to and from it."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from skyswarm.edge.http import App
from skyswarm.edge.server import Server


@contextmanager
def serving(app: App, **options: Any) -> Iterator[Server]:
    """A server on a free port, stopped at the end."""
    server = Server(app, "127.0.0.1", 0, **{"workers": 4, **options})
    server.start()
    try:
        yield server
    finally:
        server.stop(grace=0.1)


@contextmanager
def raw(server: Server, timeout: float = 5.0) -> Iterator[socket.socket]:
    """A plain connection to it."""
    host, port = server.url.removeprefix("http://").rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout) as sock:
        yield sock


def until_closed(sock: socket.socket) -> bytes:
    """Everything that comes until the other side closes."""
    out = bytearray()
    while data := sock.recv(1 << 20):
        out += data
    return bytes(out)


def exchange(server: Server, data: bytes) -> bytes:
    """Send bytes, and give what comes back until the server closes; the caller asks for that."""
    with raw(server) as sock:
        sock.sendall(data)
        return until_closed(sock)


def soon(check: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Whether `check` comes true in time; looked at every few milliseconds."""
    end = time.monotonic() + seconds
    while not check():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True
