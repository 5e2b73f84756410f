"""The composition root of a deployment on AWS: a function's environment in, its root out.

Law: the only place that chooses the drivers of AWS and takes time and randomness from the system. Which agent lives in
a deployment is said by one item of its table, written once by whoever founds it; until then a function is not set up.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from skyswarm.drivers.aws.dynamo.items import Key
from skyswarm.drivers.aws.dynamo.records import (
    DynamoAnnouncements,
    DynamoHeld,
    DynamoMeters,
    DynamoNonces,
    DynamoNotes,
    DynamoShares,
    DynamoStatements,
    DynamoTransfers,
    Table,
)
from skyswarm.drivers.aws.dynamo.table import Refused
from skyswarm.drivers.aws.keys import SecretKeys
from skyswarm.drivers.aws.session import Session
from skyswarm.drivers.aws.slots import DynamoSlots
from skyswarm.drivers.aws.sqs import SqsTasks
from skyswarm.drivers.aws.storages import AwsStorages, Bucket
from skyswarm.drivers.http.fetcher import HttpFetcher
from skyswarm.drivers.http.peers import AddressPolicy, HttpPeers
from skyswarm.edge.founding import bear
from skyswarm.edge.lambda_root import Root
from skyswarm.edge.pricing import prices
from skyswarm.errors import NoHomeError, SetupError
from skyswarm.ports.system import Clock, Entropy
from skyswarm.usecases.deps import Deps
from skyswarm.usecases.limits import Limits

DEPLOYMENT = Key("#deployment", "agent")
INBOX = "inbox/"
_NEEDED = ("TABLE", "KEYS", "OBJECTS", "FILES", "INBOX", "MOVES", "TASKS", "URL", "ROLE")


class Deployment:
    """What the environment says (`SKYSWARM_…`): where everything is. SetupError: something is not said."""

    def __init__(
        self, environ: Mapping[str, str], *, clock: Clock = time.time, entropy: Entropy = os.urandom
    ) -> None:
        self._said = {name: environ.get(f"SKYSWARM_{name}", "") for name in _NEEDED}
        endpoint = environ.get("SKYSWARM_ENDPOINT") or None
        for name in ("TABLE", "KEYS", "ROLE"):
            if not self._said[name]:
                raise SetupError(f"this function is not told its SKYSWARM_{name}", advice="Deploy it again.")
        self._clock, self._entropy = clock, entropy
        self._versioned = environ.get("SKYSWARM_VERSIONED", "yes") == "yes"
        self._session = Session(
            environ.get("AWS_REGION", ""),
            endpoint,
            environ.get("SKYSWARM_EMULATOR_KEY", ""),
            environ.get("SKYSWARM_EMULATOR_SECRET", ""),
        )
        # An emulator and its agents are on this machine; on AWS nobody sends a function into the network it stands in.
        self._policy = AddressPolicy(allow_private=endpoint is not None)
        self.table = Table(self._session.client("dynamodb"), self._said["TABLE"])
        self.keys = SecretKeys(self._session.client("secretsmanager"), self._said["KEYS"], entropy, clock)

    def agent(self) -> str:
        """Who lives here. NoHomeError: nobody yet."""
        item = self.table.get(DEPLOYMENT)
        if item is None:
            raise NoHomeError(
                "nobody lives in this deployment yet", advice="Deploy it again: setup makes its agent."
            )
        return str(item["id"])

    def found(self, recovery: tuple[str, ...] = ()) -> str:
        """Make the agent of this deployment, once; its id. Of several at once, and of repeats, one is kept."""
        try:
            return self.agent()
        except NoHomeError:
            born = bear(self._entropy, recovery)
        self.keys.adopt(born.prepared, born.id)
        DynamoStatements(self.table).append(born.id, [born.row(self._clock())])
        try:
            self.table.write(self.table.putting(DEPLOYMENT, {"id": born.id}, "attribute_not_exists(#pk)"))
        except Refused:  # another was faster; what we kept is referred to by nobody
            return self.agent()
        return born.id

    def root(self) -> Root:
        """The bundle of ports, for one cold start. NoHomeError."""
        agent, said = self.agent(), self._said
        notes = DynamoNotes(self.table)
        buckets = {
            "home": Bucket(said["FILES"], versioned=self._versioned),
            "#objects": Bucket(said["OBJECTS"]),
            "#inbox": Bucket(said["INBOX"], INBOX),
        }
        named = {name: bucket for name, bucket in buckets.items() if bucket.name}
        tasks = SqsTasks(
            self._session.client("sqs"),
            {"": said["TASKS"], "move": said["MOVES"]},
            DynamoSlots(self.table, self._clock, self._entropy),
            self._clock,
            self._entropy,
        )
        limits = Limits()
        deps = Deps(
            statements=DynamoStatements(self.table),
            announcements=DynamoAnnouncements(self.table),
            shares=DynamoShares(self.table),
            held=DynamoHeld(self.table),
            transfers=DynamoTransfers(self.table),
            nonces=DynamoNonces(self.table),
            meters=DynamoMeters(self.table),
            notes=notes,
            tasks=tasks,
            storages=AwsStorages(self._session, agent, named, notes, self._clock, self._entropy),
            keys=self.keys,
            peers=HttpPeers(self._policy),
            fetcher=HttpFetcher(self._policy, stall=limits.stall, window=limits.stall),
            clock=self._clock,
            entropy=self._entropy,
            prices=prices(),
            limits=limits,
        )
        endpoint = f"{said['URL'].rstrip('/')}/a/{agent}"
        return Root(deps, agent, said["ROLE"], endpoint, ThreadPoolExecutor(16), tasks.take, INBOX)


def deployed() -> Root:
    """The root of the function that runs here."""
    return Deployment(os.environ).root()
