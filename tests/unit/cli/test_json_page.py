"""`cli/json.md` is what programs rely on: each example's keys are those that the command prints, no more, no fewer."""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from skyswarm.cli.frame import print_json
from skyswarm.cli.main import run
from tests.support.cli import Shell, free_port

PAGE = resources.files("skyswarm.cli").joinpath("json.md").read_text("utf-8")
EXAMPLES = {
    name: json.loads(text) for name, text in re.findall(r"```json ([a-z-]+)\n(.*?)```", PAGE, re.DOTALL)
}
BOB, REPO = "b" * 64, "d" * 64


def shape(value: Any) -> Any:
    """Keys all the way down; a list is what its first item is, everything else is nothing."""
    if isinstance(value, dict):
        return {key: shape(one) for key, one in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [shape(value[0])]
    return None


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the commands print, by the names on the page; run once."""
    place = tmp_path_factory.mktemp("json")
    (place / "files").mkdir()
    (place / "files" / "a").write_bytes(b"alpha")
    (place / "files" / "out").symlink_to("/etc/hostname")
    url = f"http://127.0.0.1:{free_port()}/a/{REPO}"
    script = {
        "init": ["init", "--name", "alice"],
        "version": ["version"],
        "whoami": ["whoami"],
        "people-add": ["people", "add", "bob", BOB],
        "share": ["share", str(place / "files"), "--to", "bob"],
        "people": ["people"],
        "people-why": ["people", "why", "bob"],
        "vouch": ["vouch", "bob"],
        "revoke": ["revoke", "bob"],
        "shares": ["shares"],
        "unshare": ["unshare", "files"],
        "ls": ["ls"],
        "repo-add": ["repo", "add", url],
        "repo-ls": ["repo", "ls"],
        "repo-remove": ["repo", "remove", url],
        "storage-add": ["storage", "add", "more", str(place)],
        "storage-ls": ["storage", "ls"],
        "storage-remove": ["storage", "remove", "more"],
        "status": ["status"],
        "doctor": ["doctor"],
        "rotate-key": ["rotate-key"],
        "retire": ["retire", "--yes"],
    }
    import contextlib
    import io

    out: dict[str, Any] = {}
    for name, words in script.items():
        stream = io.StringIO()
        with contextlib.redirect_stdout(stream):
            assert run(["--home", str(place / "home"), "--json", *words]) == 0, (name, stream.getvalue())
        (line,) = stream.getvalue().splitlines()
        out[name] = json.loads(line)
    return out


ELSEWHERE = {"error", "ls-one", "receipts", "recover"}
"""Examples that are compared in other tests: below, in test_recover.py, and with two real agents in tests/e2e."""


@pytest.mark.parametrize("name", sorted(set(EXAMPLES) - ELSEWHERE))
def test_the_keys_are_those_of_the_page(name: str, said: dict[str, Any]) -> None:
    printed = said[name]
    if name == "repo-ls":  # here the repository is dead; there it is well
        printed["repos"][0]["error"] = None
    assert shape(printed) == shape(EXAMPLES[name])


def test_every_command_that_was_run_is_on_the_page(said: dict[str, Any]) -> None:
    assert set(said) == set(EXAMPLES) - ELSEWHERE


def test_an_error_has_the_keys_of_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shape(Shell(tmp_path, capsys).json("whoami", code=1)) == shape(EXAMPLES["error"])


def test_json_is_one_line_in_every_locale(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"name": "zo\u00eb\n"})
    assert capsys.readouterr().out == '{"name":"zo\\u00eb\\n"}\n'
