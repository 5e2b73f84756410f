"""Which vouches are live now: statements as they come, verified ring by ring, and the graph that follows
them.

Law: verification is frontier-first. Only the chains of issuers whose word counts (the root, whom it heeds, B
≥ 1 in some scope) are verified unasked, and those of agents that were asked for by name. What strangers say
about each other costs a place in a list, never CPU. Time is given and may go either way. The outcome depends
on which statements came (and, for recoveries, when), never on their order. Questions are answered in
trust/view.py.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Protocol

from skyswarm.errors import InputError
from skyswarm.messages.statements import SCOPES, parse_signed
from skyswarm.trust.chain import Chain
from skyswarm.trust.graph import Agent, Edge, Graph
from skyswarm.trust.keys import Checker
from skyswarm.trust.verdict import Broken, Reason
from skyswarm.trust.vouches import Ledger, Record

MAX_UNREAD = 4096
"""Statements kept unread per issuer that does not count; more stay in the store until it is trusted (see `verify`).
"""
MAX_REFUSED = 64


class Row(Protocol):
    """A stored statement, as the Statements port gives it. `received` in Unix seconds, our own receipt."""

    @property
    def issuer(self) -> str: ...
    @property
    def envelope(self) -> bytes: ...
    @property
    def received(self) -> float: ...
    @property
    def position(self) -> int: ...


@dataclass(slots=True, eq=False)
class Issuer:
    """A verified chain, and its vouches as they were read from it up to `read`."""

    chain: Chain
    ledger: Ledger
    rewrites: int = 0
    read: int = 0
    forked: bool = False
    asked: int = -1  # how long the chain was when all its statements were last asked for


class Upkeep:
    """Chains, live vouches and budgets, as of the last `settle`."""

    def __init__(
        self,
        root: str,
        depth: int,
        heed: Collection[str],
        skew: int,
        checker: Checker,
        rest: Callable[[str], Iterable[Row]] | None,
    ) -> None:
        self.root = root
        self.now = float("-inf")
        self.position = 0
        self.graph = Graph({root: depth})
        self.issuers: dict[str, Issuer] = {}
        self.about: dict[str, dict[str, Record]] = {}  # every vouch ever accepted, by subject and id
        self.records: dict[str, Record] = {}
        self.refused: dict[int, str] = {}
        self._heed = frozenset({root, *heed})  # one's own distrust binds oneself, whoever vouches
        self._skew = skew
        self._checker = checker
        self._rest = rest
        self._unread: dict[str, list[Row]] = {}
        self._fresh: set[str] = set()  # whose unread rows nobody looked at yet
        self._left: set[str] = set()  # of whom rows were left in the store
        self._places: dict[str, dict[str, int]] = {}
        self._touched: dict[Record, None] = {}
        self._due: list[tuple[int, str]] = []
        for scope in SCOPES:
            self.graph.budget(root, scope)  # makes the layer, so that updates report changes from the start

    # ---- what comes --------------------------------------------------------------------------
    def offer(self, rows: Iterable[Row]) -> None:
        """Take rows in, unread."""
        for row in rows:
            self.position = max(self.position, row.position + 1)
            line = self._unread.setdefault(row.issuer, [])
            if len(line) < MAX_UNREAD or self.counts(row.issuer):
                line.append(row)
                self._fresh.add(row.issuer)
            else:
                self._left.add(row.issuer)

    def place(self, statement: str, origin: str, index: int) -> None:
        """A statement (id) was seen in a log; the lowest index per origin stays."""
        known = self._places.setdefault(statement, {})
        if index < known.get(origin, index + 1):
            known[origin] = index
            if statement in self.records:
                self._touched[self.records[statement]] = None

    # ---- keeping up --------------------------------------------------------------------------
    def settle(self, now: float) -> None:
        """Bring chains, vouches and budgets to `now`: what is due first, then ring by ring outwards from the
        root.
        """
        back, self.now = now < self.now, now
        if back:
            self._touched.update(dict.fromkeys(self.records.values()))
            self._due = [due for record in self.records.values() for due in self._changes(record)]
            heapq.heapify(self._due)
        while self._due and self._due[0][0] <= now:
            self._touched[self.records[heapq.heappop(self._due)[1]]] = None
        turn, self._fresh = self._fresh, set()
        while turn or self._touched:
            for agent in sorted(turn):
                if self.counts(agent):
                    self.verify(agent)
            turn = {str(agent) for agent in self._renew() if agent in self._unread or agent in self._left}

    def counts(self, agent: str) -> bool:
        """Whether what this agent says can matter: then, and only then, it is verified unasked."""
        if agent in self._heed:
            return True
        return any(self.graph.budget(agent, scope) >= 1 for scope in SCOPES)

    def verify(self, agent: str) -> None:
        """Read an agent's waiting statements into its chain, and the chain into its ledger. `settle` does the
        rest.
        """
        rows = self._unread.pop(agent, [])
        if not rows and not self._lacks(agent):
            return
        issuer = self.issuers.get(agent)
        if issuer is None:
            issuer = self.issuers[agent] = Issuer(Chain(agent, self._checker), Ledger())
        while rows or self._lacks(agent):
            if self._lacks(agent):
                self._left.discard(agent)
                issuer.asked = len(issuer.chain.accepted)
                rows = [*rows, *(self._rest(agent) if self._rest else ())]
            for row in rows:
                self._check(issuer, row)
            rows = []
            if issuer.chain.overflowed:
                issuer.chain.overflowed = False
                # Asking again helps only when the chain has grown since: what fills the room may be forged.
                if len(issuer.chain.accepted) > issuer.asked:
                    self._left.add(agent)
        self._read(agent, issuer)

    def _lacks(self, agent: str) -> bool:
        """Whether something of an agent was left in the store that is worth reading: strangers get no more room."""
        return agent in self._left and (
            agent in self._heed or any(self.graph.budget(agent, scope) >= 0 for scope in SCOPES)
        )

    def _check(self, issuer: Issuer, row: Row) -> None:
        try:
            issuer.chain.offer(parse_signed(row.envelope), row.received)
        except InputError as error:
            self.refused[row.position] = error.message
            while len(self.refused) > MAX_REFUSED:
                del self.refused[next(iter(self.refused))]

    def _read(self, agent: str, issuer: Issuer) -> None:
        chain = issuer.chain
        if chain.rewrites != issuer.rewrites:
            before, issuer.ledger = issuer.ledger, Ledger()
            issuer.rewrites, issuer.read = chain.rewrites, 0
            for record in before.records.values():
                record.void = True
                self._touched[record] = None
            for sub in before.advised():
                self._advise(agent, sub)
        for node in chain.accepted[issuer.read :]:
            records, advised = issuer.ledger.read(node.statement)
            for record in records:
                self._touch(record)
            if advised is not None:
                self._advise(agent, advised)
        issuer.read = len(chain.accepted)
        if (chain.equivocation is not None) != issuer.forked:
            issuer.forked = not issuer.forked
            self._touched.update(dict.fromkeys(issuer.ledger.records.values()))

    def _touch(self, record: Record) -> None:
        """Look at a record again in this round. One that takes another's place takes over its edge."""
        vouch = record.vouch
        old = self.records.get(vouch.id)
        if old is not record:
            if old is not None:
                record.edge = old.edge
                self._touched.pop(old, None)
            self.records[vouch.id] = record
            self.about.setdefault(vouch.sub, {})[vouch.id] = record
            for due in self._changes(record):
                heapq.heappush(self._due, due)
        self._touched[record] = None

    def _advise(self, agent: str, sub: str) -> None:
        if agent in self._heed:
            self._touched.update(dict.fromkeys(self.about.get(sub, {}).values()))

    def _renew(self) -> Collection[Agent]:
        """Let the graph follow the records that were touched; the agents whose budget changed."""
        touched, self._touched = self._touched, {}
        add: list[Edge] = []
        remove: list[str] = []
        for record in touched:
            edge, old = self._edge(record), record.edge
            if edge is None or old is None or (edge.scopes, edge.positions) != (old.scopes, old.positions):
                if old is not None:
                    remove.append(old.id)
                if edge is not None:
                    add.append(edge)
                record.edge = edge
        return self.graph.update(add, remove)

    # ---- what is live ------------------------------------------------------------------------
    def _changes(self, record: Record) -> list[tuple[int, str]]:
        """The times at which a vouch begins and ceases to be live."""
        vouch = record.vouch
        return [(when, vouch.id) for when in (vouch.nbf - self._skew, vouch.exp) if when > self.now]

    def _edge(self, record: Record) -> Edge | None:
        """A record as it stands now."""
        vouch = record.vouch
        scopes = frozenset(scope for scope in vouch.scope if self.broken(record, scope) is None)
        if not scopes:
            return None
        places = dict(self._places.get(vouch.id, {}))
        return Edge(vouch.id, vouch.iss, vouch.sub, scopes, vouch.depth, vouch.limit, dict(vouch.cut), places)

    def broken(self, record: Record, scope: str) -> Broken | None:
        """Why a vouch does not count for one of its scopes now; None when it is live."""
        vouch, issuer = record.vouch, self.issuers[record.vouch.iss]
        if issuer.forked:
            return Broken(Reason.EQUIVOCATED, vouch.iss, vouch.sub)
        if issuer.ledger.retired is not None:
            return Broken(Reason.RETIRED, vouch.iss, vouch.sub, issuer.ledger.retired.id)
        if (ended := record.ended(scope)) is not None:
            return ended
        if self.now < vouch.nbf - self._skew:
            return record.broken(Reason.EARLY)
        if self.now >= vouch.exp:
            return record.broken(Reason.EXPIRED)
        # The root's own vouch stands above all advice; its own distrust has ended it already.
        for other in sorted(self._heed) if vouch.iss != self.root else ():
            heeded = self.issuers.get(other)
            if heeded is not None and (by := heeded.ledger.distrusted(vouch.sub).get(scope)) is not None:
                return record.broken(Reason.DISTRUSTED, by)
        return None
