"""The Tasks port on an SQS standard queue.

Law: a message is what is delivered, a row of `slots.py` says whether it counts: messages may come twice, late or
superfluous, and only one of a waiting is handed on. A message is deleted only after what takes its place was sent.
`later` sends anew instead of hiding: being put off is no failure and must not lead to the dead-letter queue, where
only messages go that were received too often without a word. `shared/decisions/aws-queue.md`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from skyswarm.drivers.aws.session import asking, code_of
from skyswarm.drivers.aws.slots import Holder, Slots
from skyswarm.errors import AbsentError, BackendError, LeaseLostError, MalformedError
from skyswarm.ports.system import Clock, Entropy
from skyswarm.ports.work import Delivery, Task

LONGEST_DELAY = 900
"""Seconds that SQS delays a message, at most. What is due later is delayed again when it comes."""
LONGEST_HOLD = 43_200
"""Seconds that a message stays hidden, at most, from when it was received."""
AT_ONCE = 10
RECEIVED = "ApproximateReceiveCount"
_STALE = frozenset({"ReceiptHandleIsInvalid", "InvalidParameterValue", "MessageNotInflight"})


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent. `mark` names this message, also when it is delivered again or comes back from the dead-letter
    queue; `tries`: deliveries of the task before this message."""

    task: Task
    due: float
    tries: int
    mark: str
    name: str
    token: str

    def dump(self) -> str:
        task = self.task
        doc = {
            "v": 1,
            "agent": task.agent,
            "kind": task.kind,
            "body": task.body_json.decode("utf-8", "surrogateescape"),
            "dedup": task.dedup,
        }
        more = {
            "due": self.due,
            "tries": self.tries,
            "mark": self.mark,
            "name": self.name,
            "token": self.token,
        }
        return json.dumps(doc | more, separators=(",", ":"))

    @staticmethod
    def parse(text: str) -> Message:
        """MalformedError: not one of ours."""
        try:
            doc = json.loads(text)
            if doc["v"] != 1:
                raise MalformedError("a task of another version")
            task = Task(
                doc["agent"], doc["kind"], doc["body"].encode("utf-8", "surrogateescape"), doc["dedup"]
            )
            due, tries = float(doc["due"]), int(doc["tries"])
            return Message(task, due, tries, str(doc["mark"]), str(doc["name"]), str(doc["token"]))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise MalformedError("what lies in the queue of tasks is no task") from error


class SqsTasks:
    """The Tasks port. `queues`: URLs by kind of task, '' for all others; so that a function can be given one kind only.
    `wait`: seconds that a `pull` waits for a first message (long polling)."""

    def __init__(
        self,
        client: Any,
        queues: Mapping[str, str],
        slots: Slots,
        clock: Clock,
        entropy: Entropy,
        *,
        wait: int = 0,
    ) -> None:
        self._client = client
        self._queues = queues
        self._slots = slots
        self._clock = clock
        self._entropy = entropy
        self._wait = wait

    # ---- the port --------------------------------------------------------------------------------
    def push(self, task: Task, at: float = 0.0) -> None:
        self._place(task, at, f"={task.dedup}" if task.dedup else self._mark(), 0, None)

    def pull(
        self,
        worker: str,  # noqa: ARG002 - the queue does not ask who
        now: float,
        lease: float,
        limit: int = 1,
    ) -> list[Delivery]:
        """As the port says, by the queue's own clock; `now` only says until when it is held. In any order."""
        out: list[Delivery] = []
        for url in dict.fromkeys(self._queues.values()):
            self._receive(url, now + lease, min(LONGEST_HOLD, math.ceil(lease)), limit, out)
        return out

    def _receive(self, url: str, until: float, hidden: int, limit: int, out: list[Delivery]) -> None:
        """Take from one queue until there are `limit` in `out` or it gives no more."""
        while len(out) < limit:
            with self._asking():
                reply = self._client.receive_message(
                    QueueUrl=url,
                    MaxNumberOfMessages=min(AT_ONCE, limit - len(out)),
                    VisibilityTimeout=hidden,
                    WaitTimeSeconds=0 if out else self._wait,
                    MessageSystemAttributeNames=[RECEIVED],
                )
            found = reply.get("Messages", [])
            if not found:
                break
            for one in found:
                with suppress(MalformedError):  # it is left, and its alarm is the dead-letter queue's
                    received = int(one["Attributes"][RECEIVED])
                    delivery = self.take(one["Body"], one["ReceiptHandle"], received, until)
                    if delivery is not None:
                        out.append(delivery)

    def extend(self, delivery: Delivery, until: float) -> None:
        hidden = min(LONGEST_HOLD, max(0, math.ceil(until - self._clock())))
        with self._settling():
            self._client.change_message_visibility(
                QueueUrl=self._of(delivery.task), ReceiptHandle=_parts(delivery)[2], VisibilityTimeout=hidden
            )

    def done(self, delivery: Delivery) -> None:
        self._delete(delivery.task, _parts(delivery)[2])

    def later(self, delivery: Delivery, at: float) -> None:
        mark, received, receipt, name = _parts(delivery)
        with suppress(LeaseLostError):  # delivered again: not ours to give back, nor to delete
            self._place(delivery.task, at, name, delivery.attempt, Holder(mark, int(received)))
            self._delete(delivery.task, receipt)

    # ---- also for whoever is handed messages, as a function is -----------------------------------
    def take(self, body: str, receipt: str, received: int, until: float) -> Delivery | None:
        """A received message as a delivery. None: it is not to be worked on, and was seen to: it is not due yet, or
        another of its name takes its place. MalformedError: it is no task; it is left, for the dead-letter queue."""
        message = Message.parse(body)
        task = message.task
        if message.due > self._clock():
            self._send(message)
            self._delete(task, receipt)
            return None
        holder = Holder(message.mark, received)
        if not self._slots.claim(task.agent, message.name, message.token, holder):
            self._delete(task, receipt)
            return None
        return Delivery(
            task, f"{message.mark} {received} {receipt} {message.name}", message.tries + received, until
        )

    # ---- within ----------------------------------------------------------------------------------
    def _place(self, task: Task, at: float, name: str, tries: int, given_back: Holder | None) -> None:
        at = max(at, self._clock())
        slot = self._slots.open(task.agent, name, at, given_back)
        if slot is not None:
            self._send(Message(task, slot.due, tries, self._mark(), name, slot.token))
            self._slots.sent(task.agent, name, slot)

    def _send(self, message: Message) -> None:
        delay = min(LONGEST_DELAY, max(0, math.ceil(message.due - self._clock())))
        with self._asking():
            self._client.send_message(
                QueueUrl=self._of(message.task), MessageBody=message.dump(), DelaySeconds=delay
            )

    def _delete(self, task: Task, receipt: str) -> None:
        with self._settling():
            self._client.delete_message(QueueUrl=self._of(task), ReceiptHandle=receipt)

    def _of(self, task: Task) -> str:
        return self._queues.get(task.kind, self._queues[""])

    def _mark(self) -> str:
        return self._entropy(12).hex()

    @contextmanager
    def _settling(self) -> Iterator[None]:
        """A receipt that is no longer good is no error: it was delivered again, or is settled already."""
        with self._asking():
            try:
                yield
            except ClientError as error:
                if code_of(error).rpartition(".")[2] not in _STALE:
                    raise

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            with asking("the queue of tasks"):
                yield
        except AbsentError as error:
            raise BackendError(error.message) from error  # no task is missing: the queue is


def _parts(delivery: Delivery) -> tuple[str, str, str, str]:
    mark, received, receipt, name = delivery.receipt.split(" ", 3)
    return mark, received, receipt, name
