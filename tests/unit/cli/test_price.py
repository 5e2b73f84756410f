"""Money is never spent without a word: who is asked, and what is shown before a byte is moved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from skyswarm.cli.follow import estimate_lines
from skyswarm.cli.frame import Cli
from skyswarm.cli.transfers import _agree
from skyswarm.edge.runtime import Runtime, create
from skyswarm.errors import InputError
from skyswarm.usecases.costs import Price, Prices
from skyswarm.usecases.jobs import Job

DEAR = Prices({"folder": Price(egress=90_000, egress_same=0, read=400, write=5_000)}, "2026-11-01")
LINES = DEAR.lines("folder/elsewhere", "folder", 61_200_000_000, 1_010)
JOB = Job(
    id="t-81", manifest="5" * 64, name="photos", storage="home", prefix="in", created=1, state="paused", files=12_410,
    bytes=61_200_000_000, pieces=1_010, estimate=LINES,
)  # fmt: skip


@pytest.fixture
def dear(tmp_path: Path) -> Iterator[Runtime]:
    """An agent on a storage where every write costs."""
    runtime, _ = create(tmp_path / "home", name="alice", port=7001, fsync=False)
    runtime.deps = replace(runtime.deps, prices=DEAR)
    yield runtime
    runtime.close()


def test_a_price_that_is_not_nothing_needs_a_word(dear: Runtime, capsys: pytest.CaptureFixture[str]) -> None:
    cli = Cli(dear.home.path)
    with pytest.raises(InputError, match="nobody here to ask"):
        _agree(cli, dear, JOB, True, yes=False)
    shown = capsys.readouterr().err
    assert "You pay about $0.005" in shown and "the source about $5.51" in shown
    _agree(cli, dear, JOB, True, yes=True)
    _agree(cli, dear, replace(JOB, max_cost=6_000_000), True, yes=False)


def test_a_price_that_is_not_known_needs_a_word_where_there_could_be_one(dear: Runtime) -> None:
    with pytest.raises(InputError):
        _agree(Cli(dear.home.path), dear, JOB, False, yes=False)


def test_what_costs_the_user_nothing_is_not_asked(dear: Runtime) -> None:
    free = tuple({**line, "micro": 0} if line["payer"] == "you" else line for line in LINES)
    _agree(Cli(dear.home.path), dear, replace(JOB, estimate=free), True, yes=False)


def test_the_estimate_line_by_line(dear: Runtime) -> None:
    assert estimate_lines(dear, replace(JOB, max_cost=6_000_000)) == [
        "12,410 files, 61.2 GB → home:/in. You pay about $0.00505, the source about $5.51.",
        "      $5.51  egress of folder/elsewhere, paid by the source",
        "  $0.000404  reads of folder/elsewhere, paid by the source",
        "   $0.00505  writes to folder, paid by you",
        "  it stops before it costs you more than $6.00",
    ]
