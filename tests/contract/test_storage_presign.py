"""Presigned URLs of the storages that we answer for ourselves, read by a plain HTTP client that knows nothing of us."""

from __future__ import annotations

import random
import urllib.error
import urllib.request
from collections.abc import Iterator
from email.message import Message
from pathlib import Path

import pytest

from skyswarm.edge.objects import serve_object
from skyswarm.ports.storage import ANY_VERSION
from tests.support.served import exchange, serving
from tests.support.storages import SERVED, Rig

DATA = random.Random(9).randbytes(70_000)
KEY = "dir/a b+c%20d~ü#?&=.html"


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=sorted(SERVED))
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    """A storage whose URLs are served, with DATA under KEY and a clock that the test moves."""
    made = SERVED[request.param](tmp_path)
    made.now = Clock()
    with serving(lambda asked: serve_object(made.open, made.presigner(), asked)) as server:
        made.base = f"{server.url}/a/{'a' * 64}"
        made.open().put(KEY, DATA, if_version=None)
        yield made


def url_of(rig: Rig, key: str = KEY, ttl: int = 60, storage: str = "main") -> str:
    driver = rig.open(storage)
    return driver.presign(key, driver.stat(key).version, ttl).url


def fetch(url: str, method: str = "GET", **headers: str) -> tuple[int, bytes, Message]:
    request = urllib.request.Request(url, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            return reply.status, reply.read(), reply.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), error.headers


def test_a_whole_object(rig: Rig) -> None:
    status, body, headers = fetch(url_of(rig))
    assert (status, body) == (200, DATA)
    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["Content-Disposition"] == "attachment"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "private, no-store"
    assert headers["Accept-Ranges"] == "bytes"
    assert headers["ETag"] == f'"{rig.open().stat(KEY).version}"'


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=5-999", 5, 999),
        ("bytes=69999-", 69_999, 69_999),
        ("bytes=100-", 100, 69_999),
        ("bytes=-1", 69_999, 69_999),
        ("bytes=-100000", 0, 69_999),
        ("bytes=69000-999999999", 69_000, 69_999),
    ],
)
def test_a_range(rig: Rig, asked: str, first: int, last: int) -> None:
    status, body, headers = fetch(url_of(rig), Range=asked)
    assert (status, body) == (206, DATA[first : last + 1])
    assert headers["Content-Range"] == f"bytes {first}-{last}/70000"
    assert headers["Content-Length"] == str(last - first + 1)


@pytest.mark.parametrize("asked", ["bytes=70000-", "bytes=70000-70001", "bytes=-0", "bytes=99999999-"])
def test_a_range_that_is_not_there(rig: Rig, asked: str) -> None:
    status, body, headers = fetch(url_of(rig), Range=asked)
    assert (status, body) == (416, b"")
    assert headers["Content-Range"] == "bytes */70000"


@pytest.mark.parametrize(
    "asked", ["bytes=5-4", "bytes=0-1,3-4", "bytes=-", "bytes=a-b", "lines=1-2", "bytes=1--2", "5-6"]
)
def test_a_range_that_is_none_gives_the_whole(rig: Rig, asked: str) -> None:
    status, body, _ = fetch(url_of(rig), Range=asked)
    assert (status, body) == (200, DATA)


def test_if_range_of_another_state_gives_the_whole(rig: Rig) -> None:
    version = rig.open().stat(KEY).version
    assert fetch(url_of(rig), Range="bytes=0-9", **{"If-Range": f'"{version}"'})[0] == 206
    assert fetch(url_of(rig), Range="bytes=0-9", **{"If-Range": '"old"'})[0] == 200


def test_an_empty_object(rig: Rig) -> None:
    rig.open().put("empty", b"", if_version=None)
    assert fetch(url_of(rig, "empty"))[:2] == (200, b"")
    assert fetch(url_of(rig, "empty"), Range="bytes=0-0")[0] == 416


def test_head(rig: Rig) -> None:
    status, body, headers = fetch(url_of(rig), "HEAD", Range="bytes=0-9")
    assert (status, body, headers["Content-Length"]) == (206, b"", "10")


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "PATCH"])
def test_other_methods_are_refused(rig: Rig, method: str) -> None:
    assert fetch(url_of(rig), method)[0] == 403
    assert fetch(url_of(rig))[1] == DATA


def test_it_ends(rig: Rig) -> None:
    url = url_of(rig, ttl=60)
    rig.now.now += 60.5
    status, body, _ = fetch(url)
    assert (status, b"SKY-322" in body) == (403, True)


def test_no_part_of_it_can_be_changed(rig: Rig) -> None:
    url = url_of(rig)
    other = rig.open().put("other", DATA, if_version=None)
    path, _, query = url.partition("?")
    version, end, signature = query.split("&")
    expires = int(end.removeprefix("e="))
    quoted = path.rpartition("/o/main/")[2]
    assert fetch(f"{path}?{version}&{end}&{signature}")[0] == 200
    for tampered in (
        f"{path.replace(quoted, 'other')}?{query}",
        f"{path.replace('/o/main/', '/o/origin/')}?{query}",
        f"{path}?v={other.version}&{end}&{signature}",
        f"{path}?{version}&e={expires + 1}&{signature}",
        f"{path}?{version}&{end}&s={'A' * 43}",
        f"{path}?{version}&{end}&s=",
        f"{path}?{version}&{end}&s=%C3%BC",
        f"{path}?{version}&e=0{expires}&{signature}",
        f"{path}?{version}&{end}",
        f"{path}?{query}&x=1",
        f"{path}?{query}&{end}",
        path,
        f"{path.rpartition('/o/')[0]}/o/main?{query}",
        f"{path}%ff?{query}",
    ):
        status, body, _ = fetch(tampered)
        assert status in {400, 403}, tampered
        assert DATA not in body


def test_a_changed_object_is_412_and_a_removed_one_404(rig: Rig) -> None:
    url = url_of(rig)
    rig.open().put(KEY, DATA[::-1], if_version=ANY_VERSION)
    assert fetch(url)[0] == 412
    rig.open().delete(KEY)
    assert fetch(url)[0] == 404


def test_an_error_is_json_with_a_code_and_no_path_of_the_machine(rig: Rig) -> None:
    url = url_of(rig)
    rig.open().delete(KEY)
    _, body, headers = fetch(url)
    assert headers["Content-Type"] == "application/json"
    assert b"SKY-501" in body
    assert str(rig.folder).encode() not in body


def test_a_secret_of_another_agent_opens_nothing(rig: Rig) -> None:
    stranger = type(rig)(rig.folder)
    stranger.secret = b"another secret of thirty-two bytes"
    stranger.base, stranger.now = rig.base, rig.now
    version = rig.open().stat(KEY).version
    assert fetch(stranger.presigner().grant("main", KEY, version, 60).url)[0] == 403


def test_a_path_that_climbs_is_never_signed_for(rig: Rig) -> None:
    """Even with a good signature a key is a key."""
    for key in ("../outside", "dir/../../outside", "/etc/passwd", ".skyswarm/uploads/x"):
        url = rig.presigner().grant("main", key, "1-2-3", 60).url
        with serving(lambda asked: serve_object(rig.open, rig.presigner(), asked)) as server:
            path = url.removeprefix(rig.base.partition("/a/")[0])
            reply = exchange(server, f"GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
        assert reply.startswith(b"HTTP/1.1 404 ")
