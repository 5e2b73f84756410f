"""The files of this checkout as a commit would hold them: what `.gitignore` names is left out. Needs no git."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@cache
def ignored() -> frozenset[str]:
    """Names of the folders that `.gitignore` leaves out (it has plain names and `*.ext` only)."""
    lines = (ROOT / ".gitignore").read_text("utf-8").splitlines()
    return frozenset(line.rstrip("/") for line in lines if line and not line.startswith(("#", "*")))


@cache
def files() -> tuple[Path, ...]:
    """Every file, relative to the root, sorted."""
    return tuple(sorted(path.relative_to(ROOT) for path in _walk(ROOT)))


def _walk(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name in ignored() or path.name == ".git" or path.suffix == ".pyc":
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path)
        else:
            yield path


def python_files(*rooms: str) -> list[Path]:
    """The Python files of these rooms (`shared/skyswarm`, `tests`, …), relative to the root."""
    return [
        path for path in files() if path.suffix == ".py" and any(path.is_relative_to(room) for room in rooms)
    ]


def text(path: Path) -> str:
    """A file's text, by its path relative to the root."""
    return (ROOT / path).read_text("utf-8")


def syntax(path: Path) -> ast.Module:
    """A Python file's syntax tree, by its path relative to the root."""
    return ast.parse(text(path), str(path))
