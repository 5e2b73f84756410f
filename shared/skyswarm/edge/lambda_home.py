"""A function of AWS Lambda over a home folder: how the doors run without a cloud, in tests and on one's own machine.

Law: the one root of functions that chooses the local drivers. Nothing of it is loaded where another root is used.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from skyswarm.edge.lambda_root import Root, tell
from skyswarm.edge.outward import outward
from skyswarm.errors import NoHomeError, SkyError


def embedded() -> Root:
    """The agent of the home folder that SKYSWARM_HOME names. NoHomeError; other errors say nothing of this machine."""
    from skyswarm.edge.runtime import open_runtime

    home = os.environ.get("SKYSWARM_HOME")
    if not home:
        raise NoHomeError("this function does not know its agent", advice="Set SKYSWARM_HOME.")
    try:
        runtime = open_runtime(Path(home))
    except SkyError as error:
        raise outward(error, "", tell) from error
    config = runtime.config
    return Root(runtime.deps, runtime.agent, config.role, runtime.endpoint, ThreadPoolExecutor(16), inbox="")
