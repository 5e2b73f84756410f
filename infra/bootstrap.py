"""Builds `.venv`, the environment of this checkout, from a lock file and what the machine already has.

    infra/bootstrap.sh run|dev|bench|emulators|deploy [--into FOLDER] [--wheel FILE]

`emulators` goes into `.venv-emulators`: servers that stand in for clouds, which pin versions of their own. `deploy`
goes into `.venv-deploy`: the CDK and its Node. The project is not on their path, so what they run has only what it was
given.

Law: standard library only (nothing is installed yet); only what a lock file names with its hash is installed; nothing
outside the target folder is changed, also not as root; no index is named here, so the user's pip configuration and
environment (indexes, proxies, certificates) decide where packages come from. The reasons, and the road not taken:
`shared/decisions/house-bootstrap.md`.

1. A stamp says what the folder holds: when that is enough, nothing is done and no network is used.
2. One process at a time, by a lock the system drops when the process dies. What was cut off starts over.
3. pip, from the first that has it: Python's own bundled wheel, an installed pip, `uv pip`, or the pip wheel in the
   system's signed package archive, which apt gives an ordinary user too, unpacked inside the folder.
4. The project itself is put on the path in place; `--wheel` installs a built wheel instead.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CDK = ROOT / "infra" / "aws"
LEVELS = ("run", "dev", "bench")  # each holds the ones before it
APART = ("emulators", "deploy")
LOCKS = {level: f"requirements-{level}.lock" for level in (*LEVELS, *APART)} | {"run": "requirements.lock"}
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
CERTIFICATE_SETTINGS = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")

LOCK = ".bootstrap"  # not `.lock`, which uv takes itself
LAST_LINES = 20
NO_INDEX = (
    "The packages did not arrive. Look at the lines above, at your network, and at pip's settings for its index,\n"
    "proxy and certificates (PIP_INDEX_URL, PIP_PROXY, PIP_CERT, pip.conf); then run the same again."
)
NO_APT = "apt-get could not fetch pip. As root: apt-get install python3-venv; then run the same again."

SCRIPT = """\
#!/bin/sh
'''exec' '{python}' "$0" "$@"
' '''
import sys
from {module} import {function}
sys.exit({function}())
"""


def main(arguments: Sequence[str]) -> None:
    """Make the folder hold at least the level asked for. Ends the process with a sentence when that is impossible."""
    parser = argparse.ArgumentParser(prog="bootstrap.sh")
    parser.add_argument("level", choices=tuple(LOCKS))
    parser.add_argument("--into", type=Path)
    parser.add_argument("--wheel", type=Path)
    asked = parser.parse_args(arguments)
    usual = ROOT / (".venv" if asked.level in LEVELS else f".venv-{asked.level}")
    folder: Path = (asked.into or usual).absolute()
    wanted = _wanted(asked.level, asked.wheel)
    if _enough(folder, wanted):
        return
    try:
        with _alone(folder):
            if not _enough(folder, wanted):
                _build(folder, asked.level, asked.wheel, wanted)
    except PermissionError as error:
        sys.exit(
            f"{error.filename} cannot be written by you. Was it made by root? Remove it, or give it to yourself."
        )
    except OSError as error:
        sys.exit(f"Set-up stopped: {error}. What was begun in {folder} starts over next time.")
    except KeyboardInterrupt:
        sys.exit(130)


def _wanted(level: str, wheel: Path | None) -> dict[str, str]:
    """What the stamp of a finished folder says: where it is, what runs in it, and the hash of all it was made from."""
    sources = [ROOT / LOCKS[level], wheel or ROOT / "pyproject.toml", Path(__file__)]
    sources += [CDK / "package-lock.json"] if level == "deploy" else []
    return {
        "root": str(ROOT),
        "python": ".".join(map(str, sys.version_info[:2])),
        level: hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest(),
    }


def _enough(folder: Path, wanted: dict[str, str]) -> bool:
    try:
        has = json.loads((folder / ".stamp").read_text("utf-8"))
    except (OSError, ValueError):
        return False
    # The interpreter it was made with may be gone since (an upgrade of the system).
    return wanted.items() <= has.items() and (folder / "bin" / "python").exists()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"Waiting for another set-up of {folder.name} to end …", file=sys.stderr, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(folder: Path, level: str, wheel: Path | None, wanted: dict[str, str]) -> None:
    print(f"Setting up {folder} ({level}): once, about half a minute …", file=sys.stderr, flush=True)
    stamp, begun, python = folder / ".stamp", folder / ".begun", folder / "bin" / "python"
    has = json.loads(stamp.read_text("utf-8")) if stamp.exists() else {}
    moved = any(has.get(key, wanted[key]) != wanted[key] for key in ("root", "python"))
    if moved or begun.exists() or not python.exists():
        _empty(folder)
        has = {}
    stamp.unlink(missing_ok=True)
    begun.touch()
    if not python.exists():
        _run([sys._base_executable, "-m", "venv", "--without-pip", str(folder)])  # type: ignore[attr-defined]

    pip = _pip(folder)
    options = ["--quiet", "--no-deps", "--only-binary", ":all:"]
    _run(
        [*pip, *options, "--require-hashes", "-r", str(ROOT / LOCKS[level])],
        lost="The packages did not arrive.",
    )
    if level == "deploy":
        _node(folder)
    elif level not in LEVELS:
        pass
    elif wheel is None:
        _in_place(folder)
    else:
        _run([*pip, *options, str(wheel.absolute())])
    # Compiled here, so that the first start is as quick as the later ones: on all cores, or on one where this system
    # lacks the semaphores for that (a chroot without /dev/shm). Files that no Python 3 compiles do not matter.
    for cores in ("0", "1"):
        compiler = [str(python), "-m", "compileall", "-qq", "-j", cores, str(folder / "lib")]
        if subprocess.run(compiler, stderr=subprocess.DEVNULL, check=False).returncode == 0:
            break

    # A level holds the ones before it, so their stamps are as true as its own.
    lower = LEVELS[: LEVELS.index(level)] if level in LEVELS else ()
    below = {name: _wanted(name, wheel)[name] for name in lower}
    stamp.write_text(json.dumps({**has, **below, **wanted}), "utf-8")
    begun.unlink()


def _node(folder: Path) -> None:
    """The CDK's command line, as its package-lock names it by hash, by the npm that has just been installed."""
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(CDK / name, folder / name)
    quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--prefix", str(folder)]
    _run([str(folder / "bin" / "npm"), "ci", *quiet], lost="The CDK's command line did not arrive.")


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.name == LOCK:
            continue  # others wait on it
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _in_place(folder: Path) -> None:
    """The project as an editable install: its folders on the path, its scripts in bin, both as pyproject.toml says."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    site = sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)})
    paths = [str((ROOT / part).resolve()) for part in project["tool"]["hatch"]["build"]["dev-mode-dirs"]]
    (Path(site) / "skyswarm.pth").write_text("\n".join(paths) + "\n", "utf-8")
    for name, target in project["project"]["scripts"].items():
        module, function = target.split(":")
        script = folder / "bin" / name
        script.write_text(
            SCRIPT.format(python=folder / "bin" / "python", module=module, function=function), "utf-8"
        )
        script.chmod(0o755)


# ---- where pip comes from --------------------------------------------------------------------
def _pip(folder: Path) -> list[str]:
    """The start of a command that installs into the folder."""
    python = str(folder / "bin" / "python")
    quiet = ["install", "--disable-pip-version-check", "--no-input", "--no-compile", "--no-user"]
    if wheel := _pip_wheel(_wheel_folders()):
        return [python, f"{wheel}/pip", *quiet]
    installed = [sys._base_executable, "-m", "pip", "--python", python]  # type: ignore[attr-defined]
    if subprocess.run([*installed, "--version"], capture_output=True, check=False).returncode == 0:
        return [*installed, *quiet]
    if uv := shutil.which("uv"):
        return [uv, "pip", "install", "--link-mode", "copy", "--python", python]
    if shutil.which("apt-get") and shutil.which("dpkg-deb"):
        kept = Path(sys.prefix) / "apt"  # of the environment this runs in, when it makes another one
        return [python, f"{_from_apt(kept if kept.exists() else folder / 'apt')}/pip", *quiet]
    sys.exit(
        "This Python has neither pip nor ensurepip, and there is no uv and no apt-get to get them with.\n"
        "Install your system's package for pip or venv (often python3-pip or python3-venv), then run the same again."
    )


def _wheel_folders() -> list[Path]:
    """Where Pythons and distributions keep the pip wheel that ensurepip installs."""
    folders = [sysconfig.get_config_var("WHEEL_PKG_DIR"), "/usr/share/python-wheels"]
    if (spec := importlib.util.find_spec("ensurepip")) and spec.origin:
        folders.insert(0, Path(spec.origin).parent / "_bundled")
    return [Path(folder) for folder in folders if folder]


def _pip_wheel(folders: Sequence[Path]) -> Path | None:
    return next(
        (wheel for folder in folders for wheel in sorted(folder.glob("pip-*.whl"), reverse=True)), None
    )


def _from_apt(folder: Path) -> Path:
    """The pip wheel of Debian or Ubuntu: fetched and checked by apt with lists of our own, so no right is needed."""
    unpacked, bundle = folder / "unpacked", folder / "ca-certificates.crt"
    # That pip trusts the system's certificates; where there are none, apt has those too.
    certificates = CERTIFICATES.exists() or any(map(os.environ.get, CERTIFICATE_SETTINGS))
    if not unpacked.exists() or not (certificates or bundle.exists()):
        _download(
            ["python3-pip-whl"] if certificates else ["python3-pip-whl", "ca-certificates"], folder, unpacked
        )
        parts = sorted((unpacked / "usr/share/ca-certificates").rglob("*.crt"))
        bundle.write_bytes(b"".join(part.read_bytes() for part in parts))
    if not certificates:
        os.environ["PIP_CERT"] = str(bundle)
    return _pip_wheel([unpacked / "usr/share/python-wheels"]) or sys.exit(NO_APT)


def _download(packages: Sequence[str], folder: Path, unpacked: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True)
    apt = [
        "apt-get",
        "-qq",
        "-o",
        f"Dir::State::Lists={folder / 'lists'}",
        "-o",
        f"Dir::Cache={folder / 'cache'}",
    ]
    apt += ["-o", "APT::Sandbox::User=", "-o", "Acquire::Languages=none"]
    _run([*apt, "update"], lost=NO_APT)
    _run([*apt, "download", *packages], lost=NO_APT, cwd=folder)
    for part in ("lists", "cache"):
        shutil.rmtree(folder / part)
    for package in folder.glob("*.deb"):
        _run(["dpkg-deb", "-x", str(package), str(unpacked)])


def _run(command: Sequence[str], *, lost: str = "", cwd: Path = ROOT) -> None:
    """Run it. A failure ends the set-up with the end of what it said, the command, its status and what to do."""
    clean = {key: value for key, value in os.environ.items() if key not in {"PYTHONHOME", "PYTHONPATH"}}
    done = subprocess.run(
        command,
        cwd=cwd,
        env=clean,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        said = "\n".join(done.stdout.splitlines()[-LAST_LINES:])
        sys.exit(f"{said}\n{' '.join(command)}\nended with status {done.returncode}. {lost}".strip())


if __name__ == "__main__":
    main(sys.argv[1:])
