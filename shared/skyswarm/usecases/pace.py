"""How fast each source is, as seen by this process: a hint for spreading pieces, never a fact to rely on.

Law: in memory only, lost with the process and rebuilt within a few pieces; whoever needs certainty reads the job.
Times come in as arguments.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

_START = 8 * 1024 * 1024.0  # bytes/s believed of a source nobody has tried: fast enough to be tried soon
_BLEND = 0.3


@dataclass(slots=True)
class _Seen:
    speed: float = _START
    flying: int = 0
    rest: float = 0.0
    resting_until: float = 0.0
    last_error: str = ""


class Pace:
    """Observed speeds, bytes in flight and rests, by (agent, source). Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, str], _Seen] = {}

    def _at(self, agent: str, source: str) -> _Seen:
        if len(self._seen) > 4096:
            self._seen.clear()
        return self._seen.setdefault((agent, source), _Seen())

    def choose(self, agent: str, sources: list[str], length: int, now: float) -> str | None:
        """The awake source that would finish `length` more bytes first; None when all rest. Counts them in flight."""
        with self._lock:
            best: tuple[float, str] | None = None
            for source in sources:
                seen = self._at(agent, source)
                if seen.resting_until > now:
                    continue
                wait = (seen.flying + length) / seen.speed
                if best is None or (wait, source) < best:
                    best = (wait, source)
            if best is None:
                return None
            self._at(agent, best[1]).flying += length
            return best[1]

    def landed(self, agent: str, source: str, length: int, seconds: float) -> None:
        """`length` verified bytes took `seconds`."""
        with self._lock:
            seen = self._at(agent, source)
            seen.flying = max(0, seen.flying - length)
            seen.rest = 0.0
            if length and seconds > 0:
                seen.speed += _BLEND * (max(1.0, length / seconds) - seen.speed)

    def let_go(self, agent: str, source: str, length: int) -> None:
        """`length` bytes are no longer in flight, and that they ended says nothing of the source."""
        with self._lock:
            seen = self._at(agent, source)
            seen.flying = max(0, seen.flying - length)

    def failed(
        self, agent: str, source: str, length: int, now: float, first: float, most: float, why: str
    ) -> None:
        """Rest the source, twice as long each time in a row, and believe it slower."""
        with self._lock:
            seen = self._at(agent, source)
            seen.flying = max(0, seen.flying - length)
            seen.rest = min(most, max(first, seen.rest * 2))
            seen.resting_until = now + seen.rest
            seen.speed = max(1.0, seen.speed / 2)
            seen.last_error = why

    def awake_at(self, agent: str, sources: list[str]) -> float:
        """When the first of them may be asked again (0: now)."""
        with self._lock:
            return min((self._at(agent, source).resting_until for source in sources), default=0.0)

    def why(self, agent: str, source: str) -> str:
        """The last error of a source, for messages."""
        with self._lock:
            return self._at(agent, source).last_error
