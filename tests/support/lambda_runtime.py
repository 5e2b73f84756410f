"""Functions as Lambda runs them: the real `awslambdaric` in a process of its own, over a small Runtime API of ours.

Law: an event document goes in and what Lambda would give back comes out, also an error's. `Gateway` stands before one
and turns real HTTP requests into the events that an HTTP API or a function URL makes of them, and replies back.
"""

from __future__ import annotations

import base64
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.support.stage import ROOT

PATIENCE = 60.0
_API = "/2018-06-01/runtime"
TEXTS = ("text/", "application/json", "application/javascript", "application/xml")
"""Bodies that come as they are; all others come in base64."""
MAX_REPLY = 6 * 1024 * 1024


class FunctionError(Exception):
    """What Lambda says of an invocation that raised."""

    def __init__(self, doc: Any) -> None:
        super().__init__(f"{doc.get('errorType')}: {doc.get('errorMessage')}")
        self.kind = str(doc.get("errorType"))
        self.doc = doc


class Function:
    """One execution environment, started when the first event waits. `handler`: `functions.announce.aws.handler`."""

    def __init__(
        self,
        handler: str,
        variables: Mapping[str, str],
        out: Path,
        *,
        timeout: float = 30,
        wrap: Sequence[str] = (),
    ) -> None:
        self.out = out
        self.name = handler.split(".")[-3] if handler.count(".") > 1 else handler
        self._timeout = timeout
        self._events: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self._replies: dict[str, queue.Queue[tuple[bool, bytes]]] = {}
        self._broken: bytes | None = None
        self._stopping = False
        self._api = ThreadingHTTPServer(("127.0.0.1", 0), self._handlers())
        threading.Thread(
            target=self._api.serve_forever, args=(0.02,), daemon=True, name="runtime-api"
        ).start()
        keep = {key: value for key, value in os.environ.items() if key in ("PATH", "HOME", "LANG", "TMPDIR")}
        known = {
            "PYTHONPATH": f"{ROOT / 'shared'}{os.pathsep}{ROOT}",
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._api.server_port}",
            "AWS_LAMBDA_FUNCTION_NAME": self.name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{self.name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": f"2026/01/01/[$LATEST]{uuid.uuid4().hex}",
            "AWS_LAMBDA_LOG_FORMAT": "JSON",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_EXECUTION_ENV": f"AWS_Lambda_python{sys.version_info.major}.{sys.version_info.minor}",
            "LAMBDA_TASK_ROOT": str(ROOT),
            "_HANDLER": handler,
            "TZ": ":UTC",
        }
        with out.open("wb") as file:
            self.process = subprocess.Popen(
                [*wrap, sys.executable, "-m", "awslambdaric", handler], cwd=ROOT, env=keep | known | dict(variables),
                stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def invoke(self, event: Any) -> Any:
        """The reply. FunctionError: the handler raised, or the function cannot start."""
        request = str(uuid.uuid4())
        waiting = self._replies[request] = queue.Queue()
        self._events.put((request, json.dumps(event).encode()))
        deadline = time.monotonic() + PATIENCE
        while True:
            if self._broken is not None:
                raise FunctionError(json.loads(self._broken))
            assert self.process.poll() is None, self.out.read_text()
            assert time.monotonic() < deadline, f"{self.name} does not answer: {self.out.read_text()}"
            try:
                fine, data = waiting.get(timeout=0.2)
                break
            except queue.Empty:
                continue
        del self._replies[request]
        doc = json.loads(data)
        if not fine:
            raise FunctionError(doc)
        assert len(data) <= MAX_REPLY, "Lambda would refuse so long a reply"
        return doc

    def lines(self) -> list[Any]:
        """What it has printed, the lines that are JSON."""
        return [json.loads(one) for one in self.out.read_text().splitlines() if one.startswith("{")]

    def close(self) -> None:
        self._stopping = True
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._api.shutdown()
        self._api.server_close()

    def _handlers(self) -> Callable[..., BaseHTTPRequestHandler]:
        function = self

        class Api(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                assert self.path == f"{_API}/invocation/next", self.path
                while not function._stopping:
                    try:
                        request, event = function._events.get(timeout=0.2)
                    except queue.Empty:
                        continue
                    ends = int((time.time() + function._timeout) * 1000)
                    arn = f"arn:aws:lambda:eu-central-1:111111111111:function:{function.name}"
                    headers = {
                        "Lambda-Runtime-Aws-Request-Id": request,
                        "Lambda-Runtime-Deadline-Ms": str(ends),
                    }
                    headers["Lambda-Runtime-Invoked-Function-Arn"] = arn
                    headers["Lambda-Runtime-Trace-Id"] = "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=1"
                    self._say(200, event, headers)
                    return

            def do_POST(self) -> None:
                data = self._data()
                if self.path == f"{_API}/init/error":
                    function._broken = data
                else:
                    request, what = self.path.removeprefix(f"{_API}/invocation/").split("/")
                    function._replies[request].put((what == "response", data))
                self._say(202, b'{"status":"OK"}', {})

            def _data(self) -> bytes:
                if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length", "0")))
                out = b""
                while size := int(self.rfile.readline(), 16):
                    out += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return out

            def _say(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
                self.send_response(status)
                for name, value in {**headers, "Content-Type": "application/json"}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                return

        return Api


def http_event(
    method: str, target: str, headers: Sequence[tuple[str, str]], body: bytes, *, domain: str = ""
) -> dict[str, Any]:
    """The event of payload version 2.0 for a request as it stands on the wire; `domain`: the gateway's own name, which
    it puts into the place of the client's Host when it is given."""
    path, _, query = target.partition("?")
    joined: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        joined[key] = f"{joined[key]},{value}" if key in joined else value
    if domain:
        joined["host"] = domain
    joined |= {"x-forwarded-for": "203.0.113.7", "x-forwarded-port": "443", "x-forwarded-proto": "https"}
    joined["x-amzn-trace-id"] = "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700"
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": joined,
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "r3pmxmplak",
            "domainName": joined.get("host", ""),
            "domainPrefix": "r3pmxmplak",
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "203.0.113.7",
                     "userAgent": joined.get("user-agent", "")},
            "requestId": str(uuid.uuid4()),
            "routeKey": "$default",
            "stage": "$default",
            "time": "12/Mar/2026:19:03:58 +0000",
            "timeEpoch": int(time.time() * 1000),
        },
        "isBase64Encoded": False,
    }  # fmt: skip
    if body:
        text = joined.get("content-type", "").startswith(TEXTS)
        event["isBase64Encoded"] = not text
        event["body"] = body.decode("utf-8", "replace") if text else base64.b64encode(body).decode()
    return event


class Gateway:
    """Real HTTP before a function."""

    def __init__(self, function: Function, port: int) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler(function))
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True, name="gateway").start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(function: Function) -> Callable[..., BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            reply = function.invoke(http_event(self.command, self.path, list(self.headers.items()), body))
            text = reply["body"]
            data = base64.b64decode(text, validate=True) if reply["isBase64Encoded"] else text.encode()
            self.send_response(reply["statusCode"])
            for name, value in reply["headers"].items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_HEAD = _answer

        def log_message(self, *_: Any) -> None:
            return

    return Handler
