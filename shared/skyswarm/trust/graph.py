"""Budgets over live vouches: who is trusted, for what, by which chain (spec/trust.md, "The rule").

Law: agents are opaque hashables, edges are vouches that somebody else has found live. No signature, no clock
and no storage is known here. What is written down is the least solution of

    U(e) = D_root when e's issuer is a root, else the greatest val(f) of the live f into e's issuer that admit
    e val(e) = min(U(e) - 1, depth)         counted only when U(e) >= 1
    B(s) = the greatest val(e) into s     (D_root for a root);  s is trusted when B(s) >= 0

A budget falls at every hop. So values are settled from the highest level to the lowest, a cycle cannot hold
itself up, and an update repairs exactly the levels below what changed (after Ramalingam and Reps 1996).

A *unit* is what carries a budget: an agent, or one single edge whose issuer is reached through a cut (its
edges may be admitted by one vouch and not by another, so each has a budget of its own).
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

SCOPES = frozenset({"fetch", "store", "index", "witness", "repair"})
MAX_DEPTH = 7
NONE = -1
"""The budget of whoever is not trusted."""

Agent = Hashable
_EMPTY: Mapping[str, int] = {}


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


class Graph:
    """Live vouches and the budgets they give, kept up to date at every change. One layer per scope, made when
    asked.
    """

    def __init__(self, roots: Mapping[Agent, int] | None = None) -> None:
        """`roots`: the agents trusted from the start, with their depth (≥ 0). The depth of a root's chain is
        that number of hops at most."""
        self.roots: dict[Agent, int] = dict(roots or {})
        self.edges: dict[str, Edge] = {}
        self._in: dict[Agent, dict[Edge, None]] = {}
        self._out: dict[Agent, dict[Edge, None]] = {}
        self._cut_into: dict[Agent, int] = {}  # agents with at least one cut edge into them, and how many
        self._layers: dict[str, dict[Unit, int]] = {}

    # ---- changing ----------------------------------------------------------------------------
    def set_roots(self, roots: Mapping[Agent, int]) -> None:
        """Replace the roots; all budgets are computed anew when next asked for."""
        self.roots = dict(roots)
        self._layers.clear()

    def add(self, edge: Edge) -> None:
        """Add a live vouch. One with the same id is replaced."""
        self.update(add=(edge,), remove=(edge.id,))

    def remove(self, edge_id: str) -> None:
        """Remove a vouch; nothing when there is none of that id."""
        self.update(remove=(edge_id,))

    def remove_agent(self, agent: Agent) -> None:
        """Remove all vouches by and for an agent."""
        self.update(remove=[edge.id for edge in (*self._in.get(agent, ()), *self._out.get(agent, ()))])

    def update(self, add: Iterable[Edge] = (), remove: Iterable[str] = ()) -> set[Agent]:
        """Many changes in one repair: removals first, then additions. Returns the agents whose budget changed
        in any scope that was asked for before."""
        dirty: dict[str, dict[Unit, None]] = {scope: {} for scope in self._layers}
        for edge_id in remove:
            edge = self.edges.pop(edge_id, None)
            if edge is not None:
                self._detach(edge, dirty)
        for edge in add:
            old = self.edges.pop(edge.id, None)
            if old is not None:
                self._detach(old, dirty)
            self._attach(edge, dirty)
        changed: set[Agent] = set()
        for scope, units in dirty.items():
            if len(units) * 4 > len(self.edges) + 64:  # nearly all of it: one pass over everything is cheaper
                was, new = self._layers[scope], self._settle(scope)
                self._layers[scope] = new
                changed.update(unit for unit in was.keys() | new.keys() if was.get(unit) != new.get(unit))
            elif units:
                changed.update(self._repair(scope, units))
        return {unit for unit in changed if not isinstance(unit, Edge)}

    def _attach(self, edge: Edge, dirty: Mapping[str, dict[Unit, None]]) -> None:
        self.edges[edge.id] = edge
        self._in.setdefault(edge.subject, {})[edge] = None
        self._out.setdefault(edge.issuer, {})[edge] = None
        if edge.cut:
            self._count_cut(edge.subject, +1, dirty)
        for scope, units in dirty.items():
            if scope in edge.scopes:
                if self._ported(edge.issuer):
                    units[edge] = None
                self._touch(edge, scope, units)

    def _detach(self, edge: Edge, dirty: Mapping[str, dict[Unit, None]]) -> None:
        for scope, units in dirty.items():
            if scope in edge.scopes:
                self._touch(edge, scope, units)
            units.pop(edge, None)
            self._layers[scope].pop(edge, None)
        for index, agent in ((self._in, edge.subject), (self._out, edge.issuer)):
            del index[agent][edge]
            if not index[agent]:
                del index[agent]
        if edge.cut:
            self._count_cut(edge.subject, -1, dirty)

    def _touch(self, edge: Edge, scope: str, units: dict[Unit, None]) -> None:
        """Mark the units that `edge` may support."""
        units[edge.subject] = None
        units.update((far, None) for far in self._admitted(edge, scope))

    def _admitted(self, edge: Edge, scope: str) -> Iterator[Edge]:
        """The edges of the subject that are units of their own and that `edge` admits."""
        if self._ported(edge.subject):
            for far in self._out.get(edge.subject, ()):
                if scope in far.scopes and edge.admits(far):
                    yield far

    def _count_cut(self, agent: Agent, step: int, dirty: Mapping[str, dict[Unit, None]]) -> None:
        """Keep count of the cuts into an agent; when it becomes the first or was the last, its edges change
        their unit.
        """
        count = self._cut_into.get(agent, 0) + step
        if count:
            self._cut_into[agent] = count
        else:
            self._cut_into.pop(agent, None)
        if agent in self.roots or count != (step == 1):
            return
        for scope, units in dirty.items():
            layer = self._layers[scope]
            for edge in self._out.get(agent, ()):
                if scope not in edge.scopes:
                    continue
                if count:
                    if agent in layer:
                        layer[edge] = layer[agent]
                    units[edge] = None
                else:
                    layer.pop(edge, None)
                    units.pop(edge, None)
                self._touch(edge, scope, units)

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
        return layer.get(edge if self._ported(edge.issuer) else edge.issuer, NONE)

    def into(self, agent: Agent) -> Collection[Edge]:
        """The live vouches for an agent, also those that do not count."""
        return self._in.get(agent, {}).keys()

    def by(self, agent: Agent) -> Collection[Edge]:
        """The live vouches by an agent, also those that do not count."""
        return self._out.get(agent, {}).keys()

    def agents(self) -> Iterator[Agent]:
        """Every agent named by a root or an edge, each once."""
        yield from dict.fromkeys((*self.roots, *self._out, *self._in))

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
        # Backwards from sub: a hop further from it must give one more, so the first visit of a unit is its
        # easiest.
        came: dict[Unit, tuple[Edge, Unit] | None] = {sub: None}
        ring: list[Unit] = [sub]
        while ring:
            wider: list[Unit] = []
            for unit in ring:
                for edge in sorted(self._supporters(unit, scope, need), key=_edge_id):
                    if edge.issuer in without:
                        continue
                    if edge.issuer in self.roots:
                        if self.roots[edge.issuer] > need:
                            return (edge, *_unwind(came, unit))
                        continue
                    before: Unit = edge if self._ported(edge.issuer) else edge.issuer
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
        if self._cut_into:
            raise ValueError("a graph with cuts cannot take budgets from outside")
        self._layers[scope] = dict(budgets)

    def _ported(self, agent: Agent) -> bool:
        """Whether each edge of this agent is a unit of its own. A root's never is: nobody admits or cuts a
        root.
        """
        return bool(self._cut_into) and agent in self._cut_into and agent not in self.roots

    def _layer(self, scope: str) -> dict[Unit, int]:
        layer = self._layers.get(scope)
        if layer is None:
            layer = self._layers[scope] = self._settle(scope)
        return layer

    def _settle(self, scope: str) -> dict[Unit, int]:
        """All budgets of one scope from nothing: one pass over the edges, by falling level."""
        top = max(self.roots.values(), default=NONE)
        best: dict[Unit, int] = dict(self.roots)
        levels: list[list[Unit]] = [[] for _ in range(top + 1)]
        for root, depth in self.roots.items():
            if depth >= 0:
                levels[depth].append(root)
        cuts, out, get = self._cut_into, self._out, best.get
        for level in range(top, 0, -1):
            below = level - 1
            for unit in levels[level]:
                if best[unit] != level:
                    continue  # settled at a higher level; this was an earlier, lower candidate
                for edge in self._edges_of(unit) if cuts else out.get(unit, ()):
                    if scope not in edge.scopes:
                        continue
                    value = edge.depth if edge.depth < below else below
                    subject = edge.subject
                    if value > get(subject, NONE) and subject not in self.roots:
                        best[subject] = value
                        levels[value].append(subject)
                    if cuts:
                        for far in self._admitted(edge, scope):
                            if value > get(far, NONE):
                                best[far] = value
                                levels[value].append(far)
        return best

    def _edges_of(self, unit: Unit) -> Iterable[Edge]:
        """The edges whose U is this unit's budget."""
        if isinstance(unit, Edge):
            return (unit,)
        return () if self._ported(unit) else self._out.get(unit, ())

    def _supporters(self, unit: Unit, scope: str, need: int) -> Iterator[Edge]:
        """The edges into a unit that have the scope and a depth ≥ `need`."""
        if isinstance(unit, Edge):
            for edge in self._in.get(unit.issuer, ()):
                if edge.depth >= need and scope in edge.scopes and edge.admits(unit):
                    yield edge
        else:
            for edge in self._in.get(unit, ()):
                if edge.depth >= need and scope in edge.scopes:
                    yield edge

    def _potential(self, unit: Unit, scope: str, layer: Mapping[Unit, int], enough: int) -> int:
        """The greatest val into a unit by the values as they stand, but no more than `enough`."""
        most = NONE
        for edge in self._supporters(unit, scope, 0):
            use = layer.get(edge if self._ported(edge.issuer) else edge.issuer, NONE)
            value = min(use - 1, edge.depth)
            if use >= 1 and value > most:
                most = value
                if most >= enough:
                    return most
        return most

    def _repair(self, scope: str, units: Iterable[Unit]) -> set[Unit]:
        """Make the layer right again after the edges into `units` changed, from the highest level to the
        lowest.

        At a level, whatever stands higher is final. A unit there is either held up by something final, or
        falls and waits at the next level at which something may still hold it; each is looked at once per
        level.
        """
        layer = self._layers[scope]
        changed: set[Unit] = set()
        top = max(self.roots.values(), default=NONE)
        levels: list[dict[Unit, None]] = [{} for _ in range(top + 1)]

        def wait(unit: Unit, level: int) -> None:
            if level >= 0:
                levels[level][unit] = None

        for unit in units:
            if unit not in self.roots:
                wait(unit, max(layer.get(unit, NONE), self._potential(unit, scope, layer, top)))
        for level in range(top, NONE, -1):
            for unit in levels[level]:
                now = layer.get(unit, NONE)
                if now > level:
                    continue
                most = self._potential(unit, scope, layer, level)
                if most < level:
                    if now == level:  # fell
                        del layer[unit]
                        changed.add(unit)
                        wait(unit, most)
                        for far, value in self._supported(unit, scope, level):
                            if layer.get(far, NONE) == value:
                                wait(far, value)
                    elif most != now:  # hoped for more than there is
                        wait(unit, max(most, now))
                elif now < level:  # rose
                    layer[unit] = level
                    changed.add(unit)
                    for far, value in self._supported(unit, scope, level):
                        if layer.get(far, NONE) < value:
                            wait(far, value)
        return changed

    def _supported(self, unit: Unit, scope: str, level: int) -> Iterator[tuple[Unit, int]]:
        """What a unit at `level` holds up, and at which value."""
        if level < 1:
            return
        for edge in self._edges_of(unit):
            if scope in edge.scopes:
                value = min(level - 1, edge.depth)
                if edge.subject not in self.roots:
                    yield edge.subject, value
                for far in self._admitted(edge, scope):
                    yield far, value


def _edge_id(edge: Edge) -> str:
    return edge.id


def _unwind(came: Mapping[Unit, tuple[Edge, Unit] | None], unit: Unit) -> Iterator[Edge]:
    step = came[unit]
    while step is not None:
        edge, unit = step
        yield edge
        step = came[unit]
