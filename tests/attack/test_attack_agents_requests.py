"""Attacks with requests to an agent, through its real HTTP server: each test is named after its line of the list in
`spec/threats.md`."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import pytest

from skyswarm.edge.wire import MAX_HEAD
from skyswarm.messages.requests import FetchRequest, Want
from skyswarm.messages.statements import Vouch
from skyswarm.usecases import people
from tests.support.attack import FILE, ONE, Agent, Answer, Town, ask, call, nonce, sealed, signed, submit
from tests.support.racing import race


def test_the_honest_request_is_served(alice: Agent, bob: Agent, share: str) -> None:
    reply = ask(bob, alice, share).reply
    assert call("GET", reply.urls[0].url).body == FILE
    assert reply.chain == (alice.id, bob.id)


# ---- replayed request --------------------------------------------------------------------------
def test_attack_replayed_request(alice: Agent, bob: Agent, share: str) -> None:
    body = FetchRequest(share, ONE).dump()
    url, headers = signed(bob, alice, body)
    assert call("POST", url, body, headers).status == 200
    again = call("POST", url, body, headers)
    assert (again.status, again.code) == (401, "SKY-203")


def test_attack_replayed_request_copies_race_and_one_wins(alice: Agent, bob: Agent, share: str) -> None:
    body = FetchRequest(share, ONE).dump()
    url, headers = signed(bob, alice, body)
    answers: list[Answer] = race([lambda: call("POST", url, body, headers)] * 6)
    assert sorted(one.code for one in answers) == ["", *["SKY-203"] * 5]


def test_attack_replayed_request_does_not_use_up_the_victims_quota(place: Town) -> None:
    alice, bob = place.agent("alice", requests_per_minute=8), place.agent("bob")
    alice.vouch(bob)
    alice.hears(bob)
    share = alice.publish({"a": FILE}).manifest.id
    body = FetchRequest(share, ONE).dump()
    url, headers = signed(bob, alice, body)
    assert call("POST", url, body, headers).status == 200
    assert {call("POST", url, body, headers).code for _ in range(30)} == {"SKY-203"}
    assert ask(bob, alice, share).status == 200


def test_attack_replayed_request_after_a_restart(place: Town, alice: Agent, bob: Agent, share: str) -> None:
    body = FetchRequest(share, ONE).dump()
    url, headers = signed(bob, alice, body)
    assert call("POST", url, body, headers).status == 200
    alice.deps.cache.clear()  # what a new process does not have
    place.ahead += 100
    assert call("POST", url, body, headers).code == "SKY-203"
    place.ahead += 200
    assert call("POST", url, body, headers).code == "SKY-202"


# ---- body swapped ------------------------------------------------------------------------------
def test_attack_body_swapped(alice: Agent, bob: Agent, share: str) -> None:
    url, headers = signed(bob, alice, FetchRequest(share, ONE).dump())
    other = FetchRequest(share, (Want(0, 0, 0, 0),)).dump()
    answer = call("POST", url, other, headers)
    assert (answer.status, answer.code) == (401, "SKY-201")


@pytest.mark.parametrize("action", ["vouch", "receipt", "revoke"])
def test_attack_request_carried_to_another_action(alice: Agent, bob: Agent, share: str, action: str) -> None:
    body = FetchRequest(share, ONE).dump()
    _, headers = signed(bob, alice, body)
    answer = call("POST", f"{alice.url}/v1/{action}", body, headers)
    assert answer.status in (400, 401), answer.body


# ---- confused deputy ---------------------------------------------------------------------------
def test_attack_confused_deputy_request_for_another_audience(place: Town, alice: Agent, bob: Agent) -> None:
    """Carol is asked by bob, and carries what he signed for her to alice, who would let bob in."""
    carol = place.agent("carol")
    share = alice.publish({"a": FILE}).manifest.id
    body = FetchRequest(share, ONE).dump()
    _, headers = signed(bob, carol, body)
    answer = call("POST", f"{alice.url}/v1/fetch_piece", body, headers)
    assert (answer.status, answer.code) == (403, "SKY-204")
    # and when the audience is rewritten, the signature is not bob's any more
    headers["Skyswarm-Audience"] = alice.id
    assert call("POST", f"{alice.url}/v1/fetch_piece", body, headers).code == "SKY-201"


def test_attack_request_in_the_name_of_another(place: Town, alice: Agent, bob: Agent, share: str) -> None:
    mallory = place.agent("mallory")
    answer = ask(mallory, alice, share, agent=bob.id)
    assert (answer.status, answer.code) == (401, "SKY-201")
    answer = ask(mallory, alice, share, agent=bob.id, proof=[*mallory.chain(), *bob.chain()])
    assert (answer.status, answer.code) == (401, "SKY-201")


# ---- stale and future requests, clock skew -----------------------------------------------------
@pytest.mark.parametrize("skew", [-120, -119, -30, 0, 30, 119])
def test_attack_clock_skew_two_minutes_are_accepted(alice: Agent, bob: Agent, share: str, skew: int) -> None:
    assert ask(bob, alice, share, now=alice.now() + skew).status == 200


@pytest.mark.parametrize("skew", [-600, -182, 123, 600])
def test_attack_clock_skew_beyond_that_is_refused(alice: Agent, bob: Agent, share: str, skew: int) -> None:
    answer = ask(bob, alice, share, now=alice.now() + skew)
    assert (answer.status, answer.code) == (401, "SKY-202")
    assert "clock" in answer.json["error"]["advice"]


# ---- who may know that a share exists ------------------------------------------------------------
def _same(one: Answer, other: Answer) -> None:
    assert (one.status, one.body) == (other.status, other.body)
    drop = {"date"}
    assert {k: v for k, v in one.headers.items() if k not in drop} == {
        k: v for k, v in other.headers.items() if k not in drop
    }


def test_attack_a_share_for_others_looks_like_none(place: Town, alice: Agent, bob: Agent) -> None:
    carol = place.agent("carol")
    none = ask(bob, alice, "0" * 64)
    assert (none.status, none.code) == (404, "SKY-214")
    for terms in ({"audience": (carol.id,)}, {"audience": (carol.id,), "survive": 2}):
        _same(none, ask(bob, alice, alice.publish({"a": FILE}, **terms).manifest.id))
    ended = alice.publish({"a": FILE}, expires=int(alice.now()) + 5).manifest.id
    place.ahead += 10
    _same(none, ask(bob, alice, ended))


def test_attack_a_stranger_learns_nothing_of_shares(place: Town, alice: Agent, share: str) -> None:
    mallory = place.agent("mallory")
    for proof in ((), tuple(mallory.chain())):
        _same(
            ask(mallory, alice, "0" * 64, proof=proof),
            ask(mallory, alice, share, proof=proof),
        )


def test_attack_side_objects_of_another_share_cannot_be_had(alice: Agent, bob: Agent, share: str) -> None:
    """Bob may have one share, and knows the id of a page of another that is not for him."""
    hidden = alice.publish({"secret.txt": b"for carol only"}, storage="other", audience=("c" * 64,))
    page = hidden.manifest.pages[0]
    reply = ask(bob, alice, share, (), (page, hidden.manifest.id)).reply
    assert reply.objects == (None, None)
    assert reply.urls == ()


# ---- huge, deep or malformed input -----------------------------------------------------------------
def _raw(agent: Agent, data: bytes) -> bytes:
    parts = urlsplit(agent.url)
    with socket.create_connection((str(parts.hostname), int(parts.port or 0)), 20) as sock:
        sock.sendall(data)
        out = b""
        while chunk := sock.recv(1 << 16):
            out += chunk
        return out


def test_attack_oversized_body_is_refused_before_it_is_read(alice: Agent) -> None:
    path = urlsplit(alice.url).path
    head = f"POST {path}/v1/fetch_piece HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999\r\n\r\n"
    assert b" 413 " in _raw(alice, head.encode())
    body = b" " * (256 * 1024 + 1)
    answer = call("POST", f"{alice.url}/v1/vouch", body)
    assert (answer.status, answer.code) == (413, "SKY-102")


def test_attack_oversized_headers(alice: Agent, bob: Agent, share: str) -> None:
    path = urlsplit(alice.url).path
    head = f"POST {path}/v1/fetch_piece HTTP/1.1\r\nHost: x\r\nX: ".encode()
    assert b" 431 " in _raw(alice, head.ljust(MAX_HEAD, b"y"))
    body = FetchRequest(share, ONE).dump()
    url, headers = signed(bob, alice, body)
    answer = call("POST", url, body, {**headers, "Signature": headers["Signature"] + " " * 2000 + "x"})
    assert (answer.status, answer.code) == (400, "SKY-109")


@pytest.mark.parametrize("name", ["Skyswarm-Agent", "Signature", "Signature-Input", "Content-Digest"])
def test_attack_a_header_twice(alice: Agent, bob: Agent, share: str, name: str) -> None:
    body = FetchRequest(share, ONE).dump()
    url, headers = signed(bob, alice, body)
    path = url[url.index("/a/") :]
    lines = [f"{key}: {value}" for key, value in headers.items()] + [f"{name}: {headers[name]}"]
    text = "\r\n".join([f"POST {path} HTTP/1.1", f"Host: {urlsplit(url).netloc}", *lines])
    out = _raw(alice, f"{text}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    assert out.startswith(b"HTTP/1.1 400 "), out


def test_attack_slow_clients_hold_up_nobody(alice: Agent, bob: Agent, share: str) -> None:
    """Two hundred connections that send a byte, half a head, or a body that never ends; the server has four threads."""
    parts = urlsplit(alice.url)
    begun = [b"P", f"POST {parts.path}/v1/vouch HTTP/1.1\r\nHost: x\r\n".encode(),
             f"POST {parts.path}/v1/vouch HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc".encode()]  # fmt: skip
    slow = [socket.create_connection((str(parts.hostname), int(parts.port or 0)), 20) for _ in range(200)]
    try:
        for number, sock in enumerate(slow):
            sock.sendall(begun[number % 3])
        for _ in range(5):
            assert ask(bob, alice, share).status == 200
    finally:
        for sock in slow:
            sock.close()


# ---- keys ---------------------------------------------------------------------------------------
def test_attack_key_rotated_out(alice: Agent, bob: Agent, share: str) -> None:
    """The old key is refused once the rotation is known; the new one is accepted with the proof attached."""
    old = bob.key
    people.rotate(bob.deps, bob.id)
    unknown = ask(bob, alice, share)
    assert (unknown.status, unknown.code) == (401, "SKY-201")
    assert ask(bob, alice, share, proof=bob.chain()).status == 200
    assert ask(bob, alice, share, signer=old).code == "SKY-201"
    assert ask(bob, alice, share).status == 200


def test_attack_stolen_key_after_rotation(place: Town, alice: Agent, bob: Agent, share: str) -> None:
    """A thief has bob's signing key and makes statements with it; bob rotates, which the thief cannot."""
    mallory, stolen = place.agent("mallory"), bob.key
    head = bob.deps.statements.of(bob.id, bob.id)[-1]
    people.rotate(bob.deps, bob.id)
    now = int(alice.now())
    theft = Vouch(bob.id, 1, head.id, mallory.id, ("fetch",), 0, None, now - 60, now + 86_400)
    alice.vouch(bob, depth=3)
    assert ask(mallory, alice, share, proof=[*bob.chain(), sealed(theft, stolen), *mallory.chain()]).code in (
        "SKY-210",
        "SKY-211",
    )
    assert ask(bob, alice, share, signer=stolen).code == "SKY-201"
    assert ask(bob, alice, share).status == 200, "bob himself goes on"


def test_attack_retired_agent(alice: Agent, bob: Agent, share: str) -> None:
    assert ask(bob, alice, share).status == 200
    last = bob.deps.keys.upcoming(bob.id)
    people.retire(bob.deps, bob.id)
    alice.hears(bob)
    for key in (bob.key, last):
        assert ask(bob, alice, share, signer=key).status in (401, 403)


# ---- revoked -------------------------------------------------------------------------------------
def test_attack_revoked_in_the_middle(place: Town, alice: Agent, share: str) -> None:
    bob, carol = place.agent("bob"), place.agent("carol")
    alice.vouch(carol, depth=1)
    carol.vouch(bob)
    proof = [*bob.chain(), *carol.chain()]
    assert ask(bob, alice, share, proof=proof).reply.chain == (alice.id, carol.id, bob.id)
    people.revoke(carol.deps, carol.id, sub=bob.id, reason="no longer with us")
    assert ask(bob, alice, share).status == 200, "she cannot know yet"
    assert submit(alice, carol.chain()[-1:], "revoke").json["results"][0]["position"] is not None
    answer = ask(bob, alice, share)
    assert (answer.status, answer.code) == (403, "SKY-211")
    assert "no longer with us" in answer.json["error"]["message"]
    # The old proof, which shows only what was before, changes nothing.
    assert ask(bob, alice, share, proof=proof).code == "SKY-211"


def test_attack_nonce_of_another_asker_is_not_burnt_without_his_key(
    place: Town, alice: Agent, bob: Agent, share: str
) -> None:
    mallory, chosen = place.agent("mallory"), nonce()
    assert ask(mallory, alice, share, agent=bob.id, nonce=chosen).code == "SKY-201"
    assert ask(bob, alice, share, nonce=chosen).status == 200
