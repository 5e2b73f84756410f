"""import-linter's contracts hold, and each of them fails when it is broken: shown on a copy with one line added."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.tree import ROOT

LINT = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-logo"]


def _lint(root: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*LINT, "--config", str(root / "pyproject.toml"), "--cache-dir", str(cache)],
        cwd=root,
        env={
            **os.environ,
            "PYTHONPATH": f"{root / 'shared'}{os.pathsep}{root}",
            "NO_COLOR": "1",
            "COLUMNS": "200",
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_contracts_hold(tmp_path: Path) -> None:
    done = _lint(ROOT, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


BREAKS = {
    "a room imports one above it": ("messages", "import skyswarm.usecases", "run one way"),
    "pieces import messages": ("pieces", "import skyswarm.messages", "run one way"),
    "a driver imports the command line": ("drivers/memory", "import skyswarm.cli", "run one way"),
    "a new room without a place": ("attic", "", "run one way"),
    "the core imports os": ("trust", "import os", "The core is given"),
    "the core imports a part of the network": ("messages", "import http.client", "The core is given"),
    "the core imports the clock": ("usecases", "from time import time", "The core is given"),
    "one driver imports another": ("drivers/memory", "import skyswarm.drivers.local", "Drivers know neither"),
    "a driver imports what prints": ("drivers/local", "import rich", "no command line"),
    "the package imports a front door": ("edge", "import functions", "no front door"),
}


@pytest.mark.parametrize(("room", "line", "contract"), BREAKS.values(), ids=BREAKS)
def test_a_broken_contract_is_seen(tmp_path: Path, room: str, line: str, contract: str) -> None:
    copy = tmp_path / "copy"
    leave = shutil.ignore_patterns("__pycache__", "spec", "decisions")
    for part in ("shared", "functions"):
        shutil.copytree(ROOT / part, copy / part, ignore=leave)
    shutil.copy(ROOT / "pyproject.toml", copy)
    folder = copy / "shared" / "skyswarm" / room
    folder.mkdir(exist_ok=True)
    (folder / "__init__.py").touch()
    (folder / "broken_on_purpose.py").write_text(f"{line}\n", "utf-8")
    done = _lint(copy, tmp_path / "cache")
    assert done.returncode == 1, done.stdout + done.stderr
    broken = [row for row in done.stdout.splitlines() if row.endswith("BROKEN")]
    assert any(contract in row for row in broken), done.stdout
