"""trust/survive.py against removing every set of agents in turn."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from skyswarm.trust.graph import Edge, Graph
from skyswarm.trust.survive import survives
from tests.support.trust_graphs import budgets_by_chains, edge, edges


@settings(max_examples=120, deadline=None)
@given(edges(agents=6, most=13), st.integers(0, 2))
def test_survives_exactly_when_no_set_of_f_breaks_it(es: list[Edge], f: int) -> None:
    _against_every_set(es, f)


@settings(max_examples=120, deadline=None)
@given(edges(agents=5, most=9, cuts=True), st.integers(0, 2))
def test_survives_is_exact_with_cuts_too(es: list[Edge], f: int) -> None:
    _against_every_set(es, f)


def _against_every_set(es: list[Edge], f: int) -> None:
    roots = {0: 4}
    graph = Graph(roots)
    graph.update(add=es)
    agents = {0, *(e.issuer for e in es), *(e.subject for e in es)}
    for sub in agents:
        others = agents - {0, sub}
        holds = all(
            sub in budgets_by_chains(es, roots, "fetch", gone)
            for size in range(f + 1)
            for gone in itertools.combinations(sorted(others), size)  # type: ignore[type-var]
        )
        found = survives(graph, sub, "fetch", f)
        assert found.holds == holds
        if not holds:
            assert found.witness <= others and len(found.witness) <= f
            assert sub not in budgets_by_chains(es, roots, "fetch", found.witness)


def test_two_ways_survive_one_loss_and_not_two() -> None:
    graph = Graph({"me": 7})
    graph.update(add=[edge(f"{n}1", "me", n) for n in "abc"] + [edge(f"{n}2", n, "s") for n in "ab"])
    assert survives(graph, "s", "fetch", 1).holds
    assert survives(graph, "s", "fetch", 2).witness == {"a", "b"}
    assert survives(graph, "a", "fetch", 5).holds, "a direct vouch hangs on nobody else"
    assert survives(graph, "me", "fetch", 5).holds
    assert not survives(graph, "stranger", "fetch", 0).holds
    assert not survives(graph, "s", "store", 0).holds


def test_a_detour_that_is_too_long_does_not_count() -> None:
    """Both ways are there, but without b the way left is one hop longer than the vouches allow."""
    graph = Graph({"me": 3})
    graph.update(
        add=[
            edge("1", "me", "b"), edge("2", "b", "s"),
            edge("3", "me", "c"), edge("4", "c", "d"), edge("5", "d", "e"), edge("6", "e", "s"),
        ]
    )  # fmt: skip
    assert survives(graph, "s", "fetch", 0).holds
    assert survives(graph, "s", "fetch", 1).witness == {"b"}
