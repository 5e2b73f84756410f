"""A process that tries one rotation: `python -m tests.support.rotate_child <folder> <agent> <expected public, hex>`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from skyswarm.drivers.local.keys import FileKeys
from skyswarm.errors import ConflictError


def main(folder: str, agent: str, expect: str) -> None:
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        FileKeys(Path(folder)).rotate(agent, bytes.fromhex(expect))
        won = True
    except ConflictError:
        won = False
    print(json.dumps(won))


if __name__ == "__main__":
    main(*sys.argv[1:])
