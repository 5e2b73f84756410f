"""Signing keys in AWS Secrets Manager: the Keys port of an agent that is functions.

Law: a private key is in its secret (`<prefix><agent>`, all three seeds in one) and in a SeedSigner, nowhere else: no
repr, no error, no log, and the SDK's own debugging log is kept shut. A rotation is one move of the label AWSCURRENT,
which happens only from the version that was read: whoever comes second changes nothing. `shared/decisions/aws-keys.md`.
"""

from __future__ import annotations

import hashlib
import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from skyswarm.drivers.aws.session import asking, code_of
from skyswarm.drivers.seeds import Prepared, Seeds, prepare
from skyswarm.errors import AbsentError, BackendError, ConflictError, MalformedError, SetupError
from skyswarm.messages.keys import SEED_SIZE, SeedSigner
from skyswarm.ports.system import Clock, Entropy, Signer

__all__ = ["Prepared", "SecretKeys", "prepare"]

FRESH = 10.0
"""Seconds that keys are used as they were read: so long may another function sign on with a key that was rotated."""
CURRENT, PREVIOUS = "AWSCURRENT", "AWSPREVIOUS"
_HEAD = b"skyswarm keys 1\n"
_SIZE = len(_HEAD) + 3 * SEED_SIZE
_ENDED = frozenset({"ResourceNotFoundException", "InvalidRequestException"})
_AGENT = re.compile(r"[0-9a-f]{64}")
_SECRET = re.compile(r"[0-9a-f]{64}(-recovery-[0-9a-f]{16})?")
_LOST = frozenset({"InvalidParameterException", "InvalidRequestException"})


class _Read(NamedTuple):
    """A version of a secret. It holds seeds: it is passed on to no repr."""

    version: str
    seeds: Seeds

    def __repr__(self) -> str:
        return f"_Read({self.version})"


def _reserved(agent: str, undone: str) -> str:
    """The name of what is reserved for the recovery that undoes that statement: a secret by itself, because making one
    is the only write of the service that happens once."""
    return f"{agent}-recovery-{hashlib.sha256(undone.encode()).hexdigest()[:16]}"


def _publics(seeds: Seeds) -> tuple[bytes, bytes]:
    made = Prepared(seeds)
    return made.current_public, made.next_public


class SecretKeys:
    """The Keys port. `client` is of Secrets Manager; `kms`: what encrypts the secrets ('': the account's own key)."""

    def __init__(self, client: Any, prefix: str, entropy: Entropy, clock: Clock, *, kms: str = "") -> None:
        self._client = client
        self._prefix = prefix
        self._entropy = entropy
        self._clock = clock
        self._kms = kms
        self._known: dict[str, tuple[float, tuple[SeedSigner, ...]]] = {}
        self._lock = threading.Lock()

    def adopt(self, prepared: Prepared, agent: str) -> None:
        """Keep prepared keys under the agent's id. Idempotent; ConflictError when it has other keys."""
        if not _AGENT.fullmatch(agent):
            raise MalformedError("an agent id is 64 lowercase hex digits")
        key = {"KmsKeyId": self._kms} if self._kms else {}
        with self._asking(agent):
            try:
                self._client.create_secret(
                    Name=self._prefix + agent,
                    Description=f"signing keys of Skyswarm agent {agent[:12]}: deleted, the agent is lost",
                    SecretBinary=_HEAD + b"".join(prepared.seeds),
                    ClientRequestToken=self._token(),
                    **key,
                )
                return
            except ClientError as error:
                if code_of(error) != "ResourceExistsException":
                    raise
        if self._read(agent).seeds != prepared.seeds:
            raise ConflictError(f"agent {agent} has other keys here already")

    def current(self, agent: str) -> Signer:
        return self._signers(agent)[0]

    def upcoming(self, agent: str) -> Signer:
        return self._signers(agent)[1]

    def following(self, agent: str) -> bytes:
        return self._signers(agent)[2].public

    def rotate(self, agent: str, expect: bytes) -> bytes:
        old = self._read(agent)
        current, upcoming, following = old.seeds
        if SeedSigner(current).public != expect:
            raise ConflictError(f"the keys of agent {agent} were rotated already")
        self._change(agent, old, (upcoming, following, self._entropy(SEED_SIZE)))
        return SeedSigner(following).public

    def reserve(self, agent: str, undone: str) -> tuple[bytes, bytes]:
        self._read(agent)  # AbsentError: not ours
        name = _reserved(agent, undone)
        with suppress(AbsentError):
            return _publics(self._read(name).seeds)
        key = {"KmsKeyId": self._kms} if self._kms else {}
        with self._asking(name):
            try:
                self._client.create_secret(
                    Name=self._prefix + name,
                    Description=f"keys for a recovery of Skyswarm agent {agent[:12]}",
                    SecretBinary=_HEAD + b"".join(prepare(self._entropy).seeds),
                    ClientRequestToken=self._token(),
                    **key,
                )
            except ClientError as error:
                if code_of(error) != "ResourceExistsException":
                    raise  # else somebody was faster, and has made those that count
        return _publics(self._read(name).seeds)

    def replace(self, agent: str, undone: str, expect: bytes) -> None:
        name = _reserved(agent, undone)
        gone = f"no keys are reserved for a recovery of agent {agent}"
        try:
            seeds = self._read(name).seeds
        except AbsentError as error:
            raise AbsentError(gone) from error
        if _publics(seeds)[0] != expect:
            raise ConflictError(f"other keys are reserved for a recovery of agent {agent}")
        old = self._read(agent)
        if old.seeds != seeds:
            self._change(agent, old, seeds)
        with self._asking(name):
            try:  # of several at once one ends the reservation
                self._client.delete_secret(SecretId=self._prefix + name, ForceDeleteWithoutRecovery=True)
            except ClientError as error:
                if code_of(error) not in _ENDED:
                    raise
                raise AbsentError(gone) from error

    # ---- within ----------------------------------------------------------------------------------
    def _change(self, agent: str, old: _Read, seeds: Seeds) -> None:
        """Make these seeds the agent's, in the place of those that were read. ConflictError: others are there now."""
        fresh = self._token()
        label = f"candidate-{fresh}"  # a version without a label may be deleted at any time
        with self._asking(agent):
            self._client.put_secret_value(
                SecretId=self._prefix + agent,
                ClientRequestToken=fresh,
                SecretBinary=_HEAD + b"".join(seeds),
                VersionStages=[label],
            )
        try:
            self._move(agent, CURRENT, old.version, fresh)
        except ConflictError:
            if self._read(agent).version != fresh:  # else it was this very move, whose answer had got lost
                self._drop(agent, label, fresh)
                raise
        finally:
            with self._lock:
                self._known.pop(agent, None)
        self._drop(agent, label, fresh)
        self._drop(agent, PREVIOUS, old.version)

    def _signers(self, agent: str) -> tuple[SeedSigner, ...]:
        now = self._clock()
        with self._lock:
            known = self._known.get(agent)
        if known is not None and 0 <= now - known[0] < FRESH:
            return known[1]
        signers = tuple(SeedSigner(seed) for seed in self._read(agent).seeds)
        with self._lock:
            self._known[agent] = (now, signers)
        return signers

    def _read(self, agent: str) -> _Read:
        if not _SECRET.fullmatch(agent):
            raise AbsentError("no agent of that id has keys here")
        with self._asking(agent):
            reply = self._client.get_secret_value(SecretId=self._prefix + agent, VersionStage=CURRENT)
        data: bytes = reply.get("SecretBinary", b"")
        if len(data) != _SIZE or not data.startswith(_HEAD):
            raise BackendError(
                f"the keys of agent {agent} are damaged or of a newer version",
                advice="Make the version before current again, or use a recovery key to name a new one.",
            )
        first, second, third = (
            data[start : start + SEED_SIZE] for start in range(len(_HEAD), _SIZE, SEED_SIZE)
        )
        return _Read(reply["VersionId"], (first, second, third))

    def _move(self, agent: str, label: str, source: str, target: str) -> None:
        """ConflictError: the label is not where it was."""
        with self._asking(agent):
            try:
                self._client.update_secret_version_stage(
                    SecretId=self._prefix + agent,
                    VersionStage=label,
                    RemoveFromVersionId=source,
                    MoveToVersionId=target,
                )
            except ClientError as error:
                if code_of(error) not in _LOST:
                    raise
                raise ConflictError(f"the keys of agent {agent} were rotated meanwhile") from error

    def _drop(self, agent: str, label: str, version: str) -> None:
        """Take a label away: a version that has none is deleted by the service. Only a broom."""
        with suppress(BackendError), self._asking(agent), suppress(ClientError):
            self._client.update_secret_version_stage(
                SecretId=self._prefix + agent, VersionStage=label, RemoveFromVersionId=version
            )

    def _token(self) -> str:
        return self._entropy(16).hex()

    @contextmanager
    def _asking(self, agent: str) -> Iterator[None]:
        log = logging.getLogger("botocore")
        if log.getEffectiveLevel() < logging.INFO:
            log.setLevel(logging.INFO)  # when debugging it writes down whole requests and replies
        with asking(f"the secret of agent {agent}"):
            try:
                yield
            except ClientError as error:
                if code_of(error) != "InvalidRequestException":
                    raise
                raise SetupError(
                    f"the keys of agent {agent} are about to be deleted",
                    advice="Restore the secret in Secrets Manager first.",
                ) from error
