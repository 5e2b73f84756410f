"""Signed requests that must not pass: the four ways in which a verifier of RFC 9421 is careless, and other forms."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest

from skyswarm.errors import AudienceError, RequestError, SignatureError, StaleRequestError
from skyswarm.messages.httpsig import COMPONENTS, HEADERS, MAX_HEADER, content_digest
from skyswarm.messages.keys import did_key
from tests.support.signed_requests import ME, NONCE, NOW, PATH, check, params, resigned, signed
from tests.support.signing import hex_id, signer


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
