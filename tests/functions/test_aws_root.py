"""Two deployments on an emulated AWS trade: tables, buckets, queues and secrets of their own, HTTP between them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from skyswarm.drivers.aws.dynamo.schema import create_table
from skyswarm.drivers.aws.session import Session
from skyswarm.edge.api import answer
from skyswarm.edge.aws_root import Deployment
from skyswarm.edge.http import Request, Response
from skyswarm.edge.lambda_root import Root
from skyswarm.edge.server import Server
from skyswarm.errors import AbsentError, NoHomeError, SetupError
from skyswarm.ports.storage import ANY_VERSION
from skyswarm.usecases import inbox, jobs, people, publish
from skyswarm.usecases.starting import Wish
from skyswarm.usecases.work import perform
from tests.support.emulators import REGION, ministack, unique
from tests.support.land import INLINE

MIB = 1 << 20


@dataclass
class Account:
    """A deployment, and the server that stands where API Gateway does."""

    deployment: Deployment
    server: Server
    roots: list[Root]

    @property
    def root(self) -> Root:
        return self.roots[0]

    def work(self, most: int = 300) -> None:
        """Run what is due, as the event source mapping would have it run."""
        deps = self.root.deps
        for _ in range(most):
            found = deps.tasks.pull("w/0", deps.clock(), 60.0, 10)
            if not found:
                return
            for delivery in found:
                perform(deps, delivery, "w/0", INLINE)
        raise AssertionError("it never ends")


def environment(name: str, url: str) -> dict[str, str]:
    """What the infrastructure would have set, over a new table, new buckets and new queues."""
    server = ministack()
    session = Session(REGION, server.url, server.key, server.secret)
    create_table(session, table := unique(name))
    buckets = {one: unique(f"{name}-{one}") for one in ("files", "objects", "inbox")}
    s3, sqs = session.client("s3"), session.client("sqs")
    for bucket in buckets.values():
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    queues = {one: sqs.create_queue(QueueName=unique(one))["QueueUrl"] for one in ("moves", "tasks")}
    said = {"TABLE": table, "KEYS": f"{unique('keys')}/", "URL": url, "ROLE": "agent", "ENDPOINT": server.url}
    said["VERSIONED"] = "no"  # of a version ministack gives the whole, whatever range is asked for
    said |= {"EMULATOR_KEY": server.key, "EMULATOR_SECRET": server.secret}
    said |= {one.upper(): where for one, where in (buckets | queues).items()}
    return {"AWS_REGION": REGION} | {f"SKYSWARM_{one}": value for one, value in said.items()}


def account(name: str) -> Account:
    roots: list[Root] = []

    def app(request: Request) -> Response:
        return answer(roots[0].deps, roots[0].roles, request, lambda *_, **__: None)

    server = Server(app, "127.0.0.1", 0)
    server.start()
    made = Deployment(environment(name, server.url))
    return Account(made, server, roots)


@pytest.fixture
def accounts() -> Iterator[tuple[Account, Account]]:
    alice, bob = account("alice"), account("bob")
    yield alice, bob
    for one in (alice, bob):
        one.server.stop()


def test_nobody_lives_there_before_it_is_founded_and_one_afterwards(
    accounts: tuple[Account, Account],
) -> None:
    made = accounts[0].deployment
    with pytest.raises(NoHomeError):
        made.root()
    with ThreadPoolExecutor(4) as pool:
        ids = {one.result() for one in [pool.submit(made.found) for _ in range(4)]}
    assert len(ids) == 1
    root = made.root()
    assert {root.agent} == ids
    assert root.endpoint.endswith(f"/a/{root.agent}")
    assert root.deps.keys.current(root.agent).public
    assert root.deps.storages.names(root.agent) == ("home",)
    with pytest.raises(AbsentError):
        root.deps.storages.open("f" * 64, "home")


def test_what_is_not_said_is_named() -> None:
    with pytest.raises(SetupError, match="SKYSWARM_TABLE"):
        Deployment({})


def test_a_dropped_manifest_brings_files_from_one_account_to_the_other(
    accounts: tuple[Account, Account],
) -> None:
    alice, bob = accounts
    for one in accounts:
        one.deployment.found()
        one.roots.append(one.deployment.root())
    a, b = alice.root, bob.root
    files = {f"trip/{number:02}.jpg": os.urandom(50_000 + number) for number in range(12)}
    files["trip/film.mov"] = os.urandom(17 * MIB + 3)
    home = a.deps.storages.open(a.agent, "home")
    for key, data in files.items():
        home.put(key, data, if_version=ANY_VERSION)

    a.deps.statements.append(a.agent, b.deps.statements.of(b.agent, b.agent))
    people.vouch(a.deps, a.agent, b.agent)
    terms = publish.Terms(name="trip")
    progress = publish.Progress()
    shared = publish.publish(a.deps, a.agent, "home", "trip", terms, INLINE, progress)
    assert (shared.share.files, progress.skipped) == (len(files), [])
    box = b.deps.storages.open(b.agent, inbox.INBOX)
    box.put("trip.manifest.json", shared.envelope, if_version=ANY_VERSION)
    job = inbox.take_up(b.deps, b.agent, "trip.manifest.json", Wish("home"))
    assert job is not None
    source = jobs.SourceState(agent=a.agent, endpoint=a.endpoint)  # as a repository would have told
    jobs.change(b.deps, b.agent, job.id, lambda one: one.with_source(source))
    bob.work()

    found = box.stat("trip.status.json")
    status = json.loads(b"".join(map(bytes, box.chunks(found.key, found.version, 0, found.size))))
    assert (status["state"], status["files"]["done"], status["failed"]) == ("done", len(files), [])
    there = b.deps.storages.open(b.agent, "home")
    for key, data in files.items():
        one = there.stat(key)
        assert b"".join(map(bytes, there.chunks(key, one.version, 0, one.size))) == data
    # An event that comes twice starts nothing more.
    assert inbox.take_up(b.deps, b.agent, "trip.manifest.json", Wish("home")) is None
