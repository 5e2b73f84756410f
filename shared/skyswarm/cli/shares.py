"""`shares` and `unshare`: what this agent gives, to whom and until when.

Law: commands only ask, call and show.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skyswarm.cli import human
from skyswarm.cli.frame import Cli, Command
from skyswarm.errors import AbsentError, InputError

if TYPE_CHECKING:
    from skyswarm.edge.runtime import Runtime
    from skyswarm.ports.records import Share
    from skyswarm.usecases.publish import Terms


def register(app: typer.Typer) -> None:
    """Put these commands into the application."""
    for function in (shares, unshare):
        app.command(cls=Command)(function)


def shares(ctx: typer.Context) -> None:
    """List what you share, with the links.

    \b
    $ skyswarm shares
    SHARE     NAME    FILES   SIZE     SHARED   FOR                 PATH
    5d4f09aa  photos  12,410  61.2 GB  2 d ago  bob, ends in 14 d   /home/alice/photos
    """
    cli = Cli.of(ctx)
    with cli.open() as runtime:
        from skyswarm.cli.display import table
        from skyswarm.usecases import repos

        used = tuple(one.url for one in repos.known(runtime.deps, runtime.agent))
        found, now = all_shares(runtime), runtime.deps.clock()
        rows = [row_of(one, link_of(runtime, one, used)) for one in found]
        lines = table(
            ("SHARE", "NAME", ">FILES", ">SIZE", "SHARED", "FOR", "PATH"),
            [
                (
                    one.manifest[:8],
                    one.name,
                    f"{one.files:,}",
                    human.size(one.bytes),
                    human.when(one.created, now),
                    audience(runtime, one),
                    path_of(runtime, one),
                )
                for one in found
            ],
        )
        links = [f"{one['manifest'][:8]}  {shlex.quote(one['link'])}" for one in rows]
    lines = [*lines, "", *links] if lines else ["You share nothing. Begin: skyswarm share PATH"]
    cli.give({"shares": rows}, *lines, brief="\n".join(one["link"] for one in rows))


def all_shares(runtime: Runtime) -> list[Share]:
    """Every share, newest first."""
    out: list[Share] = []
    while page := runtime.deps.shares.page(runtime.agent, out[-1].manifest if out else "", 1000):
        out += page
    return sorted(out, key=lambda one: -one.created)


def unshare(
    ctx: typer.Context,
    which: Annotated[str, typer.Argument(metavar="SHARE", help="Its name, link, or the start of its id.")],
) -> None:
    """Stop serving a share. Its files stay; who has them keeps them.

    \b
    $ skyswarm unshare photos
    """
    from skyswarm.usecases.spreading import soon

    cli = Cli.of(ctx)
    with cli.open() as runtime:
        wanted = which.removeprefix("skyswarm:").partition("?")[0]
        every = all_shares(runtime)
        found = [one for one in every if one.name == wanted] or [
            one for one in every if len(wanted) >= 4 and one.manifest.startswith(wanted)
        ]
        if len(found) != 1:
            raise InputError(
                f"{len(found) or 'no'} shares are called {which!r}",
                advice="`skyswarm shares` lists them with ids.",
            )
        runtime.deps.shares.delete(runtime.agent, found[0].manifest)
        soon(runtime.deps, runtime.agent)
        ends = human.some(runtime.deps.limits.grant_ttl // 60, "minute")
    cli.give(
        {"unshared": found[0].manifest, "name": found[0].name},
        f"{found[0].name} is served no more. What was handed out ends within {ends}.",
    )


def same_share(runtime: Runtime, storage: str, prefix: str, terms: Terms) -> Share | None:
    """What is shared already on the same terms, when what the storage lists has not changed since."""
    now = runtime.deps.clock()
    for one in all_shares(runtime):
        same = (one.storage, one.prefix, one.name) == (storage, prefix, terms.name)
        same &= (one.audience, one.survive, one.cap_bytes) == (terms.audience, terms.survive, terms.cap_bytes)
        live = one.origin == "published" and (not one.expires or one.expires > now)
        if same and live and not one.expires and not terms.expires and _unchanged(runtime, one):
            return one
    return None


def _unchanged(runtime: Runtime, share: Share) -> bool:
    """As far as a listing tells: as many files and bytes, and none written since."""
    storage = runtime.deps.storages.open(runtime.agent, share.storage)
    files = size = 0
    after: str | None = None
    while True:
        listing = storage.list(share.prefix, after)
        for found in listing.objects:
            if share.prefix and found.key != share.prefix and not found.key.startswith(share.prefix + "/"):
                continue
            if found.modified >= share.created:
                return False
            files, size = files + 1, size + found.size
        if listing.next is None:
            return (files, size) == (share.files, share.bytes)
        after = listing.next


def path_of(runtime: Runtime, share: Share) -> str:
    """Where on this machine the files of a share are."""
    try:
        return str(runtime.home.storage_path(share.storage) / share.prefix)
    except AbsentError:
        return f"{share.storage}:/{share.prefix}"


def link_of(runtime: Runtime, found: Share, repos: tuple[str, ...]) -> str:
    """The link of a share. Our own address is in it when it is public, or when no repository could tell it."""
    from skyswarm.messages.link import MAX_NAME, MAX_REPOS, Link

    at = runtime.endpoint if runtime.config.public_url or not repos else None
    return Link(found.manifest, found.name[:MAX_NAME], repos[:MAX_REPOS], at).format()


def row_of(found: Share, link: str) -> dict[str, Any]:
    """What the commands that show a share say of it with --json."""
    return {
        "manifest": found.manifest,
        "name": found.name,
        "storage": found.storage,
        "prefix": found.prefix,
        "files": found.files,
        "bytes": found.bytes,
        "created": int(found.created),
        "expires": found.expires or None,
        "audience": list(found.audience),
        "survive": found.survive,
        "max_bytes_per_peer": found.cap_bytes or None,
        "origin": found.origin,
        "link": link,
    }


def audience(runtime: Runtime, found: Share) -> str:
    """Whom a share is for and until when, for people."""
    from skyswarm.cli.open import person

    who = ", ".join(person(runtime, one) for one in found.audience) or "everyone your chains reach"
    end = f", ends {human.when(found.expires, runtime.deps.clock())}" if found.expires else ""
    return who + end
