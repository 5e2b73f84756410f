"""`recover` on a real home: what it shows, asks and refuses, and that the recovery key shows nowhere."""

from __future__ import annotations

import json
import os
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from skyswarm.drivers.seeds import make_recovery, read_recovery
from skyswarm.edge.runtime import open_runtime
from skyswarm.messages.dsse import seal
from skyswarm.messages.keys import SeedSigner, commitment, did_key
from skyswarm.messages.statements import Retire, Rotate, parse_signed, payload_type
from skyswarm.trust.branch import RECOVERY_WINDOW
from skyswarm.usecases.views import own_head, row_of
from tests.support.cli import Shell

BOB = "b" * 64


class Victim(Shell):
    """A home whose signing and next key are stolen, and where its recovery key is."""

    def __init__(self, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
        super().__init__(place / "alice", capsys)
        self.text = str(self.json("init", "--name", "alice", "--recovery")["recovery"])
        self.paper = place / "paper"
        self.paper.write_text(self.text + "\n")
        self("vouch", BOB)

    def robbed(self, *, end: bool = False, ago: float = 0.0) -> str:
        """The thief rotates (or retires) her, received here that long ago (s); the statement's id."""
        runtime = open_runtime(self.home)
        deps, me, head = runtime.deps, runtime.agent, own_head(runtime.deps, runtime.agent)
        key, after = deps.keys.upcoming(me), SeedSigner(os.urandom(32))
        place: Any = {"iss": me, "seq": head.seq + 1, "prev": head.id, "key": did_key(key.public)}
        event = Retire(**place) if end else Rotate(**place, next=commitment(after.public))
        signed = parse_signed(seal(payload_type(event.kind), event.payload(), key).dump())
        deps.statements.append(me, [row_of(signed, deps.clock() - ago)])
        runtime.close()
        return event.id

    def keys(self) -> dict[str, Any]:
        """What `doctor` says of them."""
        (found,) = [one for one in self.json("doctor", code=None)["checks"] if one["check"] == "keys"]
        return dict(found)

    def json(self, *words: str, code: int | None = 0) -> Any:
        if code is not None:
            return super().json(*words, code=code)
        try:
            return super().json(*words)
        except AssertionError:
            return super().json(*words, code=1)

    def kept(self) -> str:
        """All that is on the disk below her home."""
        return "".join(path.read_text("latin-1") for path in self.home.rglob("*") if path.is_file())


@pytest.fixture
def alice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Victim:
    return Victim(tmp_path, capsys)


@pytest.mark.parametrize("end", [False, True])
def test_doctor_names_it_and_it_mends_what_doctor_found(alice: Victim, end: bool) -> None:
    stolen = alice.robbed(end=end)
    found = alice.keys()
    assert found["level"] == "fail" and "skyswarm recover" in found["fix"]
    assert "skyswarm recover" in alice("vouch", BOB, code=2 if end else 1).err
    shown = alice("recover", "--key-file", str(alice.paper), "--yes")
    assert f"number 2  {'retire' if end else 'rotate'}" in shown.out and stolen[:12] in shown.out
    assert "What was signed before number 2 stays" in shown.out and "until in 7 d" in shown.out
    assert "alice is yours again." in shown.out
    assert alice.keys()["level"] == "ok"
    alice("vouch", BOB)
    alice("rotate-key")
    assert alice.keys()["level"] == "ok"


def test_the_json_has_the_keys_of_the_page_and_again_says_the_same(alice: Victim) -> None:
    page = resources.files("skyswarm.cli").joinpath("json.md").read_text("utf-8")
    example = json.loads(page.partition("```json recover\n")[2].partition("```")[0])
    stolen = alice.robbed()
    said = alice.json("recover", "--key-file", str(alice.paper), "--yes")
    assert said.keys() == example.keys() and said["void"][0].keys() == example["void"][0].keys()
    assert said["undone"] == stolen and said["void"] == [{"id": stolen, "seq": 2, "kind": "rotate"}]
    assert said["key"] == alice.json("whoami")["key"]
    again = alice.json("recover", "--key-file", str(alice.paper), "--undo", stolen[:10])
    assert again == {**said, "void": []}
    assert "undone already" in alice("recover", "--key-file", str(alice.paper)).out


def test_it_asks_first_and_changes_nothing_without_an_answer(alice: Victim) -> None:
    alice.robbed()
    before = sorted(path.name for path in alice.home.rglob("*"))
    said = alice("recover", "--key-file", str(alice.paper), code=2)
    assert "nobody here to ask" in said.err and "number 2" in said.err
    assert alice.keys()["level"] == "fail"
    assert sorted(path.name for path in alice.home.rglob("*")) == before, "no keys are made before the answer"


def test_after_seven_days_it_says_why_not(alice: Victim) -> None:
    alice.robbed(ago=RECOVERY_WINDOW + 60)
    said = alice("recover", "--key-file", str(alice.paper), "--yes", code=2)
    assert "received 7 days ago, and a recovery counts for 7 days only" in said.err
    assert "Make a new agent" in said.err and alice.keys()["level"] == "fail"


def test_without_a_thief_there_is_nothing_to_do(alice: Victim) -> None:
    said = alice("recover", "--key-file", str(alice.paper), "--yes", code=2)
    assert "nothing was found to undo" in said.err.lower() and "There is no rotation" in said.err


def test_an_agent_without_a_recovery_key_is_not_sent_to_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(tmp_path / "home", capsys)
    shell("init", "--name", "bob")
    shell("retire", "--yes")
    (found,) = [one for one in shell.json("doctor", code=1)["checks"] if one["check"] == "keys"]
    assert "recover" not in found["fix"] and "skyswarm init" in found["fix"]
    paper = tmp_path / "paper"
    paper.write_text(make_recovery(os.urandom)[1])
    assert "made without a recovery key" in shell("recover", "--key-file", str(paper), code=2).err


# ---- the key shows nowhere -------------------------------------------------------------------------
def test_the_key_shows_nowhere_whatever_is_done_with_it(alice: Victim, tmp_path: Path) -> None:
    alice.robbed()
    text, groups = alice.text, alice.text.split("-")
    slip = tmp_path / "slip"
    slip.write_text(("A" if text[0] != "A" else "B") + text[1:])
    torn = tmp_path / "torn"
    torn.write_bytes(text.encode() + b"\xff")
    other = tmp_path / "other"
    other.write_text(make_recovery(os.urandom)[1])
    told = []
    for words, why in (
        (("recover", text), "takes no argument"),
        (("recover", "--yes", text, "--json"), "takes no argument"),
        (("recover", "--key", text), "No such option"),
        (("recover", f"--key={text}"), "No such option"),
        (("recover", "--key-file", text), "cannot be read"),
        (("recover", "--key-file", str(tmp_path)), "cannot be read"),
        (("recover", "--key-file", str(alice.paper), "--undo", text), "no rotation or retirement"),
        (("recover", "--key-file", str(slip)), "has a slip in it"),
        (("recover", "--key-file", str(torn)), "14 groups of 4"),
        (("recover", "--key-file", str(other)), "none of this agent's"),
        (("recover", "--key-file", str(alice.paper)), "nobody here to ask"),
    ):
        said = alice(*words, code=2)
        assert why in said.out + said.err, words
        told.append(said.out + said.err)
    for words in (("--yes",), ("--json",), ("--quiet",)):
        said = alice("recover", "--key-file", str(alice.paper), *words)
        told.append(said.out + said.err)
    everything = "".join(told) + alice.kept()
    signer = read_recovery(text)
    assert not [one for one in groups if one in everything]
    assert repr(signer) in (str(signer), f"{signer}") and text not in repr(signer)


def test_the_help_has_an_example_and_says_where_the_key_comes_from(alice: Victim) -> None:
    said = alice("recover", "--help").out
    assert "$ skyswarm recover" in said and "--key-file" in said and "Within 7 days" in said
