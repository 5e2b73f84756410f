"""trust/graph.py against every chain there is, and every update against a computation from nothing."""

from __future__ import annotations

import dataclasses
import itertools

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyswarm.trust.graph import Edge, Graph
from tests.support.trust_graphs import FETCH, budgets_by_chains, chains, edge, edges

ROOTS = st.one_of(
    st.just({0: 4}), st.just({0: 3}), st.dictionaries(st.integers(0, 2), st.integers(0, 4), max_size=2)
)


def graph_of(given_edges: list[Edge], roots: dict[int, int]) -> Graph:
    graph = Graph(roots)
    graph.update(add=given_edges)
    return graph


def test_the_example_of_the_spec() -> None:
    graph = graph_of(
        [edge("a", "root", "carol", 2), edge("b", "carol", "bob"), edge("c", "bob", "dan", 5)], {}
    )
    graph.set_roots({"root": 7})
    assert graph.budgets("fetch") == {"root": 7, "carol": 2, "bob": 1, "dan": 0}
    assert graph.budget("dan", "store") == -1
    assert [e.id for e in graph.path("dan", "fetch") or ()] == ["a", "b", "c"]
    graph.add(edge("d", "dan", "eve", 5))
    assert graph.budget("eve", "fetch") == -1, "dan is trusted, but his own vouches do not count"
    graph.remove("b")
    assert graph.budgets("fetch") == {"root": 7, "carol": 2}
    assert graph.path("bob", "fetch") is None


@settings(max_examples=200, deadline=None)
@given(edges(), ROOTS)
def test_budgets_are_the_best_of_all_chains(es: list[Edge], roots: dict[int, int]) -> None:
    graph = graph_of(es, roots)
    for scope in ("fetch", "store"):
        assert graph.budgets(scope) == budgets_by_chains(es, roots, scope)


@settings(max_examples=250, deadline=None)
@given(edges(agents=5, most=9, cuts=True), ROOTS)
def test_budgets_with_cuts_are_the_best_of_all_admitted_chains(es: list[Edge], roots: dict[int, int]) -> None:
    graph = graph_of(es, roots)
    assert graph.budgets("fetch") == budgets_by_chains(es, roots, "fetch")
    ways = list(chains(es, roots, "fetch"))
    for e in es:
        if "fetch" in e.scopes:
            before = [v for chain, v in ways if chain[-1].subject == e.issuer and chain[-1].admits(e)]
            expected = roots[e.issuer] if e.issuer in roots else max(before, default=-1)
            assert graph.use(e, "fetch") == expected


@settings(max_examples=150, deadline=None)
@given(edges(agents=5, most=10, cuts=True), ROOTS)
def test_path_is_a_shortest_chain_of_the_highest_budget(es: list[Edge], roots: dict[int, int]) -> None:
    graph = graph_of(es, roots)
    ways = list(chains(es, roots, "fetch"))
    for agent in range(5):
        path = graph.path(agent, "fetch")
        if agent in roots:
            assert path == ()
            continue
        mine = [(value, -len(chain)) for chain, value in ways if chain[-1].subject == agent]
        if not mine:
            assert path is None
        else:
            assert path is not None
            assert (path, graph.budget(agent, "fetch")) in ways
            assert (graph.budget(agent, "fetch"), -len(path)) == max(mine)


@settings(max_examples=60, deadline=None)
@given(edges(cuts=True), ROOTS, st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(es: list[Edge], roots: dict[int, int], dice: object) -> None:
    shuffled = list(es)
    dice.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = graph_of(es, roots), Graph(roots)
    for e in shuffled:
        other.add(e)
        other.budgets("fetch")
    assert one.budgets("fetch") == other.budgets("fetch")
    for agent in range(6):
        assert one.path(agent, "fetch") == other.path(agent, "fetch")


@settings(max_examples=100, deadline=None)
@given(edges(cuts=True), edges(agents=6, most=1, cuts=True), ROOTS)
def test_one_vouch_more_never_lowers_anyone(es: list[Edge], more: list[Edge], roots: dict[int, int]) -> None:
    graph = graph_of(es, roots)
    before = graph.budgets("fetch")
    graph.update(add=[dataclasses.replace(e, id="zz") for e in more])
    after = graph.budgets("fetch")
    assert all(after[agent] >= b for agent, b in before.items())


@settings(max_examples=300, deadline=None)
@given(edges(agents=6, most=24, cuts=True, depths=7), st.data())
def test_every_update_equals_a_computation_from_nothing(es: list[Edge], data: st.DataObject) -> None:
    graph = Graph({0: 7, 5: 2})
    held: dict[str, Edge] = {}
    graph.budgets("fetch"), graph.budgets("store")
    waiting = list(es)
    while waiting:
        add = [waiting.pop() for _ in range(data.draw(st.integers(0, len(waiting))))]
        known = sorted(held)
        remove = data.draw(st.lists(st.sampled_from(known), max_size=4, unique=True)) if known else []
        agent = data.draw(st.one_of(st.none(), st.integers(0, 5)))
        if agent is not None:
            graph.remove_agent(agent)
            held = {k: e for k, e in held.items() if agent not in (e.issuer, e.subject)}
        graph.update(add, remove)
        for name in remove:
            held.pop(name, None)
        held |= {e.id: e for e in add}
        for scope in ("fetch", "store"):
            fresh = graph_of(list(held.values()), {0: 7, 5: 2})
            assert graph.budgets(scope) == fresh.budgets(scope)
            for e in held.values():
                if scope in e.scopes:
                    assert graph.use(e, scope) == fresh.use(e, scope)
        if not add and not remove and agent is None:
            break


@settings(max_examples=100, deadline=None)
@given(edges(agents=8, most=24, depths=7))
def test_the_dominator_subtree_of_an_agent_is_lost_with_it(es: list[Edge]) -> None:
    es = [edge(e.id, e.issuer, e.subject, 7) for e in es]  # depth never binds among 8 agents from depth 8
    graph = graph_of(es, {0: 8})
    oracle = nx.DiGraph([(e.issuer, e.subject) for e in es])
    oracle.add_node(0)
    above = nx.immediate_dominators(oracle, 0)

    def dominated(agent: int, by: int) -> bool:
        while agent != 0 and agent != by:
            agent = above[agent]
        return agent == by

    for gone in range(1, 8):
        before = set(graph.budgets("fetch"))
        lost = {a for a in before if dominated(a, gone)}
        removed = [e for e in graph.edges.values() if gone in (e.issuer, e.subject)]
        graph.remove_agent(gone)
        assert set(graph.budgets("fetch")) == before - lost
        graph.update(add=removed)
        assert set(graph.budgets("fetch")) == before


def test_a_new_vouch_by_one_who_falls_in_the_same_update() -> None:
    """s is hoped for at the level of x, which falls in the same step; what is left is the vouch of y."""
    chain = [edge(f"y{i}", i, i + 1) for i in range(3)]
    graph = graph_of([edge("x", 0, "x"), *chain], {0: 7})
    assert graph.budget("x", "fetch") == 6
    assert graph.update([edge("xs", "x", "s"), edge("ys", 3, "s")], ["x"]) == {"x", "s"}
    assert graph.budgets("fetch") == {0: 7, 1: 6, 2: 5, 3: 4, "s": 3}


def test_a_cycle_cannot_hold_itself_up() -> None:
    ring = [edge(f"r{i}", i, i + 1, 7) for i in range(1, 5)] + [edge("back", 5, 1, 7)]
    graph = graph_of([edge("in", 0, 1, 7), *ring], {0: 7})
    assert graph.budgets("fetch") == {0: 7, 1: 6, 2: 5, 3: 4, 4: 3, 5: 2}
    graph.remove("in")
    assert graph.budgets("fetch") == {0: 7}


def test_cutting_a_vouch_spares_what_was_logged_before() -> None:
    old = edge("old", "s", "x", 7, positions={"log/a": 4, "log/b": 9})
    new = edge("new", "s", "y", 7, positions={"log/a": 5})
    into = edge("in", "root", "s", 7, cut={"log/a": 4})
    graph = graph_of([into, old, new, edge("far", "x", "z")], {"root": 7})
    assert graph.budgets("fetch") == {"root": 7, "s": 6, "x": 5, "z": 4}
    assert (graph.use(old, "fetch"), graph.use(new, "fetch")) == (6, -1)
    graph.add(edge("in2", "root", "t", 7))
    graph.add(edge("t2", "t", "s", 7))
    assert graph.budget("y", "fetch") == 4, "whoever vouches without a cut admits all"
    graph.remove("t2")
    assert graph.budget("y", "fetch") == -1
    graph.add(edge("in", "root", "s", 7, cut={"log/a": 4, "log/b": 8}))
    assert graph.budgets("fetch") == {"root": 7, "s": 6, "t": 6}, "every origin named must admit"
    graph.add(edge("in", "root", "s", 7))
    assert graph.budgets("fetch") == {"root": 7, "s": 6, "t": 6, "x": 5, "y": 5, "z": 4}


def test_same_id_replaces_and_unknown_id_is_nothing() -> None:
    graph = graph_of([edge("a", 0, 1, 7)], {0: 7})
    graph.remove("nobody")
    graph.add(edge("a", 0, 2, 7))
    assert graph.budgets("fetch") == {0: 7, 2: 6}
    assert list(graph.into(1)) == [] and [e.id for e in graph.by(0)] == ["a"]
    assert set(graph.agents()) == {0, 2}


def test_load_takes_budgets_only_without_cuts() -> None:
    graph = graph_of([edge("a", 0, 1, 7)], {0: 7})
    graph.load("fetch", {0: 7, 1: 6})
    graph.add(edge("b", 1, 2, 7))
    assert graph.budgets("fetch") == {0: 7, 1: 6, 2: 5}
    graph.add(edge("c", 0, 3, 7, cut={"log/a": 1}))
    with pytest.raises(ValueError, match="cuts"):
        graph.load("fetch", {0: 7})


def test_a_hub_held_up_by_many_falls_once() -> None:
    """Every supporter of a hub falls in one step: the hub is looked at once a level, not once a supporter."""
    many = range(100, 3100)
    hub = [edge(f"x{i}", "x", i, 7) for i in many] + [edge(f"h{i}", i, "hub", 7) for i in many]
    graph = graph_of([edge("in", "root", "x", 7), *hub, edge("on", "hub", "far")], {"root": 7})
    assert graph.budget("far", "fetch") == 3
    reads = itertools.count()

    class Counting(dict[object, None]):
        def __iter__(self):  # type: ignore[no-untyped-def]
            for item in super().__iter__():
                next(reads)
                yield item

    graph._wires.inward["hub"] = Counting(graph._wires.inward["hub"])  # type: ignore[assignment]
    graph.remove("in")
    assert graph.budgets("fetch") == {"root": 7}
    assert next(reads) <= 2 * len(many)


def test_scopes_are_apart() -> None:
    both = frozenset({"fetch", "store"})
    graph = graph_of([edge("a", 0, 1, scopes=both), edge("b", 1, 2, scopes=FETCH)], {0: 7})
    assert graph.budgets("fetch") == {0: 7, 1: 6, 2: 5}
    assert graph.budgets("store") == {0: 7, 1: 6}
    assert graph.budgets("witness") == {0: 7}
