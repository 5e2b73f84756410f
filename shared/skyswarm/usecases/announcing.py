"""Telling repositories which shares are held here, and renewing it before it expires.

Law: what is told are look-up keys, 64 per part, signed once and brought to every repository alike. A part is brought
again when it changed, when half of its life is over, or when that repository did not take it. What each repository
has is remembered in Notes under `announced/<repo id>`; losing that costs some announcements twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from skyswarm.errors import AbsentError, ConflictError, SequenceError, SkyError
from skyswarm.messages import canonical
from skyswarm.messages.dsse import seal
from skyswarm.messages.repository import AnnounceReply, AnnounceRequest
from skyswarm.messages.statements import MAX_LOOKUPS, Announce, Head, payload_type
from skyswarm.ports.records import Entry, Share
from skyswarm.usecases import repos, wire
from skyswarm.usecases.chains import replayed
from skyswarm.usecases.deps import Deps
from skyswarm.usecases.lookup import lookup_key
from skyswarm.usecases.pushing import push
from skyswarm.usecases.repos import Repo, parse_repo

MAX_PARTS = 4096
_MAX_NOTE = 1 << 20


@dataclass(frozen=True, slots=True)
class _Told:
    """What a repository was told: the parts' digests, and when the first of them expires (Unix s)."""

    parts: tuple[str, ...] = ()
    expires: int = 0
    version: int = field(default=0, compare=False)


def announce_all(deps: Deps, agent: str, urls: Sequence[str], endpoint: str) -> float:
    """Announce every share of `agent` at `endpoint` to these repositories, as far as it is due.

    Returns when to call again (Unix s). The error of a repository is remembered in its State and rests it; it never
    stops another. AbsentError when the agent has no key here.
    """
    parts = _parts(deps, agent)
    now = deps.clock()
    due = now + deps.limits.announce_ttl / 2
    for url in urls:
        repo = parse_repo(url)
        if rest := repos.resting(deps, agent, repo.id):
            due = min(due, rest)
            continue
        try:
            due = min(due, _announce(deps, agent, repo, endpoint, parts))
            repos.worked(deps, agent, repo.id)
        except SkyError as error:
            due = min(due, repos.failed(deps, agent, repo.id, error).retry_at)
    return due


def _announce(deps: Deps, agent: str, repo: Repo, endpoint: str, parts: list[tuple[str, ...]]) -> float:
    """Bring what is due to one repository; when to do it again."""
    with replayed(deps, agent, agent) as (line, _):
        if not line.accepted:
            raise AbsentError("this agent has no inception yet")
        newest = line.accepted[-1].statement
    head = Head(newest.seq, newest.id)
    told = _told(deps, agent, repo.id)
    now, life = deps.clock(), deps.limits.announce_ttl
    # One that would expire later than any does was made while our clock was ahead: nobody holds it by now.
    renew = not now + life / 2 <= told.expires <= now + life
    # Parts that were there and are no more are told to be empty, or they would be found until they expire.
    every = parts + [()] * (len(told.parts) - len(parts))
    # A new head is told by the first part alone; the others follow when they are due.
    digests = tuple(_digest(part, endpoint, "" if number else head.id) for number, part in enumerate(every))
    stale: set[int] = set()
    for number, part in enumerate(every):
        if renew or told.parts[number : number + 1] != digests[number : number + 1]:
            event = Announce(agent, number, int(now * 1000), endpoint, head, part, int(now + life))
            envelope = seal(payload_type(event.kind), event.payload(), deps.keys.current(agent)).dump()
            if not _bring(deps, agent, repo, envelope):
                stale.add(
                    number
                )  # a later one of ours is there, made while our clock was ahead: told again soon
    expires = int(now + life) if renew else told.expires
    kept = tuple("" if number in stale else one for number, one in enumerate(digests))
    kept = kept[: max(1, len(parts), *(number + 1 for number in stale))]
    _tell(deps, agent, repo.id, _Told(kept, expires, told.version))
    return expires - life / 2


def _bring(deps: Deps, agent: str, repo: Repo, envelope: bytes) -> bool:
    """One announcement; with our whole chain first when the repository lacks some of it. Whether it was news there."""
    url = f"{repo.url}/v1/announce"
    try:
        return AnnounceReply.parse(wire.post(deps, url, AnnounceRequest(envelope).dump())).fresh
    except SequenceError:
        push(deps, agent, repo.url, afresh=True)
        return AnnounceReply.parse(wire.post(deps, url, AnnounceRequest(envelope).dump())).fresh


def _parts(deps: Deps, agent: str) -> list[tuple[str, ...]]:
    """The look-up keys of all live shares, sorted, 64 to a part; one empty part when there is none."""
    keys: list[str] = []
    after, now = "", deps.clock()
    while page := deps.shares.page(agent, after, 1000):
        keys += (lookup_key(share.manifest) for share in page if _live(share, now))
        after = page[-1].manifest
    keys.sort()
    cut = [tuple(keys[at : at + MAX_LOOKUPS]) for at in range(0, len(keys), MAX_LOOKUPS)]
    return cut[:MAX_PARTS] or [()]


def _live(share: Share, now: float) -> bool:
    return share.expires == 0 or share.expires > now


def _digest(part: tuple[str, ...], endpoint: str, head: str) -> str:
    return hashlib.sha256("\n".join((endpoint, head, *part)).encode()).hexdigest()[:16]


def _told(deps: Deps, agent: str, repo: str) -> _Told:
    row = deps.notes.get(agent, f"announced/{repo}")
    if row is None:
        return _Told()
    value = canonical.loads(row.value, _MAX_NOTE)
    return _Told(tuple(value["parts"]), value["expires"], row.version)


def _tell(deps: Deps, agent: str, repo: str, told: _Told) -> None:
    value = canonical.dumps({"v": 1, "parts": list(told.parts), "expires": told.expires})
    try:
        deps.notes.put(agent, Entry(f"announced/{repo}", value, told.version))
    except ConflictError:
        return  # another process of this agent has announced as well: it is told either way
