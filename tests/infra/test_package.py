"""The wheel, the lock files and the Makefile say what pyproject.toml says."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import skyswarm
from tests.support.tree import ROOT, python_files, text

PROJECT = tomllib.loads(text(Path("pyproject.toml")))
LOCKS = {
    name: text(Path(f"requirements{name}.lock")) for name in ("", "-dev", "-bench", "-emulators", "-deploy")
}


def _pins(lock: str) -> set[str]:
    """`name==version ; marker` of each entry."""
    return {line.rstrip("\\ ").strip() for line in lock.splitlines() if re.match(r"[a-z0-9]", line)}


def _name(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower().replace("_", "-")


# ---- lock files ------------------------------------------------------------------------------
@pytest.mark.parametrize("name", LOCKS)
def test_every_entry_of_a_lock_has_a_version_and_a_hash_and_names_no_place(name: str) -> None:
    entries = re.split(r"\n(?=[a-z0-9])", LOCKS[name].strip())
    assert len(entries) == len(_pins(LOCKS[name])) > 15
    for entry in entries:
        assert re.match(r"[a-z0-9-]+==\S+", entry), entry
        assert "--hash=sha256:" in entry, entry
    assert "://" not in LOCKS[name]
    assert "--index" not in LOCKS[name]


def test_the_larger_locks_hold_the_smaller_ones_exactly() -> None:
    assert _pins(LOCKS[""]) < _pins(LOCKS["-dev"]) < _pins(LOCKS["-bench"])


def test_what_pyproject_asks_for_is_locked() -> None:
    groups = PROJECT["dependency-groups"]
    extras = [item for extra in PROJECT["project"]["optional-dependencies"].values() for item in extra]
    wanted = {
        "": PROJECT["project"]["dependencies"],
        "-dev": [*groups["dev"], *extras],
        "-bench": groups["bench"],
    }
    for lock, requirements in wanted.items():
        locked = {_name(pin) for pin in _pins(LOCKS[lock])}
        assert {_name(item) for item in requirements} <= locked, f"run: make lock ({lock})"


def test_what_only_tests_need_is_not_in_the_lock_that_is_installed() -> None:
    locked = {_name(pin) for pin in _pins(LOCKS[""])}
    assert not locked & {_name(item) for item in PROJECT["dependency-groups"]["dev"]}


# ---- the wheel -------------------------------------------------------------------------------
def test_the_wheel_holds_the_package_and_nothing_else(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name == f"skyswarm-{skyswarm.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        entry = archive.read(f"skyswarm-{skyswarm.__version__}.dist-info/entry_points.txt").decode()
    assert {name.split("/")[0] for name in names} == {
        "skyswarm",
        f"skyswarm-{skyswarm.__version__}.dist-info",
    }
    sources = {str(path.relative_to("shared")) for path in python_files("shared/skyswarm")}
    assert {name for name in names if name.endswith(".py")} == sources
    assert "skyswarm/py.typed" in names
    assert "skyswarm = skyswarm.cli.main:main" in entry


def test_the_changelog_knows_this_version() -> None:
    assert re.search(
        rf"^## {re.escape(skyswarm.__version__)}\b", text(Path("shared/CHANGELOG.md")), re.MULTILINE
    )


# ---- make ------------------------------------------------------------------------------------
def test_make_alone_lists_every_habit() -> None:
    listed = subprocess.run(["make"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    makefile = text(Path("Makefile"))
    targets = set(re.findall(r"^([a-z0-9-]+):(?!=)", makefile, re.MULTILINE)) - {
        "env-run",
        "env-dev",
        "env-bench",
    }
    assert targets == set(re.findall(r"^  make ([a-z0-9-]+) ", listed, re.MULTILINE))
    phony = {name for line in re.findall(r"^\.PHONY: (.+)$", makefile, re.MULTILINE) for name in line.split()}
    assert targets <= phony


def test_the_pages_name_only_habits_that_exist() -> None:
    makefile = text(Path("Makefile"))
    targets = set(re.findall(r"^([a-z0-9-]+):(?!=)", makefile, re.MULTILINE))
    for page in [*ROOT.glob("*.md"), *ROOT.glob("*/*.md"), *ROOT.glob("shared/*/*.md")]:
        named = set(re.findall(r"(?:`|^\s*)make ([a-z0-9-]+)", page.read_text("utf-8"), re.MULTILINE))
        assert named <= targets, f"{page.relative_to(ROOT)} names {sorted(named - targets)}"
