"""The usual cast on a stage: a repository, alice and carol behind proxies, and bob, whom alice trusts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from skyswarm.usecases.publish import Published
from tests.support.faulty_proxy import FaultyProxy
from tests.support.stage import Actor, Stage, make_file, until

MIB = 1 << 20


@dataclass(slots=True)
class Cast:
    """Who plays, where their proxies are, and what alice shares."""

    stage: Stage
    repo: Actor
    alice: Actor
    bob: Actor
    proxy: FaultyProxy
    folder: Path
    carol: Actor | None = None
    second: FaultyProxy | None = None
    files: dict[str, str] = field(default_factory=dict)
    published: Published | None = None

    def share(self, size: int = 40 * MIB, name: str = "big.bin") -> Published:
        """Alice publishes one file of `size` bytes; its SHA-256 is in `files`."""
        self.files[name] = make_file(self.folder / "src" / name, size)
        self.published = self.alice.publish(self.folder / "src", name="it")
        return self.published

    @property
    def final(self) -> Path:
        """Where the file of a share of one file ends up at bob's."""
        return self.bob.home / "storage" / next(iter(self.files))

    def spread(self, published: Published) -> None:
        """Carol gets the share and serves it on; bob can find both."""
        assert self.carol is not None
        self.alice.vouch(self.carol)
        self.carol.vouch(self.bob)
        transfer = self.carol.get(published.envelope, keep=True)
        self.carol.wait("done", 90, transfer)
        self.bob.finds(published, self.alice, self.carol)


@contextlib.contextmanager
def trio(folder: Path, *, carol: bool = False, start: bool = True, **limits: float) -> Iterator[Cast]:
    """All of them running (with `start`)."""
    first, second = FaultyProxy(), FaultyProxy()
    with contextlib.closing(first), contextlib.closing(second), Stage(folder, **limits) as stage:
        repo, alice = stage.repository(), stage.agent("alice", public_url=first.url)
        bob = stage.agent("bob")
        cast = Cast(stage, repo, alice, bob, first, folder, second=second)
        actors = [repo, alice, bob]
        first.target = alice.port
        if carol:
            cast.carol = stage.agent("carol", public_url=second.url)
            second.target = cast.carol.port
            actors.append(cast.carol)
        for one in actors[1:]:
            one.use(repo)
        alice.vouch(bob)
        if start:
            stage.start(*actors)
        yield cast


def no_upload_left(bob: Actor, storage: Path | None = None) -> bool:
    """Whether the destination holds no hidden upload any more."""
    uploads = (storage or bob.home / "storage") / ".skyswarm" / "uploads"
    return not uploads.exists() or not any(uploads.iterdir())


__all__ = ["MIB", "Cast", "no_upload_left", "trio", "until"]
