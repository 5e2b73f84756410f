"""Publishing a share: list, hash once, write pages as they fill, sign the manifest.

Law: bounded memory whatever the share's size: one listing page of objects, one manifest page of entries, 8 bytes
per path. Hashes are kept per (storage, key, version), so publishing again or after a crash reads only what changed.

Steps (`shared/spec/pieces.md`, publishing):
  1. list the storage; skip what is not a file, may not be read or has a name that cannot travel, saying so
  2. hash each object, or take its hashes from the cache when its version is the same
  3. feed entries to pages; store each finished page, and where we keep its files, under the share's tag
  4. sign the manifest, store it, then store the share: it is served only from here on
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial

from skyswarm.errors import AbsentError, ForbiddenError, InputError, SourceChangedError, UnsafePathError
from skyswarm.messages import canonical
from skyswarm.messages.dsse import seal
from skyswarm.messages.manifest import MANIFEST_TYPE, FileEntry, Manifest, PageWriter
from skyswarm.pieces.hasher import HashedFile, hash_file
from skyswarm.pieces.paths import PathSet, SharePath
from skyswarm.ports.records import HeldFile, Share
from skyswarm.ports.storage import Listing, Object, Storage
from skyswarm.usecases import objects
from skyswarm.usecases.deps import Deps
from skyswarm.usecases.spreading import soon

BIG = 16 * 1024 * 1024
"""From here on one file is spread over all threads; smaller ones are one thread's work each."""

UNSAVED = 256 * 1024 * 1024
"""So many bytes are hashed, at most, before their hashes are stored: what a crash can cost."""

MAX_CHANGES = 3
REASONS = 3
"""So many reasons are named when there is nothing else to share."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the publisher wants. `expires` Unix s (0: never), `cap_bytes` per asker (0: none), `survive` = f.

    `exclude`: shell patterns; a file is left out when its path, its name or a folder above it matches one.
    """

    name: str
    audience: tuple[str, ...] = ()
    expires: int = 0
    survive: int = 0
    cap_bytes: int = 0
    repos: tuple[str, ...] = ()
    extras: frozenset[str] = frozenset()
    exclude: tuple[str, ...] = ()


@dataclass(slots=True)
class Progress:
    """Counters that only grow while publishing runs; a display may read them from another thread."""

    files: int = 0
    bytes: int = 0
    hashed_bytes: int = 0
    cached_files: int = 0
    excluded_files: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    skipped_count: int = 0

    def skip(self, name: str, reason: str) -> None:
        self.skipped_count += 1
        if len(self.skipped) < 1000:
            self.skipped.append((name, reason))


@dataclass(frozen=True, slots=True)
class Published:
    """The share as it is served now."""

    share: Share
    manifest: Manifest
    envelope: bytes


def publish(
    deps: Deps,
    agent: str,
    storage_name: str,
    prefix: str,
    terms: Terms,
    pool: Executor,
    progress: Progress,
    on_step: Callable[[], None] = lambda: None,
) -> Published:
    """Publish everything under `prefix` of the storage (or the one object of that key).

    InputError subclasses for what cannot be shared (nothing is served then); storage errors as the port says.
    """
    storage = deps.storages.open(agent, storage_name)
    nonce = deps.entropy(16)
    draft = _draft(agent, terms, nonce, int(deps.clock()))
    draft.payload()  # a name or an end that cannot be: said now, not after everything was hashed
    tag = objects.tag_of(draft)
    places: list[tuple[str, str, str, int]] = []
    number = 0

    def store_side(object_id: str, data: bytes) -> None:
        objects.write(deps, agent, objects.side_key(tag, object_id), data)

    def page_done(page_id: str, data: bytes, entries: int) -> None:
        nonlocal number
        store_side(page_id, data)
        objects.write_places(deps, agent, tag, number, places[:entries])
        del places[:entries]
        number += 1

    writer = PageWriter(page_done, store_side)
    paths = PathSet(folding=False)  # what a destination folds is the receiver's to check
    for found, path, hashed in _hashed(deps, agent, storage, storage_name, prefix, terms, pool, progress):
        paths.add(path)
        entry, side_list = FileEntry.of(path, hashed, int(found.modified), found.media_type)
        if side_list is not None:
            store_side(str(entry.list_id), side_list)
        places.append((storage_name, found.key, found.version, hashed.size))
        writer.add(entry)
        progress.files += 1
        progress.bytes += hashed.size
        on_step()
    if not progress.files:
        where = f"under {prefix or '/'} of {storage_name}"
        if progress.skipped:
            reasons = "; ".join(f"{name!r}: {reason}" for name, reason in progress.skipped[:REASONS])
            more = progress.skipped_count - REASONS
            raise InputError(
                f"nothing {where} can be shared: {reasons}{f'; and {more:,} more' if more > 0 else ''}",
                advice="Every file was left out, each for its reason.",
            )
        raise InputError(
            f"there is nothing to share {where}",
            advice="Check the path; only ordinary files can be shared.",
        )
    done = writer.close()
    now = int(deps.clock())
    manifest = Manifest(
        issuer=agent,
        name=terms.name,
        files=done.files,
        bytes=done.bytes,
        pieces=done.pieces,
        pages=done.pages,
        index_depth=done.index_depth,
        repos=terms.repos,
        created=now,
        expires=terms.expires,
        nonce=nonce,
    )
    envelope = seal(MANIFEST_TYPE, manifest.payload(), deps.keys.current(agent)).dump()
    objects.write(deps, agent, objects.manifest_key(manifest.id), envelope)
    share = Share(
        manifest=manifest.id,
        name=terms.name,
        storage=storage_name,
        prefix=prefix,
        files=done.files,
        bytes=done.bytes,
        created=float(now),
        expires=terms.expires,
        audience=terms.audience,
        survive=terms.survive,
        cap_bytes=terms.cap_bytes,
    )
    deps.shares.put(agent, share)
    soon(deps, agent)
    return Published(share, manifest, envelope)


def _draft(agent: str, terms: Terms, nonce: bytes, now: int) -> Manifest:
    """The manifest with all that is known before a file was read."""
    return Manifest(
        issuer=agent, name=terms.name, files=1, bytes=0, pieces=0, pages=("0" * 64,), index_depth=0,
        repos=terms.repos, created=now, expires=terms.expires, nonce=nonce,
    )  # fmt: skip


def _listed(storage: Storage, prefix: str) -> Iterator[Listing]:
    if prefix:
        try:
            found = storage.stat(prefix)
        except AbsentError:
            found = None
        if found is not None:
            storage.presign(
                prefix, found.version, 1
            )  # a name too long for a URL is refused before it is hashed
            yield Listing((found,), None)
            return
    after: str | None = None
    while True:
        listing = storage.list(f"{prefix}/" if prefix else "", after)
        yield listing
        if listing.next is None:
            return
        after = listing.next


def _hashed(
    deps: Deps,
    agent: str,
    storage: Storage,
    storage_name: str,
    prefix: str,
    terms: Terms,
    pool: Executor,
    progress: Progress,
) -> Iterator[tuple[Object, SharePath, HashedFile]]:
    """Objects with their hashes, in listing order; at most one listing page of results is held."""
    for listing in _listed(storage, prefix):
        for name, reason in listing.skipped:
            progress.skip(name, reason)
        work: list[tuple[Object, SharePath, Future[tuple[Object, HashedFile] | str] | None]] = []
        for found in listing.objects:
            relative = (
                found.key.rpartition("/")[2] if found.key == prefix else found.key[len(prefix) :].lstrip("/")
            )
            if _excluded(relative, terms.exclude):
                progress.excluded_files += 1
                continue
            try:
                path = SharePath.parse(relative)
            except UnsafePathError as error:
                progress.skip(found.key, error.message)
                continue
            task = partial(_hash_one, deps, agent, storage, storage_name, found, terms.extras, progress)
            work.append((found, path, pool.submit(task, None) if found.size < BIG else None))
        rows: list[HeldFile] = []
        unsaved = 0
        for found, path, future in work:
            result = (
                future.result()
                if future is not None
                else _hash_one(deps, agent, storage, storage_name, found, terms.extras, progress, pool)
            )
            if isinstance(result, str):
                progress.skip(found.key, result)
                continue
            at, hashed = result
            rows.append(_held_row(storage_name, at, hashed))
            unsaved += hashed.size
            if unsaved >= UNSAVED:
                deps.held.put(agent, rows)
                rows, unsaved = [], 0
            yield at, path, hashed
        deps.held.put(agent, rows)


def _excluded(path: str, patterns: tuple[str, ...]) -> bool:
    """Whether the path, its name or any folder above it matches one of the patterns."""
    if not patterns:
        return False
    parts = path.split("/")
    names = [*parts, *("/".join(parts[:end]) for end in range(2, len(parts) + 1))]
    return any(fnmatchcase(name, pattern) for pattern in patterns for name in names)


def _hash_one(
    deps: Deps,
    agent: str,
    storage: Storage,
    storage_name: str,
    found: Object,
    extras: frozenset[str],
    progress: Progress,
    pool: Executor | None,
) -> tuple[Object, HashedFile] | str:
    """Hash one object, following a few changes under our feet; or why it is left out."""
    for _ in range(MAX_CHANGES):
        row = deps.held.at(agent, storage_name, found.key, found.version)
        if row is not None:
            known = canonical.loads(row.extra_json, 4096)
            if extras <= known.keys():
                progress.cached_files += 1
                progress.hashed_bytes += row.size
                return found, HashedFile(row.size, row.content, row.pieces, known)

        def count(done: int) -> None:
            progress.hashed_bytes += done

        before = progress.hashed_bytes
        try:
            hashed = hash_file(
                partial(storage.chunks, found.key, found.version), found.size, pool, extras, count
            )
        except ForbiddenError as error:
            progress.hashed_bytes = before
            return f"it may not be read: {error.message}"
        except (SourceChangedError, AbsentError):
            progress.hashed_bytes = before
            try:
                found = storage.stat(found.key)
            except AbsentError:
                return "it was taken away while it was read"
            except ForbiddenError as error:
                return f"it may not be read: {error.message}"
            continue
        return found, hashed
    return "it is being written now: changed again and again while it was read"


def _held_row(storage_name: str, found: Object, hashed: HashedFile) -> HeldFile:
    return HeldFile(
        storage=storage_name,
        key=found.key,
        version=found.version,
        size=hashed.size,
        content=hashed.content,
        pieces=hashed.pieces,
        extra_json=canonical.dumps(dict(hashed.extras)),
    )
