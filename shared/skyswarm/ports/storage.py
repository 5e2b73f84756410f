"""Storages: where a user's bytes live. S3, GCS, Dropbox, Drive, a folder — each is one driver of these two ports.

Keys are '/'-separated UTF-8 without a leading '/'. `version` is the storage's own token for one state of one
object (ETag, generation, rev; size+mtime+inode for a folder): equal tokens mean equal bytes, nothing else does.
Errors of every method: AbsentError, ForbiddenError, UnavailableError (retry), UnsafePathError (a key that this storage
cannot hold), of those that write StorageFullError, and what the method names.
Hidden upload state never shows in `list`, never under a final key.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from skyswarm.pieces.digest import PieceDigest

ANY_VERSION = "*"
"""`if_version` for: whatever is there, if anything."""


@dataclass(frozen=True, slots=True)
class Object:
    """One object: two are equal when key, size and version are.

    `size` in bytes, `modified` in Unix seconds (0.0: not said here). `stat` also gives media type and metadata where
    the storage keeps them; a listing need not, and what a write returns need not repeat them.
    """

    key: str
    size: int
    version: str
    modified: float = field(default=0.0, compare=False)
    media_type: str | None = field(default=None, compare=False)
    metadata: Mapping[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of a listing, and the token that continues it (None: that was all).

    `skipped` names what is there but cannot be an object of a share (a link out of the folder, a socket,
    a name that is not UTF-8), each with its reason: shown to the user, never followed.
    """

    objects: tuple[Object, ...]
    next: str | None
    skipped: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Grant:
    """A presigned GET: whoever holds `url` may read that one version, ranges included, until `expires` (Unix s)."""

    url: str
    expires: int


@dataclass(frozen=True, slots=True)
class Origin:
    """What a provider copy reads: an object of this user's `storage` (as in the Storages port), or, when that is
    empty, one that a provider holds for somebody else: its `kind` (as Storage.kind), `container` (bucket), `owner`
    (account) and `key` there."""

    storage: str
    key: str
    version: str
    kind: str = ""
    container: str = ""
    owner: str = ""


class Source(Protocol):
    """A storage read from."""

    def list(self, prefix: str, after: str | None = None, limit: int = 1000) -> Listing:
        """Objects under `prefix`, at most `limit`, in a stable order; `after` is the `next` of the page before."""
        ...

    def stat(self, key: str) -> Object:
        """The object as it is now."""
        ...

    def chunks(self, key: str, version: str, offset: int, length: int) -> Iterator[memoryview]:
        """Exactly `length` bytes from `offset`, in chunks that are valid only until the next one is asked for.

        SourceChangedError when the object is no longer at `version` (before or while reading), or ends before that.
        A storage that keeps old versions gives that version's bytes instead.
        """
        ...

    def presign(self, key: str, version: str, ttl: int) -> Grant:
        """A URL for `ttl` seconds. Pure computation: no call to the storage, no check that the object is there.

        `expires` may be earlier than asked, never later than the signer's own credentials. Reading it later gives 403;
        when the object is no longer at `version`, 412 to our Fetcher (other clients may get bytes of another version,
        which fail their hashes). UnsafePathError: it would be longer than any receiver takes.
        """
        ...


class Sink(Protocol):
    """A storage written to. An upload becomes visible under its key at `finish` or never."""

    def put(self, key: str, data: bytes, *, if_version: str | None, media_type: str | None = None) -> Object:
        """Write a small object whole and atomically. `if_version` None: only when absent; a token: only over that
        version; ANY_VERSION: always. ConflictError when the condition fails, or something else is in the way."""
        ...

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
        """Start, or find again, the upload known by `token` (any string; idempotent). Returns the upload id.
        The object gets `media_type` and `metadata` where the storage keeps such.

        StorageFullError when it is known now that `size` bytes will not fit.
        """
        ...

    def part(
        self, upload: str, index: int, digest: PieceDigest, length: int, chunks: Iterable[memoryview]
    ) -> None:
        """Write piece `index` from `chunks`, which give `length` bytes; they raise when the bytes do not verify.

        The part counts as present only after `chunks` ended without an error. Writing a part again is harmless.
        Several parts may be written at once from several processes. AbsentError: no such upload (finished, aborted).
        """
        ...

    def parts(self, upload: str, first: int = 0, count: int | None = None) -> frozenset[int]:
        """Indexes of the parts that are present and verified, also after a crash: all, or those of `count` from
        `first` on. AbsentError: no such upload."""
        ...

    def finish(self, upload: str, digests: Sequence[PieceDigest], *, if_version: str | None) -> Object:
        """Make the object appear under its key, atomically and durably. TransferStateError unless all parts are there.

        Idempotent: called again after it worked, it gives the object. ConflictError as for `put`; the upload stays.
        """
        ...

    def abort(self, upload: str) -> None:
        """Forget the upload and its parts. Idempotent."""
        ...

    def copy(
        self, upload: str, index: int, origin: Origin, offset: int, digest: PieceDigest, length: int
    ) -> bytes | None:
        """Provider copy of one piece of `origin`, from `offset` on, no byte through us.

        Returns the SHA-256 that the provider computed of the copied bytes, or None when it proves nothing (the
        caller then relays). The part counts as present only when the proof is equal to `digest`
        (PieceMismatchError otherwise). ForbiddenError: this storage cannot copy from that one; relay instead.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove an object. Idempotent."""
        ...


class Storage(Source, Sink, Protocol):
    """A storage read from and written to."""

    @property
    def kind(self) -> str:
        """The provider and place for prices and routes: `folder`, `s3/eu-central-1`, `gcs/europe-west1`, …"""
        ...

    @property
    def folds(self) -> bool:
        """Whether names that differ only in case or Unicode form are one name here."""
        ...


class Storages(Protocol):
    """The storages of the agents that live here, by the name their user gave them."""

    def open(self, agent: str, name: str) -> Storage:
        """A ready driver; AbsentError when the user has no storage of that name. `#objects` is the agent's own
        bucket for side objects, `#inbox` where manifests are dropped: both always there."""
        ...

    def names(self, agent: str) -> tuple[str, ...]:
        """The user's storages, sorted, without the two own ones."""
        ...
