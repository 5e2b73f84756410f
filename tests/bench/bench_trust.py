"""Trust at size: budgets of 1M vouches, pruning one agent, survival, verification. `run(workdir)` prints it.

Not a test: figures depend on the machine. Every figure's result is compared with another way of computing it first.
The peer is networkx: the same rule written over its graph, results compared; and, as the floor that a library's own
search sets, its breadth-first search, which knows no depth per vouch and so answers less.
"""

from __future__ import annotations

import gc
import random
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from skyswarm.trust.bulk import Packed
from skyswarm.trust.graph import Edge, Graph
from skyswarm.trust.levels import settle
from skyswarm.trust.survive import survives
from skyswarm.trust.view import TrustView
from tests.support.trust_authors import DAY, START, Author, rows

FETCH = frozenset({"fetch"})


def timed(what: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = what()
    return time.perf_counter() - started, result


def wide(agents: int, edges: int) -> list[Edge]:
    """Random vouches as people make them: anybody may vouch, some are vouched for much more often than others."""
    dice = random.Random(20)
    names = [f"{number:064x}" for number in range(agents)]
    depths = (3, 4, 5, 6, 7, 7)
    return [
        Edge(
            f"{number:x}",
            names[dice.randrange(agents)],
            names[int(agents * dice.random() ** 1.5)],
            FETCH,
            dice.choice(depths),
        )
        for number in range(edges)
    ]


def run(workdir: Path, agents: int = 100_000, edges: int = 1_000_000, peer: bool = True) -> dict[str, float]:
    """Seconds (`_s`), milliseconds (`_ms`), MiB (`_mib`), ratios (`_x`) by name. `workdir` is not used."""
    assert workdir is not None
    figures: dict[str, float] = {}
    gc.disable()
    made = wide(agents, edges)
    root = made[0].issuer
    graph = Graph({root: 7})
    figures["graph_build_s"], _ = timed(lambda: graph.update(add=made))
    gc.enable()
    gc.freeze()
    wires = graph._wires
    times = [timed(lambda: settle(wires, "fetch")) for _ in range(3)]
    figures["full_pure_s"] = statistics.median(seconds for seconds, _ in times)
    budgets = graph.budgets("fetch")
    assert budgets == times[0][1]
    figures["trusted_agents"] = len(budgets)

    figures["numpy_pack_s"], packed = timed(lambda: Packed(graph))
    figures["full_numpy_s"] = statistics.median(timed(lambda: packed.sweep("fetch"))[0] for _ in range(5))
    assert packed.budgets("fetch") == budgets

    dice = random.Random(21)
    trusted = sorted(str(agent) for agent in budgets)
    prunes = []
    for agent in dice.sample(trusted, 300):
        if agent != root:
            took, _ = timed(lambda agent=agent: graph.remove_agent(agent))  # type: ignore[misc]
            prunes.append(took * 1000)
    assert graph.budgets("fetch") == settle(wires, "fetch")
    figures["prune_median_ms"] = statistics.median(prunes)
    figures["prune_p99_ms"] = sorted(prunes)[int(len(prunes) * 0.99)]
    near = sorted(graph.budgets("fetch").items(), key=lambda item: -item[1])[1]
    figures["prune_worst_root_neighbour_ms"] = timed(lambda: graph.remove_agent(near[0]))[0] * 1000
    assert graph.budgets("fetch") == settle(wires, "fetch")

    lasting = [timed(lambda a=a: survives(graph, a, "fetch", 1))[0] * 1000 for a in dice.sample(trusted, 200)]  # type: ignore[misc]
    figures["survives_1_median_ms"] = statistics.median(lasting)
    figures["survives_1_p99_ms"] = sorted(lasting)[int(len(lasting) * 0.99)]
    figures["peak_mib"] = (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    )  # before the peer comes in
    if peer:
        figures |= _networkx(made, str(root), budgets)
        figures["networkx_by_pure_x"] = figures["networkx_rule_s"] / figures["full_pure_s"]
    figures |= _verification()
    _print(figures, agents, edges)
    return figures


def _networkx(made: list[Edge], root: str, budgets: dict[Any, int]) -> dict[str, float]:
    import networkx as nx

    def build() -> Any:
        net = nx.MultiDiGraph()
        net.add_edges_from((edge.issuer, edge.subject, {"depth": edge.depth}) for edge in made)
        return net

    def rule() -> dict[Any, int]:
        best = {root: 7}
        levels: list[list[Any]] = [[] for _ in range(8)]
        levels[7].append(root)
        for level in range(7, 0, -1):
            for agent in levels[level]:
                if best[agent] == level:
                    for _, subject, depth in net.out_edges(agent, data="depth"):
                        value = min(depth, level - 1)
                        if value > best.get(subject, -1) and subject != root:
                            best[subject] = value
                            levels[value].append(subject)
        return best

    built, net = timed(build)
    ruled, found = timed(rule)
    assert found == budgets
    reached, _ = timed(lambda: nx.single_source_shortest_path_length(net, root, cutoff=7))
    return {"networkx_build_s": built, "networkx_rule_s": ruled, "networkx_reach_only_s": reached}


def _verification(links: int = 2000) -> dict[str, float]:
    """One issuer's vouches through the whole view: parse, chain, signature, record, edge, budget."""
    alice, carol = Author("alice"), Author("carol")
    alice.vouch(carol)
    for number in range(links):
        carol.vouch(f"{number:064x}", exp=START + 60 * DAY)
    known: set[str] = set()
    given = rows(alice, carol)

    def fill() -> TrustView:
        view = TrustView(alice.id, known=known)
        view.offer(given)
        assert view.evaluate(f"{links - 1:064x}", "fetch", START).trusted
        return view

    first, view = timed(fill)
    assert view.verifications == links + 3
    again, view = timed(fill)
    assert view.verifications == 0
    chain = view.chain(carol.id)
    assert chain is not None and len(chain.accepted) == links + 1
    return {"link_verified_us": first / links * 1e6, "link_remembered_us": again / links * 1e6}


def _print(figures: dict[str, float], agents: int, edges: int) -> None:
    print(f"trust: {agents:,} agents, {edges:,} vouches")
    for name, value in figures.items():
        print(f"  {name:<32} {value:>12,.3f}")


if __name__ == "__main__":
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    run(Path(), agents=max(10, size // 10), edges=size)
