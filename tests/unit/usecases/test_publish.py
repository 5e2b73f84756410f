"""Publishing: what is read, what is taken from the cache, what is left out, and what is held in memory."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from skyswarm.drivers.storages.memory import MemoryStorage
from skyswarm.errors import AbsentError, ForbiddenError, InputError, PathCollisionError, SourceChangedError
from skyswarm.messages.manifest import FileEntry, Page
from skyswarm.messages.page_tree import read_pages
from skyswarm.pieces.hasher import HashedFile
from skyswarm.ports.storage import Listing, Object
from skyswarm.usecases import objects, publish
from skyswarm.usecases.publish import Progress, Terms
from tests.support.land import INLINE, Land, Person

FILES = {"a.txt": b"a" * 10, "d/b.bin": b"b" * 5000, "d/e/c": b"", "z": b"z"}


class Watched(MemoryStorage):
    """Counts what is read, and may change a file under the reader's feet."""

    def __init__(self, land: Land, agent: str) -> None:
        super().__init__("watched", land.presigners[agent], land.clock)
        self.read: list[str] = []
        self.changes: dict[str, int] = {}
        self.vanish: set[str] = set()

    def chunks(self, key: str, version: str, offset: int, length: int) -> Iterator[memoryview]:
        self.read.append(key)
        if key in self.vanish:
            self.delete(key)
        if self.changes.get(key, 0):
            self.changes[key] -= 1
            self.put(key, b"new" * (self.changes[key] + 1), if_version="*")
            raise SourceChangedError(f"{key} changed")
        yield from super().chunks(key, version, offset, length)


@pytest.fixture
def watched(land: Land, alice: Person) -> Watched:
    made: Watched = land.buckets.add(alice.id, "watched", Watched(land, alice.id))
    for key, data in FILES.items():
        alice.put(key, data, "watched")
    return made


def share(
    alice: Person, storage: str = "watched", prefix: str = "", **terms: Any
) -> tuple[publish.Published, Progress]:
    progress = Progress()
    done = publish.publish(alice.deps, alice.id, storage, prefix, Terms("it", **terms), INLINE, progress)
    return done, progress


def paths(alice: Person, done: publish.Published) -> dict[str, int]:
    """Paths and sizes as its pages have them."""
    tag = objects.tag_of(done.manifest)

    def load(name: str) -> bytes:
        data = objects.side(alice.deps, alice.id, tag, name)
        assert data is not None
        return data

    pages: list[Page] = list(read_pages(done.manifest, load))
    return {entry.path.text: entry.size for page in pages for entry in page.files}


def test_a_tree(alice: Person, watched: Watched) -> None:
    done, progress = share(alice)
    assert paths(alice, done) == {key: len(data) for key, data in FILES.items()}
    assert (done.manifest.files, done.manifest.bytes) == (4, 5011)
    assert (progress.files, progress.bytes, progress.hashed_bytes) == (4, 5011, 5011)
    assert alice.deps.shares.get(alice.id, done.manifest.id) == done.share
    places = objects.places(alice.deps, alice.id, objects.tag_of(done.manifest), 0)
    assert [(key, size) for _, key, _, size in places] == [(key, len(FILES[key])) for key in sorted(FILES)]


def test_again_reads_nothing_and_makes_another_share(alice: Person, watched: Watched) -> None:
    first, _ = share(alice)
    watched.read.clear()
    second, progress = share(alice)
    assert watched.read == []
    assert (progress.cached_files, progress.hashed_bytes) == (4, 5011)
    assert paths(alice, first) == paths(alice, second)
    assert first.manifest.id != second.manifest.id, "two shares cannot be linked by their ids"
    assert first.manifest.pages == second.manifest.pages


def test_only_what_changed_is_read_again(alice: Person, watched: Watched) -> None:
    share(alice)
    watched.read.clear()
    alice.put("z", b"other", "watched")
    done, _ = share(alice)
    assert watched.read == ["z"]
    assert paths(alice, done)["z"] == 5


def test_more_hashes_are_wanted_than_are_known(alice: Person, watched: Watched) -> None:
    share(alice)
    watched.read.clear()
    done, _ = share(alice, extras=frozenset({"md5"}))
    assert sorted(watched.read) == [key for key in sorted(FILES) if FILES[key]]
    watched.read.clear()
    share(alice)
    assert watched.read == [], "more than enough is known now"
    assert done.manifest.files == 4


@pytest.mark.parametrize(
    ("patterns", "left"),
    [(("*.txt",), {"d/b.bin", "d/e/c", "z"}), (("d",), {"a.txt", "z"}), (("d/e",), {"a.txt", "d/b.bin", "z"}),
     (("*",), set()), (("c", "z"), {"a.txt", "d/b.bin"}), (("B.BIN",), set(FILES)),
     (("d/*.bin",), set(FILES) - {"d/b.bin"})],
)  # fmt: skip
def test_what_is_excluded(alice: Person, watched: Watched, patterns: tuple[str, ...], left: set[str]) -> None:
    if not left:
        with pytest.raises(InputError, match="nothing to share"):
            share(alice, exclude=patterns)
        return
    done, progress = share(alice, exclude=patterns)
    assert set(paths(alice, done)) == left
    assert progress.excluded_files == 4 - len(left)
    assert not {key for key in watched.read if key not in left}, "what is left out is not even read"


def test_one_file_and_a_folder_of_the_storage(alice: Person, watched: Watched) -> None:
    assert paths(alice, share(alice, prefix="d/b.bin")[0]) == {"b.bin": 5000}
    assert paths(alice, share(alice, prefix="d")[0]) == {"b.bin": 5000, "e/c": 0}


@pytest.mark.parametrize("prefix", ["nothing", "d/b", "a.txt/x", "dd"])
def test_nothing_to_share_is_said_and_serves_nothing(alice: Person, watched: Watched, prefix: str) -> None:
    with pytest.raises(InputError, match="nothing to share"):
        share(alice, prefix=prefix)
    assert alice.deps.shares.page(alice.id) == []
    assert not [key for key in alice.files("#objects") if key.startswith("manifests/")]


def test_a_file_that_changes_while_it_is_hashed(alice: Person, watched: Watched) -> None:
    watched.changes["z"] = 2
    done, progress = share(alice)
    assert paths(alice, done)["z"] == 3, "the third state held still"
    assert progress.hashed_bytes == progress.bytes
    url = watched.presign("z", watched.stat("z").version, 60).url
    assert alice.land.small(url, 10) == b"new"


def test_a_file_that_never_holds_still_or_goes_is_skipped(alice: Person, watched: Watched) -> None:
    watched.changes["z"] = 100
    watched.vanish.add("a.txt")
    done, progress = share(alice)
    assert set(paths(alice, done)) == {"d/b.bin", "d/e/c"}
    assert sorted(name for name, _ in progress.skipped) == ["a.txt", "z"]


def test_what_a_storage_cannot_list_is_told(alice: Person, land: Land) -> None:
    class Odd(Watched):
        def list(self, prefix: str, after: str | None = None, limit: int = 1000) -> Listing:
            found = super().list(prefix, after, limit)
            return replace(found, skipped=(("link", "a link out of the folder"),))

    land.buckets.add(alice.id, "odd", Odd(land, alice.id))
    alice.put("a", b"a", "odd")
    _, progress = share(alice, "odd")
    assert progress.skipped == [("link", "a link out of the folder")]


@pytest.mark.parametrize("key", ["a\nb", "a\u202eb", "C:x", "a\\b", "x" * 256])
def test_a_name_that_cannot_travel_is_left_out_with_its_reason(alice: Person, land: Land, key: str) -> None:
    class Any_(Watched):
        names = (key, "good")

        def list(self, prefix: str, after: str | None = None, limit: int = 1000) -> Listing:
            return Listing(tuple(Object(name, 1, "v") for name in self.names), None)

        def chunks(self, key: str, version: str, offset: int, length: int) -> Iterator[memoryview]:
            yield memoryview(b"x")

    odd = land.buckets.add(alice.id, "any", Any_(land, alice.id))
    done, progress = share(alice, "any")
    assert paths(alice, done) == {"good": 1}
    assert [name for name, _ in progress.skipped] == [key] and progress.skipped[0][1]
    odd.names = (key,)
    alice.deps.shares.delete(alice.id, done.manifest.id)
    with pytest.raises(InputError) as caught:
        share(alice, "any")
    assert progress.skipped[0][1] in caught.value.message
    assert alice.deps.shares.page(alice.id) == []


def test_a_file_that_may_not_be_read_is_left_out(alice: Person, land: Land) -> None:
    class Locked(Watched):
        def chunks(self, key: str, version: str, offset: int, length: int) -> Iterator[memoryview]:
            if key != "a.txt":
                raise ForbiddenError(f"{key}: permission denied")
            yield from super().chunks(key, version, offset, length)

    land.buckets.add(alice.id, "locked", Locked(land, alice.id))
    for key, data in FILES.items():
        alice.put(key, data, "locked")
    done, progress = share(alice, "locked")
    assert paths(alice, done) == {"a.txt": 10, "d/e/c": 0}
    assert dict(progress.skipped)["z"] == "it may not be read: z: permission denied"
    assert progress.hashed_bytes == progress.bytes == 10


def test_when_all_is_left_out_the_first_reasons_are_told(alice: Person, watched: Watched) -> None:
    watched.changes = {"a.txt": 100, "d/b.bin": 100}
    watched.vanish.add("z")
    with pytest.raises(InputError) as caught:
        share(alice, exclude=("d/e",))
    assert caught.value.message == (
        "nothing under / of watched can be shared: "
        "'a.txt': it is being written now: changed again and again while it was read; "
        "'d/b.bin': it is being written now: changed again and again while it was read; "
        "'z': it was taken away while it was read"
    )
    assert alice.deps.shares.page(alice.id) == []


def test_a_storage_that_lists_one_name_twice(alice: Person, land: Land) -> None:
    class Twice(Watched):
        def list(self, prefix: str, after: str | None = None, limit: int = 1000) -> Listing:
            found = super().list(prefix, after, limit)
            return replace(found, objects=found.objects * 2)

    land.buckets.add(alice.id, "twice", Twice(land, alice.id))
    alice.put("a", b"a", "twice")
    with pytest.raises(PathCollisionError):
        share(alice, "twice")
    assert alice.deps.shares.page(alice.id) == []


@pytest.mark.parametrize(
    "terms", [{"name": "a/b"}, {"name": ""}, {"name": ".."}, {"name": "x" * 300}, {"expires": 5}]
)
def test_terms_that_cannot_be_are_refused_before_a_byte_is_read(
    alice: Person, watched: Watched, terms: dict[str, Any]
) -> None:
    with pytest.raises(InputError):
        publish.publish(
            alice.deps, alice.id, "watched", "", Terms(**{"name": "it", **terms}), INLINE, Progress()
        )
    assert watched.read == []


def test_an_unknown_storage(alice: Person) -> None:
    with pytest.raises(AbsentError):
        share(alice, "none")


# ---- memory ----------------------------------------------------------------------------------------
class Many(Watched):
    """A storage of `count` files that exist only while they are looked at."""

    def __init__(self, land: Land, agent: str, count: int) -> None:
        super().__init__(land, agent)
        self.count = count

    def list(self, prefix: str, after: str | None = None, limit: int = 1000) -> Listing:
        start = int(after) if after else 0
        end = min(self.count, start + limit)
        made = tuple(Object(f"d{n // 1000:03d}/{n:07d}", 1, "v") for n in range(start, end))
        return Listing(made, str(end) if end < self.count else None)

    def chunks(self, key: str, version: str, offset: int, length: int) -> Iterator[memoryview]:
        yield memoryview(key[-1:].encode())


class Sieve(MemoryStorage):
    """Keeps nothing, and counts at each write how many entries of files are alive."""

    most = 0
    writes = 0

    def put(self, key: str, data: bytes, *, if_version: str | None, media_type: str | None = None) -> Object:
        self.writes += 1
        alive = sum(type(one) in (FileEntry, HashedFile, Object) for one in gc.get_objects())
        self.most = max(self.most, alive)
        return Object(key, len(data), "v")


class Forgetful:
    """The Held port, empty however much is put into it."""

    def put(self, agent: str, rows: Iterable[object]) -> None:
        for _ in rows:
            pass

    def at(self, agent: str, storage: str, key: str, version: str) -> None:
        return None


def test_twenty_thousand_files_are_published_a_page_at_a_time(land: Land) -> None:
    alice = land.agent("alice")
    alice.deps = replace(alice.deps, held=Forgetful())  # type: ignore[arg-type]
    sieve = land.buckets.add(alice.id, "#objects", Sieve("#objects", land.presigners[alice.id], land.clock))
    land.buckets.add(alice.id, "many", Many(land, alice.id, 20_000))
    done, progress = share(alice, "many")
    assert done.manifest.files == progress.files == 20_000
    assert sieve.writes > 40, "twenty pages, where their files are, and the manifest"
    assert 1000 < sieve.most < 5000, "a listing and a page"
