"""Reading a repository's log: what is new is stored, what was promised is checked, what contradicts is kept as proof.

Law: a repository is believed only what its signed checkpoints prove. Its statements are stored unverified (the trust
view checks what its chains reach), except in our own name; its tree is recomputed hash by hash, and a size counts
as read only when the recomputed root is the signed one. `spec/repositories.md`, "Reading a log".
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from skyswarm.errors import (
    ConflictError,
    ForkError,
    InputError,
    NoteError,
    OmissionError,
    RepositoryError,
    RollbackError,
    SignatureError,
)
from skyswarm.messages.dsse import Envelope
from skyswarm.messages.fields import from_b64url
from skyswarm.messages.httpsig import MAX_SKEW
from skyswarm.messages.note import COSIGNATURE, MAX_NOTE, Checkpoint, NoteKey, SignedNote
from skyswarm.messages.repository import MAX_PAGE, StatementsPage
from skyswarm.messages.statements import MAX_PAYLOAD, Announce, parse_signed
from skyswarm.ports.records import StatementRow
from skyswarm.trust import tlog
from skyswarm.trust.tlog import Frontier
from skyswarm.usecases import intake, repos, wire
from skyswarm.usecases.chains import keep, replayed
from skyswarm.usecases.deps import Deps
from skyswarm.usecases.loghead import HEAD, entry_of, origin_of
from skyswarm.usecases.repos import Mine, Repo, State, parse_repo
from skyswarm.usecases.views import row_of

FROZEN = 900
"""A checkpoint cosigned longer ago (s) is an old one: its repository, or somebody before it, shows a frozen log."""
PROMISE = 60
"""A statement that was taken must be in the log of any checkpoint made this many seconds later."""
CHAIN_PAGES = 16
"""Pages read of one issuer's chain: as many as a repository likes to name would hold a thread for ever."""
PAGES = 64
"""Pages read in one `pull`; the rest follows in the next one."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """What one `pull` brought: new rows of the log, whether there is more, and what the repository was caught at."""

    rows: int
    more: bool = False
    alarms: tuple[RepositoryError, ...] = ()


@dataclass(frozen=True, slots=True)
class Tip:
    """A checkpoint whose signatures are the repository's own: its text, and when it was cosigned (Unix s)."""

    checkpoint: Checkpoint
    note: str
    time: int


def pull(deps: Deps, agent: str, url: str) -> Pulled:
    """Read what is new in a repository's log, and check that it is the old log continued.

    Being caught (RollbackError, ForkError, OmissionError) is returned and kept with its proof. What is beyond the room
    that a repository has (`intake.py`) waits, and its State says so. Raises
    RepositoryUnreachableError, RepositoryError (it answers nonsense or is frozen), SignatureError, ConflictError
    (another process of this agent reads the same log now).
    """
    repo = parse_repo(url)
    if deps.notes.get(agent, HEAD) is not None:
        raise RepositoryError(
            "a repository does not take the statements of other logs into its own, unverified"
        )
    tip = _tip(deps, agent, repo)
    before = repos.state(deps, agent, repo.id)
    caught = _contradiction(deps, agent, repo, before, tip)
    if caught is not None:
        return Pulled(0, alarms=(repos.alarm(deps, agent, repo.id, caught, before.note, tip.note),))
    size = tip.checkpoint.size
    if before.ahead > size:  # progress beyond what is signed now: start over from what is verified
        before = repos.change(deps, agent, repo.id, State.restarted)
    frontier, mine = before.progress()
    rows = 0
    for _ in range(PAGES):
        if frontier.size >= size or _is_full(deps, agent, repo.id):
            break
        ids, page = _page(deps, agent, repo, frontier.size, size)
        mine = _count_mine(deps, agent, page, mine)
        start, frontier = frontier, frontier.append(tlog.leaf_hash(entry_of(one)) for one in ids)
        _advance(deps, agent, repo.id, start, frontier, mine)
        repos.keep_ids(deps, agent, repo.id, start.size, ids, frontier)
        rows += len(ids)
    if frontier.size < size:
        return Pulled(rows, more=repos.state(deps, agent, repo.id).full is None)
    if frontier.root() != tip.checkpoint.root:
        caught = ForkError(f"the statements that {repo.url} serves are not those of its signed log")
        repos.change(deps, agent, repo.id, State.restarted)
        return Pulled(rows, alarms=(repos.alarm(deps, agent, repo.id, caught, before.note, tip.note),))
    after = _read_whole(deps, agent, repo.id, frontier, mine, tip)
    return Pulled(rows, alarms=_omission(deps, agent, repo, after))


def compare(deps: Deps, agent: str, repo: str, note: bytes) -> RepositoryError | None:
    """Hold a checkpoint that somebody else was shown (`repo`: whose, by id) against the log as it is known here.

    ForkError, kept with both notes, when the two cannot be of one log; None when they agree or nothing can be said
    (it is longer than what was read here). NoteError, SignatureError: it proves nothing.
    """
    checked = _verified(deps, agent, repo, note)
    if checked is None:
        raise SignatureError("the checkpoint is not signed by a key of that repository that is known here")
    held = repos.state(deps, agent, repo)
    if checked.checkpoint.size > held.size or _agrees(deps, agent, repo, held, checked.checkpoint):
        return None
    error = ForkError(
        f"repository {repo[:12]} has shown two different logs of {checked.checkpoint.size} statements"
    )
    return repos.alarm(deps, agent, repo, error, held.note, checked.note)


def _agrees(deps: Deps, agent: str, repo: str, held: State, checkpoint: Checkpoint) -> bool:
    if checkpoint.size == held.size:
        return checkpoint.root.hex() == held.root
    return checkpoint.root == repos.root_at(deps, agent, repo, checkpoint.size)


def _contradiction(deps: Deps, agent: str, repo: Repo, held: State, tip: Tip) -> RepositoryError | None:
    """What the repository is caught at by this checkpoint alone. RepositoryError: it is only an old one."""
    size = tip.checkpoint.size
    if size > held.size:
        return None
    if not _agrees(deps, agent, repo.id, held, tip.checkpoint):
        return ForkError(f"{repo.url} has signed two different logs of {size} statements")
    if size == held.size:
        return None
    if tip.time > held.time:
        return RollbackError(
            f"{repo.url} signed a log of {held.size} statements before, and one of {size} now"
        )
    raise RepositoryError(f"{repo.url} shows an older checkpoint than before", advice="It is tried again.")


def _tip(deps: Deps, agent: str, repo: Repo) -> Tip:
    """The repository's checkpoint, signed by its current key and not older than `FROZEN`."""
    data = wire.get(deps, f"{repo.url}/v1/checkpoint", MAX_NOTE)
    try:
        tip = _verified(deps, agent, repo.id, data)
        if tip is None:  # its chain is not known here yet, or it has rotated its key
            read_chain(deps, agent, repo, repo.id)
            tip = _verified(deps, agent, repo.id, data)
    except InputError as error:
        raise RepositoryError(f"the checkpoint of {repo.url} makes no sense: {error.message}") from error
    if tip is None:
        no_room = intake.full(deps, agent, repo.id)
        if no_room is not None:  # for its newest key
            raise no_room
        raise SignatureError(
            f"the checkpoint of {repo.url} is not signed by the key of {repo.id[:12]}",
            advice="Somebody else answers at this address, or the repository lost its key.",
        )
    if tip.time < deps.clock() - FROZEN:
        raise RepositoryError(
            f"{repo.url} shows a checkpoint that is {int(deps.clock()) - tip.time} seconds old",
            advice="Its log is frozen, or the clock here is wrong; other repositories are used.",
        )
    return tip


def _verified(deps: Deps, agent: str, repo: str, data: bytes) -> Tip | None:
    """The note as a Tip when the repository's key, as it is known here, made both of its signatures."""
    note = SignedNote.parse(data)
    checkpoint = Checkpoint.parse(note.text)
    origin = origin_of(repo)
    if checkpoint.origin != origin:
        raise NoteError(f"its origin is {checkpoint.origin[:80]}, not {origin}")
    with replayed(deps, agent, repo) as (line, _):
        keys = line.keys
    if keys is None or keys.retired:
        return None
    both = NoteKey(origin, keys.key), NoteKey(origin, keys.key, COSIGNATURE)
    found = dict(note.verify(both))
    if len(found) != len(both):
        return None
    kept = tuple(
        one for one in note.signatures if any((one.name, one.id) == (key.name, key.id) for key in both)
    )
    return Tip(checkpoint, SignedNote(note.text, kept).dump().decode(), found[both[1]] or 0)


def read_chain(deps: Deps, agent: str, repo: Repo, issuer: str, timeout: float | None = None) -> None:
    """Store what a repository serves of an issuer's chain, as far as it is genuine; its own, for instance: it certifies
    itself, its id being in the address. RepositoryUnreachableError; RepositoryError: it answers nonsense.
    """
    seq, end = 0, deps.clock() + (deps.limits.call_timeout if timeout is None else timeout)
    for _ in range(CHAIN_PAGES):
        body = wire.get(deps, f"{repo.url}/v1/statements?issuer={issuer}&seq={seq}", timeout=timeout)
        try:
            page = StatementsPage.parse(body)
            brought = [row_of(parse_signed(one), deps.clock()) for one in page.statements]
        except InputError as error:
            raise RepositoryError(f"the statements of {repo.url} make no sense: {error.message}") from error
        if any(row.issuer != issuer for row in brought):
            raise RepositoryError(f"{repo.url} answers with the statements of others")
        stored = intake.genuine(deps, agent, repo.id, brought)
        if not stored or page.next >= page.count or page.next <= seq or deps.clock() >= end:
            return
        seq = page.next


def _page(
    deps: Deps, agent: str, repo: Repo, start: int, size: int
) -> tuple[list[str], dict[str, StatementRow | None]]:
    """Read and store one page of the log: the ids in order, and the row of each (None: not a statement known here).

    An id may stand there twice, in two envelopes: two processes of the repository took it at once. Both are entries.
    """
    body = wire.get(deps, f"{repo.url}/v1/statements?after={start}&limit={MAX_PAGE}")
    try:
        envelopes = StatementsPage.parse(body).statements[: size - start]
        ids = [hashlib.sha256(Envelope.parse(one, MAX_PAYLOAD).payload).hexdigest() for one in envelopes]
    except InputError as error:
        raise RepositoryError(f"the statements of {repo.url} make no sense: {error.message}") from error
    if not envelopes:
        raise RepositoryError(
            f"{repo.url} signed {size} statements, but does not serve number {start} and after"
        )
    intake.count(deps, agent, repo.id, sum(map(len, envelopes)))
    now = deps.clock()
    read = [_row(envelope, now) for envelope in envelopes]
    stored = keep(deps, agent, [row for row in read if row is not None])
    return ids, {one: row if one in stored else None for one, row in zip(ids, read, strict=True)}


def _is_full(deps: Deps, agent: str, repo: str) -> bool:
    """Whether nothing more of this log is read now; its State says why."""
    error = intake.full(deps, agent, repo)
    why = None if error is None else error.to_json()
    repos.change(deps, agent, repo, lambda now: replace(now, full=why))
    return why is not None


def _row(envelope: bytes, now: float) -> StatementRow | None:
    """The row of a log entry. None: of a kind or version that is not known here, so it counts for the tree alone."""
    try:
        signed = parse_signed(envelope)
    except InputError:
        return None
    return None if isinstance(signed.statement, Announce) else row_of(signed, now)


def _count_mine(deps: Deps, agent: str, page: dict[str, StatementRow | None], mine: Mine) -> Mine:
    """What the log holds of our own chain with this page too."""
    if not any(row is not None and row.issuer == agent for row in page.values()):
        return mine
    count, head = mine
    with replayed(deps, agent, agent) as (line, _):
        if count > len(line.accepted) or (count and line.accepted[count - 1].id != head):
            return mine  # a recovery has replaced some of it: `push` counts again
        while count < len(line.accepted) and line.accepted[count].id in page:
            head = line.accepted[count].id
            count += 1
    return count, head


def _advance(deps: Deps, agent: str, repo: str, start: Frontier, frontier: Frontier, mine: Mine) -> None:
    """Claim the page between the two for this process: only then are its ids kept."""

    def decide(now: State) -> State:
        if now.progress()[0] != start:
            raise ConflictError("another process of this agent reads this log now")
        return now.at(frontier, mine)

    repos.change(deps, agent, repo, decide)


def _read_whole(deps: Deps, agent: str, repo: str, frontier: Frontier, mine: Mine, tip: Tip) -> State:
    """Take what was read for the log that `tip` states, once the ids that are kept are the ones that give its root."""

    def decide(now: State) -> State:
        if now.progress()[0] != frontier:
            raise ConflictError("another process of this agent reads this log now")
        known = Frontier.load(now.size, from_b64url(now.frontier))
        new = repos.kept_ids(deps, agent, repo, now.size, frontier.size)
        if known.append(tlog.leaf_hash(entry_of(one)) for _, one in new) != frontier:
            raise repos.start_over(deps, agent, repo, frontier)
        return now.verified(frontier, mine, tip.note, tip.time)

    return repos.change(deps, agent, repo, decide)


def _omission(deps: Deps, agent: str, repo: Repo, held: State) -> tuple[RepositoryError, ...]:
    """The alarm when what the repository took from us is not in a log that it signed later than promised: by its own
    clock, which may be ahead of ours."""
    if held.pushed <= held.mine or held.time <= held.pushed_at + PROMISE + MAX_SKEW:
        return ()
    with replayed(deps, agent, agent) as (line, _):
        owed = [node.id for node in line.accepted[held.pushed - 1 : held.pushed]] == [held.pushed_head]
    repos.change(deps, agent, repo.id, lambda now: replace(now, pushed=now.mine, pushed_head=now.mine_head))
    if not owed:  # replaced since by a recovery or a rotation of ours: `push` counts again, nobody is accused
        return ()
    error = OmissionError(
        f"{repo.url} took our statements up to number {held.pushed - 1}, but its log has only {held.mine} of them",
        advice="Use at least one other repository; they are handed in again.",
    )
    return (repos.alarm(deps, agent, repo.id, error, held.note),)
