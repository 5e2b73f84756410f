"""Answers that http.client would read for ever, or fails at with errors of its own: each is the port's error, soon."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from skyswarm.drivers.http.address import AddressPolicy
from skyswarm.drivers.http.fetcher import HttpFetcher
from skyswarm.drivers.http.peers import HttpPeers
from skyswarm.errors import SkyError, SourceUnreachableError, StalledError

HERE = AddressPolicy(allow_private=True)
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@contextmanager
def saying(answer: bytes, more: bytes = b"") -> Iterator[str]:
    """A URL whose server sends `answer`, then `more` again and again until the client goes."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                sock, _ = listener.accept()
                with sock, suppress(OSError):
                    sock.recv(1 << 16)
                    sock.sendall(answer)
                    while more:
                        sock.sendall(more)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/x"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


def small(url: str) -> object:
    return HttpFetcher(HERE, head=2, stall=2).small(url, 1000)


def ranged(url: str) -> object:
    return list(HttpFetcher(HERE, head=2, stall=2).read(url, 0, 5))


def peer(url: str) -> object:
    return HttpPeers(HERE).call("POST", url, b"{}", {}, timeout=2, limit=1000)


@pytest.mark.parametrize("call", [small, ranged, peer])
@pytest.mark.parametrize(
    ("answer", "more"),
    [
        (CHUNKED + b"5\r\nhello\r\n0\r\n", b"X-Trailer: and another\r\n" * 100),
        (CHUNKED + b"-1\r\n", b"x" * 65536),
        (CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n", b""),
        (CHUNKED.replace(b"chunked", b"gzip, chunked") + b"5\r\nhello\r\n0\r\n\r\n", b""),
        (OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", b""),
        (OK + b"\r\n", b"x" * 65536),
        (OK + b"Content-Length: -1\r\n\r\n", b"x" * 65536),
        (OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", b""),
        (OK + b"Content-Length: 5_0\r\n\r\nhello", b""),
        (OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\nhello", b""),
        (b"HTTP/1.1 200 OK\r\n", b"A: b\r\n" * 100),
    ],
)
def test_an_answer_without_an_end_is_refused_at_its_head(
    call: Callable[[str], object], answer: bytes, more: bytes
) -> None:
    began = time.monotonic()
    with saying(answer, more) as url, pytest.raises(SourceUnreachableError):
        call(url)
    assert time.monotonic() - began < 1.5


@pytest.mark.parametrize("call", [small, ranged])
@pytest.mark.parametrize(
    "place", [b"http://[", b"http://[::1", b"//[x]/", b"http://127.0.0.1:x/", b"http://a b/", b"http://..a/", b"\xff"]
)  # fmt: skip
def test_a_redirect_to_what_is_no_url_is_the_ports_error(call: Callable[[str], object], place: bytes) -> None:
    answer = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + place + b"\r\n\r\n"
    with saying(answer) as url, pytest.raises(SkyError):
        call(url)


def test_a_small_object_has_so_long_in_all() -> None:
    """Each byte comes in good time, and fast enough for a piece; the whole does not."""
    began = time.monotonic()
    with (
        saying(OK + b"Content-Length: 9000000000000\r\n\r\n", b"x" * 1000) as url,
        pytest.raises(StalledError),
    ):
        HttpFetcher(HERE, small=0.3).small(url, 1 << 50)
    assert time.monotonic() - began < 2


def test_the_time_of_a_small_object_goes_on_through_redirects() -> None:
    answer = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: /y\r\n\r\n"
    with saying(answer) as url, pytest.raises(StalledError):
        HttpFetcher(HERE, small=0.0).small(url, 10)


def test_a_peer_may_leave_out_the_length_where_there_is_no_body() -> None:
    with saying(b"HTTP/1.1 204 No Content\r\n\r\n") as url:
        assert HttpPeers(HERE).call("GET", url, b"", {}, timeout=2, limit=10).status == 204
