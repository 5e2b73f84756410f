"""A source of a share that says whatever a test wants: an identity, a server, and answers as given."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from typing import Any

from skyswarm.edge.http import Request, Response
from skyswarm.edge.server import Server
from skyswarm.messages import canonical
from skyswarm.messages.dsse import seal
from skyswarm.messages.manifest import MANIFEST_TYPE, Manifest
from skyswarm.messages.requests import FetchReply, FetchRequest, UrlGrant
from skyswarm.messages.statements import Head
from skyswarm.pieces.digest import content_of, pack_all
from skyswarm.pieces.hasher import PieceHasher
from skyswarm.usecases.jobs import ACTIVE
from tests.support.attack import Agent, Sybil, Town
from tests.support.stage import free_port

Reply = Callable[["Liar", FetchRequest], bytes | Response]


def digest(data: bytes) -> bytes:
    """The packed record of one piece."""
    hasher = PieceHasher()
    hasher.update(data)
    return pack_all([hasher.digest()])


def entry(path: str, data: bytes = b"", **changes: Any) -> dict[str, Any]:
    """A file of at most one piece, as a page has it; nothing is checked."""
    packed = digest(data) if data else b""
    made = {
        "path": path,
        "size": len(data),
        "content": content_of(packed),
        "modified": 1_700_000_000,
        "pieces": base64.urlsafe_b64encode(packed).rstrip(b"=").decode(),
    }
    return {key: value for key, value in {**made, **changes}.items() if value is not None}


def page(*files: dict[str, Any]) -> bytes:
    return canonical.dumps({"v": 1, "kind": "page", "files": list(files)})


class Liar(Sybil):
    """Serves what is in `objects` (by id) and `files` (by page and file), through `reply`, which may lie."""

    def __init__(self, place: Town, number: int = 77, host: str = "127.0.0.1") -> None:
        super().__init__(number)
        self.port = free_port()
        self.base = f"http://{host}:{self.port}"
        self.url = f"{self.base}/a/{self.id}"
        self.objects: dict[str, bytes] = {}
        self.files: dict[tuple[int, int], bytes] = {}
        self.reply: Reply = Liar.honest
        self.serve: Callable[[bytes], Response] | None = None
        self.asked: list[FetchRequest] = []
        self.hits: list[str] = []
        self.now = place.now
        self.server = Server(self._app, host, self.port, workers=4)
        self.server.start()

    def close(self) -> None:
        self.server.stop(grace=0.1)

    def put(self, data: bytes) -> str:
        """Keep a side object; its id."""
        name = hashlib.sha256(data).hexdigest()
        self.objects[name] = data
        return name

    def manifest(self, pages: Sequence[str], **totals: Any) -> bytes:
        """A manifest of its own, signed; its envelope."""
        given = {
            "files": 1,
            "bytes": 0,
            "pieces": 0,
            "index_depth": 0,
            "repos": (),
            "created": int(self.now()),
        }
        made = Manifest(
            issuer=self.id, name="it", pages=tuple(pages), nonce=bytes(16), expires=0, **{**given, **totals}
        )
        envelope = seal(MANIFEST_TYPE, made.payload(), self.key).dump()
        self.objects[made.id] = envelope
        return envelope

    def share(self, *files: tuple[str, bytes]) -> bytes:
        """A sound share of small files; its manifest's envelope."""
        self.files = {(0, n): data for n, (_, data) in enumerate(files)}
        size, pieces = sum(len(data) for _, data in files), sum(bool(data) for _, data in files)
        name = self.put(page(*(entry(path, data) for path, data in files)))
        return self.manifest([name], files=len(files), bytes=size, pieces=pieces)

    # ---- what it answers -------------------------------------------------------------------------
    def honest(self, request: FetchRequest) -> bytes:
        """As an agent answers, without asking who asks."""
        urls = [UrlGrant(f"{self.base}/f/{w.page}/{w.file}", int(self.now()) + 600) for w in request.want]
        at: list[int | None] = []
        for name in request.objects:
            at.append(len(urls) if name in self.objects else None)
            if name in self.objects:
                urls.append(UrlGrant(f"{self.base}/s/{name}", int(self.now()) + 600))
        wants = tuple(range(len(request.want)))
        return FetchReply(tuple(urls), wants, tuple(at), "folder", Head(0, self.id), ()).dump()

    def _app(self, request: Request) -> Response:
        self.hits.append(request.path)
        if request.path.endswith("/v1/fetch_piece"):
            asked = FetchRequest.parse(request.body)
            self.asked.append(asked)
            made = self.reply(self, asked)
            return made if isinstance(made, Response) else Response(200, {}, made)
        parts = request.path.split("/")
        if parts[1] == "s":
            return Response(200, {}, self.objects[parts[2]])
        if parts[1] == "f":
            data = self.files.get((int(parts[2]), int(parts[3])), b"")
            if self.serve is not None:
                return self.serve(data)
            return _ranged(request, data)
        return Response(404)


def _ranged(request: Request, data: bytes) -> Response:
    wanted = request.headers.get("range", "")
    if not wanted.startswith("bytes="):
        return Response(200, {}, data)
    first, last = (int(part) for part in wanted.removeprefix("bytes=").split("-"))
    headers = {"content-range": f"bytes {first}-{last}/{len(data)}"}
    return Response(206, headers, data[first : last + 1])


def patient(agent: Agent, transfer: str, rounds: int = 60, step: float = 20.0) -> Any:
    """Work and let time pass until the transfer has ended; its job."""
    for _ in range(rounds):
        agent.work()
        job = agent.state(transfer)
        if job.state not in ACTIVE:
            return job
        agent.town.ahead += step
    raise AssertionError(f"it goes on for ever: {agent.state(transfer)}")
