"""trust/bulk.py gives what trust/graph.py gives."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyswarm.trust.bulk import Packed
from skyswarm.trust.graph import Edge, Graph
from tests.support.trust_graphs import edge, edges


@settings(max_examples=100, deadline=None)
@given(edges(agents=8, most=24, depths=7), st.dictionaries(st.integers(0, 3), st.integers(0, 7), max_size=3))
def test_equal_on_small_graphs(es: list[Edge], roots: dict[int, int]) -> None:
    graph = Graph(roots)
    graph.update(add=es)
    packed = Packed(graph)
    for scope in ("fetch", "store", "index"):
        assert packed.budgets(scope) == graph.budgets(scope)


def test_equal_on_a_larger_graph_and_repaired_from_there() -> None:
    dice = random.Random(7)
    pick = dice.randrange
    es = [edge(str(i), pick(3000), pick(3000), pick(4, 8)) for i in range(12000)]
    graph = Graph({0: 7, 1: 5})
    graph.update(add=es)
    loaded = Graph({0: 7, 1: 5})
    loaded.update(add=es)
    loaded.load("fetch", Packed(loaded).budgets("fetch"))
    assert len(graph.budgets("fetch")) > 1000
    for agent in dice.sample(range(3000), 40):
        graph.remove_agent(agent)
        loaded.remove_agent(agent)
    assert graph.budgets("fetch") == loaded.budgets("fetch") == Packed(graph).budgets("fetch")


def test_cuts_are_refused() -> None:
    graph = Graph({0: 7})
    graph.add(edge("a", 0, 1, cut={"log/a": 0}))
    with pytest.raises(ValueError, match="cuts"):
        Packed(graph)
