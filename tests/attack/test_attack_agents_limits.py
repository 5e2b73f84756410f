"""Attacks on what an agent hands out: byte caps, underwriting, receipts, presigned URLs, secrets, neighbours."""

from __future__ import annotations

import base64
import stat
from typing import Any
from urllib.parse import quote, unquote

import pytest

from skyswarm.messages.receipts import Receipt, SignedReceipt, parse_receipt, sign_receipt
from skyswarm.messages.requests import Want
from tests.support.attack import FILE, Agent, Answer, Town, ask, call, signed
from tests.support.racing import race


# ---- byte caps and underwriting ------------------------------------------------------------------
def test_attack_byte_cap_per_asker_under_racing_requests(alice: Agent, bob: Agent) -> None:
    share = alice.publish({"a": FILE}, cap_bytes=3500).manifest.id
    answers: list[Answer] = race([lambda: ask(bob, alice, share)] * 8)
    assert sorted(one.code for one in answers) == ["", "", "", *["SKY-403"] * 5]
    assert ask(bob, alice, share).code == "SKY-403"
    assert ask(bob, alice, share, (Want(0, 0, 0, 0),)).status == 200, "the URL of no bytes is free"


def test_attack_vouch_limit_exceeded(place: Town, alice: Agent) -> None:
    """Alice underwrites 2,500 bytes for bob, and he asks for more in one race."""
    bob = alice.welcomes(place.agent("bob"), limit=2500)
    share = alice.publish({"a": FILE}).manifest.id
    answers: list[Answer] = race([lambda: ask(bob, alice, share)] * 6)
    served = sum(one.status == 200 for one in answers)
    assert served <= 2
    assert {one.code for one in answers} <= {"", "SKY-215"}
    # What a lost race has reserved is given back, so that an honest asker gets what is left.
    codes = [ask(bob, alice, share).code for _ in range(3)]
    assert codes == [""] * (2 - served) + ["SKY-215"] * (1 + served)
    assert alice.deps.meters.read(alice.id, f"handed/{bob.id}") == 2000


def test_attack_sybils_together_cannot_exceed_what_is_underwritten(place: Town, alice: Agent) -> None:
    """Mallory may have 3,500 bytes and vouches without limit for five agents of her own."""
    mallory = alice.welcomes(place.agent("mallory"), depth=2, limit=3500)
    share = alice.publish({"a": FILE}).manifest.id
    puppets = [place.agent(f"puppet{n}") for n in range(5)]
    for one in puppets:
        mallory.vouch(one)
        alice.hears(one)
    alice.hears(mallory)
    answers: list[Answer] = race([lambda who=one: ask(who, alice, share) for one in (*puppets, mallory)])
    codes = [one.code for one in answers] + [ask(one, alice, share).code for one in (*puppets, mallory)]
    assert set(codes) == {"", "SKY-215"}
    assert codes.count("") <= 3
    total = sum(alice.deps.meters.read(alice.id, f"handed/{one.id}") for one in (*puppets, mallory))
    assert total == 1000 * codes.count("")


def test_attack_a_request_for_files_of_hundreds_of_pages(alice: Agent, bob: Agent) -> None:
    """Each page that is named is read and parsed: five hundred would cost seconds."""
    share = alice.publish({"a": FILE}).manifest.id
    many = ask(bob, alice, share, tuple(Want(page, 0, 0, 1) for page in range(512)))
    assert (many.status, many.code) == (400, "SKY-109")
    assert "at most 16 pages" in many.json["error"]["message"]
    assert ask(bob, alice, share, (Want(0, 0, 0, 1),) * 512).reply.wants == (0,) * 512


# ---- receipts --------------------------------------------------------------------------------------
def _receipt(alice: Agent, bob: Agent, **changes: Any) -> Receipt:
    given: dict[str, Any] = {
        "giver": alice.id, "receiver": bob.id, "manifest": "a" * 64, "transfer": "t-1", "seq": 1, "prev": None,
        "bytes": 1000, "pieces": 1, "wasted": 0, "route": "relay", "cost": 0, "total_bytes": 1000,
        "total_receipts": 1, "at": int(bob.now()),
    }  # fmt: skip
    return Receipt(**{**given, **changes})


def _hand_in(bob: Agent, alice: Agent, receipt: SignedReceipt, **changes: Any) -> Answer:
    body = receipt.dump()
    url, headers = signed(bob, alice, body, "receipt", **changes)
    return call("POST", url, body, headers)


@pytest.fixture
def fetched(alice: Agent, bob: Agent, share: str) -> str:
    """The share, of which bob has had what there is once."""
    assert ask(bob, alice, share).status == 200
    return share


def test_attack_a_receipt_is_signed_by_both_and_again(alice: Agent, bob: Agent, fetched: str) -> None:
    mine = sign_receipt(_receipt(alice, bob), bob.key)
    first = parse_receipt(_hand_in(bob, alice, mine).body)
    first.check(bob.key.public, alice.key.public)
    again = parse_receipt(_hand_in(bob, alice, mine).body)
    assert again.receipt.id == first.receipt.id


def test_attack_receipt_that_counts_more_than_was_handed_out(alice: Agent, bob: Agent, fetched: str) -> None:
    lie = sign_receipt(_receipt(alice, bob, bytes=1001, total_bytes=1001), bob.key)
    answer = _hand_in(bob, alice, lie)
    assert (answer.status, answer.code) == (409, "SKY-213")


def test_attack_receipt_forged_by_the_receiver_or_a_third(
    place: Town, alice: Agent, bob: Agent, fetched: str
) -> None:
    mallory = alice.welcomes(place.agent("mallory"))
    in_bobs_name = sign_receipt(_receipt(alice, bob), mallory.key)
    assert _hand_in(mallory, alice, in_bobs_name).code == "SKY-201"
    assert _hand_in(bob, alice, in_bobs_name).code == "SKY-201", "bob's request, not his signature"
    for_another = sign_receipt(_receipt(bob, mallory), mallory.key)
    assert _hand_in(mallory, alice, for_another).code == "SKY-201", "a receipt for another giver"
    # Mallory got nothing: whatever she signs herself is more than she was handed.
    assert _hand_in(mallory, alice, sign_receipt(_receipt(alice, mallory), mallory.key)).code == "SKY-213"


def test_attack_receipt_with_the_same_number_is_kept_as_the_proof(
    alice: Agent, bob: Agent, fetched: str
) -> None:
    good = _hand_in(bob, alice, sign_receipt(_receipt(alice, bob), bob.key))
    other = sign_receipt(_receipt(alice, bob, bytes=10, total_bytes=10, transfer="t-2"), bob.key)
    answer = _hand_in(bob, alice, other)
    assert (answer.status, answer.code) == (409, "SKY-212")
    (proof,) = alice.deps.notes.page(alice.id, "fraud/")
    first, second = (parse_receipt(line) for line in proof.value.split(b"\n"))
    assert first.receipt == parse_receipt(good.body).receipt
    assert first.receipt.seq == second.receipt.seq
    for one in (first, second):
        one.check(bob.key.public)
    for n in range(20):  # more lies about one number need no more room
        _hand_in(bob, alice, sign_receipt(_receipt(alice, bob, bytes=n + 1, total_bytes=n + 1), bob.key))
    assert len(alice.deps.notes.page(alice.id, "fraud/")) == 1


def test_attack_receipts_of_two_racing_requests_advance_once(alice: Agent, bob: Agent, fetched: str) -> None:
    ones = [sign_receipt(_receipt(alice, bob, bytes=n, total_bytes=n), bob.key) for n in range(1, 5)]
    answers: list[Answer] = race([lambda one=one: _hand_in(bob, alice, one) for one in ones])
    assert sorted(one.code for one in answers) == ["", *["SKY-212"] * 3]


# ---- presigned URLs --------------------------------------------------------------------------------
def test_attack_presigned_url_guessed_or_tampered(alice: Agent, bob: Agent, fetched: str) -> None:
    (alice.home / "src" / "b").write_bytes(b"not shared")
    url = ask(bob, alice, fetched).reply.urls[0].url
    assert call("GET", url).body == FILE
    path, _, query = url.partition("?")
    fields = dict(pair.split("=", 1) for pair in query.split("&"))

    def made(path: str = path, **changes: str) -> Answer:
        return call("GET", f"{path}?{'&'.join(f'{k}={v}' for k, v in {**fields, **changes}.items())}")

    assert made().status == 200
    other = alice.deps.storages.open(alice.id, "src").stat("b")
    refused = [
        made(e=str(int(fields["e"]) + 60)),
        made(v=quote(other.version, safe="")),
        made(s="A" * 43),
        made(s=""),
        made(path=path.removesuffix("a") + "b"),
        made(path=path.removesuffix("a") + "b", v=quote(other.version, safe="")),
        made(path=path.replace("/o/src/", "/o/home/")),
        made(path=path.replace("/o/src/", "/o/%23objects/")),
        call("GET", path),
        call("PUT", url, b"mine"),
        call("DELETE", url),
        call("POST", url, b"mine"),
    ]
    assert {one.status for one in refused} <= {400, 401, 403, 404, 405}
    assert not any(FILE in one.body or b"not shared" in one.body for one in refused)
    assert (alice.home / "src" / "a").read_bytes() == FILE


@pytest.mark.parametrize(
    "path",
    ["../keys/presign", "..%2fkeys%2fpresign", "%2e%2e/keys/presign", "a/../../keys/presign", "%00", "a%00",
     ".skyswarm/x", "a//b", "/etc/passwd", "%2fetc%2fpasswd", "..", ".", "a/.", "%ff", "a%5c..%5cb"],
)  # fmt: skip
def test_attack_traversal_in_a_presigned_path(alice: Agent, bob: Agent, fetched: str, path: str) -> None:
    """Neither with the signature of another path, nor, should somebody have got it signed, with its own."""
    url = ask(bob, alice, fetched).reply.urls[0].url
    base, _, query = url.partition("?")
    answer = call("GET", f"{base.removesuffix('a')}{path}?{query}")
    assert answer.status in (400, 401, 403, 404), answer.body
    key = unquote(path) if "%ff" not in path else "\ufffd"
    answer = call("GET", alice.runtime.presigner.grant("src", key, "v", 60).url)
    assert answer.status in (400, 404, 412), answer.body


def test_attack_presigned_url_ends_and_pins_its_version(
    place: Town, alice: Agent, bob: Agent, fetched: str
) -> None:
    url = ask(bob, alice, fetched).reply.urls[0].url
    (alice.home / "src" / "a").write_bytes(FILE[::-1])
    assert call("GET", url).status == 412
    place.ahead += 901
    assert call("GET", url).status == 403


def test_attack_presigned_url_shows_no_page_of_ours(alice: Agent, bob: Agent) -> None:
    share = alice.publish({"page.html": b"<script>alert(1)</script>"}).manifest.id
    answer = call("GET", ask(bob, alice, share).reply.urls[0].url)
    assert answer.status == 200
    assert answer.headers.get("x-content-type-options") == "nosniff"
    assert not answer.headers.get("content-type", "").startswith("text/html")


# ---- secrets ---------------------------------------------------------------------------------------
def test_attack_key_files_are_for_their_owner_only(alice: Agent) -> None:
    found = [path for path in alice.home.rglob("*") if path.is_file() and path.parent.name == "keys"]
    assert found
    for path in [*found, alice.home / "agent.db"]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    for folder in (alice.home, alice.home / "keys", alice.home / "log"):
        assert stat.S_IMODE(folder.stat().st_mode) & 0o077 == 0, folder


def test_attack_secrets_never_in_logs(place: Town, alice: Agent, bob: Agent) -> None:
    """After a whole transfer, with refusals and errors: no key, presigning secret, signature or query in any log."""
    published = alice.publish({f"d/{n}": FILE + bytes([n]) for n in range(20)})
    transfer = bob.get(published.envelope, [alice])
    bob.work()
    assert bob.state(transfer).state == "done", bob.state(transfer)
    ask(bob, alice, "0" * 64)
    ask(place.agent("mallory"), alice, published.manifest.id)
    url = ask(bob, alice, published.manifest.id).reply.urls[0].url
    call("GET", url + "x")
    call("GET", url)
    call("GET", f"{alice.url}/v1/status?s=geheim")
    texts = alice.logged() + bob.logged()
    assert '"event": "granted"' in texts and '"event": "refused"' in texts
    files = [path for one in (alice, bob) for path in (one.home / "keys").rglob("*") if path.is_file()]
    secrets = [path.read_bytes() for path in files if path.name == "presign"]
    for path in files:
        if path.name == "seeds":
            _, _, rest = path.read_bytes().partition(b"\n")
            secrets += [rest[at : at + 32] for at in (0, 32, 64)]
    assert len(secrets) == 8 and all(len(one) == 32 for one in secrets)
    for one in secrets:
        encoded = (base64.b64encode(one), base64.urlsafe_b64encode(one), base64.b32encode(one))
        for text in (one.hex(), one.hex().upper(), repr(one)[2:-1], *(e.decode()[:40] for e in encoded)):
            assert text not in texts
    fields = dict(pair.split("=", 1) for pair in url.partition("?")[2].split("&"))
    assert fields["s"] not in texts
    assert "s=" not in texts and "geheim" not in texts and "?v=" not in texts


# ---- neighbours --------------------------------------------------------------------------------------
def test_attack_one_agents_url_opens_nothing_of_another(place: Town, alice: Agent, bob: Agent) -> None:
    """Two agents on one machine, each with a file of the same name and version in a storage of the same name."""
    share = alice.publish({"a": FILE}).manifest.id
    bob.publish({"a": b"bob's own"})
    url = ask(bob, alice, share).reply.urls[0].url
    moved = url.replace(alice.runtime.base_url, bob.runtime.base_url)
    assert call("GET", moved).status in (400, 401, 403)


def test_attack_request_to_an_agent_that_lives_elsewhere(alice: Agent, bob: Agent, fetched: str) -> None:
    base = alice.runtime.base_url
    answer = ask(bob, alice, fetched, url=f"{base}/a/{bob.id}/v1/fetch_piece", audience=bob.id)
    assert (answer.status, answer.code) == (404, "SKY-111")
