"""Envelopes: DSSE's published vectors, one form only, limits, and signatures that bind type and payload."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from skyswarm.errors import MalformedError, SignatureError, TooLargeError
from skyswarm.messages.canonical import dumps
from skyswarm.messages.dsse import Envelope, max_size, pae, seal
from skyswarm.messages.keys import did_key
from tests.support.signing import signer

VECTORS = json.loads((Path(__file__).parents[2] / "vectors/dsse/vectors.json").read_text())
TYPE = "application/vnd.skyswarm.test+json"
ALICE, BOB = sorted((signer("alice"), signer("bob")), key=lambda one: did_key(one.public))
GOOD = seal(TYPE, b"{}", ALICE, BOB)


def document(**changes: Any) -> bytes:
    return dumps(json.loads(GOOD.dump()) | changes)


def signatures() -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(GOOD.dump())["signatures"]
    return found


@pytest.mark.parametrize("case", VECTORS["pae"], ids=lambda case: case["pae"])
def test_pae(case: dict[str, str]) -> None:
    assert pae(case["type"], case["payload"].encode()) == case["pae"].encode()


def test_the_published_signature_is_over_our_encoding() -> None:
    case = VECTORS["ecdsa_p256_sha256"]
    raw = base64.b64decode(case["signature"])
    der = utils.encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    key = ec.EllipticCurvePublicNumbers(int(case["x"]), int(case["y"]), ec.SECP256R1()).public_key()
    key.verify(der, pae(case["type"], case["payload"].encode()), ec.ECDSA(hashes.SHA256()))


def test_round_trip() -> None:
    again = Envelope.parse(GOOD.dump(), 100)
    assert again == GOOD
    assert again.keyids == (did_key(ALICE.public), did_key(BOB.public))
    again.verify(ALICE.public)
    again.verify(BOB.public)


def test_the_order_of_signers_does_not_matter() -> None:
    assert seal(TYPE, b"{}", BOB, ALICE) == GOOD == seal(TYPE, b"{}", BOB).add(ALICE)


def test_a_signature_binds_payload_and_type() -> None:
    for other in (
        Envelope(TYPE, b"{ }", GOOD.signatures),
        Envelope(TYPE.replace("test", "tent"), b"{}", GOOD.signatures),
    ):
        with pytest.raises(SignatureError):
            other.verify(ALICE.public)


def test_who_has_not_signed_does_not_verify() -> None:
    with pytest.raises(SignatureError, match="not signed by"):
        GOOD.verify(signer("carol").public)
    swapped = tuple(zip(GOOD.keyids, [raw for _, raw in reversed(GOOD.signatures)], strict=True))
    with pytest.raises(SignatureError):
        Envelope(TYPE, b"{}", swapped).verify(ALICE.public)


def test_a_key_signs_once() -> None:
    with pytest.raises(MalformedError):
        GOOD.add(ALICE)


def test_one_to_four_signatures() -> None:
    five = [signer(name) for name in "abcde"]
    assert len(seal(TYPE, b"", *five[:4]).signatures) == 4
    for wrong in ([], five):
        with pytest.raises(MalformedError):
            seal(TYPE, b"", *wrong)
    many = sorted(seal(TYPE, b"", *five[:4]).signatures + seal(TYPE, b"", five[4]).signatures)
    listed = [{"keyid": keyid, "sig": base64.b64encode(raw).decode()} for keyid, raw in many]
    with pytest.raises(TooLargeError):
        Envelope.parse(document(signatures=listed), 100)


@pytest.mark.parametrize(
    "changes",
    [
        {"payload": "e30"},
        {"payload": "e31="},
        {"payload": "e3 0="},
        {"payload": "e30=\n"},
        {"payload": "_w=="},
        {"payload": "é"},
        {"payload": None},
        {"payload": {}},
        {"payloadType": ""},
        {"payloadType": "a b"},
        {"payloadType": "a\n"},
        {"payloadType": "caf\u00e9"},
        {"payloadType": "a" * 129},
        {"payloadType": 1},
        {"signatures": []},
        {"signatures": {}},
        {"signatures": [1]},
        {"signatures": signatures()[::-1]},
        {"signatures": signatures()[:1] * 2},
        {"signatures": [signatures()[0] | {"cert": ""}]},
        {"signatures": [{"sig": signatures()[0]["sig"]}]},
        {"signatures": [signatures()[0] | {"keyid": "alice"}]},
        {"signatures": [signatures()[0] | {"keyid": 1}]},
        {"signatures": [signatures()[0] | {"sig": ""}]},
        {"signatures": [signatures()[0] | {"sig": "AAAA"}]},
        {"signatures": [signatures()[0] | {"sig": signatures()[0]["sig"].rstrip("=")}]},
        {"v": 1},
    ],
    ids=str,
)
def test_every_other_form_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        Envelope.parse(document(**changes), 100)


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"{}", b" " + GOOD.dump(), GOOD.dump() + b"\n"])
def test_what_is_not_an_envelope_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        Envelope.parse(data, 100)


def test_limits_are_of_the_payload() -> None:
    assert Envelope.parse(seal(TYPE, bytes(100), ALICE).dump(), 100).payload == bytes(100)
    with pytest.raises(TooLargeError):
        Envelope.parse(seal(TYPE, bytes(101), ALICE).dump(), 100)
    four = [signer(name) for name in "abcd"]
    for size in (0, 1, 4096):
        assert len(seal("t" * 128, bytes(size), *four).dump()) <= max_size(size)
