"""The log of a process: one JSON object a line in `log/<day>.jsonl`, kept when the worker is gone.

Law: no key, signature, presigned URL, query string or payload byte is ever given to it. Seven days are kept. Strangers
decide how many requests there are, so requests have a budget of their own: what they do cannot silence the rest.
"""

from __future__ import annotations

import json
import math
import threading
import time
from pathlib import Path

from skyswarm.ports.system import Clock

KEEP_DAYS = 7
MAX_LINE = 8192
MAX_FILE = 64 * 1024 * 1024
"""Bytes; then the file becomes `<day>.1.jsonl`, in the place of the one before, and a new one begins."""
MAX_REQUESTS = 16 * 1024 * 1024
"""Bytes of lines about requests in a day; what is more is counted, and the count is written once a minute."""
MAX_PATH = 256
_ASKED = frozenset({"refused", "failed"})
"""Events of which there are as many as somebody asks for: they are paid from the same budget."""
_EVERY = 60.0
_CUTS = (4096, 1024, 256, 64, 0)


class Log:
    """Appends lines; a full disk silences it and nothing else."""

    def __init__(
        self,
        folder: Path,
        clock: Clock = time.time,
        *,
        max_file: int = MAX_FILE,
        max_requests: int = MAX_REQUESTS,
    ) -> None:
        self._max_file = max_file
        self._max_requests = max_requests
        self._folder = folder
        self._clock = clock
        self._lock = threading.Lock()
        self._day = ""
        self._requests = 0
        self._left_out = 0
        self._said = -math.inf

    def write(self, event: str, **fields: object) -> None:
        """One line."""
        now = self._clock()
        line = as_line(now, event, fields)
        with self._lock:
            (self._spend if event in _ASKED else self._append)(now, line)

    def access(self, method: str, path: str, status: int, size: int, seconds: float) -> None:
        """One answered request; `path` comes without its query."""
        if path.startswith("/o/"):
            return
        now = self._clock()
        line = as_line(
            now,
            "request",
            {
                "method": method,
                "path": path[:MAX_PATH],
                "status": status,
                "bytes": size,
                "ms": round(seconds * 1000, 1),
            },
        )
        with self._lock:
            self._spend(now, line)

    def _spend(self, now: float, line: str) -> None:
        """Write it while the day's budget lasts; count it when it does not. Under the lock."""
        self._turn(now)
        self._requests += len(line)
        if self._requests <= self._max_requests:
            self._append(now, line)
        else:
            self._left_out += 1
            if now - self._said >= _EVERY:
                self._sum_up(now)

    def _sum_up(self, now: float) -> None:
        """Say how many requests were left out since the last time."""
        self._append(now, as_line(now, "requests-left-out", {"count": self._left_out}))
        self._left_out, self._said = 0, now

    def _turn(self, now: float) -> None:
        """Begin the day that it is, when it is another than before."""
        day = time.strftime("%Y-%m-%d", time.gmtime(now))
        if day == self._day:
            return
        self._day, self._requests = day, 0
        try:
            self._sweep()
        except OSError:
            return  # as in _append
        if self._left_out:
            self._sum_up(now)

    def _append(self, now: float, line: str) -> None:
        """Under the lock."""
        self._turn(now)
        path = self._folder / f"{self._day}.jsonl"
        try:
            if path.exists() and path.stat().st_size > self._max_file:
                path.replace(self._folder / f"{self._day}.1.jsonl")
            with path.open("a", encoding="ascii") as file:
                file.write(line + "\n")
        except OSError:
            return  # the log must never stop the work it reports

    def _sweep(self) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        kept = sorted(self._folder.glob("????-??-??*.jsonl"))
        days = sorted({file.name[:10] for file in kept})[-KEEP_DAYS:]
        for old in kept:
            if old.name[:10] not in days:
                old.unlink(missing_ok=True)


def as_line(now: float, event: str, fields: dict[str, object]) -> str:
    """JSON of at most MAX_LINE characters: the texts in it are cut, never the line."""
    for most in _CUTS:
        shown = {name: _cut(name, value, most) for name, value in fields.items()}
        line = json.dumps({"at": round(now, 3), "event": event, **shown}, ensure_ascii=True)
        if len(line) <= MAX_LINE:
            return line
    return json.dumps({"at": round(now, 3), "event": event[:64]}, ensure_ascii=True)


def _cut(name: str, value: object, most: int) -> object:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float) and abs(value) < 2**63:  # neither NaN nor infinity, which JSON lacks
        return value
    text = value if isinstance(value, str) else repr(value)
    if len(text) <= most:
        return text
    return text[len(text) - most :] if name == "trace" else text[:most]  # a trace's end says what happened
