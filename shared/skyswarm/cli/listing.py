"""`ls` and `receipts`: what was and is moved, and what both sides have signed for it.

Law: made from what is stored at the moment of asking; text from peers is shown as data.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skyswarm.cli import human
from skyswarm.cli.frame import Cli, Command, sentences

if TYPE_CHECKING:
    from skyswarm.edge.runtime import Runtime
    from skyswarm.messages.receipts import SignedReceipt
    from skyswarm.usecases.jobs import Job


def register(app: typer.Typer) -> None:
    """Put these commands into the application."""
    for function in (ls, receipts):
        app.command(cls=Command)(function)


def ls(
    ctx: typer.Context,
    transfer: Annotated[
        str | None, typer.Argument(metavar="[TRANSFER]", help="One, with everything.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="How many, newest first.")] = 20,
) -> None:
    """List transfers, or show one with all that is known.

    \b
    $ skyswarm ls
    TRANSFER    STATE  NAME    DONE  SIZE     STARTED
    t-81ab22cd  done   photos  100%  61.2 GB  5 min ago
    """
    from skyswarm.usecases import jobs

    cli = Cli.of(ctx)
    with cli.open() as runtime:
        if transfer is not None:
            job = jobs.load(runtime.deps, runtime.agent, transfer)
            cli.give(_whole(runtime, job), *_details(runtime, job), brief=job.state)
            return
        found = _newest(runtime, limit)
        rows = [_status(runtime, job) for job in found]
        lines = _table(runtime, rows) or ["No transfers yet. Begin: skyswarm get LINK"]
        cli.give(
            {"transfers": [_json(row) for row in rows]}, *lines, brief="\n".join(job.id for job in found)
        )


def _newest(runtime: Runtime, limit: int) -> list[Job]:
    from skyswarm.usecases import jobs

    out: list[Job] = []
    while len(out) < limit and (
        page := jobs.page(runtime.deps, runtime.agent, out[-1].id if out else "", min(100, limit - len(out)))
    ):
        out += page
    return out


def _status(runtime: Runtime, job: Job) -> Any:
    from skyswarm.usecases.reporting import report_of, status_of

    return status_of(
        runtime.deps, runtime.agent, report_of(runtime.deps, runtime.agent, job), runtime.deps.clock()
    )


def _json(status: Any) -> Any:
    from skyswarm.cli.follow import to_json

    return to_json(status)


def _table(runtime: Runtime, rows: list[Any]) -> list[str]:
    from skyswarm.cli.display import table

    now = runtime.deps.clock()
    return table(
        ("TRANSFER", "STATE", "NAME", ">DONE", ">SIZE", "STARTED", ""),
        [
            (
                row.transfer,
                row.state,
                row.name,
                f"{100 * row.bytes.done // row.bytes.total}%" if row.bytes.total else "–",
                human.size(row.bytes.total) if row.bytes.total else "–",
                human.when(row.started, now),
                _trouble(row),
            )
            for row in rows
        ],
    )


def _trouble(row: Any) -> str:
    """Why it ended or stopped, or why it waits."""
    if row.error:
        return f"{row.error.code} {row.error.message}"[:60]
    return f"waits: {row.waiting.code} {row.waiting.message}"[:60] if row.waiting else ""


def _whole(runtime: Runtime, job: Job) -> Any:
    """The status document, and what only the owner of the transfer needs beside it."""
    return _json(_status(runtime, job)) | {
        "manifest": job.manifest,
        "storage": job.storage,
        "prefix": job.prefix,
        "origin": job.origin or None,
        "history": list(job.history),
        "dropped": [
            {"agent": one.agent, "code": one.code, "reason": one.reason}
            for one in job.sources
            if one.state == "dropped"
        ],
    }


def _details(runtime: Runtime, job: Job) -> Iterator[str]:
    from skyswarm.cli.display import progress
    from skyswarm.cli.follow import ending
    from skyswarm.cli.open import person
    from skyswarm.usecases.jobs import ACTIVE

    status, now = _status(runtime, job), runtime.deps.clock()
    if job.state in ACTIVE:
        yield progress(status, status.rate, bar=False)
    else:
        yield from ending(runtime, status)
    yield f"name      {job.name or '(not known yet)'}"
    yield f"manifest  {job.manifest}"
    yield f"goes to   {job.storage}:/{job.prefix}"
    if job.origin:
        yield f"dropped   as {job.origin} into the inbox"
    for source in job.sources:
        if source.state == "dropped":
            yield f"dropped   {person(runtime, source.agent)}: {source.code} {source.reason}"
    if status.waiting is not None:
        again = f", tried again {human.when(status.waiting.next, now)}" if status.waiting.next else ""
        yield f"waits     {status.waiting.code} {status.waiting.message}{again}"
    for at, step in enumerate(job.history):
        # `get` holds what it starts until its price is agreed to: nobody has paused it.
        state = "begun" if at == 0 and step["state"] == "paused" else step["state"]
        yield f"{human.when(step['at'], now):>12}  {state} {step.get('code', '')}".rstrip()
    if job.error:
        yield f"{job.error['code']} {sentences(job.error['message'], job.error.get('advice', ''))}"


def receipts(
    ctx: typer.Context,
    person: Annotated[str | None, typer.Argument(metavar="[PERSON]", help="Only with this one.")] = None,
) -> None:
    """List receipts: what you got and gave, signed by both sides.

    \b
    $ skyswarm receipts
    WITH   WAY   BYTES    PIECES  TRANSFER    SIGNED BY
    alice  got   61.2 GB   1,010  t-81ab22cd  both
    """
    from skyswarm.cli.display import table
    from skyswarm.usecases import people

    cli = Cli.of(ctx)
    with cli.open() as runtime:
        me = runtime.agent
        other = people.find(runtime.deps, me, person) if person else None
        found = [
            one for one in _receipts(runtime) if other in (None, one.receipt.giver, one.receipt.receiver)
        ]
        found.sort(key=lambda one: (-one.receipt.at, one.receipt.id))
        lines = table(
            ("WITH", "WAY", ">BYTES", ">PIECES", "TRANSFER", "SIGNED BY", "WHEN"),
            [_receipt_cells(runtime, one) for one in found],
        )
        value = {"receipts": [_receipt_json(one, me) for one in found]}
    cli.give(value, *(lines or ["No receipts yet."]), brief="\n".join(one.receipt.id for one in found))


def _receipts(runtime: Runtime) -> Iterator[SignedReceipt]:
    """One for each transfer and pair; a pair's newest also when its other side has not signed it yet."""
    from skyswarm.messages.receipts import parse_receipt

    seen: dict[str, SignedReceipt] = {}
    after = ""
    while page := runtime.deps.notes.page(runtime.agent, "receipt/", after, 500):
        for one in page:
            signed = parse_receipt(one.value)
            known = seen.get(signed.receipt.id)
            if known is None or (signed.complete and not known.complete):
                seen[signed.receipt.id] = signed
        after = page[-1].key
    yield from seen.values()


def _receipt_cells(runtime: Runtime, signed: SignedReceipt) -> tuple[str, ...]:
    from skyswarm.cli.open import person

    receipt, got = signed.receipt, signed.receipt.receiver == runtime.agent
    return (
        person(runtime, receipt.giver if got else receipt.receiver),
        "got" if got else "gave",
        human.size(receipt.bytes),
        f"{receipt.pieces:,}",
        receipt.transfer,
        "both" if signed.complete else "receiver only",
        human.when(receipt.at, runtime.deps.clock()),
    )


def _receipt_json(signed: SignedReceipt, me: str) -> dict[str, Any]:
    receipt = signed.receipt
    return {
        "id": receipt.id,
        "way": "got" if receipt.receiver == me else "gave",
        "giver": receipt.giver,
        "receiver": receipt.receiver,
        "manifest": receipt.manifest,
        "transfer": receipt.transfer,
        "bytes": receipt.bytes,
        "pieces": receipt.pieces,
        "wasted": receipt.wasted,
        "cost_micro": receipt.cost,
        "total_bytes": receipt.total_bytes,
        "seq": receipt.seq,
        "at": receipt.at,
        "complete": signed.complete,
    }
