"""Keys: did:key in its one spelling, commitments, and libsodium's verdict on every published signature."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyswarm.errors import MalformedError, SignatureError
from skyswarm.messages.keys import SeedSigner, commitment, did_key, parse_did_key, verify
from tests.vectors.speccheck import generate

VECTORS = Path(__file__).parents[2] / "vectors"
RFC8032: list[dict[str, str]] = json.loads((VECTORS / "rfc8032/vectors.json").read_text())
WYCHEPROOF: list[dict[str, Any]] = json.loads((VECTORS / "wycheproof/ed25519.json").read_text())
SPECCHECK: list[dict[str, Any]] = json.loads((VECTORS / "speccheck/cases.json").read_text())
SPECCHECK_PUBLISHED: list[dict[str, Any]] = json.loads((VECTORS / "speccheck/published.json").read_text())
# The worked example of the did:key specification.
PUBLISHED = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"
PUBLISHED_KEY = "2e6fcce36701dc791488e0d0b1745cc1e33a4c1c9fcc41c63bd343dbbe0970e6"


def accepted(public: str, message: str, signature: str) -> bool:
    try:
        verify(bytes.fromhex(public), bytes.fromhex(message), bytes.fromhex(signature))
    except SignatureError:
        return False
    return True


@pytest.mark.parametrize("case", RFC8032, ids=lambda case: case["name"])
def test_rfc_8032(case: dict[str, str]) -> None:
    signer = SeedSigner(bytes.fromhex(case["seed"]))
    assert signer.public.hex() == case["public"]
    assert signer.sign(bytes.fromhex(case["message"])).hex() == case["signature"]
    assert accepted(case["public"], case["message"], case["signature"])


@pytest.mark.parametrize("case", WYCHEPROOF, ids=lambda case: str(case["id"]))
def test_wycheproof(case: dict[str, Any]) -> None:
    # Upstream leaves `acceptable` to the verifier; libsodium refuses small order and accepts mixed order.
    expected = case["result"] == "valid" or (
        case["result"] == "acceptable" and case["flags"] == ["MixedOrderPublicKey"]
    )
    assert accepted(case["public"], case["message"], case["signature"]) is expected


def test_wycheproof_is_whole() -> None:
    results = [case["result"] for case in WYCHEPROOF]
    assert {kind: results.count(kind) for kind in set(results)} == {
        "valid": 117,
        "invalid": 64,
        "acceptable": 29,
    }


@pytest.mark.parametrize("case", SPECCHECK_PUBLISHED, ids=lambda case: str(case["case"]))
def test_speccheck_as_published_has_libsodiums_verdict(case: dict[str, Any]) -> None:
    assert accepted(case["public"], case["message"], case["signature"]) is (case["case"] == 3)


def test_speccheck_as_published_is_whole_and_its_equations_are_the_papers() -> None:
    assert [case["case"] for case in SPECCHECK_PUBLISHED] == list(range(12))
    held = [
        tuple(
            generate.holds(
                *(bytes.fromhex(case[part]) for part in ("public", "message", "signature")), cofactored
            )
            for cofactored in (True, False)
        )
        for case in SPECCHECK_PUBLISHED
    ]
    both, neither, only_cofactored = (True, True), (False, False), (True, False)
    assert held[:8] == [both, both, both, both, only_cofactored, only_cofactored, both, both]
    # 8 and 10 were hashed with the reduced point, 9 and 11 with the bytes as sent, as `holds` does.
    assert held[8:] == [neither, both, only_cofactored, both]


@pytest.mark.parametrize("case", SPECCHECK, ids=lambda case: f"{case['case']}: {case['comment']}")
def test_speccheck_has_libsodiums_verdict(case: dict[str, Any]) -> None:
    assert accepted(case["public"], case["message"], case["signature"]) is case["libsodium"]


def test_speccheck_cases_are_what_the_generator_makes() -> None:
    assert (VECTORS / "speccheck/cases.json").read_text() == generate.document()
    assert [case["libsodium"] for case in SPECCHECK] == [index == 3 for index in range(12)]


def test_the_published_did_key() -> None:
    assert parse_did_key(PUBLISHED).hex() == PUBLISHED_KEY
    assert did_key(bytes.fromhex(PUBLISHED_KEY)) == PUBLISHED


@given(st.binary(min_size=32, max_size=32))
def test_every_key_has_one_did_key(public: bytes) -> None:
    text = did_key(public)
    assert len(text) == 56
    assert text.startswith("did:key:z6Mk")
    assert parse_did_key(text) == public


@pytest.mark.parametrize("public", [bytes(32), b"\xff" * 32], ids=["lowest", "highest"])
def test_the_ends_of_the_range(public: bytes) -> None:
    assert parse_did_key(did_key(public)) == public


@pytest.mark.parametrize(
    "text",
    [
        "",
        PUBLISHED[:-1],
        PUBLISHED + "1",
        PUBLISHED + "\n",
        " " + PUBLISHED,
        PUBLISHED.upper(),
        PUBLISHED.replace("z6Mk", "z16Mk"),
        PUBLISHED.replace("z6Mk", "z6Lk"),
        PUBLISHED.replace("z6Mk", "z7Mk"),
        PUBLISHED[:-1] + "0",
        PUBLISHED[:-1] + "l",
        PUBLISHED + "#" + PUBLISHED[8:],
        "did:key:z" + "z" * 47,
        "did:web:example.com",
        PUBLISHED[:-1] + "\u0661",
    ],
)
def test_other_spellings_are_refused(text: str) -> None:
    with pytest.raises(MalformedError):
        parse_did_key(text)


def test_a_commitment_hides_one_key() -> None:
    assert commitment(bytes(32)) == "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925"


@pytest.mark.parametrize("size", [0, 31, 33])
def test_keys_of_other_lengths_are_refused(size: int) -> None:
    for make in (did_key, commitment, SeedSigner):
        with pytest.raises(MalformedError):
            make(bytes(size))


@pytest.mark.parametrize(("public", "signature"), [(31, 64), (33, 64), (32, 63), (32, 65), (0, 0)])
def test_signatures_and_keys_of_other_lengths_do_not_verify(public: int, signature: int) -> None:
    with pytest.raises(SignatureError):
        verify(bytes(public), b"m", bytes(signature))


def test_a_signer_does_not_show_its_seed() -> None:
    seed = bytes(range(32))
    shown = repr(SeedSigner(seed)) + str(SeedSigner(seed))
    assert seed.hex() not in shown
    assert did_key(SeedSigner(seed).public) in shown
    with pytest.raises(TypeError):
        pickle.dumps(SeedSigner(seed))
