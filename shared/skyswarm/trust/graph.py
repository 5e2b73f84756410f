"""Budgets over live vouches: who is trusted, for what, by which chain (spec/trust.md, "The rule").

Law: agents are opaque hashables, edges are vouches that somebody else has found live. No signature, no clock
and no storage is known here. What is written down is the least solution of

    U(e) = D_root when e's issuer is a root, else the greatest val(f) of the live f into it that admit e
    val(e) = min(U(e) - 1, depth)         counted only when U(e) >= 1
    B(s) = the greatest val(e) into s     (D_root for a root);  s is trusted when B(s) >= 0

A budget falls at every hop. So values are settled from the highest level to the lowest, a cycle cannot hold
itself up, and an update repairs exactly the levels below what changed (after Ramalingam and Reps 1996).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from skyswarm.trust.levels import Layer, repair, settle
from skyswarm.trust.wires import NONE, Agent, Edge, Unit, Wires

__all__ = ["MAX_DEPTH", "NONE", "Agent", "Edge", "Graph"]

MAX_DEPTH = 7


class Graph:
    """Live vouches and the budgets they give, kept up to date at every change. One layer per scope, made when
    asked.
    """

    def __init__(self, roots: Mapping[Agent, int] | None = None) -> None:
        """`roots`: the agents trusted from the start, with their depth (≥ 0). The depth of a root's chain is
        that number of hops at most."""
        self._wires = Wires(roots or {})
        self._layers: dict[str, Layer] = {}

    @property
    def roots(self) -> Mapping[Agent, int]:
        """The roots with their depth."""
        return self._wires.roots

    @property
    def edges(self) -> Mapping[str, Edge]:
        """Every live vouch by id."""
        return self._wires.edges

    # ---- changing ----------------------------------------------------------------------------
    def set_roots(self, roots: Mapping[Agent, int]) -> None:
        """Replace the roots; all budgets are computed anew when next asked for."""
        self._wires.roots = dict(roots)
        self._layers.clear()

    def add(self, edge: Edge) -> None:
        """Add a live vouch. One with the same id is replaced."""
        self.update(add=(edge,), remove=(edge.id,))

    def remove(self, edge_id: str) -> None:
        """Remove a vouch; nothing when there is none of that id."""
        self.update(remove=(edge_id,))

    def remove_agent(self, agent: Agent) -> None:
        """Remove all vouches by and for an agent."""
        self.update(remove=[edge.id for edge in (*self.into(agent), *self.by(agent))])

    def update(self, add: Iterable[Edge] = (), remove: Iterable[str] = ()) -> set[Agent]:
        """Many changes in one repair: removals first, then additions. Returns the agents whose budget changed
        in any scope that was asked for before."""
        dirty: dict[str, dict[Unit, None]] = {scope: {} for scope in self._layers}
        for edge_id in remove:
            if edge_id in self.edges:
                self._detach(self.edges[edge_id], dirty)
        for edge in add:
            if edge.id in self.edges:
                self._detach(self.edges[edge.id], dirty)
            self._attach(edge, dirty)
        changed: set[Agent] = set()
        for scope, units in dirty.items():
            if len(units) * 4 > len(self.edges) + 64:  # nearly all of it: one pass over everything is cheaper
                was, new = self._layers[scope], settle(self._wires, scope)
                self._layers[scope] = new
                changed.update(unit for unit in was.keys() | new.keys() if was.get(unit) != new.get(unit))
            elif units:
                changed.update(repair(self._wires, scope, self._layers[scope], units))
        return {unit for unit in changed if not isinstance(unit, Edge)}

    def _attach(self, edge: Edge, dirty: Mapping[str, dict[Unit, None]]) -> None:
        if self._wires.attach(edge):
            self._port(edge.subject, dirty)
        for scope, units in dirty.items():
            if scope in edge.scopes:
                if self._wires.ported(edge.issuer):
                    units[edge] = None
                self._touch(edge, scope, units)

    def _detach(self, edge: Edge, dirty: Mapping[str, dict[Unit, None]]) -> None:
        for scope, units in dirty.items():
            if scope in edge.scopes:
                self._touch(edge, scope, units)
            units.pop(edge, None)
            self._layers[scope].pop(edge, None)
        if self._wires.detach(edge):
            self._unport(edge.subject, dirty)

    def _touch(self, edge: Edge, scope: str, units: dict[Unit, None]) -> None:
        """Mark the units that `edge` may support."""
        units[edge.subject] = None
        units.update((far, None) for far in self._wires.admitted(edge, scope))

    def _port(self, agent: Agent, dirty: Mapping[str, dict[Unit, None]]) -> None:
        """From now on each edge of the agent is a unit, whose budget the repair finds."""
        for edge in self.by(agent):
            for scope in edge.scopes & dirty.keys():
                dirty[scope][edge] = None
                self._touch(edge, scope, dirty[scope])

    def _unport(self, agent: Agent, dirty: Mapping[str, dict[Unit, None]]) -> None:
        """From now on all edges of the agent have the agent's budget again."""
        for edge in self.by(agent):
            for scope in edge.scopes & dirty.keys():
                self._layers[scope].pop(edge, None)
                dirty[scope].pop(edge, None)
                self._touch(edge, scope, dirty[scope])

    # ---- asking ------------------------------------------------------------------------------
    def budget(self, agent: Agent, scope: str) -> int:
        """B(agent); NONE (-1) when not trusted."""
        return self._layer(scope).get(agent, NONE)

    def budgets(self, scope: str) -> dict[Agent, int]:
        """Everyone trusted for `scope`, roots included, with their budget."""
        return {unit: b for unit, b in self._layer(scope).items() if b >= 0 and not isinstance(unit, Edge)}

    def use(self, edge: Edge, scope: str) -> int:
        """U(edge): the budget its issuer has for this very vouch. It counts when ≥ 1."""
        layer = self._layer(scope)
        return layer.get(edge if self._wires.ported(edge.issuer) else edge.issuer, NONE)

    def into(self, agent: Agent) -> Collection[Edge]:
        """The live vouches for an agent, also those that do not count."""
        return self._wires.into(agent)

    def by(self, agent: Agent) -> Collection[Edge]:
        """The live vouches by an agent, also those that do not count."""
        return self._wires.by(agent)

    def agents(self) -> Iterator[Agent]:
        """Every agent named by a root or an edge, each once."""
        return self._wires.agents()

    def path(
        self, sub: Agent, scope: str, need: int | None = None, without: Collection[Agent] = ()
    ) -> tuple[Edge, ...] | None:
        """The best chain root → `sub`: the shortest of those that give `need` (default: B(sub), the most
        there is).

        () for a root, None when there is no such chain. `without`: agents that no hop may touch. The choice
        among equals depends on ids alone, never on the order in which vouches came.
        """
        layer = self._layer(scope)
        if need is None:
            need = layer.get(sub, NONE)
        if sub in self.roots:
            return () if self.roots[sub] >= need else None
        if need < 0 or layer.get(sub, NONE) < need or sub in without:
            return None
        # Backwards from sub: a hop further from it must give one more, so a unit's first visit is its
        # easiest.
        came: dict[Unit, tuple[Edge, Unit] | None] = {sub: None}
        ring: list[Unit] = [sub]
        while ring:
            wider: list[Unit] = []
            for unit in ring:
                for edge in sorted(self._wires.supporters(unit, scope, need), key=_edge_id):
                    if edge.issuer in without:
                        continue
                    if edge.issuer in self.roots:
                        if self.roots[edge.issuer] > need:
                            return (edge, *_unwind(came, unit))
                        continue
                    before: Unit = edge if self._wires.ported(edge.issuer) else edge.issuer
                    if before not in came and layer.get(before, NONE) > need:
                        came[before] = (edge, unit)
                        wider.append(before)
            ring, need = wider, need + 1
        return None

    # ---- computing ---------------------------------------------------------------------------
    def load(self, scope: str, budgets: Mapping[Agent, int]) -> None:
        """Take budgets computed elsewhere (trust/bulk.py). ValueError when there are cuts: those are settled
        here only.
        """
        if self._wires.has_cuts:
            raise ValueError("a graph with cuts cannot take budgets from outside")
        self._layers[scope] = dict(budgets)

    def _layer(self, scope: str) -> Layer:
        layer = self._layers.get(scope)
        if layer is None:
            layer = self._layers[scope] = settle(self._wires, scope)
        return layer


def _edge_id(edge: Edge) -> str:
    return edge.id


def _unwind(came: Mapping[Unit, tuple[Edge, Unit] | None], unit: Unit) -> Iterator[Edge]:
    step = came[unit]
    while step is not None:
        edge, unit = step
        yield edge
        step = came[unit]
