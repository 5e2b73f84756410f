"""The demo refuses what it cannot use before it makes anything; its whole story is run by `make demo`."""

from __future__ import annotations

from pathlib import Path

import pytest

from skyswarm.cli.frame import Cli
from skyswarm.cli.main import run
from skyswarm.cli.stage import Stage


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("--file", "{place}/nonexistent"), 2, "SKY-100 There is no "),
        (("--file", "/dev/null"), 2, "neither an ordinary file nor a folder"),
        (("--file", "{place}/empty"), 2, "is empty"),
        (("--file", "{place}"), 2, "holds the demo's own folder"),
        (("--size", "0"), 2, "0 bytes"),
        (("--size", "lots"), 2, "'lots' is not a size"),
        (("--size", "9000T"), 1, "are free"),
        (("--dir", "{place}/full"), 1, "is not empty"),
        (("--dir", "{place}/empty/in"), 1, "is not a folder"),
    ],
)
def test_it_refuses_before_it_makes_anything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int, sentence: str
) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    before = sorted(tmp_path.rglob("*"))
    given = [word.format(place=tmp_path) for word in words]
    folder = [] if "--dir" in given else ["--dir", str(tmp_path / "demo" / "now")]
    assert run(["demo", *folder, *given]) == code
    said = capsys.readouterr()
    assert sentence in said.err and said.out == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_ids_are_told_by_the_names_of_the_stage(tmp_path: Path) -> None:
    stage = Stage(Cli(tmp_path), tmp_path, {"carol": "ca" * 32, "bob": "b0" * 32})
    assert stage.named("cacacaca has revoked " + "b0" * 32) == "carol has revoked bob"
    assert stage.named("deadbeef is unknown") == "deadbeef is unknown"
