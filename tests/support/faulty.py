"""A real HTTP server on loopback that serves one file's bytes badly, in the way it is told.

    with Faulty(data, "corrupt") as source:
        source.url        # GET it, with or without a Range
        source.mode = "ok"  # change it at any time; counts of requests by mode are in source.asked

Modes: ok · corrupt (1% of the bytes) · stall (half of the answer, then nothing) · trickle (one byte every 50 ms) ·
silent (accepts, never answers) · cut (half of the answer, then a reset) · busy (503) · throttled (429) · expired
(403) · unauthorized (401) · gone (404) · changed (412) · wrong_range · short_range · no_range (200, whole) · longer
(Content-Length above the bytes) · gzip · redirect (to itself as ok) · loop (to itself) · downgrade (to
ftp:) · garbage (not HTTP) · drop_kept (answers, then closes the kept connection at the next request).
"""

from __future__ import annotations

import random
import re
import socket
import socketserver
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler
from types import TracebackType

STATUSES = {"busy": 503, "throttled": 429, "expired": 403, "unauthorized": 401, "gone": 404, "changed": 412}


class Faulty:
    """Serves `data` under any path; the mode may also come in the path: `/<mode>/…`."""

    def __init__(self, data: bytes, mode: str = "ok") -> None:
        self.data = data
        self.mode = mode
        self.asked: Counter[str] = Counter()
        self.connections = 0
        self.released = threading.Event()
        """Set at the end: frees the handlers that stall."""
        faulty = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                faulty.connections += 1
                self.used = False

            def do_GET(self) -> None:
                faulty._answer(self)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", "0")))
                faulty._answer(self)

            def log_message(self, *args: object) -> None:
                """Quiet."""

        class Threaded(socketserver.ThreadingTCPServer):
            daemon_threads = True
            block_on_close = False
            allow_reuse_address = True

            def handle_error(self, request: object, client_address: object) -> None:
                """Clients that go away are part of the plan."""

        self._server = Threaded(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/object?v=1&s=secret"

    def url_of(self, mode: str) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/{mode}/object?v=1&s=secret"

    def __enter__(self) -> Faulty:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    # ---- answers -------------------------------------------------------------------------------
    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        in_path = re.match(r"/([a-z_]+)/", handler.path)
        mode = in_path[1] if in_path else self.mode
        self.asked[mode] += 1
        if mode in STATUSES:
            self._send(handler, STATUSES[mode], b"no", {})
            return
        if mode in {"redirect", "loop", "downgrade"}:
            place = {"redirect": "/ok/object", "loop": "/loop/object", "downgrade": "ftp://127.0.0.1/object"}[
                mode
            ]
            self._send(handler, 302, b"", {"Location": place})
            return
        if mode == "silent":
            self.released.wait(30)
        elif mode == "garbage":
            handler.wfile.write(b"\x00\x01\x02 this is not HTTP\r\n\r\n")
            handler.close_connection = True
        elif mode == "drop_kept" and getattr(handler, "used", False):
            handler.close_connection = True
        else:
            self._object(handler, mode)
            handler.used = True  # type: ignore[attr-defined]

    def _object(self, handler: BaseHTTPRequestHandler, mode: str) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", handler.headers.get("Range", ""))
        first, last = (int(asked[1]), int(asked[2])) if asked else (0, len(self.data) - 1)
        last = min(last, len(self.data) - 1)
        status = 206 if asked else 200
        if mode == "wrong_range":
            first, last = first + 1, last + 1
        elif mode == "short_range":
            last -= 1
        elif mode == "no_range":
            first, last, status = 0, len(self.data) - 1, 200
        body = self.data[first : last + 1]
        headers = {"Content-Range": f"bytes {first}-{last}/{len(self.data)}"} if status == 206 else {}
        if mode == "corrupt":
            body = corrupted(body)
        elif mode == "gzip":
            headers["Content-Encoding"] = "gzip"
        elif mode == "longer":
            headers["Content-Length"] = str(len(body) + 1)
        half = body[: len(body) // 2]
        if mode in {"stall", "cut", "trickle"}:
            self._send(handler, status, half, {**headers, "Content-Length": str(len(body))})
            handler.wfile.flush()
            handler.close_connection = True
            if mode == "stall":
                self.released.wait(30)
            elif mode == "cut":
                handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            else:
                for at in range(len(half), len(body)):
                    if self.released.wait(0.05):
                        break
                    handler.wfile.write(body[at : at + 1])
            return
        self._send(handler, status, body, headers)
        if mode == "longer":
            handler.close_connection = True

    @staticmethod
    def _send(handler: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str]) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)


def corrupted(data: bytes) -> bytes:
    """One byte in a hundred changed, at least one."""
    out = bytearray(data)
    for place in random.Random(1).sample(range(len(out)), max(1, len(out) // 100)):
        out[place] ^= 0xFF
    return bytes(out)
