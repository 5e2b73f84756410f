"""The page on threats: each line of the list names the tests that show what holds, and those tests are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "shared/spec/threats.md").read_text().splitlines()
    if line.startswith("| ")
][2:]
# The sixteen that the design demands: words of the name of a test in tests/attack, each.
DEMANDED = [
    "forged_vouch",
    "replayed_request",
    "body_swapped",
    "withheld_revocation",
    "forked_log",
    "rolled_back_log",
    "sybil_flood_verify_count_stays_flat",
    "stolen_key_soft",
    "stolen_key_hard",
    "backdated",
    "repository_shut_down",
    "clock_skew",
    "cyclic_vouches",
    "mutual_distrust",
    "huge_graph",
    "confused_deputy_statement",
    "confused_deputy_request",
    "sequence_fast_forward",
    "equivocation",
]


def names_below(folder: str) -> set[str]:
    """The names of the tests that pytest would collect there, without `test_`; those skipped by a mark are not."""
    trees = (ast.parse(path.read_text()) for path in sorted((ROOT / "tests" / folder).rglob("test_*.py")))
    return {
        node.name.removeprefix("test_")
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        and node.name.startswith("test_")
        and not any(
            "skip" in ast.unparse(mark) or "xfail" in ast.unparse(mark) for mark in node.decorator_list
        )
    }


ALL = names_below("")
ATTACKS = names_below("attack")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_every_line_of_the_list_names_tests_that_are_there(row: list[str]) -> None:
    attack, holds, shown = row
    assert attack
    assert holds
    names = re.findall(r"`(\w+)`", shown)
    assert names
    assert set(names) <= ALL


@pytest.mark.parametrize("words", DEMANDED)
def test_every_attack_that_the_design_demands_has_a_test_with_its_name(words: str) -> None:
    assert any(words in name for name in ATTACKS)


def test_the_list_is_whole() -> None:
    assert len(ROWS) >= 34
    named = {name for row in ROWS for name in re.findall(r"`(\w+)`", row[2])}
    assert all(any(words in name for name in named) for words in DEMANDED)
