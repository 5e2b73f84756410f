"""`skyswarm`, the command: its parts put together, and what becomes of every error.

Law: a SkyError is one sentence with its code, never a traceback; what is typed wrong ends with 2, another error with
1, Ctrl-C with 130, a defect of ours with 70 and its traceback in the log. Start-up imports no use case.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import traceback
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Annotated

import typer

from skyswarm.cli import (
    agent,
    doctor,
    keys,
    listing,
    people,
    recover,
    repo,
    share,
    shares,
    storage,
    transfers,
)
from skyswarm.cli.frame import Cli, Group, clean, print_json, sentences, take_common
from skyswarm.errors import InputError, SkyError

DEFECT = 70
INTERRUPTED = 130
_NUMBER = re.compile(
    r"Invalid value for '(?:-\w / )?([^']+)': Input should be "
    r"(?:(less|greater) than or equal to (\d+)|a valid integer.*)",
    re.DOTALL,
)

_HELP = """Move files from one person's storage to another's, agent to agent.

\b
  skyswarm init --name alice          make an agent
  skyswarm share ~/photos --to bob    get a link for bob
  skyswarm get skyswarm:…             fetch what a link names
  skyswarm people                     see who may, and along which chain
"""


class Outermost(Group):
    """The commands under headings, in the order in which a newcomer needs them."""

    sections = (
        ("Your agent", ("init", "serve", "whoami", "status", "doctor", "demo", "version")),
        ("Give", ("share", "shares", "unshare")),
        ("Get", ("get", "watch", "ls", "pause", "resume", "cancel", "receipts")),
        ("People", ("people", "trust", "vouch", "revoke", "distrust")),
        ("Set-up", ("repo", "storage", "rotate-key", "retire", "recover")),
    )


def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    del version  # `run` has answered it


def build(*, completion: bool = True) -> typer.Typer:
    """The whole application. The options that install completion take a tenth of a second to read: only when asked."""
    app = typer.Typer(
        cls=Outermost,
        help=_HELP,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=completion,
        context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 100},
    )
    app.callback()(_root)
    for part in (agent, doctor, share, shares, transfers, listing, people, keys, recover):
        part.register(app)
    app.add_typer(people.app, name="people")
    app.add_typer(repo.app, name="repo")
    app.add_typer(storage.app, name="storage")
    return app


def main() -> None:
    """The entry point of the `skyswarm` command."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run a command line; returns the exit code."""
    cli = Cli(Path(), json="--json" in arguments)
    code = 0
    with LastResort(cli) as last:
        try:
            cli, rest = take_common(arguments)
            last.cli = cli
            if rest in (["version"], ["--version"]):  # asked by scripts: without what reads the other options
                agent.show_version(cli)
                return 0
            if rest == ["--json-help"]:
                print(resources.files("skyswarm.cli").joinpath("json.md").read_text("utf-8"), end="")
                return 0
            about = not rest or rest[0].startswith("-") or "_SKYSWARM_COMPLETE" in os.environ
            result = build(completion=about)(args=rest, prog_name="skyswarm", standalone_mode=False, obj=cli)
            code = result if isinstance(result, int) else 0
            sys.stdout.flush()
        except SkyError as error:
            code = 2 if isinstance(error, InputError) else 1
            tell(cli, error)
        except typer.TyperException as error:  # what was typed is not a command, option or value
            code = error.exit_code
            usage(cli, error)
        except (KeyboardInterrupt, typer.Abort):
            code = INTERRUPTED
            sys.stderr.write("\n")
        except BrokenPipeError:
            # Who read our output has closed it (`skyswarm ls | head`): not an error of anybody.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return DEFECT if last.failed else code


def tell(cli: Cli, error: SkyError) -> None:
    """An error in one line for people, as a JSON value for programs."""
    if cli.json:
        print_json({"error": error.to_json()})
    else:
        print(clean(f"{error.code} {sentences(error.message, error.lost, error.advice)}"), file=sys.stderr)


def usage(cli: Cli, error: typer.TyperException) -> None:
    """What was typed cannot be run: say why and where the help is. A bare group shows its help instead."""
    message = error.format_message().strip()
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "skyswarm"
    if type(error).__name__ == "NoArgsIsHelpError":
        print(message)
    else:
        message = _in_our_words(message)
        if message and message[-1] not in ".?!":
            message += "."
        tell(cli, InputError(message, advice=f"See {path} --help."))


def _in_our_words(message: str) -> str:
    """What the library that reads numbers says of them, as a person would."""
    match = _NUMBER.fullmatch(message)
    if match is None:
        return message
    bound = {"less": f"{match[3]} at most", "greater": f"{match[3]} at least", None: "a whole number"}[
        match[2]
    ]
    return f"{match[1]} must be {bound}"


class LastResort:
    """Around everything: what no one expected is kept in the log, and said in one line."""

    def __init__(self, cli: Cli) -> None:
        self.cli = cli
        self.failed = False

    def __enter__(self) -> LastResort:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        self.failed = True
        text = "".join(traceback.format_exception(kind, error, trace))
        log = self._keep(f"{datetime.now(UTC).isoformat(timespec='seconds')} {sys.argv[1:2]}\n{text}\n")
        tell(
            self.cli,
            SkyError(f"Something unexpected happened: {type(error).__name__}. Its details are in {log}"),
        )
        return True

    def _keep(self, text: str) -> Path:
        folder = self.cli.home / "log"
        if not (folder.is_dir() and os.access(folder, os.W_OK)):
            folder = Path(tempfile.mkdtemp(prefix="skyswarm-"))
        path = folder / "errors.log"
        path.touch(mode=0o600)
        with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
        return path


if __name__ == "__main__":
    main()
