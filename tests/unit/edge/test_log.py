"""The log: whole lines whatever is written, and no stranger who can silence it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from skyswarm.edge.log import MAX_LINE, MAX_PATH, Log

NOON = 1_800_000_000.0
DAY = "2027-01-15"


class Hands:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


def lines(folder: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line) for file in sorted(folder.glob("*.jsonl")) for line in file.read_text().splitlines()
    ]


@pytest.mark.parametrize(
    "value",
    [
        "x" * 100_000,
        "\U0001f41d" * 3000,
        "\0" * 8000,
        {"a": "é" * 9000},
        float("nan"),
        10**400,
        b"\xff",
        None,
    ],
)
def test_every_line_is_whole_json_of_a_bounded_length(tmp_path: Path, value: object) -> None:
    log = Log(tmp_path / "log", Hands())
    log.write("odd", value=value, more=7)
    log.write("next")
    first, second = lines(tmp_path / "log")
    assert (first["event"], first["more"], second["event"]) == ("odd", 7, "next")
    assert all(len(line) <= MAX_LINE for line in (tmp_path / "log" / f"{DAY}.jsonl").read_text().splitlines())


def test_a_trace_keeps_its_end(tmp_path: Path) -> None:
    log = Log(tmp_path, Hands())
    log.write("crash", trace="File\n" * 5000 + "ValueError: this")
    assert lines(tmp_path)[0]["trace"].endswith("ValueError: this")


def test_requests_have_a_budget_and_what_is_more_is_counted(tmp_path: Path) -> None:
    hands = Hands()
    log = Log(tmp_path, hands, max_requests=4000)
    for _ in range(100):
        log.access("GET", "/" + "a" * 8000, 404, 10, 0.001)
    shown = lines(tmp_path)
    requests = [line for line in shown if line["event"] == "request"]
    assert 5 < len(requests) < 15
    assert {len(line["path"]) for line in requests} == {MAX_PATH}
    assert [line["count"] for line in shown if line["event"] == "requests-left-out"] == [1]
    log.write("task-crash", error="seen")
    assert lines(tmp_path)[-1]["error"] == "seen"
    hands.now += 61
    log.access("GET", "/b", 404, 10, 0.001)
    hands.now += 1
    log.access("GET", "/o/presigned", 200, 10, 0.001)
    told = sum(line["count"] for line in lines(tmp_path) if line["event"] == "requests-left-out")
    assert told == 101 - len(requests)
    hands.now += 86400
    log.access("GET", "/tomorrow", 200, 10, 0.001)
    assert lines(tmp_path)[-1]["path"] == "/tomorrow"


def test_refusals_are_paid_from_the_budget_of_requests(tmp_path: Path) -> None:
    """Whoever makes up an identity can be refused as often as it asks."""
    log = Log(tmp_path, Hands(), max_requests=4000)
    for _ in range(100):
        log.write("refused", asker="a" * 64, code="SKY-429")
    log.write("granted", asker="b" * 64)
    events = [line["event"] for line in lines(tmp_path)]
    assert 5 < events.count("refused") < 40
    assert events[-2:] == ["requests-left-out", "granted"]


def test_a_full_file_is_turned_over_and_nothing_falls_silent(tmp_path: Path) -> None:
    log = Log(tmp_path, Hands(), max_file=2000)
    for number in range(100):
        log.write("task", number=number, text="x" * 100)
    assert sorted(file.name for file in tmp_path.iterdir()) == [f"{DAY}.1.jsonl", f"{DAY}.jsonl"]
    assert max(line["number"] for line in lines(tmp_path)) == 99
    assert all(file.stat().st_size < 2300 for file in tmp_path.iterdir())


def test_seven_days_are_kept(tmp_path: Path) -> None:
    hands = Hands()
    log = Log(tmp_path, hands)
    for day in range(1, 10):
        (tmp_path / f"2026-12-{day:02}.jsonl").write_text("{}\n")
        (tmp_path / f"2026-12-{day:02}.1.jsonl").write_text("{}\n")
    log.write("start")
    assert len({file.name[:10] for file in tmp_path.iterdir()}) == 8
    assert not (tmp_path / "2026-12-02.1.jsonl").exists()
