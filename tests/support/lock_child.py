"""A process that serves a home until it is killed: `python -m tests.support.lock_child <home>`."""

from __future__ import annotations

import sys
from pathlib import Path

from skyswarm.drivers.local.home import Home

if __name__ == "__main__":
    with Home(Path(sys.argv[1])).lock():
        print("locked", flush=True)
        sys.stdin.read()
