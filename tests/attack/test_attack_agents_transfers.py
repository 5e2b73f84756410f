"""Attacks by a source or by whoever made the manifest: never a wrong file, none outside the destination, no hang."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from skyswarm.drivers.http.address import AddressPolicy
from skyswarm.edge.http import Request, Response
from skyswarm.edge.server import Server
from skyswarm.errors import SkyError
from skyswarm.messages.link import Link
from skyswarm.messages.pages import dump_index
from skyswarm.messages.requests import FetchRequest
from skyswarm.pieces.digest import content_of
from skyswarm.pieces.size import piece_count
from skyswarm.usecases import jobs, reporting, starting
from tests.support.attack import Agent, Town
from tests.support.liar import Liar, digest, entry, page, patient
from tests.support.stage import free_port

GOOD = b"what the manifest names\n"


@pytest.fixture
def bob(place: Town) -> Agent:
    return place.agent("bob", patience=60.0, rest=0.1, rest_most=0.2, stall=2.0)


@pytest.fixture
def liar(place: Town) -> Iterator[Liar]:
    made = Liar(place)
    yield made
    made.close()


@pytest.fixture
def canary() -> Iterator[tuple[str, list[str]]]:
    """A server inside, which nobody should be led to; what it was asked."""
    asked: list[str] = []

    def app(request: Request) -> Response:
        asked.append(request.path)
        return Response(200, {}, GOOD)

    server = Server(app, "127.0.0.1", free_port(), workers=1)
    server.start()
    yield server.url, asked
    server.stop(grace=0.1)


def get(bob: Agent, envelope: bytes, *sources: Any) -> str:
    return bob.get(envelope, sources)


def files(agent: Agent) -> dict[str, bytes]:
    """What is at the destination under final names."""
    root = agent.home / "storage"
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and ".skyswarm" not in path.parts
    }


def everything(folder: Path) -> set[str]:
    """Every path in the world of the test but the agents' own books."""
    own = ("agent.db", "log", "objects", ".skyswarm", "lock", "keys")
    return {str(p) for p in folder.rglob("*") if not any(o in part for part in p.parts for o in own)}


def test_the_liar_can_be_honest(bob: Agent, liar: Liar) -> None:
    job = patient(bob, get(bob, liar.share(("a", GOOD), ("d/b", b"")), liar))
    assert job.state == "done", job
    assert files(bob) == {"it/a": GOOD, "it/d/b": b""}


# ---- traversal, links out of the folder, clashing names --------------------------------------------
@pytest.mark.parametrize(
    "path",
    ["../out", "a/../../out", "/etc/out", "..", ".", "", "a//b", "a/", "./a", "C:/out", "C:out", "a\\..\\out",
     "nul\0", "a\x1b[2J", ".skyswarm/x", ".SKYSWARM/x", "a\u202eb", "x" * 1025,
     "\ud800"],
)  # fmt: skip
def test_attack_traversal_and_unsafe_names_in_a_manifest(
    place: Town, bob: Agent, liar: Liar, path: str
) -> None:
    name = liar.put(_raw_page(entry("fine", GOOD), entry(path, GOOD)))
    liar.files = {(0, 0): GOOD, (0, 1): GOOD}
    envelope = liar.manifest([name], files=2, bytes=2 * len(GOOD), pieces=2)
    before = everything(place.folder)
    job = patient(bob, get(bob, envelope, liar))
    assert job.state == "failed", job
    assert job.error["code"] in ("SKY-101", "SKY-103", "SKY-105"), job.error
    assert everything(place.folder) == before


def _raw_page(*files: dict[str, Any]) -> bytes:
    try:
        return page(*files)
    except SkyError:  # not even JSON of ours: as somebody else's would write it
        doc = {"files": list(files), "kind": "page", "v": 1}
        return json.dumps(doc, sort_keys=True, separators=(",", ":")).encode()


@pytest.mark.parametrize("path", ["NUL", "com1.txt", "a/CON", "a.", "a ", "xx:y", "a<b>|?*", "-rf", "~root"])
def test_attack_windows_names_in_a_manifest_are_plain_names_here(
    place: Town, bob: Agent, liar: Liar, path: str
) -> None:
    """A folder that can hold them holds them, under just that name."""
    before = everything(place.folder)
    job = patient(bob, get(bob, liar.share(("fine", GOOD), (path, GOOD)), liar))
    assert job.state == "done", job
    assert files(bob) == {"it/fine": GOOD, f"it/{path}": GOOD}
    assert all("/bob/storage" in one for one in everything(place.folder) - before)


@pytest.mark.parametrize("pair", [("a", "a"), ("a", "a/b"), ("a/b/c", "a/b"), ("d/x", "d/x")], ids="+".join)
def test_attack_clashing_names_in_a_manifest(bob: Agent, liar: Liar, pair: tuple[str, str]) -> None:
    envelope = liar.share(*((path, GOOD) for path in pair))
    job = patient(bob, get(bob, envelope, liar))
    assert (job.state, job.error["code"]) == ("failed", "SKY-104")
    assert files(bob) == {}


def test_attack_links_at_the_destination_are_not_followed(place: Town, bob: Agent, liar: Liar) -> None:
    outside = place.folder / "outside"
    outside.mkdir()
    (bob.home / "storage" / "it").mkdir(parents=True)
    (bob.home / "storage" / "it" / "d").symlink_to(outside)
    (bob.home / "storage" / "it" / "a").symlink_to(outside / "made")
    job = patient(bob, get(bob, liar.share(("a", GOOD), ("d/b", GOOD), ("c", GOOD)), liar))
    assert job.state in ("failed", "stopped"), job
    assert list(outside.iterdir()) == []


# ---- manifests that lie ------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "totals",
    [{"files": 1, "bytes": 48, "pieces": 2}, {"files": 3, "bytes": 48, "pieces": 2},
     {"files": 2, "bytes": 47, "pieces": 2}, {"files": 2, "bytes": 48, "pieces": 1},
     {"files": 2, "bytes": 1 << 46, "pieces": 2}, {"files": 1000, "bytes": 48, "pieces": 2}],
)  # fmt: skip
def test_attack_manifest_whose_totals_lie(bob: Agent, liar: Liar, totals: dict[str, int]) -> None:
    assert len(GOOD) == 24
    liar.files = {(0, 0): GOOD, (0, 1): GOOD}
    envelope = liar.manifest([liar.put(page(entry("a", GOOD), entry("b", GOOD)))], **totals)
    job = patient(bob, get(bob, envelope, liar))
    assert (job.state, job.error["code"]) == ("failed", "SKY-105"), job


def test_attack_manifest_with_one_page_a_thousand_times(bob: Agent, liar: Liar) -> None:
    """A bomb: small to send, and as an index of one page again and again a share of millions of files."""
    one = liar.put(page(*(entry(f"{n}") for n in range(1000))))
    index = liar.put(dump_index([one] * 4096, 1))
    top = liar.put(dump_index([index] * 4096, 2))
    count = 1000 * 4096 * 4096
    envelope = liar.manifest([top], files=count, bytes=0, pieces=0, index_depth=2)
    job = patient(bob, get(bob, envelope, liar))
    assert (job.state, job.error["code"]) == ("failed", "SKY-104"), job.error
    assert len(liar.hits) < 50


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_attack_index_of_another_depth(bob: Agent, liar: Liar, depth: int) -> None:
    """An index where a page should be, a page where an index should be, one index too few."""
    leaf = liar.put(page(entry("a", GOOD)))
    wrong = {
        0: dump_index([leaf], 1),
        1: dump_index([liar.put(dump_index([leaf], 1))], 2),
        2: page(entry("a", GOOD)),
    }
    envelope = liar.manifest([liar.put(wrong[depth])], files=1, bytes=24, pieces=1, index_depth=depth)
    job = patient(bob, get(bob, envelope, liar))
    assert (job.state, job.error["code"]) == ("failed", "SKY-105"), job
    assert files(bob) == {}


def test_attack_pages_that_are_missing(bob: Agent, liar: Liar) -> None:
    envelope = liar.manifest(["a" * 64], files=1, bytes=24, pieces=1)
    job = patient(bob, get(bob, envelope, liar))
    assert job.state == "failed", job
    assert files(bob) == {}


def test_attack_page_with_another_hash(bob: Agent, liar: Liar) -> None:
    envelope = liar.share(("a", GOOD))
    (name,) = [one for one, data in liar.objects.items() if data != envelope]
    liar.objects[name] = page(entry("a", b"something else entirely!"))
    job = patient(bob, get(bob, envelope, liar))
    assert (job.state, job.error["code"]) == ("failed", "SKY-320"), job
    assert files(bob) == {}


def test_attack_piece_list_with_another_hash_or_content(bob: Agent, liar: Liar) -> None:
    """A file of seventeen pieces, whose list is a side object."""
    size = next(n for n in (k << 20 for k in range(1, 4096)) if piece_count(n) > 16)
    count = piece_count(size)
    packed = digest(b"x") * count
    for content, stored in ((content_of(packed), digest(b"y") * count), ("c" * 64, packed)):
        name = liar.put(packed)
        liar.objects[name] = stored
        big = entry("big", size=size, content=content, pieces=None, list=name)
        envelope = liar.manifest([liar.put(page(big))], files=1, bytes=size, pieces=count)
        job = patient(bob, get(bob, envelope, liar))
        assert job.state == "failed", job
        assert job.error["code"] in ("SKY-320", "SKY-105")
        assert files(bob) == {}


def test_attack_a_file_larger_than_the_disk(bob: Agent, liar: Liar) -> None:
    size = 40 << 40
    packed = digest(b"x") * piece_count(size)
    big = entry("big", size=size, content=content_of(packed), pieces=None, list=liar.put(packed))
    envelope = liar.manifest([liar.put(page(big))], files=1, bytes=size, pieces=piece_count(size))
    job = patient(bob, get(bob, envelope, liar))
    assert (job.state, job.error["code"]) == ("stopped", "SKY-331"), job
    assert files(bob) == {}


# ---- lying, stalling, changing source ------------------------------------------------------------------
def _changed(field: str, value: Any) -> Callable[[Liar, FetchRequest], bytes]:
    def reply(liar: Liar, request: FetchRequest) -> bytes:
        doc = json.loads(liar.honest(request))
        doc[field] = value(doc[field]) if callable(value) else value
        return json.dumps(doc, sort_keys=True, separators=(",", ":")).encode()

    return reply


def _urls(url: str) -> Callable[[Liar, FetchRequest], bytes]:
    return _changed("urls", lambda urls: [{**one, "url": url} for one in urls])


ABSURD: dict[str, Callable[[Liar, FetchRequest], bytes | Response]] = {
    "thousands of URLs": _changed("urls", lambda urls: urls * 5000),
    "no URL at all": _changed("urls", []),
    "counts that do not fit": _changed("wants", lambda wants: [*wants, 0]),
    "objects that do not fit": _changed("objects", lambda found: [*found, None]),
    "an index outside": _changed("wants", lambda wants: [99 for _ in wants]),
    "a negative index": _changed("wants", lambda wants: [-1 for _ in wants]),
    "file": _urls("file:///etc/passwd"),
    "ftp": _urls("ftp://127.0.0.1/x"),
    "javascript": _urls("javascript:alert(1)"),
    "user in the URL": _urls("http://user@127.0.0.1/x"),
    "odd numbers for an address": _urls("http://2130706433/x"),
    "metadata": _urls("http://169.254.169.254/latest/meta-data/"),
    "metadata in IPv6": _urls("http://[::ffff:169.254.169.254]/x"),
    "line break in the URL": _urls("http://127.0.0.1/x\r\nHost: y"),
    "not JSON": lambda *_: b"\xff\xfe{",
    "deep JSON": lambda *_: b"[" * 100_000,
    "a megabyte more than allowed": lambda *_: b" " * (2 << 20),
    "a float": _changed("v", 1.0),
    "chain of thousands": _changed("chain", ["a" * 64] * 5000),
    "storage with escapes": _changed("storage", "\x1b[2J"),
    "status 200 and nothing": lambda *_: b"",
    "status 500": lambda *_: Response(500, {}, b"\x00" * 1000),
    "status 302": lambda *_: Response(302, {"location": "http://127.0.0.1:1/x"}, b""),
    "status 999": lambda *_: Response(999, {}, b"{}"),
}


@pytest.mark.parametrize("name", ABSURD)
def test_attack_source_that_answers_absurdly(place: Town, bob: Agent, liar: Liar, name: str) -> None:
    """Alone it ends the transfer with a reason; beside an honest source it changes nothing."""
    envelope = liar.share(("a", GOOD))
    good = Liar(place, 78)
    try:
        good.objects, good.files = dict(liar.objects), dict(liar.files)
        liar.reply = ABSURD[name]
        job = patient(bob, get(bob, envelope, liar))
        assert job.state in ("failed", "refused"), job
        assert files(bob) == {}
        job = patient(bob, get(bob, envelope, liar, good))
        assert job.state == "done", job
        assert files(bob) == {"a": GOOD}
    finally:
        good.close()


FAKE = [
    "SKY-331",
    "SKY-340",
    "SKY-350",
    "SKY-402",
    "SKY-507",
    "SKY-701",
    "SKY-704",
    "SKY-611",
    "SKY-999",
    "x",
    "",
]


@pytest.mark.parametrize("code", FAKE)
def test_attack_peer_error_with_a_code_that_is_not_its_to_say(bob: Agent, liar: Liar, code: str) -> None:
    """A peer cannot say that we cancelled, that our disk is full, our cap reached or our key file gone."""
    envelope = liar.share(("a", GOOD))
    nasty = "\x1b]0;owned\x07\x1b[2J\r\n\u202eevil\u2066" + "z" * 5000
    doc = {"error": {"code": code, "message": nasty, "advice": nasty}}
    liar.reply = lambda *_: Response(403, {}, json.dumps(doc).encode())
    transfer = get(bob, envelope, liar)
    job = patient(bob, transfer)
    assert job.state in ("refused", "failed"), job
    assert job.error["code"] in ("SKY-312", "SKY-310"), job.error
    shown = reporting.status_of(
        bob.deps, bob.id, reporting.report(bob.deps, bob.id, transfer), bob.now()
    ).dump()
    for text in (json.dumps(job.error, ensure_ascii=False), shown.decode(), bob.logged()):
        assert not set(text) & set("\x1b\x07\u202e\u2066"), text[:200]
        assert "\\u001b" not in text
    assert len(job.error["message"]) < 1500


def test_attack_source_that_serves_wrong_bytes_is_dropped_after_three_lies(
    place: Town, bob: Agent, liar: Liar
) -> None:
    envelope = liar.share(*((f"{n}", GOOD + bytes([n])) for n in range(8)))
    good = Liar(place, 78)
    try:
        good.objects, good.files = dict(liar.objects), dict(liar.files)
        liar.files = {at: data[::-1] for at, data in liar.files.items()}
        alone = patient(bob, get(bob, envelope, liar))
        assert alone.state == "failed" and files(bob) == {}
        (told,) = alone.sources
        assert (told.state, told.strikes, told.code) == ("dropped", 3, "SKY-320")
        assert [path[:3] for path in liar.hits].count("/f/") == 3, "and is asked for no byte after that"
        job = patient(bob, get(bob, envelope, liar, good))
        assert job.state == "done", job
        assert files(bob) == {f"it/{n}": GOOD + bytes([n]) for n in range(8)}
    finally:
        good.close()


@pytest.mark.parametrize(
    "answer",
    [Response(200, {"content-encoding": "gzip"}, GOOD), Response(206, {"content-range": "bytes 0-23/99"}, GOOD[:-1]),
     Response(206, {"content-range": "bytes 1-24/24"}, GOOD), Response(206, {}, GOOD), Response(200, {}, GOOD * 2),
     Response(204, {}, b""), Response(416, {}, b""), Response(999, {}, b"")],
    ids=str,
)  # fmt: skip
def test_attack_source_whose_url_answers_wrongly(bob: Agent, liar: Liar, answer: Response) -> None:
    envelope = liar.share(("a", GOOD))
    liar.serve = lambda _: answer
    job = patient(bob, get(bob, envelope, liar))
    assert job.state in ("failed", "refused"), job
    assert files(bob) == {}


def test_attack_another_manifest_than_the_one_asked_for(place: Town, bob: Agent, liar: Liar) -> None:
    """Whoever holds a share's id can announce it and hand out something else: that costs the liar, not the transfer."""
    good = Liar(place, 78)
    try:
        envelope = good.share(("a", GOOD))
        (manifest,) = [name for name, data in good.objects.items() if data == envelope]
        liar.share(("a", b"another one"))
        wrong = next(data for name, data in liar.objects.items() if b"manifest" in data)
        liar.objects[manifest] = wrong
        job = starting.start_link(bob.deps, bob.id, Link(manifest, "it", (), liar.url), starting.Wish("home"))
        jobs.change(
            bob.deps,
            bob.id,
            job.id,
            lambda now: now.with_source(jobs.SourceState(agent=good.id, endpoint=good.url)),
        )
        ended = patient(bob, job.id)
        assert ended.state == "done", ended
        assert files(bob) == {"a": GOOD}
        assert [one.state for one in ended.sources if one.agent == liar.id] == ["dropped"]
    finally:
        good.close()


# ---- redirect or announced address into the inside ---------------------------------------------------------
class OnlyTheSource(AddressPolicy):
    """As on the internet: the source's address is outside, loopback's first one is inside."""

    def allows(self, address: str) -> bool:
        return address == "127.0.0.2"


def test_attack_redirect_into_the_inside(place: Town, canary: tuple[str, list[str]]) -> None:
    """A question follows no redirect; the reading of a URL does, but the address is checked again."""
    bob = place.agent("bob", policy=OnlyTheSource(), patience=60.0, rest=0.1, rest_most=0.2)
    liar = Liar(place, host="127.0.0.2")
    url, asked = canary
    try:
        envelope = liar.share(("a", GOOD))
        assert patient(bob, get(bob, envelope, liar)).state == "done"
        (bob.home / "storage" / "a").unlink()
        places = [f"{url}/x", f"{url.replace('127.0.0.1', 'localhost')}/x", "http://169.254.169.254/x"]
        for place_ in (*places, "file:///etc/passwd", "//127.0.0.1/x", "gopher://127.0.0.1/x"):
            away = Response(302, {"location": place_}, b"")
            liar.serve = lambda _, to=away: to
            assert patient(bob, get(bob, envelope, liar)).state in ("failed", "refused")
        liar.serve = None
        liar.reply = lambda *_: Response(307, {"location": f"{url}/inside"}, b"")
        assert patient(bob, get(bob, envelope, liar)).state in ("failed", "refused")
        assert asked == []
        assert files(bob) == {}
    finally:
        liar.close()


def test_attack_urls_into_the_inside_where_private_addresses_are_not_allowed(
    place: Town, liar: Liar, canary: tuple[str, list[str]]
) -> None:
    bob = place.agent(
        "outsider", policy=AddressPolicy(allow_private=False), patience=60.0, rest=0.1, rest_most=0.2
    )
    url, asked = canary
    envelope = liar.share(("a", GOOD))
    assert patient(bob, get(bob, envelope, liar)).state == "failed"
    assert liar.hits == [], "the endpoint itself is an address of the inside"
    for inside in (url, url.replace("127.0.0.1", "localhost"), url.replace("127.0.0.1", "[::ffff:7f00:1]")):
        with pytest.raises(SkyError):
            bob.deps.fetcher.small(f"{inside}/x", 1000)
        with pytest.raises(SkyError):
            b"".join(bytes(chunk) for chunk in bob.deps.fetcher.read(f"{inside}/x", 0, 24))
    assert asked == []
