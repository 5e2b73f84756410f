"""Agents with real homes, SQLite, keys and HTTP servers in one process, and the ways of a stranger to speak to them.

The clock is one for all and is turned by hand; each agent may be given one that is wrong. No task runs by itself:
`work` runs what waits, so that a test decides what happens when.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from skyswarm.drivers.http.address import AddressPolicy
from skyswarm.edge.api import make_app
from skyswarm.edge.log import Log
from skyswarm.edge.runtime import Runtime, create, open_runtime
from skyswarm.edge.server import Server
from skyswarm.messages.dsse import seal
from skyswarm.messages.httpsig import sign_request
from skyswarm.messages.keys import SeedSigner, commitment, did_key
from skyswarm.messages.requests import FetchReply, FetchRequest, SubmitRequest, Want
from skyswarm.messages.statements import Inception, Logged, Signed, Vouch, payload_type
from skyswarm.ports.system import Signer
from skyswarm.usecases import jobs, people, publish, spreading, starting
from skyswarm.usecases.limits import Limits
from skyswarm.usecases.views import viewing
from skyswarm.usecases.work import perform
from tests.support.stage import free_port

DAY = 86_400
ONE = (Want(0, 0, 0, 1),)
FILE = bytes(range(250)) * 4
"""What is shared: a thousand bytes."""


class Town:
    """Where they live: one folder, one clock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ahead = 0.0
        self.agents: list[Agent] = []

    def now(self) -> float:
        return time.time() + self.ahead

    def agent(
        self, name: str, *, role: str = "agent", policy: AddressPolicy | None = None, **limits: Any
    ) -> Agent:
        made = Agent(
            self, name, role, policy, replace(Limits(lookup_timeout=2.0, call_timeout=5.0), **limits)
        )
        self.agents.append(made)
        return made

    def close(self) -> None:
        for one in self.agents:
            one.close()


@contextmanager
def town(folder: Path) -> Iterator[Town]:
    """A town that is empty again at the end."""
    made = Town(folder)
    try:
        yield made
    finally:
        made.close()


class Agent:
    """One home and its server."""

    def __init__(
        self, where: Town, name: str, role: str, policy: AddressPolicy | None, limits: Limits
    ) -> None:
        self.town, self.name, self.skew = where, name, 0.0
        self.home = where.folder / name
        port = free_port()
        create(self.home, name=name, port=port, role=role, fsync=False, clock=self.now)[0].close()
        self.runtime: Runtime = open_runtime(self.home, clock=self.now, limits=limits, policy=policy)
        self.id, self.deps, self.url = self.runtime.agent, self.runtime.deps, self.runtime.endpoint
        spreading.set_endpoint(self.deps, self.id, self.url)
        self.log = Log(self.runtime.home.log)
        self.server = Server(
            make_app(self.runtime, self.log.write), "127.0.0.1", port, workers=4, log=self.log.access
        )
        self.server.start()

    def now(self) -> float:
        """Its clock."""
        return self.town.now() + self.skew

    def close(self) -> None:
        self.server.stop(grace=0.1)
        self.runtime.close()

    # ---- what its user does --------------------------------------------------------------------
    @property
    def key(self) -> Signer:
        return self.deps.keys.current(self.id)

    def vouch(self, other: Agent | str, **terms: Any) -> Signed:
        return people.vouch(self.deps, self.id, other if isinstance(other, str) else other.id, **terms)

    def chain(self) -> list[bytes]:
        """Envelopes of its own statements."""
        return [row.envelope for row in self.deps.statements.of(self.id, self.id)]

    def hears(self, *others: Agent) -> None:
        """Its store has their chains, as if read from a repository."""
        for other in others:
            self.deps.statements.append(self.id, other.deps.statements.of(other.id, other.id))

    def welcomes(self, other: Agent, **terms: Any) -> Agent:
        """Vouch for it, and know it by its key from now on; gives it back."""
        self.vouch(other, **terms)
        self.hears(other)
        return other

    def publish(self, files: dict[str, bytes], storage: str = "src", **terms: Any) -> publish.Published:
        """Share these files."""
        root = self.home / storage
        for name, data in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(data)
        if storage not in self.runtime.config.storages:
            self.runtime.add_storage(storage, root)
        given = publish.Terms(**{"name": "it", **terms})
        return publish.publish(self.deps, self.id, storage, "", given, self.runtime.pool, publish.Progress())

    def get(self, envelope: bytes, sources: Sequence[Agent] = (), **wish: Any) -> str:
        """Start a transfer as if these sources had been found already; its id."""
        job = starting.start_manifest(self.deps, self.id, envelope, starting.Wish("home", **wish))
        for one in sources:
            state = jobs.SourceState(agent=one.id, endpoint=one.url)
            jobs.change(self.deps, self.id, job.id, lambda now, add=state: now.with_source(add))
        return job.id

    def work(self, rounds: int = 200) -> None:
        """Run what waits, until nothing is due."""
        for _ in range(rounds):
            found = self.deps.tasks.pull("test/0", self.now(), 60.0)
            if not found:
                return
            for delivery in found:
                perform(self.deps, delivery, "test/0", self.runtime.network)

    def state(self, transfer: str) -> Any:
        return jobs.load(self.deps, self.id, transfer)

    # ---- what can be seen ------------------------------------------------------------------------
    def rows(self) -> int:
        """Statements stored."""
        return self.deps.statements.count(self.id)

    def verifications(self) -> int:
        with viewing(self.deps, self.id) as view:
            return view.verifications

    def sees(self, other: Agent | str) -> bool:
        who = other if isinstance(other, str) else other.id
        with viewing(self.deps, self.id) as view:
            return view.evaluate(who, "fetch", self.now()).trusted

    def logged(self) -> str:
        return "".join(file.read_text() for file in self.runtime.home.log.glob("*.jsonl"))


class Answer:
    """What came back."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The error's code, '' when it is none."""
        return "" if self.status == 200 else str(self.json["error"]["code"])

    @property
    def reply(self) -> FetchReply:
        assert self.status == 200, self.body
        return FetchReply.parse(self.body)


def call(method: str, url: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Answer:
    """One HTTP exchange as anybody can make it; `url` goes out as it is."""
    parts = urlsplit(url)
    assert parts.hostname
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)
    try:
        path = url[url.index(parts.netloc) + len(parts.netloc) :]
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        return Answer(answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read())
    finally:
        connection.close()


def nonce() -> str:
    return base64.urlsafe_b64encode(os.urandom(16)).rstrip(b"=").decode()


def signed(
    asker: Agent, server: Agent, body: bytes, action: str = "fetch_piece", **changes: Any
) -> tuple[str, dict[str, str]]:
    """URL and headers of a signed request; `changes` to what an honest asker would say: signer, agent, audience, now,
    nonce, life, url."""
    url = str(changes.get("url", f"{server.url}/v1/{action}"))
    headers = sign_request(
        "POST",
        url,
        body,
        changes.get("signer", asker.key),
        changes.get("agent", asker.id),
        changes.get("audience", server.id),
        changes.get("now", asker.now()),
        changes.get("nonce", nonce()),
        changes.get("life", 60),
    )
    return url, headers


def ask(
    asker: Agent,
    server: Agent,
    manifest: str,
    want: tuple[Want, ...] = ONE,
    objects: tuple[str, ...] = (),
    proof: Sequence[bytes] = (),
    **changes: Any,
) -> Answer:
    """A signed `fetch_piece`, and its answer."""
    body = FetchRequest(manifest, want, objects, tuple(proof)).dump()
    url, headers = signed(asker, server, body, **changes)
    return call("POST", url, body, headers)


def submit(server: Agent, envelopes: Sequence[bytes], action: str = "vouch") -> Answer:
    """Statements at an agent's door, from nobody in particular."""
    body = SubmitRequest(tuple(envelopes)).dump()
    return call("POST", f"{server.url}/v1/{action}", body, {"Content-Type": "application/json"})


def sealed(statement: Logged, *signers: Signer) -> bytes:
    """An envelope signed by whoever one likes."""
    return seal(payload_type(statement.kind), statement.payload(), *signers).dump()


class Sybil:
    """An identity of somebody who makes thousands: no home, no server, a key and a chain."""

    def __init__(self, number: int) -> None:
        self.key = SeedSigner(number.to_bytes(32, "big"))
        born = Inception(
            did_key(self.key.public), commitment(SeedSigner(number.to_bytes(31, "big") + b"n").public)
        )
        self.id, self.last, self.seq = born.id, born.id, 0
        self.chain = [sealed(born, self.key)]

    def vouch(self, sub: str, now: float, **terms: Any) -> bytes:
        """Its next vouch, signed."""
        given = {"scope": ("fetch",), "depth": 7, "limit": None, "nbf": int(now) - 60, "exp": int(now) + DAY}
        made = Vouch(self.id, self.seq + 1, self.last, sub, **{**given, **terms})  # type: ignore[arg-type]
        self.last, self.seq = made.id, self.seq + 1
        self.chain.append(sealed(made, self.key))
        return self.chain[-1]
