"""A bucket, or what is below a prefix of one, as a storage: both ports of ports/storage.py.

Law: keys in, the ports' errors out. Bytes go over the wire, everything else through Control, which is made when it is
first needed: a door that only reads, stats and presigns never loads the SDK.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import TYPE_CHECKING

from skyswarm.drivers.aws.s3.naming import MARK, Upload, check_key, split, token
from skyswarm.drivers.aws.s3.refusals import reading, writing
from skyswarm.drivers.aws.s3.sigv4 import LONGEST, presign
from skyswarm.drivers.aws.s3.wire import Refused, Wire
from skyswarm.errors import (
    AbsentError,
    ConflictError,
    ForbiddenError,
    PieceMismatchError,
    SkyError,
    SourceChangedError,
    TransferStateError,
    UnavailableError,
    UnsafePathError,
)
from skyswarm.messages.urls import MAX_URL
from skyswarm.pieces.digest import PieceDigest
from skyswarm.ports.records import Entry, Notes
from skyswarm.ports.storage import ANY_VERSION, Grant, Listing, Object, Origin
from skyswarm.ports.system import Entropy

if TYPE_CHECKING:
    from skyswarm.drivers.aws.s3.control import Control

CHUNK = 1 << 20
TRIES = 5
_META = "x-amz-meta-"
_HEADERS = {"IfMatch": "if-match", "IfNoneMatch": "if-none-match"}


class S3Storage:
    """`notes` of `agent` remember which upload a token began. `siblings`: the storage of a name, for copies.
    `versioned`: whether the bucket keeps versions, which the deployment knows. Threads may share it."""

    def __init__(
        self,
        wire: Wire,
        control: Callable[[], Control],
        prefix: str,
        agent: str,
        notes: Notes,
        entropy: Entropy,
        *,
        versioned: bool = False,
        owner: str = "",
        siblings: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._wire = wire
        self._make_control = control
        self._prefix = prefix
        self._agent = agent
        self._notes = notes
        self._entropy = entropy
        self._versioned = versioned
        self._owner = owner
        self._siblings = siblings
        self._proves_copies = True

    @property
    def kind(self) -> str:
        return f"s3/{self._wire.region}"

    @property
    def folds(self) -> bool:
        return False

    # ---- Source ----------------------------------------------------------------------------
    def list(self, prefix: str, after: str | None = None, limit: int = 1000) -> Listing:
        return self._control.list(prefix, after, limit)

    def stat(self, key: str) -> Object:
        return self._head(key, {})[0]

    def chunks(self, key: str, version: str, offset: int, length: int) -> Iterator[memoryview]:
        """A connection that is cut is taken up where it ended: the version is pinned."""
        etag, identity = split(version)
        name, query = self._name(key), self._query(identity)
        if not length:
            self._head(key, query, etag)
            return
        buffer = memoryview(bytearray(min(CHUNK, length)))
        done, failed = 0, 0
        while done < length:
            asked = f"bytes={offset + done}-{offset + length - 1}"
            got = 0
            try:
                with self._wire.ask("GET", name, query, {"range": asked, "if-match": etag}) as response:
                    _check_range(response, key, offset + done, length - done)
                    while done < length and (count := response.readinto(buffer[: length - done])):
                        done, got = done + count, got + count
                        yield buffer[:count]
            except Refused as refused:
                error = reading(refused, key)
                if not isinstance(error, UnavailableError):
                    raise error from refused
                failed = _again(failed + 1, error)
            except UnavailableError as error:
                failed = _again(1 if got else failed + 1, error)
            else:
                if done < length:
                    failed = _again(
                        1 if got else failed + 1, UnavailableError(f"{key} was cut in the middle")
                    )

    def presign(self, key: str, version: str, ttl: int) -> Grant:
        """In a versioned bucket the URL names the version. Otherwise it carries the ETag for a reader who sends it as
        If-Match; S3 ignores the parameter (`shared/decisions/aws-s3.md`)."""
        name = self._name(key)
        etag, identity = split(version)
        pairs = self._query(identity) or {"x-skyswarm-etag": etag.strip('"')}
        who = self._wire.credentials()
        now = int(self._wire.clock())
        expires = now + min(ttl, LONGEST)
        if who.expires is not None:
            expires = min(expires, int(who.expires))
        if expires <= now:
            raise UnavailableError("the credentials that would sign this URL have ended")
        path = self._wire.path(name)
        query = presign(who, self._wire.region, self._wire.host, path, pairs, now, expires - now)
        url = f"{self._wire.origin}{path}?{query}"
        if len(url) > MAX_URL:
            raise UnsafePathError(
                f"its URL would have {len(url)} characters, and {MAX_URL} is the most: {key[:80]}…",
                advice="Give it, or the folders above it, shorter names; signs beyond ASCII count threefold per byte.",
            )
        return Grant(url, expires)

    # ---- Sink: whole objects ---------------------------------------------------------------------
    def put(self, key: str, data: bytes, *, if_version: str | None, media_type: str | None = None) -> Object:
        name = self._name(key)
        digest = hashlib.sha256(data).digest()
        headers = {
            **_checksum(digest),
            **{_HEADERS[name]: value for name, value in _condition(if_version).items()},
        }
        headers["content-type"] = media_type or "application/octet-stream"
        failed = 0
        while True:
            try:
                answer = self._wire.send("PUT", name, {}, headers, digest, len(data), [memoryview(data)])
                break
            except Refused as refused:
                error = writing(refused, key)
                # Only what surely did nothing is tried again, unless doing it twice is the same as once.
                if refused.status != 503 and not (if_version == ANY_VERSION and refused.status >= 500):
                    raise error from refused
                failed = _again(failed + 1, error)
            except UnavailableError as error:
                if if_version != ANY_VERSION:
                    raise
                failed = _again(failed + 1, error)
        return Object(key, len(data), self._token(answer), media_type=media_type)

    def delete(self, key: str) -> None:
        self._control.delete(self._name(key))

    # ---- Sink: uploads -----------------------------------------------------------------------------
    def begin(
        self,
        key: str,
        size: int,
        piece_size: int,
        token: str,
        *,
        media_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> str:
        name = self._name(key)
        which = json.dumps([self._wire.bucket, name, size, piece_size, token])
        slot = "s3/upload/" + hashlib.sha256(which.encode()).hexdigest()
        for _ in range(TRIES):
            noted = self._notes.get(self._agent, slot)
            if noted is not None and self._control.alive(Upload.parse(noted.value.decode())):
                return noted.value.decode()
            mark = self._entropy(16).hex()
            identity = self._control.create(name, mark, media_type, metadata)
            made = Upload(key, size, piece_size, identity, slot, mark)
            try:
                entry = Entry(slot, made.dump().encode(), noted.version if noted else 0)
                self._notes.put(self._agent, entry)
            except ConflictError:  # somebody else began it at the same moment: theirs is the one
                self._control.abort(made)
                continue
            return made.dump()
        raise UnavailableError(f"the upload of {key} is begun again and again by others")

    def part(
        self, upload: str, index: int, digest: PieceDigest, length: int, chunks: Iterable[memoryview]
    ) -> None:
        """One pass: the digest signs the request, so the server checks the bytes and nothing is hashed here."""
        found = Upload.parse(upload)
        if found.length(index) != length or not length:
            raise PieceMismatchError(
                f"part {index} of {found.key} has {found.length(index)} bytes, not {length}"
            )
        self._write(found, index, digest.sha256, length, chunks)

    def parts(self, upload: str, first: int = 0, count: int | None = None) -> frozenset[int]:
        found = Upload.parse(upload)
        count = found.count if count is None else count
        listed = list(self._control.parts(found, first, count))
        whole = {part.index for part in listed if part.size and part.size == found.length(part.index)}
        return frozenset(
            whole.difference(part.index for part in listed if part.size != found.length(part.index))
        )

    def finish(self, upload: str, digests: Sequence[PieceDigest], *, if_version: str | None) -> Object:
        found = Upload.parse(upload)
        try:
            made = self._complete(found, digests, if_version)
        except (AbsentError, ConflictError, TransferStateError) as error:
            done = self._made_by(found)  # before, its answer lost, or by somebody else just now
            if done is None:
                raise
            if len(digests) != found.count:
                raise TransferStateError(f"{found.key} has {found.count} parts") from error
            made = done
        self._forget(found)
        return made

    def abort(self, upload: str) -> None:
        with suppress(AbsentError):
            found = Upload.parse(upload)
            self._control.abort(found)
            self._forget(found)

    def copy(
        self, upload: str, index: int, origin: Origin, offset: int, digest: PieceDigest, length: int
    ) -> bytes | None:
        """A server that computes no checksum is asked once: what it copied is taken back, and so is what differs."""
        found = Upload.parse(upload)
        bucket, prefix, owner = self._place_of(origin)
        if not self._proves_copies:
            return None
        if found.length(index) != length:
            raise PieceMismatchError(f"part {index} of {found.key} has not {length} bytes")
        etag, identity = split(origin.version)
        source = {
            "Bucket": bucket,
            "Key": prefix + origin.key,
            **({"VersionId": identity} if identity else {}),
        }
        proof = self._control.copy_part(found, index, source, etag, owner, (offset, length))
        if proof == digest.sha256:
            return proof
        # S3 cannot remove a part: write one of another size over it, which does not count.
        stub = b"\0" * (length != 1)
        self._write(found, index, hashlib.sha256(stub).digest(), len(stub), [memoryview(stub)])
        if proof is None:
            self._proves_copies = False
            return None
        raise PieceMismatchError(f"piece {index} copied from {bucket} is not the one of the manifest")

    # ---- inside --------------------------------------------------------------------------------
    @cached_property
    def _control(self) -> Control:
        return self._make_control()

    def _name(self, key: str) -> str:
        return check_key(self._prefix, key)

    def _query(self, identity: str) -> dict[str, str]:
        return {"versionId": identity} if identity and self._versioned else {}

    def _token(self, headers: Mapping[str, str]) -> str:
        return token(headers.get("etag", ""), headers.get("x-amz-version-id") if self._versioned else None)

    def _head(self, key: str, query: Mapping[str, str], etag: str = "") -> tuple[Object, Mapping[str, str]]:
        """The object and all headers of its HEAD."""
        failed = 0
        while True:
            try:
                with self._wire.ask(
                    "HEAD", self._name(key), query, {"if-match": etag} if etag else {}
                ) as answer:
                    said = {name.lower(): value for name, value in answer.getheaders()}
                    answer.read()
                break
            except Refused as refused:
                error = reading(refused, key)
                if not isinstance(error, UnavailableError):
                    raise error from refused
                failed = _again(failed + 1, error)
            except UnavailableError as error:
                failed = _again(failed + 1, error)
        metadata = {name.removeprefix(_META): value for name, value in said.items() if name.startswith(_META)}
        metadata.pop(MARK, None)
        modified = (
            parsedate_to_datetime(said["last-modified"]).timestamp() if "last-modified" in said else 0.0
        )
        media_type = said.get("content-type")
        size = int(said.get("content-length", "0"))
        return Object(key, size, self._token(said), modified, media_type, metadata), said

    def _write(
        self, found: Upload, index: int, sha256: bytes, length: int, chunks: Iterable[memoryview]
    ) -> str:
        """UploadPart; the part's ETag."""
        query = {"partNumber": str(index + 1), "uploadId": found.id}
        try:
            said = self._wire.send(
                "PUT", self._name(found.key), query, _checksum(sha256), sha256, length, chunks
            )
        except Refused as refused:
            raise writing(refused, f"part {index} of {found.key}") from refused
        return said.get("etag", "")

    def _complete(self, found: Upload, digests: Sequence[PieceDigest], if_version: str | None) -> Object:
        # S3 lists one part of a number; SeaweedFS all that were written under it.
        listed = sorted(self._control.parts(found), key=lambda part: part.modified)
        have = {part.index: part for part in listed if part.size == found.length(part.index)}
        if not found.size and not digests:  # S3 wants one part at least, which may be empty
            empty = PieceDigest(hashlib.sha256(b"").digest(), 0, 0)
            return self._control.complete(
                found, [self._write(found, 0, empty.sha256, 0, [])], [empty], _condition(if_version)
            )
        missing = 0
        for index, digest in enumerate(digests):
            part = have.get(index)
            missing += part is None or part.sha256 not in (None, digest.sha256)
        if missing or len(digests) != found.count:
            raise TransferStateError(
                f"{found.key} has {found.count} parts, {missing} of them are not there yet"
            )
        etags = [have[index].etag for index in range(len(digests))]
        return self._control.complete(found, etags, digests, _condition(if_version))

    def _made_by(self, found: Upload) -> Object | None:
        """The object under the key, if this upload made it."""
        try:
            made, said = self._head(found.key, {})
        except AbsentError:
            return None
        return made if said.get(_META + MARK) == found.mark else None

    def _forget(self, found: Upload) -> None:
        noted = self._notes.get(self._agent, found.slot)
        if noted is not None and noted.value.decode() == found.dump():
            self._notes.delete(self._agent, found.slot)

    def _place_of(self, origin: Origin) -> tuple[str, str, str]:
        """Bucket, prefix and owner to copy from. ForbiddenError."""
        if origin.storage:
            other = self._siblings(origin.storage)
            if isinstance(other, S3Storage) and other._wire.service == self._wire.service:
                return other._wire.bucket, other._prefix, other._owner
        elif origin.kind.startswith("s3/"):
            return origin.container, "", origin.owner
        raise ForbiddenError(f"this bucket cannot copy from {origin.storage or origin.container}")


def _checksum(sha256: bytes) -> dict[str, str]:
    return {"x-amz-checksum-sha256": base64.b64encode(sha256).decode()}


def _condition(if_version: str | None) -> dict[str, str]:
    """As arguments of the SDK; put() makes headers of them."""
    if if_version == ANY_VERSION:
        return {}
    return {"IfNoneMatch": "*"} if if_version is None else {"IfMatch": split(if_version)[0]}


def _again(failed: int, error: SkyError) -> int:
    """Wait before trying again; `error` when it was tried often enough."""
    if failed >= TRIES:
        raise error
    time.sleep(min(2.0, 0.1 * 2**failed) * (0.5 + random.random() / 2))  # noqa: S311 - jitter
    return failed


def _check_range(response: http.client.HTTPResponse, key: str, offset: int, length: int) -> None:
    said = response.headers.get("content-range", "")
    whole = response.status == 200 and offset == 0 and response.length == length
    if not (whole or said.startswith(f"bytes {offset}-{offset + length - 1}/")):
        raise SourceChangedError(f"{key} has no {length} bytes at {offset}")
