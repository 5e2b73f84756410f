"""Answers that a healthy S3 rarely gives, by a server that says what it is told: errors in a 200, cuts, throttles."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from skyswarm.drivers.aws.s3.control import Control
from skyswarm.drivers.aws.s3.naming import Upload
from skyswarm.drivers.aws.s3.opening import open_bucket
from skyswarm.drivers.aws.s3.storage import S3Storage
from skyswarm.drivers.aws.session import Session
from skyswarm.drivers.memory.records import MemoryNotes
from skyswarm.errors import (
    AbsentError,
    ConflictError,
    ForbiddenError,
    PieceMismatchError,
    SkyError,
    SourceChangedError,
    StorageFullError,
    UnavailableError,
)
from skyswarm.pieces.digest import PieceDigest
from skyswarm.ports.storage import ANY_VERSION
from tests.support.storages import AGENT, read

DATA = b"0123456789" * 100
DIGEST = PieceDigest(hashlib.sha256(DATA).digest(), 0, 0)
UPLOAD = Upload("a", len(DATA), len(DATA), "id", "slot", "mark").dump()

Answer = tuple[int, bytes, dict[str, str]]
"""Status, body, headers. A Content-Length among the headers may be a lie: the connection is cut then."""


class Scripted:
    """Gives the next answer of `answers`, the last one for ever; remembers method, path and Range of each request."""

    def __init__(self, answers: list[Answer]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, str, str | None]] = []


@contextmanager
def serving(scripted: Scripted) -> Iterator[S3Storage]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", "0")))
            scripted.asked.append((self.command, self.path, self.headers.get("range")))
            status, body, headers = (
                scripted.answers.pop(0) if len(scripted.answers) > 1 else scripted.answers[0]
            )
            self.close_connection = True
            if not status:
                return
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer

        def log_message(self, *_: object) -> None:
            """Nothing is told."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        session = Session("eu-central-1", f"http://127.0.0.1:{server.server_port}", "key", "secret")
        storage = open_bucket(session, "bucket", AGENT, MemoryNotes(), lambda: 1e9, bytes)
        # One try: here it counts what one answer means, not how often the SDK asks.
        client = session.client(
            "s3", s3={"addressing_style": "path"}, retries={"mode": "standard", "total_max_attempts": 1}
        )
        storage._make_control = lambda: Control(client, "bucket", "")
        yield storage
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def error(code: str, status: int = 200) -> Answer:
    return status, f"<Error><Code>{code}</Code></Error>".encode(), {"Content-Type": "application/xml"}


PARTS = (
    "<ListPartsResult><IsTruncated>false</IsTruncated><Part><PartNumber>1</PartNumber><ETag>e</ETag>"
    f"<Size>{len(DATA)}</Size><LastModified>2026-01-01T00:00:00Z</LastModified></Part></ListPartsResult>"
)
LISTED: Answer = (200, PARTS.encode(), {})


def finish(storage: S3Storage) -> object:
    return storage.finish(UPLOAD, [DIGEST], if_version=None)


def copy_part(storage: S3Storage) -> object:
    upload = Upload.parse(UPLOAD)
    return storage._make_control().copy_part(upload, 0, {"Bucket": "b", "Key": "k"}, '"e"', "", (0, 10))


def part(storage: S3Storage) -> object:
    return storage.part(UPLOAD, 0, DIGEST, len(DATA), [memoryview(DATA)])


def put(storage: S3Storage) -> object:
    return storage.put("a", DATA, if_version=None)


def got(storage: S3Storage) -> object:
    return read(storage, "a", "e", 0, 10)


@pytest.mark.parametrize(
    ("call", "answers", "expected"),
    [
        (finish, [LISTED, error("InternalError")], UnavailableError),
        (finish, [LISTED, error("SlowDown", 503)], UnavailableError),
        (finish, [LISTED, error("PreconditionFailed", 412), (404, b"", {})], ConflictError),
        (finish, [LISTED, error("ConditionalRequestConflict", 409), (404, b"", {})], ConflictError),
        (finish, [LISTED, error("NoSuchUpload", 404), (404, b"", {})], AbsentError),
        (copy_part, [error("InternalError")], UnavailableError),
        (copy_part, [error("SlowDown")], UnavailableError),
        (copy_part, [error("PreconditionFailed", 412)], SourceChangedError),
        (copy_part, [error("AccessDenied", 403)], ForbiddenError),
        (copy_part, [error("NoSuchBucket", 404)], ForbiddenError),
        (copy_part, [error("NoSuchVersion", 404)], SourceChangedError),
        (part, [error("BadDigest", 400)], PieceMismatchError),
        (part, [error("XAmzContentSHA256Mismatch", 400)], PieceMismatchError),
        (part, [error("SlowDown", 503)], UnavailableError),
        (part, [error("NoSuchUpload", 404)], AbsentError),
        (part, [error("AccessDenied", 403)], ForbiddenError),
        (part, [error("QuotaExceeded", 403)], StorageFullError),
        (part, [(0, b"", {})], UnavailableError),
        (put, [error("ConditionalRequestConflict", 409)], ConflictError),
        (put, [error("InternalError", 500)], UnavailableError),
        (put, [(0, b"", {})], UnavailableError),
        (got, [error("ExpiredToken", 400)], UnavailableError),
        (got, [error("NoSuchKey", 404)], AbsentError),
        (got, [error("InvalidRange", 416)], SourceChangedError),
        (got, [(200, b"0" * 11, {})], SourceChangedError),
        (got, [(206, b"0" * 10, {"Content-Range": "bytes 1-10/20"})], SourceChangedError),
        (got, [error("SlowDown", 503)], UnavailableError),
        (got, [error("PermanentRedirect", 301)], ForbiddenError),
    ],
)
def test_what_an_answer_means(
    call: Callable[[S3Storage], object], answers: list[Answer], expected: type[SkyError]
) -> None:
    with serving(Scripted(answers)) as storage, pytest.raises(SkyError) as raised:
        call(storage)
    assert type(raised.value) is expected


def test_a_completion_whose_answer_was_lost_is_known_by_its_mark() -> None:
    marked = {"x-amz-meta-skyswarm-upload": "mark", "ETag": '"e-1"', "Content-Length": str(len(DATA))}
    for mark, known in (("mark", True), ("another's", False)):
        head = (200, b"", {**marked, "x-amz-meta-skyswarm-upload": mark})
        scripted = Scripted([LISTED, error("NoSuchUpload", 404), head])
        with serving(scripted) as storage:
            if known:
                made = storage.finish(UPLOAD, [DIGEST], if_version=None)
                assert (made.version, made.size, dict(made.metadata)) == ("e-1", len(DATA), {})
            else:
                with pytest.raises(AbsentError):
                    storage.finish(UPLOAD, [DIGEST], if_version=None)


def test_a_read_that_is_cut_goes_on_where_it_ended() -> None:
    whole = len(DATA)
    scripted = Scripted(
        [
            (
                206,
                DATA[:300],
                {"Content-Range": f"bytes 0-{whole - 1}/{whole}", "Content-Length": str(whole)},
            ),
            error("SlowDown", 503),
            (206, DATA[300:], {"Content-Range": f"bytes 300-{whole - 1}/{whole}"}),
        ]
    )
    with serving(scripted) as storage:
        assert read(storage, "a", "e", 0, whole) == DATA
    assert [asked[2] for asked in scripted.asked] == ["bytes=0-999", "bytes=300-999", "bytes=300-999"]


def test_only_a_write_that_surely_did_nothing_is_tried_again() -> None:
    done: Answer = (200, b"", {"ETag": '"e"'})
    for condition, first, tries in (
        (None, error("SlowDown", 503), 2),
        (None, error("InternalError", 500), 1),
        (None, (0, b"", {}), 1),
        (ANY_VERSION, error("InternalError", 500), 2),
        (ANY_VERSION, (0, b"", {}), 2),
    ):
        scripted = Scripted([first, done])
        with serving(scripted) as storage:
            if tries == 2:
                assert storage.put("a", DATA, if_version=condition).version == "e"
            else:
                with pytest.raises(UnavailableError):
                    storage.put("a", DATA, if_version=condition)
        assert len(scripted.asked) == tries
