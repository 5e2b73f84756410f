"""The promises of the Fetcher and Peers ports, held to the HTTP drivers: against our own server and a faulty one."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from skyswarm.drivers.http.address import AddressPolicy
from skyswarm.drivers.http.fetcher import CHUNK, HttpFetcher
from skyswarm.drivers.http.peers import HttpPeers
from skyswarm.edge.http import Request, Response
from skyswarm.edge.objects import serve_object
from skyswarm.edge.server import Server
from skyswarm.errors import (
    LinkExpiredError,
    PieceMismatchError,
    SkyError,
    SourceChangedError,
    SourceUnreachableError,
    StalledError,
    TooLargeError,
    UnavailableError,
)
from skyswarm.pieces.hasher import verified
from tests.support.faulty import Faulty
from tests.support.storages import FolderRig, digest_of

HERE = AddressPolicy(allow_private=True)
DATA = random.Random(5).randbytes(3 * CHUNK + 321)


@pytest.fixture
def fetcher() -> Iterator[HttpFetcher]:
    made = HttpFetcher(HERE, head=0.4, stall=0.4, rate=1024, window=0.3)
    yield made
    made.close()


@pytest.fixture(scope="module")
def faulty() -> Iterator[Faulty]:
    with Faulty(DATA) as source:
        yield source


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """A presigned URL of DATA at our own server."""
    rig = FolderRig(tmp_path)
    server = Server(
        lambda request: serve_object(rig.open, rig.presigner(), request), "127.0.0.1", 0, workers=4
    )
    server.start()
    rig.base = server.url
    made = rig.open().put("a b/ü.bin", DATA, if_version=None)
    yield rig.open().presign(made.key, made.version, 60).url
    server.stop()


def get(fetcher: HttpFetcher, url: str, offset: int = 0, length: int = len(DATA)) -> bytes:
    return b"".join(bytes(chunk) for chunk in fetcher.read(url, offset, length))


# ---- our own server ----------------------------------------------------------------------------
def test_whole_and_ranges(fetcher: HttpFetcher, served: str) -> None:
    for offset, length in [(0, len(DATA)), (0, 1), (len(DATA) - 1, 1), (CHUNK - 1, CHUNK + 2), (7, 0)]:
        assert get(fetcher, served, offset, length) == DATA[offset : offset + length]


def test_many_at_once(fetcher: HttpFetcher, served: str) -> None:
    spans = [(random.Random(n).randrange(len(DATA) - 5000), 5000) for n in range(200)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda span: get(fetcher, served, *span), spans))
    assert found == [DATA[offset : offset + length] for offset, length in spans]


def test_a_range_past_the_end_is_a_changed_source(fetcher: HttpFetcher, served: str) -> None:
    with pytest.raises(SourceChangedError):
        get(fetcher, served, len(DATA) - 1, 2)
    with pytest.raises(SourceChangedError):
        get(fetcher, served, len(DATA), 1)


def test_a_tampered_url_is_an_expired_link(fetcher: HttpFetcher, served: str) -> None:
    with pytest.raises(LinkExpiredError):
        get(fetcher, served[:-1] + ("A" if served[-1] != "A" else "B"))


def test_small_objects(fetcher: HttpFetcher, served: str) -> None:
    assert fetcher.small(served, len(DATA)) == DATA
    with pytest.raises(TooLargeError):
        fetcher.small(served, len(DATA) - 1)


def test_a_reader_that_stops_early_harms_nothing(fetcher: HttpFetcher, served: str) -> None:
    chunks = fetcher.read(served, 0, len(DATA))
    next(chunks)
    chunks.close()  # type: ignore[attr-defined]
    assert get(fetcher, served) == DATA


# ---- sources with faults -----------------------------------------------------------------------
@pytest.mark.parametrize(
    ("mode", "error"),
    [
        ("busy", UnavailableError),
        ("throttled", UnavailableError),
        ("expired", LinkExpiredError),
        ("unauthorized", LinkExpiredError),
        ("gone", SourceChangedError),
        ("changed", SourceChangedError),
        ("wrong_range", SourceChangedError),
        ("short_range", SourceChangedError),
        ("no_range", SourceChangedError),
        ("longer", SourceChangedError),
        ("gzip", SourceChangedError),
        ("stall", StalledError),
        ("trickle", StalledError),
        ("silent", StalledError),
        ("cut", SourceUnreachableError),
        ("garbage", SourceUnreachableError),
        ("loop", SourceUnreachableError),
        ("downgrade", SourceUnreachableError),
    ],
)
def test_each_fault_is_the_error_of_the_port(
    fetcher: HttpFetcher, faulty: Faulty, mode: str, error: type[SkyError]
) -> None:
    start = time.monotonic()
    with pytest.raises(SkyError) as raised:
        get(fetcher, faulty.url_of(mode), 100, 5000)
    assert type(raised.value) is error
    assert time.monotonic() - start < 5
    assert "secret" not in str(raised.value)
    assert get(fetcher, faulty.url_of("ok"), 100, 5000) == DATA[100:5100]


@pytest.mark.parametrize(
    ("mode", "error"),
    [("busy", UnavailableError), ("gone", SourceChangedError), ("expired", LinkExpiredError),
     ("stall", StalledError), ("cut", SourceUnreachableError), ("longer", SourceUnreachableError),
     ("gzip", SourceChangedError)],
)  # fmt: skip
def test_small_objects_of_faulty_sources(
    fetcher: HttpFetcher, faulty: Faulty, mode: str, error: type[SkyError]
) -> None:
    with pytest.raises(error):
        fetcher.small(faulty.url_of(mode), 1 << 30)


def test_corrupt_bytes_pass_here_and_are_caught_by_the_verifier(fetcher: HttpFetcher, faulty: Faulty) -> None:
    chunks = fetcher.read(faulty.url_of("corrupt"), 0, len(DATA))
    with pytest.raises(PieceMismatchError):
        for _ in verified(chunks, digest_of(DATA), len(DATA)):
            pass


def test_a_redirect_is_followed(fetcher: HttpFetcher, faulty: Faulty) -> None:
    assert get(fetcher, faulty.url_of("redirect"), 3, 700) == DATA[3:703]
    assert fetcher.small(faulty.url_of("redirect"), 1 << 30) == DATA


def test_a_kept_connection_is_used_again_and_its_end_survived() -> None:
    with Faulty(DATA) as source:
        fetcher = HttpFetcher(HERE)
        for _ in range(5):
            assert get(fetcher, source.url) == DATA
        assert source.connections == 1
        for _ in range(3):
            assert get(fetcher, source.url_of("drop_kept"), 0, 50) == DATA[:50]
        assert source.connections == 4  # each request on a used connection was dropped, and asked again once
        fetcher.close()


def test_a_dead_host_is_unreachable(fetcher: HttpFetcher) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(SourceUnreachableError):
            get(fetcher, f"http://127.0.0.1:{taken.getsockname()[1]}/x")
    with pytest.raises(SourceUnreachableError):
        get(fetcher, "http://no-such-host.invalid/x")


@pytest.mark.parametrize(
    "url",
    ["", "x", "ftp://127.0.0.1/x", "file:///etc/passwd", "http:///x", "http://u:p@127.0.0.1/x", "http://[::1/x",
     "http://127.0.0.1:99999/x", "http://127.0.0.1:x/", "http://127.0.0.1/a b", "http://127.0.0.1/\r\nX: y",
     "http://127.0.0.1/ü"],
)  # fmt: skip
def test_what_is_no_url_is_unreachable(fetcher: HttpFetcher, url: str) -> None:
    with pytest.raises(SourceUnreachableError):
        get(fetcher, url)
    with pytest.raises(SourceUnreachableError):
        HttpPeers(HERE).call("GET", url, b"", {}, timeout=1, limit=10)


# ---- addresses ---------------------------------------------------------------------------------
NEVER = ["169.254.169.254", "169.254.1.1", "fe80::1%eth0", "fe80::1", "0.0.0.0", "::", "224.0.0.1", "ff02::1",
         "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe",
         "2002:a9fe:a9fe::1", "::ffff:0.0.0.0", "255.255.255.255", "240.0.0.1", "64:ff9b:1::a9fe:a9fe",
         "64:ff9b:1::7f00:1", "::ffff:0:169.254.169.254", "fec0::1", "5f00::1",
         "fd00:ec2::23", "fd20:ce::254"]  # fmt: skip
PRIVATE = ["127.0.0.1", "::1", "10.1.2.3", "192.168.1.1", "172.16.0.1", "fd12:3456::1", "::ffff:127.0.0.1",
           "64:ff9b::7f00:1", "::127.0.0.1"]  # fmt: skip
PUBLIC = ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34"]


def test_addresses_that_are_connected_to() -> None:
    closed, here = AddressPolicy(), AddressPolicy(allow_private=True)
    assert [address for address in NEVER if closed.allows(address) or here.allows(address)] == []
    assert [address for address in PRIVATE if closed.allows(address) or not here.allows(address)] == []
    assert [address for address in PUBLIC if not (closed.allows(address) and here.allows(address))] == []


def test_time_that_is_over_is_not_spent_on_another_address(faulty: Faulty) -> None:
    """A name may have thousands of addresses."""
    _, _, port = faulty.url.removeprefix("http://").partition("/")[0].rpartition(":")
    HERE.connect("localhost", int(port), 5.0).close()
    with pytest.raises(SourceUnreachableError, match="time"):
        HERE.connect("localhost", int(port), 0.0)


def test_a_name_of_a_private_address_is_refused_too(faulty: Faulty) -> None:
    url = faulty.url.replace("127.0.0.1", "localhost")
    assert get(HttpFetcher(HERE), url) == DATA
    asked = faulty.asked.total()
    for call in (
        lambda: get(HttpFetcher(AddressPolicy()), url),
        lambda: HttpPeers(AddressPolicy()).call("GET", url, b"", {}, timeout=1, limit=10),
    ):
        with pytest.raises(SourceUnreachableError):
            call()
    assert faulty.asked.total() == asked


# ---- peers -------------------------------------------------------------------------------------
def test_peers_get_the_reply_whatever_its_status(faulty: Faulty) -> None:
    peers = HttpPeers(HERE)
    for mode, status in [("ok", 200), ("busy", 503), ("gone", 404), ("redirect", 302)]:
        reply = peers.call("POST", faulty.url_of(mode), b"{}", {"X-A": "b"}, timeout=2, limit=1 << 30)
        assert reply.status == status
    assert reply.headers["location"] == "/ok/object"


@pytest.mark.parametrize("mode", ["silent", "stall", "trickle", "cut", "garbage", "gzip", "ok"])
def test_peers_that_do_not_answer_in_time_or_too_much(faulty: Faulty, mode: str) -> None:
    start = time.monotonic()
    with pytest.raises(SourceUnreachableError):
        HttpPeers(HERE).call(
            "POST", faulty.url_of(mode), b"", {}, timeout=0.4, limit=len(DATA) - (mode == "ok")
        )
    assert time.monotonic() - start < 3


def test_peers_send_what_they_are_given_and_nothing_twice() -> None:
    seen: list[Request] = []

    def app(request: Request) -> Response:
        seen.append(request)
        return Response(200, {}, b"fine")

    server = Server(app, "127.0.0.1", 0, workers=2)
    server.start()
    peers, url = HttpPeers(HERE), server.url
    for _ in range(3):
        reply = peers.call("POST", url + "/a/x?y=1", b"body", {"X-A": "b"}, timeout=2, limit=4)
        assert (reply.status, reply.body) == (200, b"fine")
    server.stop()
    with pytest.raises(SourceUnreachableError):
        peers.call("POST", url + "/a/x", b"", {}, timeout=2, limit=4)
    assert len(seen) == 3
    assert (seen[0].method, seen[0].path, seen[0].query, seen[0].body) == ("POST", "/a/x", "y=1", b"body")
    assert seen[0].headers["x-a"] == "b"
    assert f"http://{seen[0].authority}" == url
