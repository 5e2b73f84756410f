"""A driver whose acknowledgements get lost: the call is applied, then an error says that it may not have been."""

from __future__ import annotations

from typing import Any

from skyswarm.errors import UnavailableError


class Lossy:
    """Wraps any driver. After `lose("method")` the next call of that method is applied and raises UnavailableError."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._armed: set[str] = set()

    def lose(self, method: str) -> None:
        self._armed.add(method)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)

        def call(*arguments: Any, **named: Any) -> Any:
            result = method(*arguments, **named)
            if name in self._armed:
                self._armed.discard(name)
                raise UnavailableError(f"the answer to {name} was lost")
            return result

        return call


def twice(driver: Any, method: str, *arguments: Any) -> Any:
    """Call, lose the acknowledgement, and call again as a caller would; returns what the second call gives."""
    lossy = Lossy(driver)
    lossy.lose(method)
    try:
        getattr(lossy, method)(*arguments)
    except UnavailableError:
        return getattr(lossy, method)(*arguments)
    raise AssertionError("the acknowledgement was not lost")
