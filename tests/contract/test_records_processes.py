"""What the record ports promise when real processes use one store at once, and when one of them is killed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from skyswarm.ports.records import Batch, StatementRow, Tally
from skyswarm.ports.work import Task
from tests.support.racing import child, race_processes
from tests.support.record_child import ROUNDS
from tests.support.record_rigs import ALICE, MADE_RIGS, SHARED_RIGS, TASK_RIGS, Rig

CHILD = "tests.support.record_child"
WORKERS = ("one/1", "two/1", "three/1")

Shared = tuple[Rig, str]
Raced = tuple[Rig, dict[str, list[int]]]


def compete(store: str, *ways: str) -> dict[str, list[int]]:
    """What the processes won of each thing they raced for, all together, in order."""
    won = race_processes(CHILD, [(store, ",".join(ways), name) for name in WORKERS])
    return {way: sorted(itertools.chain(*(one[way] for one in won))) for way in ways}


@pytest.fixture(scope="module", params=SHARED_RIGS)
def raced(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Raced]:
    """A rig after the race: the same processes for everything, because starting them is the dear part."""
    folder = tmp_path_factory.mktemp("raced")
    rig = SHARED_RIGS[request.param](folder)
    rig.transfers.add(ALICE, "t", [Batch(number, "g", b"") for number in range(ROUNDS)])
    void = [(seq, name) for seq in range(ROUNDS) for name in ("one", "other")]
    rig.statements.append(ALICE, [StatementRow(f"{s} {n}", "void", s, "vouch", b"", 0.0) for s, n in void])
    yield rig, compete(f"{request.param}:{folder}", "extend", "beside", "nonces", "meter", "note", "work")
    rig.close()


@pytest.mark.parametrize("kind", MADE_RIGS)
def test_processes_that_open_a_new_store_at_once_find_one(kind: str, tmp_path: Path) -> None:
    assert compete(f"{kind}:{tmp_path}", "extend")["extend"] == list(range(ROUNDS))
    rig = MADE_RIGS[kind](tmp_path)
    assert [one.seq for one in rig.statements.after(ALICE, 0, 100)] == list(range(ROUNDS))
    rig.close()


def test_one_process_extends_a_chain_by_a_number(raced: Raced) -> None:
    rig, won = raced
    assert won["extend"] == list(range(ROUNDS))
    assert [one.seq for one in rig.statements.of(ALICE, "me")] == list(range(ROUNDS))


def test_one_process_extends_beside_what_is_void(raced: Raced) -> None:
    rig, won = raced
    assert won["beside"] == list(range(ROUNDS))
    assert [one.seq for one in rig.statements.of(ALICE, "void")] == [
        seq for seq in range(ROUNDS) for _ in range(3)
    ]
    assert rig.statements.count(ALICE) == 4 * ROUNDS


def test_one_process_uses_a_nonce(raced: Raced) -> None:
    assert raced[1]["nonces"] == list(range(ROUNDS))


def test_processes_together_stay_under_the_limit_of_a_meter(raced: Raced) -> None:
    rig, won = raced
    assert won["meter"] == list(range(1, ROUNDS + 6))
    assert rig.meters.read(ALICE, "m") == ROUNDS + 5


def test_no_conditional_write_of_a_process_is_lost(raced: Raced) -> None:
    kept = raced[0].notes.get(ALICE, "sum")
    assert kept is not None and int(kept.value) == len(WORKERS) * (ROUNDS // 2)


def test_processes_finish_every_batch_once(raced: Raced) -> None:
    rig, won = raced
    assert won["work"] == list(range(ROUNDS))
    assert rig.transfers.tally(ALICE, "t") == Tally(batches=ROUNDS, done=ROUNDS, bytes=3 * ROUNDS)
    assert rig.transfers.tally(ALICE, "t", "g2") == Tally(files=ROUNDS)


@pytest.mark.parametrize("kind", [kind for kind in TASK_RIGS if kind in MADE_RIGS])
def test_processes_share_the_tasks(kind: str, tmp_path: Path) -> None:
    rig = TASK_RIGS[kind](tmp_path)
    assert rig.tasks is not None
    for number in range(ROUNDS):
        rig.tasks.push(Task(ALICE, str(number), b""))
    assert compete(f"{kind}:{tmp_path}", "tasks")["tasks"] == list(range(ROUNDS))
    rig.close()


@pytest.mark.parametrize("rounds", [1, 6, 20])
def test_what_was_acknowledged_survives_kill_9(shared_rig: Shared, rounds: int) -> None:
    rig, store = shared_rig
    rig.transfers.add(ALICE, "t", [Batch(0, "g", b"")])
    victim = child(CHILD, store, "until-killed", "dead/1")
    try:
        assert victim.stdin is not None and victim.stdout is not None
        assert victim.stdout.readline() == "ready\n"
        victim.stdin.write("go\n")
        victim.stdin.flush()
        for _ in range(rounds):
            victim.stdout.readline()
        victim.kill()
        said = [*range(rounds), *(int(line) for line in victim.stdout if line.endswith("\n"))]
    finally:
        victim.kill()
        victim.communicate()
    last = said[-1]
    assert last == len(said) - 1
    assert rig.statements.count(ALICE) > last
    # Whole or not at all: the counters agree with the batches, and with each other.
    done = rig.transfers.tally(ALICE, "t").done
    undone = [one.number for one in rig.transfers.undone(ALICE, "t")]
    assert last < done <= last + 2
    assert undone == list(range(done, done + len(undone)))
    assert rig.transfers.tally(ALICE, "t") == Tally(batches=done + len(undone), done=done, bytes=3 * done)
    assert rig.transfers.tally(ALICE, "t", "from:x") == Tally(bytes=3 * done)
    assert rig.transfers.get(ALICE, f"t{last}") is not None
    assert rig.notes.get(ALICE, f"k{last}") is not None
    assert rig.meters.read(ALICE, "m") > last
    assert not rig.nonces.use(ALICE, f"n{last}", 1e9, 0)
    if rig.tasks is not None:
        assert len(rig.tasks.pull("w", 0, 10, limit=9999)) > last
