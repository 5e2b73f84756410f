"""The bootstrap on a small checkout of its own: real environments, an empty lock file, no network.

That it works on a bare system is shown by `.ci/run` there; here is what it does to a folder that is finished, half
finished, moved, or wanted by two at once.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.tree import ROOT

ENVIRONMENT = {**os.environ, "PIP_NO_INDEX": "1", "PYTHON": sys.executable}
LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-bench.lock")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The bootstrap and pyproject as they are, lock files that name nothing, one module."""
    root = tmp_path / "some where" / "skyswarm"  # a space, as on many desktops
    (root / "infra").mkdir(parents=True)
    for name in ("infra/bootstrap.sh", "infra/bootstrap.py", "pyproject.toml"):
        shutil.copy(ROOT / name, root / name)
    for name in LOCKS:
        (root / name).write_text("# nothing\n", "utf-8")
    (root / "shared/skyswarm/cli").mkdir(parents=True)
    (root / "shared/skyswarm/cli/main.py").write_text(
        "import sys\ndef main():\n    print('started with', sys.argv[1:])\n    return 7\n", "utf-8"
    )
    return root


def _run(root: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [root / "infra/bootstrap.sh", *(arguments or ("run",))],
        env={**ENVIRONMENT, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def test_it_builds_once_and_then_does_nothing(checkout: Path) -> None:
    first = _run(checkout)
    assert (first.returncode, first.stderr.count("Setting up")) == (0, 1), first.stderr
    again = _run(checkout, PATH="/usr/bin:/bin")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")

    started = subprocess.run(
        [checkout / ".venv/bin/skyswarm", "a b", "c"], capture_output=True, text=True, check=False
    )
    assert (started.returncode, started.stdout) == (7, "started with ['a b', 'c']\n"), started.stderr
    assert not list(checkout.glob("*.egg-info"))


def test_a_level_holds_the_ones_before_it_and_a_change_is_seen(checkout: Path) -> None:
    assert "(dev)" in _run(checkout, "dev").stderr
    assert _run(checkout, "run").stderr == ""
    (checkout / "requirements-dev.lock").write_text("# changed\n", "utf-8")
    assert _run(checkout, "run").stderr == ""
    assert "(dev)" in _run(checkout, "dev").stderr


def test_what_was_cut_off_or_moved_starts_over(checkout: Path) -> None:
    assert _run(checkout).returncode == 0
    leftover = checkout / ".venv" / "leftover"
    for spoil in (_say_cut_off, _say_moved):
        leftover.touch()
        spoil(checkout)
        assert _run(checkout).returncode == 0
        assert not leftover.exists()
        assert not (checkout / ".venv/.begun").exists()


def _say_cut_off(checkout: Path) -> None:
    (checkout / ".venv/.begun").touch()
    (checkout / ".venv/.stamp").unlink()


def _say_moved(checkout: Path) -> None:
    stamp = checkout / ".venv/.stamp"
    stamp.write_text(json.dumps({**json.loads(stamp.read_text("utf-8")), "root": "/elsewhere"}), "utf-8")


def test_of_two_at_once_one_builds_and_the_other_waits(checkout: Path) -> None:
    command = [checkout / "infra/bootstrap.sh", "run"]
    both = [subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=100)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sum("Setting up" in text for text in said) == 1, said


def test_a_failed_installation_is_not_taken_for_a_finished_one(checkout: Path) -> None:
    (checkout / "requirements.lock").write_text(f"no-such-package==1 --hash=sha256:{'0' * 64}\n", "utf-8")
    failed = _run(checkout)
    assert failed.returncode == 1
    assert "did not arrive" in failed.stderr
    assert _run(checkout).returncode == 1
    (checkout / "requirements.lock").write_text("# mended\n", "utf-8")
    assert _run(checkout).returncode == 0


def test_a_package_without_its_hash_is_refused(checkout: Path) -> None:
    (checkout / "requirements.lock").write_text("rfc8785==0.1.4\n", "utf-8")
    failed = _run(checkout)
    assert failed.returncode == 1
    assert "hash" in failed.stderr.lower()


def test_no_new_enough_python_ends_in_a_sentence(checkout: Path, tmp_path: Path) -> None:
    path = tmp_path / "bin"
    path.mkdir()
    for tool in ("sh", "dirname"):
        (path / tool).symlink_to(shutil.which(tool) or "")
    old = path / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.2" && exit 0\nexit 1\n', "utf-8")
    old.chmod(0o755)
    done = _run(checkout, PATH=str(path), PYTHON="")
    assert done.returncode == 1
    assert "needs Python 3.11" in done.stderr
    assert "Python 3.9.2" in done.stderr
