"""Small random graphs of vouches, and the rule of spec/trust.md computed the slow way: by every chain there
is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from hypothesis import strategies as st

from skyswarm.trust.graph import Agent, Edge

FETCH = frozenset({"fetch"})
ORIGINS = ("log/a", "log/b")


def edge(
    name: str,
    issuer: Agent,
    subject: Agent,
    depth: int = 7,
    *,
    scopes: frozenset[str] = FETCH,
    limit: int | None = None,
    cut: Mapping[str, int] | None = None,
    positions: Mapping[str, int] | None = None,
) -> Edge:
    return Edge(name, issuer, subject, scopes, depth, limit, cut or {}, positions or {})


def edges(
    agents: int = 6, most: int = 14, *, cuts: bool = False, depths: int = 4, limits: bool = False
) -> st.SearchStrategy[list[Edge]]:
    """Lists of edges among agents 0…n-1, ids in order of creation. With `cuts`, about a third carry one."""
    index = st.integers(0, 3)
    places = st.dictionaries(st.sampled_from(ORIGINS), index, max_size=2) if cuts else st.just({})
    cut = st.one_of(st.just({}), st.just({}), places) if cuts else st.just({})
    one = st.tuples(
        st.integers(0, agents - 1),
        st.integers(0, agents - 1),
        st.sampled_from((FETCH, FETCH, frozenset({"store"}), frozenset({"fetch", "store"}))),
        st.integers(0, depths),
        st.one_of(st.none(), st.integers(0, 9)) if limits else st.none(),
        cut,
        places,
    )
    return st.lists(one, max_size=most).map(
        lambda rows: [Edge(f"e{number:02d}", *row) for number, row in enumerate(rows) if row[0] != row[1]]
    )


def chains(
    given: Sequence[Edge], roots: Mapping[Agent, int], scope: str, without: Collection[Agent] = ()
) -> Iterator[tuple[tuple[Edge, ...], int]]:
    """Every chain from a root that counts, with what it gives the agent at its end."""
    usable = [
        e
        for e in given
        if scope in e.scopes and e.subject not in roots and not {e.issuer, e.subject} & set(without)
    ]

    def onward(chain: tuple[Edge, ...], value: int) -> Iterator[tuple[tuple[Edge, ...], int]]:
        yield chain, value
        if value >= 1:
            for e in usable:
                if e.issuer == chain[-1].subject and chain[-1].admits(e):
                    yield from onward((*chain, e), min(value - 1, e.depth))

    for root, depth in roots.items():
        for e in usable:
            if e.issuer == root and depth >= 1:
                yield from onward((e,), min(depth - 1, e.depth))


def budgets_by_chains(
    given: Sequence[Edge], roots: Mapping[Agent, int], scope: str, without: Collection[Agent] = ()
) -> dict[Agent, int]:
    """B of everyone trusted, as the best of all chains."""
    best: dict[Agent, int] = dict(roots)
    for chain, value in chains(given, roots, scope, without):
        end = chain[-1].subject
        best[end] = max(best.get(end, -1), value)
    return best
