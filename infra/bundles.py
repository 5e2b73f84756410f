"""One zip per function: the part of the house it can reach, the packages its row names, compiled, in one fixed order.

    python -m infra.bundles [--host] [--into FOLDER] [NAME …]

Law: standard library only; equal inputs give equal bytes, on any machine. Packages come from the lock file by hash, as
wheels for the function's platform; nothing is built. `shared/decisions/aws-deploy.md` says why it is so.

1. What a function reaches is read from its imports, the lazy ones too, without running anything.
2. Packages of one set are fetched once, into the environment `.venv-deploy`; afterwards no network is needed.
3. Bytecode is made by a Python of the function's own version. For Lambda's that is Pyodide (CPython as WebAssembly, run
   by the Node of `.venv-deploy`), because no machine can be asked to have that very version. It is not checked against
   the source's time (unchecked-hash): a function's folder is read-only, so without it every cold start compiles again.
4. A zip is named by the hash of its bytes' inputs; one that is there is not built again.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # as a script, and from the CDK's folder
    sys.path.insert(0, str(ROOT))

from infra.catalog import CATALOG, Row  # noqa: E402 - only now it can be found

DEPLOY = ROOT / ".venv-deploy"
KEPT = ROOT / "dist" / "bundles"
LOCK = ROOT / "requirements-dev.lock"
SOURCES = (ROOT / "shared", ROOT)
OWN = ("skyswarm", "functions")
TRIES = 3
EPOCH = (1980, 1, 1, 0, 0, 0)
ENVIRONMENT = "Run `make env-deploy` first: it brings uv, Node and the rest."

TRIMMED = (
    "bin/", "*/tests/", "*/testing/", "*/__pycache__/", "*.pyi", "*.h", "*.dist-info/RECORD", "*.dist-info/INSTALLER",
    "*.dist-info/REQUESTED", "*.dist-info/direct_url.json", "*.dist-info/WHEEL", ".lock", "cffi/",
    "aws_lambda_powertools/event_handler/", "aws_lambda_powertools/utilities/parser/", "*.virtualenv*",
)  # fmt: skip
"""What no function runs. Of cffi only its native half is run: PyNaCl's bindings are compiled ahead."""


class BundleError(Exception):
    """A bundle cannot be made; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a function runs: `platform` as uv names it, `python` as `3.13`."""

    name: str
    platform: str
    python: str

    @property
    def tag(self) -> str:
        """What its compiled files are called."""
        return f"cpython-{self.python.replace('.', '')}"


LAMBDA = Target("lambda", "aarch64-manylinux2014", "3.13")
HOST = Target("host", f"{platform.machine()}-manylinux_2_28", ".".join(map(str, sys.version_info[:2])))
"""This machine, for emulators that run functions with its Python."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A finished zip. `complete`: its handler is there."""

    name: str
    path: Path
    digest: str
    complete: bool


def handler(row: Row) -> str:
    """The name of the function's entry for AWS. The path in the zip is the path in the house."""
    return f"functions.{row.name}.aws.handler"


# ---- 1: what a function reaches --------------------------------------------------------------
def source_of(module: str) -> Path | None:
    """The file of one of our modules."""
    for root in SOURCES:
        path = root.joinpath(*module.split("."))
        for file in (path / "__init__.py", path.with_suffix(".py")):
            if file.exists():
                return file
    return None


@cache
def _imported(path: Path) -> tuple[str, ...]:  # forgotten when a file has changed meanwhile
    return tuple(_names(ast.parse(path.read_bytes(), str(path))))


def _names(node: ast.AST) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            if child.module and not child.level:
                yield child.module
                yield from (f"{child.module}.{alias.name}" for alias in child.names)
        elif isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            for part in child.orelse:
                yield from _names(part)
        else:
            yield from _names(child)


@dataclass(frozen=True, slots=True)
class Reach:
    """Our modules, and the roots of others' packages, that a module can come to import."""

    modules: dict[str, Path]
    others: frozenset[str]


def reach(*starts: str) -> Reach:
    """All that can be imported from these modules, the ones inside functions too."""
    modules: dict[str, Path] = {}
    others: set[str] = set()
    waiting = list(starts)
    while waiting:
        name = waiting.pop()
        if name in modules:
            continue
        if name.partition(".")[0] not in OWN:
            others.add(name.partition(".")[0])
        elif path := source_of(name):
            modules[name] = path
            waiting += _imported(path)
            waiting += [name.rpartition(".")[0]] if "." in name else []
    return Reach(modules, frozenset(others - sys.stdlib_module_names))


def entry(row: Row) -> str:
    """The module that Lambda loads, or the function's folder while nobody has written it."""
    module = handler(row).rpartition(".")[0]
    return module if source_of(module) else module.rpartition(".")[0]


def own_files(row: Row) -> dict[str, Path]:
    """Path in the zip → file: modules, and the data that lies beside them."""
    modules = reach(entry(row)).modules
    files = {_place(path): path for path in modules.values()}
    if "skyswarm.data" in modules:
        folder = modules["skyswarm.data"].parent
        files |= {
            _place(path): path
            for path in folder.iterdir()
            if path.suffix not in (".py", "") and path.is_file()
        }
    return dict(sorted(files.items()))


def _place(path: Path) -> str:
    root = next(root for root in SOURCES if path.is_relative_to(root))
    return path.relative_to(root).as_posix()


# ---- 2: packages -----------------------------------------------------------------------------
def requirements(packages: Iterable[str]) -> str:
    """The lock's entries of these packages, with every hash. BundleError when it has none."""
    entries = re.split(r"\n(?=[a-z0-9])", LOCK.read_text("utf-8").strip())
    by_name = {re.split(r"[=;\s]", entry, maxsplit=1)[0]: entry for entry in entries}
    missing = [name for name in packages if name not in by_name]
    if missing:
        raise BundleError(f"{LOCK.name} has no {', '.join(missing)}. Run `make lock`.")
    return "".join(by_name[name] + "\n" for name in sorted(packages))


def fetched(packages: Sequence[str], target: Target) -> Path:
    """A folder with these packages as wheels unpack, fetched when it is not there yet."""
    text = requirements(packages)
    folder = DEPLOY / "packages" / f"{target.name}-{_sha(text, repr(target))[:16]}"
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as begun:
        listed, into = Path(begun) / "requirements.txt", Path(begun) / "into"
        listed.write_text(text, "utf-8")
        _run(
            [str(_tool("uv")), "pip", "install", "--quiet", "--target", str(into), "--python-platform", target.platform,
             "--python-version", target.python, "--python", sys.executable, "--only-binary", ":all:", "--no-deps",
             "--require-hashes", "--no-compile-bytecode", "--link-mode", "copy", "-r", str(listed)],
            _index(),
        )  # fmt: skip
        try:
            into.rename(folder)
        except OSError:  # another process was quicker
            if not folder.exists():
                raise
    return folder


def _index() -> dict[str, str]:
    """uv reads its own settings and none of pip's: those that say where packages come from are handed on."""
    handed = {
        "UV_DEFAULT_INDEX": "PIP_INDEX_URL",
        "UV_INDEX": "PIP_EXTRA_INDEX_URL",
        "SSL_CERT_FILE": "PIP_CERT",
    }
    return {
        to: os.environ[name] for to, name in handed.items() if name in os.environ and to not in os.environ
    }


def _tool(name: str) -> Path:
    path = DEPLOY / "bin" / name
    if not path.exists():
        raise BundleError(f"{name} is not there. {ENVIRONMENT}")
    return path


def _trimmed(place: str) -> bool:
    path = Path(place)
    folders = [f"{'/'.join(path.parts[: i + 1])}/" for i in range(len(path.parts) - 1)]
    return any(path.match(part) or any(_under(folder, part) for folder in folders) for part in TRIMMED)


def _under(folder: str, part: str) -> bool:
    if not part.endswith("/"):
        return False
    return folder.endswith(part[1:]) if part.startswith("*") else folder == part


# ---- 3: bytecode -----------------------------------------------------------------------------
def compile_all(folder: Path, target: Target) -> None:
    """Put a `__pycache__` beside each source in the folder, as the target's Python makes them."""
    if target == HOST:
        command, env = [sys.executable, "-I", str(ROOT / "infra" / "aws" / "bytecode.py"), str(folder)], {}
    else:
        script = ROOT / "infra" / "aws" / "bytecode.mjs"
        command = [str(_tool("node")), str(script), str(folder), str(DEPLOY / "node_modules" / "pyodide")]
        env = {"NODE_OPTIONS": ""}
    said = _run(command, env).strip()
    if said != target.tag:
        raise BundleError(f"the bytecode is of {said}, the function's Python is {target.tag}")


# ---- 4: the zip ------------------------------------------------------------------------------
def build(rows: Sequence[Row], target: Target = LAMBDA, into: Path = KEPT) -> list[Bundle]:
    """The zips of these functions, those that are not there yet built anew. BundleError."""
    into.mkdir(parents=True, exist_ok=True)
    for _ in range(TRIES):
        found = [_named(row, target, into) for row in rows]
        wanted = [(row, bundle) for row, bundle in zip(rows, found, strict=True) if not bundle.path.exists()]
        with tempfile.TemporaryDirectory(dir=into, prefix=".") as name:
            made = _build(wanted, target, Path(name)) if wanted else {}
            if found == [_named(row, target, into) for row in rows]:
                for path, half in made.items():
                    half.replace(path)
                return found
        _imported.cache_clear()
    raise BundleError("the sources change while bundles are built from them")


def _named(row: Row, target: Target, into: Path) -> Bundle:
    own = own_files(row)
    inputs = [place + hashlib.sha256(path.read_bytes()).hexdigest() for place, path in own.items()]
    makers = [
        path.read_text("utf-8") for path in (Path(__file__), *sorted((ROOT / "infra/aws").glob("bytecode.*")))
    ]
    lock = (ROOT / "infra/aws/package-lock.json").read_text("utf-8")
    digest = _sha(*inputs, requirements(row.packages), repr(target), lock, *makers)
    complete = source_of(handler(row).rpartition(".")[0]) is not None
    return Bundle(row.name, into / f"{target.name}-{row.name}-{digest[:16]}.zip", digest, complete)


def _build(wanted: Sequence[tuple[Row, Bundle]], target: Target, folder: Path) -> dict[Path, Path]:
    """Where each zip belongs → where it is made. All sources are compiled in one go: starting the compiler is most of
    its time."""
    stage = folder / "stage"
    stage.mkdir()
    made = {}
    contents: list[tuple[Bundle, dict[str, Path]]] = []
    for row, bundle in wanted:
        placed = {f"own/{place}": path for place, path in own_files(row).items()}
        kept = fetched(row.packages, target)
        for path in sorted(kept.rglob("*")):
            place = path.relative_to(kept).as_posix()
            if path.is_file() and not _trimmed(place):
                placed[f"packages-{kept.name}/{place}"] = path
        contents.append((bundle, placed))
    for place, path in {place: path for _, placed in contents for place, path in placed.items()}.items():
        (stage / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, stage / place)
    compile_all(stage, target)
    for bundle, placed in contents:
        files = {place.partition("/")[2]: stage / place for place in placed}
        for place, path in list(files.items()):
            if path.suffix == ".py":
                compiled = path.parent / "__pycache__" / f"{path.stem}.{target.tag}.pyc"
                files[str(Path(place).parent / "__pycache__" / compiled.name)] = compiled
        made[bundle.path] = folder / bundle.path.name
        _zip(made[bundle.path], files)
    return made


def _zip(path: Path, files: dict[str, Path]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for place in sorted(files):
            info = zipfile.ZipInfo(place, EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3
            info.external_attr = (0o100755 if ".so" in place else 0o100644) << 16
            archive.writestr(info, files[place].read_bytes())


def _sha(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _run(command: Sequence[str], env: dict[str, str]) -> str:
    done = subprocess.run(
        command,
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BundleError(
            f"{Path(command[0]).name} ended with status {done.returncode}:\n{done.stderr[-3000:]}"
        )
    return done.stdout


def main(arguments: Sequence[str]) -> None:
    """Build the bundles named, or all, and list them with their sizes."""
    parser = argparse.ArgumentParser(prog="python -m infra.bundles")
    parser.add_argument("--host", action="store_true", help="for this machine's Python (emulators)")
    parser.add_argument("--into", type=Path, default=KEPT)
    parser.add_argument("names", nargs="*")
    asked = parser.parse_args(arguments)
    rows = [row for row in CATALOG if row.name in (asked.names or [row.name])]
    try:
        for bundle in build(rows, HOST if asked.host else LAMBDA, asked.into):
            note = "" if bundle.complete else "  no handler yet"
            print(f"{bundle.path.stat().st_size:>10,} bytes  {bundle.path.name}{note}")
    except BundleError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(sys.argv[1:])
