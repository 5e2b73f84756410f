"""`doctor`: is this agent fit to work? One line per check: ok, warn or fail, with the fix.

Law: it looks and changes nothing. A check never stops the others; a dead repository costs seconds, not the answer.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from skyswarm.cli import human
from skyswarm.cli.agent import moved_by, serve_with
from skyswarm.cli.frame import Cli, Command, sentences
from skyswarm.errors import SkyError

if TYPE_CHECKING:
    from skyswarm.edge.runtime import Runtime
    from skyswarm.usecases.jobs import Job
    from skyswarm.usecases.repos import Repo

LOW = 1_000_000_000
MAX_SHOWN = 5
SKEW_WARN, SKEW_FAIL = 30, 90
TIMEOUT = 5.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One line. `level`: ok, warn or fail; `fix`: what to do ('': nothing)."""

    level: str
    check: str
    message: str
    fix: str = ""


def register(app: typer.Typer) -> None:
    """Put this command into the application."""
    app.command(cls=Command)(doctor)


def doctor(ctx: typer.Context) -> None:
    """Check home, store, keys, clock, port, disk and repositories. The exit code is 1 when something fails.

    \b
    $ skyswarm doctor
    ok    clock   0 s away from http://127.0.0.1:7000
    warn  disk    home: 0.8 GB left. Make room before a big transfer.
    """
    cli = Cli.of(ctx)
    found = list(_home(cli.home))
    if all(one.level != "fail" for one in found):
        try:
            with cli.open() as runtime:
                for check in (_store, _keys, _clock_and_repos, _port, _disk, _work):
                    found += _guarded(check, runtime)
        except SkyError as error:  # its store or settings cannot be opened at all
            found.append(Finding("fail", "home", f"{error.code} {error.message}.", error.advice))
    lines = [f"{one.level:<5} {one.check:<8} {sentences(one.message, one.fix)}" for one in found]
    worst = max((one.level for one in found), key=("ok", "warn", "fail").index)
    failed = [line for line, one in zip(lines, found, strict=True) if one.level == "fail"]
    cli.give(
        {"health": worst, "checks": [asdict(one) for one in found]}, *lines, brief="\n".join(failed) or worst
    )
    if worst == "fail":
        raise typer.Exit(1)


def _guarded(check: Callable[[Runtime], Iterator[Finding]], runtime: Runtime) -> Iterator[Finding]:
    try:
        yield from check(runtime)
    except SkyError as error:
        name = check.__name__.strip("_").split("_")[0]
        yield Finding("fail", name, f"{error.code} {error.message}.", error.advice)


def _home(path: Path) -> Iterator[Finding]:
    from skyswarm.drivers.local import private
    from skyswarm.drivers.local.home import Home

    yield Finding("ok", "python", f"{sys.version.split()[0]}, {os.cpu_count()} CPUs.")
    home = Home(path)
    try:
        config = home.config()
    except SkyError as error:
        yield Finding("fail", "home", f"{error.code} {error.message}.", error.advice)
        return
    for part in (home.path, home.path / "config.json", home.keys, home.database):
        try:
            private.check(part, part.lstat())
        except SkyError as error:
            yield Finding("fail", "home", error.message, error.advice)
            return
        except FileNotFoundError:
            yield Finding("fail", "home", f"{part} is missing.", "Restore it from a copy.")
            return
    yield Finding("ok", "home", f"{path}: {config.name}, {config.role}; private to you.")


def _store(runtime: Runtime) -> Iterator[Finding]:
    wrong = runtime.database.check()
    if wrong:
        yield Finding(
            "fail",
            "store",
            f"{runtime.home.database} is damaged: {wrong[0]}.",
            "Stop the agent and copy that file away. Keys and files are not in it.",
        )
    else:
        yield Finding("ok", "store", f"{runtime.home.database.name} is whole.")


def _keys(runtime: Runtime) -> Iterator[Finding]:
    from skyswarm.messages.keys import commitment
    from skyswarm.usecases.views import viewing, way_back

    current = runtime.deps.keys.current(runtime.agent).public
    upcoming = runtime.deps.keys.upcoming(runtime.agent).public
    following = runtime.deps.keys.following(runtime.agent)
    with viewing(runtime.deps, runtime.agent) as view:
        standing = view.key_state(runtime.agent)
    if standing is None:
        yield Finding("fail", "keys", "The inception of this agent is not in its store.", "Restore the home.")
    elif standing.retired:
        yield Finding(
            "fail",
            "keys",
            "This identity is retired; nothing it signs counts.",
            way_back(standing.keys, "Make a new one: skyswarm init"),
        )
    elif standing.equivocation is not None:
        new = way_back(standing.keys, "Make a new one: skyswarm init")
        fix = new if standing.equivocation.rank else "skyswarm rotate-key mends it."
        yield Finding("fail", "keys", standing.equivocation.error().message, fix)
    elif standing.key == current and standing.keys.next != commitment(upcoming):
        yield Finding(
            "fail", "keys", "Your statements name another next key than the one here.",
            way_back(standing.keys, "This home may be an old copy, or somebody else has your keys."),
        )  # fmt: skip
    elif standing.key == upcoming and standing.keys.next != commitment(following):
        yield Finding(
            "fail", "keys", "Somebody else has rotated your key.",
            way_back(standing.keys, "Make a new one: skyswarm init"),
        )  # fmt: skip
    elif standing.key != current:
        yield Finding(
            "fail",
            "keys",
            "The key here is not the one your statements name.",
            way_back(standing.keys, f"{serve_with(runtime)} mends a rotation that was cut short."),
        )
    else:
        count = standing.head.seq + 1
        names = "statement names" if count == 1 else f"{count:,} statements name"
        yield Finding("ok", "keys", f"The signing key is the one your {names}.")


def _clock_and_repos(runtime: Runtime) -> Iterator[Finding]:
    from skyswarm.usecases import repos

    known = repos.known(runtime.deps, runtime.agent)
    if not known:
        if runtime.config.role == "agent":
            yield Finding(
                "warn", "repos", "You use no repository, so nobody can look you up.", "skyswarm repo add URL"
            )
        return
    yield from (
        line for found in runtime.pool.map(lambda one: list(_repo(runtime, one)), known) for line in found
    )


def _repo(runtime: Runtime, repo: Repo) -> Iterator[Finding]:
    from skyswarm.usecases import repos

    state = repos.state(runtime.deps, runtime.agent, repo.id)
    if state.alarm:
        yield Finding(
            "fail", "repos", f"{repo.url} was caught: {state.alarm['code']} {state.alarm['message']}",
            f"Use another: skyswarm repo remove {repo.id[:12]}",
        )  # fmt: skip
    if state.full:
        yield Finding("warn", "repos", f"{repo.url}: {state.full['message']}.", state.full["advice"])
    try:
        reply = runtime.deps.peers.call("GET", f"{repo.url}/v1/status", b"", {}, timeout=TIMEOUT, limit=65536)
    except SkyError as error:
        yield Finding("warn", "repos", f"{error.message}.", "Others are used; it is tried again by itself.")
        return
    if reply.status != 200:
        yield Finding("warn", "repos", f"{repo.url} answers {reply.status}.", "Check its address.")
        return
    yield Finding("ok", "repos", f"{repo.url} answers.")
    date = reply.headers.get("date")
    if date is None:
        return
    try:
        away = round(abs(parsedate_to_datetime(date).timestamp() - runtime.deps.clock()))
    except (ValueError, OverflowError):  # not a time; or one with a number that no clock has
        return
    level = "fail" if away > SKEW_FAIL else "warn" if away > SKEW_WARN else "ok"
    fix = "" if level == "ok" else "Set this machine's clock: requests signed by a wrong one are refused."
    yield Finding(level, "clock", f"{away} s away from {repo.url.partition('/a/')[0]}.", fix)


def _port(runtime: Runtime) -> Iterator[Finding]:
    config, holder, server = runtime.config, runtime.home.holder(), runtime.home.server()
    start = serve_with(runtime)
    if server is not None:
        url = f"{runtime.endpoint}/v1/status"
        try:
            reply = runtime.deps.peers.call("GET", url, b"", {}, timeout=TIMEOUT, limit=65536)
        except SkyError as error:
            yield Finding(
                "fail",
                "port",
                f"Process {server} serves this home, but {error.message}.",
                "Check --public-url and the firewall.",
            )
            return
        level = "ok" if reply.status == 200 else "fail"
        yield Finding(level, "port", f"Process {server} answers at {runtime.endpoint} ({reply.status}).")
    else:
        moved = f"{moved_by(holder)}, and " if holder is not None else ""
        yield Finding("warn", "port", f"{moved}no process serves this home.", start)
        with socket.socket(socket.AF_INET6 if ":" in config.host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((config.host, config.port))
            except (OSError, UnicodeError) as error:  # UnicodeError: not even the form of a host's name
                why = error.strerror if isinstance(error, OSError) else "no such address"
                yield Finding(
                    "fail",
                    "port",
                    f"{config.host}:{config.port} is not free: {why}.",
                    f"{start} --port PORT",
                )
    if config.public_url is None and config.host in ("127.0.0.1", "::1", "localhost"):
        yield Finding(
            "warn",
            "reach",
            "Only this machine can reach you.",
            f"{start} --host 0.0.0.0 --public-url URL",
        )


def _disk(runtime: Runtime) -> Iterator[Finding]:
    for name in ("#objects", *sorted(runtime.config.storages)):
        path = runtime.home.storage_path(name)
        shown = "home folder" if name == "#objects" else f"{name}:"
        if not path.is_dir():
            yield Finding(
                "fail", "disk", f"{shown} {path} is missing.", f"Make it, or: skyswarm storage remove {name}"
            )
        elif not os.access(path, os.R_OK | os.X_OK):
            yield Finding("fail", "disk", f"{shown} {path} cannot be read.", "Give yourself access to it.")
        else:
            free = shutil.disk_usage(path).free
            level = "ok" if free >= LOW else "warn"
            only = "" if os.access(path, os.W_OK) else ", read only"
            yield Finding(
                level,
                "disk",
                f"{shown} {human.size(free)} free{only}.",
                "" if level == "ok" else "Make room before a big transfer.",
            )


def _work(runtime: Runtime) -> Iterator[Finding]:
    from skyswarm.usecases import jobs

    if runtime.config.role == "repository":
        return
    found = jobs.page(runtime.deps, runtime.agent, limit=1000)
    active = [one for one in found if one.state in jobs.ACTIVE]
    stopped = [one for one in found if one.state in jobs.RESUMABLE and not _brought_later(one, found)]
    if active and runtime.home.holder() is None:
        yield Finding(
            "warn",
            "work",
            f"{human.some(len(active), 'transfer')} not at an end, and nobody moves them.",
            "skyswarm serve",
        )
    for job in active[:MAX_SHOWN]:
        if reason := _waiting(runtime, job):
            yield Finding("warn", "work", f"{job.id} waits: {reason}", f"skyswarm ls {job.id} says more.")
    if stopped:
        ids = ", ".join(one.id for one in stopped[:MAX_SHOWN])
        yield Finding("warn", "work", f"Stopped: {ids}.", f"skyswarm ls {stopped[0].id} says why.")
    if not active and not stopped:
        yield Finding("ok", "work", "No transfer waits for you.")


def _brought_later(job: Job, every: list[Job]) -> bool:
    """Whether another transfer of the same share to the same place was done after this one began."""
    return any(
        (one.manifest, one.storage, one.prefix, one.state) == (job.manifest, job.storage, job.prefix, "done")
        and one.created >= job.created
        for one in every
    )


def _waiting(runtime: Runtime, job: Job) -> str:
    """Why a transfer does not move now, and when it is tried again; '' when nothing holds it up."""
    from skyswarm.usecases.reporting import report_of, status_of

    deps, me, now = runtime.deps, runtime.agent, runtime.deps.clock()
    waiting = status_of(deps, me, report_of(deps, me, job), now).waiting
    if waiting is None:
        return ""
    again = f", tried again {human.when(waiting.next, now)}" if waiting.next else ""
    return f"{waiting.code} {waiting.message}{again}."
