"""messages/note.py against notes.json and C2SP's signed-note, tlog-checkpoint and tlog-cosignature."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from skyswarm.errors import NoteError, SignatureError, TooLargeError
from skyswarm.messages.keys import SeedSigner
from skyswarm.messages.note import COSIGNATURE, Checkpoint, NoteKey, NoteSignature, SignedNote

CASES = json.loads((Path(__file__).parents[2] / "vectors" / "note" / "notes.json").read_text())
SIGNER = SeedSigner(bytes([7]) * 32)
KEY = NoteKey("log.example/x", SIGNER.public)
WITNESS = NoteKey("witness.example/w", SIGNER.public, COSIGNATURE)
ROOT = bytes(range(32))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_vectors(case: dict[str, Any]) -> None:
    data = case["note"].encode()
    keys = [NoteKey.parse(vkey) for vkey in case["keys"]]
    if "malformed" in case:
        with pytest.raises((NoteError, TooLargeError)):
            SignedNote.parse(data)
        return
    note = SignedNote.parse(data)
    assert note.dump() == data
    if "forged" in case:
        with pytest.raises(SignatureError):
            note.verify(keys)
        return
    assert [key.name for key, _ in note.verify(keys)] == case["verified"]


def test_a_checkpoint_signed_and_cosigned_by_one_key_is_read_back() -> None:
    checkpoint = Checkpoint("log.example/x", 17, ROOT)
    note = (
        SignedNote(checkpoint.text, ()).signed(KEY, SIGNER.sign).cosigned(WITNESS, SIGNER.sign, 1_700_000_000)
    )
    again = SignedNote.parse(note.dump())
    assert Checkpoint.parse(again.text) == checkpoint
    assert again.verify([WITNESS, KEY]) == [(KEY, None), (WITNESS, 1_700_000_000)]


def test_signing_again_replaces_the_line_of_that_key() -> None:
    note = SignedNote("a\n", ()).signed(KEY, SIGNER.sign)
    assert note.signed(KEY, SIGNER.sign) == note
    later = note.cosigned(WITNESS, SIGNER.sign, 1).cosigned(WITNESS, SIGNER.sign, 2)
    assert later.verify([KEY, WITNESS]) == [(KEY, None), (WITNESS, 2)]


def test_a_plain_signature_does_not_pass_as_a_cosignature() -> None:
    note = SignedNote("a\n", ()).signed(KEY, SIGNER.sign)
    same = NoteKey(KEY.name, KEY.public, COSIGNATURE)
    assert same.id != KEY.id
    assert note.verify([same]) == []


def test_a_cosignature_of_a_time_that_is_none_proves_nothing() -> None:
    when = (2**63).to_bytes(8, "big")
    line = NoteSignature(
        WITNESS.name, WITNESS.id, when + SIGNER.sign(b"cosignature/v1\ntime %d\na\n" % 2**63)
    )
    with pytest.raises(NoteError, match="time"):
        SignedNote.parse(SignedNote("a\n", (line,)).dump()).verify([WITNESS])
    for short in (b"", bytes(71)):
        with pytest.raises(SignatureError, match="8 bytes of time"):
            SignedNote("a\n", (NoteSignature(WITNESS.name, WITNESS.id, short),)).verify([WITNESS])


def test_extension_lines_are_carried() -> None:
    text = Checkpoint("o", 0, ROOT, ("one", "two")).text
    assert Checkpoint.parse(text).extensions == ("one", "two")
    assert Checkpoint.parse(text).text == text


@pytest.mark.parametrize(
    "text",
    [
        "o\n1\n",
        "o\n1\nAA==\n",
        "\n1\n{root}\n",
        "o\n\n{root}\n",
        "o\n01\n{root}\n",
        "o\n+1\n{root}\n",
        "o\n-1\n{root}\n",
        "o\n1\n{root}",
        "o\n1\n{root}\n\n",
        "o\n1\n{root}\n\nx\n",
        "o\n1 \n{root}\n",
        "o\n\u0663\n{root}\n",
        "o\n9007199254740992\n{root}\n",
        "o\n99999999999999999999\n{root}\n",
        "o\n1\n {root}\n",
        "",
        "\n\n\n",
    ],
)
def test_what_is_no_checkpoint(text: str) -> None:
    root = Checkpoint("o", 0, ROOT).text.split("\n")[2]
    with pytest.raises(NoteError):
        Checkpoint.parse(text.format(root=root))


def test_verifier_keys_are_read_back_and_bound_to_their_id() -> None:
    assert NoteKey.parse(WITNESS.vkey) == WITNESS
    name, short, data = KEY.vkey.split("+", 2)
    for wrong in (
        f"{name}+00000000+{data}",
        f"x{KEY.vkey}",
        f"{name}+{short}",
        name,
        "",
        f"{name}+{short.upper()}+{data}",
    ):
        with pytest.raises(NoteError):
            NoteKey.parse(wrong)


def test_a_note_that_is_too_long_is_not_read() -> None:
    with pytest.raises(TooLargeError):
        SignedNote.parse(b"a" * (128 * 1024 + 1))
    with pytest.raises(NoteError):
        SignedNote.parse(b"\xff\n\n\n")
