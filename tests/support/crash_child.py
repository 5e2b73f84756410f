"""Dies at every single line of a step, one process per line, and says what was left behind each time.

`python -m tests.support.crash_child <way> <folder>` makes `<folder>/<n>` for n = 0, 1, …, starts the step there and
ends the process (as `kill -9` does: nothing is flushed or unwound) at the n-th line that runs in the drivers' own
files. It prints the number of lines that the whole step has; the last folder is the one where nothing died.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from skyswarm.drivers.local import private
from skyswarm.drivers.local.config import Config
from skyswarm.drivers.local.home import Home
from skyswarm.drivers.local.keys import FileKeys
from skyswarm.drivers.seeds import prepare
from tests.support.record_rigs import ALICE

FOLDER = Path(private.__file__).parent
# Those that touch files. What they only compute (the settings' parser) cannot leave anything half done.
OWN = {str(FOLDER / name) for name in ("private.py", "keys.py", "home.py")}
DIED, LIVED = 77, 0
SEEDS = [bytes([number]) * 32 for number in range(1, 7)]
UNDONE = "1" * 64
CONFIG = Config("alice", ALICE)


def entropy() -> Callable[[int], bytes]:
    """Known bytes, so that the parent knows which keys may be there."""
    supply = iter(SEEDS)
    return lambda size: next(supply)[:size]


def adopt(folder: Path) -> Callable[[], Any]:
    made = prepare(entropy())
    return lambda: FileKeys(folder).adopt(made, ALICE)


def rotate(folder: Path) -> Callable[[], Any]:
    supply = entropy()
    made = prepare(supply)
    keys = FileKeys(folder, supply)
    keys.adopt(made, ALICE)
    return lambda: keys.rotate(ALICE, made.current_public)


def found(path: Path) -> Home:
    """A home of CONFIG."""
    with Home.founding(path) as home:
        home.complete(CONFIG)
    return home


def reserve(folder: Path) -> Callable[[], Any]:
    supply = entropy()
    made = prepare(supply)
    keys = FileKeys(folder, supply)
    keys.adopt(made, ALICE)
    return lambda: keys.reserve(ALICE, UNDONE)


def replace(folder: Path) -> Callable[[], Any]:
    supply = entropy()
    made = prepare(supply)
    keys = FileKeys(folder, supply)
    keys.adopt(made, ALICE)
    key, _ = keys.reserve(ALICE, UNDONE)
    return lambda: keys.replace(ALICE, UNDONE, key)


def create(folder: Path) -> Callable[[], Any]:
    return lambda: found(folder / "home")


def change(folder: Path) -> Callable[[], Any]:
    home = found(folder / "home")
    return lambda: home.change(lambda old: Config("renamed", old.agent))


WAYS = {
    "adopt": adopt,
    "rotate": rotate,
    "reserve": reserve,
    "replace": replace,
    "create": create,
    "change": change,
}


def die_at(line: int) -> None:
    left = line

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal left
        in_library = frame.f_code.co_name in ("write_bytes", "write_text")  # two steps in what looks like one
        if frame.f_code.co_filename not in OWN and not in_library:
            return None
        if event == "line":
            if not left:
                os._exit(DIED)
            left -= 1
        return trace

    sys.settrace(trace)


def main(way: str, folder: str) -> None:
    for line in itertools.count():
        place = Path(folder) / str(line)
        place.mkdir(mode=0o700)
        step = WAYS[way](place)
        process = os.fork()
        if process == 0:
            die_at(line)
            step()
            os._exit(LIVED)
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        assert code in (DIED, LIVED), code
        if code == LIVED:
            print(line)
            return


if __name__ == "__main__":
    main(*sys.argv[1:])
