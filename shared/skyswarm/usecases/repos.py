"""The repositories an agent uses, and what it remembers of each log: size, root, frontier, ids, faults, proofs.

Law: what is remembered of a log outlives `remove`, so that a repository cannot make itself forgotten by being added
again. Only verified sizes are in `size`; `ahead` is progress towards a checkpoint that is not checked yet.
Notes: `repo/<id>` (the URL, as bytes), `synced/<id>` (State), `logged/<id>/<n>` (256 raw statement ids each),
`proof/<id>/<hash>` (two signed notes that cannot both be true). `spec/repositories.md`, "What an agent keeps".
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from skyswarm.errors import ConflictError, InputError, LinkError, RepositoryError, SkyError
from skyswarm.messages import canonical
from skyswarm.messages.fields import b64url, from_b64url
from skyswarm.messages.statements import Seen
from skyswarm.messages.urls import parse_endpoint
from skyswarm.ports.records import Entry
from skyswarm.trust import tlog
from skyswarm.trust.tlog import EMPTY_ROOT, HASH, Frontier
from skyswarm.usecases.deps import Deps
from skyswarm.usecases.loghead import entry_of, origin_of

MAX_REPOS = 100
MAX_PROOFS = 100
"""Proofs kept against one repository: one is enough, and it can make as many as it likes."""
BACKOFF = 5.0
BACKOFF_MOST = 60.0
_CHUNK = 256
_MAX_STATE = 1 << 20


Mine = tuple[int, str]
"""How many statements of our own chain, from its first on, and the id of the last of them."""


@dataclass(frozen=True, slots=True)
class Repo:
    """A repository by its address; `id` is its agent id, which the address ends with."""

    id: str
    url: str


def parse_repo(url: str) -> Repo:
    """`http(s)://host[:port][/path]/a/<64 hex digits>`. LinkError."""
    endpoint = parse_endpoint(url.rstrip("/"), error=LinkError)
    before, _, repo = endpoint.rpartition("/a/")
    if not before or len(repo) != 64 or set(repo) - set("0123456789abcdef"):
        raise LinkError(
            "the address of a repository ends with /a/ and its id of 64 hex digits",
            advice="Copy it whole, as `skyswarm repo serve` prints it.",
        )
    return Repo(repo, endpoint)


def add(deps: Deps, agent: str, url: str) -> Repo:
    """Use this repository from now on, at once; an address known under another URL is replaced. LinkError; InputError:
    there are `MAX_REPOS` already."""
    repo = parse_repo(url)
    rouse(deps, agent, repo.id)
    while True:
        old = deps.notes.get(agent, f"repo/{repo.id}")
        if old is None and len(known(deps, agent)) >= MAX_REPOS:
            raise InputError(
                f"{MAX_REPOS} repositories are in use, more are not asked", advice="Remove one of them first."
            )
        try:
            deps.notes.put(agent, Entry(f"repo/{repo.id}", repo.url.encode(), old.version if old else 0))
            return repo
        except ConflictError:
            continue


def remove(deps: Deps, agent: str, repo: str) -> None:
    """Use it no more. `repo` is an id or an address. What was remembered of its log stays. Idempotent."""
    deps.notes.delete(agent, f"repo/{repo if '/' not in repo else parse_repo(repo).id}")


def known(deps: Deps, agent: str) -> tuple[Repo, ...]:
    """The repositories in use, by id."""
    return tuple(parse_repo(one.value.decode()) for one in deps.notes.page(agent, "repo/", limit=MAX_REPOS))


# ---- what is remembered ----------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class State:
    """Of one log. `note`: the newest checkpoint that checked out, cosigned at `time` (Unix s); `size` and `root` (hex)
    are its own. `mine`: how many statements of our own chain the log provably holds, `mine_head` the id of the last of
    them. `pushed`: how many it took, at `pushed_at`, `pushed_head` the id of the last of them. `alarm`: what it was
    first caught at, never cleared by itself; `error`: why the last try failed. `full`: why its log is read no further.
    """

    size: int = 0
    root: str = EMPTY_ROOT.hex()
    frontier: str = ""
    note: str = ""
    time: int = 0
    ahead: int = 0
    ahead_frontier: str = ""
    ahead_mine: int = 0
    ahead_head: str = ""
    mine: int = 0
    mine_head: str = ""
    pushed: int = 0
    pushed_at: int = 0
    pushed_head: str = ""
    failures: int = 0
    retry_at: int = 0
    error: dict[str, str] | None = None
    alarm: dict[str, str] | None = None
    full: dict[str, str] | None = None
    version: int = field(default=0, compare=False)

    def progress(self) -> tuple[Frontier, Mine]:
        """Where to go on from, and what the log holds of our own chain up to there."""
        if self.ahead > self.size:
            return Frontier.load(self.ahead, from_b64url(self.ahead_frontier)), (
                self.ahead_mine,
                self.ahead_head,
            )
        return Frontier.load(self.size, from_b64url(self.frontier)), (self.mine, self.mine_head)

    def restarted(self) -> State:
        """Without the progress beyond what is verified."""
        return replace(self, ahead=0, ahead_frontier="", ahead_mine=0, ahead_head="")

    def at(self, frontier: Frontier, mine: Mine) -> State:
        """With progress up to `frontier`, not checked against a root yet."""
        return replace(
            self,
            ahead=frontier.size,
            ahead_frontier=b64url(frontier.dump()),
            ahead_mine=mine[0],
            ahead_head=mine[1],
        )

    def verified(self, frontier: Frontier, mine: Mine, note: str, time: int) -> State:
        """The log as the checkpoint `note` states it, recomputed here."""
        return replace(
            self.restarted(), size=frontier.size, root=frontier.root().hex(), frontier=b64url(frontier.dump()),
            mine=mine[0], mine_head=mine[1], note=note, time=max(time, self.time),
        )  # fmt: skip


def state(deps: Deps, agent: str, repo: str) -> State:
    """What is remembered of a repository's log."""
    row = deps.notes.get(agent, f"synced/{repo}")
    return State() if row is None else _read(row)


def change(deps: Deps, agent: str, repo: str, decide: Callable[[State], State]) -> State:
    """Read, decide, write conditionally; again when another process was faster. `decide` may raise to stop."""
    while True:
        now = state(deps, agent, repo)
        new = decide(now)
        if new == now:
            return now
        value: dict[str, Any] = {"v": 1, **asdict(new)}
        del value["version"]
        try:
            deps.notes.put(agent, Entry(f"synced/{repo}", canonical.dumps(value), now.version))
            return new
        except ConflictError:
            continue


def failed(deps: Deps, agent: str, repo: str, error: SkyError) -> State:
    """Remember why it failed and rest it: five seconds, doubling up to a minute."""

    def decide(now: State) -> State:
        until = int(deps.clock() + _rest(now.failures + 1))
        return replace(now, failures=now.failures + 1, retry_at=until, error=error.to_json())

    return change(deps, agent, repo, decide)


def worked(deps: Deps, agent: str, repo: str) -> State:
    """Forget earlier failures; an alarm stays."""
    return change(deps, agent, repo, lambda now: replace(now, failures=0, retry_at=0, error=None))


def rouse(deps: Deps, agent: str, repo: str) -> State:
    """Try it at once, as if it had never failed: it has just answered somebody, or the user wants it now. Why it failed
    the last time is told until a round succeeds."""
    return change(deps, agent, repo, lambda now: replace(now, failures=0, retry_at=0))


def hasten(deps: Deps, agent: str) -> None:
    """There is something new to bring: let every repository rest no longer than `BACKOFF` after its last failure."""

    def decide(now: State) -> State:
        if not now.failures:
            return now
        failed_at = now.retry_at - _rest(now.failures)
        return replace(now, retry_at=min(now.retry_at, int(failed_at + BACKOFF)))

    for repo in known(deps, agent):
        change(deps, agent, repo.id, decide)


def _rest(failures: int) -> float:
    """Seconds that a repository rests after so many failures in a row."""
    return min(BACKOFF_MOST, BACKOFF * 2.0 ** min(failures - 1, 10))


def awake(deps: Deps, agent: str, repos: tuple[Repo, ...]) -> tuple[Repo, ...]:
    """Those that are not resting after a failure."""
    return tuple(repo for repo in repos if not resting(deps, agent, repo.id))


def resting(deps: Deps, agent: str, repo: str) -> int:
    """Until when a repository rests after a failure (Unix s); 0: it does not. No rest is longer than `BACKOFF_MOST`:
    one that would be was begun by a clock that was ahead."""
    now = deps.clock()
    until = state(deps, agent, repo).retry_at
    return until if now < until <= now + BACKOFF_MOST else 0


def alarm(deps: Deps, agent: str, repo: str, error: RepositoryError, *notes: str) -> RepositoryError:
    """Keep the alarm and the signed notes that prove it; returns `error`."""
    proof = canonical.dumps({"v": 1, "error": error.to_json(), "notes": list(notes)})
    name = hashlib.sha256("\n".join(notes).encode()).hexdigest()[:16]
    if len(deps.notes.page(agent, f"proof/{repo}/", limit=MAX_PROOFS)) < MAX_PROOFS:
        with suppress(ConflictError):  # this very proof is kept already
            deps.notes.put(agent, Entry(f"proof/{repo}/{name}", proof))
    change(deps, agent, repo, lambda now: replace(now, alarm=now.alarm or error.to_json()))
    return error


def proofs(deps: Deps, agent: str, repo: str) -> list[tuple[str, ...]]:
    """The signed notes of each alarm of a repository, as they were received."""
    rows = deps.notes.page(agent, f"proof/{repo}/", limit=MAX_PROOFS)
    return [tuple(canonical.loads(row.value, _MAX_STATE)["notes"]) for row in rows]


def held_checkpoints(deps: Deps, agent: str) -> tuple[Seen, ...]:
    """The newest verified checkpoint of every log that this agent ever read, by origin: for a statement's `seen`."""
    rows = deps.notes.page(agent, "synced/", limit=MAX_REPOS)
    states = ((row.key.removeprefix("synced/"), _read(row)) for row in rows)
    return tuple(sorted(Seen(origin_of(repo), one.size, one.root) for repo, one in states if one.size))


def _read(row: Entry) -> State:
    value = canonical.loads(row.value, _MAX_STATE)
    del value["v"]
    return State(**value, version=row.version)


# ---- the ids of a log ------------------------------------------------------------------------
def keep_ids(deps: Deps, agent: str, repo: str, start: int, ids: list[str], claim: Frontier) -> None:
    """Remember the statement ids at `start` and after, for whom the State's progress was advanced to `claim` before.

    ConflictError: another process reads this log now. Looking at a chunk, then at the claim, then writing on the
    version that was seen: so a page that was held back never replaces what another process has verified meanwhile.
    """
    while ids:
        chunk, skip = divmod(start, _CHUNK)
        part, ids = ids[: _CHUNK - skip], ids[_CHUNK - skip :]
        key = f"logged/{repo}/{chunk:012d}"
        old = deps.notes.get(agent, key)
        now = state(deps, agent, repo)
        if now.progress()[0] != claim:
            raise ConflictError("another process of this agent reads this log now")
        before = (old.value if old else b"")[: skip * HASH]
        if len(before) != skip * HASH:
            raise start_over(deps, agent, repo, claim)
        value = before + b"".join(bytes.fromhex(one) for one in part)
        # Also when it is there already: whoever saw the version before must not write any more.
        deps.notes.put(agent, Entry(key, value, old.version if old else 0))
        start += len(part)


def start_over(deps: Deps, agent: str, repo: str, claim: Frontier) -> ConflictError:
    """Give up the progress up to `claim`: its ids are not those that are kept. Returns the error to raise."""
    change(deps, agent, repo, lambda now: now.restarted() if now.progress()[0] == claim else now)
    return ConflictError("another process has read this log too, or was cut off: it is read again")


def kept_ids(deps: Deps, agent: str, repo: str, start: int, size: int) -> Iterator[tuple[int, str]]:
    """(index, statement id) from `start` to below `size`, as far as they are kept without a gap."""
    while start < size:
        chunk, skip = divmod(start, _CHUNK)
        row = deps.notes.get(agent, f"logged/{repo}/{chunk:012d}")
        if row is None:
            return
        for at in range(skip, min(_CHUNK, size - chunk * _CHUNK, len(row.value) // HASH)):
            yield chunk * _CHUNK + at, row.value[at * HASH : (at + 1) * HASH].hex()
        start = (chunk + 1) * _CHUNK


def logged(deps: Deps, agent: str, repo: str, start: int = 0) -> Iterator[tuple[int, str]]:
    """(index, statement id) of a log from `start` up to the size that was verified: the positions that cuts name."""
    return kept_ids(deps, agent, repo, start, state(deps, agent, repo).size)


def places(deps: Deps, agent: str, since: Mapping[str, int]) -> Iterator[tuple[str, str, int]]:
    """(statement id, log origin, index) in every log read so far, from index `since[origin]` on: `TrustView.place`."""
    for row in deps.notes.page(agent, "synced/", limit=MAX_REPOS):
        repo = row.key.removeprefix("synced/")
        origin = origin_of(repo)
        for index, one in logged(deps, agent, repo, since.get(origin, 0)):
            yield one, origin, index


def root_at(deps: Deps, agent: str, repo: str, size: int) -> bytes:
    """Root of the first `size` statements of a log as they are remembered. Reads all of them: for alarms only."""
    leaves = (tlog.leaf_hash(entry_of(one)) for index, one in logged(deps, agent, repo) if index < size)
    return tlog.tree_root(leaves)
