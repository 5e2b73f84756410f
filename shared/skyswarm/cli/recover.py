"""`recover`: taking an agent back from a thief, with the key on paper.

Law: the recovery key is typed unseen, or comes from a file or a pipe. It is never an argument, which the shell's
history and every process here would see, and nothing that may be it is ever repeated.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skyswarm.cli import human
from skyswarm.cli.frame import Cli, Command
from skyswarm.cli.telling import hear, spread, told_lines
from skyswarm.errors import InputError, MalformedError

if TYPE_CHECKING:
    from skyswarm.edge.runtime import Runtime
    from skyswarm.ports.system import Signer
    from skyswarm.usecases.recovery import Plan

MOST = 4096
"""Bytes of a key file that are read; a key has 69."""
SHOWN = 20


def register(app: typer.Typer) -> None:
    """Put this command into the application. Arguments are taken in to be refused in our own words."""
    app.command(cls=Command, context_settings={"allow_extra_args": True})(recover)


def recover(
    ctx: typer.Context,
    key_file: Annotated[
        str | None,
        typer.Option(
            "--key-file", metavar="FILE", help="Where the recovery key is; default: asked, or stdin."
        ),
    ] = None,
    undo: Annotated[
        str | None,
        typer.Option("--undo", metavar="STATEMENT", help="The rotation or retirement to undo, by its id."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do it without being asked.")] = False,
) -> None:
    """Take your agent back from a thief, with its recovery key.

    Within 7 days after the thief rotated or retired it. Your id stays; what was signed from the thief's statement on
    is void.

    \b
    $ skyswarm recover
    Recovery key (it is not shown):
    Undo the rotation with number 3 and all after it? [y/N]
    """
    from skyswarm.usecases import recovery

    cli = Cli.of(ctx)
    if ctx.args:
        raise InputError(
            "recover takes no argument: what is typed there, your shell remembers",
            advice="It asks for the recovery key, or reads --key-file or stdin. Was it the key? Clear the history.",
        )
    with cli.open() as runtime:
        signer = _key(key_file)
        deps, me = runtime.deps, runtime.agent
        if runtime.home.server() is None:
            hear(cli, runtime)  # what the thief has said elsewhere
        recovery.finish(deps, me)
        found = recovery.plan(deps, me, signer, undo)
        if not found.done:
            cli.line(*_shown(found, runtime))
            if not cli.asked(f"Undo {_what(found)} and all after it?", yes=yes):
                cli.line("Nothing was changed.")
                raise typer.Exit(1)
        _give(cli, runtime, recovery.recover(deps, me, signer, found.id), found)


def _give(cli: Cli, runtime: Runtime, made: Plan, shown: Plan) -> None:
    from skyswarm.messages.keys import did_key

    key = did_key(runtime.deps.keys.current(runtime.agent).public)
    told = spread(cli, runtime)
    void = [{"id": one.id, "seq": one.seq, "kind": one.kind} for one in made.void or shown.void]
    value: dict[str, Any] = {
        "statement": made.done,
        "undone": made.id,
        "void": void,
        "key": key,
        "told": told,
    }
    lines = [f"{runtime.name} is yours again. The key that signs is now {key}"]
    if shown.done:
        lines = [f"That was undone already, by {made.done[:12]}. The key that signs is {key}"]
    lines += ["Say again what was yours. Your recovery key stays good: keep it where it was."]
    cli.give(value, *lines, *told_lines(told), brief=key)


def _shown(found: Plan, runtime: Runtime) -> list[str]:
    """What will be void."""
    now = runtime.deps.clock()
    lines = [
        f"{human.some(len(found.void), 'statement')} will be void for ever, whoever signed:",
        *(f"  number {one.seq}  {one.kind:<8}  {one.id[:12]}" for one in found.void[:SHOWN]),
    ]
    if len(found.void) > SHOWN:
        lines.append(f"  … and {len(found.void) - SHOWN:,} more")
    kept = f"What was signed before number {found.seq} stays: revoke what was not yours."
    return [*lines, kept, f"This can be done until {human.when(found.until, now)}."]


def _what(found: Plan) -> str:
    name = {"rotate": "rotation", "retire": "retirement"}[found.kind]
    return f"the {name} with number {found.seq} ({found.id[:12]})"


def _key(file: str | None) -> Signer:
    """The key from the file, the terminal or stdin. InputError, without a word of what was there."""
    from skyswarm.drivers.seeds import read_recovery

    return read_recovery(_text(file))


def _text(file: str | None) -> str:
    try:
        if file is not None:
            with Path(file).expanduser().open("rb") as stream:
                return stream.read(MOST).decode("ascii")
        if sys.stdin.isatty():
            return str(typer.prompt("Recovery key (it is not shown)", hide_input=True, err=True))
        text = sys.stdin.read(MOST)
    except (OSError, RuntimeError) as error:
        why = error.strerror if isinstance(error, OSError) else "no such user"
        raise InputError(
            f"the file with the recovery key cannot be read: {why}", advice="--key-file names that file."
        ) from None
    except ValueError:
        raise MalformedError("a recovery key is 14 groups of 4 letters and digits 2-7") from None
    if not text.strip():
        raise InputError(
            "there is no recovery key on stdin",
            advice="Run it on a terminal, or name a file with --key-file.",
        )
    return text
