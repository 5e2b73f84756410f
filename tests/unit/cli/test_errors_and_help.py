"""What becomes of errors, and whether the help helps: exit codes, one line, no traceback, an example everywhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from skyswarm.cli.frame import Cli
from skyswarm.cli.main import LastResort, Outermost, build, run
from tests.support.cli import Shell


def _commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        yield " ".join((*path, name)), command
        if hasattr(command, "commands"):
            yield from _commands(command, (*path, name))


COMMANDS = dict(_commands(typer.main.get_command(build())))


def test_every_command_of_the_tour_is_there_and_under_a_heading() -> None:
    listed = [name for _, names in Outermost.sections for name in names]
    assert sorted(listed) == sorted(name for name in COMMANDS if " " not in name)
    assert len(listed) == len(set(listed))
    inner = {"repo add", "repo remove", "repo ls", "repo serve", "people add", "people why"}
    assert inner | {"storage add", "storage ls", "storage remove"} <= set(COMMANDS)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_help_teaches_with_an_example(name: str) -> None:
    help_text = COMMANDS[name].help
    assert help_text and re.search(rf"^\s*\$ skyswarm {name.partition(' ')[0]}\b", help_text, re.MULTILINE), (
        help_text
    )
    shown = COMMANDS[name].get_short_help_str(1000)
    assert len(shown) <= 66 and shown.endswith("."), shown


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_option_says_what_it_does(name: str) -> None:
    for parameter in COMMANDS[name].params:
        if parameter.param_type_name == "option":
            assert parameter.help, f"{name} {parameter.opts}"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_no_help_names_a_type_or_a_range_of_the_library(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*name.split(), "--help"]) == 0
    said = capsys.readouterr().out
    assert not re.search(r"<[a-z\[\]]+>|<=|>=", said), said
    assert not re.search(r"\{|\[\[|\]\.\.\.\]", said.splitlines()[0]), said


def test_the_page_on_json_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--json-help"]) == 0
    assert capsys.readouterr().out.startswith("# What `--json` prints\n")


def test_help_in_a_pipe_has_no_control_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["get", "--help"]) == 0
    said = capsys.readouterr()
    assert "\x1b" not in said.out
    assert "Everywhere:" in said.out and "--home PATH" in said.out
    assert said.err == ""


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["bogus"], "No such command 'bogus'."),
        (["sahre", "x"], "Did you mean"),
        (["get"], "Missing argument 'LINK|FILE'. See skyswarm get --help."),
        (["ls", "--nope"], "No such option"),
        (["ls", "--limit", "many"], "--limit"),
        (["repo", "bogus"], "No such command 'bogus'. See skyswarm repo --help."),
    ],
)
def test_what_is_typed_wrong_ends_with_2(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("SKY-100 ") and sentence in said.err
    assert len(said.err.splitlines()) == 1
    assert run([*words, "--json"]) == 2
    said = capsys.readouterr()
    assert said.err == ""
    assert json.loads(said.out)["error"]["code"] == "SKY-100"


def test_an_error_is_one_sentence_with_its_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shell = Shell(tmp_path / "none", capsys)
    said = shell("whoami", code=1)
    assert said.out == ""
    assert said.err.startswith("SKY-701 There is no agent in ")
    assert said.err.endswith("or name its --home.\n")
    error = shell.json("whoami", code=1)["error"]
    assert error["code"] == "SKY-701" and set(error) == {"code", "message", "advice"}


def test_a_defect_is_one_line_and_its_traceback_is_in_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "log").mkdir()
    with LastResort(Cli(tmp_path)) as last:
        raise ZeroDivisionError("a \x1bdefect")
    assert last.failed
    said = capsys.readouterr()
    log = tmp_path / "log" / "errors.log"
    assert (
        said.err == f"SKY-500 Something unexpected happened: ZeroDivisionError. Its details are in {log}.\n"
    )
    assert "ZeroDivisionError: a" in log.read_text()
    assert log.stat().st_mode & 0o077 == 0
    with LastResort(Cli(tmp_path / "absent", json=True)):
        raise ZeroDivisionError
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "SKY-500"
    kept = Path(error["message"].partition("details are in ")[2])
    assert "ZeroDivisionError" in kept.read_text()
    kept.unlink()
    kept.parent.rmdir()


def test_an_interruption_is_no_defect() -> None:
    with pytest.raises(KeyboardInterrupt), LastResort(Cli(Path("/nowhere"))):
        raise KeyboardInterrupt


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    from skyswarm import __version__

    assert run(["version"]) == run(["--version"]) == run(["version", "--quiet"]) == 0
    assert capsys.readouterr().out.splitlines() == [f"skyswarm {__version__}"] * 2 + [__version__]
    assert run(["version", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"version": __version__}
