"""The error tree and `shared/spec/errors.md` say the same, both ways, and the wire form is what the spec shows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from skyswarm import errors
from skyswarm.errors import SkyError

ROOT = Path(__file__).resolve().parents[2]
SPEC = (ROOT / "shared/spec/errors.md").read_text("utf-8")
FAMILIES = {
    "1": errors.InputError,
    "2": errors.TrustError,
    "3": errors.TransferError,
    "4": errors.LimitError,
    "5": errors.BackendError,
    "6": errors.RepositoryError,
    "7": errors.SetupError,
}


def _below(parent: type[SkyError]) -> Iterator[type[SkyError]]:
    for child in parent.__subclasses__():
        if child.__module__ == "skyswarm.errors":
            yield child
            yield from _below(child)


ALL = sorted(_below(SkyError), key=lambda error: error.__name__)


def test_the_table_and_the_tree_agree_both_ways() -> None:
    rows = re.findall(r"^\| (SKY-\d{3}) \| (\w+) \| (\d{3}) \| (yes|no) \| (.+) \|$", SPEC, re.MULTILINE)
    written = {(code, name, int(status), retry == "yes", when) for code, name, status, retry, when in rows}
    assert written == {
        (error.code, error.__name__, error.status, error.retryable, str(error.__doc__).rstrip("."))
        for error in ALL
    }
    assert len(rows) == len(ALL), "a row is given twice"
    assert [row[0] for row in rows] == sorted(row[0] for row in rows), "rows are in the order of their codes"


def test_every_class_has_a_code_of_its_own() -> None:
    codes = [error.code for error in ALL]
    assert sorted(codes) == sorted(set(codes))
    assert all("code" in vars(error) for error in ALL), "a code that is only inherited is the parent's"


def test_every_code_lies_in_the_family_of_its_class() -> None:
    for error in ALL:
        assert re.fullmatch(r"SKY-[1-7]\d\d", error.code), error
        assert issubclass(error, FAMILIES[error.code[4]]), error
        assert 400 <= error.status <= 599, error


def test_every_code_named_in_the_sources_and_documents_exists() -> None:
    known = {error.code for error in ALL}
    for folder, pattern in (("shared", "**/*.md"), ("shared", "**/*.py"), ("functions", "**/*.py")):
        for path in (ROOT / folder).glob(pattern):
            named = set(re.findall(r"SKY-\d{3}\b", path.read_text("utf-8")))
            assert named <= known, f"{path.relative_to(ROOT)} names {sorted(named - known)}"


def test_the_bare_base_is_raised_nowhere() -> None:
    for path in (ROOT / "shared/skyswarm").rglob("*.py"):
        assert not re.search(r"raise SkyError\b", path.read_text("utf-8")), path.relative_to(ROOT)


def test_the_examples_are_what_the_classes_make() -> None:
    by_code = {error.code: error for error in ALL}
    examples = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", SPEC, re.DOTALL)]
    assert examples
    for example in examples:
        said = example["error"]
        made = by_code[said["code"]](
            said["message"], advice=said.get("advice", ""), lost=said.get("lost", "")
        )
        assert {"error": made.to_json()} == example
    line = re.search(r"^SKY-320 .*$", SPEC, re.MULTILINE)
    assert line
    made = errors.PieceMismatchError(
        "Piece 44 from bob did not match its hash.", lost="Discarded and fetched from carol. $0.003 lost."
    )
    assert str(made) == line[0]


@pytest.mark.parametrize("error", ALL, ids=lambda error: error.__name__)
def test_an_error_says_its_code_first_and_leaves_out_what_it_has_not(error: type[SkyError]) -> None:
    bare = error("It did not work.")
    assert str(bare) == f"{error.code} It did not work."
    assert bare.to_json() == {"code": error.code, "message": "It did not work."}
    full = error("It did not work.", advice="Try it later.", lost="$0.01 lost.")
    assert str(full) == f"{error.code} It did not work. $0.01 lost. Try it later."
    assert full.to_json() == {**bare.to_json(), "advice": "Try it later.", "lost": "$0.01 lost."}
