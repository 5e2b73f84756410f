"""The same budgets by array sweeps, for graphs above some 100,000 edges (spec/trust.md, "The rule").

Law: numpy is imported inside, when asked for, and never by an ordinary request (it costs 150 ms of cold
start). Results are equal to trust/graph.py's, which is the rule; graphs with cuts are left to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skyswarm.trust.graph import NONE, Agent, Graph

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Packed:
    """A graph as arrays: agents numbered, edges grouped by issuer (CSR), scopes as bits. A copy; later
    changes do not show.
    """

    def __init__(self, graph: Graph) -> None:
        """ValueError when an edge carries a cut. ImportError without numpy."""
        import numpy as np

        self.agents: list[Agent] = list(graph.agents())
        number = {agent: index for index, agent in enumerate(self.agents)}
        edges = graph.edges.values()
        if any(edge.cut for edge in edges):
            raise ValueError("a graph with cuts is settled by trust/graph.py only")
        kinds: dict[frozenset[str], int] = {}
        count = len(edges)
        issuer = np.fromiter((number[edge.issuer] for edge in edges), np.int32, count)
        order = np.argsort(issuer, kind="stable")
        self._subject = np.fromiter((number[edge.subject] for edge in edges), np.int32, count)[order]
        self._depth = np.fromiter((edge.depth for edge in edges), np.int8, count)[order]
        kind = (kinds.setdefault(edge.scopes, len(kinds)) for edge in edges)
        self._kind = np.fromiter(kind, np.int32, count)[order]
        self._kinds = list(kinds)
        self._start = np.zeros(len(self.agents) + 1, np.int64)
        np.cumsum(np.bincount(issuer, minlength=len(self.agents)), out=self._start[1:])
        self._roots = {number[root]: depth for root, depth in graph.roots.items()}

    def sweep(self, scope: str) -> NDArray[np.int8]:
        """B of every agent of `agents`, by number; NONE (-1) for who is not trusted."""
        import numpy as np

        best = np.full(len(self.agents), NONE, np.int8)
        fixed = np.zeros(len(self.agents), bool)
        for root, depth in self._roots.items():
            best[root], fixed[root] = depth, True
        live = np.fromiter((scope in kind for kind in self._kinds), bool, len(self._kinds))
        for level in range(int(best.max(initial=NONE)), 0, -1):
            edges = self._edges_of(np.flatnonzero(best == level))
            edges = edges[live[self._kind[edges]]]
            subject = self._subject[edges]
            value = np.minimum(self._depth[edges], level - 1).astype(np.int8)
            better = (value > best[subject]) & ~fixed[subject]
            np.maximum.at(best, subject[better], value[better])
        return best

    def budgets(self, scope: str) -> dict[Agent, int]:
        """The sweep as `Graph.load` takes it: who is trusted, with the budget."""
        import numpy as np

        best = self.sweep(scope)
        trusted = np.flatnonzero(best >= 0)
        return {self.agents[i]: b for i, b in zip(trusted.tolist(), best[trusted].tolist(), strict=True)}

    def _edges_of(self, agents: Any) -> Any:
        """The numbers of all edges issued by `agents`."""
        import numpy as np

        start, count = self._start[agents], self._start[agents + 1] - self._start[agents]
        total = int(count.sum())
        offset = np.repeat(start - np.concatenate(([0], np.cumsum(count)[:-1])), count)
        return offset + np.arange(total)
