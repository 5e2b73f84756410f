"""How things look: tables, the line of a transfer, and the display that follows it live or line by line.

Law: pure text from plain values; only `Live` touches the terminal, and only when there is one. In a pipe there are no
colours, no control codes and no line that is rewritten.
"""

from __future__ import annotations

import sys
import time
import unicodedata
from collections import deque
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from skyswarm.cli import human
from skyswarm.cli.frame import clean

if TYPE_CHECKING:
    from skyswarm.messages.status import Status

BAR = 10
WINDOW = 5.0
"""Seconds over which the shown speed is a mean."""


def width(text: str) -> int:
    """Columns that a text takes on a terminal."""
    return sum(
        0 if unicodedata.combining(one) else 2 if unicodedata.east_asian_width(one) in "WF" else 1
        for one in text
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of left-aligned columns; a head of `>name` aligns right. No rows: no lines."""
    body = [[clean(cell).replace("\n", " ") for cell in row] for row in rows]
    if not body:
        return []
    names = [name.removeprefix(">") for name in head]
    wide = [max(width(row[at]) for row in (names, *body)) for at in range(len(head))]

    def line(row: Sequence[str]) -> str:
        cells = []
        for at, cell in enumerate(row):
            pad = " " * (wide[at] - width(cell))
            cells.append(pad + cell if head[at].startswith(">") else cell + pad)
        return "  ".join(cells).rstrip()

    return [line(names), *(line(row) for row in body)]


def progress(status: Status, rate: int, *, bar: bool) -> str:
    """One transfer in one line, as on the first page of the design."""
    done, total = status.bytes.done, status.bytes.total
    parts = [status.transfer]
    if bar:
        filled = BAR * done // total if total else 0
        parts.append("▓" * filled + "░" * (BAR - filled))
    if status.state != "moving":
        parts.append(status.state)
    if total:
        if not bar:
            parts.append(f"{100 * done // total}%")
        parts.append(f"{status.pieces.done:,}/{status.pieces.total:,} pieces")
        parts.append(human.size(done) if bar else f"{human.size(done)} of {human.size(total)}")
    if status.state == "moving":
        parts.append(f"{human.size(rate)}/s")
        parts.append(f"ETA {human.clock((total - done) // rate)}" if rate else "ETA –")
    if status.waiting is not None:
        parts.append(f"waits: {status.waiting.code} {status.waiting.message}")
    if status.cost.spent or status.cost.cap is not None or status.cost.estimate:
        spent = human.money(status.cost.spent)
        parts.append(f"{spent} of {human.money(status.cost.cap)}" if status.cost.cap is not None else spent)
    return "  ".join(parts)


class Speed:
    """Bytes per second over the last seconds, from counters that only grow."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def at(self, now: float, count: int) -> int:
        """Note the counter and give the speed."""
        self._seen.append((now, count))
        while len(self._seen) > 2 and now - self._seen[0][0] > WINDOW:
            self._seen.popleft()
        (start, before), (end, after) = self._seen[0], self._seen[-1]
        return int((after - before) / (end - start)) if end - start >= 1.0 else 0


class Live:
    """Lines that are rewritten in place on a terminal; elsewhere printed every few seconds and when asked to."""

    def __init__(self, stream: Any = None, *, every: float = 5.0, silent: bool = False) -> None:
        self._stream = stream or sys.stdout
        self._every = every
        self._silent = silent
        self._last = 0.0
        self._live: Any = None
        self.rewrites = bool(self._stream.isatty()) and not silent

    def __enter__(self) -> Live:
        if self.rewrites:
            from rich.console import Console
            from rich.live import Live as RichLive

            console = Console(file=self._stream, highlight=False, markup=False, emoji=False)
            self.rewrites = not console.is_dumb_terminal
            if self.rewrites:
                self._live = RichLive(console=console, auto_refresh=False, transient=True)
                self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, lines: Sequence[str], *, now: bool = False) -> None:
        """The lines as they are at this moment; `now`: something changed that should also be seen in a pipe."""
        if self._silent:
            return
        if self._live is not None:
            from rich.text import Text

            self._live.update(Text(clean("\n".join(lines)), no_wrap=True, overflow="ellipsis"), refresh=True)
            return
        if now or time.monotonic() - self._last >= self._every:
            self._last = time.monotonic()
            print(clean("\n".join(lines)), file=self._stream, flush=True)

    def print(self, *lines: str) -> None:
        """Lines that stay."""
        if self._silent:
            return
        if self._live is not None:
            from rich.text import Text

            for line in lines:
                self._live.console.print(Text(clean(line)), soft_wrap=True)
            return
        for line in lines:
            print(clean(line), file=self._stream, flush=True)
