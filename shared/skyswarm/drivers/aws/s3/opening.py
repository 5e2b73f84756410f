"""From a session and a bucket's name to a ready storage.

Law: the only file here that knows how the SDK finds credentials. Nothing is asked of AWS before it is needed.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from skyswarm.drivers.aws.s3.sigv4 import Credentials, CredentialSource
from skyswarm.drivers.aws.s3.storage import S3Storage
from skyswarm.drivers.aws.s3.wire import Wire
from skyswarm.errors import SetupError
from skyswarm.ports.records import Notes
from skyswarm.ports.system import Clock, Entropy

if TYPE_CHECKING:
    from skyswarm.drivers.aws.s3.control import Control
    from skyswarm.drivers.aws.session import Session


def endpoint_of(session: Session) -> str:
    """Where S3 is."""
    domain = "amazonaws.com.cn" if session.region.startswith("cn-") else "amazonaws.com"
    return session.endpoint or f"https://s3.{session.region}.{domain}"


def credentials_of(session: Session) -> CredentialSource:
    """The session's own keys, else what the SDK finds (a role's, renewed before they end). SetupError: none."""
    if session.key:
        fixed = Credentials(session.key, session.secret)
        return lambda: fixed
    found: list[Any] = []
    lock = threading.Lock()

    def current() -> Credentials:
        with lock:
            if not found:
                import boto3

                found.append(boto3.session.Session().get_credentials())
        source = found[0]
        if source is None:
            raise SetupError("there are no AWS credentials", advice="Look at your AWS profile and keys.")
        frozen = source.get_frozen_credentials()
        end = getattr(source, "_expiry_time", None)  # the SDK knows it and does not show it
        expires = end.timestamp() if isinstance(end, datetime) else None
        return Credentials(frozen.access_key, frozen.secret_key, frozen.token or "", expires)

    return current


def open_bucket(
    session: Session,
    bucket: str,
    agent: str,
    notes: Notes,
    clock: Clock,
    entropy: Entropy,
    *,
    prefix: str = "",
    versioned: bool = False,
    owner: str = "",
    credentials: CredentialSource | None = None,
    context: ssl.SSLContext | None = None,
    siblings: Callable[[str], object] = lambda _: None,
) -> S3Storage:
    """The storage. `prefix` ends with '/' or is empty; `owner` is the account that must own the bucket;
    `context` is for a service with certificates of its own."""
    wire = Wire(
        endpoint_of(session),
        session.region,
        bucket,
        credentials or credentials_of(session),
        clock,
        owner=owner,
        context=context,
    )

    def control() -> Control:
        from skyswarm.drivers.aws.s3.control import Control

        client = session.client(
            "s3",
            signature_version="s3v4",
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            **({"s3": {"addressing_style": "path"}} if session.endpoint else {}),
        )
        return Control(client, bucket, prefix, versioned=versioned, owner=owner)

    return S3Storage(
        wire,
        control,
        prefix,
        agent,
        notes,
        entropy,
        versioned=versioned,
        owner=owner,
        siblings=siblings,
    )
