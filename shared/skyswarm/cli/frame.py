"""The frame around every command: options that stand anywhere, what is printed where, and the look of the help.

Law: nothing is decided about agents here. For people: results on stdout, hints on stderr. With `--json`: exactly one
JSON value on stdout (`watch`: one a line). Every line is freed of control characters here, the one place where text
leaves; start-up is cheap, so what is heavy is imported where it is used.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup

from skyswarm.errors import InputError

if TYPE_CHECKING:
    from skyswarm.edge.runtime import Runtime

HOME = "~/.skyswarm"
_UNSAFE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_PLAIN = re.compile(r"(?!skyswarm )[a-z]+('s)?,? ")
_BRACES = re.compile(r"(?:\{|\[(?=\[))(.+?)(?:\}|(?<=\])\])")
_PATH = re.compile(r"\b(PATH|FILE|DIR)\b")
_TYPE = re.compile(r" <[^>]+>$")
_RANGE = re.compile(r"(\d+)<=x<=(\d+)")
_LEAST = re.compile(r"x>=(\d+)")
_EVERYWHERE = (
    ("--home PATH", f"The agent's home folder.  [env var: SKYSWARM_HOME; default: {HOME}]"),
    ("--json", "Print one JSON value for programs; `skyswarm --json-help` describes it."),
    ("--quiet, -q", "Print only what was asked for, without hints and progress."),
)


@dataclass(slots=True)
class Cli:
    """What the options that stand anywhere say. `given`: the home was named, not taken from the default."""

    home: Path
    given: bool = False
    json: bool = False
    quiet: bool = False
    rewritten: str = field(default="", repr=False)

    @staticmethod
    def of(ctx: typer.Context) -> Cli:
        """The one that `main` made of the command line."""
        found = ctx.find_object(Cli)
        assert found is not None
        return found

    def line(self, *lines: str) -> None:
        """Lines for people, on stdout."""
        if not (self.json or self.quiet):
            _write(sys.stdout, lines)

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table for people, on stdout; a head of `>name` aligns right."""
        from skyswarm.cli.display import table

        self.line(*table(head, rows))

    def progress(self, text: str) -> None:
        """A line that the next one replaces; '' ends it. In a pipe only the last one before '' is printed."""
        if self.json or self.quiet:
            return
        if sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb":
            sys.stdout.write("\r\x1b[K" + clean(text) + ("" if text else "\r"))
            if not text and self.rewritten:
                _write(sys.stdout, (self.rewritten,))
            sys.stdout.flush()
        elif not text and self.rewritten:
            _write(sys.stdout, (self.rewritten,))
        self.rewritten = text

    def hint(self, *lines: str) -> None:
        """Lines that help people on, on stderr."""
        if not (self.json or self.quiet):
            _write(sys.stderr, lines)

    def warn(self, *lines: str) -> None:
        """Lines that people must see, also with `--quiet` and `--json`, on stderr."""
        _write(sys.stderr, lines)

    def give(self, value: Any, *lines: str, brief: str = "") -> None:
        """The result of a command: `value` with `--json`, only `brief` with `--quiet`, else the lines."""
        if self.json:
            print_json(value)
        elif not self.quiet:
            _write(sys.stdout, lines)
        elif brief:
            _write(sys.stdout, (brief,))

    def asked(self, question: str, *, yes: bool) -> bool:
        """Whether the user agrees. InputError when there is nobody to ask."""
        if yes:
            return True
        if self.json or not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise InputError(f"{question} There is nobody here to ask.", advice="Say --yes to go on.")
        return bool(typer.confirm(clean(question), err=True))

    @contextmanager
    def open(self) -> Iterator[Runtime]:
        """The agent of the home, closed at the end. NoHomeError, SetupError, KeyFileError."""
        from skyswarm.cli.open import opened

        with opened(self.home) as runtime:
            yield runtime


def print_json(value: Any) -> None:
    """One JSON value on one line; ASCII, so that it is the same in every locale and steers no terminal."""
    print(json.dumps(value, ensure_ascii=True, separators=(",", ":")), flush=True)


def sentences(*parts: str) -> str:
    """Parts of an error as sentences, each with its full stop; a capital only where a plain word begins one."""
    ended = (one if one[-1] in ".?!:" else f"{one}." for one in parts if one)
    return " ".join(one[0].upper() + one[1:] if _PLAIN.match(one) else one for one in ended)


def clean(text: str) -> str:
    """The text without characters that steer a terminal; newlines stay."""
    return _UNSAFE.sub("\ufffd", text)


def _write(stream: Any, lines: Sequence[str]) -> None:
    for line in lines:
        print(clean(line), file=stream)
    stream.flush()


def take_common(arguments: Sequence[str]) -> tuple[Cli, list[str]]:
    """Read the options that stand anywhere out of a command line; what is after `--` is left alone. InputError."""
    home: str | None = None
    flags: set[str] = set()
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--":
            rest += [word, *words]
        elif word == "--home":
            home = next(words, "")
        elif word.startswith("--home="):
            home = word.removeprefix("--home=")
        elif word in ("--json", "--quiet", "-q"):
            flags.add("json" if word == "--json" else "quiet")
        else:
            rest.append(word)
    if home == "":
        raise InputError("--home needs the path of a folder", advice=f"For example: --home {HOME}")
    chosen = home or os.environ.get("SKYSWARM_HOME") or None
    path = Path(os.path.abspath(local(chosen or HOME)))  # noqa: PTH100 - resolves no symlink
    return Cli(path, chosen is not None, "json" in flags, "quiet" in flags), rest


def check_text(value: Any) -> None:
    """InputError when a word, or one of several, was typed in bytes that are not UTF-8: it names nothing here, and
    could be neither kept nor sent."""
    for word in value if isinstance(value, (list, tuple)) else (value,):
        if isinstance(word, str) and not word.isascii():
            shown = word.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            if shown != word:
                raise InputError(f"'{clean(shown[:200])}' is not text in UTF-8", advice="Type it once more.")


def local(text: str | Path) -> Path:
    """A path of this machine as it was typed, whether there is something or not. InputError: there cannot be, or it
    cannot be seen."""
    shown = clean(str(text))
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:
        raise InputError(
            f"{shown} begins with the name of no user here", advice="Write ./~ for a file."
        ) from error
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return path
    except OSError as error:
        raise InputError(
            f"{shown if len(shown) <= 200 else shown[:200] + '…'} cannot be looked at: {error.strerror}"
        ) from error
    return path


# ---- help --------------------------------------------------------------------------------------
class _Plain:
    """A formatter that drops the names of Python's types, which say nothing to people, and writes ranges as words."""

    def __init__(self, formatter: Any) -> None:
        self._formatter = formatter

    def __getattr__(self, name: str) -> Any:
        return getattr(self._formatter, name)

    def write_dl(self, rows: Sequence[tuple[str, str]]) -> None:
        plain = [(_TYPE.sub("", name), _RANGE.sub(r"\1 to \2", text)) for name, text in rows]
        self._formatter.write_dl([(name, _LEAST.sub(r"at least \1", text)) for name, text in plain])


class Command(TyperCommand):
    """A command whose help also names the options that stand anywhere, and whose words are text."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        rest = super().parse_args(ctx, args)
        for parameter in self.params:
            if not _PATH.search(
                parameter.metavar or ""
            ):  # the names of files are any bytes, where the system is so
                check_text(ctx.params.get(parameter.name))
        return rest

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [_BRACES.sub(r"\1", one) for one in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        plain: Any = _Plain(formatter)
        super().format_options(ctx, plain)
        with formatter.section("Everywhere"):
            formatter.write_dl(_EVERYWHERE)


class Group(TyperGroup):
    """A group of commands; `sections` of the outermost one put them under headings."""

    sections: tuple[tuple[str, tuple[str, ...]], ...] = ()
    otherwise: str | None = None
    """The command that a first word is given to which is no command; None: it is an error."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if self.otherwise is not None and args[0] not in self.commands and not args[0].startswith("-"):
            args = [self.otherwise, *args]
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        plain: Any = _Plain(formatter)
        super().format_options(ctx, plain)
        with formatter.section("Everywhere"):
            formatter.write_dl(_EVERYWHERE)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        if not self.sections:
            return super().format_commands(ctx, formatter)
        width = max(len(name) for name in self.commands)
        for title, names in self.sections:
            rows = [
                (name.ljust(width), self.commands[name].get_short_help_str(formatter.width - width - 6))
                for name in names
            ]
            with formatter.section(title):
                formatter.write_dl(rows)
        return None


def group(help_text: str, cls: type[Group] = Group) -> typer.Typer:
    """A Typer app in the house's look: plain text, no traceback of its own."""
    return typer.Typer(
        cls=cls,
        help=help_text,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
    )
