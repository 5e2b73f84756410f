"""What is asked of S3 through the SDK: listings, multipart uploads but for their bytes, server-side copies, deletion.

Law: one method is one operation, paged where S3 pages. Errors inside a 200 (copies and completions have them) are the
SDK's to see: it takes them as failures and tries again. All leave as the ports' errors.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from skyswarm.drivers.aws.s3.naming import MARK, Upload, token
from skyswarm.drivers.aws.session import asking, code_of, meaning
from skyswarm.errors import (
    AbsentError,
    BackendError,
    ConflictError,
    ForbiddenError,
    SourceChangedError,
    TransferError,
    TransferStateError,
)
from skyswarm.pieces.digest import PieceDigest
from skyswarm.pieces.size import MAX_PIECES
from skyswarm.ports.storage import Listing, Object

_NO_COPY = frozenset(
    {"NoSuchBucket", "InvalidRequest", "NotImplemented", "MethodNotAllowed", "PermanentRedirect"}
)
_NO_RANGE = frozenset({"InvalidRange", "InvalidArgument", "NoSuchVersion", "InvalidPartNumber"})
_NOT_YET = frozenset(
    {"InvalidPart", "InvalidPartOrder", "EntityTooSmall", "BadDigest", "InvalidDigest", "InvalidRequest"}
)


@dataclass(frozen=True, slots=True)
class Part:
    """A part as S3 lists it. `sha256` None: that server does not say."""

    index: int
    size: int
    etag: str
    sha256: bytes | None
    modified: float


class Control:
    """One bucket, below `prefix`. `versioned`: whether it keeps versions; `owner`: the account it must be of."""

    def __init__(
        self, client: Any, bucket: str, prefix: str, *, versioned: bool = False, owner: str = ""
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix
        self._versioned = versioned
        self._owner = {"ExpectedBucketOwner": owner} if owner else {}
        self._place = {"Bucket": bucket, **self._owner}
        self._what = f"bucket {bucket}"

    def list(self, prefix: str, after: str | None, limit: int) -> Listing:
        where = {**self._place, "Prefix": self._prefix + prefix, "MaxKeys": min(limit, 1000)}
        start = {} if after is None else {"KeyMarker" if self._versioned else "ContinuationToken": after}
        with asking(self._what):
            if self._versioned:
                page = self._client.list_object_versions(**where, **start)
                rows = [row for row in page.get("Versions", []) if row["IsLatest"]]
                last = page.get("NextKeyMarker") if page.get("IsTruncated") else None
            else:
                page = self._client.list_objects_v2(**where, **start)
                rows = page.get("Contents", [])
                last = page.get("NextContinuationToken") if page.get("IsTruncated") else None
        found, skipped = [], []
        for row in rows:
            key = row["Key"][len(self._prefix) :]
            if not key.endswith("/"):
                version = token(row["ETag"], row.get("VersionId") if self._versioned else None)
                found.append(Object(key, row["Size"], version, row["LastModified"].timestamp()))
            elif row["Size"]:  # one of 0 bytes is how consoles draw a folder
                skipped.append((key, "its name ends with '/'"))
        return Listing(tuple(found), last, tuple(skipped))

    def create(self, name: str, mark: str, media_type: str | None, metadata: Mapping[str, str] | None) -> str:
        with asking(self._what):
            made = self._client.create_multipart_upload(
                **self._place,
                Key=name,
                ChecksumAlgorithm="SHA256",
                Metadata={**(metadata or {}), MARK: mark},
                **({"ContentType": media_type} if media_type else {}),
            )
        return str(made["UploadId"])

    def parts(self, upload: Upload, first: int = 0, count: int = MAX_PIECES) -> Iterator[Part]:
        """Those of `count` from index `first` on. AbsentError: no such upload."""
        marker = first  # the number of the part before the first
        while True:
            with asking(f"the upload of {upload.key}"):
                page = self._client.list_parts(
                    **self._of(upload), PartNumberMarker=marker, MaxParts=min(1000, max(1, count))
                )
            for row in page.get("Parts", []):
                proof = row.get("ChecksumSHA256")
                index, modified = int(row["PartNumber"]) - 1, row["LastModified"].timestamp()
                if index >= first + count:
                    return
                yield Part(
                    index, row["Size"], row["ETag"], base64.b64decode(proof) if proof else None, modified
                )
            following = page.get("NextPartNumberMarker", 0)
            if not page.get("IsTruncated") or following <= marker:
                return
            marker = following

    def alive(self, upload: Upload) -> bool:
        try:
            with asking(self._what):
                self._client.list_parts(**self._of(upload), MaxParts=1)
        except AbsentError:
            return False
        return True

    def complete(
        self,
        upload: Upload,
        etags: Sequence[str],
        digests: Sequence[PieceDigest],
        condition: Mapping[str, str],
    ) -> Object:
        """AbsentError: no such upload; ConflictError; TransferStateError: S3 has other parts than these."""
        parts = [
            {"PartNumber": number, "ETag": etag, "ChecksumSHA256": base64.b64encode(digest.sha256).decode()}
            for number, (etag, digest) in enumerate(zip(etags, digests, strict=True), 1)
        ]
        try:
            made = self._client.complete_multipart_upload(
                **self._of(upload), MultipartUpload={"Parts": parts}, **condition
            )
        except ClientError as error:
            code = code_of(error)
            if code in _NOT_YET:
                raise TransferStateError(f"{upload.key} has other parts than these ({code})") from error
            if code == "NoSuchKey":  # an If-Match where nothing is
                raise ConflictError(f"{upload.key} is not there to be replaced") from error
            raise meaning(error, f"the upload of {upload.key}") from error
        except BotoCoreError as error:
            raise meaning(error, f"the upload of {upload.key}") from error
        version = made.get("VersionId") if self._versioned else None
        return Object(upload.key, upload.size, token(made["ETag"], version))

    def abort(self, upload: Upload) -> None:
        try:
            with asking(f"the upload of {upload.key}"):
                self._client.abort_multipart_upload(**self._of(upload))
        except AbsentError:
            return

    def copy_part(
        self,
        upload: Upload,
        index: int,
        source: Mapping[str, str],
        etag: str,
        owner: str,
        span: tuple[int, int],
    ) -> bytes | None:
        """The SHA-256 that S3 computed of the copied range, None when it computed none. Errors as `Sink.copy`."""
        try:
            made = self._client.upload_part_copy(
                **self._of(upload),
                PartNumber=index + 1,
                CopySource=dict(source),
                CopySourceRange=f"bytes={span[0]}-{span[0] + span[1] - 1}",
                CopySourceIfMatch=etag,
                **({"ExpectedSourceBucketOwner": owner} if owner else {}),
            )
        except ClientError as error:
            raise _copy_error(error, f"copying from {source['Bucket']}") from error
        except BotoCoreError as error:
            raise meaning(error, f"copying from {source['Bucket']}") from error
        proof = made.get("CopyPartResult", {}).get("ChecksumSHA256")
        return base64.b64decode(proof) if proof else None

    def delete(self, name: str) -> None:
        with asking(self._what):
            self._client.delete_object(**self._place, Key=name)

    def _of(self, upload: Upload) -> dict[str, Any]:
        return {**self._place, "Key": self._prefix + upload.key, "UploadId": upload.id}


def _copy_error(error: ClientError, what: str) -> Exception:
    code = code_of(error)
    if code in _NO_COPY:
        return ForbiddenError(f"{what}: this storage cannot ({code})")
    if code in _NO_RANGE:
        return SourceChangedError(f"{what}: the object has no such bytes or version ({code})")
    found: BackendError | TransferError | Exception = meaning(error, what)
    if isinstance(found, ConflictError):
        return SourceChangedError(f"{what}: the object was changed ({code})")
    return found
