"""Agents and repositories in one process: memory records, real use cases, and a Peers driver that calls them directly.

Nothing here is a stand-in for a decision: bodies, errors and limits pass as bytes, as they do over HTTP. A test turns
the clock by hand, takes a repository off the net, or puts a liar in its place.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import parse_qsl, urlsplit

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
from skyswarm.errors import SkyError, SourceUnreachableError, UnknownRouteError
from skyswarm.messages.dsse import seal
from skyswarm.messages.keys import commitment, did_key
from skyswarm.messages.statements import (
    Distrust,
    Inception,
    Logged,
    Revoke,
    Rotate,
    Signed,
    Vouch,
    parse_signed,
    payload_type,
)
from skyswarm.ports.network import Fetcher, Reply
from skyswarm.ports.records import Share, StatementRow
from skyswarm.ports.storage import Storages
from skyswarm.ports.system import Signer
from skyswarm.usecases import repository
from skyswarm.usecases.chains import replayed
from skyswarm.usecases.costs import Prices
from skyswarm.usecases.deps import Deps
from skyswarm.usecases.limits import Limits

DAY = 86_400
Answer = Callable[[str, str, bytes], bytes]
"""method, path with query after the repository's base, body → body of a 200 reply; SkyErrors become replies."""


def row(signed: Signed, received: float) -> StatementRow:
    one = cast(Logged, signed.statement)
    return StatementRow(one.id, one.iss, one.seq, one.kind, signed.envelope_bytes, received)


class World:
    """One clock, one net, and whoever lives on it."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0
        self.routes: dict[str, Answer] = {}
        self.calls: list[tuple[str, str]] = []
        self._drawn = 0

    def entropy(self, count: int) -> bytes:
        self._drawn += 1
        return hashlib.shake_256(b"test %d" % self._drawn).digest(count)

    # ---- the Peers port ------------------------------------------------------------------------
    def call(
        self, method: str, url: str, body: bytes, headers: Mapping[str, str], *, timeout: float, limit: int
    ) -> Reply:
        base, _, rest = url.partition("/v1/")
        self.calls.append((method, url))
        answer = self.routes.get(base)
        if answer is None:
            raise SourceUnreachableError(f"nobody at {base}")
        try:
            reply = Reply(200, answer(method, f"/v1/{rest}", body))
        except SkyError as error:
            reply = Reply(error.status, json.dumps({"error": error.to_json()}).encode())
        if len(reply.body) > limit:
            raise SourceUnreachableError(f"{len(reply.body)} bytes, more than {limit}")
        return reply

    # ---- who lives here ------------------------------------------------------------------------
    def agent(self, name: str) -> Party:
        """A new agent with its own stores."""
        keys = MemoryKeys(self.entropy)
        prepared = prepare(self.entropy)
        birth = Inception(did_key(prepared.current_public), commitment(prepared.next_public))
        keys.adopt(prepared, birth.id)
        party = Party(name, birth.id, self, _deps(self, keys))
        party.extend(birth, prepared.current)
        return party

    def repository(self, name: str) -> Party:
        """A new, empty repository, on the net."""
        party = self.agent(name)
        self.serve(party)
        return party

    def serve(self, party: Party, answer: Answer | None = None) -> None:
        self.routes[party.url] = answer or honest(party)

    def stop(self, party: Party) -> None:
        del self.routes[party.url]


@dataclass
class Party:
    """An agent or repository: its id, its stores, and short ways to speak as it."""

    name: str
    id: str
    world: World
    deps: Deps
    chain: list[Logged] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"https://{self.name}.example/a/{self.id}"

    def extend(self, event: Logged, *signers: Signer) -> Signed:
        """Sign and store the next statement of our own."""
        made = seal(
            payload_type(event.kind), event.payload(), *(signers or (self.deps.keys.current(self.id),))
        )
        signed = parse_signed(made.dump())
        self.deps.statements.extend(self.id, row(signed, self.world.now))
        self.chain.append(event)
        return signed

    def next(self) -> tuple[str, int, str]:
        """iss, seq and prev of the next statement."""
        with replayed(self.deps, self.id, self.id) as (line, _):
            return self.id, len(line.accepted), line.accepted[-1].id

    def vouch(self, sub: Party, days: int = 30) -> Signed:
        now = int(self.world.now)
        return self.extend(Vouch(*self.next(), sub.id, ("fetch",), 2, None, now, now + days * DAY))

    def revoke(self, sub: Party) -> Signed:
        return self.extend(Revoke(*self.next(), sub=sub.id))

    def distrust(self, sub: Party) -> Signed:
        return self.extend(Distrust(*self.next(), sub.id, ("fetch",)))

    def rotate(self) -> Signed:
        keys = self.deps.keys
        old, new = keys.current(self.id).public, keys.upcoming(self.id)
        event = Rotate(*self.next(), did_key(new.public), commitment(keys.following(self.id)))
        signed = self.extend(event, new)
        keys.rotate(self.id, old)
        return signed

    def share(self, manifest: str) -> None:
        self.deps.shares.put(self.id, Share(manifest, "a share", "main", "", 1, 1, self.world.now, 0))

    def statements(self) -> list[str]:
        """Ids of all statements stored here."""
        return [one.id for one in self.deps.statements.after(self.id, 0, 10_000)]


def honest(party: Party, quotas: repository.Quotas = repository.QUOTAS) -> Answer:
    """The repository use cases behind the paths of `spec/repositories.md`."""

    def answer(method: str, path: str, body: bytes) -> bytes:
        deps, repo = party.deps, party.id
        split = urlsplit(path)
        query = dict(parse_qsl(split.query))
        match method, *split.path.split("/")[2:]:
            case "POST", "announce":
                return repository.announce(deps, repo, body, quotas)
            case "POST", "vouch":
                return repository.submit(deps, repo, body, repository.VOUCH_KINDS, quotas)
            case "POST", "revoke":
                return repository.submit(deps, repo, body, repository.REVOKE_KINDS, quotas)
            case "GET", "lookup", key:
                return repository.lookup(deps, repo, key, deps.clock())
            case "GET", "statements" if "issuer" in query:
                return repository.chain(deps, repo, query["issuer"], int(query["seq"]))
            case "GET", "statements":
                return repository.statements(deps, repo, int(query["after"]), int(query["limit"]))
            case "GET", "checkpoint":
                return repository.checkpoint(deps, repo)
            case "GET", "tile", *rest:
                return repository.tile(deps, repo, "/".join(rest))
        raise UnknownRouteError(f"no {path} here")

    return answer


class SlowAnswer:
    """An Answer that waits for `go` first: a repository that does not answer in time."""

    def __init__(self, go: Callable[[], object], then: Answer) -> None:
        self._go, self._then = go, then

    def __call__(self, method: str, path: str, body: bytes) -> bytes:
        self._go()
        return self._then(method, path, body)


def _deps(world: World, keys: MemoryKeys) -> Deps:
    return Deps(
        statements=MemoryStatements(),
        announcements=MemoryAnnouncements(),
        shares=MemoryShares(),
        held=MemoryHeld(),
        transfers=MemoryTransfers(),
        nonces=MemoryNonces(),
        meters=MemoryMeters(),
        notes=MemoryNotes(),
        tasks=MemoryTasks(),
        storages=cast(Storages, None),  # no use case of repositories touches a storage
        keys=keys,
        peers=world,
        fetcher=cast(Fetcher, None),
        clock=lambda: world.now,
        entropy=world.entropy,
        prices=Prices({}, ""),
        limits=Limits(lookup_timeout=2.0),
    )


__all__ = ["DAY", "Answer", "Party", "SlowAnswer", "World", "honest", "row"]
