"""Tables, the line of a transfer, the speed, and what a pipe gets to see."""

from __future__ import annotations

import io
from dataclasses import replace

from skyswarm.cli.display import Live, Speed, progress, table
from skyswarm.messages.status import Cost, Moved, Progress, Status, Waiting

MOVING = Status(
    transfer="t-81",
    state="moving",
    name="photos",
    files=Progress(3, 9),
    bytes=Moved(49_100_000_000, 61_200_000_000, 0, 0),
    pieces=Progress(812, 1010),
    rate=1,
    eta=None,
    cost=Cost(4_420_000, 6_000_000, 5_510_000),
    started=1,
    updated=2,
)


def test_columns_are_aligned_by_what_they_take_on_a_terminal() -> None:
    lines = table(("NAME", ">SIZE", "x"), [("é", "1", "a"), ("東京", "1000", ""), ("e\u0301e", "22", "b")])
    assert lines == ["NAME  SIZE  x", "é        1  a", "東京  1000", "e\u0301e      22  b"]


def test_a_table_is_clean_and_one_line_a_row() -> None:
    assert table(("A",), [("x\x1b[2J\ny",)]) == ["A", "x\ufffd[2J y"]
    assert table(("A",), []) == []


def test_the_line_of_a_transfer_on_a_terminal() -> None:
    assert progress(MOVING, 412_000_000, bar=True) == (
        "t-81  ▓▓▓▓▓▓▓▓░░  812/1,010 pieces  49.1 GB  412 MB/s  ETA 0:29  $4.42 of $6.00"
    )


def test_the_line_of_a_transfer_in_a_pipe() -> None:
    assert progress(MOVING, 412_000_000, bar=False) == (
        "t-81  80%  812/1,010 pieces  49.1 GB of 61.2 GB  412 MB/s  ETA 0:29  $4.42 of $6.00"
    )
    assert progress(MOVING, 0, bar=False).endswith("0 B/s  ETA –  $4.42 of $6.00")
    queued = replace(
        MOVING, state="queued", bytes=Moved(0, 0, 0, 0), pieces=Progress(0, 0), cost=Cost(0, None, 0)
    )
    assert progress(queued, 0, bar=False) == "t-81  queued"
    waits = replace(queued, waiting=Waiting("SKY-311", "agent 9c01 does not answer", 0))
    assert progress(waits, 0, bar=False) == "t-81  queued  waits: SKY-311 agent 9c01 does not answer"
    assert progress(queued, 0, bar=True) == "t-81  ░░░░░░░░░░  queued"


def test_speed_is_the_mean_of_the_last_seconds() -> None:
    speed = Speed()
    assert [speed.at(0.0, 0), speed.at(0.2, 10**9)] == [0, 0]  # too early to tell
    assert speed.at(2.0, 2_000) == 1_000
    speed = Speed()
    for second in range(20):
        last = speed.at(float(second), 100 * second if second < 10 else 900 + 10 * (second - 9))
    assert last == 10


def test_a_pipe_gets_whole_lines_at_changes_and_seldom_else() -> None:
    out = io.StringIO()
    with Live(out, every=1000.0) as live:
        live.show(["first"])
        live.show(["too soon"])
        live.show(["changed"], now=True)
        live.print("stays \x1b[2J")
    assert out.getvalue() == "first\nchanged\nstays \ufffd[2J\n"


def test_silence() -> None:
    out = io.StringIO()
    with Live(out, silent=True) as live:
        live.show(["a"], now=True)
        live.print("b")
    assert out.getvalue() == ""
