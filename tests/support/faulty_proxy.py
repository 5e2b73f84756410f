"""A proxy in front of an agent that does to its answers what bad networks, bad disks and liars do.

    proxy = FaultyProxy()                 # listens at once: proxy.url is the agent's public URL
    proxy.target = alice.port             # where requests go on to
    proxy.fault = Fault(corrupt=0.01)     # what happens to presigned objects (`/o/`) from now on

Only `/o/` is touched; requests of the protocol pass as they are. What was asked for and what went through is in
`ranges`, so that a test can count every byte that was moved.
"""

from __future__ import annotations

import random
import re
import socket
import struct
import threading
import time
from contextlib import suppress
from dataclasses import dataclass

_RANGE = re.compile(rb"^range: *bytes=([0-9]+)-([0-9]+)\r$", re.I | re.M)
_LENGTH = re.compile(rb"^content-length: *([0-9]+)\r$", re.I | re.M)
_STATUS = {
    412: b"412 Precondition Failed", 503: b"503 Service Unavailable", 403: b"403 Forbidden", 429: b"429 Too Many",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong. `times`: only for so many answers (-1: all). `small`: objects asked for without a range too."""

    corrupt: float = 0.0
    """Share of the bytes that are changed."""
    stall: bool = False
    """Half of the answer comes, then nothing, and the connection stays."""
    cut: bool = False
    """Half of the answer comes, then a reset."""
    status: int = 0
    """This status instead of an answer."""
    expired: bool = False
    """The end in the URL is put into the past on its way."""
    wrong_range: bool = False
    """Content-Range names another place."""
    rate: int = 0
    """Bytes per second of each answer, more or less (0: as fast as it goes)."""
    times: int = -1
    small: bool = False


@dataclass(slots=True)
class Passed:
    """One request for an object: its path, the range, and how many bytes of it went on to the asker."""

    path: str
    first: int
    last: int
    at: float
    sent: int = 0
    status: int = 0


@dataclass(slots=True)
class _Counter:
    left: int = -1


class FaultyProxy:
    """Threads of this process; `close` it."""

    def __init__(self) -> None:
        self.target = 0
        self._fault = Fault()
        self._counter = _Counter()
        self._lock = threading.Lock()
        self._random = random.Random(7)
        self.ranges: list[Passed] = []
        self.deaf = ""
        """Requests whose path ends like this are cut off ('': none)."""
        self.unheard = 0
        self.released = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def fault(self) -> Fault:
        return self._fault

    @fault.setter
    def fault(self, value: Fault) -> None:
        with self._lock:
            self._fault, self._counter = value, _Counter(value.times)

    def sent(self) -> int:
        """Bytes of ranges that went on to the askers so far."""
        return sum(one.sent for one in list(self.ranges))

    def close(self) -> None:
        self.released.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in list(self._open):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    # ---- inside ----------------------------------------------------------------------------------
    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._open.add(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        upstream: socket.socket | None = None
        try:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            reader = client.makefile("rb")
            while True:
                head = _head(reader)
                if not head:
                    return
                body = reader.read(_length(head))
                if upstream is None:
                    upstream = socket.create_connection(("127.0.0.1", self.target), 10.0)
                    upstream.settimeout(60.0)
                    answers = upstream.makefile("rb")
                if not self._exchange(client, upstream, answers, head, body):
                    return
        except OSError:
            return  # one of the two is gone: so are we
        finally:
            self._open.discard(client)
            for sock in (client, upstream):
                if sock is not None:
                    with suppress(OSError):
                        sock.close()
                    with suppress(OSError):
                        sock.shutdown(socket.SHUT_RDWR)

    def _take(self, ranged: bool) -> Fault:
        with self._lock:
            fault = self._fault
            if not ranged and not fault.small:
                return Fault()
            if self._counter.left == 0:
                return Fault(rate=fault.rate)
            if self._counter.left > 0:
                self._counter.left -= 1
            return fault

    def _exchange(
        self, client: socket.socket, upstream: socket.socket, answers, head: bytes, body: bytes
    ) -> bool:  # type: ignore[no-untyped-def]
        """One request and its answer; False when the connection is to be closed."""
        path = head.split(b" ", 2)[1]
        fault, passed = Fault(), None
        if self.deaf and path.decode().endswith(self.deaf):
            self.unheard += 1
            return False
        if path.startswith(b"/o/"):
            asked = _RANGE.search(head)
            fault = self._take(asked is not None)
            if asked is not None:
                passed = Passed(path.split(b"?")[0].decode(), int(asked[1]), int(asked[2]), time.time())
                self.ranges.append(passed)
        if fault.status:
            line = b"HTTP/1.1 " + _STATUS[fault.status] + b"\r\nContent-Length: 0\r\n\r\n"
            client.sendall(line)
            return True
        if fault.expired:
            head = re.sub(rb"([?&]e=)[0-9]+", rb"\g<1>1000000000", head, count=1)
        upstream.sendall(head + body)
        reply = _head(answers)
        if not reply:
            return False
        if passed is not None:
            passed.status = int(reply.split(b" ", 2)[1])
        if fault.wrong_range:
            reply = re.sub(rb"(?i)(content-range: bytes )([0-9]+)-", rb"\g<1>9\g<2>-", reply, count=1)
        client.sendall(reply)
        return self._body(client, answers, _length(reply), fault, passed)

    def _body(self, client: socket.socket, answers, length: int, fault: Fault, passed: Passed | None) -> bool:  # type: ignore[no-untyped-def]
        ends = length // 2 if fault.stall or fault.cut else length
        done = 0
        pause = self._random.uniform(0.5, 1.5) / max(1, fault.rate)
        while done < ends:
            chunk = answers.read1(min(1 << 16 if fault.rate else 1 << 18, ends - done))
            if not chunk:
                return False
            if fault.corrupt:
                changed = bytearray(chunk)
                for _ in range(max(1, int(len(changed) * fault.corrupt))):
                    changed[self._random.randrange(len(changed))] ^= 1 + self._random.randrange(255)
                chunk = bytes(changed)
            client.sendall(chunk)
            done += len(chunk)
            if passed is not None:
                passed.sent += len(chunk)
            if fault.rate:
                self.released.wait(len(chunk) * pause)
        if fault.stall:
            self.released.wait(120.0)
            return False
        if fault.cut:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        return True


def _head(reader) -> bytes:  # type: ignore[no-untyped-def]
    """A head up to its empty line; empty at the end of the connection."""
    out = b""
    while not out.endswith(b"\r\n\r\n"):
        line = reader.readline(1 << 16)
        if not line:
            return b""
        out += line
    return out


def _length(head: bytes) -> int:
    found = _LENGTH.search(head)
    return int(found[1]) if found else 0
