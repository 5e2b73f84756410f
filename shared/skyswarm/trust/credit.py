"""How many bytes the root underwrites for a stranger: max-flow along vouches, each edge as wide as its
`limit`.

Law: reads the graph, changes nothing; integers only, exact (spec/trust.md, "Credit").
Flow runs from the roots over the edges that count (U(e) ≥ 1 in the scope). That a chain also has to be short
enough is *not* asked of each unit of flow (length-bounded flow is NP-hard); the bound that matters holds
regardless: what flows into a region is at most the limits of the counting vouches that cross into it, for all
its agents together.

Edmonds and Karp's shortest augmenting paths, searched backwards from the agent over the graph as it lies, so
that a question about one agent touches its neighbourhood and not the million edges elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

from skyswarm.trust.graph import NONE, Agent, Edge, Graph

A = TypeVar("A", bound=Agent)
UNBOUNDED = 2**62
"""The answer when nothing limits the credit, in bytes; also the most that is ever answered."""


def credit(graph: Graph, sub: Agent, scope: str, demands: Mapping[A, int], want: int = UNBOUNDED) -> int:
    """How many further bytes may be handed to `sub` while `demands` (bytes already handed out, by agent) stay
    covered.

    The search stops once `want` is reached, so the answer is at most `want`. 0 for who is not trusted.
    Demands that no chain covers any more (their vouchers revoked) count as far as they can be covered.
    """
    if sub in graph.roots:
        return min(want, UNBOUNDED)
    if graph.budget(sub, scope) <= NONE:
        return 0
    flow = _Flow(graph, scope)
    # Which agent's demand is pushed first does not change how much fits beside them all (flows form a
    # matroid).
    for agent in sorted((a for a in demands if demands[a] > 0), key=repr):
        flow.push(agent, demands[agent])
    return flow.push(sub, min(want, UNBOUNDED))


class _Flow:
    """A flow out of the roots; `push` adds to it what fits, rerouting but never shrinking what is there."""

    def __init__(self, graph: Graph, scope: str) -> None:
        self._graph, self._scope = graph, scope
        self._carried: dict[Edge, int] = {}
        self._onward: dict[Agent, dict[Edge, None]] = {}  # edges by an agent that carry something

    def push(self, sink: Agent, amount: int) -> int:
        """Push up to `amount` more to `sink`; returns what went through."""
        done = 0
        while done < amount and sink not in self._graph.roots:
            steps = self._augmenting(sink)
            if steps is None:
                break
            width = amount - done
            for edge, forward in steps:
                room = self._room(edge) if forward else self._carried[edge]
                width = width if room is None else min(width, room)
            for edge, forward in steps:
                self._shift(edge, width if forward else -width)
            done += width
        return done

    def _augmenting(self, sink: Agent) -> list[tuple[Edge, bool]] | None:
        """The steps of a shortest augmenting path, backwards from `sink` to a root; None: there is none."""
        roots = self._graph.roots
        came: dict[Agent, tuple[Edge, bool, Agent] | None] = {sink: None}
        ring = [sink]
        while ring:
            wider: list[Agent] = []
            for agent in ring:
                for edge, forward in self._residual(agent):
                    before = edge.issuer if forward else edge.subject
                    if before in came:
                        continue
                    came[before] = (edge, forward, agent)
                    if before in roots:
                        return list(_unwind(came, before))
                    wider.append(before)
            ring = wider
        return None

    def _residual(self, agent: Agent) -> Iterator[tuple[Edge, bool]]:
        """Steps by which more could come to `agent`: room on an edge into it, or what it passes on taken
        back.
        """
        for edge in self._graph.into(agent):
            if (
                self._scope in edge.scopes
                and self._room(edge) != 0
                and self._graph.use(edge, self._scope) >= 1
            ):
                yield edge, True
        for edge in self._onward.get(agent, ()):
            yield edge, False

    def _room(self, edge: Edge) -> int | None:
        """What still fits; None: no limit."""
        return None if edge.limit is None else edge.limit - self._carried.get(edge, 0)

    def _shift(self, edge: Edge, width: int) -> None:
        carried = self._carried[edge] = self._carried.get(edge, 0) + width
        if carried:
            self._onward.setdefault(edge.issuer, {})[edge] = None
        else:
            self._onward[edge.issuer].pop(edge, None)


def _unwind(
    came: Mapping[Agent, tuple[Edge, bool, Agent] | None], agent: Agent
) -> Iterator[tuple[Edge, bool]]:
    step = came[agent]
    while step is not None:
        edge, forward, agent = step
        yield edge, forward
        step = came[agent]
