"""Functions that nobody waits for: tasks of a queue, drops into the inbox, the regular look around.

Law: an event in, use cases called, nothing decided but what a failure means to whoever sent the event. A task that met
what nobody foresaw comes again; when it has three times, its transfer ends with that reason, and any other task goes on
to the dead-letter queue. All are harmless when they come twice, late or out of order: the use cases see to that.
Powertools is loaded here and in no door: its logger and its batches cost 50 ms that no peer waits for.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote_plus

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from skyswarm.edge.lambda_root import Event, Kept, Opener, Root, count
from skyswarm.errors import RequestError, SetupError, SkyError
from skyswarm.messages import canonical
from skyswarm.ports.work import Delivery
from skyswarm.usecases import inbox, tending
from skyswarm.usecases.starting import Wish
from skyswarm.usecases.work import DEFECTS, DEFECTS_ELSEWHERE, MAX_BODY, TRANSFER_KINDS, defect, perform

Handler = Callable[[Event, Any], Any]
SPARE = 60.0
"""Seconds that a message stays hidden after its function's end, as it is deployed."""
SHOWN = 4096


def logger() -> Logger:
    """A log of JSON lines; what is appended to it is in every line that follows."""
    return Logger(service="skyswarm", utc=True)


# ---- tasks -----------------------------------------------------------------------------------
def worker(opener: Opener) -> Handler:
    """Performs the tasks of an SQS batch; those that failed are named in the reply and come again."""
    kept, log = Kept(opener), logger()

    def handle(event: Event, context: Any) -> Any:
        root = kept()
        if root.take is None:
            raise SetupError("this function has no queue")
        left = float(getattr(context, "get_remaining_time_in_millis", lambda: 0)()) / 1000
        holder = f"{getattr(context, 'log_stream_name', '')}/{getattr(context, 'aws_request_id', '')}"

        def one(record: SQSRecord) -> None:
            received = int(record.attributes.approximate_receive_count)
            until = root.deps.clock() + left + SPARE
            assert root.take is not None
            delivery = root.take(record.body, record.receipt_handle, received, until)
            if delivery is not None:
                run(root, delivery, received, holder, log)

        processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
        return process_partial_response(dict(event), one, processor, context)

    return handle


def run(root: Root, delivery: Delivery, received: int, holder: str, log: Logger) -> None:
    """One task. Raises what makes it come again; `received`: how often this very message came."""
    task = delivery.task
    log.append_keys(kind=task.kind, attempt=delivery.attempt, **_transfer(task.body_json))
    began = time.monotonic()
    try:
        perform(root.deps, delivery, holder, root.network)
        log.info("task", ms=round((time.monotonic() - began) * 1000))
    except SkyError as error:
        log.warning("task-error", code=error.code, reason=error.message[:SHOWN])
        if error.retryable:  # the store is away, or others wrote at once
            raise
        _give_up(root, delivery, error, received)
    except Exception as error:
        log.error("task-crash", error=repr(error)[:SHOWN], trace=traceback.format_exc()[-SHOWN:])
        count("Crashed", kind=task.kind)
        reason = SkyError("something went wrong here, it is in the log", advice="Report it; then resume.")
        if not _give_up(root, delivery, reason, received, error):
            raise
    finally:
        log.remove_keys(["kind", "attempt", "transfer"])


def _give_up(
    root: Root, delivery: Delivery, reason: SkyError, received: int, cause: Exception | None = None
) -> bool:
    """End the transfer of a task that failed too often; else raise, so that the queue brings it again."""
    if delivery.task.kind not in TRANSFER_KINDS or received < DEFECTS:
        raise cause or reason
    return defect(root.deps, delivery, reason, DEFECTS_ELSEWHERE)


def _transfer(body: bytes) -> dict[str, str]:
    try:
        doc = canonical.loads(body, MAX_BODY)
    except SkyError:
        return {}
    return {"transfer": str(doc["transfer"])[:64]} if isinstance(doc, dict) and "transfer" in doc else {}


# ---- drops -----------------------------------------------------------------------------------
def drop(opener: Opener, wish: Wish = Wish("home")) -> Handler:  # noqa: B008 - a frozen value
    """Takes up what S3 or EventBridge says was created in the inbox. Raises the first trouble after all had their turn:
    the service tries again."""
    kept, log = Kept(opener), logger()

    def handle(event: Event, _context: Any) -> dict[str, Any]:
        root, taken = kept(), []
        trouble: SkyError | None = None
        for key in created(event):
            if not key.startswith(root.inbox):
                continue
            try:
                job = inbox.take_up(root.deps, root.agent, key.removeprefix(root.inbox), wish)
            except SkyError as error:
                log.warning("drop-error", key=key, code=error.code, reason=error.message[:SHOWN])
                trouble = trouble or error
            else:
                if job is not None:
                    log.info("drop", key=key, transfer=job.id)
                    taken.append(job.id)
        if trouble is not None:
            raise trouble
        return {"transfers": taken}

    return handle


def created(event: Event) -> Iterator[str]:
    """Keys that an S3 notification, an EventBridge event or an SQS batch of either says were created."""
    if "detail" in event:
        if event.get("detail-type") == "Object Created":
            yield str(event["detail"]["object"]["key"])
        return
    if "Records" not in event:
        if event.get("Event") == "s3:TestEvent":  # sent once, when notifications are switched on
            return
        raise RequestError("this is no event of a bucket")
    for record in event["Records"]:
        if "s3" not in record:
            raise RequestError("this is no event of a bucket")
        if str(record["eventName"]).startswith("ObjectCreated:"):
            yield unquote_plus(str(record["s3"]["object"]["key"]))  # keys are encoded as in a form, here only


# ---- regularly -------------------------------------------------------------------------------
def sweep(opener: Opener) -> Handler:
    """What a schedule calls: everything that is due, and tasks for whatever was lost on the way. Each has its turn,
    then the first trouble is raised."""
    kept, log = Kept(opener), logger()

    def handle(_event: Event, _context: Any) -> None:
        root = kept()
        deps, agent = root.deps, root.agent
        trouble: SkyError | None = None
        duties: list[Callable[[], object]] = [
            lambda: tending.wake_up(deps, agent, root.endpoint),
            lambda: tending.tend(deps, agent, tending.Rounds(), root.role),
        ]
        for duty in duties:
            try:
                duty()
            except SkyError as error:
                log.warning("sweep-error", code=error.code, reason=error.message[:SHOWN])
                trouble = trouble or error
        if trouble is not None:
            raise trouble

    return handle
