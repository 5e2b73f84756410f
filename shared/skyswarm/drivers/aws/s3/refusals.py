"""What S3's refusals on the wire mean, for a read and for a write.

Law: no I/O. The SDK's errors are read in `session.py`; these are of requests that never went through it.
"""

from __future__ import annotations

from skyswarm.drivers.aws.s3.wire import Refused
from skyswarm.errors import (
    AbsentError,
    BackendError,
    ConflictError,
    ForbiddenError,
    PieceMismatchError,
    SourceChangedError,
    StorageFullError,
    UnavailableError,
)

_WRONG_BYTES = frozenset(
    {"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"}
)
_FULL = frozenset({"QuotaExceeded", "EntityTooLarge"})


def reading(refused: Refused, key: str) -> BackendError | SourceChangedError:
    if refused.status in (412, 416) or refused.code == "NoSuchVersion":
        return SourceChangedError(f"{key} was changed since it was published ({refused})")
    return _other(refused, key)


def writing(refused: Refused, key: str) -> BackendError | PieceMismatchError:
    if refused.code in _WRONG_BYTES:
        return PieceMismatchError(f"{key}: the storage got other bytes than announced ({refused})")
    if refused.status in (409, 412) or refused.code == "NoSuchKey":
        return ConflictError(f"{key} is not at the expected version ({refused})")
    return _other(refused, key)


def _other(refused: Refused, key: str) -> BackendError:
    if refused.code in _FULL or refused.status == 507:
        return StorageFullError(f"no room for {key} ({refused})")
    if refused.status == 404:
        return AbsentError(f"there is no {key} ({refused})")
    if refused.code == "RequestTimeout" or refused.status in (408, 429) or refused.status >= 500:
        return UnavailableError(f"{key}: the storage answers {refused}")
    if refused.code in ("RequestRateLimitExceeded", "ExpiredToken"):
        return UnavailableError(f"{key}: the storage answers {refused}")
    if refused.status in (301, 307):
        return ForbiddenError(f"{key}: the bucket is in another region than was said")
    if refused.status in (400, 401, 403):
        return ForbiddenError(f"{key}: not allowed ({refused})")
    return BackendError(f"{key}: the storage answers {refused}")
