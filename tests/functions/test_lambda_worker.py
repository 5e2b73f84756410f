"""Functions that nobody waits for: SQS batches with partial failures, drops, the schedule. Real queue, real runtime."""

from __future__ import annotations

import io
import json
import logging
import types
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest

from skyswarm.edge.lambda_root import Root
from skyswarm.edge.lambda_worker import created, drop, sweep, worker
from skyswarm.errors import RequestError, SetupError, UnavailableError
from skyswarm.ports.work import Task
from skyswarm.usecases import jobs
from skyswarm.usecases.work import DEFECTS
from tests.support.attack import town
from tests.support.aws_rigs import Queue
from tests.support.lambda_runtime import Function, FunctionError
from tests.support.land import INLINE, Land, Person

CONTEXT = types.SimpleNamespace(
    aws_request_id="r", log_stream_name="s", get_remaining_time_in_millis=lambda: 60_000
)


def sqs_event(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """What an event source mapping makes of received messages."""
    return {
        "Records": [
            {
                "messageId": one["MessageId"],
                "receiptHandle": one["ReceiptHandle"],
                "body": one["Body"],
                "attributes": {"SentTimestamp": "1545082649183", "SenderId": "AIDAIENQZJOLO23YVJ4VO"}
                | one["Attributes"],
                "messageAttributes": {},
                "md5OfBody": one["MD5OfBody"],
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:eu-central-1:111111111111:tasks",
                "awsRegion": "eu-central-1",
            }
            for one in messages
        ]
    }


def receive(queue: Queue, hidden: int = 90) -> list[dict[str, Any]]:
    asked = {"MaxNumberOfMessages": 10, "VisibilityTimeout": hidden, "AttributeNames": ["All"]}
    found: list[dict[str, Any]] = queue.client.receive_message(QueueUrl=queue.url, **asked).get(
        "Messages", []
    )
    return found


class Fed:
    """Bob, whose tasks are in a queue that feeds his function as an event source mapping does."""

    def __init__(self, land: Land, queue: Queue) -> None:
        self.land, self.queue = land, queue
        self.alice, self.bob = land.agent("alice"), land.agent("bob")
        self.alice.vouch(self.bob)
        self.alice.hears(self.bob)
        queue.at(land.now)
        tasks = queue.tasks()
        self.bob.deps = replace(self.bob.deps, tasks=tasks)
        root = Root(self.bob.deps, self.bob.id, "agent", self.bob.url, INLINE, tasks.take)
        self.work, self.drop, self.sweep = worker(lambda: root), drop(lambda: root), sweep(lambda: root)

    def turn(self, seconds: int, *, twice: bool = False, deaf: bool = False) -> list[str]:
        """So long; kinds of what failed. `twice`: every event comes twice; `deaf`: nothing is deleted afterwards."""
        failed = []
        for _ in range(seconds // 10):
            self.queue.at(self.land.now)
            while found := receive(self.queue):
                event = sqs_event(found)
                reply = self.work(event, CONTEXT)
                if twice:
                    reply = self.work(event, CONTEXT)
                left = {one["itemIdentifier"] for one in reply["batchItemFailures"]}
                for one in found:
                    if one["MessageId"] in left:
                        failed.append(json.loads(one["Body"])["kind"])
                    elif not deaf:
                        _delete(self.queue, one["ReceiptHandle"])
            self.land.now += 10
        return failed


def _delete(queue: Queue, receipt: str) -> None:
    queue.client.delete_message_batch(
        QueueUrl=queue.url, Entries=[{"Id": "0", "ReceiptHandle": receipt}]
    )  # which names what was gone already, and fails for nothing


@pytest.fixture
def fed() -> Iterator[Fed]:
    queue = Queue(max_receives=5)
    yield Fed(Land(), queue)
    queue.close()


def start(fed: Fed, files: dict[str, bytes]) -> str:
    return fed.bob.get(fed.alice.publish(files).envelope, fed.alice)


@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize("deaf", [False, True])
def test_a_transfer_runs_on_events_alone(fed: Fed, twice: bool, deaf: bool) -> None:
    files = {f"d/{number}": bytes([number]) * 1000 for number in range(20)}
    transfer = start(fed, files)
    fed.turn(30, twice=twice, deaf=deaf)
    assert fed.bob.job(transfer).state == "done"
    assert fed.bob.files() == {f"it/{path}": data for path, data in files.items()}
    tally = fed.bob.deps.transfers.tally(fed.bob.id, transfer)
    assert (tally.bytes, tally.done) == (20_000, tally.batches)


class Broken:
    """A storage with a defect in all of it, or one that is away."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        raise self._error


def test_a_defect_ends_the_transfer_after_three_receives(
    fed: Fed, capsys: pytest.CaptureFixture[str]
) -> None:
    transfer = start(fed, {"a": b"abc"})
    fed.land.buckets.made[fed.bob.id, "home"] = Broken(ZeroDivisionError("home is broken"))
    written = io.StringIO()
    (handler,) = logging.getLogger("skyswarm").handlers
    before = handler.setStream(written)  # type: ignore[attr-defined]
    failed = fed.turn(600)
    handler.setStream(before)  # type: ignore[attr-defined]
    job = fed.bob.job(transfer)
    assert job.state == "failed"
    assert "it is in the log" in str(job)
    assert failed.count("plan") + failed.count("move") == DEFECTS - 1
    crashes = [
        one for one in map(json.loads, written.getvalue().splitlines()) if one.get("message") == "task-crash"
    ]
    assert {one["transfer"] for one in crashes} == {transfer}
    assert all("home is broken" in one["trace"] for one in crashes)
    counted = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"Crashed"' in line]
    assert sum(one["Crashed"] for one in counted) == DEFECTS


def test_a_record_that_fails_comes_again_alone_and_at_last_is_a_dead_letter(fed: Fed) -> None:
    fed.bob.deps.tasks.push(Task(fed.bob.id, "no-such-kind", b"{}"))
    fed.bob.deps.tasks.push(Task(fed.bob.id, "sync", b"not JSON"))
    transfer = start(fed, {"a": b"abc"})
    failed = fed.turn(900)
    assert fed.bob.job(transfer).state == "done"
    assert sorted(failed) == ["no-such-kind"] * 5 + ["sync"] * 5
    dead = fed.queue.client.receive_message(QueueUrl=fed.queue.dead, MaxNumberOfMessages=10)["Messages"]
    assert sorted(json.loads(one["Body"])["kind"] for one in dead) == ["no-such-kind", "sync"]


def test_a_store_that_is_away_loses_nothing(fed: Fed) -> None:
    transfer = start(fed, {"a": b"abc"})
    good = fed.bob.deps.transfers
    object.__setattr__(fed.bob.deps, "transfers", Broken(UnavailableError("the table is away")))
    assert fed.turn(20) == ["plan"]
    object.__setattr__(fed.bob.deps, "transfers", good)
    fed.turn(200)
    assert fed.bob.job(transfer).state == "done"


def test_a_function_without_a_queue_says_so() -> None:
    bob = Land().agent("bob")
    handle = worker(lambda: Root(bob.deps, bob.id, "agent", bob.url, INLINE))
    with pytest.raises(SetupError):
        handle({"Records": []}, CONTEXT)


# ---- drops -----------------------------------------------------------------------------------
def bridge(key: str) -> dict[str, Any]:
    """An event of EventBridge, as S3 sends it there."""
    return {
        "version": "0",
        "id": "17793124-05d4-b198-2fde-7ededc63b103",
        "detail-type": "Object Created",
        "source": "aws.s3",
        "detail": {
            "version": "0",
            "bucket": {"name": "inbox"},
            "object": {
                "key": key,
                "size": 5,
                "etag": "b1946ac92492d2347c6235b4d2611184",
                "sequencer": "617f08",
            },
            "request-id": "N4N7GDK58NMKJ12R",
            "reason": "PutObject",
        },
    }


def notice(*keys: str, name: str = "ObjectCreated:Put") -> dict[str, Any]:
    """A notification of S3 itself."""
    made = [
        {"eventVersion": "2.1", "eventSource": "aws:s3", "eventName": name,
         "s3": {"bucket": {"name": "inbox"}, "object": {"key": quote_plus(key, safe="/"), "size": 5}}}
        for key in keys
    ]  # fmt: skip
    return {"Records": made}


def dropped(fed: Fed, key: str) -> None:
    fed.bob.put(key, fed.alice.publish({"dropped": b"abc"}).envelope, "#inbox")


@pytest.mark.parametrize("make", [bridge, notice])
def test_a_drop_is_taken_up_whoever_tells_of_it_and_however_often(fed: Fed, make: Any) -> None:
    key = "ä b+c/x.manifest.json"
    dropped(fed, key)
    first = fed.drop(make(f"inbox/{key}"), CONTEXT)["transfers"]
    assert len(first) == 1
    for event in (make(f"inbox/{key}"), bridge(f"inbox/{key}"), notice(f"inbox/{key}")):
        assert fed.drop(event, CONTEXT)["transfers"] == []
    assert [job.id for job in jobs.page(fed.bob.deps, fed.bob.id)] == first
    assert "ä b+c/x.status.json" in fed.bob.files("#inbox")


def test_our_own_status_is_no_drop_and_what_is_gone_or_elsewhere_is_nothing(fed: Fed) -> None:
    dropped(fed, "x.manifest.json")
    fed.drop(bridge("inbox/x.manifest.json"), CONTEXT)
    before = fed.bob.files("#inbox")
    keys = ("inbox/x.status.json", "inbox/gone.manifest.json", "elsewhere/x.manifest.json", "inbox/.x.json")
    for key in keys:
        assert fed.drop(bridge(key), CONTEXT) == {"transfers": []}
    gone = notice("inbox/x.manifest.json", name="ObjectRemoved:Delete")
    assert fed.drop(gone, CONTEXT) == {"transfers": []}
    assert fed.bob.files("#inbox") == before


def test_one_drop_stops_no_other_and_its_trouble_is_raised(fed: Fed) -> None:
    dropped(fed, "x.manifest.json")
    good = fed.land.buckets.made[fed.bob.id, "#inbox"]

    class Away:
        def __getattr__(self, name: str) -> Any:
            def method(key: str, *rest: Any, **named: Any) -> Any:
                if key == "bad.manifest.json":
                    raise UnavailableError("away")
                return getattr(good, name)(key, *rest, **named)

            return method

    fed.land.buckets.made[fed.bob.id, "#inbox"] = Away()  # type: ignore[assignment]
    with pytest.raises(UnavailableError):
        fed.drop(notice("inbox/bad.manifest.json", "inbox/x.manifest.json"), CONTEXT)
    assert len(jobs.page(fed.bob.deps, fed.bob.id)) == 1


def test_other_events_are_no_drops() -> None:
    assert list(created({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "inbox"})) == []
    assert list(created(bridge("k") | {"detail-type": "Object Deleted"})) == []
    for event in ({}, {"Records": [{"eventSource": "aws:sqs"}]}):
        with pytest.raises(RequestError):
            list(created(event))


# ---- the schedule ----------------------------------------------------------------------------
def test_the_schedule_mends_what_was_lost(fed: Fed) -> None:
    """Every message of a transfer and the event of a drop are gone."""
    transfer = start(fed, {"a": b"abc"})
    fed.queue.client.purge_queue(QueueUrl=fed.queue.url)
    dropped(fed, "x.manifest.json")
    fed.land.now += 1000
    fed.queue.at(fed.land.now)
    fed.sweep({"source": "aws.events", "detail-type": "Scheduled Event"}, CONTEXT)
    assert len(jobs.page(fed.bob.deps, fed.bob.id)) == 2
    fed.turn(60)
    assert fed.bob.job(transfer).state == "done"


def test_one_duty_stops_no_other(fed: Fed) -> None:
    dropped(fed, "x.manifest.json")
    object.__setattr__(fed.bob.deps, "transfers", Picky(fed.bob))
    with pytest.raises(UnavailableError):
        fed.sweep({}, CONTEXT)
    assert "x.status.json" in fed.bob.files("#inbox")


class Picky:
    """Transfers whose list is away."""

    def __init__(self, bob: Person) -> None:
        self._inner = bob.deps.transfers

    def __getattr__(self, name: str) -> Any:
        if name == "page":
            raise UnavailableError("the list is away")
        return getattr(self._inner, name)


# ---- in Lambda's own runtime -----------------------------------------------------------------
def test_under_the_real_runtime(tmp_path: Path) -> None:
    with town(tmp_path / "town") as place:
        bob = place.agent("bob")
        queue = Queue()
        queue.at(bob.now())
        variables = {"SKYSWARM_HOME": str(bob.home), "TEST_SERVER": str(queue.session.endpoint)}
        variables |= {"TEST_QUEUE": queue.url, "TEST_TABLE": queue.table.name}
        made = {}
        try:
            for name in ("work", "drop", "sweep"):
                handler = f"tests.support.worker_function.{name}"
                made[name] = Function(handler, variables, tmp_path / f"{name}.txt")
            queue.tasks().push(Task(bob.id, "sync", b"{}", "sync"))
            queue.client.send_message(QueueUrl=queue.url, MessageBody="nonsense")
            queue.at(bob.now() + 1)
            found = receive(queue)
            reply = made["work"].invoke(sqs_event(found))
            bad = [one["MessageId"] for one in found if one["Body"] == "nonsense"]
            assert [one["itemIdentifier"] for one in reply["batchItemFailures"]] == bad
            (line,) = [one for one in made["work"].lines() if one.get("message") == "task"]
            assert (line["kind"], line["attempt"], line["service"]) == ("sync", 1, "skyswarm")
            assert line["xray_trace_id"].startswith("1-")
            assert made["sweep"].invoke({"detail-type": "Scheduled Event"}) is None
            assert made["drop"].invoke(bridge("nothing.json")) == {"transfers": []}
            with pytest.raises(FunctionError) as caught:
                made["drop"].invoke({})
            assert caught.value.kind == "RequestError"
        finally:
            for one in made.values():
                one.close()
            queue.close()
