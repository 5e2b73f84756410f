"""The signed head, the tiles and the proofs of a repository's log."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from skyswarm.drivers.memory.records import MemoryStatements
from skyswarm.errors import AbsentError, NoteError, RollbackError
from skyswarm.messages.note import COSIGNATURE, Checkpoint, NoteKey, SignedNote
from skyswarm.ports.records import StatementRow
from skyswarm.trust import tlog
from skyswarm.trust.tlog import HASH, Tile
from skyswarm.usecases import repository
from skyswarm.usecases.loghead import RESIGN
from tests.support.inprocess import Party, World


@pytest.fixture
def repo() -> Party:
    return World().repository("repo")


def fill(repo: Party, count: int) -> list[str]:
    """That many statements in all; the log looks at nothing but their ids."""
    have = repo.deps.statements.count(repo.id)
    ids = [hashlib.sha256(b"%d" % number).hexdigest() for number in range(have, count)]
    repo.deps.statements.append(repo.id, [StatementRow(one, "0" * 64, 0, "vouch", b"{}", 0.0) for one in ids])
    return [one.id for one in repo.deps.statements.after(repo.id, 0, count)]


def keys(repo: Party) -> list[NoteKey]:
    public = repo.deps.keys.current(repo.id).public
    return [NoteKey(f"skyswarm/{repo.id}", public), NoteKey(f"skyswarm/{repo.id}", public, COSIGNATURE)]


def head(repo: Party) -> tuple[Checkpoint, int]:
    """The checkpoint as the repository serves it, verified, and the time of its cosignature."""
    note = SignedNote.parse(repository.checkpoint(repo.deps, repo.id))
    plain, timed = note.verify(keys(repo))
    assert plain == (keys(repo)[0], None) and timed[1] is not None
    return Checkpoint.parse(note.text), timed[1]


def leaves(ids: list[str]) -> list[bytes]:
    return [tlog.leaf_hash(bytes.fromhex(one)) for one in ids]


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 600])
def test_the_checkpoint_is_the_root_over_all_statement_ids(repo: Party, size: int) -> None:
    ids = fill(repo, size)
    checkpoint, when = head(repo)
    assert checkpoint == Checkpoint(f"skyswarm/{repo.id}", size, tlog.tree_root(leaves(ids)))
    assert when == int(repo.world.now)


def test_an_unchanged_log_is_signed_again_only_after_a_minute_and_says_the_same(repo: Party) -> None:
    fill(repo, 5)
    first = repository.checkpoint(repo.deps, repo.id)
    repo.world.now += RESIGN - 1
    assert repository.checkpoint(repo.deps, repo.id) == first
    repo.world.now += 1
    again = repository.checkpoint(repo.deps, repo.id)
    assert again != first
    assert SignedNote.parse(again).text == SignedNote.parse(first).text


def test_a_rotated_key_signs_the_same_head(repo: Party) -> None:
    fill(repo, 5)
    head(repo)
    repo.rotate()
    checkpoint, _ = head(repo)
    assert checkpoint.size == 6


class Reads(MemoryStatements):
    """Counts the rows that were read."""

    count_read = 0

    def after(self, agent: str, position: int, limit: int) -> list[StatementRow]:
        rows = super().after(agent, position, limit)
        self.count_read += len(rows)
        return rows


def test_a_checkpoint_costs_the_new_statements_only() -> None:
    repo = World().repository("repo")
    counting = Reads()
    repo.deps = replace(repo.deps, statements=counting)
    fill(repo, 1000)
    head(repo)
    fill(repo, 1010)
    counting.count_read = 0
    checkpoint, _ = head(repo)
    assert checkpoint.size == 1010 and counting.count_read == 10


def test_racing_writers_and_signers_never_sign_two_roots_for_one_size() -> None:
    """Four processes (each with its own cache) on one store: every note ever handed out is of one tree."""
    repo = World().repository("repo")
    notes: list[bytes] = []

    def work(worker: int) -> None:
        deps = replace(repo.deps, cache={})
        for number in range(40):
            name = hashlib.sha256(b"%d %d" % (worker, number)).hexdigest()
            deps.statements.append(repo.id, [StatementRow(name, "0" * 64, 0, "vouch", b"{}", 0.0)])
            notes.append(repository.checkpoint(deps, repo.id))

    with ThreadPoolExecutor(4) as pool:
        for one in [pool.submit(work, worker) for worker in range(4)]:
            one.result()
    ids = [row.id for row in repo.deps.statements.after(repo.id, 0, 1000)]
    assert len(ids) == 161
    for data in notes:
        checkpoint = Checkpoint.parse(SignedNote.parse(data).text)
        assert checkpoint.root == tlog.tree_root(leaves(ids[: checkpoint.size]))
    assert repository.checkpoint(repo.deps, repo.id) in notes


def test_a_store_that_was_set_back_signs_and_takes_nothing_more() -> None:
    repo = World().repository("repo")
    fill(repo, 10)
    head(repo)
    repo.deps = replace(
        repo.deps, statements=MemoryStatements(), cache={}
    )  # an old backup, beside the newest head
    fill(repo, 9)
    with pytest.raises(RollbackError):
        repository.checkpoint(repo.deps, repo.id)
    with pytest.raises(RollbackError):
        repository.submit(repo.deps, repo.id, b'{"statements":[],"v":1}', repository.VOUCH_KINDS)


# ---- tiles -----------------------------------------------------------------------------------
def mth(repo: Party, ids: list[str], level: int, first: int, count: int) -> bytes:
    """Hashes of a tile level by the definition: each over 256^level leaves."""
    step = 256**level
    every = leaves(ids)
    return b"".join(tlog.tree_root(every[at * step : (at + 1) * step]) for at in range(first, first + count))


def test_tiles_are_those_of_the_definition_whether_stored_or_computed(repo: Party) -> None:
    ids = fill(repo, 300)
    head(repo)
    ids = fill(repo, 700)  # a tile that becomes full in a later head than it began in
    head(repo)
    for tile in (
        Tile(0, 0),
        Tile(0, 1),
        Tile(0, 2, 188),
        Tile(0, 2, 3),
        Tile(0, 0, 17),
        Tile(1, 0, 2),
        Tile(1, 0, 1),
    ):
        assert repository.tile(repo.deps, repo.id, tile.path) == mth(
            repo, ids, tile.level, tile.index * 256, tile.width
        ), tile
    bundle = repository.tile(repo.deps, repo.id, "entries/002.p/188")
    assert bundle == b"".join(b"\x00\x20" + bytes.fromhex(one) for one in ids[512:])


def test_tiles_that_are_not_there_and_paths_that_are_none(repo: Party) -> None:
    fill(repo, 300)
    head(repo)
    fill(repo, 600)  # stored, but not signed yet
    for path in (
        "0/001",
        "0/001.p/45",
        "0/002",
        "1/000",
        "1/000.p/2",
        "2/000.p/1",
        "entries/001",
        "63/000.p/1",
    ):
        with pytest.raises(AbsentError):
            repository.tile(repo.deps, repo.id, path)
    for path in ("", "0", "0/0", "0/000.p/256", "../0/000", "entries/000/", "x/000"):
        with pytest.raises(NoteError):
            repository.tile(repo.deps, repo.id, path)


def test_upper_tiles_of_a_log_of_65_600() -> None:
    repo = World().repository("repo")
    ids = fill(repo, 65_600)
    checkpoint, _ = head(repo)
    whole = tlog.tree_root(leaves(ids[:65_536]))
    stored = repository.tile(repo.deps, repo.id, "1/000")
    assert len(stored) == 256 * HASH and stored[:HASH] == tlog.tree_root(leaves(ids[:256]))
    assert repository.tile(repo.deps, repo.id, "2/000.p/1") == whole
    assert repository.tile(repo.deps, repo.id, "1/000.p/7") == stored[: 7 * HASH]
    for index in (0, 255, 256, 65_535, 65_536, 65_599):
        proof = repository.inclusion(repo.deps, repo.id, index, checkpoint.size)
        tlog.verify_inclusion(leaves([ids[index]])[0], index, checkpoint.size, proof, checkpoint.root)
    for old in (1, 255, 256, 40_000, 65_536, 65_599):
        proof = repository.consistency(repo.deps, repo.id, old, checkpoint.size)
        tlog.verify_consistency(
            old, checkpoint.size, proof, tlog.tree_root(leaves(ids[:old])), checkpoint.root
        )


def test_proofs_of_what_is_not_signed_yet_are_not_given(repo: Party) -> None:
    fill(repo, 3)
    head(repo)
    fill(repo, 5)
    with pytest.raises(AbsentError):
        repository.inclusion(repo.deps, repo.id, 3, 5)
    with pytest.raises(AbsentError):
        repository.consistency(repo.deps, repo.id, 3, 5)
    with pytest.raises(NoteError):
        repository.inclusion(repo.deps, repo.id, 3, 3)


def test_a_head_signed_while_the_clock_was_ahead_is_signed_again(repo: Party) -> None:
    repo.world.now += 3600
    assert head(repo)[1] == repo.world.now
    repo.world.now -= 3600
    assert head(repo)[1] == repo.world.now
