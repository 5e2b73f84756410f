"""Budgets, computed from nothing and repaired after a change, from the highest level to the lowest.

Law: reads wires, fills layers, keeps nothing (spec/trust.md, "The rule"; after Ramalingam and Reps 1996). A
budget falls at every hop, so whatever stands above a level is final when the level is looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from skyswarm.trust.wires import NONE, Unit, Wires

Layer = dict[Unit, int]
"""The budgets of one scope; who is absent has none."""


def settle(wires: Wires, scope: str) -> Layer:
    """All budgets of one scope from nothing: one pass over the edges, by falling level."""
    top = max(wires.roots.values(), default=NONE)
    best: Layer = dict(wires.roots)
    levels: list[list[Unit]] = [[] for _ in range(top + 1)]
    for root, depth in wires.roots.items():
        if depth >= 0:
            levels[depth].append(root)
    cuts, out, roots, get = wires.has_cuts, wires.outward, wires.roots, best.get
    for level in range(top, 0, -1):
        below = level - 1
        for unit in levels[level]:
            if best[unit] != level:
                continue  # settled at a higher level; this was an earlier, lower candidate
            for edge in wires.edges_of(unit) if cuts else out.get(unit, ()):
                subject = edge.subject
                known = get(subject, NONE)
                if (known >= below and not cuts) or scope not in edge.scopes:
                    continue  # most edges of a large graph end here: no value above `below` can come from this level
                value = edge.depth if edge.depth < below else below
                if value > known and subject not in roots:
                    best[subject] = value
                    levels[value].append(subject)
                if cuts:
                    for far in wires.admitted(edge, scope):
                        if value > get(far, NONE):
                            best[far] = value
                            levels[value].append(far)
    return best


def _potential(wires: Wires, unit: Unit, scope: str, layer: Mapping[Unit, int], enough: int) -> int:
    """The greatest val into a unit by the values as they stand, but no more than `enough`."""
    most = NONE
    for edge in wires.supporters(unit, scope, 0):
        use = layer.get(edge if wires.ported(edge.issuer) else edge.issuer, NONE)
        value = min(use - 1, edge.depth)
        if use >= 1 and value > most:
            most = value
            if most >= enough:
                return most
    return most


def repair(wires: Wires, scope: str, layer: Layer, units: Iterable[Unit]) -> set[Unit]:
    """Make the layer right again after the edges into `units` changed, from the highest level to the
    lowest. Returns the units that were changed (some may have come back to what they were).

    At a level, whatever stands higher is final. A unit there is either held up by something final, or falls
    and waits at the next level at which something may still hold it; each is looked at once per level.
    """
    changed: set[Unit] = set()
    top = max(wires.roots.values(), default=NONE)
    levels: list[dict[Unit, None]] = [{} for _ in range(top + 1)]

    def wait(unit: Unit, level: int) -> None:
        if level >= 0:
            levels[level][unit] = None

    for unit in units:
        if unit not in wires.roots:
            wait(unit, max(layer.get(unit, NONE), _potential(wires, unit, scope, layer, top)))
    for level in range(top, NONE, -1):
        for unit in levels[level]:
            now = layer.get(unit, NONE)
            if now > level:
                continue
            most = _potential(wires, unit, scope, layer, level)
            if most < level:
                if now == level:  # fell
                    del layer[unit]
                    changed.add(unit)
                    wait(unit, most)
                    for far, value in _supported(wires, unit, scope, level):
                        if layer.get(far, NONE) == value:
                            wait(far, value)
                elif most != now:  # hoped for more than there is
                    wait(unit, max(most, now))
            elif now < level:  # rose
                layer[unit] = level
                changed.add(unit)
                for far, value in _supported(wires, unit, scope, level):
                    if layer.get(far, NONE) < value:
                        wait(far, value)
    return changed


def _supported(wires: Wires, unit: Unit, scope: str, level: int) -> Iterator[tuple[Unit, int]]:
    """What a unit at `level` holds up, and at which value."""
    if level < 1:
        return
    for edge in wires.edges_of(unit):
        if scope in edge.scopes:
            value = min(level - 1, edge.depth)
            if edge.subject not in wires.roots:
                yield edge.subject, value
            for far in wires.admitted(edge, scope):
                yield far, value
