"""`init`, `serve`, `whoami`, `status`, `version`, `demo`: the agent of this home as a whole.

Law: commands only ask, call and show.
"""

from __future__ import annotations

import re
import signal
import socket
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skyswarm.cli import human
from skyswarm.cli.frame import Cli, Command
from skyswarm.errors import HomeInUseError, InputError

if TYPE_CHECKING:
    from skyswarm.drivers.local.home import Holder
    from skyswarm.edge.process import AgentProcess
    from skyswarm.edge.runtime import Runtime

HANDOVER = 60.0
"""Seconds for a command that moves transfers to end the pieces under way."""
PORTS = range(20_000, 32_000)
"""From which `init` picks a free one: below what systems use for outgoing connections."""

Port = Annotated[
    int | None, typer.Option("--port", help="Port to listen on.", metavar="PORT", min=0, max=65535)
]
Host = Annotated[
    str | None, typer.Option("--host", help="Address to listen on; 0.0.0.0 is all.", metavar="HOST")
]
PublicUrl = Annotated[
    str | None,
    typer.Option("--public-url", help="What others reach it by, when that differs.", metavar="URL"),
]


def register(app: typer.Typer) -> None:
    """Put these commands into the application."""
    for function in (init, serve, whoami, status, version, demo):
        app.command(cls=Command)(function)


def init(
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="What you call it; default: your user name.")
    ] = None,
    host: Host = None,
    port: Port = None,
    public_url: PublicUrl = None,
    repo: Annotated[
        list[str] | None, typer.Option("--repo", metavar="URL", help="A repository to use; may be repeated.")
    ] = None,
    recovery: Annotated[
        bool, typer.Option("--recovery", help="Also make a recovery key, shown once, to be kept on paper.")
    ] = False,
) -> None:
    """Make an agent: its home folder, keys and identity.

    \b
    $ skyswarm init --name alice --port 7001 --repo http://127.0.0.1:7000/a/3f…
    alice is 9c01…  in ~/.skyswarm
    """
    from skyswarm.edge.runtime import create
    from skyswarm.usecases import repos

    cli = Cli.of(ctx)
    addresses = [repos.parse_repo(url).url for url in repo or ()]
    runtime, text = create(
        cli.home,
        name=name or _user(),
        host=host or "127.0.0.1",
        port=free_port() if port is None else port,
        public_url=public_url,
        recovery=recovery,
    )
    try:
        for url in addresses:
            repos.add(runtime.deps, runtime.agent, url)
        value = identity(runtime) | {"repos": addresses, "recovery": text}
    finally:
        runtime.close()
    lines = [
        f"{value['name']} is {value['agent']}",
        f"home      {value['home']}",
        f"endpoint  {value['endpoint']}",
    ]
    if text is not None:
        lines += ["recovery  " + text, "          Write it down now: it is not stored and never shown again."]
    steps = [] if addresses else [("repo add URL", "so that others can find what you share")]
    steps += [
        ("serve", "or nobody can fetch anything; it goes on until Ctrl-C"),
        ("people add NAME ID", "what you call somebody; `skyswarm whoami` prints them their id"),
        ("vouch NAME", "let them in"),
        ("share PATH", "and get a link for them"),
    ]
    lines += [
        "",
        *(f"{'      ' if at else 'Next: '}skyswarm {what:<19} {why}" for at, (what, why) in enumerate(steps)),
    ]
    cli.give(value, *lines, brief=str(value["agent"]))


def _user() -> str:
    """The user's login name, as far as it can be a name."""
    import getpass

    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # a user id without an entry, as in many containers
        name = ""
    return re.sub(r"[^\w.-]+", "-", name)[:40].strip("-") or "me"


def free_port() -> int:
    """A port that nothing listens on now. It is kept in the settings, so that the agent's address stays."""
    import os

    for _ in range(100):
        port = PORTS[int.from_bytes(os.urandom(4), "big") % len(PORTS)]
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise InputError("no free port was found", advice="Name one with --port.")


def serve(ctx: typer.Context, host: Host = None, port: Port = None, public_url: PublicUrl = None) -> None:
    """Serve your shares and move your transfers until Ctrl-C.

    A manifest that is dropped into the inbox folder starts a transfer; its status is written beside it.

    Options given here are kept for the next time.

    \b
    $ skyswarm serve --host 0.0.0.0 --public-url https://alice.example
    alice serves at https://alice.example   (Ctrl-C ends it; transfers go on the next time)
    """
    run_process(Cli.of(ctx), "agent", host, port, public_url)


def run_process(cli: Cli, role: str, host: str | None, port: int | None, public_url: str | None) -> None:
    """Serve the home in the foreground until Ctrl-C or a polite kill."""
    from skyswarm.edge.process import AgentProcess

    change: dict[str, Any] = {"host": host, "port": port, "public_url": public_url}
    change = {key: value for key, value in change.items() if value is not None}
    with cli.open() as runtime:
        if runtime.config.role != role:
            raise InputError(
                f"{runtime.name} in {cli.home} is {_article(runtime.config.role)}, not {_article(role)}",
                advice="Name another home with --home."
                if role == "repository"
                else "Serve it with `skyswarm repo serve`.",
            )
        runtime.config = replace(runtime.config, **change)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        process = AgentProcess(runtime)
        _start(cli, runtime, process)
        try:
            if change:  # kept only once it has worked: a port that is taken must not be the next start's
                runtime.change(lambda config: replace(config, **change))
            value = identity(runtime) | {"url": process.url}
            cli.give(value, *_banner(runtime, process.url, role), brief=str(value["endpoint"]))
            process.wait()
        except KeyboardInterrupt:
            cli.hint("", "Ending; what is under way goes on at the next start.")
        finally:
            process.stop()


def _start(cli: Cli, runtime: Runtime, process: AgentProcess) -> None:
    """Start it; a command that moves transfers meanwhile is asked to hand over. HomeInUseError: it is served."""
    said = False
    deadline = time.monotonic() + HANDOVER
    with runtime.home.wanting():
        while True:
            try:
                process.start()
                return
            except HomeInUseError:
                holder = runtime.home.holder()
                if (holder is not None and holder.role != "get") or time.monotonic() > deadline:
                    raise
                if holder is not None and not said:
                    said = True
                    cli.hint(f"{moved_by(holder)}; waiting for it to hand over …")
                time.sleep(0.1)


def moved_by(holder: Holder) -> str:
    """Who moves transfers though nobody serves, for people."""
    return f"A `skyswarm get` (process {holder.pid}) moves transfers now"


def _banner(runtime: Runtime, url: str, role: str) -> list[str]:
    if role == "repository":
        return [
            f"{called(runtime)} listens at {url}",
            f"address    {runtime.endpoint}",
            "Others use it with: skyswarm repo add " + runtime.endpoint,
        ]
    return [
        f"{runtime.name} ({runtime.agent[:12]}) listens at {url}",
        f"endpoint  {runtime.endpoint}",
        f"inbox     {runtime.home.inbox}   drop a manifest there to fetch what it names",
        "Ctrl-C ends it; transfers go on at the next start.",
    ]


def serve_with(runtime: Runtime) -> str:
    """The command that serves this home."""
    return "skyswarm repo serve" if runtime.config.role == "repository" else "skyswarm serve"


def called(runtime: Runtime) -> str:
    """`repository lab`; only `repository` when that is its name, too."""
    return "repository" if runtime.name == "repository" else f"repository {runtime.name}"


def _article(role: str) -> str:
    return "an agent" if role == "agent" else "a repository"


def whoami(
    ctx: typer.Context,
    endpoint: Annotated[bool, typer.Option("--endpoint", help="With --quiet: print the address.")] = False,
) -> None:
    """Show your agent's id, which others need to vouch for you.

    \b
    $ skyswarm whoami
    alice     9c01e1…
    """
    cli = Cli.of(ctx)
    with cli.open() as runtime:
        from skyswarm.messages.keys import did_key

        value = identity(runtime) | {"key": did_key(runtime.deps.keys.current(runtime.agent).public)}
    cli.give(
        value,
        f"{value['name']:<9} {value['agent']}",
        f"endpoint  {value['endpoint']}",
        f"key       {value['key']}",
        f"home      {value['home']}",
        brief=str(value["endpoint" if endpoint else "agent"]),
    )


def identity(runtime: Runtime) -> dict[str, Any]:
    """What the commands that show an agent say of it with --json."""
    return {
        "name": runtime.name,
        "agent": runtime.agent,
        "role": runtime.config.role,
        "endpoint": runtime.endpoint,
        "home": str(runtime.home.path),
    }


def status(ctx: typer.Context) -> None:
    """Show at a glance what your agent is doing.

    \b
    $ skyswarm status
    alice is served by process 812 at http://127.0.0.1:7001
    """
    cli = Cli.of(ctx)
    with cli.open() as runtime:
        from skyswarm.cli.chains import everyone
        from skyswarm.usecases import jobs, repos

        holder, server = runtime.home.holder(), runtime.home.server()
        found = jobs.page(runtime.deps, runtime.agent, limit=1000)
        active = [job.id for job in found if job.state in jobs.ACTIVE]
        waiting = [job.id for job in found if job.state in jobs.RESUMABLE]
        value = identity(runtime) | {
            "served_by": server,
            "moved_by": holder.pid if holder is not None else None,
            "shares": len(runtime.deps.shares.page(runtime.agent, limit=1000)),
            "transfers": {"active": active, "stopped": waiting, "all": len(found)},
            "repos": [one.url for one in repos.known(runtime.deps, runtime.agent)],
            "people": sum(one.trusted for one in everyone(runtime)),
        }
        start = serve_with(runtime)
    served = f"served by process {server}" if server is not None else f"not served now: `{start}` starts it"
    lines = [
        f"{value['name']} ({str(value['agent'])[:12]}) is {served}",
        f"endpoint   {value['endpoint']}",
        f"shares     {value['shares']}",
        f"transfers  {len(active)} active, {len(waiting)} stopped, {len(found)} in all",
        f"people     {human.some(int(value['people']), 'agent')} may fetch from you",
        f"repos      {', '.join(value['repos']) or 'none: `skyswarm repo add URL`'}",
    ]
    if holder is not None and server is None:
        lines.insert(1, f"           {moved_by(holder)}.")
    cli.give(value, *lines, brief="served" if server is not None else "stopped")


def version(ctx: typer.Context) -> None:
    """Print the version.

    \b
    $ skyswarm version --json
    {"version":"0.1.0"}
    """
    show_version(Cli.of(ctx))


def show_version(cli: Cli) -> None:
    """The version, for people and programs."""
    from skyswarm import __version__

    cli.give({"version": __version__}, f"skyswarm {__version__}", brief=__version__)


def demo(
    ctx: typer.Context,
    file: Annotated[
        Path | None,
        typer.Option("--file", help="Your own file or folder instead of a made file.", metavar="PATH"),
    ] = None,
    size: Annotated[str, typer.Option("--size", help="Size of the made file.", metavar="SIZE")] = "1GiB",
    folder: Annotated[
        Path | None,
        typer.Option("--dir", help="Where to work; default: a new temporary folder.", metavar="DIR"),
    ] = None,
) -> None:
    """Run the whole story on this machine with four processes.

    A repository, alice, bob and carol: share, vouch, fetch, revoke. Its folders stay; where, it says at the end.

    \b
    $ skyswarm demo --size 100MiB
    """
    from skyswarm.cli.demo import run

    run(Cli.of(ctx), file=file, size=human.parse_size(size), folder=folder)
