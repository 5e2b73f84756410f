"""The promises of the Tasks port, for every driver."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from skyswarm.errors import TooLargeError
from skyswarm.ports.work import MAX_TASK, Delivery, Task
from tests.support.lossy import twice
from tests.support.racing import race
from tests.support.record_rigs import ALICE, BOB, TASK_RIGS, Rig

TASK = Task(ALICE, "announce", b'{"x":1}')
NAMED = replace(TASK, dedup="announce")
UNORDERED = {"sqs"}
"""The port promises no order."""


@pytest.fixture(params=TASK_RIGS)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    made = TASK_RIGS[request.param](tmp_path)
    yield made
    made.close()


def only(found: list[Delivery]) -> Delivery:
    assert len(found) == 1
    return found[0]


def test_a_task_is_delivered_as_it_was_pushed(rig: Rig) -> None:
    assert rig.tasks.pull("w", now=0, lease=10) == []
    rig.tasks.push(TASK)
    taken = only(rig.tasks.pull("w", now=100, lease=10))
    assert (taken.task, taken.attempt, taken.until) == (TASK, 1, 110)
    assert rig.tasks.pull("v", now=109.9, lease=10) == []


def test_a_task_waits_for_its_time(rig: Rig) -> None:
    rig.tasks.push(TASK, at=50)
    assert rig.tasks.pull("w", now=49.9, lease=10) == []
    assert only(rig.tasks.pull("w", now=50, lease=10)).task == TASK


def test_a_delivery_that_is_not_done_comes_again(rig: Rig) -> None:
    rig.tasks.push(TASK)
    first = only(rig.tasks.pull("w", now=0, lease=10))
    second = only(rig.tasks.pull("v", now=10, lease=10))
    assert (second.task, second.attempt) == (TASK, 2)
    assert second.receipt != first.receipt
    rig.tasks.done(second)
    assert rig.tasks.pull("w", now=1000, lease=10) == []


def test_an_old_delivery_can_do_no_harm(rig: Rig) -> None:
    rig.tasks.push(TASK)
    old = only(rig.tasks.pull("w", now=0, lease=10))
    new = only(rig.tasks.pull("v", now=10, lease=10))
    rig.tasks.done(old)
    rig.tasks.later(old, at=0)
    rig.tasks.extend(old, until=5000)
    assert rig.tasks.pull("w", now=19, lease=10) == []
    third = only(rig.tasks.pull("w", now=20, lease=10))
    assert third.attempt == 3
    rig.tasks.done(new)
    rig.tasks.done(third)
    rig.tasks.done(third)
    assert rig.tasks.pull("w", now=9000, lease=10) == []


def test_a_late_holder_may_finish_what_nobody_took(rig: Rig) -> None:
    rig.tasks.push(TASK)
    taken = only(rig.tasks.pull("w", now=0, lease=10))
    rig.tasks.done(taken)  # its lease may be over by any clock: it was not delivered again in between
    assert rig.tasks.pull("w", now=9000, lease=10) == []


def test_a_delivery_is_held_longer(rig: Rig) -> None:
    rig.tasks.push(TASK)
    taken = only(rig.tasks.pull("w", now=0, lease=10))
    rig.tasks.extend(taken, until=100)
    assert rig.tasks.pull("v", now=99, lease=10) == []
    assert only(rig.tasks.pull("v", now=100, lease=10)).attempt == 2


def test_a_delivery_is_given_back_for_later(rig: Rig) -> None:
    rig.tasks.push(TASK)
    taken = only(rig.tasks.pull("w", now=0, lease=1000))
    rig.tasks.later(taken, at=50)
    rig.tasks.done(taken)  # given back is given back
    rig.tasks.extend(taken, until=5000)
    assert rig.tasks.pull("v", now=49, lease=10) == []
    again = only(rig.tasks.pull("v", now=50, lease=10))
    assert (again.task, again.attempt) == (TASK, 2)


def test_as_many_as_asked_for_of_all_agents(rig: Rig) -> None:
    _push_many(rig, 150)
    assert rig.tasks.pull("w", now=0.5, lease=10) == []
    first = rig.tasks.pull("w", now=1000, lease=10, limit=3)
    assert len(first) == 3
    rest = rig.tasks.pull("w", now=1000, lease=10, limit=500)
    assert len(rest) == 147
    assert {one.task.agent for one in rest} == {ALICE, BOB}
    assert len({one.receipt for one in (*first, *rest)}) == 150


@pytest.mark.parametrize("name", [one for one in TASK_RIGS if one not in UNORDERED])
def test_where_there_is_an_order_the_longest_due_come_first(name: str, tmp_path: Path) -> None:
    rig = TASK_RIGS[name](tmp_path)
    _push_many(rig, 9)
    first = rig.tasks.pull("w", now=1000, lease=10, limit=3)
    assert sorted(one.task.kind for one in first) == ["k6", "k7", "k8"]
    rig.close()


def _push_many(rig: Rig, count: int) -> None:
    """The later pushed, the earlier due."""
    for number in range(count):
        task = replace(TASK, agent=BOB if number % 2 else ALICE, kind=f"k{number}")
        rig.tasks.push(task, at=float(count - number))


def test_while_a_task_waits_another_of_its_name_is_not_added(rig: Rig) -> None:
    rig.tasks.push(NAMED, at=100)
    rig.tasks.push(replace(NAMED, body_json=b"other"), at=200)
    assert rig.tasks.pull("w", now=99, lease=10) == []
    assert only(rig.tasks.pull("w", now=1000, lease=10, limit=9)).task == NAMED


def test_the_waiting_task_is_due_at_the_earlier_time(rig: Rig) -> None:
    rig.tasks.push(NAMED, at=100)
    rig.tasks.push(NAMED, at=20)
    assert rig.tasks.pull("w", now=19, lease=10) == []
    rig.tasks.done(only(rig.tasks.pull("w", now=20, lease=10, limit=9)))
    assert rig.tasks.pull("w", now=1000, lease=10) == []


def test_arguments_that_no_queue_could_carry_are_refused() -> None:
    with pytest.raises(TooLargeError):
        Task(ALICE, "announce", b" " * (MAX_TASK + 1))


def test_the_longest_arguments_come_as_they_were(rig: Rig) -> None:
    body = json.dumps({"x": 'ü"' * 16_000}, ensure_ascii=False).encode()
    rig.tasks.push(replace(TASK, body_json=body))
    assert only(rig.tasks.pull("w", now=0, lease=10)).task.body_json == body


def test_arguments_need_not_be_text(rig: Rig) -> None:
    rig.tasks.push(replace(TASK, body_json=bytes(range(256))))
    assert only(rig.tasks.pull("w", now=0, lease=10)).task.body_json == bytes(range(256))


def test_names_are_of_one_agent_and_no_name_is_no_name(rig: Rig) -> None:
    for task in (NAMED, replace(NAMED, agent=BOB), replace(NAMED, dedup="b"), TASK, TASK):
        rig.tasks.push(task)
    assert len(rig.tasks.pull("w", now=0, lease=10, limit=9)) == 5


def test_what_a_worker_has_may_have_begun_so_another_is_added(rig: Rig) -> None:
    """Else the news that came while a task ran would be lost."""
    rig.tasks.push(NAMED)
    running = only(rig.tasks.pull("w", now=0, lease=10))
    rig.tasks.push(NAMED)
    rig.tasks.push(NAMED)
    rig.tasks.done(running)
    rig.tasks.done(only(rig.tasks.pull("w", now=0, lease=10, limit=9)))
    assert rig.tasks.pull("w", now=1000, lease=10) == []


@pytest.mark.parametrize(("waiting", "back", "due"), [(100.0, 30.0, 30.0), (100.0, 300.0, 100.0)])
def test_given_back_it_merges_into_one_that_waits(rig: Rig, waiting: float, back: float, due: float) -> None:
    rig.tasks.push(NAMED)
    running = only(rig.tasks.pull("w", now=0, lease=10))
    rig.tasks.push(NAMED, at=waiting)
    rig.tasks.later(running, at=back)
    assert rig.tasks.pull("w", now=due - 1, lease=10) == []
    rig.tasks.done(only(rig.tasks.pull("w", now=1000, lease=10, limit=9)))
    assert rig.tasks.pull("w", now=9000, lease=10) == []


def test_racing_workers_share_the_tasks(rig: Rig) -> None:
    for number in range(40):
        rig.tasks.push(replace(TASK, kind=f"k{number}"))

    def work(name: str) -> list[str]:
        done = []
        while found := rig.tasks.pull(name, now=0, lease=10, limit=3):
            for one in found:
                done.append(one.task.kind)
                rig.tasks.done(one)
        return done

    kinds = [kind for done in race([lambda n=n: work(f"w{n}") for n in range(4)]) for kind in done]
    assert sorted(kinds) == sorted(f"k{number}" for number in range(40))


def test_racing_pushes_of_one_name_add_one(rig: Rig) -> None:
    race([lambda: rig.tasks.push(NAMED)] * 8)
    assert len(rig.tasks.pull("w", now=0, lease=10, limit=9)) == 1


def test_lost_acknowledgements_are_harmless(rig: Rig) -> None:
    twice(rig.tasks, "push", NAMED)
    taken = only(rig.tasks.pull("w", now=0, lease=10, limit=9))
    twice(rig.tasks, "later", taken, 20)
    taken = only(twice(rig.tasks, "pull", "w", 20, 10) or rig.tasks.pull("w", now=30, lease=10))
    twice(rig.tasks, "extend", taken, 60)
    assert rig.tasks.pull("v", now=59, lease=10) == []
    twice(rig.tasks, "done", taken)
    assert rig.tasks.pull("v", now=9000, lease=10) == []
