"""`skyswarm:` links: what a person passes on so that another can ask for a share (`spec/messages.md`).

Law: a link only names (a manifest id) and hints (name, repositories, an endpoint); it grants nothing and is believed
in nothing. One link has one spelling: parsing refuses every other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

from skyswarm.errors import LinkError
from skyswarm.messages.fields import ID, UNSAFE
from skyswarm.messages.urls import parse_endpoint

SCHEME = "skyswarm:"
MAX_LINK = 2048
MAX_NAME = 200
MAX_REPOS = 8

_PAIR = re.compile(r"(name|repo|at)=((?:[A-Za-z0-9._~:/-]|%[0-9A-F]{2})+)")


@dataclass(frozen=True, slots=True)
class Link:
    """`manifest` is the id; `name` is for people ('': none), `repos` and `at` are endpoints to ask. LinkError."""

    manifest: str
    name: str = ""
    repos: tuple[str, ...] = ()
    at: str | None = None

    def __post_init__(self) -> None:
        if ID.fullmatch(self.manifest) is None:
            raise LinkError("a link starts with skyswarm: and a manifest id of 64 lowercase hex digits")
        if len(self.name) > MAX_NAME or UNSAFE.search(self.name):
            raise LinkError(f"a link's name has at most {MAX_NAME} characters and no control characters")
        if len(self.repos) > MAX_REPOS or len(set(self.repos)) != len(self.repos):
            raise LinkError(f"a link names at most {MAX_REPOS} repositories, each once")
        for endpoint in (*self.repos, *([self.at] if self.at is not None else [])):
            parse_endpoint(endpoint, error=LinkError)

    def format(self) -> str:
        """The link as text. LinkError when it is longer than 2 KiB."""
        pairs = [("name", self.name)] if self.name else []
        pairs += [("repo", repo) for repo in self.repos]
        pairs += [("at", self.at)] if self.at is not None else []
        try:
            query = "&".join(f"{key}={quote(value, safe='._~:/-')}" for key, value in pairs)
        except UnicodeEncodeError as error:
            raise LinkError("a link's name is not Unicode text") from error
        text = SCHEME + self.manifest + ("?" + query if query else "")
        if len(text) > MAX_LINK:
            raise LinkError(f"a link of {len(text)} characters, at most {MAX_LINK} are allowed")
        return text


def parse_link(text: str) -> Link:
    """Read a link. LinkError, nothing else."""
    if len(text) > MAX_LINK or not text.startswith(SCHEME):
        raise LinkError(f"a link starts with {SCHEME} and has at most {MAX_LINK} characters")
    manifest, mark, query = text.removeprefix(SCHEME).partition("?")
    found: dict[str, list[str]] = {"name": [], "repo": [], "at": []}
    for pair in query.split("&") if mark else []:
        match = _PAIR.fullmatch(pair)
        if match is None:
            raise LinkError("a link's hints are name, repo and at, percent-encoded")
        try:
            found[match.group(1)].append(unquote(match.group(2), errors="strict"))
        except UnicodeDecodeError as error:
            raise LinkError("a link's hints are percent-encoded UTF-8") from error
    if len(found["name"]) > 1 or len(found["at"]) > 1:
        raise LinkError("a link has one name and one endpoint at most")
    name, at = found["name"], found["at"]
    link = Link(manifest, name[0] if name else "", tuple(found["repo"]), at[0] if at else None)
    if link.format() != text:
        raise LinkError("a link in another spelling than the spec's: name, then repo, then at, encoded once")
    return link
