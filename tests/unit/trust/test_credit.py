"""trust/credit.py against networkx's flows, and the bound on a sybil region."""

from __future__ import annotations

import networkx as nx
from hypothesis import given, settings
from hypothesis import strategies as st

from skyswarm.trust.credit import UNBOUNDED, credit
from skyswarm.trust.graph import Agent, Edge, Graph
from tests.support.trust_graphs import edge, edges

WIDE = 10**6


def graph_of(es: list[Edge]) -> Graph:
    graph = Graph({0: 7})
    graph.update(add=es)
    return graph


def most(graph: Graph, sinks: dict[Agent, int]) -> int:
    """The greatest flow from the root that may end in `sinks`, by networkx."""
    net = nx.DiGraph()
    net.add_nodes_from([0, "end"])
    for e in graph.edges.values():
        if "fetch" in e.scopes and graph.use(e, "fetch") >= 1:
            before = net.get_edge_data(e.issuer, e.subject, {"capacity": 0})["capacity"]
            net.add_edge(e.issuer, e.subject, capacity=before + (WIDE if e.limit is None else e.limit))
    for agent, wanted in sinks.items():
        net.add_edge(agent, "end", capacity=wanted)
    value: int = nx.maximum_flow_value(net, 0, "end")
    return value


@settings(max_examples=200, deadline=None)
@given(
    edges(agents=6, most=16, limits=True, depths=7),
    st.integers(1, 5),
    st.dictionaries(st.integers(1, 5), st.integers(0, 12), max_size=4),
)
def test_credit_is_what_fits_beside_the_demands(es: list[Edge], sub: int, demands: dict[Agent, int]) -> None:
    graph = graph_of(es)
    trusted = graph.budget(sub, "fetch") >= 0
    both = dict(demands)
    both[sub] = both.get(sub, 0) + 10**4
    expected = most(graph, both) - most(graph, demands) if trusted else 0
    assert min(credit(graph, sub, "fetch", demands), 10**4) == expected
    assert credit(graph, sub, "fetch", demands, want=5) == min(expected, 5)


@settings(max_examples=150, deadline=None)
@given(
    edges(agents=9, most=30, limits=True, depths=7),
    st.lists(st.integers(4, 8), min_size=1, max_size=12),
    st.data(),
)
def test_a_sybil_region_gets_no_more_than_the_limits_that_cross_into_it(
    es: list[Edge], asks: list[int], data: st.DataObject
) -> None:
    """Agents 4…8 are the adversary's: they vouch for each other without limit, and ask in any order and
    number.
    """
    inside = set(range(4, 9))
    es = [
        edge(e.id, e.issuer, e.subject, e.depth, limit=None if e.issuer in inside else (e.limit or 0))
        for e in es
    ]
    graph = graph_of(es)
    crossing = sum(e.limit or 0 for e in es if e.subject in inside and e.issuer not in inside)
    handed: dict[Agent, int] = {}
    for sub in asks:
        can = credit(graph, sub, "fetch", handed)
        take = data.draw(st.integers(0, can))
        handed[sub] = handed.get(sub, 0) + take
        assert credit(graph, sub, "fetch", handed) == can - take
    assert sum(handed.values()) <= crossing


def test_limits_along_a_chain_and_beside_it() -> None:
    graph = graph_of([edge("a", 0, 1, limit=100), edge("b", 1, 2, limit=60), edge("c", 1, 3, limit=60)])
    assert credit(graph, 2, "fetch", {}) == 60
    assert credit(graph, 3, "fetch", {2: 60}) == 40
    assert credit(graph, 3, "fetch", {1: 80}) == 20
    assert credit(graph, 2, "fetch", {1: 500}) == 0, "more handed out than is covered: nothing left"
    assert credit(graph, 2, "store", {}) == 0
    graph.add(edge("d", 0, 3))
    assert credit(graph, 3, "fetch", {1: 100}) == UNBOUNDED
    assert credit(graph, 0, "fetch", {}) == UNBOUNDED
    graph.add(edge("z", 0, 2, limit=0))
    assert credit(graph, 2, "fetch", {3: 10**12, 1: 100}) == 0, "a limit of 0 underwrites nothing"


def test_earlier_demands_are_rerouted_not_dropped() -> None:
    """1 could take 3's only way; then what 1 has must move over to its own."""
    graph = graph_of([edge("a", 0, 2, limit=10), edge("b", 2, 1), edge("c", 2, 3), edge("d", 0, 1, limit=10)])
    assert credit(graph, 3, "fetch", {1: 10}) == 10
    assert credit(graph, 3, "fetch", {1: 15}) == 5


def test_an_edge_beyond_the_depth_carries_nothing() -> None:
    graph = graph_of([edge("a", 0, 1, 0, limit=9), edge("b", 1, 2, 7, limit=9)])
    assert credit(graph, 1, "fetch", {}) == 9
    assert credit(graph, 2, "fetch", {}) == 0
