"""Vouches as edges and where they lead: the graph as it lies, before any budget (spec/trust.md, "The rule").

Law: agents are opaque hashables, edges are vouches that somebody else has found live. No signature, no clock,
no storage, and no budget either.

A *unit* is what carries a budget: an agent, or one single edge whose issuer is reached through a cut (its
edges may be admitted by one vouch and not by another, so each has a budget of its own: it is *ported*).
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

Agent = Hashable
NONE = -1
"""The budget of whoever is not trusted."""


@dataclass(frozen=True, slots=True, eq=False)
class Edge:
    """A live vouch. `limit` in bytes (None: no limit). Two edges are never equal; `id` names one.

    `cut`: per log origin, the last index at which the subject's vouches are still admitted by this edge.
    `positions`: the log indexes at which this very vouch was seen, by origin.
    """

    id: str
    issuer: Agent
    subject: Agent
    scopes: frozenset[str]
    depth: int
    limit: int | None = None
    cut: Mapping[str, int] = field(default_factory=dict)
    positions: Mapping[str, int] = field(default_factory=dict)

    def admits(self, other: Edge) -> bool:
        """Whether a vouch of this edge's subject counts by this edge: logged early enough in *every* origin
        cut.
        """
        for origin, last in self.cut.items():
            index = other.positions.get(origin)
            if index is None or index > last:
                return False
        return True


Unit = Agent | Edge


class Wires:
    """Edges by agent, and the agents whose edges are ported."""

    def __init__(self, roots: Mapping[Agent, int]) -> None:
        self.roots: dict[Agent, int] = dict(roots)
        self.edges: dict[str, Edge] = {}
        self.inward: dict[Agent, dict[Edge, None]] = {}
        self.outward: dict[Agent, dict[Edge, None]] = {}
        self._cut_into: dict[Agent, int] = {}  # how many cuts lead into an agent, if any

    def attach(self, edge: Edge) -> bool:
        """Add an edge. True: its subject's edges are ported from now on."""
        self.edges[edge.id] = edge
        self.inward.setdefault(edge.subject, {})[edge] = None
        self.outward.setdefault(edge.issuer, {})[edge] = None
        return self._count_cut(edge, +1)

    def detach(self, edge: Edge) -> bool:
        """Remove an edge. True: its subject's edges are ported no longer."""
        del self.edges[edge.id]
        for index, agent in ((self.inward, edge.subject), (self.outward, edge.issuer)):
            del index[agent][edge]
            if not index[agent]:
                del index[agent]
        return self._count_cut(edge, -1)

    def _count_cut(self, edge: Edge, step: int) -> bool:
        if not edge.cut:
            return False
        count = self._cut_into.pop(edge.subject, 0) + step
        if count:
            self._cut_into[edge.subject] = count
        return count == (step == 1) and edge.subject not in self.roots

    def into(self, agent: Agent) -> Collection[Edge]:
        """The live vouches for an agent, also those that do not count."""
        return self.inward.get(agent, {}).keys()

    def by(self, agent: Agent) -> Collection[Edge]:
        """The live vouches by an agent, also those that do not count."""
        return self.outward.get(agent, {}).keys()

    def agents(self) -> Iterator[Agent]:
        """Every agent named by a root or an edge, each once."""
        yield from dict.fromkeys((*self.roots, *self.outward, *self.inward))

    @property
    def has_cuts(self) -> bool:
        """Whether any edge carries a cut."""
        return bool(self._cut_into)

    def ported(self, agent: Agent) -> bool:
        """Whether each edge of this agent is a unit of its own. A root's never is: nobody admits or cuts a
        root.
        """
        return agent in self._cut_into and agent not in self.roots

    def admitted(self, edge: Edge, scope: str) -> Iterator[Edge]:
        """The edges of the subject that are units of their own and that `edge` admits."""
        if self.ported(edge.subject):
            for far in self.outward.get(edge.subject, ()):
                if scope in far.scopes and edge.admits(far):
                    yield far

    def edges_of(self, unit: Unit) -> Iterable[Edge]:
        """The edges whose U is this unit's budget."""
        if isinstance(unit, Edge):
            return (unit,)
        return () if self.ported(unit) else self.outward.get(unit, ())

    def supporters(self, unit: Unit, scope: str, need: int) -> Iterator[Edge]:
        """The edges into a unit that have the scope and a depth ≥ `need`."""
        if isinstance(unit, Edge):
            for edge in self.inward.get(unit.issuer, ()):
                if edge.depth >= need and scope in edge.scopes and edge.admits(unit):
                    yield edge
        else:
            for edge in self.inward.get(unit, ()):
                if edge.depth >= need and scope in edge.scopes:
                    yield edge
