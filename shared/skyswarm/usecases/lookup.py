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
from dataclasses import dataclass, field, replace

from skyswarm.errors import InputError, MalformedError, RepositoryUnreachableError, SignatureError, SkyError
from skyswarm.messages.fields import ID, b64url
from skyswarm.messages.repository import AnnounceRequest, LookupReply
from skyswarm.messages.statements import Announce, Signed, parse_signed
from skyswarm.messages.status import shown
from skyswarm.usecases import intake, wire
from skyswarm.usecases import repos as known
from skyswarm.usecases.chains import replayed
from skyswarm.usecases.deps import Deps
from skyswarm.usecases.logreading import read_chain
from skyswarm.usecases.repos import Repo, parse_repo
from skyswarm.usecases.views import row_of

GRACE = 0.3
"""Seconds that the others still get once one repository has named somebody."""
GRACE_EMPTY = 2.0
"""The same once one has answered that it knows nobody."""
_NAMED = 80
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


@dataclass(frozen=True, slots=True)
class Answers:
    """What a look-up brought: the agents found, those first whom a repository named first (which is who came to it
    first: an announcement's serial is anybody's to choose); which repositories (URLs) answered, and why the others
    did not (those that were too slow for this look-up say so); `unusable`: addresses of none, as they were named."""

    found: tuple[Found, ...]
    answered: tuple[str, ...]
    failed: dict[str, SkyError]
    unusable: dict[str, InputError] = field(default_factory=dict)

    def nobody(self, what: str) -> str:
        """Who was asked, and why nobody could be named; what could not be asked, and why."""
        told = self._nobody(what)
        if not self.unusable:
            return told
        why = next(iter(self.unusable.values())).message
        same = [shown(url, _NAMED) for url, one in self.unusable.items() if one.message == why][:2]
        count = f"{len(self.unusable)} address{'' if len(self.unusable) == 1 else 'es'}"
        more = " and more" if len(same) < len(self.unusable) else ""
        odd = f"{count} could not be asked ({', '.join(same)}{more}: {why})"
        if not self.answered and not self.failed:
            return f"no repository could be asked who holds {what}: {odd}"
        return f"{told}; {odd}"

    def _nobody(self, what: str) -> str:
        silent = [f"{url.rpartition('/a/')[0]}: {why.message}" for url, why in self.failed.items()]
        asked = len(self.answered) + len(silent)
        count = f"{asked} repositor{'y' if asked == 1 else 'ies'} asked"
        if not asked:
            return f"no repository could be asked who holds {what}: the link names none, and you use none"
        if not silent:
            return f"{count}, nobody has announced {what} yet"
        reasons = "; ".join(silent[:3])
        if self.answered:
            return f"{count}, {len(silent)} did not answer ({reasons}); nobody has announced {what} yet at the others"
        return f"repository {reasons}" if asked == 1 else f"{count}, none did answer ({reasons})"


def locate(deps: Deps, agent: str, manifest_id: str, repos: Sequence[str], executor: Executor) -> list[Found]:
    """Who announces this share at any of these repositories (URLs), each agent once. As `look_up`."""
    return list(look_up(deps, agent, manifest_id, repos, executor).found)


def look_up(deps: Deps, agent: str, manifest_id: str, urls: Sequence[str], executor: Executor) -> Answers:
    """Ask these repositories who announces the share, each agent once.

    Waits at most `Limits.lookup_timeout` for the first answer, and only briefly for the others after it. Repositories
    that rest after a failure are asked only when the others know nobody; one that answers rests no longer. Raises
    nothing but MalformedError.
    """
    key = lookup_key(manifest_id)
    every, unusable = _sound(urls)
    first = known.awake(deps, agent, every)
    answers = _ask_all(deps, agent, key, first, executor)
    resting = tuple(repo for repo in every if repo not in first)
    if answers.found or not resting:
        return replace(answers, unusable=unusable)
    late = _ask_all(deps, agent, key, resting, executor)
    return Answers(late.found, answers.answered + late.answered, answers.failed | late.failed, unusable)


def _ask_all(deps: Deps, agent: str, key: str, asked: tuple[Repo, ...], executor: Executor) -> Answers:
    running: dict[Future[list[Found]], Repo] = {
        executor.submit(_ask, deps, agent, repo, key): repo for repo in asked
    }
    waiting = set(running)
    found: dict[str, Found] = {}
    places: dict[str, int] = {}
    answered: list[str] = []
    slow = RepositoryUnreachableError("it does not answer in time", advice="It is tried again by itself.")
    failed: dict[str, SkyError] = {repo.url: slow for repo in asked}
    patience = deps.limits.lookup_timeout
    while waiting:
        done, waiting = wait(waiting, timeout=patience, return_when=FIRST_COMPLETED)
        if not done:
            break
        for future in done:
            url = running[future].url
            try:
                brought = future.result()
            except SkyError as error:
                failed[url] = error
                continue
            answered.append(url)
            del failed[url]
            for place, one in enumerate(brought):
                places[one.agent] = min(place, places.get(one.agent, place))
                old = found.get(one.agent)
                if old is None or one.announce.serial > old.announce.serial:
                    found[one.agent] = one
        patience = min(patience, GRACE if found else GRACE_EMPTY if answered else patience)
    for future in waiting:
        future.cancel()
    first = sorted(found.values(), key=lambda one: (places[one.agent], -one.announce.serial, one.agent))
    return Answers(tuple(first), tuple(answered), failed)


def _sound(urls: Sequence[str]) -> tuple[tuple[Repo, ...], dict[str, InputError]]:
    """The repositories that can be asked, and why what else was named (by a link or manifest) cannot."""
    repos: dict[str, Repo] = {}
    unusable: dict[str, InputError] = {}
    for url in urls:
        try:
            repo = parse_repo(url)
        except InputError as error:
            unusable[url] = error  # the other repositories may know
        else:
            repos[repo.url] = repo
    return tuple(repos.values()), unusable


def _ask(deps: Deps, agent: str, repo: Repo, key: str) -> list[Found]:
    """One repository's answer, as far as it proves itself."""
    body = wire.get(deps, f"{repo.url}/v1/lookup/{key}", timeout=deps.limits.lookup_timeout)
    rows = LookupReply.parse(body).found
    known.rouse(deps, agent, repo.id)
    out = []
    end = deps.clock() + deps.limits.lookup_timeout
    for row in rows:
        try:
            out.append(_checked(deps, agent, repo, key, row, end))
        except SkyError:
            continue  # one bad row says nothing about the others
    return out


def _checked(deps: Deps, agent: str, repo: Repo, key: str, row: AnnounceRequest, end: float) -> Found:
    """The row, when it proves itself. What is read for that besides it is read until `end` (Unix s)."""
    signed = parse_signed(row.announce)
    event = signed.statement
    if not isinstance(event, Announce) or key not in event.lookups or event.exp <= deps.clock():
        raise MalformedError("not an announcement of this share, or expired")
    brought = [row_of(parse_signed(one), deps.clock()) for one in row.chain]
    intake.genuine(deps, agent, repo.id, [one for one in brought if one.issuer == event.iss])
    try:
        _verify(deps, agent, signed, event)
    except (MalformedError, SignatureError):
        if row.chain or deps.clock() >= end:
            raise
        read_chain(deps, agent, repo, event.iss, deps.limits.lookup_timeout)
        _verify(deps, agent, signed, event)
    return Found(event.iss, event.endpoint, event, repo.id)


def _verify(deps: Deps, agent: str, signed: Signed, event: Announce) -> None:
    with replayed(deps, agent, event.iss) as (line, _):
        keys = line.keys
    if keys is None or keys.retired:
        raise MalformedError("an announcement of nobody known, or of an agent that retired")
    signed.envelope.verify(keys.key)
