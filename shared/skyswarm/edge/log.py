"""The log of a process: one JSON object a line in `log/<day>.jsonl`, kept when the worker is gone.

Law: no key, signature, presigned URL, query string or payload byte is ever given to it. Seven days are kept.
"""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

KEEP_DAYS = 7
MAX_LINE = 8192
MAX_DAY = 64 * 1024 * 1024


class Log:
    """Appends lines; a full disk silences it and nothing else."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._day = ""

    def write(self, event: str, **fields: object) -> None:
        """One line."""
        now = time.time()
        day = time.strftime("%Y-%m-%d", time.gmtime(now))
        line = json.dumps({"at": round(now, 3), "event": event, **fields}, default=str, ensure_ascii=True)[
            :MAX_LINE
        ]
        path = self._folder / f"{day}.jsonl"
        with self._lock:
            try:
                if day != self._day:
                    self._sweep()
                    self._day = day
                if path.exists() and path.stat().st_size > MAX_DAY:
                    return
                with path.open("a", encoding="ascii") as file:
                    file.write(line + "\n")
            except OSError:
                return  # the log must never stop the work it reports

    def access(self, method: str, path: str, status: int, size: int, seconds: float) -> None:
        """One answered request; `path` comes without its query."""
        if not path.startswith("/o/"):
            self.write(
                "request", method=method, path=path, status=status, bytes=size, ms=round(seconds * 1000, 1)
            )

    def _sweep(self) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        for old in sorted(self._folder.glob("????-??-??.jsonl"))[:-KEEP_DAYS]:
            old.unlink(missing_ok=True)
