"""`repo add|remove|ls|serve`: the repositories this agent uses, and one of your own.

Law: commands only ask, call and show.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skyswarm.cli import human
from skyswarm.cli.agent import Host, Port, PublicUrl, called, free_port, identity, run_process
from skyswarm.cli.frame import Cli, Command, group

if TYPE_CHECKING:
    from skyswarm.edge.runtime import Runtime
    from skyswarm.usecases.repos import Repo

HOME = "~/.skyswarm-repository"

app = group(
    """The repositories you use, and one of your own.

They are how others find what you share, and where vouches are published.

\b
$ skyswarm repo serve --port 7000
$ skyswarm repo add http://127.0.0.1:7000/a/3f…
"""
)

Url = Annotated[str, typer.Argument(metavar="URL", help="Its address; it ends with /a/ and its id.")]


@app.command("add", cls=Command)
def add(ctx: typer.Context, url: Url) -> None:
    """Use a repository from now on. Several are better than one.

    \b
    $ skyswarm repo add https://repo.example/a/3f…
    """
    cli = Cli.of(ctx)
    with cli.open() as runtime:
        from skyswarm.usecases import repos, spreading

        repo = repos.add(runtime.deps, runtime.agent, url)
        problem = _greet(runtime, repo)
        spreading.soon(runtime.deps, runtime.agent)
    if problem:
        cli.hint(f"It does not answer now ({problem}). It is kept, and tried again by itself.")
    cli.give(
        {"repo": repo.url, "id": repo.id, "error": problem},
        f"{repo.url} is used from now on.",
        brief=repo.url,
    )


def _greet(runtime: Runtime, repo: Repo) -> str | None:
    """Hand in our own statements now, which also shows whether it answers; what went wrong, or None."""
    from skyswarm.errors import SkyError
    from skyswarm.usecases import sync

    try:
        sync.push(runtime.deps, runtime.agent, repo.url)
    except SkyError as error:
        return f"{error.code} {error.message}"
    return None


@app.command("remove", cls=Command)
def remove(ctx: typer.Context, url: Url) -> None:
    """Use a repository no more. What it knows of you stays there until it expires.

    \b
    $ skyswarm repo remove https://repo.example/a/3f…
    """
    cli = Cli.of(ctx)
    with cli.open() as runtime:
        from skyswarm.errors import InputError
        from skyswarm.usecases import repos

        wanted = url.rstrip("/")
        found = [
            one for one in repos.known(runtime.deps, runtime.agent) if wanted in (one.url, one.id) or (
                len(wanted) >= 8 and one.id.startswith(wanted)
            )
        ]  # fmt: skip
        if len(found) != 1:
            raise InputError(f"you use no repository {url}", advice="`skyswarm repo ls` lists them.")
        repos.remove(runtime.deps, runtime.agent, found[0].id)
    cli.give({"removed": found[0].url}, f"{found[0].url} is used no more.")


@app.command("ls", cls=Command)
def ls(ctx: typer.Context) -> None:
    """List the repositories you use, and how they have behaved.

    \b
    $ skyswarm repo ls
    REPOSITORY                     LOG  STATE
    http://127.0.0.1:7000/a/3f…     12  well
    """
    cli = Cli.of(ctx)
    with cli.open() as runtime:
        from skyswarm.cli.display import table
        from skyswarm.usecases import repos

        rows = [_row(runtime, one) for one in repos.known(runtime.deps, runtime.agent)]
        now = runtime.deps.clock()
    lines = table(
        ("REPOSITORY", ">LOG", "STATE"), [(row["url"], str(row["size"]), _state(row, now)) for row in rows]
    ) or ["You use no repository. Add one: skyswarm repo add URL"]
    cli.give({"repos": rows}, *lines, brief="\n".join(row["url"] for row in rows))


def _row(runtime: Runtime, repo: Repo) -> dict[str, Any]:
    from skyswarm.usecases import repos

    state = repos.state(runtime.deps, runtime.agent, repo.id)
    return {
        "url": repo.url,
        "id": repo.id,
        "size": state.size,
        "verified_at": state.time or None,
        "pushed": state.pushed,
        "failures": state.failures,
        "retry_at": state.retry_at or None,
        "error": state.error,
        "alarm": state.alarm,
        "full": state.full,
    }


def _state(row: dict[str, Any], now: float) -> str:
    if row["alarm"]:
        return f"ALARM {row['alarm']['code']} {row['alarm']['message']}"
    if row["error"]:
        again = human.when(row["retry_at"] or now, now)
        return f"{row['error']['code']} {row['error']['message']}, tried again {again}"
    if row["full"]:
        return f"{row['full']['code']} {row['full']['message']}"
    return f"well, seen {human.when(row['verified_at'], now)}" if row["verified_at"] else "not read yet"


Name = Annotated[str, typer.Option("--name", metavar="NAME", help="What it is called, when it is made.")]


@app.command("init", cls=Command)
def init(
    ctx: typer.Context,
    host: Host = None,
    port: Port = None,
    public_url: PublicUrl = None,
    name: Name = "repository",
) -> None:
    """Make a repository of your own without serving it yet. Its home is ~/.skyswarm-repository unless named.

    \b
    $ skyswarm repo init --port 7000
    """
    cli = _at_home(Cli.of(ctx))
    runtime = _make(cli, name, host, port, public_url)
    runtime.close()
    cli.give(
        identity(runtime),
        f"{called(runtime)} is {runtime.agent}",
        f"address    {runtime.endpoint}",
        "",
        f"Next: skyswarm repo serve{f' --home {cli.home}' if cli.given else ''}",
        brief=runtime.endpoint,
    )


def _at_home(cli: Cli) -> Cli:
    return cli if cli.given else replace(cli, home=Path(HOME).expanduser())


def _make(cli: Cli, name: str, host: str | None, port: int | None, public_url: str | None) -> Runtime:
    from skyswarm.edge.runtime import create

    runtime, _ = create(
        cli.home,
        name=name,
        host=host or "127.0.0.1",
        port=free_port() if port is None else port,
        public_url=public_url,
        role="repository",
    )
    return runtime


@app.command("serve", cls=Command)
def serve(
    ctx: typer.Context,
    host: Host = None,
    port: Port = None,
    public_url: PublicUrl = None,
    name: Name = "repository",
) -> None:
    """Run a repository of your own; it is made the first time. Its home is ~/.skyswarm-repository unless named.

    \b
    $ skyswarm repo serve --port 7000 --host 0.0.0.0 --public-url http://repo.example:7000
    """
    from skyswarm.drivers.local.home import Home
    from skyswarm.errors import NoHomeError

    cli = _at_home(Cli.of(ctx))
    try:
        Home(cli.home).config()
    except NoHomeError:
        _make(cli, name, host, port, public_url).close()
        cli.hint(f"A new repository was made in {cli.home}.")
    run_process(cli, "repository", host, port, public_url)
