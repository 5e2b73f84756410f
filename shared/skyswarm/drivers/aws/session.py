"""The clients of AWS's services and what their errors mean here.

Law: every client is made by `Session.client`, so retries, timeouts and the endpoint are said once. Every call of a
driver stands inside `asking`, so that only the ports' errors come out: nothing of botocore is seen outside.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from skyswarm.errors import (
    AbsentError,
    BackendError,
    ConflictError,
    ForbiddenError,
    SetupError,
    StorageFullError,
    UnavailableError,
)

CONNECT = 3.0
READ = 30.0
ATTEMPTS = 6
"""Tries of one call, the first one included; `adaptive` also slows a client down that is throttled."""

ABSENT = frozenset({"404", "NoSuchKey", "NoSuchVersion", "NoSuchUpload", "NotFound", "NoSuchBucket",
                    "ResourceNotFoundException", "NotFoundException", "AWS.SimpleQueueService.NonExistentQueue",
                    "QueueDoesNotExist"})  # fmt: skip
FORBIDDEN = frozenset({"403", "AccessDenied", "AccessDeniedException", "AllAccessDisabled", "UnauthorizedOperation",
                       "ExpiredToken", "ExpiredTokenException", "InvalidAccessKeyId", "SignatureDoesNotMatch",
                       "UnrecognizedClientException", "InvalidSignatureException"})  # fmt: skip
CONFLICT = frozenset({"409", "412", "PreconditionFailed", "ConditionalRequestConflict",
                      "ConditionalCheckFailedException", "OperationAborted"})  # fmt: skip
FULL = frozenset({"QuotaExceeded", "EntityTooLarge", "ItemCollectionSizeLimitExceededException"})


@dataclass(frozen=True)
class Session:
    """Where AWS is and who we are there. `endpoint` is for emulators; empty keys: the role of the function, or the
    user's own profile."""

    region: str
    endpoint: str | None = None
    key: str = ""
    secret: str = field(default="", repr=False)
    _made: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def client(self, service: str, **config: Any) -> Any:
        """The client of a service, made once for each set of `config` (of botocore's Config); threads share it."""
        name = service + repr(sorted(config.items()))
        with self._lock:
            if name not in self._made:
                settings: dict[str, Any] = {
                    "connect_timeout": CONNECT,
                    "read_timeout": READ,
                    "retries": {"mode": "adaptive", "total_max_attempts": ATTEMPTS},
                    "user_agent_extra": "skyswarm",
                    **config,
                }
                self._made[name] = boto3.session.Session().client(
                    service,  # type: ignore[call-overload]
                    region_name=self.region,
                    endpoint_url=self.endpoint,
                    aws_access_key_id=self.key or None,
                    aws_secret_access_key=self.secret or None,
                    config=Config(**settings),
                )
            return self._made[name]


@contextmanager
def asking(what: str) -> Iterator[None]:
    """Around calls: `what` names the thing for people ("bucket photos", "table skyswarm"). BackendError, SetupError."""
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise meaning(error, what) from error


def code_of(error: ClientError) -> str:
    """The service's own code, or the HTTP status where there is no body (HEAD)."""
    return str(error.response.get("Error", {}).get("Code", ""))


def meaning(error: ClientError | BotoCoreError, what: str) -> BackendError | SetupError:
    """The port's error for one of botocore's. What is not known is taken as passing when AWS says it was its fault."""
    if not isinstance(error, ClientError):
        name = type(error).__name__
        if "Credentials" in name or name in ("NoRegionError", "ProfileNotFound", "ParamValidationError"):
            return SetupError(f"{what}: {error}", advice="Look at your AWS profile, keys and region.")
        return UnavailableError(f"{what} cannot be reached: {name}")
    code = code_of(error)
    if code in ABSENT:
        return AbsentError(f"{what}: not there ({code})")
    if code in FORBIDDEN:
        return ForbiddenError(f"{what}: not allowed ({code})")
    if code in CONFLICT:
        return ConflictError(f"{what}: changed meanwhile ({code})")
    if code in FULL:
        return StorageFullError(f"{what}: full ({code})")
    return UnavailableError(f"{what} answers {code or 'an error'}")
