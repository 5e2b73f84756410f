"""The settings of one agent process, `config.json` in its home.

Law: bytes in, one frozen value out; a field that is unknown, missing or of another shape is refused with its name.
People edit this file, so it is indented JSON; no secrets in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from skyswarm.errors import SetupError

MAX_CONFIG = 1 << 20
ROLES = ("agent", "repository")

_AGENT = re.compile(r"[0-9a-f]{64}")
_STORAGE = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_PRICED = re.compile(r"[a-z][a-z0-9]{0,15}(/[a-z0-9-]{1,40})?")
_HOST = re.compile(r"[A-Za-z0-9.:_-]{1,255}")
_FIELDS = frozenset(
    {"v", "name", "agent", "host", "port", "public_url", "storages", "repos", "role", "fsync"}
)


@dataclass(frozen=True, slots=True)
class StorageConfig:
    """One storage of the user. `kind` folder: `path` absolute, or relative to the home. `priced_as`: the kind whose
    prices count for it, such as `s3/eu-central-1` when the folder is a bucket that is mounted here."""

    kind: str
    path: str
    priced_as: str = "folder"


@dataclass(frozen=True, slots=True)
class Config:
    """`name` is the agent's petname of itself, `agent` its id; `host` and `port` are listened on, `public_url` is
    what others reach it by (None: as listened on). `fsync` False: faster, but a power cut may take finished files."""

    name: str
    agent: str
    host: str = "127.0.0.1"
    port: int = 0
    public_url: str | None = None
    storages: Mapping[str, StorageConfig] = field(default_factory=lambda: MappingProxyType({}))
    repos: tuple[str, ...] = ()
    role: str = "agent"
    fsync: bool = True

    def dump(self) -> bytes:
        """The file. SetupError when a field is not as `parse` would have it: what cannot be read is not written."""
        for one in self.storages.values():
            if not one.path.isprintable():  # nor are bytes that are no UTF-8, which some systems allow
                raise SetupError(
                    f"{one.path!r} cannot be a storage: its path is not printable text in UTF-8",
                    advice="Rename that folder, or the one that holds it.",
                )
        doc = {
            "v": 1,
            "name": self.name,
            "agent": self.agent,
            "role": self.role,
            "host": self.host,
            "port": self.port,
            "public_url": self.public_url,
            "storages": {
                key: {"kind": one.kind, "path": one.path}
                | ({} if one.priced_as == one.kind else {"priced_as": one.priced_as})
                for key, one in sorted(self.storages.items())
            },
            "repos": list(self.repos),
            "fsync": self.fsync,
        }
        try:
            data = json.dumps(doc, indent=2, ensure_ascii=False).encode() + b"\n"
        except UnicodeEncodeError as error:
            raise SetupError(
                f"{error.object[error.start :][:1]!r} is not text that settings can hold"
            ) from error
        parse(data)
        return data


def parse(data: bytes) -> Config:
    """The settings in a file. SetupError names the field that is wrong."""
    try:
        doc = json.loads(data.decode("utf-8"), object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, numbers too long, too deep
        raise SetupError(f"config.json is not JSON: {error}", advice="Mend it, or restore a copy.") from error
    _need(isinstance(doc, dict), "it", "an object")
    for name in sorted(doc.keys() ^ _FIELDS):
        raise SetupError(f"config.json: {'unknown' if name in doc else 'missing'} field {name!r}")
    _need(doc["v"] == 1 and doc["v"] is not True, "v", "1 (or this installation is too old for it)")
    _need(_text(doc["name"], 64), "name", "1 to 64 printable characters")
    _need(_match(_AGENT, doc["agent"]), "agent", "64 lowercase hex digits")
    _need(_match(_HOST, doc["host"]), "host", "a host name or address")
    _need(type(doc["port"]) is int and 0 <= doc["port"] <= 65535, "port", "0 to 65535")
    _need(
        doc["public_url"] is None or _url(doc["public_url"]),
        "public_url",
        "null or an http(s) URL without '?'",
    )
    _need(isinstance(doc["repos"], list) and all(_url(one) for one in doc["repos"]), "repos", "http(s) URLs")
    _need(len(set(doc["repos"])) == len(doc["repos"]), "repos", "URLs given once each")
    _need(doc["role"] in ROLES, "role", " or ".join(ROLES))
    _need(isinstance(doc["fsync"], bool), "fsync", "true or false")
    _need(isinstance(doc["storages"], dict), "storages", "an object")
    return Config(
        name=doc["name"],
        agent=doc["agent"],
        host=doc["host"],
        port=doc["port"],
        public_url=doc["public_url"],
        storages=MappingProxyType({name: _storage(name, one) for name, one in doc["storages"].items()}),
        repos=tuple(doc["repos"]),
        role=doc["role"],
        fsync=doc["fsync"],
    )


def _storage(name: str, doc: Any) -> StorageConfig:
    where = f"storages.{name}"
    _need(_match(_STORAGE, name), where, "named by up to 32 of a-z, 0-9, '_' and '-'")
    _need(
        isinstance(doc, dict) and doc.keys() - {"priced_as"} == {"kind", "path"},
        where,
        "an object of kind and path",
    )
    _need(doc["kind"] == "folder", f"{where}.kind", "folder")
    _need(_text(doc["path"], 4096), f"{where}.path", "a path")
    priced_as = doc.get("priced_as", doc["kind"])
    _need(_match(_PRICED, priced_as), f"{where}.priced_as", "a kind of storage such as s3/eu-central-1")
    return StorageConfig(doc["kind"], doc["path"], priced_as)


def _need(met: bool, name: str, wanted: str) -> None:
    if not met:
        raise SetupError(f"config.json: {name} must be {wanted}")


def _match(pattern: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _text(value: Any, most: int) -> bool:
    return isinstance(value, str) and 0 < len(value) <= most and value.isprintable()


def _url(value: Any) -> bool:
    if not _text(value, 2048) or " " in value:
        return False
    try:
        parts = urlsplit(value)
        return (
            parts.scheme in ("http", "https") and bool(parts.hostname) and not (parts.query or parts.fragment)
        )
    except ValueError:
        return False


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise SetupError("config.json: a field is given twice")
    return out
