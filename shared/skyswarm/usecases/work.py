"""What happens to a task: which use case it names, and what each outcome means for the queue and the transfer.

Law: every use case named here is idempotent, so a task may come twice or late. A retryable error puts the task off,
longer each time; a transfer that verifies nothing for `Limits.patience` gives up with the last reason; all else ends
the transfer in the state that says why. Nothing is swallowed: what cannot be placed is raised to the worker's log, and
the worker hands the delivery to `defect`, so that nothing comes back for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from math import ceil

from skyswarm.errors import (
    CancelledError,
    ConflictError,
    CostCapError,
    DestinationFullError,
    LeaseLostError,
    NoSourceError,
    SkyError,
    SourceRefusedError,
    StorageFullError,
)
from skyswarm.messages import canonical
from skyswarm.ports.records import Entry
from skyswarm.ports.work import Delivery
from skyswarm.usecases import inbox, jobs, settle, spreading
from skyswarm.usecases.deps import Deps
from skyswarm.usecases.jobs import ACTIVE, Job
from skyswarm.usecases.move import move
from skyswarm.usecases.mover import ROOM
from skyswarm.usecases.plan import MAX_PLAN, find_sources, plan
from skyswarm.usecases.relay import NotNow

TRANSFER_KINDS = frozenset({"plan", "move", "settle"})
MAX_BODY = 16 * 1024
RECEIPT_TRIES = 200
DEFECTS = 3
DEFECTS_ELSEWHERE = 20
"""How often a task may meet what nobody foresaw, in a worker's life: one of a transfer, and any other."""
LOOK_AFTER = 10.0
"""Once every source has rested this long in vain it is looked whether one is elsewhere, or another has come."""


def perform(deps: Deps, delivery: Delivery, holder: str, pool: Executor) -> None:
    """Run one delivery and settle it with the queue. `holder` names this worker: `<instance>/<thread>`."""
    task = delivery.task
    body = canonical.loads(task.body_json, MAX_BODY)
    began = 0
    try:
        if task.kind in TRANSFER_KINDS:
            began = jobs.load(deps, task.agent, str(body["transfer"])).round
        _run(deps, task.agent, task.kind, body, holder, pool)
    except LeaseLostError:
        # Somebody else is at it. Look again when its lease could have ended, should it have died.
        deps.tasks.later(delivery, deps.clock() + deps.limits.lease / 4)
    except CancelledError:
        deps.tasks.done(delivery)
    except SkyError as error:
        _trouble(deps, delivery, body, error, pool, began)
    else:
        deps.tasks.done(delivery)


def _run(deps: Deps, agent: str, kind: str, body: dict[str, object], holder: str, pool: Executor) -> None:
    transfer = str(body.get("transfer", ""))
    runs: dict[str, Callable[[], object]] = {
        "plan": lambda: plan(deps, agent, transfer, pool),
        "move": lambda: move(deps, agent, transfer, int(str(body["number"])), holder),
        "settle": lambda: settle.settle(deps, agent, transfer),
        "receipts": lambda: settle.receipts(deps, agent, transfer),
        "sync": lambda: spreading.synchronise(deps, agent, pool),
    }
    runs[kind]()
    if kind in TRANSFER_KINDS:
        job = jobs.load(deps, agent, transfer)
        if kind == "move" and job.waiting is not None:
            job = jobs.change(
                deps, agent, transfer, lambda one: replace(one, waiting=None) if one.waiting else None
            )
        if job.origin and kind != "move":
            inbox.write_status(deps, agent, job)


def _trouble(
    deps: Deps, delivery: Delivery, body: dict[str, object], error: SkyError, pool: Executor, began: int
) -> None:
    task, now = delivery.task, deps.clock()
    wait = min(30.0, 0.25 * 2 ** min(delivery.attempt, 7))
    if task.kind not in TRANSFER_KINDS:
        if task.kind == "receipts":
            wait = min(3600.0, 0.25 * 2 ** min(delivery.attempt, 14))  # a giver may be away for days
        if task.kind == "receipts" and delivery.attempt >= RECEIPT_TRIES:
            deps.tasks.done(delivery)  # `skyswarm receipts` shows which lack a signature
        else:
            deps.tasks.later(delivery, now + wait)
        return
    transfer = str(body["transfer"])
    if isinstance(error, StorageFullError):
        error = DestinationFullError(error.message, advice=ROOM)
    final = _final(error)
    if final is None and _patience_over(deps, task.agent, transfer, now):
        final = "failed"
    if final is not None:
        job = settle.give_up(deps, task.agent, transfer, final, error, began)
        if job.origin:
            inbox.write_status(deps, task.agent, job)
        if job.state in ACTIVE:  # resumed since this worker began: what it met was of the round before
            deps.tasks.later(delivery, now)
        else:
            deps.tasks.done(delivery)
        return
    waits = jobs.load(deps, task.agent, transfer)
    at = now + waits.longest_wait(now, wait)
    if isinstance(error, NotNow):
        at = max(now + 0.05, error.at)
    first = not isinstance(error, ConflictError) and _note_waiting(deps, waits, task.agent, error, now, at)
    long = waits.waiting is not None and now - float(waits.waiting["since"]) > LOOK_AFTER
    if task.kind == "move" and (
        isinstance(error, NoSourceError) or (isinstance(error, NotNow) and first and long)
    ):
        _look_again(deps, task.agent, transfer, pool)
    deps.tasks.later(delivery, at)


def defect(deps: Deps, delivery: Delivery, error: SkyError, times: int) -> bool:
    """Settle a delivery that `perform` raised out of, the `times`-th time: put off, or at last given up, its transfer
    failed with `error`. Whether it was given up. Raises what stands against that; the delivery is settled then too,
    unless it is retryable."""
    task, now = delivery.task, deps.clock()
    transferring = task.kind in TRANSFER_KINDS
    if times < (DEFECTS if transferring else DEFECTS_ELSEWHERE):
        deps.tasks.later(delivery, now + min(30.0, 0.25 * 2 ** min(times, 7)))
        return False
    settled = True
    try:
        if transferring:
            transfer = str(canonical.loads(task.body_json, MAX_BODY)["transfer"])
            began = jobs.load(deps, task.agent, transfer).round
            job = settle.give_up(deps, task.agent, transfer, "failed", error, began)
            if job.origin:
                inbox.write_status(deps, task.agent, job)
    except SkyError as trouble:
        settled = (
            not trouble.retryable
        )  # a store that is away for a moment: it comes again with its lease's end
        raise
    finally:
        if settled:
            deps.tasks.done(delivery)
    return True


def _note_waiting(deps: Deps, seen: Job, agent: str, error: SkyError, now: float, at: float) -> bool:
    """Keep why it waits, when that is another reason than before or its next try has come. True: it was noted by us."""
    old = seen.waiting
    same = old is not None and (old["code"], old["message"]) == (error.code, error.message)
    if seen.state not in ACTIVE or (same and old is not None and old["next"] > now):
        return False
    fresh = {"code": error.code, "message": error.message, "since": old["since"] if old else int(now)}
    try:
        jobs.store(deps, agent, replace(seen, waiting=fresh | {"next": ceil(at)}))
    except ConflictError:
        return False  # another worker has just written the job; the next trouble is noted
    return True


def _final(error: SkyError) -> str | None:
    """The state that this error ends a transfer in; None: it is worth another try."""
    if isinstance(error, CostCapError | DestinationFullError | StorageFullError):
        return "stopped"
    if isinstance(error, SourceRefusedError) or error.code.startswith("SKY-2"):
        return "refused"
    if error.retryable or isinstance(error, NotNow | ConflictError):
        return None
    return "failed"


def _look_again(deps: Deps, agent: str, transfer: str, pool: Executor) -> None:
    """No source is left: perhaps another agent has announced the share meanwhile, or ours is back at a new address."""
    try:
        find_sources(deps, agent, jobs.load(deps, agent, transfer), pool)
    except SkyError:
        return  # the reason that is kept is the one the worker met


def _patience_over(deps: Deps, agent: str, transfer: str, now: float) -> bool:
    """Whether nothing was verified since trouble began, for longer than the user waits.

    A resume begins anew; pieces inside of batches that are under way count as soon as their holder has saved them.
    """
    key = f"stall/{transfer}"
    tally = deps.transfers.tally(agent, transfer)
    under_way = sum(
        canonical.loads(batch.progress_json, MAX_PLAN).get("bytes", 0)
        for batch in deps.transfers.undone(agent, transfer, limit=64)
    )
    begun = max((step["at"] for step in jobs.load(deps, agent, transfer).history), default=0)
    state = {
        "bytes": tally.bytes,
        "done": tally.done,
        "under_way": under_way,
        "begun": begun,
        "since": int(now),
    }
    known = deps.notes.get(agent, key)
    if known is not None:
        seen = canonical.loads(known.value, 256)
        same = all(seen.get(name) == state[name] for name in ("bytes", "done", "begun"))
        if same and under_way <= seen.get("under_way", 0):
            return bool(now - seen["since"] > deps.limits.patience)
    try:
        deps.notes.put(agent, Entry(key, canonical.dumps(state), known.version if known else 0))
    except ConflictError:
        return False  # another worker has just noted the same
    return False
