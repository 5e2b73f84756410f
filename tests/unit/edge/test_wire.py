"""The strict parser of request heads: what is accepted, what is refused, and that nothing else comes out."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyswarm.edge.http import Response
from skyswarm.edge.wire import MAX_HEAD, WireError, encode_head, error_response, head_end, parse_head
from skyswarm.errors import AbsentError

GOOD = b"POST /a/b%20c?x=1&y HTTP/1.1\r\nHost: h:80\r\nContent-Length: 3\r\nX-A:  b c \r\nx-a: d\r\n\r\n"


def parse(text: str) -> object:
    return parse_head(text.replace("\n", "\r\n").encode("latin-1"), 1000)


def test_a_head() -> None:
    head = parse_head(GOOD, 1000)
    assert (head.method, head.path, head.query, head.length) == ("POST", "/a/b%20c", "x=1&y", 3)
    assert head.headers == {"host": "h:80", "content-length": "3", "x-a": "b c, d"}
    assert head.keep
    assert not head.waits


@pytest.mark.parametrize(
    ("line", "keep"),
    [
        ("GET / HTTP/1.1\nHost: h\n\n", True),
        ("GET / HTTP/1.1\nHost: h\nConnection: Close\n\n", False),
        ("GET / HTTP/1.1\nHost: h\nConnection: x, close\n\n", False),
        ("GET / HTTP/1.0\n\n", False),
        ("GET / HTTP/1.0\nConnection: keep-alive\n\n", True),
    ],
)
def test_whether_the_client_goes_on(line: str, keep: bool) -> None:
    assert parse(line).keep is keep  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("GET  / HTTP/1.1\nHost: h\n\n", 400),
        ("get / HTTP/1.1\nHost: h\n\n", 400),
        ("GET / HTTP/1.1 \nHost: h\n\n", 400),
        ("GET / HTTP/2.0\nHost: h\n\n", 400),
        ("GET http://h/ HTTP/1.1\nHost: h\n\n", 400),
        ("OPTIONS * HTTP/1.1\nHost: h\n\n", 400),
        ("CONNECT h:1 HTTP/1.1\nHost: h\n\n", 400),
        ("GET /#f HTTP/1.1\nHost: h\n\n", 400),
        ("GET /\xe4 HTTP/1.1\nHost: h\n\n", 400),
        ("GET / HTTP/1.1\n\n", 400),
        ("GET / HTTP/1.1\nHost: h\nHost: h\n\n", 400),
        ("GET / HTTP/1.1\nHost: a b\n\n", 400),
        ("GET / HTTP/1.1\nHost: h\nX : y\n\n", 400),
        ("GET / HTTP/1.1\nHost: h\n folded\n\n", 400),
        ("GET / HTTP/1.1\nHost: h\nX: a\rb\n\n", 400),
        ("GET / HTTP/1.1\nHost: h\nX: a\0b\n\n", 400),
        ("GET / HTTP/1.1\nHost: h\nContent-Length: -1\n\n", 400),
        ("GET / HTTP/1.1\nHost: h\nContent-Length: +1\n\n", 400),
        ("GET / HTTP/1.1\nHost: h\nContent-Length: 1, 1\n\n", 400),
        ("GET / HTTP/1.1\nHost: h\nContent-Length: 1\nContent-Length: 1\n\n", 400),
        ("GET / HTTP/1.1\nHost: h\nContent-Length: 1001\n\n", 413),
        ("GET / HTTP/1.1\nHost: h\nTransfer-Encoding: chunked\n\n", 501),
        ("GET / HTTP/1.1\nHost: h\nContent-Length: 1\nTransfer-Encoding: chunked\n\n", 501),
        ("GET / HTTP/1.1\nHost: h\n" + "X: y\n" * 64 + "\n", 431),
    ],
)
def test_what_is_refused(text: str, status: int) -> None:
    with pytest.raises(WireError) as raised:
        parse(text)
    assert raised.value.status == status


def test_heads_that_do_not_end() -> None:
    assert head_end(bytearray(b"GET / HTTP/1.1\r\nHost: h\r\n\r")) == 0
    assert head_end(bytearray(GOOD + b"abc")) == len(GOOD)
    for endless in (b"a" * MAX_HEAD, b"GET / HTTP/1.1\n\n", b"GET / HTTP/1.1\n\r\n"):
        with pytest.raises(WireError):
            head_end(bytearray(endless))


@given(st.binary(max_size=300), st.integers(0, len(GOOD)), st.integers(0, 40))
def test_only_wire_errors_come_out(noise: bytes, at: int, cut: int) -> None:
    for data in (noise, GOOD[:at] + noise + GOOD[at + cut :]):
        try:
            end = head_end(bytearray(data))
            if end:
                head = parse_head(data[:end], 1000)
                assert head.path.startswith("/")
                assert 0 <= head.length <= 1000
        except WireError as error:
            assert 400 <= error.status <= 501


@pytest.mark.parametrize(
    ("start", "filling", "end"),
    [
        (b"GET / HTTP/1.1\r\nHost: h\r\nA:", b" ", b"\x01"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nA:", b"\t ", b"x"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nA: ", b"x ", b"\x7f"),
        (b"GET / HTTP/1.1\r\nHost: h\r\n", b"A", b""),
        (b"GET / HTTP/1.1\r\nHost:", b" ", b"h h"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nConnection:", b", ", b""),
        (b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length:", b"1", b""),
        (b"GET / HTTP/1.1\r\n", b"A:\r\n", b""),
        (b"GET /", b"a", b"\x01 HTTP/1.1\r\nHost: h"),
        (b"GET /", b"?", b" HTTP/1.1\r\nHost: h"),
    ],
)
def test_the_worst_head_costs_no_time(start: bytes, filling: bytes, end: bytes) -> None:
    """One white space more took a cubic pattern 21 s for 3 KB."""
    room = MAX_HEAD - len(start) - len(end) - 4
    data = start + filling * (room // len(filling)) + end + b"\r\n\r\n"
    began = time.process_time()
    try:
        parse_head(data[: head_end(bytearray(data))], 1000)
    except WireError as error:
        assert error.status in {400, 431}
    assert time.process_time() - began < 0.05


def test_answers() -> None:
    head = encode_head(Response(404, {"X-A": "b"}, b"four"), "now", keep=False)
    assert head == (
        b"HTTP/1.1 404 Not Found\r\nDate: now\r\nX-A: b\r\nContent-Length: 4\r\nConnection: close\r\n\r\n"
    )
    assert b"Content-Length: 9\r\n" in encode_head(Response(200, {"Content-Length": "9"}), "now", keep=True)
    for name, value in (("X", "a\r\nSet-Cookie: b"), ("X\r\nY", "z")):
        with pytest.raises(ValueError, match="line break"):
            encode_head(Response(200, {name: value}), "now", keep=True)
    assert error_response(404, AbsentError("gone")).body == (b'{"error":{"code":"SKY-501","message":"gone"}}')
