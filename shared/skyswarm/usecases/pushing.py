"""Handing our own statements in at a repository, so that each agent alone can refill an empty one.

Law: only our own chain is handed in, in order, and handing in twice changes nothing. What a repository *says* it took
is a promise (`pushed`); what its verified log holds is a fact (`mine`). `logreading.py` compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from skyswarm.errors import RepositoryError, SequenceError
from skyswarm.messages.repository import MAX_BATCH, MAX_BODY
from skyswarm.messages.requests import SubmitReply, SubmitRequest
from skyswarm.usecases import repos, wire
from skyswarm.usecases.chains import replayed
from skyswarm.usecases.deps import Deps
from skyswarm.usecases.repos import Repo, State, parse_repo

_ROOM = MAX_BODY - 1024


@dataclass(frozen=True, slots=True)
class _Own:
    seq: int
    id: str
    kind: str
    envelope: bytes


def push(deps: Deps, agent: str, url: str, *, afresh: bool = False) -> int:
    """Hand in what the repository is not known to hold of our chain; how many statements it took.

    `afresh`: whatever it said that it took before. Idempotent. Raises what the repository answers: QuotaError,
    SequenceError, SignatureError, RepositoryUnreachableError, …
    """
    repo = parse_repo(url)
    chain = _own(deps, agent)
    held = repos.state(deps, agent, repo.id)
    if _replaced(chain, held.mine, held.mine_head) or (
        held.pushed > held.mine and _replaced(chain, held.pushed, held.pushed_head)
    ):
        held = _recount(deps, agent, repo, chain)
    start = held.mine if afresh else max(held.mine, held.pushed)
    try:
        return _hand_in(deps, agent, repo, [one for one in chain if one.seq >= start])
    except SequenceError:
        if start == 0:
            raise
        return _hand_in(deps, agent, repo, chain)


def _own(deps: Deps, agent: str) -> list[_Own]:
    """Our chain as it counts, what recoveries undid included."""
    with replayed(deps, agent, agent) as (line, rows):
        by_id = {row.id: row for row in rows}
        ids = [one for node in line.accepted for one in (node.undoes, node.id) if one is not None]
    return [_Own(by_id[one].seq, one, by_id[one].kind, by_id[one].envelope) for one in ids]


def _id_at(chain: list[_Own], seq: int) -> str:
    return next((one.id for one in reversed(chain) if one.seq == seq), "")


def _replaced(chain: list[_Own], count: int, head: str) -> bool:
    """Whether a recovery, or a rotation beside what it makes void, has replaced some of that many statements."""
    return count > 0 and (not head or head != _id_at(chain, count - 1))


def _recount(deps: Deps, agent: str, repo: Repo, chain: list[_Own]) -> State:
    held = {one for _, one in repos.logged(deps, agent, repo.id)}
    mine = next((one.seq for one in chain if one.id not in held), chain[-1].seq + 1 if chain else 0)
    head = _id_at(chain, mine - 1)
    return repos.change(
        deps,
        agent,
        repo.id,
        lambda now: replace(now.restarted(), mine=mine, mine_head=head, pushed=mine, pushed_head=head),
    )


def _hand_in(deps: Deps, agent: str, repo: Repo, rows: list[_Own]) -> int:
    batch: list[_Own] = []
    room = _ROOM
    for one in rows:
        if len(batch) == MAX_BATCH or len(one.envelope) > room:
            _submit(deps, agent, repo, batch)
            batch, room = [], _ROOM
        batch.append(one)
        room -= len(one.envelope) + 1
    if batch:
        _submit(deps, agent, repo, batch)
    return len(rows)


def _submit(deps: Deps, agent: str, repo: Repo, batch: list[_Own]) -> None:
    action = "revoke" if any(one.kind in ("revoke", "distrust") for one in batch) else "vouch"
    body = SubmitRequest(tuple(one.envelope for one in batch)).dump()
    reply = SubmitReply.parse(wire.post(deps, f"{repo.url}/v1/{action}", body))
    if len(reply.results) != len(batch):
        raise RepositoryError(f"{repo.url} answered for {len(reply.results)} of {len(batch)} statements")
    for one, result in zip(batch, reply.results, strict=True):
        if result.position is None:
            advice = f"It is our own statement {one.seq} that {repo.url} refused."
            raise wire.error_of(result.code or "", result.message or "", advice, RepositoryError)
    pushed, head, now = batch[-1].seq + 1, batch[-1].id, int(deps.clock())
    repos.change(
        deps, agent, repo.id, lambda held: replace(held, pushed=pushed, pushed_at=now, pushed_head=head)
    )
