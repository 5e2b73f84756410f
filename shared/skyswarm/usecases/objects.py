"""Where an agent keeps its side objects, and how they are read safely.

Law: every name in the agent's own bucket (`#objects`) is made here. Side objects lie under a tag that is derived
from the share's nonce, so that a request for one share can never name an object of another (`spec/transfers.md`).
"""

from __future__ import annotations

import hashlib

from skyswarm.errors import AbsentError, ManifestError, SourceChangedError, UnavailableError
from skyswarm.messages import canonical
from skyswarm.messages.dsse import Envelope
from skyswarm.messages.manifest import Manifest
from skyswarm.ports.storage import ANY_VERSION, Storage
from skyswarm.usecases.deps import Deps

OWN = "#objects"
MAX_ENVELOPE = 128 * 1024
MAX_SIDE = 4 * 1024 * 1024
MAX_PLACES = 4 * 1024 * 1024


def tag_of(manifest: Manifest) -> str:
    """The folder of a share's side objects: 32 hex characters, from its nonce."""
    return hashlib.sha256(b"skyswarm/v1/share" + manifest.nonce).hexdigest()[:32]


def side_key(tag: str, object_id: str) -> str:
    return f"shares/{tag}/side/{object_id}"


def places_key(tag: str, page: int) -> str:
    return f"shares/{tag}/at/{page}"


def manifest_key(manifest_id: str) -> str:
    return f"manifests/{manifest_id}"


def bucket(deps: Deps, agent: str) -> Storage:
    """The agent's own bucket."""
    return deps.storages.open(agent, OWN)


def read(storage: Storage, key: str, limit: int) -> bytes:
    """A whole small object, as it was at one moment. AbsentError; ManifestError when it is longer than `limit`."""
    for last in (False, False, True):
        found = storage.stat(key)
        if found.size > limit:
            break
        try:
            return b"".join(bytes(chunk) for chunk in storage.chunks(key, found.version, 0, found.size))
        except SourceChangedError as error:
            if last:
                raise UnavailableError(f"{key} is written again and again while it is read") from error
    raise ManifestError(f"{key} has {found.size} bytes, at most {limit} are allowed")


def write(deps: Deps, agent: str, key: str, data: bytes) -> None:
    """Write an object of ours, over an older one if there is one."""
    bucket(deps, agent).put(key, data, if_version=ANY_VERSION)


def side(deps: Deps, agent: str, tag: str, object_id: str) -> bytes | None:
    """A side object that we hold, or None. Its hash is checked again: a bucket is not a proof."""
    try:
        data = read(bucket(deps, agent), side_key(tag, object_id), MAX_SIDE)
    except AbsentError:
        return None
    return data if hashlib.sha256(data).hexdigest() == object_id else None


def manifest_envelope(deps: Deps, agent: str, manifest_id: str) -> bytes | None:
    try:
        return read(bucket(deps, agent), manifest_key(manifest_id), MAX_ENVELOPE)
    except AbsentError:
        return None


def manifest(deps: Deps, agent: str, manifest_id: str) -> Manifest:
    """A manifest that we hold. AbsentError."""
    data = manifest_envelope(deps, agent, manifest_id)
    if data is None:
        raise AbsentError(f"no manifest {manifest_id[:12]} here")
    return Manifest.parse(Envelope.parse(data, MAX_ENVELOPE).payload)


def write_places(
    deps: Deps, agent: str, tag: str, page: int, places: list[tuple[str, str, str, int]]
) -> None:
    """Where we keep each file of page number `page`: (storage, key, version, size), in the page's order."""
    write(deps, agent, places_key(tag, page), canonical.dumps([list(one) for one in places]))


def places(deps: Deps, agent: str, tag: str, page: int) -> list[tuple[str, str, str, int]]:
    """AbsentError when we do not hold that page's files."""
    data = read(bucket(deps, agent), places_key(tag, page), MAX_PLACES)
    return [(str(s), str(k), str(v), int(n)) for s, k, v, n in canonical.loads(data, MAX_PLACES)]
