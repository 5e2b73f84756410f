"""What people type and read: sizes, lengths of time, money, moments."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyswarm.cli import human
from skyswarm.errors import InputError


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        ("10", 10),
        ("10B", 10),
        ("500k", 500_000),
        ("500 kB", 500_000),
        ("10GB", 10**10),
        ("10GiB", 10 * 2**30),
        ("1.5T", 1_500_000_000_000),
        ("1.5tib", 3 * 2**39),
        ("0.1k", 100),
        (" 64MiB ", 64 * 2**20),
    ],
)
def test_sizes_as_they_are_typed(text: str, count: int) -> None:
    assert human.parse_size(text) == count


def test_numbers_end_where_json_takes_them_exactly() -> None:
    assert human.parse_size("9007199254740.991k") == 2**53 - 1
    for parse, text in (
        (human.parse_size, "9007199254740.992k"),
        (human.parse_size, "999999999999999P"),
        (human.parse_duration, "999999999999999w"),
        (human.parse_money, "$999999999999999"),
    ):
        with pytest.raises(InputError, match="too much"):
            parse(text)


@pytest.mark.parametrize(
    "text", ["", "GB", "-1", "1e9", "10 GBs", "10XB", "1,000", "٣GB", "1" * 20, "0x10", "1..5"]
)
def test_what_is_not_a_size_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InputError) as caught:
        human.parse_size(text)
    assert "10GiB" in caught.value.advice


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("14d", 1_209_600),
        ("6h", 21_600),
        ("90min", 5_400),
        ("90m", 5_400),
        ("45s", 45),
        ("2w", 1_209_600),
        ("0.5h", 1800),
    ],
)
def test_lengths_of_time(text: str, seconds: int) -> None:
    assert human.parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "14", "d", "-3d", "1y", "1 fortnight"])
def test_what_is_not_a_length_of_time(text: str) -> None:
    with pytest.raises(InputError):
        human.parse_duration(text)


@pytest.mark.parametrize(
    ("text", "micro"),
    [
        ("6", 6_000_000),
        ("$6", 6_000_000),
        ("4.50", 4_500_000),
        ("0.05 USD", 50_000),
        ("0", 0),
        ("0.000001", 1),
    ],
)
def test_money(text: str, micro: int) -> None:
    assert human.parse_money(text) == micro


@pytest.mark.parametrize("text", ["", "-1", "six", "6€", "1,50", "1e3"])
def test_what_is_not_money(text: str) -> None:
    with pytest.raises(InputError):
        human.parse_money(text)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (9_999, "10.0 kB"),
        (61_200_000_000, "61.2 GB"),
        (999_499, "999 kB"),
        (999_999, "1.00 MB"),
        (5 * 10**15, "5,000 TB"),
    ],
)
def test_sizes_as_they_are_shown(count: int, text: str) -> None:
    assert human.size(count) == text


@given(st.integers(0, 9 * 10**15))
def test_a_shown_size_is_the_size_within_half_a_percent(count: int) -> None:
    assert abs(human.parse_size(human.size(count).replace(",", "")) - count) <= count * 0.005


@pytest.mark.parametrize(
    ("micro", "text"),
    [
        (0, "$0.00"),
        (5_510_000, "$5.51"),
        (1_114_000_000, "$1,114.00"),
        (3_000, "$0.003"),
        (1, "$0.000001"),
        (10_000, "$0.01"),
    ],
)
def test_money_as_it_is_shown(micro: int, text: str) -> None:
    assert human.money(micro) == text


@given(st.integers(1, 9_999))
def test_little_money_is_never_shown_as_nothing(micro: int) -> None:
    assert human.parse_money(human.money(micro)) == micro


def test_times() -> None:
    assert [human.clock(one) for one in (0, 31, 725, 7209, 172_800)] == [
        "0:00",
        "0:31",
        "12:05",
        "2:00:09",
        "2 d",
    ]
    now = 1_000_000_000.0
    shown = [
        human.when(now + one, now)
        for one in (0, -30, 5, -300, -7200, -86_400 * 3, 86_400 * 14, -86_400 * 365)
    ]
    assert shown == [
        "just now",
        "30 s ago",
        "in 5 s",
        "5 min ago",
        "2 h ago",
        "3 d ago",
        "in 14 d",
        "2000-09-09",
    ]


def test_counts() -> None:
    shown = [
        human.some(1, "file"),
        human.some(12_410, "file"),
        human.some(2, "repository"),
        human.some(3, "day"),
    ]
    assert shown == [
        "1 file",
        "12,410 files",
        "2 repositories",
        "3 days",
    ]
