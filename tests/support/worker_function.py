"""Functions for `lambda_runtime.Function`: over a home folder, with the tasks of a queue of ministack.

Law: wiring only. The environment says where: SKYSWARM_HOME, and TEST_SERVER, TEST_QUEUE, TEST_TABLE.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace

from skyswarm.drivers.aws.dynamo.table import Table
from skyswarm.drivers.aws.session import Session
from skyswarm.drivers.aws.slots import DynamoSlots
from skyswarm.drivers.aws.sqs import SqsTasks
from skyswarm.edge import lambda_worker
from skyswarm.edge.lambda_home import embedded
from skyswarm.edge.lambda_root import Root
from tests.support.emulators import REGION, Emulator


def opener() -> Root:
    root = embedded()
    emulator = Emulator(os.environ["TEST_SERVER"])
    session = Session(REGION, emulator.url, emulator.key, emulator.secret)
    table = Table(session.client("dynamodb"), os.environ["TEST_TABLE"])
    slots = DynamoSlots(table, time.time, os.urandom)
    tasks = SqsTasks(session.client("sqs"), {"": os.environ["TEST_QUEUE"]}, slots, time.time, os.urandom)
    return replace(root, deps=replace(root.deps, tasks=tasks), take=tasks.take)


work = lambda_worker.worker(opener)
drop = lambda_worker.drop(embedded)
sweep = lambda_worker.sweep(embedded)
