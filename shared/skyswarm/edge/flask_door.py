"""A front door for functions-framework (Google Cloud Functions, Cloud Run): its request in, its reply out.

Law: builds the drivers once per cold start, translates, calls `api.answer`, translates back. No rule, no routing of
its own, and no import of the framework: any object with Flask's request attributes will do. The home folder that
SKYSWARM_HOME names is the embedded default; the drivers of the cloud take its place when they are there.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from skyswarm.edge.api import MAX_BODY, answer, refusal
from skyswarm.edge.http import FileRange, Request
from skyswarm.edge.log import Log
from skyswarm.edge.outward import outward
from skyswarm.edge.runtime import Runtime, open_runtime
from skyswarm.errors import NoHomeError, SkyError

Reply = tuple[bytes, int, Mapping[str, str]]


def _cold(event: str, **fields: object) -> None:
    """Before there is a log: where the cloud keeps what a function prints."""
    print(event, fields, file=sys.stderr, flush=True)


def door(action: str) -> Callable[[Any], Reply]:
    """The function that serves one action."""
    only = frozenset({action})
    lock = threading.Lock()
    kept: list[tuple[Runtime, Log]] = []

    def warm() -> tuple[Runtime, Log]:
        with lock:
            if not kept:
                home = os.environ.get("SKYSWARM_HOME")
                if not home:
                    raise NoHomeError("this function does not know its agent", advice="Set SKYSWARM_HOME.")
                try:
                    runtime = open_runtime(Path(home))
                except SkyError as error:
                    raise outward(error, "", _cold) from error
                kept.append((runtime, Log(runtime.home.log)))
            return kept[0]

    def handle(request: Any) -> Reply:
        try:
            runtime, log = warm()
        except SkyError as error:
            response = refusal(error)
        else:
            asked = Request(
                method=request.method,
                authority=request.host,
                path=request.environ.get("RAW_URI", request.full_path).partition("?")[0],
                query=request.query_string.decode("latin-1"),
                headers={name.lower(): value for name, value in request.headers.items()},
                body=request.stream.read(MAX_BODY + 1),  # what is longer is refused, not read to its end
            )
            response = answer(runtime.deps, {runtime.agent: runtime.config.role}, asked, log.write, only)
        body = response.body
        data = b"".join(body.chunks()) if isinstance(body, FileRange) else body
        response.close()
        return data, response.status, response.headers

    handle.__name__ = action
    handle.__doc__ = f"Serve `{action}`."
    return handle
