"""Bad input through the whole HTTP face: whatever request comes, the answer is a documented error or a reply.

Requests are signed as an honest asker signs them, so that nonsense gets as far as it can.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skyswarm.edge.api import ACTIONS, answer, make_app
from skyswarm.edge.http import Request, Response
from skyswarm.edge.runtime import Runtime
from skyswarm.errors import SkyError
from skyswarm.messages.receipts import Receipt, sign_receipt
from skyswarm.messages.statements import Announce, Head
from tests.support.attack import Agent, Sybil, Town, sealed, signed, town

CALM = settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def _tree(kind: type[SkyError]) -> Iterator[type[SkyError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _tree(child)


STATUS = {(kind.code, kind.status) for kind in _tree(SkyError) if kind.__module__ == "skyswarm.errors"}


class Face:
    """An agent and a repository of one machine, asked without sockets."""

    def __init__(self, place: Town) -> None:
        generous = {"requests_per_minute": 10**9, "strangers_per_minute": 10**9}
        self.alice, self.bob = place.agent("alice", **generous), place.agent("bob")
        self.repo = place.agent("repo", role="repository")
        self.alice.vouch(self.bob)
        self.alice.hears(self.bob)
        self.published = self.alice.publish({"a": b"a" * 100, "b": b""})
        now = int(self.alice.now())
        event = Announce(
            self.alice.id, 0, now * 1000, self.alice.url, Head(0, self.alice.id), ("A" * 43,), now + 900
        )
        self.announce = sealed(event, self.alice.key)
        self.sybil = Sybil(5)
        self.sybil.vouch(self.alice.id, now)
        self.crashes: list[dict[str, object]] = []

    def tell(self, event: str, **fields: object) -> None:
        if event == "crash":
            self.crashes.append(fields)

    def ask(self, who: Agent, request: Request) -> Response:
        role = who.runtime.config.role
        response = answer(who.deps, {who.id: role}, request, self.tell)
        assert not self.crashes, (request, self.crashes)
        documented(response)
        return response

    def post(self, who: Agent, action: str, body: bytes, *, sign: bool = True, query: str = "") -> Response:
        url, headers = signed(self.bob, who, body, action) if sign else (f"{who.url}/v1/{action}", {})
        parts = urlsplit(url)
        lower = {name.lower(): value for name, value in headers.items()}
        return self.ask(who, Request("POST", parts.netloc, parts.path, query, lower, body))


def documented(response: Response) -> None:
    """A reply, or an error of the tree with its own status, as JSON; never one that says nothing."""
    assert isinstance(response.body, bytes)
    if response.status == 200:
        return
    error = json.loads(response.body)["error"]
    assert (error["code"], response.status) in STATUS
    assert response.status < 500, error
    assert error["code"] != "SKY-500"
    assert error["message"]


@pytest.fixture(scope="module")
def face(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Face]:
    with town(tmp_path_factory.mktemp("fuzz")) as place:
        yield Face(place)


# ---- nonsense that looks like sense --------------------------------------------------------------------
LEAF = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False), st.text(max_size=20),
    st.sampled_from(["a" * 64, "0" * 64, "A" * 43, "", "\x00", "\ud800", "did:key:z", "fetch", "http://x/a/b"]),
)  # fmt: skip
JSON = st.recursive(
    LEAF,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


def bodies(face: Face) -> dict[str, Any]:
    """A sound body of each action."""
    chain = [json.loads(one) for one in (*face.sybil.chain, *face.bob.chain())]
    receipt = Receipt(
        giver=face.alice.id, receiver=face.bob.id, manifest="a" * 64, transfer="t-1", seq=1, prev=None, bytes=1,
        pieces=1, wasted=0, route="relay", cost=0, total_bytes=1, total_receipts=1, at=int(face.bob.now()),
    )  # fmt: skip
    want = {"page": 0, "file": 0, "first": 0, "count": 1}
    manifest = face.published.manifest
    return {
        "fetch_piece": {"v": 1, "manifest": manifest.id, "want": [want], "objects": [manifest.id, manifest.pages[0]],
                        "proof": chain},
        "vouch": {"v": 1, "statements": chain},
        "revoke": {"v": 1, "statements": chain},
        "announce": {"v": 1, "announce": json.loads(face.announce), "chain": [json.loads(face.alice.chain()[0])]},
        "receipt": json.loads(sign_receipt(receipt, face.bob.key).dump()),
    }  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value, the value itself first."""
    yield path
    if isinstance(value, dict):
        for key, one in value.items():
            yield from places(one, (*path, key))
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from places(one, (*path, index))


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = put(value[path[0]], path[1:], new)
    return copy


def dumped(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )


@pytest.mark.parametrize("action", ["fetch_piece", "vouch", "revoke", "announce", "receipt"])
@CALM
@given(data=st.data())
def test_a_body_with_something_else_in_one_or_two_places(
    face: Face, action: str, data: st.DataObject
) -> None:
    doc = bodies(face)[action]
    for _ in range(data.draw(st.integers(1, 2))):
        where = data.draw(st.sampled_from(list(places(doc))))
        doc = put(doc, where, data.draw(JSON))
    for who in (face.alice, face.repo):
        face.post(who, action, dumped(doc))


@pytest.mark.parametrize("action", ["fetch_piece", "vouch", "announce", "receipt"])
@CALM
@given(data=st.data())
def test_a_body_with_bytes_changed(face: Face, action: str, data: st.DataObject) -> None:
    body = bytearray(dumped(bodies(face)[action]))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    for who in (face.alice, face.repo):
        face.post(who, action, bytes(body))


@CALM
@given(
    want=st.lists(
        st.fixed_dictionaries({
            "page": st.integers(0, 3) | st.integers(0, 2**53), "file": st.integers(0, 1200),
            "first": st.integers(0, 20_000), "count": st.integers(0, 20_000),
        }), max_size=6,
    ),
    objects=st.lists(st.sampled_from(["a" * 64, "0" * 64]), max_size=5),
)  # fmt: skip
def test_wants_of_every_kind(face: Face, want: list[dict[str, int]], objects: list[str]) -> None:
    doc = {"v": 1, "manifest": face.published.manifest.id, "want": want, "objects": objects, "proof": []}
    response = face.post(face.alice, "fetch_piece", dumped(doc))
    if response.status == 200:
        assert all(one["page"] == 0 and one["file"] < 2 for one in want)


# ---- requests that are none ----------------------------------------------------------------------------
PATHS = st.one_of(
    st.sampled_from([f"/v1/{name}" for _, name in ACTIONS]),
    st.sampled_from(["/v1/lookup/" + "A" * 43, "/v1/tile/0/000", "/v1/tile/entries/000.p/1", "/v1/tile/9/x",
                     "/v1/tile/0/x001/234", "/v1/lookup/../..", "/v1/tile//", "/v1/tile/0/000.p/0", "/v1/tile/-1/0",
                     "/v1/tile/63/000", "/v1/tile/0/x999/x999/x999/x999/x999/999", "/v1/tile/0/000.p/999"]),
    st.from_regex(r"/v1/(lookup|tile|statements|status)(/[A-Za-z0-9_./-]{0,40})?", fullmatch=True),
    st.text(max_size=60).map(lambda text: "/" + text),
)  # fmt: skip
QUERIES = st.one_of(
    st.just(""),
    st.from_regex(
        r"(after|limit|seq|issuer)=-?[0-9a-f]{0,70}(&(after|limit|seq|issuer)=[0-9]{0,20}){0,2}", fullmatch=True
    ),
    st.text(max_size=40),
    st.integers(1, 40).map(lambda n: "&".join(f"f{i}=1" for i in range(n))),
    st.integers(500, 600).map(lambda n: "a" * n),
    st.sampled_from(["issuer=" + "a" * 64, "issuer=" + "a" * 64 + "&seq=9007199254740993", "after=9007199254740991"]),
)  # fmt: skip
HEADERS = st.dictionaries(
    st.sampled_from(
        [
            "skyswarm-agent",
            "skyswarm-audience",
            "content-digest",
            "signature-input",
            "signature",
            "host",
            "range",
        ]
    ),
    st.text(max_size=80) | st.sampled_from(["a" * 64, "sky=:" + "A" * 86 + "==:", "sky=()", "sha-256=:x:"]),
    max_size=7,
)


@settings(CALM, max_examples=400)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "HEAD", "DELETE", "get", ""]) | st.text(max_size=10),
    path=PATHS, query=QUERIES, headers=HEADERS, body=st.binary(max_size=100),
    authority=st.text(max_size=20), whose=st.sampled_from(["alice", "repo", "nobody"]),
)  # fmt: skip
def test_requests_that_are_none(
    face: Face,
    method: str,
    path: str,
    query: str,
    headers: dict[str, str],
    body: bytes,
    authority: str,
    whose: str,
) -> None:
    who = face.repo if whose == "repo" else face.alice
    agent = "f" * 64 if whose == "nobody" else who.id
    face.ask(who, Request(method, authority, f"/a/{agent}{path}", query, headers, body))
    face.ask(who, Request(method, authority, path, query, headers, body))


@CALM
@given(
    rest=st.text(max_size=60),
    query=QUERIES | st.just("v=1&e=9999999999&s=" + "A" * 43),
    ranges=st.text(max_size=20),
)
def test_presigned_paths_that_are_none(face: Face, rest: str, query: str, ranges: str) -> None:
    """The whole app, objects included: nothing is ever given, nothing breaks."""
    app = make_app(_runtime(face), face.tell)
    for method in ("GET", "HEAD", "PUT"):
        response = app(Request(method, "x", f"/o/{rest}", query, {"range": ranges}, b""))
        # Statuses as storages give them, which fetchers know: not always the one of the error's class.
        assert response.status in (400, 403, 404), response
        assert isinstance(response.body, bytes)
        assert json.loads(response.body)["error"]["code"] in {code for code, _ in STATUS} - {"SKY-500"}
    assert not face.crashes


def _runtime(face: Face) -> Runtime:
    return face.alice.runtime


def test_the_sound_bodies_are_sound(face: Face, tmp_path: Path) -> None:
    """What the tests above bend is accepted as it is, or refused for what it says."""
    got = {name: face.post(face.alice, name, dumped(doc)).status for name, doc in bodies(face).items()}
    assert got["fetch_piece"] == got["vouch"] == 200, got
    assert face.post(face.repo, "announce", dumped(bodies(face)["announce"])).status == 200
