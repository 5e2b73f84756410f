"""Tasks on SQS and keys in Secrets Manager, for the contracts: over servers of `emulators.py`.

Law: the contract of tasks tells the time by `now`, so its queue must do so too: a ministack of its own, whose SQS reads
the time from a file that the rig writes. Everything else in it and in the other servers runs by the real clock.
"""

from __future__ import annotations

import atexit
import os
import tempfile
import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from skyswarm.cli.agent import free_port
from skyswarm.drivers.aws.dynamo.schema import create_table
from skyswarm.drivers.aws.dynamo.table import Table
from skyswarm.drivers.aws.keys import SecretKeys
from skyswarm.drivers.aws.session import Session
from skyswarm.drivers.aws.slots import DynamoSlots
from skyswarm.drivers.aws.sqs import SqsTasks
from skyswarm.errors import UnavailableError
from skyswarm.ports.work import Delivery, Task
from tests.support.emulators import BIN, REGION, Emulator, _run, ministack, moto, unique
from tests.support.record_rigs import Rig, memory

_TIMED = """
import os, sys, time, types
from ministack.app import main
from ministack.services import sqs
def now():
    with open(os.environ["SQS_TIME"]) as file:
        return float(file.read() or time.time())
sqs.time = types.SimpleNamespace(**{**vars(time), "time": now})
sys.exit(main())
"""


@cache
def timed_ministack() -> tuple[Emulator, Path]:
    """A ministack, and the file that says what time it is in its SQS (empty: the real time)."""
    handle, name = tempfile.mkstemp(prefix="skyswarm-time-")
    os.close(handle)
    atexit.register(os.unlink, name)
    port = free_port()
    env = {"BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port), "IOT_MTLS_ENABLED": "0", "SFTP_ENABLED": "0"}
    command = [str(BIN / "python"), "-c", _TIMED]
    return Emulator(_run(command, port, "/_ministack/health", env | {"SQS_TIME": name})), Path(name)


@cache
def session(url: str) -> Session:
    emulator = Emulator(url)
    return Session(REGION, url, emulator.key, emulator.secret)


class Queue:
    """A new queue and table, and the time that both go by. Its dead-letter queue is at `dead`."""

    def __init__(self, max_receives: int = 1000) -> None:
        emulator, self._file = timed_ministack()
        self.session = session(emulator.url)
        self.client = self.session.client("sqs")
        self.time = 0.0
        self.at(0.0)
        self.dead = self.client.create_queue(QueueName=unique("dead"))["QueueUrl"]
        arn = self.client.get_queue_attributes(QueueUrl=self.dead, AttributeNames=["QueueArn"])["Attributes"]
        policy = f'{{"deadLetterTargetArn":"{arn["QueueArn"]}","maxReceiveCount":"{max_receives}"}}'
        self.url = self.client.create_queue(
            QueueName=unique("tasks"), Attributes={"RedrivePolicy": policy, "VisibilityTimeout": "30"}
        )["QueueUrl"]
        name = unique("slots")
        create_table(self.session, name)
        self.table = Table(self.session.client("dynamodb"), name)
        self.slots = DynamoSlots(self.table, self.now, os.urandom)

    def now(self) -> float:
        return self.time

    def at(self, time: float) -> None:
        """It is that time now."""
        self.time = time
        fresh = self._file.with_suffix(f".{os.getpid()}")
        fresh.write_text(repr(time))
        fresh.replace(self._file)

    def tasks(self) -> SqsTasks:
        return SqsTasks(self.client, {"": self.url}, self.slots, self.now, os.urandom)

    def close(self) -> None:
        self.client.delete_queue(QueueUrl=self.url)
        self.client.delete_queue(QueueUrl=self.dead)
        self.session.client("dynamodb").delete_table(TableName=self.table.name)
        self._file.write_text("")


class TimedTasks:
    """The driver under the contract: whoever pulls at a time makes it that time."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._inner = queue.tasks()

    def pull(self, worker: str, now: float, lease: float, limit: int = 1) -> list[Delivery]:
        if now != self._queue.time:
            self._queue.at(now)
        return self._inner.pull(worker, now, lease, limit)

    def push(self, task: Task, at: float = 0.0) -> None:
        self._inner.push(task, at)

    def extend(self, delivery: Delivery, until: float) -> None:
        self._inner.extend(delivery, until)

    def done(self, delivery: Delivery) -> None:
        self._inner.done(delivery)

    def later(self, delivery: Delivery, at: float) -> None:
        self._inner.later(delivery, at)


def sqs(folder: Path) -> Rig:
    """The rig of memory with the tasks of a queue: only those are looked at."""
    queue = Queue()
    return replace(memory(folder), tasks=TimedTasks(queue), close=queue.close)


def secret_keys(folder: Path) -> SecretKeys:
    return _secret_keys(ministack())


def secret_keys_moto(folder: Path) -> SecretKeys:
    return _secret_keys(moto())


def _secret_keys(emulator: Emulator) -> SecretKeys:
    client = session(emulator.url).client("secretsmanager")
    return SecretKeys(client, unique("skyswarm-keys") + "/", os.urandom, time.time)


class Dying:
    """A client that dies at one call, before it (`after` False) or once it was applied."""

    def __init__(self, inner: Any, name: str, after: bool) -> None:
        self._inner, self._name, self._after = inner, name, after

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        if name != self._name:
            return method

        def call(**named: Any) -> Any:
            if self._after:
                method(**named)
            raise UnavailableError("killed here")

        return call
