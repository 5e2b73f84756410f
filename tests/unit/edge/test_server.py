"""The server on real sockets: keep-alive, limits, slow and broken clients, start and stop."""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from skyswarm.edge.connection import Connection, Limits, Want
from skyswarm.edge.http import FileRange, Request, Response
from skyswarm.edge.server import Server
from skyswarm.edge.shares import Shares, client_of
from skyswarm.errors import PortInUseError, SetupError
from tests.support.served import exchange, raw, serving, soon, until_closed

CLOSE = b"Connection: close\r\n\r\n"


def echo(request: Request) -> Response:
    return Response(
        200, {"Content-Type": "text/plain"}, f"{request.method} {request.path} ".encode() + request.body
    )


def test_one_request() -> None:
    with (
        serving(echo) as server,
        urllib.request.urlopen(f"{server.url}/x?y", data=b"body", timeout=5) as reply,
    ):
        assert reply.read() == b"POST /x body"
        assert reply.headers["Content-Type"] == "text/plain"
        assert "Server" not in reply.headers
        assert "Date" in reply.headers


def test_several_requests_on_one_connection_in_any_pieces() -> None:
    data = (
        b"POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
        b"GET /2 HTTP/1.1\r\nHost: h\r\n\r\n"
        b"GET /3 HTTP/1.1\r\nHost: h\r\n" + CLOSE
    )
    with serving(echo) as server:
        for step in (1, 7, len(data)):
            with raw(server) as sock:
                for at in range(0, len(data), step):
                    sock.sendall(data[at : at + step])
                reply = until_closed(sock)
            assert reply.count(b"HTTP/1.1 200 OK\r\n") == 3
            assert [reply.count(text) for text in (b"POST /1 abc", b"GET /2 ", b"GET /3 ")] == [1, 1, 1]


def test_head_has_the_length_and_no_body() -> None:
    with serving(echo) as server:
        reply = exchange(server, b"HEAD /x HTTP/1.1\r\nHost: h\r\n" + CLOSE)
    assert b"Content-Length: 8\r\n" in reply
    assert reply.endswith(b"\r\n\r\n")


def test_a_client_that_waits_for_100() -> None:
    with serving(echo) as server, raw(server) as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n" + CLOSE)
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"hi")
        assert until_closed(sock).endswith(b"POST / hi")


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"nonsense\r\n\r\n", 400, b"SKY-109"),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\n\r\n", 413, b"SKY-102"),
        (b"GET /" + b"a" * 17000, 431, b"SKY-102"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", 501, b"SKY-109"),
    ],
)
def test_bad_requests_are_answered_and_closed(data: bytes, status: int, code: bytes) -> None:
    asked: list[Request] = []

    def app(request: Request) -> Response:
        asked.append(request)
        return Response(200)

    with serving(app, limits=Limits(body=1000)) as server:
        reply = exchange(server, data)
    assert reply.startswith(f"HTTP/1.1 {status} ".encode())
    assert code in reply
    assert b"Connection: close\r\n" in reply
    assert asked == []


def test_a_body_that_is_too_long_is_refused_while_it_still_comes() -> None:
    """Its sender reads the answer when it is through, so nothing may reset the connection before."""
    with serving(echo, limits=Limits(body=1000)) as server:
        reply = exchange(
            server, b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4000000\r\n\r\n" + bytes(4_000_000)
        )
        assert reply.startswith(b"HTTP/1.1 413 ") and reply.count(b"HTTP/1.1") == 1
        assert soon(lambda: not server._connections)


def file_app(path: Path) -> Callable[[Request], Response]:
    def app(request: Request) -> Response:
        return Response(200, {}, FileRange(os.open(path, os.O_RDONLY), 10, path.stat().st_size - 20))

    return app


def open_files(path: Path) -> int:
    return sum(os.path.realpath(f"/proc/self/fd/{fd}") == str(path) for fd in os.listdir("/proc/self/fd"))


def test_a_file_goes_out_whole_while_another_reader_waits(tmp_path: Path) -> None:
    path = tmp_path / "big"
    data = os.urandom(5 << 20) * 4
    path.write_bytes(data)
    ask = b"GET /big HTTP/1.1\r\nHost: h\r\n"
    with serving(file_app(path), workers=1) as server:
        with raw(server) as waits:
            waits.sendall(ask + b"\r\n" + ask + CLOSE)  # and does not read for now
            for _ in range(2):
                reply = exchange(server, ask + CLOSE)
                assert f"Content-Length: {len(data) - 20}\r\n".encode() in reply
                assert reply.endswith(b"\r\n\r\n" + data[10:-10])
            both = until_closed(waits)
        assert both.count(b"HTTP/1.1 200 OK") == 2
        assert both.endswith(data[10:-10])
        assert len(both) > 2 * (len(data) - 20)
        assert soon(lambda: open_files(path) == 0)


def test_a_slow_reader_that_goes_on_is_served_and_one_that_stops_is_not(tmp_path: Path) -> None:
    """Each 0.5 s without progress ends a connection here; the first reader takes 2 s at an even pace."""
    path = tmp_path / "big"
    data = os.urandom(4 << 20)
    path.write_bytes(data)
    with serving(file_app(path), limits=Limits(stall=0.5)) as server:
        with raw(server) as slow, raw(server) as stuck:
            for sock in (slow, stuck):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
                sock.sendall(b"GET /big HTTP/1.1\r\nHost: h\r\n" + CLOSE)
            got, began = bytearray(), time.monotonic()
            while chunk := slow.recv(
                min(32 << 10, 5000 + int((time.monotonic() - began) * (2 << 20)) - len(got))
            ):
                got.extend(chunk)
                soon(lambda: len(got) <= (time.monotonic() - began) * (2 << 20))
            assert got.endswith(data[10:-10])
            assert time.monotonic() - began > 1.5
            with suppress(ConnectionError):
                assert len(until_closed(stuck)) < len(data)
        assert soon(lambda: open_files(path) == 0)


def test_clients_that_go_away_leave_nothing(tmp_path: Path) -> None:
    path = tmp_path / "big"
    path.write_bytes(bytes(20 << 20))
    logged: list[tuple[object, ...]] = []
    with serving(file_app(path), log=lambda *line: logged.append(line)) as server:
        for _ in range(20):
            with raw(server) as sock:
                sock.sendall(b"GET /big?s=secret HTTP/1.1\r\nHost: h\r\n\r\n")
                sock.recv(1000)
        assert soon(lambda: len(logged) == 20 and open_files(path) == 0 and not server._connections)
        assert {line[:3] for line in logged} == {("GET", "/big", 200)}
        assert all(0 < line[3] < 20 << 20 for line in logged)  # type: ignore[operator]


def test_a_file_that_is_cut_ends_the_connection(tmp_path: Path) -> None:
    path = tmp_path / "cut"
    path.write_bytes(bytes(1000))

    def app(request: Request) -> Response:
        return Response(200, {}, FileRange(os.open(path, os.O_RDONLY), 0, 5000))

    with serving(app) as server:
        reply = exchange(server, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    assert b"Content-Length: 5000" in reply
    assert len(reply) < 1500


# ---- slow and many -----------------------------------------------------------------------------
QUICK = Limits(idle=0.2, head=0.2, stall=0.2, floor=1 << 30)


@pytest.mark.parametrize(
    "start", [b"", b"GET /", b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc"]
)
def test_clients_that_say_nothing_more_are_closed(start: bytes) -> None:
    with serving(echo, limits=QUICK) as server, raw(server) as sock:
        sock.sendall(start)
        began = time.monotonic()
        assert until_closed(sock) == b""
        assert time.monotonic() - began < 3


def test_a_body_has_its_own_time_and_not_that_of_a_head() -> None:
    """It begins with the body: the first bytes of one that comes by itself are not those of a head."""
    with serving(echo, limits=Limits(head=0.2, stall=5)) as server, raw(server) as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 20\r\n" + CLOSE)
        assert soon(lambda: any(one._head is not None for one in server._connections.values()))
        began = time.monotonic()
        for beat in range(20):
            sock.sendall(b"x")
            assert soon(lambda: time.monotonic() > began + 0.04 * beat)  # noqa: B023 - used up in this round
        assert until_closed(sock).endswith(b"POST / " + b"x" * 20)


def test_a_head_that_trickles_is_closed() -> None:
    with serving(echo, limits=QUICK) as server, raw(server) as sock:
        began = time.monotonic()
        with pytest.raises(ConnectionError):
            for beat in range(250):
                sock.sendall(b"x")
                soon(lambda: time.monotonic() > began + 0.02 * beat)  # noqa: B023 - used up in this round


def test_idle_and_slow_connections_hold_no_thread() -> None:
    with serving(echo, workers=1) as server:
        slow = [socket.create_connection(server._listener.getsockname(), 5) for _ in range(100)]
        try:
            for sock in slow[50:]:
                sock.sendall(b"GET /slow HTTP/1.1\r\nHo")
            assert exchange(server, b"GET /quick HTTP/1.1\r\nHost: h\r\n" + CLOSE).endswith(b"GET /quick ")
            for sock in slow[50:]:
                sock.sendall(b"st: h\r\n" + CLOSE)
                assert until_closed(sock).endswith(b"GET /slow ")
        finally:
            for sock in slow:
                sock.close()


def test_more_connections_than_allowed_wait_their_turn() -> None:
    with serving(echo, connections=2, limits=Limits(idle=0.2, head=0.2)) as server:
        silent = [socket.create_connection(server._listener.getsockname(), 5) for _ in range(4)]
        try:
            assert exchange(server, b"GET /late HTTP/1.1\r\nHost: h\r\n" + CLOSE).endswith(b"GET /late ")
        finally:
            for sock in silent:
                sock.close()


def test_idle_connections_of_one_client_make_room_for_another() -> None:
    """With 75 s of idle time: the innocent waits for none of it, and whoever asks is not closed for it."""
    with serving(echo, connections=8) as server:
        port = server._listener.getsockname()[1]
        silent = [socket.create_connection(("127.0.0.1", port), 5) for _ in range(30)]
        try:
            assert soon(lambda: len(server._connections) <= 5)
            began = time.monotonic()
            for source in ("127.0.0.1", "127.0.0.2", "127.0.0.3"):
                with socket.create_connection(("127.0.0.1", port), 5, (source, 0)) as sock:
                    sock.sendall(b"GET /late HTTP/1.1\r\nHost: h\r\n" + CLOSE)
                    assert until_closed(sock).endswith(b"GET /late ")
            assert time.monotonic() - began < 1
        finally:
            for sock in silent:
                sock.close()
        assert soon(lambda: not server._connections and not server._places._taken)


def test_the_connection_that_is_idle_the_longest_goes_first() -> None:
    with serving(echo, connections=2) as server:
        port = server._listener.getsockname()[1]
        made = [socket.create_connection(("127.0.0.1", port), 5, (f"127.0.0.{n}", 0)) for n in (1, 2)]
        with made[0] as first, made[1] as second:
            assert first.recv(10) == b""
            second.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n" + CLOSE)
            assert until_closed(second).endswith(b"GET / ")


def test_a_client_whose_half_is_at_work_is_refused_and_another_is_not() -> None:
    leave, entered = threading.Event(), threading.Semaphore(0)

    def app(request: Request) -> Response:
        if request.path == "/long":
            entered.release()
            leave.wait(5)
        return Response(200, {}, b"fine")

    ask = b"GET /long HTTP/1.1\r\nHost: h\r\n" + CLOSE
    with serving(app, connections=4) as server, raw(server) as one, raw(server) as two:
        for sock in (one, two):
            sock.sendall(ask)
            assert entered.acquire(timeout=5)
        with raw(server) as third:
            reply = until_closed(third)
            assert reply.startswith(b"HTTP/1.1 503 ") and b"SKY-503" in reply
        address = server._listener.getsockname()
        with socket.create_connection(address, 5, ("127.0.0.2", 0)) as other:
            other.sendall(ask.replace(b"/long", b"/"))
            assert until_closed(other).endswith(b"fine")
        leave.set()
        assert all(until_closed(sock).endswith(b"fine") for sock in (one, two))


def test_unfinished_bodies_are_bounded_together_and_for_one_client() -> None:
    start = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 60000\r\n\r\n"
    with serving(echo, bodies=100_000) as server:
        address = server._listener.getsockname()
        with raw(server) as one, raw(server) as two:
            one.sendall(start + b"x" * 50_000)
            assert soon(lambda: server._bodies._taken.total() > 30_000)
            two.sendall(start + b"x" * 50_000)
            reply = until_closed(two)
            assert reply.startswith(b"HTTP/1.1 503 ") and b"SKY-503" in reply
            with socket.create_connection(address, 5, ("127.0.0.2", 0)) as other:
                other.sendall(start.replace(b"60000", b"40000") + b"x" * 40_000)
                assert other.recv(100).startswith(b"HTTP/1.1 200 ")
            assert exchange(server, b"GET /quick HTTP/1.1\r\nHost: h\r\n" + CLOSE).endswith(b"GET /quick ")
        assert soon(lambda: not server._bodies._taken)


def test_addresses_of_one_client() -> None:
    assert client_of("::ffff:192.0.2.1") == client_of("192.0.2.1") != client_of("192.0.2.2")
    assert client_of("2001:db8::1") == client_of("2001:db8::2:3") != client_of("2001:db8:0:1::1")
    assert client_of("fe80::1%eth0") == client_of("fe80::2")


# ---- start and stop ----------------------------------------------------------------------------
def test_a_taken_port_and_an_address_of_somebody_else() -> None:
    with serving(echo) as server:
        port = int(server.url.rsplit(":", 1)[1])
        taken = Server(echo, "127.0.0.1", port)
        with pytest.raises(PortInUseError) as raised:
            taken.start()
        assert str(port) in raised.value.message
        taken.stop()  # nothing to do
    with pytest.raises(SetupError):
        Server(echo, "192.0.2.1", 0).start()
    with pytest.raises(SetupError):
        Server(echo, "no-such-host.invalid", 0).start()
    with pytest.raises(SetupError):
        Server(echo, "a" * 70, 0).start()  # longer than a part of a name may be


def test_the_port_is_free_again_after_stop() -> None:
    server = Server(echo, "127.0.0.1", 0, workers=2)
    server.start()
    port = int(server.url.rsplit(":", 1)[1])
    assert exchange(server, b"GET / HTTP/1.1\r\nHost: h\r\n" + CLOSE)
    server.stop()
    server.stop()
    again = Server(echo, "127.0.0.1", port, workers=2)
    again.start()
    again.stop()


def test_stop_lets_an_answer_end_and_waits_for_nobody() -> None:
    entered, leave = threading.Event(), threading.Event()

    def app(request: Request) -> Response:
        entered.set()
        leave.wait(5)
        return Response(200, {}, b"done")

    server = Server(app, "127.0.0.1", 0, workers=2)
    server.start()
    with raw(server) as idle, raw(server) as busy:
        idle.sendall(b"GET")
        busy.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert entered.wait(5)
        threading.Timer(0.1, leave.set).start()
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 1.5
        assert until_closed(busy).endswith(b"done")
        assert until_closed(idle) == b""


def test_a_defect_in_the_app_costs_one_connection_and_no_thread() -> None:
    def app(request: Request) -> Response:
        if request.path == "/defect":
            raise RuntimeError("a defect")
        return Response(200, {}, b"fine")

    shown: list[object] = []
    previous, threading.excepthook = threading.excepthook, lambda args: shown.append(args.exc_type)
    try:
        with serving(app, workers=2) as server:
            for _ in range(5):
                assert exchange(server, b"GET /defect HTTP/1.1\r\nHost: h\r\n\r\n") == b""
            assert exchange(server, b"GET / HTTP/1.1\r\nHost: h\r\n" + CLOSE).endswith(b"fine")
            assert soon(lambda: shown == [RuntimeError] * 5)
            assert len(server._threads) == 3
    finally:
        threading.excepthook = previous


def test_a_client_whose_network_is_away_is_no_defect() -> None:
    class Away(socket.socket):
        def recv(self, *_: object) -> bytes:
            raise OSError(errno.EHOSTUNREACH, "No route to host")

    with Away() as sock:
        assert Connection(sock, echo, Limits(), None, "192.0.2.1", Shares(1)).advance() is Want.CLOSE


@pytest.mark.parametrize(("host", "url"), [("0.0.0.0", "http://127.0.0.1:"), ("::1", "http://[::1]:")])
def test_the_url_reaches_it(host: str, url: str) -> None:
    server = Server(echo, host, 0, workers=1)
    server.start()
    try:
        assert server.url.startswith(url)
        with urllib.request.urlopen(f"{server.url}/x", timeout=5) as reply:
            assert reply.read() == b"GET /x "
    finally:
        server.stop()
