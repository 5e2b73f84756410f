"""Serves a home with a wrong clock: `python -m tests.support.skewed_child SECONDS HOME`."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

from skyswarm.edge.process import AgentProcess
from skyswarm.edge.runtime import open_runtime


def main(offset: str, home: str) -> None:
    wrong = float(offset)
    runtime = open_runtime(Path(home), clock=lambda: time.time() + wrong)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with AgentProcess(runtime) as process:
        process.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
