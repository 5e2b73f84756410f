"""Prices and estimates: integers, rounded up, never zero for what is unknown."""

from __future__ import annotations

import json
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyswarm.usecases.costs import GB, Price, Prices

TABLE = Prices(
    {"s3": Price(90_000, 0, 400, 5000), "b2": Price(10_000, 0, 4000, 0), "folder": Price(0, 0, 0, 0)}, "x"
)


def test_the_shipped_file_parses_and_says_when_and_where_from() -> None:
    doc = json.loads(resources.files("skyswarm.data").joinpath("prices.json").read_text("utf-8"))
    prices = Prices.parse(doc)
    assert prices.dated == doc["dated"] and len(prices.dated) == 10
    assert doc["source"]
    assert {"folder", "s3", "gcs"} <= prices.by_provider.keys()
    for row in prices.by_provider.values():
        assert all(
            type(value) is int and value >= 0 for value in (row.egress, row.egress_same, row.read, row.write)
        )


def test_the_provider_is_what_comes_before_the_slash() -> None:
    assert TABLE.of("s3/eu-central-1") == TABLE.of("s3") == Price(90_000, 0, 400, 5000)


@pytest.mark.parametrize("kind", ["", "s4", "S3", "/", "s3x/eu", "unheard-of"])
def test_an_unknown_storage_is_priced_like_the_dearest(kind: str) -> None:
    assert TABLE.of(kind) == Price(90_000, 0, 4000, 5000)


def test_money_is_rounded_up() -> None:
    assert TABLE.piece("s3", "folder", 1) == 1 + 1
    assert TABLE.piece("s3", "folder", 0) == 1
    assert TABLE.piece("folder", "folder", 1 << 40) == 0
    assert TABLE.piece("s3/a", "s3/a", 1 << 40) == 1 + 5, "within one place there is no egress"
    assert TABLE.piece("s3/a", "s3/b", GB) == 90_000 + 1 + 5


def test_the_estimate_has_a_line_for_each_payer() -> None:
    lines = TABLE.lines("s3/a", "b2", GB + 1, 1001)
    assert lines == (
        {"what": "egress of s3/a", "payer": "them", "micro": 90_001},
        {"what": "reads of s3/a", "payer": "them", "micro": 401},
        {"what": "writes to b2", "payer": "you", "micro": 0},
    )


@given(st.lists(st.integers(0, 1 << 40), min_size=1, max_size=20))
def test_pieces_never_cost_less_than_the_estimate_of_them_all(sizes: list[int]) -> None:
    """Each is rounded up by itself, so a cap that fits the pieces fits the estimate."""
    whole = sum(line["micro"] for line in TABLE.lines("s3", "b2", sum(sizes), len(sizes)))
    assert sum(TABLE.piece("s3", "b2", size) for size in sizes) >= whole
