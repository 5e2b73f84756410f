"""The rules of the house, executed: what may lie where, be named how, be how long, and import what.

The rules that a tool can hold are the tool's (ruff, mypy, import-linter; see pyproject.toml). Here are the others,
and the proof that import-linter's contracts do fail when they are broken: `tests/infra/test_import_rules.py`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.tree import ROOT, files, ignored, python_files, syntax, text

PACKAGE = "shared/skyswarm"
CORE = [f"{PACKAGE}/{room}" for room in ("pieces", "messages", "trust", "ports", "usecases", "errors.py")]
TEXTS = {".py", ".md", ".toml", ".json", ".sh", ".lock", ".yml", ".yaml", ".txt", ".cfg", ""}
VECTORS = "tests/vectors"

TOP_LEVEL = {"pyproject.toml", "functions", "infra", "shared", "tests", "Makefile", "README.md", "LICENSE"}
FORBIDDEN_NAMES = {"constructs", "google", "platform", "types", "secrets", "lambda", "utils"}
MAX_LINES = 400
MAX_TEST_LINES = 600  # a table of cases may be long
MAX_PAGE = 200

SKIPS_ALLOWED: dict[str, str] = {
    "tests/unit/drivers/test_sqlite_database.py": "only root may mount a small disk; a bounded file shows the same",
}
"""Test files that may skip, each with its reason. What is listed here is said aloud by `pytest -ra`."""


def _paths(paths: list[Path]) -> dict[str, Path]:
    return {str(path): path for path in paths}


SOURCES = _paths(python_files(PACKAGE, "functions", "infra", "tests"))
PACKAGED = _paths(python_files(PACKAGE, "functions", "infra"))
CORE_SOURCES = _paths(python_files(*CORE))
TESTS = _paths(python_files("tests"))
PAGES = _paths([path for path in files() if path.suffix == ".md"])


# ---- what lies where -------------------------------------------------------------------------
def test_the_top_level_is_as_the_style_page_draws_it() -> None:
    here = {path.name for path in ROOT.iterdir() if path.name not in ignored()}
    here = {name for name in here if not name.startswith(".") and not name.endswith(".lock")}
    assert here <= TOP_LEVEL


def test_no_name_is_one_that_shadows_a_module_or_says_nothing() -> None:
    for path in files():
        assert not {Path(part).stem for part in path.parts} & FORBIDDEN_NAMES, path


def test_the_package_is_the_only_import_name_under_shared() -> None:
    assert {path.parts[1] for path in python_files("shared")} == {"skyswarm"}


@pytest.mark.parametrize("path", SOURCES.values(), ids=SOURCES)
def test_a_source_file_fits_a_head(path: Path) -> None:
    lines = len(text(path).splitlines())
    allowed = MAX_TEST_LINES if path.is_relative_to("tests") else MAX_LINES
    assert lines <= allowed, "split it: one file, one matter"


@pytest.mark.parametrize("path", PACKAGED.values(), ids=PACKAGED)
def test_a_file_opens_with_its_law(path: Path) -> None:
    assert ast.get_docstring(syntax(path)), "say what lives here, and what may not"


@pytest.mark.parametrize("path", [p for p in PAGES.values() if p.is_relative_to("shared")], ids=str)
def test_a_page_is_short(path: Path) -> None:
    if path.name != "CHANGELOG.md":
        lines = len(text(path).splitlines())
        assert lines < MAX_PAGE, "split it, or say less"


# ---- what is written -------------------------------------------------------------------------
def test_nothing_names_a_machine_or_a_package_registry() -> None:
    # Put together from parts, so that this file does not find itself.
    places = ["/wo" + "rk/", "/ro" + "ot/", "py" + "pi.org", "python" + "hosted.org", "npm" + "js.org"]
    for path in files():
        if path.suffix in TEXTS and not path.is_relative_to(VECTORS):
            found = [place for place in places if place in text(path)]
            assert not found, f"{path} names {found}"


@pytest.mark.parametrize("path", SOURCES.values(), ids=SOURCES)
def test_nothing_is_left_for_later_in_the_sources(path: Path) -> None:
    marks = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "X" + "XX", "HA" + "CK")) + r")\b")
    assert not marks.search(text(path))


@pytest.mark.parametrize("path", PAGES.values(), ids=PAGES)
def test_links_between_pages_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\((?!https?://|mailto:|#)([^)\s#]+)", text(path)):
        assert (ROOT / path.parent / target).exists(), f"{path} → {target}"


# ---- who imports what ------------------------------------------------------------------------
def _imports(tree: ast.Module) -> Iterator[str]:
    """Full names, so that `from urllib import request` and `import urllib.request` are the same."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", CORE_SOURCES.values(), ids=CORE_SOURCES)
def test_the_core_takes_nothing_from_the_machine(path: Path) -> None:
    """What import-linter cannot say: parts of a package, built-ins, and hidden clocks and dice."""
    tree = syntax(path)
    for name in _imports(tree):
        root, _, rest = name.partition(".")
        assert root != "urllib" or rest.startswith("parse"), name
        assert root != "pathlib" or rest.startswith("Pure"), name
        assert not name.startswith("nacl.utils"), name
        assert not name.startswith("concurrent.futures.ProcessPool"), name
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Name):
                assert called.id not in {"open", "print", "input", "breakpoint"}, f"{path}:{node.lineno}"
            elif isinstance(called, ast.Attribute):
                hidden = {"now", "utcnow", "today", "monotonic", "perf_counter", "urandom", "token_bytes"}
                owner = called.value.id if isinstance(called.value, ast.Name) else ""
                clock = called.attr in hidden and owner in {"datetime", "date", "time", "os"}
                assert not clock, f"{path}:{node.lineno}"
                assert (owner, called.attr) != ("SigningKey", "generate"), f"{path}:{node.lineno}"


@pytest.mark.parametrize("path", SOURCES.values(), ids=SOURCES)
def test_shared_is_a_folder_and_not_a_package(path: Path) -> None:
    roots = {name.partition(".")[0] for name in _imports(syntax(path))}
    assert "shared" not in roots, "two copies of one class would not compare equal"
    assert str(path).startswith("tests/") or "tests" not in roots


# ---- tests -----------------------------------------------------------------------------------
@pytest.mark.parametrize("path", TESTS.values(), ids=TESTS)
def test_a_test_uses_the_real_thing_and_does_not_skip(path: Path) -> None:
    names = set(_imports(syntax(path)))
    assert not any(name.startswith(("unittest.mock", "mock.")) for name in names)
    skips = re.findall(r"\b(?:pytest\.(?:skip|xfail|importorskip)|mark\.(?:skip|skipif|xfail))\b", text(path))
    assert not skips or str(path) in SKIPS_ALLOWED or path.name == Path(__file__).name, skips


@pytest.mark.parametrize("path", TESTS.values(), ids=TESTS)
def test_a_test_waits_for_something_and_patches_nothing(path: Path) -> None:
    """Sleeping is for the polling helpers in `tests/support` and for benches; patching is for nobody."""
    for node in ast.walk(syntax(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
            place = f"{path}:{node.lineno}"
            sleeps = node.func.attr == "sleep" and owner in {"time", "asyncio"}
            assert not sleeps or path.parts[1] in {"support", "bench"}, f"{place} poll with a deadline"
            assert (owner, node.func.attr) != ("monkeypatch", "setattr"), place


def test_every_listed_skip_is_still_needed() -> None:
    for name in SKIPS_ALLOWED:
        assert "skip" in text(Path(name)), f"{name} skips no more: take it off the list"


def test_test_files_have_different_names() -> None:
    names = [path.name for path in TESTS.values() if path.name.startswith("test_")]
    assert sorted(names) == sorted(set(names))
    assert not [path for path in TESTS.values() if path.name == "__init__.py"]
