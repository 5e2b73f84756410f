"""Answers presigned URLs: `GET <base>/o/<storage>/<key>?v=…&e=…&s=…`, ranges included (RFC 9110, 14).

Law: no access without the presigner's word, no path but through a storage, nothing guessed about the content: a
stranger's file is never shown by a browser as a page of ours. The bytes go out by sendfile where they are a file.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from skyswarm.drivers.storages.presign import OBJECTS, Presigner, Signed
from skyswarm.edge.http import FileRange, Request, Response
from skyswarm.edge.outward import outward
from skyswarm.edge.wire import error_response
from skyswarm.errors import (
    AbsentError,
    ForbiddenError,
    LinkExpiredError,
    RequestError,
    SignatureError,
    SkyError,
    SourceChangedError,
    UnsafePathError,
)
from skyswarm.ports.storage import Object, Storage

_RANGE = re.compile(r"bytes=([0-9]{0,15})-([0-9]{0,15})")


@runtime_checkable
class Files(Protocol):
    """A storage whose objects are files."""

    def open_at(self, key: str, version: str) -> tuple[int, Object]:
        """A descriptor to be closed by the caller."""
        ...


def serve_object(
    storage: Callable[[str], Storage],
    presigner: Presigner,
    request: Request,
    tell: Callable[..., None] = lambda *_, **__: None,
) -> Response:
    """The object, a range of it (206, 416), or an error: 400 not a presigned URL, 403 signature or end, 404, 412
    changed since it was signed, 503. `storage` gives the storage of a name (AbsentError)."""
    try:
        _, _, rest = request.path.partition(OBJECTS)
        signed = presigner.check(request.method, rest, request.query)
        return _serve(storage(signed.storage), signed, request)
    except SkyError as error:
        return error_response(_status(error), outward(error, request.path, tell))


def _serve(storage: Storage, signed: Signed, request: Request) -> Response:
    if isinstance(storage, Files):
        fd, found = storage.open_at(signed.key, signed.version)
        status, headers, offset, length = _select(found, request)
        return Response(status, headers, FileRange(fd, offset, length))
    found = storage.stat(signed.key)
    if found.version != signed.version:
        raise SourceChangedError(f"{signed.key} was changed since this URL was made")
    status, headers, offset, length = _select(found, request)
    chunks = storage.chunks(signed.key, signed.version, offset, length)
    return Response(status, headers, b"".join(bytes(chunk) for chunk in chunks))


def _select(found: Object, request: Request) -> tuple[int, dict[str, str], int, int]:
    """Status, headers, offset and length of what is sent."""
    etag = f'"{found.version}"'
    headers = {
        "Content-Type": "application/octet-stream",
        "Content-Disposition": "attachment",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "private, no-store",
        "Accept-Ranges": "bytes",
        "ETag": etag,
    }
    asked = _RANGE.fullmatch(request.headers.get("range", ""))
    # Several ranges, other units and ranges of another state (If-Range) may be answered with the whole object.
    if asked is None or asked[0] == "bytes=-" or request.headers.get("if-range", etag) != etag:
        return 200, headers, 0, found.size
    if asked[1]:
        first, last = int(asked[1]), int(asked[2]) if asked[2] else found.size
        if asked[2] and last < first:
            return 200, headers, 0, found.size
    else:
        first, last = max(0, found.size - int(asked[2])), found.size
    last = min(last, found.size - 1)
    if first > last:
        headers["Content-Range"] = f"bytes */{found.size}"
        return 416, headers, 0, 0
    headers["Content-Range"] = f"bytes {first}-{last}/{found.size}"
    return 206, headers, first, last - first + 1


def _status(error: SkyError) -> int:
    if isinstance(error, SignatureError | LinkExpiredError):
        return 403
    if isinstance(error, AbsentError | ForbiddenError | UnsafePathError):
        return 404  # a link that leads out of the folder is as good as nothing
    if isinstance(error, SourceChangedError):
        return 412
    return 400 if isinstance(error, RequestError) else 503
