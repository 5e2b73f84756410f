"""A proxy in front of a DynamoDB that loses answers, throttles, and leaves items over.

    proxy = DynamoProxy(ministack().url)
    proxy.next("TransactWriteItems", lose, through, throttle)     # what happens to the next three of them, in turn

It forwards real requests of the real SDK; `asked` counts them by operation.
"""

from __future__ import annotations

import json
import socket
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

Answer = tuple[int, bytes] | None
"""Status and body; None: the connection is cut instead."""
Forward = Callable[[bytes], tuple[int, bytes]]
Fate = Callable[[bytes, Forward], Answer]


def through(body: bytes, forward: Forward) -> Answer:
    """Nothing happens to it."""
    return forward(body)


def lose(body: bytes, forward: Forward) -> Answer:
    """It is applied, and the answer is lost."""
    forward(body)
    return None


def refuse(kind: str, status: int = 400, **more: Any) -> Fate:
    """It is answered with an error and not applied."""
    said = {"__type": f"com.amazonaws.dynamodb.v20120810#{kind}", "message": "said by a test", **more}
    return lambda body, forward: (status, json.dumps(said).encode())


def cancel(*reasons: str) -> Fate:
    """A transaction that is cancelled for these reasons."""
    return refuse("TransactionCanceledException", CancellationReasons=[{"Code": one} for one in reasons])


def leave(some: int) -> Fate:
    """Of a batch of items only the first `some` are looked at; the rest is left over."""

    def fate(body: bytes, forward: Forward) -> Answer:
        asked = json.loads(body)
        ((table, wanted),) = asked["RequestItems"].items()
        reading = isinstance(wanted, dict)
        rows = wanted["Keys"] if reading else wanted
        name = "UnprocessedKeys" if reading else "UnprocessedItems"
        status, answer = 200, b'{"Responses": {}}'
        if some:
            now = {**wanted, "Keys": rows[:some]} if reading else rows[:some]
            status, answer = forward(json.dumps({**asked, "RequestItems": {table: now}}).encode())
        left = {**wanted, "Keys": rows[some:]} if reading else rows[some:]
        return status, json.dumps({**json.loads(answer), name: {table: left} if rows[some:] else {}}).encode()

    return fate


class DynamoProxy:
    """Listens at `url` as long as the process lives."""

    def __init__(self, target: str) -> None:
        self._target = urlsplit(target).netloc
        self._fates: dict[str, deque[Fate]] = defaultdict(deque)
        self._lock = threading.Lock()
        self.asked: Counter[str] = Counter()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                answer = proxy._answer(dict(self.headers), body)
                if answer is None:
                    self.close_connection = True
                    with suppress(OSError):
                        self.connection.shutdown(socket.SHUT_RDWR)
                    return
                self.send_response(answer[0])
                self.send_header("Content-Type", "application/x-amz-json-1.0")
                self.send_header("Content-Length", str(len(answer[1])))
                self.end_headers()
                self.wfile.write(answer[1])

            def log_message(self, *said: Any) -> None:
                """Nothing is said."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()

    def next(self, operation: str, *fates: Fate) -> None:
        """What happens to the next requests of an operation; those after them pass."""
        with self._lock:
            self._fates[operation].extend(fates)

    def left(self) -> int:
        """Fates that have met no request yet."""
        return sum(len(fates) for fates in self._fates.values())

    def reset(self) -> None:
        """Nothing happens to requests from now on."""
        with self._lock:
            self._fates.clear()
            self.asked.clear()

    def _answer(self, headers: dict[str, str], body: bytes) -> Answer:
        operation = headers["X-Amz-Target"].partition(".")[2]

        def forward(body: bytes) -> tuple[int, bytes]:
            connection = HTTPConnection(self._target, timeout=30)
            try:
                sent = {**headers, "Content-Length": str(len(body)), "Accept-Encoding": "identity"}
                connection.request("POST", "/", body, sent)
                reply = connection.getresponse()
                return reply.status, reply.read()
            finally:
                connection.close()

        with self._lock:
            self.asked[operation] += 1
            fates = self._fates[operation]
            fate = fates.popleft() if fates else through
        return fate(body, forward)
