"""Words that are not UTF-8 are what was typed wrong, in every command; names of files may be any bytes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from skyswarm.edge.runtime import create
from tests.support.cli import Shell

BYTES = os.fsdecode(b"x\xff")
SENTENCE = "SKY-100 'x\\xff' is not text in UTF-8. Type it once more.\n"


@pytest.fixture
def alice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    runtime, _ = create(tmp_path / "home", name="alice", port=7001)
    runtime.close()
    return Shell(tmp_path / "home", capsys)


@pytest.mark.parametrize(
    "words",
    [
        *("ls", "pause", "resume", "cancel", "watch", "receipts", "people", "unshare", "people why"),
        *("trust", "vouch", "revoke", "distrust", "storage remove", "repo add", "repo remove"),
        *("share . --to", "share . --name", "share . --exclude", "people add bob", "revoke bob --reason"),
        *("serve --public-url", "serve --host", "init --name", "vouch bob --limit"),
    ],
)
def test_a_word_that_is_not_utf_8_is_told_by_every_command(alice: Shell, words: str) -> None:
    settings = (alice.home / "config.json").read_bytes()
    said = alice(*words.split(), BYTES, code=2)
    assert (said.out, said.err) == ("", SENTENCE)
    assert not (alice.home / "log" / "errors.log").exists()
    assert (alice.home / "config.json").read_bytes() == settings


def test_one_of_several_words_is_enough(alice: Shell) -> None:
    assert alice("watch", "t-1", BYTES, code=2).err == SENTENCE
    assert alice.json("ls", BYTES, code=2)["error"]["message"] == "'x\\xff' is not text in UTF-8"


def test_text_of_every_other_kind_goes_on(alice: Shell) -> None:
    assert "You know nobody called Zoë 雪" in alice("revoke", "Zoë 雪", code=2).err


def test_a_home_and_a_file_may_be_called_what_the_system_allows(alice: Shell, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        (tmp_path / BYTES).mkdir()
        agent = alice("init", "--home", BYTES, "--name", "bob", "--port", "7002", "--quiet").out
        assert alice("whoami", "--home", BYTES, "--quiet").out == agent
        assert "is a folder" in alice("get", BYTES, code=2).err


@pytest.mark.parametrize("words", ["share", "storage add far", f"get skyswarm:{'a' * 64}"])
def test_a_folder_that_settings_cannot_name_is_told_and_nothing_is_written(
    alice: Shell, tmp_path: Path, words: str
) -> None:
    folder = tmp_path / BYTES / "photos"
    folder.mkdir(parents=True)
    (folder / "a.txt").write_text("a")
    before = (alice.home / "config.json").read_bytes()
    said = alice(*words.split(), str(folder), code=1).err
    assert said.startswith("SKY-700 ") and "x\\udcff/photos' cannot be a storage" in said
    assert "config.json" not in said
    assert (alice.home / "config.json").read_bytes() == before
    assert alice.json("ls") == {"transfers": []} and alice.json("shares")["shares"] == []
