"""Options that stand anywhere, and what leaves the command line: clean, and each on its own stream."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyswarm.cli.frame import Cli, clean, sentences, take_common
from skyswarm.errors import InputError


def test_common_options_stand_anywhere() -> None:
    for words in (
        ["--home", "/x", "--json", "ls", "t-1"],
        ["ls", "--home=/x", "t-1", "--json"],
        ["ls", "t-1", "--json", "--home", "/x"],
    ):
        cli, rest = take_common(words)
        assert (cli.home, cli.given, cli.json, cli.quiet) == (Path("/x"), True, True, False)
        assert rest == ["ls", "t-1"]
    assert take_common(["-q", "ls"])[0].quiet


def test_after_two_dashes_everything_is_left_alone() -> None:
    cli, rest = take_common(["people", "add", "--", "--json", "--home"])
    assert rest == ["people", "add", "--", "--json", "--home"]
    assert not cli.json


def test_home_comes_from_the_option_then_the_environment_then_the_convention(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/nowhere")
    monkeypatch.delenv("SKYSWARM_HOME", raising=False)
    assert take_common([])[0].home == Path("/nowhere/.skyswarm")
    assert not take_common([])[0].given
    monkeypatch.setenv("SKYSWARM_HOME", "~/other")
    assert take_common([])[0].home == Path("/nowhere/other")
    assert take_common(["--home", "/x/../y"])[0].home == Path("/y")
    with pytest.raises(InputError):
        take_common(["ls", "--home"])


@given(st.text())
def test_nothing_that_steers_a_terminal_gets_through(text: str) -> None:
    shown = clean(text)
    assert len(shown) == len(text)
    assert {unicodedata.category(one) for one in shown.replace("\n", "")}.isdisjoint({"Cc", "Cs", "Zl", "Zp"})
    assert not set(shown) & {"\x1b", "\r", "\x07", "\x9b", "\u202e", "\u2066", "\x00", "\t"}
    shown.encode()


def test_a_line_is_cleaned_where_it_leaves(capsys: pytest.CaptureFixture[str]) -> None:
    cli = Cli(Path("/x"))
    cli.line("a\x1b[31mb")
    cli.hint("c\rd")
    cli.give({"name": "e\x1bf"}, "e\x1bf")
    said = capsys.readouterr()
    assert said.out == "a\ufffd[31mb\ne\ufffdf\n"
    assert said.err == "c\ufffdd\n"


def test_json_is_one_ascii_line_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    cli = Cli(Path("/x"), json=True)
    cli.line("hello")
    cli.hint("hint")
    cli.give({"name": "é\x1b\u202e"}, "line", brief="b")
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.isascii()
    assert "\x1b" not in said.out
    assert json.loads(said.out) == {"name": "é\x1b\u202e"}


def test_quiet_prints_only_what_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    cli = Cli(Path("/x"), quiet=True)
    cli.line("hello")
    cli.hint("hint")
    cli.give({}, "line", brief="b")
    cli.warn("must be seen")
    assert capsys.readouterr() == ("b\n", "must be seen\n")


def test_nobody_is_asked_in_a_pipe() -> None:
    with pytest.raises(InputError, match="nobody here"):
        Cli(Path("/x")).asked("Really?", yes=False)
    assert Cli(Path("/x")).asked("Really?", yes=True)


def test_progress_in_a_pipe_is_its_last_line(capsys: pytest.CaptureFixture[str]) -> None:
    cli = Cli(Path("/x"))
    for text in ("10%", "50%", "100%", ""):
        cli.progress(text)
    cli.progress("")
    assert capsys.readouterr().out == "100%\n"


def test_errors_read_as_sentences() -> None:
    assert sentences("there is no transfer t-1", "", "`skyswarm ls` lists them.") == (
        "There is no transfer t-1. `skyswarm ls` lists them."
    )
    assert sentences("http://x answers", "skyswarm serve") == "http://x answers. skyswarm serve."
    assert sentences("you call another agent bob already") == "You call another agent bob already."
