"""The status document: there and back, every field's rule, and texts from elsewhere made fit."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyswarm.errors import MalformedError, NotTrustedError, PieceMismatchError, StatusError, TooLargeError
from skyswarm.messages.canonical import dumps
from skyswarm.messages.fields import UNSAFE
from skyswarm.messages.status import (
    ENDED,
    MAX_STATUS,
    STATES,
    Cost,
    CostLine,
    FailedFile,
    Moved,
    Progress,
    Source,
    Status,
    Trouble,
    Waiting,
    shown,
)
from tests.support.signing import hex_id

EMPTY = Status(
    "t-81", "queued", "", Progress(0, 0), Moved(0, 0, 0, 0), Progress(0, 0), 0, None, Cost(0, None, 0), 5, 5
)
WAITING = replace(EMPTY, state="planning", waiting=Waiting("SKY-311", "alice does not answer", 9))
FULL = Status(
    transfer="t-81",
    state="stopped",
    name="Fotos 2024",
    files=Progress(9, 10),
    bytes=Moved(55, 61, 4, 1),
    pieces=Progress(812, 1010),
    rate=412_000_000,
    eta=31,
    cost=Cost(4_420_000, 6_000_000, 5_530_000, (CostLine("egress of s3/eu-central-1", "them", 5_510_000),)),
    started=1_790_000_000,
    updated=1_790_000_060,
    finished=1_790_000_060,
    sources=(Source(hex_id("alice"), 55, "active", "alice"), Source(hex_id("carol"), 0, "dropped")),
    chain=(hex_id("alice"), hex_id("carol"), hex_id("bob")),
    receipts=(hex_id("receipt"),),
    error=Trouble("SKY-402", "Stopped at your cap.", "Raise it."),
    failed=(FailedFile("a/\u00e9.txt", "SKY-313", "changed"),),
)


def document(**changes: Any) -> bytes:
    return dumps(json.loads(FULL.dump()) | changes)


@pytest.mark.parametrize("status", [EMPTY, WAITING, FULL], ids=["empty", "waiting", "full"])
def test_there_and_back(status: Status) -> None:
    assert Status.parse(status.dump()) == status


@pytest.mark.parametrize("name", json.loads(FULL.dump()))
def test_every_field_is_there_and_of_its_type(name: str) -> None:
    value = json.loads(FULL.dump())
    for wrong in (-1, True, "\x00", [None], {"": 0}):
        with pytest.raises(StatusError):
            Status.parse(document(**{name: wrong}))
    del value[name]
    with pytest.raises(StatusError, match="is missing"):
        Status.parse(dumps(value))


@pytest.mark.parametrize(
    "changes",
    [
        {"v": 2},
        {"kind": "state"},
        {"state": "moved"},
        {"state": "moving"},
        {"extra": 1},
        {"rate": 1 << 53},
        {"files": {"done": 1}},
        {"files": {"done": 1, "total": 1, "held": 1}},
        {"bytes": {"done": 1, "total": 1, "held": 1}},
        {"cost": {"spent": 1, "cap": None, "estimate": 1}},
        {
            "cost": {
                "spent": 1,
                "cap": None,
                "estimate": 1,
                "lines": [{"what": "x", "payer": "me", "micro": 1}],
            }
        },
        {"error": {"code": "402", "message": "", "advice": ""}},
        {"error": {"code": "SKY-402", "message": ""}},
        {"sources": [{"agent": "alice", "bytes": 0, "name": None, "state": "active"}]},
        {"chain": ["alice"]},
        {"chain": [hex_id("a")] * 17},
        {"failed": [{"path": "p", "code": "SKY-313", "message": "m" * 501}]},
        {"failed": [{"path": "p", "code": "SKY-313", "message": "m"}] * 101},
        {"name": "n" * 501},
        {"name": "\u001b[2J"},
    ],
    ids=lambda value: str(value)[:60],
)
def test_limits(changes: dict[str, Any]) -> None:
    with pytest.raises((StatusError, MalformedError)):
        Status.parse(document(**changes))


@pytest.mark.parametrize("state", STATES)
def test_only_what_has_ended_is_finished(state: str) -> None:
    assert replace(EMPTY, state=state).dump()
    if state in ENDED:
        assert replace(EMPTY, state=state, finished=6).dump()
    else:
        with pytest.raises(StatusError, match="not finished"):
            replace(EMPTY, state=state, finished=6).dump()


@pytest.mark.parametrize("state", STATES)
def test_what_has_ended_does_not_wait(state: str) -> None:
    if state not in ENDED:
        assert replace(WAITING, state=state).dump()
    else:
        with pytest.raises(StatusError, match="waits for nothing"):
            replace(WAITING, state=state).dump()


@pytest.mark.parametrize(("name", "value"), [("rate", 1.5), ("eta", True), ("state", "x"), ("chain", [])])
def test_what_could_not_be_read_is_not_written(name: str, value: Any) -> None:
    with pytest.raises((StatusError, MalformedError)):
        replace(EMPTY, **{name: value}).dump()


def test_the_fullest_status_fits() -> None:
    failed = FailedFile("\U0001f600" * 1024, "SKY-313", "m" * 500)
    source = Source(hex_id("a"), 1, "active", "n" * 500)
    full = replace(FULL, failed=(failed,) * 100, sources=(source,) * 64, receipts=(hex_id("r"),) * 64)
    assert len(full.dump()) < MAX_STATUS
    with pytest.raises(TooLargeError):
        Status.parse(b" " * (MAX_STATUS + 1))


def test_errors_are_shown_as_they_are() -> None:
    error = PieceMismatchError("Piece 44 did not match.", advice="None.", lost="$0.003 lost.")
    assert Trouble.of(error) == Trouble("SKY-320", "Piece 44 did not match. $0.003 lost.", "None.")
    hostile = NotTrustedError("a\x1b[2J\n" + "b" * 600)
    failed = FailedFile.of("x\n/" + "y" * 2000, hostile)
    assert replace(FULL, failed=(failed,), error=Trouble.of(hostile)).dump()
    assert failed.message.startswith("a\ufffd[2J\ufffdb")
    assert failed.message.endswith("b\u2026")


@given(st.text(), st.integers(1, 50))
def test_any_text_can_be_shown(text: str, most: int) -> None:
    out = shown(text, most)
    assert len(out) <= most
    assert not UNSAFE.search(out)
    assert replace(EMPTY, name=out).dump()


def test_text_that_is_not_unicode_can_be_shown() -> None:
    assert shown("a\udcffb") == "a?b"
