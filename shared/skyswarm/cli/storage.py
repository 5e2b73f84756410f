"""`storage add|ls|remove`: the folders this agent reads from and writes to.

Law: commands only ask, call and show; no file of a storage is touched.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import typer

from skyswarm.cli import human
from skyswarm.cli.frame import Cli, Command, group, local
from skyswarm.errors import AbsentError, InputError

app = group(
    """The storages your agent reads from and writes to.

\b
$ skyswarm storage add drive /mnt/drive
$ skyswarm get skyswarm:5d4f… drive:/Exchange
"""
)

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


@app.command("add", cls=Command)
def add(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="a-z, 0-9, - and _; used as NAME:/prefix.")],
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A folder of this machine.")],
) -> None:
    """Give a folder a name as a storage.

    \b
    $ skyswarm storage add photos ~/Pictures
    """
    from skyswarm.cli.open import refuse_home

    cli = Cli.of(ctx)
    if _NAME.fullmatch(name) is None:
        raise InputError(f"{name!r} cannot name a storage", advice="Up to 32 of a-z, 0-9, - and _.")
    folder = local(path).absolute()
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}", advice="Make it first.")
    with cli.open() as runtime:
        if name in runtime.config.storages:
            raise InputError(
                f"you have a storage {name!r} already", advice="Choose another name, or remove it first."
            )
        refuse_home(folder)
        runtime.add_storage(name, folder)
    cli.give(
        {"name": name, "kind": "folder", "path": str(folder)}, f"{folder} is your storage {name}:", brief=name
    )


@app.command("ls", cls=Command)
def ls(ctx: typer.Context) -> None:
    """List your storages and the room in them.

    \b
    $ skyswarm storage ls
    NAME  KIND    FREE    PATH
    home  folder  512 GB  /home/alice/.skyswarm/storage
    """
    cli = Cli.of(ctx)
    with cli.open() as runtime:
        from skyswarm.cli.display import table

        rows: list[dict[str, Any]] = []
        for name, one in sorted(runtime.config.storages.items()):
            path = runtime.home.storage_path(name)
            free = shutil.disk_usage(path).free if path.is_dir() else None
            rows.append({"name": name, "kind": one.kind, "path": str(path), "free": free})
    lines = table(
        ("NAME", "KIND", ">FREE", "PATH"),
        [
            (
                row["name"],
                row["kind"],
                human.size(row["free"]) if row["free"] is not None else "missing",
                row["path"],
            )
            for row in rows
        ],
    )
    cli.give({"storages": rows}, *lines, brief="\n".join(row["name"] for row in rows))


@app.command("remove", cls=Command)
def remove(
    ctx: typer.Context, name: Annotated[str, typer.Argument(metavar="NAME", help="Its name.")]
) -> None:
    """Forget a storage. Its files stay; its shares can be served no more.

    \b
    $ skyswarm storage remove photos
    """
    cli = Cli.of(ctx)
    with cli.open() as runtime:
        from skyswarm.cli.shares import all_shares

        if name not in runtime.config.storages:
            raise AbsentError(
                f"there is no storage named {name!r}", advice="`skyswarm storage ls` lists them."
            )
        shared = [one.name for one in all_shares(runtime) if one.storage == name]
        if shared:
            raise InputError(
                f"{name} holds what you share as {', '.join(shared[:5])}",
                advice="End that first: skyswarm unshare NAME",
            )
        runtime.change(
            lambda config: replace(
                config,
                storages=MappingProxyType({key: one for key, one in config.storages.items() if key != name}),
            )
        )
    cli.give({"removed": name}, f"{name}: is forgotten; its files stay.")
