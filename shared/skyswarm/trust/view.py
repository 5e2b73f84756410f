"""One agent's view of all others, as answers: trusted or not, along which chain, with which key
(spec/trust.md).

Law: nothing is known here that was not offered as signed statements; time is given with every question. How
it is kept up to date is in trust/upkeep.py. Not for two threads at once. Losing a view loses nothing: offer
the stored statements to a new one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, MutableSet
from dataclasses import dataclass

from skyswarm.messages.statements import SCOPES, Head
from skyswarm.trust.branch import Equivocation
from skyswarm.trust.chain import Chain
from skyswarm.trust.credit import UNBOUNDED, credit
from skyswarm.trust.explain import explain
from skyswarm.trust.graph import MAX_DEPTH, Graph
from skyswarm.trust.keys import Checker, KeyState
from skyswarm.trust.survive import survives
from skyswarm.trust.upkeep import Row, Upkeep
from skyswarm.trust.verdict import Broken, Reason, Verdict

SKEW = 120
"""Seconds by which the clocks of honest agents may differ: a vouch counts that long before its `nbf`."""


@dataclass(frozen=True, slots=True)
class Standing:
    """An agent's keys and the end of its chain, as far as its statements are here."""

    keys: KeyState
    head: Head
    equivocation: Equivocation | None

    @property
    def key(self) -> bytes:
        """The 32-byte public key that signs for it now."""
        return self.keys.key

    @property
    def retired(self) -> bool:
        """Whether it has ended its identity."""
        return self.keys.retired


class TrustView:
    """What one agent, `root`, thinks of all others. `depth`: hops that its trust reaches. `heed`: agents
    whose distrust the user has chosen to follow. `known`: signatures checked before (trust/keys.py). `rest`: all
    that the store has of an issuer, for when not all of it could be kept unread."""

    def __init__(
        self,
        root: str,
        depth: int = MAX_DEPTH,
        *,
        heed: Collection[str] = (),
        skew: int = SKEW,
        known: MutableSet[str] | None = None,
        rest: Callable[[str], Iterable[Row]] | None = None,
    ) -> None:
        self.root = root
        self._checker = Checker(known)
        self._state = Upkeep(root, depth, heed, skew, self._checker, rest)
        self._heard: dict[str, int] = {}

    # ---- what comes --------------------------------------------------------------------------
    def offer(self, rows: Iterable[Row]) -> None:
        """Take stored statements in, unverified, in any order, as often as one likes."""
        self._state.offer(rows)

    def place(self, places: Iterable[tuple[str, str, int]]) -> None:
        """Statements (id) were seen in the log `origin` at an index: what cuts are judged by."""
        for statement, origin, index in places:
            self._state.place(statement, origin, index)

    def heard(self, agent: str, head: Head) -> None:
        """An agent's own signed word (announce, reply) names this head: less than that is not all it has
        said.
        """
        self._heard[agent] = max(self._heard.get(agent, -1), head.seq)

    # ---- what it has -------------------------------------------------------------------------
    @property
    def position(self) -> int:
        """Where the next reading of the store goes on."""
        return self._state.position

    @property
    def verifications(self) -> int:
        """How many signatures were verified so far."""
        return self._checker.count

    @property
    def refused(self) -> Mapping[int, str]:
        """Rows that hold no statement of their issuer's chain, by position, with the reason; the newest 64."""
        return self._state.refused

    @property
    def graph(self) -> Graph:
        """The live vouches as of the last question. To be read, never changed."""
        return self._state.graph

    def chain(self, agent: str) -> Chain | None:
        """An agent's verified chain; None while it was nobody's turn. To be read, never changed."""
        issuer = self._state.issuers.get(agent)
        return issuer.chain if issuer else None

    # ---- who somebody is ---------------------------------------------------------------------
    def authenticate(self, agent: str, now: float) -> Standing | None:
        """The keys that an agent has now, its chain verified whether trusted or not. None: its inception is
        not here.
        """
        self._state.settle(now)
        standing = self.key_state(agent)
        self._state.settle(now)
        return standing

    def key_state(self, agent: str) -> Standing | None:
        """The same without a time: of the agent's own chain only."""
        self._state.verify(agent)
        chain = self.chain(agent)
        if chain is None or not chain.accepted:
            return None
        node = chain.accepted[-1]
        return Standing(node.after, Head(node.statement.seq, node.id), chain.equivocation)

    def keys_of(self, agent: str) -> tuple[bytes, ...]:
        """Every key that ever signed for an agent by its accepted chain, oldest first."""
        self._state.verify(agent)
        chain = self.chain(agent)
        return tuple({node.after.did: node.after.key for node in chain.accepted}.values()) if chain else ()

    # ---- whether it is trusted ---------------------------------------------------------------
    def evaluate(self, sub: str, scope: str, now: float, survive: int = 0) -> Verdict:
        """Whether the root trusts `sub` for `scope` now, and would without any `survive` other agents."""
        self._state.settle(now)
        if sub != self.root and self.graph.budget(sub, scope) >= 0:
            # Somebody vouches for it, so its own chain is worth reading: it may have retired, or contradicted
            # itself.
            self._state.verify(sub)
            self._state.settle(now)
            broken = self._unfit(sub)
            if broken is not None:
                return Verdict(sub, scope, broken.reason, broken=broken)
        path = self.graph.path(sub, scope)
        if path is None:
            broken = explain(self._state, sub, scope)
            return Verdict(sub, scope, broken.reason, broken=broken)
        budget = self.graph.budget(sub, scope)
        if survive > 0:
            survival = survives(self.graph, sub, scope, survive)
            if not survival.holds:
                witness = frozenset(str(agent) for agent in survival.witness)
                return Verdict(sub, scope, Reason.THIN, budget, witness=witness)
        agents = (*(str(edge.issuer) for edge in path), sub)
        behind = tuple(agent for agent in agents if self._behind(agent))
        return Verdict(sub, scope, Reason.TRUSTED, budget, path, behind=behind)

    def people(self, now: float) -> Iterator[Mapping[str, Verdict]]:
        """Everyone but the root who is trusted for something, by agent id: for each its verdicts by scope."""
        self._state.settle(now)
        everyone = {str(agent) for scope in SCOPES for agent in self.graph.budgets(scope)} - {self.root}
        for agent in sorted(everyone):
            held = [scope for scope in SCOPES if self.graph.budget(agent, scope) >= 0]
            verdicts = {scope: self.evaluate(agent, scope, now) for scope in held}
            trusted = {scope: verdict for scope, verdict in verdicts.items() if verdict.trusted}
            if trusted:
                yield trusted

    def credit(self, sub: str, scope: str, demands: Mapping[str, int], now: float) -> int | None:
        """Bytes still underwritten for `sub` beside `demands` (bytes handed out, by agent). None: without
        limit.
        """
        self._state.settle(now)
        room = credit(self.graph, sub, scope, demands)
        return None if room >= UNBOUNDED else room

    def underwritten(self, sub: str, scope: str, now: float) -> bool:
        """Whether there is a limit to what is underwritten for `sub`."""
        return self.credit(sub, scope, {}, now) is not None

    def export(self, sub: str, scope: str, now: float) -> list[bytes]:
        """The envelopes that prove the chain to `sub` to anyone (trust/proof.py): each issuer's statements up
        to its vouch, and those of `sub` up to its newest key. [] when not trusted."""
        verdict = self.evaluate(sub, scope, now)
        if not verdict.trusted:
            return []
        upto = {self.root: 0}
        for edge in verdict.chain:
            agent = str(edge.issuer)
            upto[agent] = max(upto.get(agent, 0), self._state.records[edge.id].vouch.seq)
        standing = self.key_state(sub)
        if standing is not None:
            upto[sub] = max(upto.get(sub, 0), standing.keys.since)
        return [
            one for agent, seq in upto.items() if (chain := self.chain(agent)) for one in chain.prefix(seq)
        ]

    def _unfit(self, agent: str) -> Broken | None:
        """Why an agent cannot be trusted whoever vouches for it."""
        chain = self.chain(agent)
        if chain is None or chain.keys is None:
            return None
        if chain.equivocation is not None:
            return Broken(Reason.EQUIVOCATED, agent, agent)
        return Broken(Reason.RETIRED, agent, agent, chain.accepted[-1].id) if chain.keys.retired else None

    def _behind(self, agent: str) -> bool:
        chain = self.chain(agent)
        return self._heard.get(agent, -1) >= (len(chain.accepted) if chain else 0)
