"""The buckets of a deployment as the storages of its agent.

Law: opens buckets only, each once; the deployment names them, so there is nothing to read before one is used.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from skyswarm.drivers.aws.s3.opening import open_bucket
from skyswarm.drivers.aws.s3.storage import S3Storage
from skyswarm.drivers.aws.session import Session
from skyswarm.errors import AbsentError
from skyswarm.ports.records import Notes
from skyswarm.ports.system import Clock, Entropy


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket, or what is below a prefix of one ('' or with '/' at its end)."""

    name: str
    prefix: str = ""
    versioned: bool = False


class AwsStorages:
    """The Storages port of the one agent of a deployment."""

    def __init__(
        self,
        session: Session,
        agent: str,
        buckets: Mapping[str, Bucket],
        notes: Notes,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._session = session
        self._agent = agent
        self._buckets = buckets
        self._notes = notes
        self._clock = clock
        self._entropy = entropy
        self._lock = threading.Lock()
        self._opened: dict[str, S3Storage] = {}

    def open(self, agent: str, name: str) -> S3Storage:
        bucket = self._buckets.get(name) if agent == self._agent else None
        if bucket is None:
            raise AbsentError(f"there is no storage named {name!r}")
        with self._lock:
            if name not in self._opened:
                self._opened[name] = open_bucket(
                    self._session,
                    bucket.name,
                    agent,
                    self._notes,
                    self._clock,
                    self._entropy,
                    prefix=bucket.prefix,
                    versioned=bucket.versioned,
                    siblings=self._sibling,
                )
            return self._opened[name]

    def names(self, agent: str) -> tuple[str, ...]:
        return tuple(
            sorted(name for name in self._buckets if agent == self._agent and not name.startswith("#"))
        )

    def _sibling(self, name: str) -> S3Storage | None:
        try:
            return self.open(self._agent, name)
        except AbsentError:
            return None
