"""`people`, `trust`, `vouch`, `revoke`, `distrust`: who may fetch, along which chain, and the user's own word in it.

Law: commands only ask, call and show. What is signed is told to the repositories (telling.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from skyswarm.cli import human
from skyswarm.cli.frame import Cli, Command, Group, group
from skyswarm.cli.telling import hear, spread, told_lines
from skyswarm.errors import InputError

if TYPE_CHECKING:
    from skyswarm.cli.chains import Person
    from skyswarm.edge.runtime import Runtime


class People(Group):
    """`people bob` is `people why bob`."""

    otherwise = "why"


app = group(
    """Show who may fetch from you, and along which chain. `people PERSON` says why.

\b
$ skyswarm people
NAME   AGENT     MAY    CHAIN, OR WHY NOT
carol  9c01e1aa  fetch  me → carol
bob    5d4f09bb  fetch  me → carol → bob
""",
    People,
)
app.info.invoke_without_command = True
app.info.no_args_is_help = False

Who = Annotated[str, typer.Argument(metavar="PERSON", help="A name you gave, or an agent id.")]
Limit = Annotated[
    str | None,
    typer.Option("--limit", metavar="SIZE", help="Underwrite at most this many bytes; default: no limit."),
]
Days = Annotated[int, typer.Option("--days", metavar="N", min=1, max=90, help="How long it lasts.")]
Scope = Annotated[
    list[str] | None,
    typer.Option("--scope", metavar="SCOPE", help="fetch, store, index, witness or repair; may be repeated."),
]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Told to everybody who asks why.")]


def register(outer: typer.Typer) -> None:
    """Put these commands into the application."""
    for function in (trust, vouch, revoke, distrust):
        outer.command(cls=Command)(function)


@app.callback(invoke_without_command=True)
def show(
    ctx: typer.Context,
    refresh: Annotated[bool, typer.Option("--refresh", help="Ask your repositories for news first.")] = False,
) -> None:
    if ctx.invoked_subcommand is not None:
        return
    cli = Cli.of(ctx)
    with cli.open() as runtime:
        from skyswarm.cli.chains import everyone
        from skyswarm.cli.display import table

        if refresh:
            hear(cli, runtime)
        found = everyone(runtime)
        lines = table(
            ("NAME", "AGENT", "MAY", "CHAIN, OR WHY NOT"),
            [
                (one.name or "–", one.agent[:8], ",".join(one.scopes) or "nothing", one.sentence)
                for one in found
            ],
        ) or ["You know nobody yet. Give somebody a name: skyswarm people add NAME ID"]
    cli.give({"people": [one.to_json() for one in found]}, *lines)


@app.command("add", cls=Command)
def add(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What you call them; only you see it.")],
    agent: Annotated[
        str, typer.Argument(metavar="ID", help="Their id: `skyswarm whoami` prints it to them.")
    ],
) -> None:
    """Give an agent a name. It allows nothing yet.

    \b
    $ skyswarm people add bob 5d4f09bb…
    $ skyswarm vouch bob
    """
    cli = Cli.of(ctx)
    with cli.open() as runtime:
        from skyswarm.usecases import people

        was = people.give_name(runtime.deps, runtime.agent, name, agent)
    known = f" (was {was} until now)" if was else ""
    cli.give(
        {"name": name, "agent": agent, "was": was},
        f"{agent[:12]} is {name} to you{known}. Let them in: skyswarm vouch {name}",
    )


@app.command("why", cls=Command)
def why(
    ctx: typer.Context,
    who: Who,
    scope: Annotated[str, typer.Option("--scope", metavar="SCOPE", help="What for.")] = "fetch",
    survive: Annotated[
        int, typer.Option("--survive", metavar="F", min=0, max=3, help="With F agents gone.")
    ] = 0,
) -> None:
    """Say why somebody may or may not fetch from you.

    \b
    $ skyswarm people why bob
    bob may fetch: me → carol → bob
    """
    cli = Cli.of(ctx)
    with cli.open() as runtime:
        from skyswarm.cli.chains import look
        from skyswarm.usecases import people

        found = look(runtime, people.find(runtime.deps, runtime.agent, who), checked(scope), survive)
        name = found.name or found.agent[:12]
    may = scope in found.scopes
    line = f"{name} may {scope}: {found.sentence}" if may else f"{name} may not {scope}. {found.sentence}"
    cli.give(found.to_json() | {"scope": scope, "trusted": may}, line, brief="yes" if may else "no")


def trust(
    ctx: typer.Context,
    who: Who,
    depth: Annotated[
        int, typer.Option("--depth", metavar="N", min=1, max=7, help="How many hops on their vouches count.")
    ] = 1,
    scope: Scope = None,
    limit: Limit = None,
    days: Days = 30,
) -> None:
    """Accept somebody, and those they vouch for.

    \b
    $ skyswarm trust carol --depth 2 --limit 50GB
    carol may fetch from you, and so may whom she vouches for, 2 hops on.
    """
    _vouch(Cli.of(ctx), who, depth, scope, limit, days)


def vouch(
    ctx: typer.Context,
    who: Who,
    depth: Annotated[
        int, typer.Option("--depth", metavar="N", min=0, max=7, help="How many hops on their vouches count.")
    ] = 0,
    scope: Scope = None,
    limit: Limit = None,
    days: Days = 30,
) -> None:
    """Let somebody in, and nobody they vouch for. Those who trust you let them in too.

    \b
    $ skyswarm vouch bob --days 14
    bob may fetch from you for 14 days.
    """
    _vouch(Cli.of(ctx), who, depth, scope, limit, days)


def _vouch(cli: Cli, who: str, depth: int, scope: list[str] | None, limit: str | None, days: int) -> None:
    scopes = tuple(dict.fromkeys(checked(one) for one in scope or ("fetch",)))
    most = human.parse_size(limit) if limit else None
    with cli.open() as runtime:
        from skyswarm.usecases import people

        agent = people.find(runtime.deps, runtime.agent, who)
        if agent == runtime.agent:
            raise InputError("that is you", advice="Name another agent.")
        signed = people.vouch(
            runtime.deps, runtime.agent, agent, depth=depth, scope=scopes, days=days, limit=most
        )
        statement: Any = signed.statement
        name = people.name_of(runtime.deps, runtime.agent, agent) or agent[:12]
        told = spread(cli, runtime)
        line = f"{name} may {' and '.join(scopes)} from you for {human.some(days, 'day')}"
    value = {"statement": signed.id, "agent": agent, "depth": depth, "scopes": list(statement.scope)}
    value |= {"limit": most, "expires": statement.exp, "told": told}
    if depth:
        line += f"; so may those that {name} vouches for, {human.some(depth, 'hop')} on"
    cli.give(value, line + ".", *told_lines(told), brief=signed.id)


def revoke(ctx: typer.Context, who: Who, reason: Reason = "") -> None:
    """Take back your vouches for somebody.

    What hung only on them is pruned too.

    \b
    $ skyswarm revoke bob --reason "lost his laptop"
    bob may no longer fetch from you; nor may dave.
    """
    from skyswarm.usecases import people

    cli = Cli.of(ctx)
    with cli.open() as runtime:
        agent = people.find(runtime.deps, runtime.agent, who)
        if not _vouched(runtime, agent):
            raise InputError(
                f"you have not vouched for {who}, so there is nothing to take back",
                advice="To shut out somebody whom others vouch for: skyswarm distrust PERSON",
            )
        _withdraw(
            cli, runtime, agent, lambda: people.revoke(runtime.deps, runtime.agent, sub=agent, reason=reason)
        )


def distrust(ctx: typer.Context, who: Who, scope: Scope = None, reason: Reason = "") -> None:
    """Withdraw trust in somebody, and tell others so.

    \b
    $ skyswarm distrust mallory --reason "signs twice"
    """
    from skyswarm.messages.statements import SCOPES
    from skyswarm.usecases import people

    cli = Cli.of(ctx)
    scopes = tuple(checked(one) for one in scope) if scope else tuple(sorted(SCOPES))
    with cli.open() as runtime:
        agent = people.find(runtime.deps, runtime.agent, who)
        _withdraw(
            cli,
            runtime,
            agent,
            lambda: people.distrust(runtime.deps, runtime.agent, agent, scope=scopes, reason=reason),
        )


def _vouched(runtime: Runtime, agent: str) -> bool:
    from skyswarm.messages.statements import Vouch
    from skyswarm.usecases.views import viewing

    with viewing(runtime.deps, runtime.agent) as view:
        view.key_state(runtime.agent)
        chain = view.chain(runtime.agent)
        said = [node.statement for node in chain.accepted] if chain else []
    return any(isinstance(one, Vouch) and one.sub == agent for one in said)


def _withdraw(cli: Cli, runtime: Runtime, agent: str, act: Any) -> None:
    from skyswarm.cli.chains import everyone, look

    before = {one.agent: one for one in everyone(runtime) if one.trusted}
    signed = act()
    after = {one.agent for one in everyone(runtime) if one.trusted}
    told = spread(cli, runtime)
    lost = [one for key, one in before.items() if key not in after]
    now = look(runtime, agent)
    name = now.name or agent[:12]
    others = [_short(one) for one in lost if one.agent != agent]
    if now.trusted:
        line = f"{name} may still fetch from you: {now.sentence}. To shut them out: skyswarm distrust {name}"
    else:
        line = (
            f"{name} may no longer fetch from you"
            + (f"; nor may {', '.join(others)}" if others else "")
            + "."
        )
    value = {"statement": signed.id, "agent": agent, "trusted": now.trusted, "told": told}
    value |= {"pruned": [one.agent for one in lost]}
    cli.give(value, line, *told_lines(told), brief=signed.id)


def _short(person: Person) -> str:
    return person.name or person.agent[:12]


def checked(scope: str) -> str:
    """A scope by its name. InputError."""
    from skyswarm.messages.statements import SCOPES

    if scope not in SCOPES:
        raise InputError(f"there is no scope {scope!r}", advice=f"There are: {', '.join(sorted(SCOPES))}.")
    return scope
