"""Signed requests to one bucket over http.client: the data path of S3, streamed both ways at constant memory.

Law: no retries and no meaning of errors here but one: a kept connection that turns out closed before anything of a
body was asked for is replaced. What the server refuses leaves as Refused, what the network does as UnavailableError.
"""

from __future__ import annotations

import http.client
import re
import select
import ssl
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

from skyswarm.drivers.aws.s3.sigv4 import EMPTY, CredentialSource, query_of, quoted, sign
from skyswarm.errors import PieceMismatchError, UnavailableError
from skyswarm.ports.system import Clock

TIMEOUT = 30.0
_BLOCK = 1 << 20
_IDLE = 15.0
_KEPT = 32
_MAX_ERROR = 1 << 16
_CODE = re.compile(rb"<Code>([A-Za-z0-9.]{1,80})</Code>")


class Refused(Exception):
    """The server's answer was not a 2xx. `code` is S3's own, '' where an answer has no body."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(f"{status} {code}".strip())
        self.status = status
        self.code = code


class Wire:
    """`base`: the service's URL without a path. AWS's own is asked with the bucket in the host's name, others with the
    bucket in the path. `owner`: the account that must own the bucket, '' for any. Threads may share it."""

    def __init__(
        self,
        base: str,
        region: str,
        bucket: str,
        credentials: CredentialSource,
        clock: Clock,
        *,
        owner: str = "",
        context: ssl.SSLContext | None = None,
    ) -> None:
        parts = urlsplit(base)
        self.region, self.bucket = region, bucket
        self.credentials, self.clock = credentials, clock
        amazon = (parts.hostname or "").endswith((".amazonaws.com", ".amazonaws.com.cn"))
        inside = amazon and "." not in bucket  # a dot in a name breaks the certificate of *.s3…
        self.host = f"{bucket}.{parts.netloc}" if inside else parts.netloc
        self.service = ".amazonaws.com" if amazon else parts.netloc
        """What buckets have in common that can be copied between."""
        self.origin = f"{parts.scheme}://{self.host}"
        self._root = "/" if inside else f"/{bucket}/"
        self._secure = parts.scheme == "https"
        self._context = context
        self._owner = owner
        self._lock = threading.Lock()
        self._idle: list[tuple[float, http.client.HTTPConnection]] = []

    def path(self, name: str) -> str:
        """The encoded path of an object's URL."""
        return quoted(self._root + name)

    @contextmanager
    def ask(
        self, method: str, name: str, query: Mapping[str, str], headers: Mapping[str, str]
    ) -> Iterator[http.client.HTTPResponse]:
        """A request without a body; its answer is read inside the `with`."""
        connection = self._connection()
        done = False
        try:
            with _network(self.host):
                try:
                    self._head(connection, method, name, query, headers, EMPTY, None)
                    response = connection.getresponse()
                except (http.client.RemoteDisconnected, ConnectionError):  # it was closed while it was idle
                    connection.close()
                    self._head(connection, method, name, query, headers, EMPTY, None)
                    response = connection.getresponse()
                _check(response)
                yield response
            done = response.isclosed() and not response.will_close
        finally:
            self._end(connection, done)

    def send(
        self,
        method: str,
        name: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        sha256: bytes,
        length: int,
        chunks: Iterable[memoryview],
    ) -> Mapping[str, str]:
        """A request with a body of `length` bytes whose SHA-256 is signed: the server refuses any other.

        The last byte goes out only when `chunks` has ended: whatever they raise, the server never has the whole body.
        PieceMismatchError: they gave another number of bytes.
        """
        connection = self._connection()
        done = False
        try:
            with _network(self.host):
                self._head(connection, method, name, query, headers, sha256.hex(), length)
                try:
                    last = _held_back(connection, length, chunks)
                    connection.send(last)
                except (BrokenPipeError, ConnectionResetError):
                    _early(connection)  # the server has said no before it took everything
                    raise
                response = connection.getresponse()
                _check(response)
                response.read(_MAX_ERROR)
                done = response.isclosed() and not response.will_close
                return {key.lower(): value for key, value in response.getheaders()}
        finally:
            self._end(connection, done)

    def _head(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        name: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        payload: str,
        length: int | None,
    ) -> None:
        path, asked = self.path(name), query_of(query)
        if self._owner:
            headers = {**headers, "x-amz-expected-bucket-owner": self._owner}
        signed = sign(
            self.credentials(), self.region, method, self.host, path, asked, headers, payload, self.clock()
        )
        connection.putrequest(
            method, f"{path}?{asked}" if asked else path, skip_host=True, skip_accept_encoding=True
        )
        for header, value in signed.items():
            connection.putheader(header, value)
        connection.putheader("Accept-Encoding", "identity")
        if length is not None:
            connection.putheader("Content-Length", str(length))
        connection.endheaders()

    def _connection(self) -> http.client.HTTPConnection:
        while True:
            with self._lock:
                if not self._idle:
                    break
                since, found = self._idle.pop()
            if time.monotonic() - since < _IDLE and not _dead(found):
                return found
            found.close()
        if not self._secure:
            return http.client.HTTPConnection(self.host, timeout=TIMEOUT, blocksize=_BLOCK)
        self._context = self._context or ssl.create_default_context()
        return http.client.HTTPSConnection(
            self.host, timeout=TIMEOUT, blocksize=_BLOCK, context=self._context
        )

    def _end(self, connection: http.client.HTTPConnection, whole: bool) -> None:
        if not whole:
            connection.close()
            return
        with self._lock:
            self._idle.append((time.monotonic(), connection))
            over = self._idle.pop(0)[1] if len(self._idle) > _KEPT else None
        if over is not None:
            over.close()

    def close(self) -> None:
        """Close the connections that are kept."""
        with self._lock:
            kept, self._idle = self._idle, []
        for _, connection in kept:
            connection.close()


@contextmanager
def _network(host: str) -> Iterator[None]:
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        raise UnavailableError(f"{host} cannot be reached, or cut the connection: {error}") from error


def _held_back(connection: http.client.HTTPConnection, length: int, chunks: Iterable[memoryview]) -> bytes:
    """Send all but the last byte, which is given back once `chunks` has ended."""
    sent, last = 0, b""
    for chunk in chunks:
        if sent + len(chunk) > length:
            raise PieceMismatchError(f"a part of {length} bytes came longer than that")
        sent += len(chunk)
        if sent == length and chunk:
            last, chunk = bytes(chunk[-1:]), chunk[:-1]  # noqa: PLW2901
        if chunk:
            connection.send(chunk)
    if sent != length:
        raise PieceMismatchError(f"a part of {length} bytes ended after {sent}")
    return last


def _early(connection: http.client.HTTPConnection) -> None:
    """Raise what the server said before it closed, if it can still be read."""
    with suppress(OSError, http.client.HTTPException):
        _check(connection.getresponse())


def _check(response: http.client.HTTPResponse) -> None:
    if not 200 <= response.status < 300:
        found = _CODE.search(response.read(_MAX_ERROR))
        raise Refused(response.status, found[1].decode() if found else "")


def _dead(connection: http.client.HTTPConnection) -> bool:
    if connection.sock is None:
        return True
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN | select.POLLHUP | select.POLLERR)
    return bool(poll.poll(0))
