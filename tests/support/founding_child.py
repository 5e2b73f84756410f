"""Makes an agent in the folder it is given, and is killed when its keys are there and its settings are not."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from skyswarm.edge.runtime import create


def killed() -> float:
    """The clock: it is asked between the two."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")


if __name__ == "__main__":
    create(Path(sys.argv[1]), name="alice", port=7001, clock=killed)
