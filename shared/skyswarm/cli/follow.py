"""Following transfers until they end, and moving them when no process serves this home.

Law: whoever holds the home's lock moves the bytes; everybody else only watches. Leaving at any moment loses nothing.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any

import typer

from skyswarm.cli import human
from skyswarm.cli.display import Live, Speed, progress
from skyswarm.cli.frame import Cli, print_json, sentences
from skyswarm.drivers.local.home import MOVER, Holder
from skyswarm.errors import HomeInUseError
from skyswarm.usecases import jobs
from skyswarm.usecases.jobs import ACTIVE, Job
from skyswarm.usecases.reporting import Report, held, report, status_of

if TYPE_CHECKING:
    from skyswarm.edge.process import Workers
    from skyswarm.edge.runtime import Runtime
    from skyswarm.messages.status import Status

LOOK = 0.2
"""Seconds between two looks at the stored state."""
RECEIPTS = 10.0
"""Seconds to wait for the sources' signatures once the bytes are there."""
SAVING = 3.0
"""Seconds to wait for other processes' workers, which save what they have brought once they see that it was ended."""
HOLDER = 1.0


class Engine:
    """Moves the transfers of this home while no other process does."""

    def __init__(self, cli: Cli, runtime: Runtime, *, may_work: bool = True) -> None:
        self._cli, self._runtime, self._may_work = cli, runtime, may_work
        self._workers: Workers | None = None
        self._lock = ExitStack()
        self._leaving = False
        self._looked = -HOLDER
        self.holder: Holder | None = None

    @property
    def working(self) -> bool:
        """Whether it is this process that moves the bytes."""
        return self._workers is not None and not self._leaving

    def __enter__(self) -> Engine:
        self.tick()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._workers is not None:
            self._workers.stop()
        self._lock.close()

    def tick(self) -> None:
        """Take over when whoever served this home is gone, and give way to a server."""
        if self._workers is not None:
            self._give_way(self._workers)
            return
        if time.monotonic() - self._looked < HOLDER:
            return
        self._looked = time.monotonic()
        before, self.holder = self.holder, self._runtime.home.holder()
        if self.holder is not None or not self._may_work or self._runtime.home.wanted():
            return
        with suppress(HomeInUseError):  # somebody was faster
            self._start(taken_over=before is not None)

    def _give_way(self, workers: Workers) -> None:
        """The lock goes only when no worker is left: who takes it may believe that every other one is dead."""
        if not self._leaving and self._runtime.home.wanted():
            self._leaving = True
            workers.leave()
        if self._leaving and not workers.busy:
            self._lock.close()
            self._workers, self._leaving = None, False
            self._cli.hint("A server takes over; this command only watches from now on.")

    def _start(self, *, taken_over: bool) -> None:
        from skyswarm.edge.process import Workers
        from skyswarm.usecases.settle import wake

        runtime = self._runtime
        self._lock.enter_context(runtime.home.lock(MOVER))
        workers = Workers(runtime)
        runtime.tasks.reclaim(workers.instance)
        runtime.transfers.reclaim(workers.instance)
        for job in jobs.page(runtime.deps, runtime.agent, limit=1000):
            wake(runtime.deps, runtime.agent, job)
        workers.start()
        self._workers = workers
        why = (
            "The process that worked for this home has ended" if taken_over else "No process serves this home"
        )
        self._cli.hint(f"{why}, so this command moves the bytes.")


def follow(cli: Cli, runtime: Runtime, ids: list[str], *, work: bool, as_lines: bool = False) -> list[Status]:
    """Show these transfers until all have ended; the last statuses. `as_lines`: with --json, one object a line."""
    speeds = {one: Speed() for one in ids}
    told: set[str] = set()
    states: dict[str, str] = {}
    last: list[Status] = []
    spoke = 0.0
    ended_at: float | None = None
    with (
        Engine(cli, runtime, may_work=work) as engine,
        Live(sys.stdout, silent=cli.json or cli.quiet) as live,
    ):
        while True:
            reports = [report(runtime.deps, runtime.agent, one) for one in ids]
            last = [status_of(runtime.deps, runtime.agent, one, runtime.deps.clock()) for one in reports]
            changed = any(states.get(one.transfer) != one.state for one in last)
            states.update({one.transfer: one.state for one in last})
            for one in reports:
                if one.job.estimate and one.job.id not in told:
                    told.add(one.job.id)
                    live.print(*estimate_lines(runtime, one.job))
            if as_lines and cli.json and (changed or time.monotonic() - spoke >= 1.0):
                spoke = time.monotonic()
                for status in last:
                    print_json(to_json(status))
            now = time.monotonic()
            lines = [
                progress(one, speeds[one.transfer].at(now, one.bytes.done), bar=live.rewrites) for one in last
            ]
            live.show(lines, now=changed)
            if all(state not in ACTIVE for state in states.values()):
                ended_at = ended_at or now
                if engine.working:
                    over = now - ended_at > RECEIPTS or all(map(_settled, reports))
                else:
                    over = now - ended_at > SAVING or not any(
                        held(runtime.deps, runtime.agent, one.job) for one in reports
                    )
                if over:
                    break
            engine.tick()
            time.sleep(LOOK)
    # Once more: what the workers have saved as they stopped is safe as well.
    reports = [report(runtime.deps, runtime.agent, one) for one in ids]
    final = [status_of(runtime.deps, runtime.agent, one, runtime.deps.clock()) for one in reports]
    for before, status in zip(last, final, strict=True):
        if as_lines and cli.json and status.bytes.done != before.bytes.done:
            print_json(to_json(status))
    return final


def _settled(found: Report) -> bool:
    """Whether every source that gave something has signed, or there is nothing to sign."""
    if found.job.state != "done":
        return True
    return len(found.job.receipts) >= sum(1 for count in found.by_source.values() if count)


def interrupted(cli: Cli, runtime: Runtime, ids: list[str]) -> None:
    """Ctrl-C while following: say where things stand."""
    holder = runtime.home.holder()
    names = " ".join(ids)
    if holder is not None:
        cli.hint("", f"{names} goes on in process {holder.pid}. Look again: skyswarm watch {names}")
    else:
        cli.hint("", f"What is verified is safe. Go on: skyswarm resume {names}, or skyswarm serve")
    for one in ids:
        job = jobs.load(runtime.deps, runtime.agent, one)
        if job.state in ACTIVE and job.waiting is not None:
            cli.hint(f"{one} stays active and waits. End it for good: skyswarm cancel {one}")


def to_json(status: Status) -> Any:
    """The status document of `spec/messages.md`, as a value."""
    return json.loads(status.dump())


def estimate_lines(runtime: Runtime, job: Job) -> list[str]:
    """The price before the start, line by line, with who pays."""
    from skyswarm.cli.open import person

    givers = ", ".join(person(runtime, one.agent) for one in job.active_sources()) or "the source"
    mine = sum(line["micro"] for line in job.estimate if line["payer"] == "you")
    theirs = sum(line["micro"] for line in job.estimate if line["payer"] == "them")
    lines = [
        f"{human.some(job.files, 'file')}, {human.size(job.bytes)} → {job.storage}:/{job.prefix}. "
        f"You pay about {human.money(mine)}, {givers} about {human.money(theirs)}."
    ]
    for line in job.estimate:
        if line["micro"]:
            who = "you" if line["payer"] == "you" else givers
            what = f"{line['what']}a storage not known yet" if line["what"].endswith(" ") else line["what"]
            lines.append(f"  {human.money(line['micro']):>9}  {what}, paid by {who}")
    if job.max_cost >= 0:
        lines.append(f"  it stops before it costs you more than {human.money(job.max_cost)}")
    return lines


def conclude(cli: Cli, runtime: Runtime, last: list[Status], *, printed: bool = False) -> None:
    """How it ended: the result on stdout, and exit code 1 unless every transfer is done. `printed`: as JSON lines."""
    lines = [line for status in last for line in ending(runtime, status)]
    if not printed:
        value = to_json(last[0]) if len(last) == 1 else {"transfers": [to_json(one) for one in last]}
        cli.give(value, *lines)
    for status in last:
        if status.state != "done" and status.error is not None and not cli.json:
            cli.warn(f"{status.error.code} {sentences(status.error.message, status.error.advice)}")
    if any(status.state != "done" for status in last):
        raise typer.Exit(1)


def ending(runtime: Runtime, status: Status) -> list[str]:
    """A few lines on a transfer that has ended or stopped."""
    from skyswarm.cli.open import person

    over = (status.finished or status.updated) - status.started
    got = f"{human.some(status.files.done, 'file')}, {human.size(status.bytes.done)}"
    if status.state != "done":
        whole = f" of {human.size(status.bytes.total)}" if status.bytes.total else ""
        lines = [f"{status.transfer} {status.state}: {got}{whole} safe"]
    else:
        moved = status.bytes.done - status.bytes.held
        speed = f" ({human.size(status.rate)}/s)" if status.rate and moved else ""
        held = f", {human.size(status.bytes.held)} were there already" if status.bytes.held else ""
        lines = [f"{status.transfer} done: {got} in {human.clock(over)}{speed}{held}; every piece verified"]
    for source in status.sources:
        if source.bytes:
            lines.append(f"from      {person(runtime, source.agent)}: {human.size(source.bytes)}")
    if len(status.chain) > 1:
        lines.append("let in    " + " → ".join(person(runtime, one) for one in status.chain))
    if status.bytes.wasted:
        lines.append(f"wasted    {human.size(status.bytes.wasted)} came wrong and were thrown away")
    if status.cost.spent:
        lines.append(f"paid      {human.money(status.cost.spent)}")
    if status.receipts:
        lines.append(f"receipts  {len(status.receipts)}, signed by both sides")
    for failed in status.failed[:10]:
        lines.append(f"missing   {failed.path}: {failed.code} {failed.message}")
    if len(status.failed) > 10:
        lines.append(f"missing   and more: skyswarm ls {status.transfer}")
    return lines
