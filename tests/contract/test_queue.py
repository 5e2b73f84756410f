"""What a queue of SQS must bear beyond the contract of tasks: long delays, dead letters, crashes between two steps."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace

import pytest

from skyswarm.drivers.aws.slots import KEEP, TRUST, Holder
from skyswarm.drivers.aws.sqs import SqsTasks
from skyswarm.errors import BackendError, LeaseLostError, UnavailableError
from skyswarm.ports.work import Delivery, Task
from tests.support.aws_rigs import Dying, Queue
from tests.support.record_rigs import ALICE

TASK = Task(ALICE, "sync", b"{}", "sync")
NAME = "=sync"


@pytest.fixture
def queue() -> Iterator[Queue]:
    made = Queue(max_receives=3)
    yield made
    made.close()


def pull(queue: Queue, time: float, lease: float = 10) -> list[Delivery]:
    queue.at(time)
    return queue.tasks().pull("w", time, lease, 9)


def lying(queue: Queue, url: str = "") -> int:
    """Messages in the queue, whatever their state."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    names.append("ApproximateNumberOfMessagesDelayed")
    found = queue.client.get_queue_attributes(QueueUrl=url or queue.url, AttributeNames=names)["Attributes"]
    return sum(int(found[name]) for name in names)


def test_what_is_due_after_hours_is_delayed_again_and_counts_no_attempt(queue: Queue) -> None:
    queue.tasks().push(TASK, at=3600)
    for time in (901.0, 1802.0, 2703.0, 3599.0):
        assert pull(queue, time) == []
        assert lying(queue) == 1
    (taken,) = pull(queue, 3600)
    assert (taken.task, taken.attempt) == (TASK, 1)


def test_being_put_off_never_leads_to_the_dead_letters(queue: Queue) -> None:
    """Three receives are too many here; a giver of receipts may be away for days."""
    queue.tasks().push(TASK)
    for attempt in range(1, 12):
        (taken,) = pull(queue, attempt * 20.0)
        assert taken.attempt == attempt
        queue.tasks().later(taken, attempt * 20.0 + 20)
    assert (lying(queue), lying(queue, queue.dead)) == (1, 0)


def _die(queue: Queue, start: float) -> float:
    """Receive until the queue gives it up; the time then."""
    time = start
    while not lying(queue, queue.dead):
        pull(queue, time)
        time += 11
        assert time < start + 200
    return time


def test_who_dies_of_a_task_leaves_it_in_the_dead_letters_and_the_name_is_free(queue: Queue) -> None:
    queue.tasks().push(TASK)
    time = _die(queue, 0.0)
    queue.tasks().push(TASK)
    (taken,) = pull(queue, time)
    queue.tasks().done(taken)
    assert lying(queue) == 0


def test_a_dead_letter_that_comes_back_counts_until_another_has_taken_its_place(queue: Queue) -> None:
    queue.tasks().push(TASK)
    time = _die(queue, 0.0)
    dead = queue.client.receive_message(QueueUrl=queue.dead)["Messages"][0]
    queue.client.send_message(QueueUrl=queue.url, MessageBody=dead["Body"])  # what a redrive does
    (taken,) = pull(queue, time)
    queue.tasks().done(taken)
    queue.tasks().push(TASK)
    queue.client.send_message(QueueUrl=queue.url, MessageBody=dead["Body"])
    (fresh,) = pull(queue, time + 1)
    assert fresh.attempt == 1
    assert json.loads(dead["Body"])["mark"] not in fresh.receipt
    queue.tasks().done(fresh)
    assert lying(queue) == 0


def test_a_waiting_task_whose_message_is_gone_is_not_believed_in_for_ever(queue: Queue) -> None:
    queue.tasks().push(TASK)
    queue.client.purge_queue(QueueUrl=queue.url)
    queue.at(TRUST - 1)
    queue.tasks().push(TASK)
    assert lying(queue) == 0
    queue.at(TRUST)
    queue.tasks().push(TASK)
    assert len(pull(queue, TRUST)) == 1


def test_a_name_that_waits_in_a_long_queue_keeps_its_place(queue: Queue) -> None:
    """Nobody had time for it: another message is sent now and then, and whichever comes first is the one."""
    queue.tasks().push(TASK)
    for time in (TRUST, 2 * TRUST, 3 * TRUST):
        queue.at(time)
        queue.tasks().push(TASK)
        queue.tasks().push(TASK)
    assert lying(queue) == 4
    (taken,) = pull(queue, 3 * TRUST)
    assert lying(queue) == 1
    queue.tasks().done(taken)
    assert lying(queue) == 0


def dying(queue: Queue, name: str, after: bool) -> SqsTasks:
    client = Dying(queue.client, name, after)
    return SqsTasks(client, {"": queue.url}, queue.slots, queue.now, lambda size: b"\x01" * size)


@pytest.mark.parametrize("after", [False, True])
def test_a_push_that_was_killed_while_it_sent_stands_in_nobodys_way(queue: Queue, after: bool) -> None:
    with pytest.raises(UnavailableError):
        dying(queue, "send_message", after).push(TASK)
    queue.tasks().push(TASK)
    (taken,) = pull(queue, 1)
    queue.tasks().done(taken)
    assert pull(queue, 1000) == []


def test_a_push_that_was_killed_takes_no_other_task_with_it(queue: Queue) -> None:
    """It had moved the name's time forward, and died before its message was sent."""
    queue.tasks().push(TASK, at=100)
    with pytest.raises(UnavailableError):
        dying(queue, "send_message", after=False).push(TASK, at=20)
    assert len(pull(queue, 100)) == 1


@pytest.mark.parametrize(("step", "after"), [("send_message", False), ("send_message", True),
                                             ("delete_message", False), ("delete_message", True)])  # fmt: skip
def test_giving_back_can_be_killed_anywhere(queue: Queue, step: str, after: bool) -> None:
    queue.tasks().push(TASK)
    (taken,) = pull(queue, 1)
    with pytest.raises(UnavailableError):
        dying(queue, step, after).later(taken, 5)
    (again,) = pull(queue, 12)
    queue.tasks().done(again)
    assert pull(queue, 1000) == []


def test_a_message_that_comes_twice_is_one_delivery_after_the_other_and_harmless(queue: Queue) -> None:
    """A standard queue may do so; here its copy is sent by hand."""
    queue.tasks().push(TASK)
    (first,) = pull(queue, 1)
    body = queue.client.receive_message  # the very message, while the first is in a worker's hands
    queue.at(12)
    copy = body(QueueUrl=queue.url, VisibilityTimeout=0)["Messages"][0]["Body"]
    queue.client.send_message(QueueUrl=queue.url, MessageBody=copy)
    for one in (first, *pull(queue, 13)):
        queue.tasks().done(one)
    assert lying(queue) == 0


def test_an_old_holder_does_not_give_back_what_another_has(queue: Queue) -> None:
    queue.tasks().push(TASK)
    (old,) = pull(queue, 0)
    (new,) = pull(queue, 11)
    with pytest.raises(LeaseLostError):
        queue.slots.open(ALICE, NAME, 11, Holder(old.receipt.split()[0], 1))
    queue.tasks().later(old, 11)
    assert lying(queue) == 1
    queue.tasks().done(new)
    assert lying(queue) == 0


def test_what_is_no_task_is_left_for_the_dead_letters_and_stops_no_other(queue: Queue) -> None:
    for body in ("nonsense", "{}", "[]", '{"v":2}', '{"v":1,"agent":3}'):
        queue.client.send_message(QueueUrl=queue.url, MessageBody=body)
    queue.tasks().push(TASK)
    (taken,) = pull(queue, 1)
    queue.tasks().done(taken)
    for time in (12.0, 23.0, 34.0):
        assert pull(queue, time) == []
    assert (lying(queue), lying(queue, queue.dead)) == (0, 5)


def test_without_its_row_a_message_counts(queue: Queue) -> None:
    """The broom of the table, or a table that was restored."""
    queue.tasks().push(TASK)
    (one,) = queue.table.query(f"{ALICE}#task#{NAME}")
    assert one["ttl"] == KEEP
    queue.session.client("dynamodb").delete_item(
        TableName=queue.table.name, Key={"pk": {"S": one["pk"]}, "sk": {"S": one["sk"]}}
    )
    (taken,) = pull(queue, 1)
    queue.tasks().later(taken, 2)
    (again,) = pull(queue, 2)
    assert again.attempt == 2


def test_a_kind_may_have_a_queue_of_its_own(queue: Queue) -> None:
    urls = {"": queue.url, "move": queue.dead}
    tasks = SqsTasks(queue.client, urls, queue.slots, queue.now, os.urandom)
    tasks.push(TASK)
    tasks.push(Task(ALICE, "move", b"{}", "move"))
    assert (lying(queue), lying(queue, queue.dead)) == (1, 1)
    taken = tasks.pull("w", 0, 10, 9)
    assert sorted(one.task.kind for one in taken) == ["move", "sync"]
    for one in taken:
        tasks.extend(one, 20)
        tasks.later(one, 30)
    assert (lying(queue), lying(queue, queue.dead)) == (1, 1)
    queue.at(30)
    for one in tasks.pull("w", 30, 10, 9):
        tasks.done(one)
    assert (lying(queue), lying(queue, queue.dead)) == (0, 0)


def test_a_queue_that_is_not_there_is_no_absent_task(queue: Queue) -> None:
    gone = SqsTasks(
        queue.client, {"": f"{queue.url}-not"}, queue.slots, queue.now, lambda size: b"\x02" * size
    )
    for ask in (lambda: gone.push(replace(TASK, dedup="x")), lambda: gone.pull("w", 0, 10)):
        with pytest.raises(BackendError) as caught:
            ask()
        assert caught.type is BackendError
