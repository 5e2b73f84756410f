"""Names of S3: keys, version tokens and upload ids, made and parsed only here.

Law: no I/O. A token is `<etag>`, in a versioned bucket `<etag>@<version id>`. An upload id holds all that is needed
to go on with the upload, in any process.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from skyswarm.errors import AbsentError, UnsafePathError

MAX_KEY = 1024
MARK = "skyswarm-upload"
"""Object metadata that says by which upload an object was made: `finish` after a lost answer knows its own by it."""


def check_key(prefix: str, key: str) -> str:
    """The full name in the bucket. UnsafePathError: what S3 cannot hold, or URLs cannot name."""
    name = prefix + key
    try:
        size = len(name.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise UnsafePathError("a key that is not UTF-8") from error
    if size > MAX_KEY:
        raise UnsafePathError(f"a key of {size} bytes, S3 holds at most {MAX_KEY}: {key[:80]}…")
    if any(part in {"", ".", ".."} for part in key.split("/")) or "\0" in key:
        raise UnsafePathError(f"the key {key!r} has an empty or a dot component, or a NUL")
    return name


def token(etag: str, version: str | None) -> str:
    """The version token of one state. `version` None: the bucket keeps no versions."""
    bare = etag.strip('"')
    return f"{bare}@{version}" if version else bare


def split(version: str) -> tuple[str, str]:
    """ETag, quoted as S3 wants it, and version id ('' without one)."""
    etag, _, identity = version.partition("@")
    return '"' + "".join(sign for sign in etag if " " <= sign <= "~" and sign != '"') + '"', identity


@dataclass(frozen=True, slots=True)
class Upload:
    """One multipart upload. `slot` names its note, `mark` is in the metadata of what it makes."""

    key: str
    size: int
    piece: int
    id: str
    slot: str
    mark: str

    @property
    def count(self) -> int:
        """How many parts; 0 for an empty object."""
        return -(-self.size // self.piece)

    def length(self, index: int) -> int:
        """The bytes of part `index`, 0 when there is no such part."""
        return max(0, min(self.piece, self.size - index * self.piece)) if index >= 0 else 0

    def dump(self) -> str:
        return json.dumps([self.size, self.piece, self.id, self.slot, self.mark, self.key], ensure_ascii=True)

    @classmethod
    def parse(cls, text: str) -> Upload:
        """AbsentError: it is none of ours."""
        try:
            size, piece, identity, slot, mark, key = json.loads(text)
        except (ValueError, TypeError) as error:
            raise AbsentError("there is no such upload") from error
        texts = isinstance(key, str) and all(isinstance(one, str) for one in (identity, slot, mark))
        if not (texts and isinstance(size, int) and isinstance(piece, int) and size >= 0 and piece > 0):
            raise AbsentError("there is no such upload")
        return cls(key, size, piece, identity, slot, mark)
