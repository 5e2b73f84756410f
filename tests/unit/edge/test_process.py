"""An agent's process: what a start that fails leaves behind, and how long an end may take."""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from skyswarm.edge.log import Log
from skyswarm.edge.process import AgentProcess, Workers
from skyswarm.edge.runtime import Runtime, create
from skyswarm.errors import PortInUseError
from tests.support.land import Land


def test_a_taken_port_is_said_and_the_home_is_free_again(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        runtime, _ = create(tmp_path / "home", name="alice", port=other.getsockname()[1], fsync=False)
        try:
            with pytest.raises(PortInUseError):
                AgentProcess(runtime).start()
            assert runtime.home.holder() is None
        finally:
            runtime.close()


def test_the_workers_have_the_time_to_end_together_and_not_each(tmp_path: Path) -> None:
    leave, busy = threading.Event(), threading.Semaphore(0)

    class Slow:
        def pull(self, *_: Any) -> list[Any]:
            busy.release()
            leave.wait(10)
            return []

    deps = SimpleNamespace(tasks=Slow(), clock=time.time, entropy=Land().agent("bob").deps.entropy)
    workers = Workers(cast(Runtime, SimpleNamespace(deps=deps)), 4, Log(tmp_path))
    workers.start()
    assert all(busy.acquire(timeout=5) for _ in range(4))
    began = time.monotonic()
    workers.stop(wait=0.3)
    assert time.monotonic() - began < 0.9
    assert workers.busy
    leave.set()
    workers.stop()
    assert not workers.busy


def test_a_start_and_its_end_are_in_the_log(tmp_path: Path) -> None:
    runtime, _ = create(tmp_path / "home", name="alice", fsync=False)
    try:
        with AgentProcess(runtime, threads=1):
            assert runtime.home.server() is not None
        assert runtime.home.holder() is None
    finally:
        runtime.close()
    lines = [line for file in runtime.home.log.glob("*.jsonl") for line in file.read_text().splitlines()]
    events = [json.loads(line)["event"] for line in lines]
    assert (events[0], events[-1]) == ("start", "stop")
