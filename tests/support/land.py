"""Agents over memory drivers in one process: real use cases, storages and HTTP face; no sockets, threads or files.

The clock stands still until a test turns it. `Land.call` and `Land.read` are the Peers and Fetcher ports: a request
goes through `edge.api.answer` as it would from a server, a presigned URL through the presigner that made it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from skyswarm.drivers.memory.keys import MemoryKeys, prepare
from skyswarm.drivers.memory.records import (
    MemoryAnnouncements,
    MemoryHeld,
    MemoryMeters,
    MemoryNonces,
    MemoryNotes,
    MemoryShares,
    MemoryStatements,
    MemoryTransfers,
)
from skyswarm.drivers.memory.tasks import MemoryTasks
from skyswarm.drivers.storages.memory import MemoryStorage
from skyswarm.drivers.storages.presign import Presigner
from skyswarm.edge.api import answer
from skyswarm.edge.http import Request
from skyswarm.edge.pricing import prices
from skyswarm.errors import (
    AbsentError,
    LinkExpiredError,
    SignatureError,
    SourceChangedError,
    SourceUnreachableError,
    TooLargeError,
)
from skyswarm.messages.dsse import seal
from skyswarm.messages.keys import commitment, did_key
from skyswarm.messages.statements import Inception, Signed, parse_signed, payload_type
from skyswarm.ports.network import Reply
from skyswarm.ports.storage import ANY_VERSION
from skyswarm.usecases import jobs, people, publish, spreading, starting
from skyswarm.usecases.deps import Deps
from skyswarm.usecases.limits import Limits
from skyswarm.usecases.views import row_of, viewing
from skyswarm.usecases.work import perform

DAY = 86_400


class Inline(Executor):
    """Runs what it is given at once, in the caller's thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - handed on to whoever asks for the result
            future.set_exception(error)
        return future


INLINE = Inline()


class Buckets:
    """The Storages port: the storages of all agents here, by agent and name."""

    def __init__(self, land: Land) -> None:
        self._land = land
        self.made: dict[tuple[str, str], Any] = {}

    def add(self, agent: str, name: str, storage: Any = None) -> Any:
        presigner = self._land.presigners[agent]
        made = storage or MemoryStorage(
            name, presigner, self._land.clock, siblings=lambda other: self.made.get((agent, other))
        )
        self.made[agent, name] = made
        return made

    def open(self, agent: str, name: str) -> Any:
        if (agent, name) not in self.made:
            raise AbsentError(f"there is no storage named {name!r}")
        return self.made[agent, name]

    def names(self, agent: str) -> tuple[str, ...]:
        return tuple(sorted(name for who, name in self.made if who == agent and not name.startswith("#")))


class Land:
    """One clock, one net, whoever lives on it."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0
        self.people: dict[str, Person] = {}
        self.presigners: dict[str, Presigner] = {}
        self.buckets = Buckets(self)
        self.down: set[str] = set()
        self.lose: list[str] = []
        """Actions whose next answer is lost on its way back."""
        self.tamper: dict[str, Callable[[bytes], bytes]] = {}
        """What a peer makes of the body of its 200 answers, by action."""
        self.calls: list[str] = []
        self._drawn = 0

    def clock(self) -> float:
        return self.now

    def entropy(self, count: int) -> bytes:
        self._drawn += 1
        return hashlib.shake_256(b"land %d" % self._drawn).digest(count)

    # ---- the Peers and Fetcher ports -------------------------------------------------------------
    def call(
        self, method: str, url: str, body: bytes, headers: Mapping[str, str], *, timeout: float, limit: int
    ) -> Reply:
        parts = urlsplit(url)
        who = self.people.get(parts.path.split("/")[2])
        action = parts.path.rpartition("/")[2]
        self.calls.append(action)
        if who is None or who.id in self.down:
            raise SourceUnreachableError(f"nobody at {parts.netloc}")
        lower = {name.lower(): value for name, value in headers.items()}
        request = Request(method, parts.netloc, parts.path, parts.query, lower, body)
        response = answer(who.deps, {who.id: "agent"}, request, who.tell)
        assert isinstance(response.body, bytes)
        if action in self.lose:
            self.lose.remove(action)
            raise SourceUnreachableError("cut off before the answer came")
        if len(response.body) > limit:
            raise SourceUnreachableError("a longer answer than was asked for")
        body = response.body
        if response.status == 200 and action in self.tamper:
            body = self.tamper[action](body)
        return Reply(response.status, body)

    def read(self, url: str, offset: int, length: int) -> Iterator[memoryview]:
        storage, signed = self._open(url)
        try:
            yield from storage.chunks(signed.key, signed.version, offset, length)
        except AbsentError as error:
            raise SourceChangedError("gone") from error

    def small(self, url: str, limit: int) -> bytes:
        storage, signed = self._open(url)
        data = bytes(storage.pinned(signed.key, signed.version)[1])
        if len(data) > limit:
            raise TooLargeError("a longer object than was expected")
        return data

    def _open(self, url: str) -> tuple[Any, Any]:
        agent = urlsplit(url).path.split("/")[2]
        try:
            signed = self.presigners[agent].check_url("GET", url)
        except SignatureError as error:
            raise LinkExpiredError("refused") from error
        return self.buckets.open(agent, signed.storage), signed

    # ---- who lives here ----------------------------------------------------------------------------
    def agent(self, name: str, deps: Deps | None = None, **limits: Any) -> Person:
        """A new agent, in stores of its own or in those of another deployment."""
        keys = deps.keys if deps is not None else MemoryKeys(self.entropy)
        assert isinstance(keys, MemoryKeys)
        prepared = prepare(self.entropy)
        birth = Inception(did_key(prepared.current_public), commitment(prepared.next_public))
        keys.adopt(prepared, birth.id)
        url = f"http://{name}.test/a/{birth.id}"
        self.presigners[birth.id] = Presigner(self.entropy(32), url, self.clock)
        for bucket in ("#objects", "#inbox", "home", "src"):
            self.buckets.add(birth.id, bucket)
        made = Person(name, birth.id, url, self, deps or self._deps(keys, Limits(**limits)))
        signed = parse_signed(seal(payload_type("inception"), birth.payload(), prepared.current).dump())
        made.deps.statements.append(birth.id, [row_of(signed, self.now)])
        spreading.set_endpoint(made.deps, birth.id, url)
        self.people[birth.id] = made
        return made

    def _deps(self, keys: MemoryKeys, limits: Limits) -> Deps:
        return Deps(
            statements=MemoryStatements(), announcements=MemoryAnnouncements(), shares=MemoryShares(),
            held=MemoryHeld(), transfers=MemoryTransfers(), nonces=MemoryNonces(), meters=MemoryMeters(),
            notes=MemoryNotes(), tasks=MemoryTasks(), storages=self.buckets, keys=keys, peers=self, fetcher=self,
            clock=self.clock, entropy=self.entropy, prices=prices(), limits=limits,
        )  # fmt: skip


@dataclass
class Person:
    """An agent: its id, its stores, and short ways to speak as its user."""

    name: str
    id: str
    url: str
    land: Land
    deps: Deps
    told: list[str] = field(default_factory=list)

    def tell(self, event: str, **fields: object) -> None:
        self.told.append(event)
        assert event != "crash", fields

    def bucket(self, name: str) -> Any:
        return self.land.buckets.open(self.id, name)

    def put(self, key: str, data: bytes, storage: str = "src") -> None:
        self.bucket(storage).put(key, data, if_version=ANY_VERSION)

    def files(self, storage: str = "home") -> dict[str, bytes]:
        """What is there under final names."""
        bucket = self.bucket(storage)
        return {one.key: bytes(bucket.pinned(one.key, one.version)[1]) for one in bucket.list("").objects}

    def publish(
        self, files: Mapping[str, bytes] | None = None, storage: str = "src", **terms: Any
    ) -> publish.Published:
        for key, data in (files or {}).items():
            self.put(key, data, storage)
        given = publish.Terms(**{"name": "it", **terms})
        return publish.publish(self.deps, self.id, storage, "", given, INLINE, publish.Progress())

    def vouch(self, other: Person, **terms: Any) -> Signed:
        return people.vouch(self.deps, self.id, other.id, **terms)

    def hears(self, *others: Person) -> None:
        for one in others:
            self.deps.statements.append(self.id, one.deps.statements.of(one.id, one.id))

    def welcomes(self, other: Person, **terms: Any) -> Person:
        """Vouch for it, and know it by its key from now on; gives it back."""
        self.vouch(other, **terms)
        self.hears(other)
        return other

    def get(self, envelope: bytes, *sources: Person, **wish: Any) -> str:
        """Start a transfer as if these sources had been found; its id."""
        job = starting.start_manifest(self.deps, self.id, envelope, starting.Wish("home", **wish))
        for one in sources:
            found = jobs.SourceState(agent=one.id, endpoint=one.url)
            jobs.change(self.deps, self.id, job.id, lambda now, add=found: now.with_source(add))
        return job.id

    def work(self, rounds: int = 500) -> int:
        """Run what is due; how many tasks that were."""
        for done in range(rounds):
            found = self.deps.tasks.pull("test/0", self.land.now, 60.0)
            if not found:
                return done
            for delivery in found:
                perform(self.deps, delivery, "test/0", INLINE)
        raise AssertionError("it never ends")

    def job(self, transfer: str) -> jobs.Job:
        return jobs.load(self.deps, self.id, transfer)

    def sees(self, other: Person) -> bool:
        with viewing(self.deps, self.id) as view:
            return view.evaluate(other.id, "fetch", self.land.now).trusted
