"""Calls that run at the very same moment, in threads or in real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from skyswarm.errors import SkyError

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0


def race(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """What each call returned, or the SkyError it raised; anything else that one raises is raised here."""
    gate = threading.Barrier(len(calls))
    results: list[Any] = [None] * len(calls)

    def run(index: int) -> None:
        gate.wait(PATIENCE)
        try:
            results[index] = calls[index]()
        except SkyError as error:
            results[index] = error
        except BaseException as error:  # noqa: BLE001 - carried over to the test's own thread
            results[index] = ("raised", error)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive(), "a call hangs"
    for result in results:
        if isinstance(result, tuple) and result[:1] == ("raised",):
            raise result[1]
    return results


def child(module: str, *arguments: str) -> subprocess.Popen[str]:
    """A Python process that runs a module of this tree, with pipes."""
    path = os.pathsep.join([str(ROOT / "shared"), str(ROOT)])
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def race_processes(module: str, arguments: Sequence[Sequence[str]]) -> list[Any]:
    """One process per tuple of arguments; each says a line when it is ready, waits for one, prints one JSON line."""
    children = [child(module, *one) for one in arguments]
    try:
        for one in children:
            assert one.stdout is not None
            assert one.stdout.readline() == "ready\n"
        for one in children:
            assert one.stdin is not None
            one.stdin.write("go\n")
            one.stdin.flush()
        results = [json.loads(one.communicate(timeout=PATIENCE)[0]) for one in children]
        assert [one.returncode for one in children] == [0] * len(children)
        return results
    finally:
        for one in children:
            if one.poll() is None:
                one.kill()
            one.communicate()
