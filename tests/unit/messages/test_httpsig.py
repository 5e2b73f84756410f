"""Signed requests: RFC 9421's vector, an independent implementation, and every attack that the profile must stop."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
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
from skyswarm.messages.fields import b64url, from_b64url
from skyswarm.messages.httpsig import (
    COMPONENTS,
    HEADERS,
    LABEL,
    MAX_HEADER,
    MAX_SKEW,
    TAG,
    Checked,
    check_request,
    content_digest,
    read_request,
    sign_request,
    signature_base,
)
from skyswarm.messages.keys import SeedSigner, did_key, parse_did_key, verify
from tests.support.signing import hex_id, signer

NOW = 1_790_000_000
ME, ALICE, BOB = signer("asker"), hex_id("alice"), hex_id("bob")
URL = f"https://alice.example/a/{ALICE}/v1/fetch_piece"
PATH = f"/a/{ALICE}/v1/fetch_piece"
BODY = b'{"v":1}'
NONCE = b64url(bytes(range(16)))
B26 = json.loads((Path(__file__).parents[2] / "vectors/rfc9421/b26.json").read_text())


def signed(url: str = URL, body: bytes = BODY, now: float = NOW, life: int = 60) -> dict[str, str]:
    headers = sign_request("POST", url, body, ME, BOB, ALICE, now, NONCE, life)
    return {name.lower(): value for name, value in headers.items()}


def check(
    headers: dict[str, str] | None = None,
    *,
    method: str = "POST",
    authority: str | tuple[str, ...] = "alice.example",
    path: str = PATH,
    query: str = "",
    body: bytes = BODY,
    audience: str = ALICE,
    now: float = NOW + 1,
) -> Checked:
    return check_request(
        method, authority, path, query, signed() if headers is None else headers, body, audience, now
    )


def resigned(
    params: str, names: tuple[str, ...] = COMPONENTS, key: SeedSigner = ME, label: str = LABEL
) -> dict[str, str]:
    """A request that a careless or hostile signer made: a right signature over other components or parameters."""
    headers = signed()
    values = {
        "@method": "POST",
        "@authority": "alice.example",
        "@path": PATH,
        "@query": "?",
        "content-digest": headers["content-digest"],
        "skyswarm-agent": BOB,
        "skyswarm-audience": ALICE,
    }
    value = "(" + " ".join(f'"{name}"' for name in names) + ")" + params
    base = signature_base([(name, values[name]) for name in names], value)
    raw = base64.b64encode(key.sign(base)).decode()
    return headers | {"signature-input": f"{label}={value}", "signature": f"{label}=:{raw}:"}


def params(**changes: str | None) -> str:
    parts: dict[str, str | None] = {
        "created": str(NOW),
        "keyid": f'"{did_key(ME.public)}"',
        "alg": '"ed25519"',
        "expires": str(NOW + 60),
        "nonce": f'"{NONCE}"',
        "tag": f'"{TAG}"',
    }
    return "".join(f";{name}={value}" for name, value in (parts | changes).items() if value is not None)


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


# ---- the four ways in which a verifier of RFC 9421 is careless -------------------------------
def test_attack_empty_coverage_list() -> None:
    with pytest.raises(RequestError):
        check(resigned(params(), names=()))


def test_attack_day_old_signature() -> None:
    with pytest.raises(StaleRequestError):
        check(now=NOW + 86_400)


def test_attack_body_swapped() -> None:
    with pytest.raises(SignatureError, match="body"):
        check(body=b'{"v":2}')
    with pytest.raises(SignatureError):
        check(signed() | {"content-digest": content_digest(b'{"v":2}')}, body=b'{"v":2}')


@pytest.mark.parametrize("missing", COMPONENTS)
def test_attack_required_component_not_covered(missing: str) -> None:
    names = tuple(name for name in COMPONENTS if name != missing)
    with pytest.raises(RequestError):
        check(resigned(params(), names=names))


# ---- other attacks ---------------------------------------------------------------------------
def test_attack_another_audience() -> None:
    carol = hex_id("carol")
    with pytest.raises(AudienceError):
        check(audience=carol)
    with pytest.raises(SignatureError):
        check(signed() | {"skyswarm-audience": carol}, audience=carol)


def test_attack_another_agent_named() -> None:
    with pytest.raises(SignatureError):
        check(signed() | {"skyswarm-agent": hex_id("mallory")})


def test_attack_another_key_named() -> None:
    other = signed()["signature-input"].replace(did_key(ME.public), did_key(signer("mallory").public))
    with pytest.raises(SignatureError):
        check(signed() | {"signature-input": other})


def test_who_signs_with_another_key_is_that_key() -> None:
    mallory = signer("mallory")
    checked = check(resigned(params(keyid=f'"{did_key(mallory.public)}"'), key=mallory))
    assert checked.public == mallory.public, "the caller compares this with the agent's chain"


@pytest.mark.parametrize(
    "change",
    [
        {"method": "PUT"},
        {"path": PATH + "x"},
        {"path": PATH.replace("fetch_piece", "revoke")},
        {"query": "a=1"},
        {"authority": "mallory.example"},
    ],
    ids=str,
)
def test_another_target_does_not_verify(change: dict[str, Any]) -> None:
    with pytest.raises(SignatureError):
        check(**change)


@pytest.mark.parametrize("name", HEADERS)
def test_each_header_once(name: str) -> None:
    headers = signed()
    with pytest.raises(RequestError, match="missing"):
        check({key: value for key, value in headers.items() if key != name})
    for twice in (f"{headers[name]}, {headers[name]}", f"{headers[name]},{headers[name]}", ""):
        with pytest.raises((RequestError, AudienceError)):
            check(headers | {name: twice})
    with pytest.raises(RequestError, match="longer"):
        check(headers | {name: headers[name] + " " * MAX_HEADER})
    for odd in (" " + headers[name], headers[name] + " ", headers[name] + "\n", headers[name] + "\u00e9"):
        with pytest.raises((RequestError, AudienceError)):
            check(headers | {name: odd})


def test_several_signatures_are_refused() -> None:
    headers, other = signed(), resigned(params(), label="two")
    both = {name: f"{headers[name]}, {other[name]}" for name in ("signature-input", "signature")}
    with pytest.raises(RequestError):
        check(headers | both)
    with pytest.raises(RequestError):
        check(other)


@pytest.mark.parametrize(
    "changes",
    [
        {"alg": '"hmac-sha256"'},
        {"alg": None},
        {"alg": "ed25519"},
        {"tag": '"skyswarm-v2"'},
        {"tag": None},
        {"nonce": None},
        {"nonce": '""'},
        {"nonce": f'"{NONCE}A"'},
        {"nonce": f'"{NONCE[:-1]}B"'},
        {"created": None},
        {"created": f"0{NOW}"},
        {"created": f"-{NOW}"},
        {"created": f"{NOW}.0"},
        {"created": f'"{NOW}"'},
        {"expires": None},
        {"keyid": None},
        {"keyid": '"alice"'},
        {"keyid": '"did:key:z' + "z" * 47 + '"'},
        {"keyid": f'"{did_key(ME.public)}#key"'},
        {"extra": "1"},
    ],
    ids=str,
)
def test_other_parameters_are_refused(changes: dict[str, str | None]) -> None:
    with pytest.raises(RequestError):
        check(resigned(params(**changes)))


@pytest.mark.parametrize(
    "names",
    [COMPONENTS[::-1], (*COMPONENTS, "@method"), (COMPONENTS[1], COMPONENTS[0], *COMPONENTS[2:])],
    ids=["reversed", "one twice", "two swapped"],
)
def test_other_components_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(RequestError):
        check(resigned(params(), names=names))


@pytest.mark.parametrize(
    "spelling",
    [
        lambda text: text.replace('" "', '"  "'),
        lambda text: text.replace(";created", "; created"),
        lambda text: text.replace('"@method"', '"@method";sf'),
        lambda text: text.replace('"@path"', '"@path";req'),
        lambda text: text.replace("sky=", "SKY="),
        lambda text: text.replace("sky=", "sky ="),
        lambda text: text + ';alg="ed25519"',
        lambda text: text.replace("@method", "@Method"),
    ],
)
def test_other_spellings_of_the_input_are_refused(spelling: Callable[[str], str]) -> None:
    headers = signed()
    with pytest.raises(RequestError):
        check(headers | {"signature-input": spelling(headers["signature-input"])})


@pytest.mark.parametrize(
    "signature",
    [
        "sky=::",
        "sky=:AAAA:",
        "sky=" + "A" * 88,
        "sky=:" + "A" * 85 + "B==:",
        "sky=:" + "A" * 88 + ":",
        "sig=:x:",
    ],
)
def test_other_spellings_of_the_signature_are_refused(signature: str) -> None:
    with pytest.raises(RequestError):
        check(signed() | {"signature": signature})


def test_a_bit_flipped_does_not_verify() -> None:
    headers = signed()
    raw = bytearray(base64.b64decode(headers["signature"][5:-1]))
    raw[0] ^= 1
    with pytest.raises(SignatureError):
        check(headers | {"signature": f"sky=:{base64.b64encode(bytes(raw)).decode()}:"})


@pytest.mark.parametrize("digest", ["sha-512=:AAAA:", "sha-256=:AAAA:", "md5=:AAAA:", "sha-256=x"])
def test_other_digests_are_refused(digest: str) -> None:
    with pytest.raises(RequestError):
        check(signed() | {"content-digest": digest})


# ---- time ------------------------------------------------------------------------------------
@pytest.mark.parametrize("skew", [-MAX_SKEW, -90, 0, 90, 60 + MAX_SKEW])
def test_clock_skew_of_two_minutes_is_tolerated(skew: int) -> None:
    assert check(now=NOW + skew).agent == BOB


@pytest.mark.parametrize("skew", [-86_400, -MAX_SKEW - 1, 60 + MAX_SKEW + 1, 60 + MAX_SKEW + 0.5, 10**9, float("nan")])
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


def test_a_claim_is_read_before_it_is_checked() -> None:
    forged = signed() | {"signature": "sky=:" + base64.b64encode(bytes(64)).decode() + ":"}
    claim = read_request("POST", "alice.example", PATH, "", forged, b"another body", ALICE, NOW)
    assert (claim.agent, claim.public) == (BOB, ME.public)
    with pytest.raises(SignatureError):
        claim.check()


# ---- behind a gateway ------------------------------------------------------------------------
def test_a_gateway_may_rewrite_the_authority() -> None:
    assert check(authority=("10.0.0.7:8080", "alice.example")).agent == BOB
    assert check(authority="ALICE.example").agent == BOB
    with pytest.raises(SignatureError):
        check(authority=("10.0.0.7:8080", "other.example"))


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
