"""The four front doors under the real functions-framework and under Lambda's real runtime: what they answer is what the
agent's own server answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from skyswarm.messages.repository import AnnounceRequest
from skyswarm.messages.requests import FetchRequest, SubmitRequest, Want
from skyswarm.messages.statements import Announce, Head
from skyswarm.usecases import people
from tests.support.attack import ONE, Agent, Answer, Sybil, Town, ask, call, sealed, signed, town
from tests.support.doors import CLOUDS, Door, LambdaDoor, doors

FILE = b"through the door\n" * 100


class Scene:
    """Alice with two doors beside her server, a repository with three, bob who asks."""

    def __init__(
        self, place: Town, opened: list[Door | LambdaDoor], alice: Agent, bob: Agent, repo: Agent, share: str
    ) -> None:
        self.place, self.alice, self.bob, self.repo, self.share = place, alice, bob, repo, share
        self.fetch, self.vouch, self.revoke, self.announce, self.repo_vouch, self.homeless = opened


@pytest.fixture(scope="module", params=CLOUDS)
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("doors")
    with town(folder) as place:
        alice, bob = place.agent("alice"), place.agent("bob")
        repo = place.agent("repo", role="repository")
        alice.vouch(bob)
        alice.hears(bob)
        share = alice.publish({"a": FILE, "b": b""}, cap_bytes=10**9).manifest.id
        wanted = [
            ("fetch_piece", alice.home, alice.id),
            ("vouch", alice.home, alice.id),
            ("revoke", alice.home, alice.id),
            ("announce", repo.home, repo.id),
            ("vouch", repo.home, repo.id),
            ("fetch_piece", None, alice.id),
        ]
        with doors(*wanted, folder=folder, cloud=request.param) as opened:
            yield Scene(place, opened, alice, bob, repo, share)


def plain(answer: Answer) -> Any:
    """A reply without what is never the same twice: ends and signatures of URLs, signed notes."""
    doc = answer.json
    for one in doc.get("urls", []):
        one["url"], one["exp"] = one["url"].partition("?")[0], 0
    if doc.get("promise"):
        doc["promise"] = "a note"
    return answer.status, doc


def same(door: Answer, local: Answer) -> Any:
    """Both replies are alike, headers included that tell how to read them; the reply."""
    assert plain(door) == plain(local)
    for name in ("content-type", "cache-control", "x-content-type-options"):
        assert door.headers[name] == local.headers[name]
    return plain(door)[1]


def test_fetch_piece_gives_the_same_reply_and_its_urls_work(scene: Scene) -> None:
    want = (Want(0, 0, 0, 1), Want(0, 1, 0, 0))

    def asked(url: str) -> Answer:
        return ask(
            scene.bob, scene.alice, scene.share, want, (scene.share, "0" * 64), url=f"{url}/v1/fetch_piece"
        )

    door = asked(scene.fetch.url)
    doc = same(door, asked(scene.alice.url))
    assert doc["chain"] == [scene.alice.id, scene.bob.id]
    assert call("GET", door.reply.urls[0].url).body == FILE
    assert call("GET", door.reply.urls[1].url).body == b""


def test_one_store_behind_both_doors(scene: Scene) -> None:
    """Signed for the announced address, as a gateway hands it on: used at one door it is used up at the other."""
    body = FetchRequest(scene.share, ONE).dump()
    url, headers = signed(scene.bob, scene.alice, body)
    assert call("POST", f"{scene.fetch.url}/v1/fetch_piece", body, headers).status == 200
    for again in (
        call("POST", url, body, headers),
        call("POST", f"{scene.fetch.url}/v1/fetch_piece", body, headers),
    ):
        assert (again.status, again.code) == (401, "SKY-203")


REFUSED: dict[str, Callable[[Scene, str], Answer]] = {
    "unsigned": lambda s, url: call("POST", url, b"{}"),
    "not JSON": lambda s, url: _signed(s, url, b"nonsense"),
    "empty": lambda s, url: call("POST", url),
    "too long": lambda s, url: call("POST", url, b" " * 300_000),
    "no such share": lambda s, url: ask(s.bob, s.alice, "0" * 64, url=url),
    "page out of range": lambda s, url: ask(s.bob, s.alice, s.share, (Want(9, 0, 0, 1),), url=url),
    "too many pieces": lambda s, url: ask(s.bob, s.alice, s.share, (Want(0, 0, 0, 9),), url=url),
    "a stranger": lambda s, url: ask(s.repo, s.alice, s.share, url=url),
    "another audience": lambda s, url: ask(s.bob, s.alice, s.share, url=url, audience=s.bob.id),
    "stale": lambda s, url: ask(s.bob, s.alice, s.share, url=url, now=s.bob.now() - 1000),
}


def _signed(s: Scene, url: str, body: bytes) -> Answer:
    _, headers = signed(s.bob, s.alice, body, url=url)
    return call("POST", url, body, headers)


@pytest.mark.parametrize("name", REFUSED)
def test_errors_are_the_same_statuses_and_codes(scene: Scene, name: str) -> None:
    make = REFUSED[name]
    door = make(scene, f"{scene.fetch.url}/v1/fetch_piece")
    local = make(scene, f"{scene.alice.url}/v1/fetch_piece")
    assert door.status == local.status >= 400
    assert door.code == local.code
    if name != "stale":  # its sentence counts seconds
        assert door.json == local.json


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_a_door_takes_post_only(scene: Scene, method: str) -> None:
    answer = call(method, f"{scene.fetch.url}/v1/fetch_piece")
    assert (answer.status, answer.code) == (404, "SKY-111")


@pytest.mark.parametrize(
    ("at", "path"),
    [("fetch", "vouch"), ("fetch", "receipt"), ("fetch", "status"), ("vouch", "fetch_piece"), ("vouch", "revoke"),
     ("revoke", "vouch"), ("announce", "checkpoint"), ("announce", "vouch"), ("fetch", "../o/src/a"),
     ("fetch", "fetch_piece/x y"), ("fetch", "%66etch_piece")],
)  # fmt: skip
def test_an_action_that_is_not_this_doors_is_refused(scene: Scene, at: str, path: str) -> None:
    door: Door | LambdaDoor = getattr(scene, at)
    for method in ("POST", "GET"):
        answer = call(method, f"{door.url}/v1/{path}".replace(" ", "%20"))
        assert (answer.status, answer.code) == (404, "SKY-111"), answer.body


def test_a_door_serves_no_other_agent_and_no_objects(scene: Scene) -> None:
    for path in (f"/a/{scene.bob.id}/v1/fetch_piece", "/", "/o/src/a?v=1&e=1&s=x", "//x"):
        assert call("POST", f"{scene.fetch.base}{path}").code == "SKY-111"


def test_vouch_takes_a_vouch_and_gives_the_same_outcome(scene: Scene) -> None:
    one = Sybil(31)
    body = SubmitRequest((*one.chain, one.vouch(scene.alice.id, scene.alice.now()))).dump()
    first = call("POST", f"{scene.vouch.url}/v1/vouch", body)
    assert [r["code"] for r in first.json["results"]] == [None, None]
    assert all(r["position"] is not None for r in first.json["results"])
    same(first, call("POST", f"{scene.alice.url}/v1/vouch", body))
    answer = call("POST", f"{scene.vouch.url}/v1/vouch", SubmitRequest((Sybil(32).chain[0],)).dump())
    assert (answer.status, answer.code) == (403, "SKY-210")


def test_revoke_ends_what_fetch_piece_hands_out(scene: Scene) -> None:
    """Two functions over one store: what comes in at one door is known at the other at once."""
    carol, dave = scene.place.agent("carol"), scene.place.agent("dave")
    scene.alice.vouch(carol, depth=1)
    carol.vouch(dave)
    url = f"{scene.fetch.url}/v1/fetch_piece"
    proof = [*dave.chain(), *carol.chain()]
    assert ask(dave, scene.alice, scene.share, proof=proof, url=url).status == 200
    people.revoke(carol.deps, carol.id, sub=dave.id)
    body = SubmitRequest((carol.chain()[-1],)).dump()
    assert call("POST", f"{scene.vouch.url}/v1/vouch", body).code == "SKY-109", (
        "a revocation at the other door"
    )
    assert call("POST", f"{scene.revoke.url}/v1/revoke", body).json["results"][0]["position"] is not None
    answer = ask(dave, scene.alice, scene.share, url=url)
    assert (answer.status, answer.code) == (403, "SKY-211")


def test_announce_is_the_repositorys_door(scene: Scene) -> None:
    alice, repo = scene.alice, scene.repo
    now = int(alice.now())

    def body(serial: int) -> bytes:
        event = Announce(alice.id, 0, serial, alice.url, Head(0, alice.id), ("A" * 43,), now + 600)
        return AnnounceRequest(sealed(event, alice.key), tuple(alice.chain()[:1])).dump()

    first = call("POST", f"{scene.announce.url}/v1/announce", body(now * 1000))
    assert first.json["fresh"] is True
    again = same(
        call("POST", f"{scene.announce.url}/v1/announce", body(now * 1000)),
        call("POST", f"{repo.url}/v1/announce", body(now * 1000)),
    )
    assert again["fresh"] is False
    found = call("GET", f"{repo.url}/v1/lookup/{'A' * 43}").json["found"]
    assert len(found) == 1
    bad = body(now * 1000)[:-5]
    same(call("POST", f"{scene.announce.url}/v1/announce", bad), call("POST", f"{repo.url}/v1/announce", bad))


def test_vouch_is_also_a_repositorys_door(scene: Scene) -> None:
    one = Sybil(33)
    body = SubmitRequest((*one.chain, one.vouch("a" * 64, scene.alice.now()))).dump()
    first = call("POST", f"{scene.repo_vouch.url}/v1/vouch", body)
    assert [r["code"] for r in first.json["results"]] == [None, None]
    same(
        call("POST", f"{scene.repo_vouch.url}/v1/vouch", body),
        call("POST", f"{scene.repo.url}/v1/vouch", body),
    )


def test_an_agent_takes_no_announcements(scene: Scene) -> None:
    assert call("POST", f"{scene.alice.url}/v1/announce", b"{}").code == "SKY-111"


def test_a_door_without_a_home_says_so_and_nothing_else(scene: Scene) -> None:
    answer = call("POST", f"{scene.homeless.url}/v1/fetch_piece", b"{}")
    assert (answer.status, answer.code) == (500, "SKY-701")
    assert "SKYSWARM_HOME" in json.dumps(answer.json)


def test_the_doors_said_nothing_unexpected(scene: Scene) -> None:
    """Last: no traceback on their output, no crash in the logs that they share with the agent."""
    for one in (scene.fetch, scene.vouch, scene.revoke, scene.announce, scene.repo_vouch, scene.homeless):
        assert "Traceback" not in one.out.read_text()
        assert '"event": "crash"' not in one.out.read_text()
    for log in (scene.alice.logged(), scene.repo.logged()):
        assert '"event": "crash"' not in log
