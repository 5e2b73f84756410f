"""`get`, `watch`, `pause`, `resume`, `cancel`: transfers to this agent's storages.

Law: commands only ask, call and show. Money is never spent without a word: the price comes before the start, and
where it is not nothing the user says yes, or has named a cap.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skyswarm.cli import human
from skyswarm.cli.frame import Cli, Command, local
from skyswarm.errors import InputError, LinkError, MalformedError, ManifestError, SkyError, TooLargeError

if TYPE_CHECKING:
    from skyswarm.edge.runtime import Runtime
    from skyswarm.messages.link import Link
    from skyswarm.usecases.jobs import Job
    from skyswarm.usecases.starting import Wish

_MADE_BY_SHARE = "`skyswarm share` says where it wrote one: …/NAME.manifest.json."

Transfer = Annotated[str, typer.Argument(metavar="TRANSFER", help="Its id, such as t-81ab22cd.")]
MaxCost = Annotated[
    str | None, typer.Option("--max-cost", metavar="USD", help="Stop before it costs you more than this.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace other files of the same names.")]
Detach = Annotated[bool, typer.Option("--detach", help="Start it and return; `skyswarm serve` moves it.")]


def register(app: typer.Typer) -> None:
    """Put these commands into the application."""
    for function in (get, watch, pause, resume, cancel):
        app.command(cls=Command)(function)


def get(
    ctx: typer.Context,
    what: Annotated[str, typer.Argument(metavar="LINK|FILE", help="A skyswarm: link, or a manifest's file.")],
    to: Annotated[
        str,
        typer.Argument(
            metavar="[STORAGE:/PREFIX|PATH]",
            help="Where it goes; default: home:/, which is the folder storage/ of the agent's home.",
            show_default=False,
        ),
    ] = "home:",
    max_cost: MaxCost = None,
    overwrite: Overwrite = False,
    keep: Annotated[bool, typer.Option("--keep-sharing", help="Serve on what was received.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Agree to the price without being asked.")] = False,
    detach: Detach = False,
) -> None:
    """Fetch what a link or a manifest names into your storage.

    Every piece is verified on the way. What is there already is not moved again.

    \b
    $ skyswarm get skyswarm:5d4f… drive:/Exchange --max-cost 6
    12,410 files, 61.2 GB → drive:/Exchange. You pay about $0.02, alice about $5.51.
    Close this window any time.
    """
    from skyswarm.usecases import settle

    cli = Cli.of(ctx)
    cap = human.parse_money(max_cost) if max_cost else -1
    named = _read(what)
    with cli.open() as runtime:
        job = _start(runtime, named, _wish(cli, runtime, to, cap, overwrite, keep))
        try:
            job, known = _price(runtime, job)
            _agree(cli, runtime, job, known, yes=yes)
        except BaseException:  # also Ctrl-C, here or at the question: nobody else would end what is held
            settle.cancel(runtime.deps, runtime.agent, job.id)
            raise
        settle.resume(runtime.deps, runtime.agent, job.id)
        if detach:
            from skyswarm.cli.follow import estimate_lines, to_json
            from skyswarm.usecases.reporting import report, status_of

            found = report(runtime.deps, runtime.agent, job.id)
            value = to_json(status_of(runtime.deps, runtime.agent, found, runtime.deps.clock()))
            lines = estimate_lines(runtime, job) if known else []
            cli.give(value, *lines, f"{job.id} is on its way: skyswarm watch {job.id}", brief=job.id)
            _still(cli, runtime, job.id)
            return
        _follow(cli, runtime, [job.id])


def _still(cli: Cli, runtime: Runtime, transfer: str) -> None:
    """Say so when nobody moves it."""
    if runtime.home.holder() is None:
        cli.hint(
            f"No process serves this home: nothing moves until `skyswarm serve` or `skyswarm resume {transfer}` runs."
        )


def _read(what: str) -> Link | bytes:
    """The link, or the bytes of the manifest's file. LinkError, InputError."""
    from skyswarm.messages.link import SCHEME, parse_link

    if what.startswith(SCHEME):
        try:
            return parse_link(what)
        except LinkError as error:
            raise LinkError(error.message, advice=error.advice or _link_advice(what)) from error
    try:
        return _read_file(what)
    except IsADirectoryError as error:
        raise InputError(
            f"{what} is a folder", advice="Name a manifest's file, or a skyswarm: link."
        ) from error
    except PermissionError as error:
        raise InputError(f"{what} cannot be read", advice="Give yourself access to it.") from error
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: `~name` of nobody
        raise InputError(
            f"{what!r} is neither a skyswarm: link nor a manifest's file that can be read",
            advice=_link_advice(what),
        ) from error


def _read_file(what: str) -> bytes:
    """The bytes of an ordinary file that may be a manifest. Opened without waiting: a pipe would let us hang."""
    from skyswarm.messages.dsse import max_size
    from skyswarm.messages.manifest import MAX_MANIFEST

    with os.fdopen(os.open(Path(what).expanduser(), os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY), "rb") as file:
        found, limit = os.fstat(file.fileno()), max_size(MAX_MANIFEST)
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(what)
        if not stat.S_ISREG(found.st_mode):
            raise InputError(f"{what} is not an ordinary file", advice="Save the manifest as a file first.")
        if found.st_size > limit or len(data := file.read(limit + 1)) > limit:
            raise ManifestError(
                f"{what} is not a manifest: those have {limit:,} bytes at most", advice=_MADE_BY_SHARE
            )
        return data


def _link_advice(what: str) -> str:
    """What is probably wrong with a link that is none."""
    from skyswarm.messages.link import SCHEME

    if re.fullmatch(r"[0-9a-f]{64}(\?.*)?", what):
        return f"Did you mean {SCHEME}{what} ?"
    if what.lower().startswith(SCHEME) and not what.startswith(SCHEME):
        return "Write skyswarm: in lower-case letters."
    if re.match(r"(?i)(https?|magnet|ftp|s3|gs):", what):
        return "It is the address of something else: ask for what `skyswarm share` printed."
    if re.fullmatch(SCHEME + "[0-9a-f]{0,63}", what):
        return "It is cut off: copy the whole link."
    if what.startswith(SCHEME):
        return "Copy the whole link as `skyswarm share` printed it, in quotes."
    return "Put a link into quotes: it has signs that the shell takes for its own."


def _start(runtime: Runtime, named: Link | bytes, wish: Wish) -> Job:
    from skyswarm.usecases.starting import start_link, start_manifest

    if isinstance(named, bytes):
        try:
            return start_manifest(runtime.deps, runtime.agent, named, wish)
        except (MalformedError, TooLargeError) as error:
            raise ManifestError(
                "this is not a manifest",
                advice=_MADE_BY_SHARE,
            ) from error
    return start_link(runtime.deps, runtime.agent, named, wish)


def _wish(cli: Cli, runtime: Runtime, to: str, cap: int, overwrite: bool, keep: bool) -> Wish:
    from skyswarm.cli.open import adopt, is_now, place, refuse_home, storage_meant
    from skyswarm.usecases.starting import Wish

    found = place(runtime, to, reading=False)
    if found is None:
        path = local(to)
        if path.exists() and not path.is_dir():
            raise InputError(f"{to} is a file", advice="Name a folder, or a storage: NAME:/prefix.")
        if not path.exists() and "/" not in to:
            raise InputError(
                f"there is no folder {to}",
                advice=storage_meant(runtime, to) or f"To make it, write ./{to}; a storage is NAME:/prefix.",
            )
        refuse_home(path)  # before a folder is made in it
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"the folder {to} cannot be made: {error.strerror}") from error
        storage, prefix, added = adopt(runtime, path, reading=False)
        if added:
            cli.hint(is_now(runtime, added))
        found = storage, prefix
    return Wish(*found, max_cost=cap, overwrite=overwrite, keep=keep, hold=True)


def _price(runtime: Runtime, job: Job) -> tuple[Job, bool]:
    """The job with its estimate, before a byte is moved. False: nobody could be asked yet; it is tried again later."""
    from skyswarm.usecases import jobs, plan

    deps, me = runtime.deps, runtime.agent
    try:
        job = plan.find_sources(deps, me, job, runtime.pool)
        manifest = plan.get_manifest(deps, me, job)
    except InputError:
        raise
    except SkyError:
        return job, False  # the workers meet the same, and try again or end the transfer with the reason
    kind = deps.storages.open(me, job.storage).kind
    job = jobs.load(deps, me, job.id)
    source = next((one.storage for one in job.active_sources() if one.storage), "")
    lines = deps.prices.lines(source, kind, manifest.bytes, manifest.pieces)
    return replace(
        job,
        name=manifest.name,
        files=manifest.files,
        bytes=manifest.bytes,
        pieces=manifest.pieces,
        estimate=lines,
    ), True


def _agree(cli: Cli, runtime: Runtime, job: Job, known: bool, *, yes: bool) -> None:
    """Nothing to ask when it costs the user nothing or a cap was named."""
    if yes or job.max_cost >= 0:
        return
    price = runtime.deps.prices.of(runtime.deps.storages.open(runtime.agent, job.storage).kind)
    mine = sum(line["micro"] for line in job.estimate if line["payer"] == "you")
    if (known and mine == 0) or (not known and price.write == 0):
        return
    from skyswarm.cli.follow import estimate_lines

    cli.warn(
        *(estimate_lines(runtime, job) if known else ["What it costs is not known yet: no source answers."])
    )
    if not cli.asked("Go on?", yes=False):
        raise InputError("Not started.", advice="Name a cap with --max-cost, or agree with --yes.")


def _follow(cli: Cli, runtime: Runtime, ids: list[str], *, work: bool = True, as_lines: bool = False) -> None:
    from skyswarm.cli.follow import conclude, follow, interrupted

    if runtime.home.holder() is not None:
        cli.hint("Close this window any time.")
    try:
        last = follow(cli, runtime, ids, work=work, as_lines=as_lines)
    except KeyboardInterrupt:
        interrupted(cli, runtime, ids)
        raise
    conclude(cli, runtime, last, printed=as_lines and cli.json)


def watch(
    ctx: typer.Context,
    transfer: Annotated[
        list[str] | None, typer.Argument(metavar="TRANSFER", help="Default: all that are active.")
    ] = None,
) -> None:
    """Watch transfers until they end. Closing it changes nothing. With --json: one status a line.

    \b
    $ skyswarm watch t-81ab22cd
    t-81ab22cd  ▓▓▓▓▓▓▓░░░  812/1010 pieces  49.1 GB  412 MB/s  ETA 0:31
    """
    from skyswarm.usecases import jobs

    cli = Cli.of(ctx)
    with cli.open() as runtime:
        ids = list(transfer or ())
        if not ids:
            ids = [
                job.id
                for job in jobs.page(runtime.deps, runtime.agent, limit=100)
                if job.state in jobs.ACTIVE
            ]
        if not ids:
            cli.line("Nothing is being moved. `skyswarm ls` shows what was.")
            return
        for one in ids:
            jobs.load(runtime.deps, runtime.agent, one)
        for one in ids:
            _still(cli, runtime, one)
        _follow(cli, runtime, ids, work=False, as_lines=True)


def pause(ctx: typer.Context, transfer: Transfer) -> None:
    """Stop moving a transfer; what is verified stays.

    \b
    $ skyswarm pause t-81ab22cd
    """
    from skyswarm.usecases.settle import pause as act

    cli = Cli.of(ctx)
    with cli.open() as runtime:
        _tell(cli, runtime, act(runtime.deps, runtime.agent, transfer), "Go on: skyswarm resume " + transfer)


def resume(
    ctx: typer.Context, transfer: Transfer, max_cost: MaxCost = None, overwrite: Overwrite = False,
    detach: Detach = False,
) -> None:  # fmt: skip
    """Go on with a transfer that is paused, stopped or failed. No verified piece is moved again.

    \b
    $ skyswarm resume t-81ab22cd --max-cost 6
    """
    from skyswarm.usecases.settle import resume as act

    cli = Cli.of(ctx)
    cap = human.parse_money(max_cost) if max_cost else None
    with cli.open() as runtime:
        job = act(runtime.deps, runtime.agent, transfer, max_cost=cap, overwrite=overwrite)
        if detach:
            _tell(cli, runtime, job, f"Look: skyswarm watch {job.id}")
            _still(cli, runtime, job.id)
            return
        _follow(cli, runtime, [job.id])


def cancel(ctx: typer.Context, transfer: Transfer) -> None:
    """End a transfer for good. Files that are complete stay; half-written ones go.

    \b
    $ skyswarm cancel t-81ab22cd
    """
    from skyswarm.usecases.settle import cancel as act

    cli = Cli.of(ctx)
    with cli.open() as runtime:
        _tell(cli, runtime, act(runtime.deps, runtime.agent, transfer), "Complete files stay where they are.")


def _tell(cli: Cli, runtime: Runtime, job: Job, more: str) -> None:
    from skyswarm.cli.follow import to_json
    from skyswarm.usecases.reporting import report_of, status_of

    value: Any = to_json(
        status_of(
            runtime.deps, runtime.agent, report_of(runtime.deps, runtime.agent, job), runtime.deps.clock()
        )
    )
    cli.give(value, f"{job.id} is {job.state}. {more}", brief=job.state)
