"""The catalog says what the code does: its doors are the API's actions, its queues the worker's kinds of task."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from infra.bundles import requirements
from infra.catalog import CATALOG, Need, Role, Row
from skyswarm.edge.api import ACTIONS
from skyswarm.usecases import work
from tests.support.tree import ROOT, syntax

ROWS = {row.name: row for row in CATALOG}
DOORS = [row for row in CATALOG if row.is_door]
TO_COME = {"publish"}
"""Kinds of task that have a place in the catalog before they have a use case in `work.py`."""


def test_every_row_has_a_folder_and_every_folder_a_row() -> None:
    folders = {path.parent.name for path in (ROOT / "functions").glob("*/__init__.py")}
    assert folders == set(ROWS)
    assert len(ROWS) == len(CATALOG)


def test_the_catalog_needs_nothing_but_the_standard_library_and_names_no_cloud() -> None:
    tree = syntax(Path("infra/catalog.py"))
    roots = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert roots <= sys.stdlib_module_names
    words = (ROOT / "infra/catalog.py").read_text("utf-8").lower().replace("aws-lambda-powertools", "")
    for name in ("lambda", "dynamo", "s3:", "sqs", "firestore", "pub/sub", "boto"):
        assert name not in words


def test_a_repository_serves_every_action_but_an_agents_own() -> None:
    served = {(route.method, route.action) for row in DOORS for route in row.routes}
    assert served == set(ACTIONS)
    at_repository = _served("repository")
    assert set(ACTIONS) - at_repository == {("POST", "fetch_piece"), ("POST", "receipt")}


def test_an_agent_serves_what_is_not_for_repositories_only() -> None:
    assert _served("agent") == {("POST", name) for name in ("fetch_piece", "vouch", "revoke", "receipt")} | {
        ("GET", "status")
    }


def _served(role: Role) -> set[tuple[str, str]]:
    rows = [row for row in DOORS if role in row.roles]
    routes = [(route.method, route.action) for row in rows for route in row.routes_as(role)]
    assert len(routes) == len(set(routes)), "one function answers"
    return set(routes)


def test_every_kind_of_task_has_exactly_one_queue() -> None:
    queued = [kind for row in CATALOG for kind in row.kinds]
    assert len(queued) == len(set(queued))
    assert set(queued) - TO_COME == _kinds_of_the_worker()


def _kinds_of_the_worker() -> set[str]:
    """The names in `_run`'s table, read from its source: it is a local of that function."""
    tree = ast.parse(Path(work.__file__).read_text("utf-8"))
    run = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "_run")
    table = next(node for node in ast.walk(run) if isinstance(node, ast.Dict))
    return {str(key.value) for key in table.keys if isinstance(key, ast.Constant)}


@pytest.mark.parametrize("row", CATALOG, ids=ROWS)
def test_a_row_is_possible(row: Row) -> None:
    assert 128 <= row.memory <= 3008
    assert row.timeout <= (29 if row.is_door else 900), "what the gateway, or a function, has at most"
    assert bool(row.routes) == row.is_door
    assert bool(row.kinds) == (row.trigger in ("moves", "tasks"))
    assert not row.on_agent or "agent" in row.roles
    assert not row.on_repository or "repository" in row.roles
    for role in row.roles:
        needs = row.needs_as(role)
        assert len(needs) == len(set(needs))
    assert requirements(row.packages).count("==") == len(row.packages), "all of them are locked"


@pytest.mark.parametrize("row", DOORS, ids=lambda row: str(row.name))
def test_a_door_can_do_little(row: Row) -> None:
    """What the internet reaches neither changes files, nor keys, nor who may read, and makes no requests of its own."""
    never: set[Need] = {
        "files write", "files share", "files of others", "inbox write", "objects write", "key make", "key rotate",
        "deployment write", "network out",
    }  # fmt: skip
    for role in row.roles:
        assert not never & set(row.needs_as(role))


def test_one_function_says_which_agent_lives_here() -> None:
    assert [row.name for row in CATALOG if "deployment write" in row.needs] == ["setup"]


def test_who_moves_bytes_carries_the_checksums_and_a_door_does_not() -> None:
    assert {row.name for row in CATALOG if "awscrt" in row.packages} == {"move", "work"}
