"""A manifest's entries and piece lists as the workers of a transfer read them.

Law: pages and lists come from our own bucket or from a source, always checked by hash; a few parsed pages are kept in
this process as a memo.
"""

from __future__ import annotations

from skyswarm.errors import DestinationConflictError, ManifestError
from skyswarm.messages.manifest import FileEntry, Manifest, Page, page_ids
from skyswarm.usecases.deps import Deps
from skyswarm.usecases.jobs import Job
from skyswarm.usecases.plan import get_side

_PAGES = ("", "pages")
_MOST_PAGES = 64


def entries(deps: Deps, agent: str, job: Job, manifest: Manifest, page: int) -> tuple[FileEntry, ...]:
    """The entries of a page; a few parsed pages are kept in this process."""
    kept = deps.cache.setdefault(_PAGES, {})
    assert isinstance(kept, dict)
    key = (agent, manifest.id, page)
    known: tuple[FileEntry, ...] | None = kept.get(key)
    if known is not None:
        return known
    ids = page_ids(manifest, lambda one: get_side(deps, agent, job, manifest, one))
    for number, page_id in enumerate(ids):
        if number == page:
            found = Page.parse(get_side(deps, agent, job, manifest, page_id)).files
            if len(kept) >= _MOST_PAGES:
                kept.clear()
            kept[key] = found
            return found
    raise ManifestError(f"the manifest has no page {page}")


def packed(deps: Deps, agent: str, job: Job, manifest: Manifest, entry: FileEntry) -> bytes:
    if entry.pieces is not None:
        return entry.pieces
    return get_side(deps, agent, job, manifest, str(entry.list_id))


def conflict(key: str) -> DestinationConflictError:
    return DestinationConflictError(
        f"{key} is there already and is another file; it was left as it is",
        advice="Use --overwrite, or choose another destination.",
    )
