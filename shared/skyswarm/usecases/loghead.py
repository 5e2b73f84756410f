"""The log of a repository: its signed head, tiles and proofs over the statements that it stored.

Law: the order of the log is the order of the Statements port and nothing else; leaf data of a statement is its id
(32 raw bytes). A head is decided by one conditional write: whatever races or crashes, exactly one wins, and for one
size there is only ever one root. Full tiles are written before the head that contains them and never again.
Served at `/v1/checkpoint` and `/v1/tile/…`; `spec/repositories.md`, "The log".
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field

from skyswarm.errors import AbsentError, ConflictError, RollbackError, UnavailableError
from skyswarm.messages import canonical
from skyswarm.messages.fields import b64url, from_b64url
from skyswarm.messages.note import COSIGNATURE, Checkpoint, NoteKey, SignedNote
from skyswarm.ports.records import Entry, StatementRow
from skyswarm.trust import tlog
from skyswarm.trust.tlog import HASH, TILE, Frontier, Tile
from skyswarm.usecases.deps import Deps

HEAD = "log/head"
RESIGN = 60
"""Seconds after which an unchanged head is signed with a new time, when somebody asks for it."""
_MAX_HEAD = 16 * 1024
_PAGE = 1024
_RACES = 32


@dataclass(frozen=True, slots=True)
class _Head:
    """The stored head: the frontier, the note that was signed for it, and when (Unix s)."""

    frontier: Frontier = field(default_factory=Frontier)
    note: str = ""
    signed: int = 0
    key: str = ""
    version: int = 0


def origin_of(repo: str) -> str:
    """Origin of a repository's log and name of its note keys: bound to its identity, not to any address."""
    return f"skyswarm/{repo}"


def entry_of(statement_id: str) -> bytes:
    """The log entry of a statement."""
    return bytes.fromhex(statement_id)


def checkpoint(deps: Deps, repo: str) -> bytes:
    """The signed note over every statement stored now, with a timestamped cosignature of the same key: at most
    `RESIGN` seconds old. Costs the new statements only. RollbackError: the store is behind a head it signed."""
    for _ in range(_RACES):
        head = _load(deps, repo)
        count = deps.statements.count(repo)
        _guard(repo, head, count)
        signer = deps.keys.current(repo)
        now = int(deps.clock())
        old = head.frontier
        if (
            head.note
            and old.size == count
            and 0 <= now - head.signed < RESIGN
            and head.key == signer.public.hex()
        ):
            return head.note.encode()
        frontier = _extend(deps, repo, old, count)
        origin = origin_of(repo)
        text = Checkpoint(origin, frontier.size, frontier.root()).text
        note = SignedNote(text, ()).signed(NoteKey(origin, signer.public), signer.sign)
        note = note.cosigned(NoteKey(origin, signer.public, COSIGNATURE), signer.sign, now)
        data = note.dump()
        try:
            _save(deps, repo, _Head(frontier, data.decode(), now, signer.public.hex(), head.version))
        except ConflictError:
            continue  # another head won: sign on top of that one
        return data
    raise UnavailableError("too many writers at this log now", advice="Ask again.")


def guard(deps: Deps, repo: str) -> None:
    """Refuse to write into a store that was set back behind a signed head: it would fork the log."""
    _guard(repo, _load(deps, repo), deps.statements.count(repo))


def tile(deps: Deps, repo: str, path: str) -> bytes:
    """A tile or entry bundle by what follows `/v1/tile/`. NoteError: no such path; AbsentError: not there."""
    wanted = Tile.parse(path)
    if not wanted.within(_load(deps, repo).frontier.size):
        raise AbsentError(f"the log has no tile {path} yet")
    first = wanted.index * TILE
    if wanted.level < 0:
        rows = _rows(deps, repo, first, wanted.width)
        return b"".join(HASH.to_bytes(2, "big") + entry_of(row.id) for row in rows)
    return _hashes(deps, repo, wanted.level, first, wanted.width)


def inclusion(deps: Deps, repo: str, index: int, size: int) -> list[bytes]:
    """Audit path of the statement at `index` in the log of `size`. NoteError, AbsentError."""
    _has(deps, repo, size)
    return tlog.prove_inclusion(index, size, _reader(deps, repo))


def consistency(deps: Deps, repo: str, old: int, new: int) -> list[bytes]:
    """Proof that the log of `new` begins with the one of `old`. NoteError, AbsentError."""
    _has(deps, repo, new)
    return tlog.prove_consistency(old, new, _reader(deps, repo))


# ---- the head --------------------------------------------------------------------------------
def _load(deps: Deps, repo: str) -> _Head:
    stored = deps.notes.get(repo, HEAD)
    if stored is None:
        return _Head()
    value = canonical.loads(stored.value, _MAX_HEAD)
    frontier = Frontier.load(value["size"], from_b64url(value["frontier"]))
    return _Head(frontier, value["note"], value["signed"], value["key"], stored.version)


def _save(deps: Deps, repo: str, head: _Head) -> None:
    value = {"v": 1, "size": head.frontier.size, "frontier": b64url(head.frontier.dump())}
    value |= {"note": head.note, "signed": head.signed, "key": head.key}
    deps.notes.put(repo, Entry(HEAD, canonical.dumps(value), head.version))


def _guard(repo: str, head: _Head, count: int) -> None:
    if count < head.frontier.size:
        raise RollbackError(
            f"the store of repository {repo[:12]} holds {count} statements, but {head.frontier.size} were signed",
            advice="It was set back, from a backup perhaps. Serve a repository with a new identity from it.",
        )


def _extend(deps: Deps, repo: str, frontier: Frontier, count: int) -> Frontier:
    """Append statements up to `count`, and write the tiles that become full on the way."""
    while frontier.size < count:
        step = min(count - frontier.size, TILE - frontier.size % TILE)
        leaves = _leaves(_rows(deps, repo, frontier.size, step))
        first = frontier.size - frontier.size % TILE
        frontier = frontier.append(leaves)
        if frontier.size % TILE == 0:
            kept = _leaves(_rows(deps, repo, first, TILE - step)) if step < TILE else []
            _keep(deps, repo, 0, first // TILE, b"".join((*kept, *leaves)))
    return frontier


def _keep(deps: Deps, repo: str, level: int, index: int, data: bytes) -> None:
    """Store a full tile, and the one above when this was its last."""
    with suppress(ConflictError):  # written before: a tile has one content
        deps.notes.put(repo, Entry(_tile_key(level, index), data))
    if index % TILE == TILE - 1:
        first = index - index % TILE
        _keep(deps, repo, level + 1, index // TILE, _hashes(deps, repo, level + 1, first, TILE))


# ---- tiles -----------------------------------------------------------------------------------
def _tile_key(level: int, index: int) -> str:
    return f"log/tile/{level:02d}/{index:016d}"


def _hashes(deps: Deps, repo: str, level: int, first: int, count: int) -> bytes:
    """`count` ≤ 256 hashes of a tile level from number `first`, which do not cross the end of a tile."""
    index, skip = divmod(first, TILE)
    stored = deps.notes.get(repo, _tile_key(level, index))
    if stored is not None:
        return stored.value[skip * HASH : (skip + count) * HASH]
    if level == 0:
        return b"".join(_leaves(_rows(deps, repo, first, count)))
    out: list[bytes] = []
    after = _tile_key(level - 1, first - 1) if first else ""
    while len(out) < count:
        page = deps.notes.page(repo, f"log/tile/{level - 1:02d}/", after, min(64, count - len(out)))
        if not page:
            raise AbsentError(f"tile {level}/{index} is not whole yet")
        out += (tlog.tree_root(_split(below.value)) for below in page)
        after = page[-1].key
    return b"".join(out)


def _reader(deps: Deps, repo: str) -> tlog.Reader:
    def read(level: int, index: int) -> bytes:
        tall, low = divmod(level, 8)
        return tlog.tree_root(_split(_hashes(deps, repo, tall, index << low, 1 << low)))

    return read


def _has(deps: Deps, repo: str, size: int) -> None:
    if size > _load(deps, repo).frontier.size:
        raise AbsentError(f"the log has not {size} leaves yet")


def _split(data: bytes) -> list[bytes]:
    return [data[at : at + HASH] for at in range(0, len(data), HASH)]


def _leaves(rows: list[StatementRow]) -> list[bytes]:
    return [tlog.leaf_hash(entry_of(row.id)) for row in rows]


def _rows(deps: Deps, repo: str, first: int, count: int) -> list[StatementRow]:
    """Exactly `count` rows from position `first`."""
    out: list[StatementRow] = []
    while len(out) < count:
        page = deps.statements.after(repo, first + len(out), min(_PAGE, count - len(out)))
        if not page or page[0].position != first + len(out):
            raise UnavailableError("the statements of this log cannot be read now", advice="Ask again.")
        out += page
    return out
