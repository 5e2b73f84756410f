"""A process of its own over the store of a rig: races for records, or writes until it is killed.

`python -m tests.support.record_child <rig>:<folder> <what>,<what> <name>` says `ready`, waits for a line, prints one
JSON line of what it won of each; with `until-killed` it prints each step after it was acknowledged, and never ends.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable
from pathlib import Path

from skyswarm.errors import ConflictError, QuotaError
from skyswarm.ports.records import Batch, Entry, StatementRow, Tally, Transfer
from skyswarm.ports.work import Task
from tests.support.record_rigs import ALICE, SHARED_RIGS, Rig

ROUNDS = 24


def extend(rig: Rig, name: str) -> list[int]:
    """Sequence numbers at which this process's statement is the one of the chain."""
    won = []
    for seq in range(ROUNDS):
        try:
            rig.statements.extend(ALICE, StatementRow(f"{seq} of {name}", "me", seq, "vouch", b"", 0.0))
            won.append(seq)
        except ConflictError:
            continue
    return won


def beside(rig: Rig, name: str) -> list[int]:
    """The same where each number is disputed already."""
    won = []
    for seq in range(ROUNDS):
        mine = StatementRow(f"{seq} beside {name}", "void", seq, "rotate", b"", 0.0)
        try:
            rig.statements.extend(ALICE, mine, (f"{seq} one", f"{seq} other"))
            won.append(seq)
        except ConflictError:
            continue
    return won


def nonces(rig: Rig, name: str) -> list[int]:
    return [number for number in range(ROUNDS) if rig.nonces.use(ALICE, f"n{number}", 100, 50)]


def meter(rig: Rig, name: str) -> list[int]:
    won = []
    for _ in range(ROUNDS):
        try:
            won.append(rig.meters.add(ALICE, "m", 1, limit=ROUNDS + 5))
        except QuotaError:
            break
    return won


def note(rig: Rig, name: str) -> list[int]:
    """Counts up a number in a note by reading, deciding and writing conditionally."""
    for _ in range(ROUNDS // 2):
        while True:
            old = rig.notes.get(ALICE, "sum") or Entry("sum", b"0")
            try:
                rig.notes.put(ALICE, Entry("sum", str(int(old.value) + 1).encode(), old.version))
                break
            except ConflictError:
                continue
    return []


def work(rig: Rig, name: str) -> list[int]:
    """Leases and finishes whatever batch is to be had."""
    done = []
    while found := rig.transfers.undone(ALICE, "t"):
        for one in found:
            if rig.transfers.lease(ALICE, "t", one.number, name, 0, 10) is not None:
                assert rig.transfers.finish(
                    ALICE, "t", one.number, name, Tally(bytes=3), {"g2": Tally(files=1)}
                )
                done.append(one.number)
    return done


def tasks(rig: Rig, name: str) -> list[int]:
    done = []
    assert rig.tasks is not None
    while found := rig.tasks.pull(name, now=0, lease=10, limit=2):
        for one in found:
            done.append(int(one.task.kind))
            rig.tasks.done(one)
    return done


def until_killed(rig: Rig, name: str) -> list[int]:
    """Every kind of write, one after the other; a line is printed once all of one round were acknowledged."""
    for number in itertools.count():
        rig.statements.extend(ALICE, StatementRow(f"s{number}", "me", number, "vouch", b"x" * 300, 0.0))
        rig.transfers.add(ALICE, "t", [Batch(number + 1, "g", b"")])
        rig.transfers.lease(ALICE, "t", number, name, 0, 1e9)
        rig.transfers.finish(ALICE, "t", number, name, Tally(bytes=3), {"from:x": Tally(bytes=3)})
        rig.transfers.lease(ALICE, "t", number + 1, name, 0, 1e9)
        rig.transfers.put(ALICE, Transfer(f"t{number}", "queued", 0.0, b""))
        if rig.tasks is not None:
            rig.tasks.push(Task(ALICE, str(number), b""))
        rig.notes.put(ALICE, Entry(f"k{number}", b"v"))
        rig.meters.add(ALICE, "m", 1, 1 << 40)
        assert rig.nonces.use(ALICE, f"n{number}", 1e9, 0)
        print(number, flush=True)
    raise AssertionError("a count that ends")


WAYS: dict[str, Callable[[Rig, str], list[int]]] = {
    "extend": extend,
    "beside": beside,
    "nonces": nonces,
    "meter": meter,
    "note": note,
    "work": work,
    "tasks": tasks,
    "until-killed": until_killed,
}


def main(store: str, ways: str, name: str) -> None:
    kind, _, folder = store.partition(":")
    print("ready", flush=True)
    sys.stdin.readline()
    rig = SHARED_RIGS[kind](Path(folder))  # after the signal: opening a new store is part of the race
    print(json.dumps({way: WAYS[way](rig, name) for way in ways.split(",")}))
    rig.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
