"""Signed requests: RFC 9421's vector, an independent implementation, and every attack that the profile must stop."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from http_message_signatures import (
    HTTPMessageSigner,
    HTTPMessageVerifier,
    HTTPSignatureAlgorithm,
    HTTPSignatureKeyResolver,
)

from skyswarm.errors import AudienceError, RequestError, SignatureError, SkyError, StaleRequestError
from skyswarm.messages.fields import from_b64url
from skyswarm.messages.httpsig import (
    COMPONENTS,
    LABEL,
    MAX_SKEW,
    TAG,
    Checked,
    sign_request,
    signature_base,
)
from skyswarm.messages.keys import SeedSigner, did_key, parse_did_key, verify
from tests.support.signed_requests import (
    ALICE,
    BOB,
    BODY,
    ME,
    NONCE,
    NOW,
    URL,
    check,
    params,
    resigned,
    signed,
)

B26 = json.loads((Path(__file__).parents[2] / "vectors/rfc9421/b26.json").read_text())


def test_rfc_9421_b_2_6() -> None:
    key = SeedSigner(from_b64url(B26["key"]["d"]))
    assert key.public == from_b64url(B26["key"]["x"])
    base = signature_base([(name, value) for name, value in B26["components"]], B26["params"])
    assert base64.b64encode(key.sign(base)).decode() == B26["signature"]
    verify(key.public, base, base64.b64decode(B26["signature"]))


def test_a_signed_request_is_accepted() -> None:
    assert check() == Checked(
        BOB, did_key(ME.public), ME.public, NONCE, NOW, NOW + 60, NOW + 60 + MAX_SKEW + 1
    )


def test_the_helper_of_these_tests_signs_as_the_profile_says() -> None:
    assert resigned(params()) == signed()


@pytest.mark.parametrize("query", ["", "a=1&b=%2F", "after=5"])
def test_the_query_is_covered(query: str) -> None:
    headers = signed(URL + (f"?{query}" if query else ""))
    assert check(headers, query=query).agent == BOB
    with pytest.raises(SignatureError):
        check(headers, query=query + "x")


# ---- time ------------------------------------------------------------------------------------
@pytest.mark.parametrize("skew", [-MAX_SKEW, -90, 0, 90, 60 + MAX_SKEW])
def test_clock_skew_of_two_minutes_is_tolerated(skew: int) -> None:
    assert check(now=NOW + skew).agent == BOB


@pytest.mark.parametrize(
    "skew", [-86_400, -MAX_SKEW - 1, 60 + MAX_SKEW + 1, 60 + MAX_SKEW + 0.5, 10**9, float("nan")]
)
def test_more_skew_is_not(skew: float) -> None:
    with pytest.raises(StaleRequestError):
        check(now=NOW + skew)


@pytest.mark.parametrize("life", ["0", str(NOW), str(NOW - 1), str(NOW + 61), "999999999999"])
def test_a_request_lives_up_to_a_minute(life: str) -> None:
    with pytest.raises(StaleRequestError):
        check(resigned(params(expires=life)))


def test_the_nonce_is_remembered_as_long_as_the_request_passes() -> None:
    checked = check()
    last = NOW + 60 + MAX_SKEW
    assert check(now=last).remember_until == checked.remember_until > last
    with pytest.raises(StaleRequestError):
        check(now=checked.remember_until)


def test_what_is_cheap_to_refuse_is_refused_before_a_key_is_used() -> None:
    forged = signed() | {"signature": "sky=:" + base64.b64encode(bytes(64)).decode() + ":"}
    with pytest.raises(AudienceError):
        check(forged, audience=BOB, now=NOW + 86_400)
    with pytest.raises(StaleRequestError):
        check(forged, body=b"another body", now=NOW + 86_400)
    with pytest.raises(SignatureError, match="under this key"):
        check(forged, body=b"another body")


# ---- behind a gateway ------------------------------------------------------------------------
def test_a_gateway_may_rewrite_the_authority() -> None:
    assert check(authority=("10.0.0.7:8080", "alice.example")).agent == BOB
    assert check(authority="ALICE.example").agent == BOB
    with pytest.raises(SignatureError):
        check(authority=("10.0.0.7:8080", "other.example"))


@pytest.mark.parametrize("rewritten", ["", "my_gateway:8080", "a b", "\u00e9", "a" * 263], ids=ascii)
def test_an_authority_that_nobody_could_sign_does_not_spoil_the_others(rewritten: str) -> None:
    assert check(authority=(rewritten, "alice.example")).agent == BOB
    with pytest.raises(SignatureError):
        check(authority=(rewritten, "other.example"))
    with pytest.raises(RequestError, match="authority"):
        check(authority=(rewritten,))


@pytest.mark.parametrize("authority", [(), ("a",) * 5, "", "a b", "a\nb", "a" * 263, "\u00e9"], ids=str)
def test_authorities_that_cannot_be(authority: Any) -> None:
    with pytest.raises(RequestError):
        check(authority=authority)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("method", "post"),
        ("method", ""),
        ("path", ""),
        ("path", "a"),
        ("path", "/ "),
        ("path", "/\n"),
        ("path", "/\u00e9"),
        ("path", "/" + "a" * 2048),
        ("query", "\n"),
        ("query", "a#b"),
        ("query", "a" * 2049),
    ],
)
def test_targets_that_cannot_be_signed(name: str, value: str) -> None:
    with pytest.raises(RequestError):
        check(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"method": "get"},
        {"url": "ftp://alice.example"},
        {"url": "https://alice.example/#x"},
        {"agent": "bob"},
        {"audience": "alice"},
        {"nonce": "short"},
        {"nonce": "A" * 21 + "B"},
        {"life": 0},
        {"life": 61},
        {"now": -1},
        {"now": float("nan")},
        {"now": float("inf")},
    ],
    ids=str,
)
def test_what_cannot_be_accepted_is_not_signed(change: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"method": "POST", "url": URL, "body": BODY, "signer": ME, "agent": BOB}
    arguments |= {"audience": ALICE, "now": NOW, "nonce": NONCE} | change
    with pytest.raises(RequestError):
        sign_request(**arguments)


# ---- against an independent implementation ---------------------------------------------------
class _Ed25519(HTTPSignatureAlgorithm):
    algorithm_id = "ed25519"

    def __init__(self, public_key: Any = None, private_key: Any = None) -> None:
        self.public, self.private = public_key, private_key

    def sign(self, message: bytes) -> bytes:
        return bytes(self.private.sign(message))

    def verify(self, signature: bytes, message: bytes) -> None:
        verify(self.public, message, signature)


class _Keys(HTTPSignatureKeyResolver):
    def resolve_public_key(self, key_id: str) -> bytes:
        return parse_did_key(key_id)

    def resolve_private_key(self, key_id: str) -> SeedSigner:
        return ME


@dataclass
class _Message:
    method: str = "POST"
    url: str = URL + "?after=5"
    headers: dict[str, str] = field(default_factory=dict)


def test_the_library_accepts_what_we_sign() -> None:
    now = datetime.now(UTC)
    headers = sign_request("POST", _Message.url, BODY, ME, BOB, ALICE, now.timestamp(), NONCE)
    results = HTTPMessageVerifier(signature_algorithm=_Ed25519, key_resolver=_Keys()).verify(
        _Message(headers=headers),
        expect_tag=TAG,
        expect_label=LABEL,
        require_components=COMPONENTS,
        max_age=timedelta(seconds=60),
        body=BODY,
    )
    assert [result.nonce for result in results] == [NONCE]


def test_we_accept_what_the_library_signs() -> None:
    message = _Message(headers={"Skyswarm-Agent": BOB, "Skyswarm-Audience": ALICE})
    HTTPMessageSigner(signature_algorithm=_Ed25519, key_resolver=_Keys()).sign(
        message,
        key_id=did_key(ME.public),
        created=datetime.fromtimestamp(NOW, UTC),
        expires=datetime.fromtimestamp(NOW + 60, UTC),
        nonce=NONCE,
        label=LABEL,
        tag=TAG,
        covered_component_ids=COMPONENTS,
        body=BODY,
    )
    headers = {name.lower(): value for name, value in message.headers.items()}
    assert check(headers, query="after=5").agent == BOB
    assert headers == signed(message.url)


def test_every_refusal_is_a_documented_one() -> None:
    assert all(
        issubclass(error, SkyError) and error.status in (400, 401, 403)
        for error in (RequestError, AudienceError, StaleRequestError, SignatureError)
    )
