"""Finding who holds a share: every repository is asked at once, and none of them is believed.

Law: what leaves this agent is a look-up key, from which nobody can tell the manifest unless he knows it. An answer
counts when the announcement names the key, has not expired, and is signed by the key that its issuer's own chain
gives. A repository that is slow, dead or lying costs nothing but its own answer. `spec/repositories.md`, "Look-ups".
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass

from skyswarm.errors import InputError, MalformedError, SkyError
from skyswarm.messages.fields import ID, b64url
from skyswarm.messages.repository import AnnounceRequest, LookupReply, StatementsPage
from skyswarm.messages.statements import Announce, parse_signed
from skyswarm.usecases import repos as known
from skyswarm.usecases import wire
from skyswarm.usecases.chains import replayed, store_genuine
from skyswarm.usecases.deps import Deps
from skyswarm.usecases.repos import Repo, parse_repo
from skyswarm.usecases.views import row_of

GRACE = 0.3
"""Seconds that the others still get once one repository has named somebody."""
GRACE_EMPTY = 2.0
"""The same once one has answered that it knows nobody."""
_CONTEXT = b"skyswarm/v1/lookup"


@dataclass(frozen=True, slots=True)
class Found:
    """An agent that says it holds the share, where it is, and which repository (id) knew it."""

    agent: str
    endpoint: str
    announce: Announce
    repo: str


def lookup_key(manifest_id: str) -> str:
    """The key under which a share is announced: base64url of HMAC-SHA256 with the manifest id as its key."""
    if ID.fullmatch(manifest_id) is None:
        raise MalformedError("a manifest id is 64 lowercase hex digits")
    return b64url(hmac.digest(bytes.fromhex(manifest_id), _CONTEXT, hashlib.sha256))


def locate(deps: Deps, agent: str, manifest_id: str, repos: Sequence[str], executor: Executor) -> list[Found]:
    """Who announces this share at any of these repositories (URLs), freshest first, each agent once.

    Waits at most `Limits.lookup_timeout` for the first answer, and only briefly for the others after it. Repositories
    that rest after a failure are asked only when there is no other. Raises nothing but MalformedError.
    """
    key = lookup_key(manifest_id)
    asked = _worth_asking(deps, agent, repos)
    waiting: set[Future[list[Found]]] = {executor.submit(_ask, deps, agent, repo, key) for repo in asked}
    found: dict[str, Found] = {}
    patience = deps.limits.lookup_timeout
    while waiting:
        done, waiting = wait(waiting, timeout=patience, return_when=FIRST_COMPLETED)
        if not done:
            break
        for one in (one for future in done for one in _result(future)):
            old = found.get(one.agent)
            if old is None or one.announce.serial > old.announce.serial:
                found[one.agent] = one
        answered = any(future.exception() is None for future in done)
        patience = min(patience, GRACE if found else GRACE_EMPTY if answered else patience)
    for future in waiting:
        future.cancel()
    return sorted(found.values(), key=lambda one: (-one.announce.serial, one.agent))


def _worth_asking(deps: Deps, agent: str, urls: Sequence[str]) -> tuple[Repo, ...]:
    repos: dict[str, Repo] = {}
    for url in urls:
        try:
            repo = parse_repo(url)
        except InputError:
            continue  # of a link or manifest: the other repositories may know
        repos[repo.url] = repo
    every = tuple(repos.values())
    return known.awake(deps, agent, every) or every


def _result(future: Future[list[Found]]) -> list[Found]:
    try:
        return future.result()
    except SkyError:
        return []


def _ask(deps: Deps, agent: str, repo: Repo, key: str) -> list[Found]:
    """One repository's answer, as far as it proves itself."""
    body = wire.get(deps, f"{repo.url}/v1/lookup/{key}", timeout=deps.limits.lookup_timeout)
    out = []
    for row in LookupReply.parse(body).found:
        try:
            out.append(_checked(deps, agent, repo, key, row))
        except SkyError:
            continue  # one bad row says nothing about the others
    return out


def _checked(deps: Deps, agent: str, repo: Repo, key: str, row: AnnounceRequest) -> Found:
    signed = parse_signed(row.announce)
    event = signed.statement
    if not isinstance(event, Announce) or key not in event.lookups or event.exp <= deps.clock():
        raise MalformedError("not an announcement of this share, or expired")
    chain = row.chain
    if not chain and not deps.statements.of(agent, event.iss, 0, 1):
        page = wire.get(
            deps,
            f"{repo.url}/v1/statements?issuer={event.iss}&seq=0",
            timeout=deps.limits.lookup_timeout,
        )
        chain = StatementsPage.parse(page).statements
    brought = [row_of(parse_signed(one), deps.clock()) for one in chain]
    store_genuine(deps, agent, [one for one in brought if one.issuer == event.iss])
    with replayed(deps, agent, event.iss) as (line, _):
        keys = line.keys
    if keys is None or keys.retired:
        raise MalformedError("an announcement of nobody known, or of an agent that retired")
    signed.envelope.verify(keys.key)
    return Found(event.iss, event.endpoint, event, repo.id)
