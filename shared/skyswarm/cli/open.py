"""Opening the agent of a home folder, and the few questions about it that several commands ask.

Law: the one place of the command line that builds a runtime. What is opened here is closed here.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from skyswarm.cli.frame import local
from skyswarm.edge.runtime import Runtime, open_runtime
from skyswarm.errors import AbsentError, InputError
from skyswarm.pieces.paths import SharePath

_OPEN = "storage"
"""The folder of a home that is for the user's own files. Not the inbox: what arrives there starts transfers."""
_WORD = re.compile(r"[^a-z0-9_-]+")


@contextmanager
def opened(path: Path) -> Iterator[Runtime]:
    """The agent of a home. NoHomeError, SetupError, KeyFileError."""
    runtime = open_runtime(path)
    try:
        yield runtime
    finally:
        runtime.close()


def place(runtime: Runtime, text: str, *, reading: bool) -> tuple[str, str] | None:
    """Storage and prefix when `text` is `NAME:` or `NAME:/some/prefix` of a storage of this agent; else None.
    AbsentError: it looks like one, but there is no storage of that name (and no file either). UnsafePathError."""
    name, colon, rest = text.partition(":")
    if not colon or "/" in name or os.path.lexists(text):
        return None
    if name not in runtime.config.storages:
        known = ", ".join(sorted(runtime.config.storages))
        raise AbsentError(
            f"there is no storage named {name!r}",
            advice=f"You have: {known}. Add one: skyswarm storage add {name or 'NAME'} PATH",
        )
    prefix = rest.strip("/")
    if prefix:
        SharePath.parse(prefix)
    root = runtime.home.storage_path(name).resolve()
    guard(runtime, root, root / prefix, reading=reading)
    return name, prefix


def adopt(runtime: Runtime, path: Path, *, reading: bool) -> tuple[str, str, str | None]:
    """Storage and prefix of a file or folder of this machine. When no storage contains it, its folder becomes one,
    whose name is the third value (else None). InputError: there is no such thing, or it is not to be used so."""
    given, path = path, local(path).resolve()
    if reading and local(given).is_symlink():
        raise InputError(
            f"{local(given).absolute()} is a symbolic link to {path}",
            advice=f"Share that itself: skyswarm share {shlex.quote(str(path))}",
        )
    found = inside(runtime, path)
    if found is not None:
        guard(runtime, runtime.home.storage_path(found[0]).resolve(), path, reading=reading)
        return (*found, None)
    if not path.exists():
        raise InputError(
            f"there is no {path}", advice=storage_meant(runtime, str(given)) or "Check the path."
        )
    root = path if path.is_dir() else path.parent
    guard(runtime, root, path, reading=reading)
    name = free_name(runtime, root.name)
    runtime.add_storage(name, root)
    return name, "" if path == root else path.name, name


def storage_meant(runtime: Runtime, text: str) -> str:
    """A question, when somebody wrote a storage's name without its colon; else ''."""
    return f"Did you mean {text}:/ ?" if text in runtime.config.storages else ""


def is_now(runtime: Runtime, storage: str) -> str:
    """What people are told when a folder has become a storage."""
    return f"{runtime.home.storage_path(storage)} is now your storage {storage}:"


def inside(runtime: Runtime, path: Path) -> tuple[str, str] | None:
    """The storage with the deepest folder that contains `path`, and the key in it."""
    best: tuple[int, str, str] | None = None
    for name in runtime.config.storages:
        root = runtime.home.storage_path(name).resolve()
        if path.is_relative_to(root):
            key = path.relative_to(root).as_posix()
            best = max(best or (-1, "", ""), (len(root.parts), name, "" if key == "." else key))
    return best[1:] if best else None


def free_name(runtime: Runtime, wanted: str) -> str:
    """A name that no storage has yet, near `wanted`."""
    base = _WORD.sub("-", wanted.lower()).strip("-_")[:24] or "files"
    taken = runtime.config.storages
    number = 1
    while (name := base if number == 1 else f"{base}-{number}") in taken:
        number += 1
    return name


def guard(runtime: Runtime, root: Path, target: Path, *, reading: bool) -> None:
    """Refuse what would give this agent's own keys and records away (reading), or let a share write among them.
    `target` is in the storage whose folder is `root`."""
    from skyswarm.drivers.storages.keys import is_hidden

    target, home = target.resolve(), runtime.home.path.resolve()
    among = target.is_relative_to(home) and (*target.relative_to(home).parts, "")[0] != _OPEN
    if reading:
        below = home.relative_to(target).parts if home.is_relative_to(target) else None
        among |= below is not None and not any(map(is_hidden, below))
    else:
        among |= home.parent == root and is_hidden(home.name)
    if among:
        raise InputError(
            f"{target} and this agent's own home, {home}, are too close: its keys are there",
            advice="Name a folder that is not the home and does not hold it.",
        )
    refuse_home(root)
    refuse_home(target, root)


def refuse_home(path: Path, root: Path | None = None) -> None:
    """InputError when `path` is the home of any agent, or lies in one other than in its storage folder. With `root`,
    the folder of the storage `path` is in: no home at all may be between the two, as the storage refuses it, too."""
    from skyswarm.drivers.storages.folder_tree import HOME

    path = path.resolve()
    for folder in (path, *path.parents):
        if not all(os.path.lexists(folder / sign) for sign in HOME):
            continue
        own = (*path.relative_to(folder).parts, "")[0] == _OPEN
        if not own or (root is not None and folder.is_relative_to(root)):
            raise InputError(
                f"{folder} is the home of an agent: its keys are there",
                advice="Name a folder that is not in it.",
            )


def person(runtime: Runtime, agent: str) -> str:
    """How the user calls an agent, or the start of its id."""
    from skyswarm.usecases.people import name_of

    return name_of(runtime.deps, runtime.agent, agent) or agent[:12]
