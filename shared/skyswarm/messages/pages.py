"""The pages of a manifest: file entries, pages of them, and index pages that name pages (`spec/pieces.md`).

Law: bytes in, checked values out, one byte form per value; sizes are limited before anything is parsed. A
page's id is the SHA-256 of its bytes, so that a signed manifest vouches for every page below it. No
signature, no storage here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from skyswarm.errors import ManifestError, TooLargeError
from skyswarm.messages import canonical
from skyswarm.messages.fields import ID, MAX_TIME, b64url, from_b64url
from skyswarm.pieces.digest import RECORD, SHA256, check_packed, content_of
from skyswarm.pieces.hasher import HashedFile
from skyswarm.pieces.paths import SharePath
from skyswarm.pieces.size import BLOCK, MAX_FILE, piece_count

MAX_PAGE = 1 << 20
"""Bytes of a page or an index page."""
MAX_PAGE_FILES = 1000
MAX_INDEX_PAGES = 4096
MIN_TIME = -62_135_596_800
"""The first second of the year 1; files do have dates before 1970."""

_EXTRAS = {"md5": re.compile("[0-9a-f]{32}"), "dropbox": ID, "sha256": ID}
_MD5_OF_NOTHING = "d41d8cd98f00b204e9800998ecf8427e"
_TOKEN = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"  # noqa: S105 - RFC 9110's name of this production
_MEDIA_TYPE = re.compile(rf"{_TOKEN}/{_TOKEN}(?: *;[ -~]*)?")
_KEYS = frozenset({"path", "size", "content", "modified"})
_OPTIONAL = frozenset({"pieces", "list", "type", "extras"})


def object_id(data: bytes) -> str:
    """The name of a page, an index page or a piece list: the SHA-256 of its bytes in hex."""
    return hashlib.sha256(data).hexdigest()


def check_object(name: str, data: bytes) -> bytes:
    """`data`, if `name` is its id; ManifestError otherwise."""
    if object_id(data) != name:
        raise ManifestError(f"what was sent as {name[:12]}… is something else")
    return data


def is_media_type(text: str) -> bool:
    """Whether `text` can be the media type of an entry (storages hold anything their users once wrote)."""
    return len(text) <= 255 and _MEDIA_TYPE.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a share. ManifestError when the fields contradict each other or the spec.

    `size` bytes; `content` its content id; `modified` Unix seconds. Its packed piece records are either here
    (`pieces`, up to MAX_INLINE of them) or in a side object named `list_id` by its SHA-256, never both.
    """

    MAX_INLINE: ClassVar[int] = 16

    path: SharePath
    size: int
    content: str
    pieces: bytes | None
    list_id: str | None
    modified: int
    media_type: str | None = None
    extras: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if type(self.size) is not int or not 0 <= self.size <= MAX_FILE:
            raise self._wrong("size must be an integer up to the largest file's")
        if type(self.modified) is not int or not MIN_TIME <= self.modified <= MAX_TIME:
            raise self._wrong("modified must be Unix seconds of a year from 1 to 9999")
        if type(self.content) is not str or ID.fullmatch(self.content) is None:
            raise self._wrong("content must be 64 lowercase hex digits")
        count = piece_count(self.size)
        if count > self.MAX_INLINE:
            if self.pieces is not None or type(self.list_id) is not str or ID.fullmatch(self.list_id) is None:
                raise self._wrong(f"its {count} pieces must be in a list named by 64 lowercase hex digits")
        elif self.list_id is not None or self.pieces is None or len(self.pieces) != count * RECORD:
            raise self._wrong(f"its {count} pieces must be in the entry")
        elif content_of(self.pieces) != self.content:
            raise self._wrong("content is not the id of its pieces")
        if self.media_type is not None and not (
            type(self.media_type) is str and is_media_type(self.media_type)
        ):
            raise self._wrong("type must be a media type of at most 255 characters")
        if self.extras:
            self._check_extras(count)

    def _wrong(self, what: str) -> ManifestError:
        return ManifestError(f"{self.path.text!a}: {what}")

    def _check_extras(self, count: int) -> None:
        for name, value in self.extras.items():
            shape = _EXTRAS.get(name)
            if shape is None or type(value) is not str or shape.fullmatch(value) is None:
                raise self._wrong("extras are md5, dropbox and sha256, in lowercase hex")
        # Of at most one piece (one block) these say the same thing twice, so a lie shows without reading a
        # byte.
        known: dict[str, str] = {}
        if count == 0:
            known = {"md5": _MD5_OF_NOTHING, "sha256": self.content, "dropbox": self.content}
        elif count == 1 and self.pieces is not None:
            known["sha256"] = self.pieces[:SHA256].hex()
            if self.size <= BLOCK:
                known["dropbox"] = self.content
        for name, value in known.items():
            if self.extras.get(name, value) != value:
                raise self._wrong(f"{name} is not that of its pieces")

    @staticmethod
    def list_name(packed: bytes) -> str:
        """The `list_id` of packed piece records."""
        return object_id(packed)

    @classmethod
    def of(
        cls, path: SharePath, hashed: HashedFile, modified: int, media_type: str | None = None
    ) -> tuple[FileEntry, bytes | None]:
        """The entry of a file that was hashed, and its side list when it needs one (kept under `list_id`).

        A media type that is none is left out.
        """
        aside = piece_count(hashed.size) > cls.MAX_INLINE
        entry = cls(
            path=path,
            size=hashed.size,
            content=hashed.content,
            pieces=None if aside else hashed.pieces,
            list_id=cls.list_name(hashed.pieces) if aside else None,
            modified=modified,
            media_type=media_type if media_type is not None and is_media_type(media_type) else None,
            extras=hashed.extras,
        )
        return entry, hashed.pieces if aside else None

    @property
    def count(self) -> int:
        """Number of pieces."""
        return piece_count(self.size)

    def to_json(self) -> dict[str, Any]:
        """The wire object; what has no value is absent."""
        out: dict[str, Any] = {
            "path": self.path.text,
            "size": self.size,
            "content": self.content,
            "modified": self.modified,
        }
        if self.pieces is not None:
            out["pieces"] = b64url(self.pieces)
        if self.list_id is not None:
            out["list"] = self.list_id
        if self.media_type is not None:
            out["type"] = self.media_type
        if self.extras:
            out["extras"] = dict(self.extras)
        return out

    @classmethod
    def from_json(cls, value: Any) -> FileEntry:
        """The opposite of `to_json`; ManifestError, UnsafePathError or MalformedError."""
        if type(value) is not dict or not value.keys() >= _KEYS or value.keys() - _KEYS - _OPTIONAL:
            raise ManifestError("a file entry with a missing or an unknown field")
        pieces, extras = value.get("pieces"), value.get("extras", {})
        if None in value.values() or type(extras) is not dict or ("extras" in value and not extras):
            raise ManifestError("a file entry with an empty field, which must be absent")
        if "pieces" in value and type(pieces) is not str:
            raise ManifestError("a file entry whose pieces are not text")
        return cls(
            path=SharePath.parse(value["path"]),
            size=value["size"],
            content=value["content"],
            pieces=None if pieces is None else from_b64url(pieces),
            list_id=value.get("list"),
            modified=value["modified"],
            media_type=value.get("type"),
            extras=extras,
        )


def check_list(entry: FileEntry, packed: bytes) -> bytes:
    """`packed`, if it is the piece list that `entry` names and gives its content id; ManifestError
    otherwise."""
    if check_packed(packed) != entry.count:
        raise ManifestError(f"{entry.path.text!a}: a piece list of the wrong length")
    if entry.list_id is not None:
        check_object(entry.list_id, packed)
    if content_of(packed) != entry.content:
        raise ManifestError(f"{entry.path.text!a}: content is not the id of its piece list")
    return packed


@dataclass(frozen=True, slots=True)
class Page:
    """Up to MAX_PAGE_FILES entries, at least one."""

    files: tuple[FileEntry, ...]

    def dump(self) -> bytes:
        """Canonical bytes. TooLargeError when it would be too long or hold too many files."""
        return join_page([canonical.dumps(entry.to_json()) for entry in self.files])

    @property
    def id(self) -> str:
        """The SHA-256 of its bytes in hex."""
        return object_id(self.dump())

    @classmethod
    def parse(cls, data: bytes) -> Page:
        """From bytes of anyone; InputError subclasses, nothing else."""
        files = _listed(data, "page", {"v", "kind", "files"}, "files", MAX_PAGE_FILES)
        return cls(tuple([FileEntry.from_json(one) for one in files]))


_HEAD, _TAIL = b'{"files":[', b'],"kind":"page","v":1}'
FRAME = len(_HEAD) + len(_TAIL)
"""Bytes of a page without its entries and the commas between them."""


def join_page(entries: Iterable[bytes]) -> bytes:
    """The page of entries that are in canonical form already, each dumped only once."""
    listed = list(entries)
    if not 1 <= len(listed) <= MAX_PAGE_FILES:
        raise TooLargeError(f"a page of {len(listed)} files; it has 1 to {MAX_PAGE_FILES}")
    data = _HEAD + b",".join(listed) + _TAIL
    if len(data) > MAX_PAGE:
        raise TooLargeError(f"a page of {len(data)} bytes, at most {MAX_PAGE} are allowed")
    return data


def dump_index(pages: Iterable[str], depth: int) -> bytes:
    """An index page: at depth 1 it names pages, at depth 2 index pages of depth 1."""
    return canonical.dumps({"v": 1, "kind": "index", "depth": depth, "pages": list(pages)})


def parse_index(data: bytes, depth: int | None = None) -> tuple[str, ...]:
    """The ids in an index page from anyone, of that depth (None: of any). InputError subclasses, nothing
    else."""
    pages = _listed(data, "index", {"v", "kind", "depth", "pages"}, "pages", MAX_INDEX_PAGES, depth)
    return ids(pages)


def ids(values: list[Any]) -> tuple[str, ...]:
    """Strings of 64 lowercase hex digits; ManifestError otherwise."""
    for one in values:
        if type(one) is not str or ID.fullmatch(one) is None:
            raise ManifestError("a page id is 64 lowercase hex digits")
    return tuple(values)


def _listed(
    data: bytes, kind: str, keys: set[str], name: str, most: int, depth: int | None = None
) -> list[Any]:
    value = canonical.loads(data, MAX_PAGE)
    if type(value) is not dict or value.keys() != keys:
        raise ManifestError(f"{kind}: not an object with exactly the fields {', '.join(sorted(keys))}")
    if value["v"] is True or value["v"] != 1 or value["kind"] != kind:
        raise ManifestError(f"not a {kind} of version 1")
    if "depth" in keys and (
        type(value["depth"]) is not int
        or value["depth"] not in (1, 2)
        or (depth is not None and value["depth"] != depth)
    ):
        raise ManifestError("an index page of another depth")
    listed = value[name]
    if type(listed) is not list or not 1 <= len(listed) <= most:
        raise ManifestError(f"{kind}: {name} must be a list of 1 to {most}")
    return listed
