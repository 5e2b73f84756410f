"""`rotate-key` and `retire`: the agent's own key.

Law: commands only ask, call and show; private keys are never read here.
"""

from __future__ import annotations

from typing import Annotated

import typer

from skyswarm.cli.frame import Cli, Command
from skyswarm.cli.telling import spread, told_lines


def register(app: typer.Typer) -> None:
    """Put these commands into the application."""
    app.command("rotate-key", cls=Command)(rotate_key)
    app.command("retire", cls=Command)(retire)


def rotate_key(ctx: typer.Context) -> None:
    """Replace your signing key by the next one.

    It was committed to in advance; your id stays.

    \b
    $ skyswarm rotate-key
    The key that signs for alice is now did:key:z6Mk…
    """
    from skyswarm.messages.keys import did_key
    from skyswarm.usecases import people

    cli = Cli.of(ctx)
    with cli.open() as runtime:
        people.mend_rotation(runtime.deps, runtime.agent)
        void = people.disputed(runtime.deps, runtime.agent)
        signed = people.rotate(runtime.deps, runtime.agent)
        key = did_key(runtime.deps.keys.current(runtime.agent).public)
        told = spread(cli, runtime)
        line = f"The key that signs for {runtime.name} is now {key}"
        if void is not None:
            line += f"\nSomebody else had signed too: all from number {void} on is void. Say again what was yours."
    cli.give({"statement": signed.id, "key": key, "told": told}, line, *told_lines(told), brief=key)


def retire(
    ctx: typer.Context,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do it without being asked.")] = False,
) -> None:
    """End this identity for good.

    Nothing that it signs counts from then on.

    \b
    $ skyswarm retire
    End alice (9c01…) for good? [y/N]
    """
    from skyswarm.usecases import people

    cli = Cli.of(ctx)
    with cli.open() as runtime:
        if not cli.asked(f"End {runtime.name} ({runtime.agent[:12]}) for good?", yes=yes):
            cli.line("Nothing was changed.")
            raise typer.Exit(1)
        signed = people.retire(runtime.deps, runtime.agent)
        told = spread(cli, runtime)
        line = f"{runtime.name} is retired. Its files and shares stay in {runtime.home.path}."
    cli.give({"statement": signed.id, "agent": runtime.agent, "told": told}, line, *told_lines(told))
