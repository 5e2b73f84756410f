"""The manifest: the signed statement of what a share holds, and the root of its pages (`spec/pieces.md`).

Law: payload bytes <-> checked value; the DSSE envelope around it is `dsse.py`'s. The id of a share is the
SHA-256 of this payload. Importers take everything about manifests from here; entries and pages live in
`pages.py`, writing and reading the tree of them in `page_tree.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from skyswarm.errors import ManifestError, TooLargeError, UnsafePathError
from skyswarm.messages import canonical
from skyswarm.messages.fields import Fields, b64url, from_b64url
from skyswarm.messages.page_tree import MAX_DEPTH, MAX_ROOTS, PageWriter, Totals, page_ids, read_pages
from skyswarm.messages.pages import (
    MAX_INDEX_PAGES,
    MAX_PAGE,
    MAX_PAGE_FILES,
    FileEntry,
    Page,
    check_list,
    check_object,
    dump_index,
    is_media_type,
    object_id,
    parse_index,
)
from skyswarm.messages.urls import parse_endpoint
from skyswarm.pieces.paths import SharePath
from skyswarm.pieces.size import MAX_FILE, MAX_PIECES

__all__ = [
    "MANIFEST_TYPE",
    "MAX_MANIFEST",
    "MAX_PAGE",
    "FileEntry",
    "Manifest",
    "Page",
    "PageWriter",
    "Totals",
    "check_list",
    "check_object",
    "dump_index",
    "is_media_type",
    "object_id",
    "page_ids",
    "parse_index",
    "read_pages",
]

MANIFEST_TYPE = "application/vnd.skyswarm.manifest+json"
MAX_MANIFEST = 64 << 10
MAX_REPOS = 8
NONCE = 16
MAX_NAME = 200
"""UTF-8 bytes: a file's name has 255, and the agents add their own endings."""

Raw = bytes  # `bytes` is a field of Manifest


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a share holds. Checked by `payload` and by `parse`, not while it is being put together.

    `bytes` is the sum of all sizes; `pages` are the ids at the top of the tree, of pages when `index_depth`
    is 0; `created`, `expires` Unix seconds (0: never); `nonce` 16 random bytes, so that two shares of one
    tree have ids, and look-up keys, that nobody can link.
    """

    issuer: str
    name: str
    files: int
    bytes: int
    pieces: int
    pages: tuple[str, ...]
    index_depth: int
    repos: tuple[str, ...]
    created: int
    expires: int
    nonce: Raw

    def payload(self) -> Raw:
        """The canonical bytes to be signed. ManifestError or TooLargeError when the fields break the spec."""
        data = self._dump()
        Manifest.parse(data)
        return data

    @property
    def id(self) -> str:
        """The share's id: hex SHA-256 of the payload."""
        return object_id(self._dump())

    def _dump(self) -> Raw:
        return canonical.dumps(
            {
                "v": 1,
                "kind": "manifest",
                "iss": self.issuer,
                "name": self.name,
                "files": self.files,
                "bytes": self.bytes,
                "pieces": self.pieces,
                "pages": list(self.pages),
                "index_depth": self.index_depth,
                "repos": list(self.repos),
                "created": self.created,
                "exp": self.expires,
                "nonce": b64url(self.nonce),
            }
        )

    @classmethod
    def parse(cls, payload: Raw) -> Manifest:
        """From a payload of anyone; InputError subclasses, nothing else."""
        fields = Fields(canonical.loads(payload, MAX_MANIFEST), "manifest", ManifestError)
        fields.fixed("v", 1)
        fields.fixed("kind", "manifest")
        depth = fields.integer("index_depth", 0, MAX_DEPTH)
        manifest = cls(
            issuer=fields.id("iss"),
            name=_name(fields),
            files=fields.integer("files", 1),
            bytes=fields.integer("bytes"),
            pieces=fields.integer("pieces"),
            pages=fields.ids("pages", MAX_ROOTS),
            index_depth=depth,
            repos=fields.items("repos", MAX_REPOS, lambda item: item.url("item", parse_endpoint)),
            created=fields.time("created"),
            expires=fields.time("exp"),
            nonce=_nonce(fields),
        )
        fields.end()
        manifest._check()
        return manifest

    def _check(self) -> None:
        """What no field says alone."""
        if self.expires and self.expires <= self.created:
            raise ManifestError("manifest: exp must be after created, or 0")
        if len(set(self.repos)) != len(self.repos):
            raise ManifestError("manifest: a repository is named twice")
        if not self.pages:
            raise ManifestError("manifest: pages must not be empty")
        # Each page holds 1 to 1,000 files, each index page 1 to 4,096 pages: more than that is a lie or a
        # bomb.
        if (
            not len(self.pages)
            <= self.files
            <= len(self.pages) * MAX_INDEX_PAGES**self.index_depth * MAX_PAGE_FILES
        ):
            raise ManifestError("manifest: so many files cannot be in so many pages")
        if self.bytes > self.files * MAX_FILE or self.pieces > self.files * MAX_PIECES:
            raise TooLargeError("manifest: more bytes or pieces than its files can have")
        if self.pieces > self.bytes or (self.bytes > 0 and self.pieces == 0):
            raise ManifestError("manifest: bytes and pieces contradict each other")


def _name(fields: Fields) -> str:
    """A share's name is also the name of a file, so it is one part of a path."""
    text = fields.text("name", MAX_NAME, 1)
    try:
        parts = SharePath.parse(text).parts
    except UnsafePathError as error:
        raise fields.fail("name", f"must be usable as a file's name: {error.message}") from error
    if len(parts) != 1 or len(text.encode()) > MAX_NAME:
        raise fields.fail("name", f"must be usable as a file's name: without '/', at most {MAX_NAME} bytes")
    return text


def _nonce(fields: Fields) -> Raw:
    nonce = from_b64url(fields.text("nonce", 22, 22))
    if len(nonce) != NONCE:
        raise fields.fail("nonce", f"must be {NONCE} bytes")
    return nonce
