"""`limits.json`: what an operator may set, and what is refused with its name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from skyswarm.edge.limits_file import MAX_FILE, parse_limits, read_limits
from skyswarm.errors import SetupError
from skyswarm.usecases.limits import Limits


def test_no_file_means_the_defaults(tmp_path: Path) -> None:
    assert read_limits(tmp_path) == Limits()


def test_what_is_named_is_replaced_and_keeps_its_kind(tmp_path: Path) -> None:
    (tmp_path / "limits.json").write_text('{"patience": 3600, "lease": 2.5, "batch_bytes": 1048576}')
    found = read_limits(tmp_path)
    assert (found.patience, found.lease, found.batch_bytes) == (3600.0, 2.5, 1 << 20)
    assert type(found.patience) is float and type(found.batch_bytes) is int
    assert found.strikes == Limits().strikes


@pytest.mark.parametrize(
    ("doc", "named"),
    [
        ({"patients": 1}, "patients"),
        ({"patience": "1"}, "patience"),
        ({"patience": 0}, "patience"),
        ({"patience": -1}, "patience"),
        ({"patience": True}, "patience"),
        ({"patience": float("inf")}, "patience"),
        ({"patience": float("nan")}, "patience"),
        ({"batch_bytes": 1.5}, "batch_bytes"),
        ({"batch_bytes": 2**53}, "batch_bytes"),
        ([1], "object"),
    ],
)
def test_what_cannot_be_is_refused_by_name(doc: object, named: str) -> None:
    with pytest.raises(SetupError, match=named):
        parse_limits(json.dumps(doc).encode())


@pytest.mark.parametrize(
    "data", [b"", b"{", b"\xff", b"[" * 5000, b"1" * 5000, b'{"patience":1}' + b" " * MAX_FILE]
)
def test_what_is_no_small_json_is_refused(data: bytes) -> None:
    with pytest.raises(SetupError):
        parse_limits(data)
