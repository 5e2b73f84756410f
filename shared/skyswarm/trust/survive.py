"""Does trust in an agent hang on any few others? (spec/trust.md, "Standing alone")

Law: asks the graph for chains and nothing else; changes nothing.
"k disjoint chains under a depth limit" is NP-hard. "Still trusted whichever f agents are removed" is exact
and cheap: a set that breaks all chains must touch any one chain, so take one, drop each agent on it in turn,
and ask again with f - 1. At most D^f chains are looked for.
"""

from __future__ import annotations

from dataclasses import dataclass

from skyswarm.trust.graph import Agent, Graph


@dataclass(frozen=True, slots=True)
class Survival:
    """`holds`, or else a `witness`: agents (at most f, neither a root nor the subject) without whom no chain
    is left.

    An empty witness that does not hold: there is no chain at all.
    """

    holds: bool
    witness: frozenset[Agent] = frozenset()


def survives(graph: Graph, sub: Agent, scope: str, f: int) -> Survival:
    """Whether `sub` stays trusted for `scope` whichever `f` (≥ 0) other agents vanish. A root always does."""
    tried: set[frozenset[Agent]] = set()

    def search(gone: frozenset[Agent]) -> Survival:
        chain = graph.path(sub, scope, need=0, without=gone)
        if chain is None:
            return Survival(False, gone)
        for edge in chain[1:] if len(gone) < f else ():
            fewer = gone | {edge.issuer}
            if fewer not in tried:
                tried.add(fewer)
                found = search(fewer)
                if not found.holds:
                    return found
        return Survival(True)

    return search(frozenset())
