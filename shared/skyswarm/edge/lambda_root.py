"""What a function of AWS Lambda stands on: the bundle of ports and the few facts that an event does not tell.

Law: a composition root makes it, once per cold start; nothing here chooses a driver. What a function prints is one JSON
object a line, by the standard library alone: this is loaded by doors that a peer waits for.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from skyswarm.edge.log import as_line
from skyswarm.errors import SkyError
from skyswarm.ports.work import Delivery
from skyswarm.usecases.deps import Deps

Take = Callable[[str, str, int, float], Delivery | None]
"""`take(body, receipt, received, until)`: a queue's message as a delivery; None when it is not to be worked on."""


@dataclass(frozen=True, slots=True)
class Root:
    """One deployment. `network`: threads for asking others at once. `take`: of the queue that feeds this function.
    `inbox`: what the keys of the inbox's bucket begin with, before those of its storage."""

    deps: Deps
    agent: str
    role: str
    endpoint: str
    network: Executor
    take: Take | None = None
    inbox: str = "inbox/"

    @property
    def roles(self) -> Mapping[str, str]:
        return {self.agent: self.role}


Opener = Callable[[], Root]
"""Makes the root; SkyError when this function is not set up."""


def tell(event: str, **fields: object) -> None:
    """One line into the function's log, with the request's id where the runtime has told it."""
    trace = os.environ.get("_X_AMZN_TRACE_ID")
    known = {"function": os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "")} | ({"xray": trace} if trace else {})
    print(as_line(time.time(), event, known | fields), file=sys.stdout, flush=True)


def count(name: str, **fields: str | int) -> None:
    """A line that CloudWatch also counts as the metric `name` (its embedded format), by function.

    A metric is paid by the month in which it was counted (0.30 $): for what should not happen, not for what does.
    """
    function = os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "")
    measured = {
        "Namespace": "Skyswarm",
        "Dimensions": [["function"]],
        "Metrics": [{"Name": name, "Unit": "Count"}],
    }
    about = {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [measured]}
    said = {"event": "count", "function": function, **fields, name: 1, "_aws": about}
    print(json.dumps(said), file=sys.stdout, flush=True)


class Kept:
    """The root of this process: made once; a failure is not kept, so that it can be mended.

    In Lambda it is made while the environment starts, which has a whole processor for it; the first request has the
    share of one that the function's memory buys (a third at 512 MB), and somebody waits for it.
    """

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._lock = threading.Lock()
        self._root: Root | None = None
        if "AWS_LAMBDA_RUNTIME_API" in os.environ:
            with suppress(SkyError):  # the first request is told
                self()

    def __call__(self) -> Root:
        with self._lock:
            if self._root is None:
                self._root = self._opener()
            return self._root


Event = Mapping[str, Any]
