"""What the record ports promise when real processes use one store at once, and when one of them is killed."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from skyswarm.ports.records import Batch, StatementRow, Tally
from skyswarm.ports.work import Task
from tests.support.racing import child, race_processes
from tests.support.record_child import ROUNDS
from tests.support.record_rigs import ALICE, SHARED_RIGS, Rig

CHILD = "tests.support.record_child"
WORKERS = ("one/1", "two/1", "three/1")

Shared = tuple[Rig, str]


def compete(store: str, way: str) -> list[list[int]]:
    return race_processes(CHILD, [(store, way, name) for name in WORKERS])


@pytest.mark.parametrize("kind", SHARED_RIGS)
def test_processes_that_open_a_new_store_at_once_find_one(kind: str, tmp_path: Path) -> None:
    won = compete(f"{kind}:{tmp_path}", "extend")
    assert sorted(itertools.chain(*won)) == list(range(ROUNDS))
    rig = SHARED_RIGS[kind](tmp_path)
    assert [one.seq for one in rig.statements.after(ALICE, 0, 100)] == list(range(ROUNDS))
    rig.close()


def test_one_process_extends_beside_what_is_void(shared_rig: Shared) -> None:
    rig, store = shared_rig
    for seq in range(ROUNDS):
        for name in ("one", "other"):
            rig.statements.append(ALICE, [StatementRow(f"{seq} {name}", "me", seq, "vouch", b"", 0.0)])
    assert sorted(itertools.chain(*compete(store, "beside"))) == list(range(ROUNDS))
    assert rig.statements.count(ALICE) == 3 * ROUNDS


def test_one_process_uses_a_nonce(shared_rig: Shared) -> None:
    assert sorted(itertools.chain(*compete(shared_rig[1], "nonces"))) == list(range(ROUNDS))


def test_processes_together_stay_under_the_limit_of_a_meter(shared_rig: Shared) -> None:
    rig, store = shared_rig
    assert sorted(itertools.chain(*compete(store, "meter"))) == list(range(1, ROUNDS + 6))
    assert rig.meters.read(ALICE, "m") == ROUNDS + 5


def test_no_conditional_write_of_a_process_is_lost(shared_rig: Shared) -> None:
    rig, store = shared_rig
    compete(store, "note")
    kept = rig.notes.get(ALICE, "sum")
    assert kept is not None and int(kept.value) == len(WORKERS) * (ROUNDS // 2)


def test_processes_finish_every_batch_once(shared_rig: Shared) -> None:
    rig, store = shared_rig
    rig.transfers.add(ALICE, "t", [Batch(number, "g", b"") for number in range(ROUNDS)])
    assert sorted(itertools.chain(*compete(store, "work"))) == list(range(ROUNDS))
    assert rig.transfers.tally(ALICE, "t") == Tally(batches=ROUNDS, done=ROUNDS, bytes=3 * ROUNDS)
    assert rig.transfers.tally(ALICE, "t", "g2") == Tally(files=ROUNDS)


def test_processes_share_the_tasks(shared_rig: Shared) -> None:
    rig, store = shared_rig
    for number in range(ROUNDS):
        rig.tasks.push(Task(ALICE, str(number), b""))
    assert sorted(itertools.chain(*compete(store, "tasks"))) == list(range(ROUNDS))


@pytest.mark.parametrize("rounds", [1, 20, 55])
def test_what_was_acknowledged_survives_kill_9(shared_rig: Shared, rounds: int) -> None:
    rig, store = shared_rig
    rig.transfers.add(ALICE, "t", [Batch(number, "g", b"") for number in range(5000)])
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
    assert last < done <= last + 2
    assert rig.transfers.tally(ALICE, "t") == Tally(batches=5000, done=done, bytes=3 * done)
    assert rig.transfers.tally(ALICE, "t", "from:x") == Tally(bytes=3 * done)
    assert rig.transfers.undone(ALICE, "t", limit=1)[0].number == done
    assert rig.transfers.get(ALICE, f"t{last}") is not None
    assert rig.notes.get(ALICE, f"k{last}") is not None
    assert rig.meters.read(ALICE, "m") > last
    assert not rig.nonces.use(ALICE, f"n{last}", 1e9, 0)
    assert len(rig.tasks.pull("w", 0, 10, limit=9999)) > last
