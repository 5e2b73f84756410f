"""One HTTP request and its answer as plain values: what every front door builds and every edge app takes.

Law: no socket, no framework, no routing here. Whoever serves a Response closes it: a FileRange owns its
descriptor.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

_CHUNK = 1 << 18


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came. `path` and `query` (without '?') are still percent-encoded, `headers` have lower-case
    names; a header sent twice is joined with ', '. `body` was read whole, up to the server's limit."""

    method: str
    authority: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class FileRange:
    """`length` bytes from `offset` of an open file. Who receives this value owns `fd`, closes it once."""

    fd: int
    offset: int
    length: int

    def chunks(self) -> Iterator[bytes]:
        """The bytes, for servers without sendfile. They end early when the file was cut: count them."""
        offset, end = self.offset, self.offset + self.length
        while offset < end:
            data = os.pread(self.fd, min(_CHUNK, end - offset), offset)
            if not data:
                return
            offset += len(data)
            yield data

    def close(self) -> None:
        """Close the descriptor; exactly once, by the owner."""
        os.close(self.fd)


@dataclass(frozen=True, slots=True)
class Response:
    """An answer. The server adds the body's Content-Length unless `headers` has one (an answer to HEAD)."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | FileRange = b""

    def close(self) -> None:
        """Free what the body holds. Call it once, also when nothing was sent."""
        if isinstance(self.body, FileRange):
            self.body.close()


App = Callable[[Request], Response]
"""An edge application: total, it answers every request and raises nothing."""
