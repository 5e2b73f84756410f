"""HTTP/1.1 on the wire, the strict part of it that agents speak: bytes to a Head, a Response to bytes (RFC 9112).

Law: no I/O. What two readers could understand in two ways is refused: bare line feeds, folded lines, white space
before a colon, two lengths, any Transfer-Encoding, a target that is not an absolute path. Chunked bodies
are not spoken: every agent knows the length of what it sends.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from skyswarm.edge.http import FileRange, Response
from skyswarm.errors import RequestError, SkyError, TooLargeError

MAX_HEAD = 16 << 10
MAX_FIELDS = 64

_LINE = re.compile(rb"([A-Z]{1,16}) (/[!$-~]*) HTTP/1\.([01])")  # no '#' and no '"' in a target
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}):([\t\x20-\x7e\x80-\xff]*)")
"""Nothing in it overlaps with its neighbour, so it takes one look at each byte; white space is stripped after."""
_HOST = re.compile(r"[A-Za-z0-9.\-_:\[\]]{1,255}")
_LENGTH = re.compile(r"[0-9]{1,15}")
_ONCE = frozenset({"host", "content-length", "expect", "authorization", "range", "content-digest"})
_UNSAFE = re.compile(r"[\r\n\0]")


class WireError(Exception):
    """A request that is answered with `status` and `error`, after which the connection is closed."""

    def __init__(self, status: int, error: SkyError) -> None:
        super().__init__(str(error))
        self.status = status
        self.error = error


@dataclass(frozen=True, slots=True)
class Head:
    """A parsed head. `length`: bytes of the body. `keep`: whether the client wants to go on. `waits`: for a 100."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    length: int
    keep: bool
    waits: bool


def head_end(buffer: bytearray) -> int:
    """Where the body begins; 0 while the head is not complete. WireError when it is longer than MAX_HEAD."""
    end = buffer.find(b"\r\n\r\n", 0, MAX_HEAD)
    if end >= 0:
        return end + 4
    if len(buffer) >= MAX_HEAD:
        raise WireError(431, TooLargeError(f"a request head of more than {MAX_HEAD} bytes"))
    if b"\n\n" in buffer or b"\n\r\n" in buffer:
        raise _bad("a line of the head does not end in CR LF")
    return 0


def parse_head(data: bytes, body_limit: int) -> Head:
    """The head up to and with its empty line. WireError, nothing else."""
    lines = data[:-4].split(b"\r\n")
    if len(lines) > MAX_FIELDS + 1:
        raise WireError(431, TooLargeError(f"more than {MAX_FIELDS} header fields"))
    line = _LINE.fullmatch(lines[0])
    if line is None:
        raise _bad("not a request line of HTTP/1.1 with an absolute path")
    headers: dict[str, str] = {}
    for raw in lines[1:]:
        field = _FIELD.fullmatch(raw)
        if field is None:
            raise _bad("a malformed header field")
        name, value = field[1].decode("ascii").lower(), field[2].strip(b" \t").decode("latin-1")
        if name in headers:
            if name in _ONCE:
                raise _bad(f"the header field {name} twice")
            value = f"{headers[name]}, {value}"
        headers[name] = value
    newer = line[3] == b"1"
    _check_host(headers, newer)
    if "transfer-encoding" in headers:
        raise WireError(
            501, RequestError("no transfer coding is spoken here", advice="Send a Content-Length.")
        )
    path, _, query = line[2].decode("ascii").partition("?")
    wishes = {wish.strip().lower() for wish in headers.get("connection", "").split(",")}
    return Head(
        method=line[1].decode("ascii"),
        path=path,
        query=query,
        headers=headers,
        length=_length(headers, body_limit),
        keep="close" not in wishes and (newer or "keep-alive" in wishes),
        waits=newer and headers.get("expect", "").lower() == "100-continue",
    )


def _check_host(headers: Mapping[str, str], newer: bool) -> None:
    host = headers.get("host")
    if (host is None and newer) or (host is not None and not _HOST.fullmatch(host)):
        raise _bad("no Host, or one that is none")


def _length(headers: Mapping[str, str], limit: int) -> int:
    text = headers.get("content-length", "0")
    if not _LENGTH.fullmatch(text):
        raise _bad("a Content-Length that is not a number")
    if int(text) > limit:
        raise WireError(413, TooLargeError(f"at most {limit} bytes are taken at once"))
    return int(text)


def _bad(message: str) -> WireError:
    return WireError(400, RequestError(message))


def error_response(status: int, error: SkyError) -> Response:
    """The JSON answer that carries an error (`spec/errors.md`)."""
    body = json.dumps({"error": error.to_json()}, ensure_ascii=False, separators=(",", ":")).encode()
    return Response(status, {"Content-Type": "application/json", "Cache-Control": "no-store"}, body)


def encode_head(response: Response, date: str, keep: bool) -> bytes:
    """Status line and header fields of `response`, with Content-Length, Date and, when it is the last, Connection."""
    try:
        reason = HTTPStatus(response.status).phrase
    except ValueError:
        reason = ""
    fields = {"Date": date, **response.headers}
    if not any(name.lower() == "content-length" for name in response.headers):
        body = response.body
        fields["Content-Length"] = str(body.length if isinstance(body, FileRange) else len(body))
    if not keep:
        fields["Connection"] = "close"
    text = "\r\n".join(f"{name}: {value}" for name, value in fields.items())
    if any(_UNSAFE.search(name) or _UNSAFE.search(value) for name, value in fields.items()):
        raise ValueError("a header of an answer with a line break")
    return f"HTTP/1.1 {response.status} {reason}\r\n{text}\r\n\r\n".encode("latin-1")
