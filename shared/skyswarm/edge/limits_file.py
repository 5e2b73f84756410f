"""An operator's own numbers: `limits.json` in the home, read once at the start of a process.

Law: only what `Limits` names may be in it, each of its own kind and above zero; no file means the defaults.

    {"patience": 3600, "lease": 30, "stall": 60}
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from skyswarm.errors import SetupError
from skyswarm.usecases.limits import Limits

NAME = "limits.json"
MAX_FILE = 64 * 1024


def read_limits(home: Path) -> Limits:
    """The limits of the agent in `home`. SetupError names what is wrong in the file."""
    try:
        with (home / NAME).open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except FileNotFoundError:
        return Limits()
    except OSError as error:
        raise SetupError(f"{NAME} cannot be read: {error.strerror}") from error
    return parse_limits(data)


def parse_limits(data: bytes) -> Limits:
    """Limits from the file's bytes: the defaults, with what it names replaced. SetupError."""
    try:
        doc = json.loads(data[: MAX_FILE + 1].decode("utf-8"))
    except (ValueError, RecursionError) as error:  # ValueError: not UTF-8, not JSON, or thousands of digits
        raise SetupError(f"{NAME} is not JSON: {error}") from error
    defaults = Limits()
    known = asdict(defaults)
    if len(data) > MAX_FILE or not isinstance(doc, dict):
        raise SetupError(f"{NAME} must be a small object of names and numbers")
    given: dict[str, Any] = {}
    for name, value in doc.items():
        if name not in known:
            raise SetupError(
                f"{NAME}: unknown name {name!r}", advice=f"Known are {', '.join(sorted(known))}."
            )
        kinds = (int, float) if isinstance(known[name], float) else (int,)
        if type(value) not in kinds or not 0 < value < 2**53:
            raise SetupError(
                f"{NAME}: {name} must be a number above 0" + ("" if float in kinds else ", whole")
            )
        given[name] = type(known[name])(value)
    return replace(defaults, **given)
