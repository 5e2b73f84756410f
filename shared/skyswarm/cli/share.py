"""`share`: publish files, tell what it costs, hand out the link.

Law: commands only ask, call and show. The manifest file goes to the home's `outbox/` unless told otherwise: never
into the folder that is being shared, where the next publishing would find it.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skyswarm.cli import human
from skyswarm.cli.frame import Cli, Command, local
from skyswarm.cli.shares import audience, link_of, path_of, row_of, same_share
from skyswarm.errors import InputError

if TYPE_CHECKING:
    from skyswarm.edge.runtime import Runtime
    from skyswarm.ports.records import Share
    from skyswarm.usecases.publish import Progress, Published

OUTBOX = "outbox"
MAX_SKIPPED_SHOWN = 10
_UNFIT = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]+')


def register(app: typer.Typer) -> None:
    """Put this command into the application."""
    app.command(cls=Command)(share)


def share(
    ctx: typer.Context,
    what: Annotated[
        str, typer.Argument(metavar="PATH|STORAGE:PREFIX", help="A file, a folder, or a storage.")
    ],
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Name of the share; default: the folder's.")
    ] = None,
    to: Annotated[
        list[str] | None,
        typer.Option("--to", metavar="PERSON", help="Only for these; default: all whom your chains reach."),
    ] = None,
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="TIME", help="End it after 14d, 6h, …; default: never.")
    ] = None,
    survive: Annotated[
        int,
        typer.Option("--survive", metavar="F", min=0, max=3, help="Ask for chains that survive F agents."),
    ] = 0,
    cap: Annotated[
        str | None,
        typer.Option("--max-bytes-per-peer", metavar="SIZE", help="Hand out at most this to each."),
    ] = None,
    extras: Annotated[
        str | None, typer.Option("--with", metavar="LIST", help="More checksums: md5,dropbox,sha256.")
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            "--exclude", metavar="PATTERN", help="Leave out what matches: '*.tmp', 'cache'. Repeatable."
        ),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Also when the same is shared already and has not changed.")
    ] = False,
    manifest_out: Annotated[
        Path | None,
        typer.Option(
            "--manifest-out", metavar="FILE", help="Where the manifest goes; default: the home's outbox."
        ),
    ] = None,
) -> None:
    """Publish files: hash them once, sign the manifest, get a link. No file is copied.

    \b
    $ skyswarm share ~/photos/2024 --to bob --expires 14d
    12,410 files, 61.2 GB. Serving costs you about $0.00 per copy in your region, $0.00 outside.
    link      skyswarm:5d4f…
    """
    from skyswarm.cli.open import adopt, is_now, place
    from skyswarm.pieces.hasher import EXTRAS
    from skyswarm.usecases import people, repos
    from skyswarm.usecases.publish import Progress, Terms, publish
    from skyswarm.usecases.spreading import soon

    cli = Cli.of(ctx)
    ends = human.parse_duration(expires) if expires is not None else 0
    if expires is not None and not ends:
        raise InputError(
            f"--expires {expires} would end it at once",
            advice="Name a time such as 14d; leave it out for never.",
        )
    most = human.parse_size(cap) if cap is not None else 0
    if cap is not None and not most:
        raise InputError(
            "--max-bytes-per-peer 0 would hand out nothing",
            advice="Name a size such as 10GB; leave it out for no limit.",
        )
    more = frozenset(one.strip() for one in extras.split(",")) if extras else frozenset()
    if unknown := more - EXTRAS:
        raise InputError(
            f"there is no checksum {sorted(unknown)[0]!r}", advice=f"There are: {', '.join(sorted(EXTRAS))}."
        )
    with cli.open() as runtime:
        deps, me = runtime.deps, runtime.agent
        audience = tuple(people.find(deps, me, one) for one in to or ())
        found = place(runtime, what, reading=True)
        storage, prefix, added = (*found, None) if found else adopt(runtime, Path(what), reading=True)
        if added:
            cli.hint(is_now(runtime, added))
        terms = Terms(
            name=name or _default_name(what, storage, prefix),
            audience=audience,
            expires=int(deps.clock()) + ends if ends else 0,
            survive=survive,
            cap_bytes=most,
            repos=tuple(one.url for one in repos.known(deps, me)),
            extras=more,
            exclude=tuple(exclude or ()),
        )
        progress = Progress()
        done = None if again else _already(cli, runtime, same_share(runtime, storage, prefix, terms))
        if done is None:
            with _shown(cli, progress):
                done = publish(deps, me, storage, prefix, terms, runtime.pool, progress)
        let_in = [one for one in audience if _let_in(runtime, one, survive)]
        soon(runtime.deps, runtime.agent)
        file = _write_manifest(runtime, done, manifest_out)
        link = link_of(runtime, done.share, terms.repos)
        value = row_of(done.share, link) | {
            "pieces": done.manifest.pieces,
            "manifest_file": str(file),
            "skipped": [{"path": path, "reason": reason} for path, reason in progress.skipped],
            "skipped_count": progress.skipped_count,
            "serving_cost": _cost(runtime, done),
            "vouched": let_in,
        }
        lines = _summary(runtime, done, value, progress)
        cli.give(value, *lines, brief=link)
        if runtime.home.server() is None:
            cli.hint("Nobody can fetch it before you serve it: skyswarm serve")
        elif not terms.repos:
            cli.hint(
                "You use no repository: only who has this link finds you. Add one: skyswarm repo add URL"
            )


def _already(cli: Cli, runtime: Runtime, share: Share | None) -> Published | None:
    """What an earlier `share` of the same has published. None: there is none, or it is not whole any more."""
    from skyswarm.usecases import objects
    from skyswarm.usecases.publish import Published

    if share is None:
        return None
    envelope = objects.manifest_envelope(runtime.deps, runtime.agent, share.manifest)
    if envelope is None:
        return None
    cli.hint(
        f"{path_of(runtime, share)} is shared already as {share.name} ({share.manifest[:8]}), "
        f"{human.when(share.created, runtime.deps.clock())}, and has not changed. --again makes another share."
    )
    return Published(share, objects.manifest(runtime.deps, runtime.agent, share.manifest), envelope)


def _default_name(what: str, storage: str, prefix: str) -> str:
    name = prefix.rpartition("/")[2] or Path(what).expanduser().resolve().name or storage
    return storage if what.startswith(f"{storage}:") and not prefix else name


@contextmanager
def _shown(cli: Cli, progress: Progress) -> Iterator[None]:
    """Show the hashing on stderr while the block runs."""
    from skyswarm.cli.display import Live, Speed

    ended = threading.Event()
    speed = Speed()

    def run() -> None:
        import time

        while not ended.wait(0.2):
            rate = speed.at(time.monotonic(), progress.hashed_bytes)
            done = f"{human.some(progress.files, 'file')}  {human.size(progress.hashed_bytes)}"
            live.show([f"hashing  {done}  {human.size(rate)}/s"])

    with Live(sys.stderr, silent=cli.json or cli.quiet) as live:
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def _let_in(runtime: Runtime, person: str, survive: int) -> bool:
    """Vouch for somebody the share is for, unless a chain lets it in already. True: it was needed."""
    from skyswarm.cli.chains import look
    from skyswarm.usecases import people

    if look(runtime, person, survive=survive).trusted:
        return False
    people.vouch(runtime.deps, runtime.agent, person)
    return True


def _write_manifest(runtime: Runtime, done: Published, wanted: Path | None) -> Path:
    plain = _UNFIT.sub("-", done.share.name).strip(". ") or "share"
    name = f"{plain}.manifest.json"
    if wanted is None:
        folder = runtime.home.path / OUTBOX
        folder.mkdir(mode=0o700, exist_ok=True)
        file = folder / name
    else:
        wanted = local(wanted).absolute()
        file = wanted / name if wanted.is_dir() else wanted
    try:
        if file.exists() and not file.is_file():
            file.write_bytes(done.envelope)  # such as /dev/stdout
        else:  # it may be somebody's inbox, which takes up what has its name and leaves `.part` alone
            part = file.with_name(f".skyswarm-{os.getpid()}.part")
            part.write_bytes(done.envelope)
            part.replace(file)
    except OSError as error:
        raise InputError(
            f"the manifest cannot be written to {file}: {error.strerror}",
            advice="The share is made; write it elsewhere with --manifest-out.",
        ) from error
    return file


def _cost(runtime: Runtime, done: Published) -> dict[str, Any]:
    """Micro-dollars that one copy costs whoever serves it: to the same place, and to elsewhere."""
    deps = runtime.deps
    kind = deps.storages.open(runtime.agent, done.share.storage).kind
    size, pieces = done.manifest.bytes, done.manifest.pieces

    def total(destination: str) -> int:
        lines = deps.prices.lines(kind, destination, size, pieces)
        return sum(int(line["micro"]) for line in lines if line["payer"] == "them")

    return {
        "same_region_micro": total(kind),
        "elsewhere_micro": total("elsewhere"),
        "prices_of": deps.prices.dated,
    }


def _summary(runtime: Runtime, done: Published, value: dict[str, Any], progress: Progress) -> list[str]:
    from skyswarm.cli.open import person

    cost = value["serving_cost"]
    lines = [
        f"{human.some(done.share.files, 'file')}, {human.size(done.share.bytes)}. Serving costs you about "
        f"{human.money(cost['same_region_micro'])} per copy in your region, "
        f"{human.money(cost['elsewhere_micro'])} outside."
    ]
    for path, reason in progress.skipped[:MAX_SKIPPED_SHOWN]:
        lines.append(f"skipped   {path}: {reason}")
    if progress.skipped_count > MAX_SKIPPED_SHOWN:
        lines.append(f"skipped   {progress.skipped_count - MAX_SKIPPED_SHOWN:,} more (--json names them)")
    for one in value["vouched"]:
        lines.append(f"vouched   for {person(runtime, one)}: no chain let it in before")
    lines.append(f"for       {audience(runtime, done.share)}")
    lines.append(f"link      {shlex.quote(value['link'])}")
    lines.append(f"manifest  {value['manifest_file']}   (drop it into any agent's inbox)")
    return lines
