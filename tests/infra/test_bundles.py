"""The bundles: equal bytes each time, small, compiled for their Python, and enough to run where nothing else is."""

from __future__ import annotations

import _imp
import importlib.util
import os
import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path

import pytest

from infra.bundles import DEPLOY, HOST, LAMBDA, Bundle, build, entry, fetched, handler, own_files, reach
from infra.catalog import CATALOG, SIGNED, Row
from tests.support.tree import ROOT

pytestmark = pytest.mark.deploy

ROWS = {row.name: row for row in CATALOG}
NOT_YET = {"receipt", "read", "drop", "move", "work", "sweep", "setup"}
"""Functions whose handler for AWS nobody has written: their bundles hold the packages, and no code of ours."""

BUDGET = 5 * 1024 * 1024
"""Bytes of packages that a door may carry, unpacked: its cold start reads them."""
OF_THE_RUNTIME = frozenset({"boto3", "botocore"})
PROVIDED = {
    "pynacl": "nacl", "cffi": "_cffi_backend", "rfc8785": "rfc8785", "awscrt": "awscrt",
    "aws-lambda-powertools": "aws_lambda_powertools", "jmespath": "jmespath", "typing-extensions": "typing_extensions",
}  # fmt: skip
ELSEWHERE = frozenset({"awscrt"})
"""Imported inside functions that a row without it never calls: checksums of pieces."""
POWERTOOLS = [
    f"aws_lambda_powertools.{part}" for part in ("logging", "metrics", "utilities.batch", "utilities.typing")
]
MAGIC_313 = (3571).to_bytes(2, "little") + b"\r\n"
ARM = 0xB7
IMPORT_ALL = """
import importlib, sys
sys.path[:] = [path for path in sys.path if "site-packages" not in path and path != ""] + sys.argv[1].split(":")
for name in sys.argv[2:]:
    importlib.import_module(name)
print(len(sys.argv[2:]))
"""


@pytest.fixture(scope="module", autouse=True)
def _environment() -> None:
    assert (DEPLOY / "bin" / "uv").exists(), "the environment is missing: run `make env-deploy`"


@cache
def _built() -> dict[str, Bundle]:
    """As `make synth` uses them."""
    return {bundle.name: bundle for bundle in build(CATALOG)}


def _files(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_missing_handlers_are_the_listed_ones() -> None:
    assert {name for name, bundle in _built().items() if not bundle.complete} == NOT_YET


@pytest.mark.parametrize("target", [LAMBDA, HOST], ids=lambda target: str(target.name))
def test_built_twice_the_bytes_are_equal(tmp_path: Path, target: object) -> None:
    """The second time by another process, with other hashes of strings, another zone, language and umask."""
    assert target in (LAMBDA, HOST)
    names = ["read", "setup"]
    rows = [ROWS[name] for name in names]
    first = build(rows, LAMBDA if target == LAMBDA else HOST, tmp_path / "first")
    command = [sys.executable, "-m", "infra.bundles", "--into", str(tmp_path / "second"), *reversed(names)]
    other = {**os.environ, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "LC_ALL": "C"}
    done = subprocess.run(
        [*command, *(["--host"] if target == HOST else [])],
        cwd=ROOT,
        env=other,
        umask=0o077,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "second").iterdir()) == sorted(
        one.path.name for one in first
    )
    for bundle in first:
        assert bundle.path.read_bytes() == (tmp_path / "second" / bundle.path.name).read_bytes()


def test_a_changed_row_is_another_bundle(tmp_path: Path) -> None:
    from dataclasses import replace

    row = replace(ROWS["read"], packages=(*SIGNED, "jmespath"))
    (changed,) = build([row], HOST, tmp_path)
    (same,) = build([ROWS["read"]], HOST, tmp_path)
    assert changed.path != same.path
    assert "jmespath/__init__.py" in _files(changed.path)
    assert "jmespath/__init__.py" not in _files(same.path)


@pytest.mark.parametrize("row", CATALOG, ids=ROWS)
def test_a_bundle_holds_what_it_reaches_compiled_and_nothing_else(row: Row) -> None:
    files = _files(_built()[row.name].path)
    own = {
        name for name in files if name.startswith(("skyswarm/", "functions/")) and not name.endswith(".pyc")
    }
    assert own == set(own_files(row))
    assert not {name for name in own if name.startswith("skyswarm/cli/")}
    if row.name not in NOT_YET:
        assert handler(row).rpartition(".")[0].replace(".", "/") + ".py" in own
    for name, data in files.items():
        assert not name.endswith((".pyi", ".h")), name
        if name.endswith(".py"):
            path = Path(name)
            compiled = files[str(path.parent / "__pycache__" / f"{path.stem}.cpython-313.pyc")]
            assert compiled[:4] == MAGIC_313
            assert int.from_bytes(compiled[4:8], "little") == 1, "by hash, and never checked"
            assert compiled[8:16] == _imp.source_hash(int.from_bytes(MAGIC_313, "little"), data)
        if ".so" in name:
            assert (data[:4], data[18]) == (b"\x7fELF", ARM), name


@pytest.mark.parametrize("row", CATALOG, ids=ROWS)
def test_what_a_bundle_carries_is_what_it_imports(row: Row) -> None:
    others = reach(entry(row)).others
    carried = {PROVIDED[name] for name in row.packages}
    assert others <= carried | OF_THE_RUNTIME | (ELSEWHERE - carried)
    if row.name not in NOT_YET:
        unused = (
            carried - others - {"_cffi_backend", "jmespath", "typing_extensions"}
        )  # of the other packages
        assert not unused, "carried for nothing"


@pytest.mark.parametrize("row", [row for row in CATALOG if row.is_door], ids=lambda row: str(row.name))
def test_a_door_is_small(row: Row) -> None:
    files = _files(_built()[row.name].path)
    packages = sum(
        len(data) for name, data in files.items() if not name.startswith(("skyswarm/", "functions/"))
    )
    assert 0 < packages <= BUDGET


@pytest.mark.parametrize("row", CATALOG, ids=ROWS)
def test_a_bundle_is_enough_where_nothing_else_is(row: Row, tmp_path: Path) -> None:
    """Unpacked and imported whole by a Python without packages; boto3 is there for those that ask, as in Lambda."""
    (bundle,) = build([row], HOST, ROOT / "dist" / "bundles")
    with zipfile.ZipFile(bundle.path) as archive:
        archive.extractall(tmp_path / "task")
    modules = reach(entry(row))
    roots = [name for name in row.packages if name != "cffi"]
    names = [*modules.modules, "_cffi_backend", *(PROVIDED[name] for name in roots)]
    names += POWERTOOLS if "aws-lambda-powertools" in row.packages else []
    paths = [tmp_path / "task"]
    if modules.others & OF_THE_RUNTIME or "aws-lambda-powertools" in row.packages:
        paths.append(_runtime(tmp_path / "runtime"))
    _import(paths, names)


@pytest.mark.parametrize(
    "packages", {row.packages for row in CATALOG}, ids=lambda packages: str(len(packages))
)
def test_each_set_of_packages_is_enough_for_the_core(packages: tuple[str, ...]) -> None:
    """What every handler stands on, also of those that are not written yet."""
    core = [
        "skyswarm.edge.api",
        "skyswarm.usecases.work",
        "skyswarm.usecases.tending",
        "nacl.bindings",
        "rfc8785",
    ]
    _import([ROOT / "shared", fetched(packages, HOST)], core)


def _runtime(folder: Path) -> Path:
    """boto3 and what it stands on, alone."""
    folder.mkdir()
    for name in ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six"):
        spec = importlib.util.find_spec(name)
        assert spec is not None and spec.origin is not None
        origin = Path(spec.origin)
        source = origin.parent if origin.name == "__init__.py" else origin
        (folder / source.name).symlink_to(source)
    return folder


def _import(paths: list[Path], names: list[str]) -> None:
    command = [sys.executable, "-I", "-S", "-c", IMPORT_ALL, ":".join(map(str, paths)), *names]
    done = subprocess.run(command, env={}, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, str(len(names))), done.stderr
