"""What a folder storage promises beyond the shared contract: links, homes, races, names in the way."""

from __future__ import annotations

import fcntl
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from skyswarm.drivers.storages.folder import FolderStorage
from skyswarm.drivers.storages.folder_publish import Publisher
from skyswarm.drivers.storages.folder_tree import Tree
from skyswarm.errors import (
    AbsentError,
    ConflictError,
    ForbiddenError,
    SourceChangedError,
    UnavailableError,
    UnsafePathError,
)
from skyswarm.messages.urls import parse_url
from skyswarm.ports.storage import ANY_VERSION
from tests.support.folder import DIGESTS, filled
from tests.support.racing import race
from tests.support.storages import FolderRig, read


# ---- what is no object -------------------------------------------------------------------------
def test_links_and_strange_things_are_skipped_with_a_reason(storage: FolderStorage, tmp_path: Path) -> None:
    root = storage.root
    (tmp_path / "outside.txt").write_text("secret")
    (root / "real").mkdir()
    (root / "real/file").write_text("in here")
    (root / "good").symlink_to("real/file")
    (root / "out").symlink_to(tmp_path / "outside.txt")
    (root / "folder").symlink_to("real")
    (root / "nothing").symlink_to("no/such")
    (root / "circle").symlink_to("circle")
    os.mkfifo(root / "pipe")
    os.mknod(root / "socket", stat.S_IFSOCK | 0o600)
    filled(storage)
    (data,) = (root / ".skyswarm/uploads").glob("*/data")
    (root / "peek").symlink_to(data)
    Path(os.fsdecode(os.fsencode(root) + b"/\xff.bin")).write_text("x")

    listing = storage.list("")
    assert [entry.key for entry in listing.objects] == ["good", "real/file"]
    assert dict(listing.skipped) == {
        "out": "a link that leads out of its folder",
        "folder": "a link to a folder",
        "nothing": "a link that leads to nothing",
        "circle": "a link that leads to nothing",
        "peek": "a link into the storage's own folder",
        "pipe": "a pipe",
        "socket": "a socket",
        "\\xff.bin": "a key that is not UTF-8",
    }
    good = storage.stat("good")
    assert read(storage, "good", good.version, 0, good.size) == b"in here"
    for key in ("out", "peek", "pipe", "socket", "nothing", "circle"):
        with pytest.raises(ForbiddenError):
            storage.stat(key)
    for key in ("folder", "folder/file", "real", "real/file/x"):
        with pytest.raises(AbsentError):
            storage.stat(key)


def made_home(folder: Path) -> Path:
    """What the home of an agent looks like."""
    (folder / "keys").mkdir(parents=True)
    for name in ("agent.db", "config.json", "keys/presign"):
        (folder / name).write_text("SECRET")
    (folder / "storage").mkdir()
    (folder / "storage/own").write_text("own")
    return folder


def everything(storage: FolderStorage, key: str) -> list[Callable[[], object]]:
    """Every way to read or write a key."""
    return [
        lambda: storage.stat(key),
        lambda: storage.open_at(key, "v"),
        lambda: list(storage.chunks(key, "v", 0, 1)),
        lambda: storage.put(key, b"x", if_version=ANY_VERSION),
        lambda: storage.begin(key, 1, 1, "t"),
        lambda: storage.delete(key),
    ]


def test_the_home_of_an_agent_is_never_listed(storage: FolderStorage) -> None:
    made_home(storage.root / "other")
    storage.put("fine/config.json", b"x", if_version=None)
    listing = storage.list("")
    assert [found.key for found in listing.objects] == ["fine/config.json"]
    assert listing.skipped == (("other/", "the home of an agent: no storage leads into it"),)
    for prefix in ("other/", "other/keys/", "other/keys/pre"):
        with pytest.raises(ForbiddenError):
            storage.list(prefix)


@pytest.mark.parametrize(
    "key",
    ["h/config.json", "h/limits.json", "h/keys/presign", "h/keys/extra", "h/new/extra", "h/storage/own"],
)
def test_no_key_leads_into_the_home_of_an_agent(storage: FolderStorage, key: str) -> None:
    home = made_home(storage.root / "h")
    before = sorted(str(path) for path in home.rglob("*"))
    for call in everything(storage, key):
        with pytest.raises(ForbiddenError):
            call()
    assert sorted(str(path) for path in home.rglob("*")) == before
    assert (home / "config.json").read_text() == (home / "keys/presign").read_text() == "SECRET"


def test_a_storage_whose_folder_is_a_home_gives_nothing_but_its_own_folders_do(rig: FolderRig) -> None:
    home = made_home(rig.open().root)
    for call in everything(rig.open(), "keys/presign"):
        with pytest.raises(ForbiddenError):
            call()
    assert not (home / ".skyswarm").exists()
    own = rig.open("main/storage")
    assert [found.key for found in own.list("").objects] == ["own"]
    own.put("own", b"x", if_version=ANY_VERSION)


def test_what_is_received_never_makes_a_folder_look_like_a_home(storage: FolderStorage) -> None:
    """Otherwise a share with three names would shut the receiver's whole storage."""
    for names in (("agent.db", "config.json", "keys/x"), ("keys/x", "agent.db", "config.json")):
        for folder in ("", "sub/"):
            for name in names[:2]:
                storage.put(folder + name, b"x", if_version=ANY_VERSION)
            with pytest.raises(ForbiddenError):
                storage.put(folder + names[2], b"x", if_version=ANY_VERSION)
            for name in names[:2]:
                storage.put(folder + name, b"y", if_version=ANY_VERSION)
                storage.delete(folder + name)
            if (storage.root / folder / "keys").exists():
                (storage.root / folder / "keys").rmdir()
    assert storage.list("").objects == ()


def test_names_that_race_never_make_a_folder_look_like_a_home(rig: FolderRig) -> None:
    """Each of the last two finds the other's place still empty."""
    mine = [rig.open(), rig.open(), rig.open()]
    names = ("agent.db", "config.json", "keys/x")

    def put(storage: FolderStorage, key: str) -> Callable[[], object]:
        return lambda: storage.put(key, b"x", if_version=None)

    for number in range(150):
        race([put(storage, f"{number}/{name}") for storage, name in zip(mine, names, strict=True)])
        found = {path.name for path in (rig.open().root / str(number)).iterdir()}
        assert len(found) < 3, number
        rig.open().put(f"{number}/other", b"x", if_version=None)


def test_a_link_is_followed_only_into_its_own_folder(storage: FolderStorage) -> None:
    """A share is a folder below the root: what lies beside it is not in the share."""
    home = made_home(storage.root / "k-alice")
    (storage.root / "beside").write_text("SECRET")
    shared = storage.root / "pub/deep"
    shared.mkdir(parents=True)
    (shared / "file").write_text("public")
    (storage.root / "pub/into").symlink_to("deep/file")
    (shared / "same").symlink_to("file")
    targets = ("../../k-alice/keys/presign", "../../beside", "../../k-alice/agent.db", home / "keys/presign")
    for number, target in enumerate(targets):
        (shared / f"x{number}").symlink_to(target)
    (storage.root / "up").symlink_to("k-alice/keys/presign")
    (shared / "hop").symlink_to("x1")

    listing = storage.list("pub/")
    assert [found.key for found in listing.objects] == ["pub/deep/file", "pub/deep/same", "pub/into"]
    assert {name for name, _ in listing.skipped} == {"pub/deep/hop", *(f"pub/deep/x{n}" for n in range(4))}
    for key in ("up", "pub/deep/hop", *(f"pub/deep/x{number}" for number in range(4))):
        for call in everything(storage, key)[:3]:
            with pytest.raises(ForbiddenError):
                call()
    (shared / "file").unlink()
    (shared / "file").symlink_to("../../beside")  # two hops
    with pytest.raises(ForbiddenError):
        storage.stat("pub/into")


def test_what_nobody_could_fetch_is_skipped(storage: FolderStorage) -> None:
    """A URL over 4,096 characters is refused by every receiver; one sign of `é` has six characters in it."""
    folder = "/".join("é" * 100 for _ in range(6))
    fits, over = f"{folder}/x", f"{folder}/{'é' * 100}"
    for key in (fits, over):
        storage.put(key, b"x", if_version=None)
    listing = storage.list("")
    assert [found.key for found in listing.objects] == [fits]
    ((name, reason),) = listing.skipped
    assert name == over
    assert "4096 is the most" in reason
    parse_url(storage.presign(fits, listing.objects[0].version, 900).url)
    with pytest.raises(UnsafePathError):
        storage.presign(over, storage.stat(over).version, 900)


# ---- a folder that others may write into, too ----------------------------------------------------
def test_locks_that_are_links_make_nothing_outside(storage: FolderStorage, tmp_path: Path) -> None:
    locks = storage.root / ".skyswarm/locks"
    locks.mkdir(parents=True)
    for number in range(64):
        (locks / f"{number:02d}").symlink_to(tmp_path / f"made{number}")
    with pytest.raises(ForbiddenError, match="not an ordinary file"):
        storage.put("a", b"x", if_version=None)
    assert not list(tmp_path.glob("made*"))
    for number in range(64):
        (locks / f"{number:02d}").unlink()
        os.mkfifo(locks / f"{number:02d}")
    with pytest.raises(ForbiddenError, match="not an ordinary file"):
        storage.put("a", b"x", if_version=None)
    assert not (storage.root / "a").exists()


def test_a_lock_that_never_comes_free_is_unavailable(storage: FolderStorage) -> None:
    storage.put("a", b"x", if_version=None)
    (lock,) = (storage.root / ".skyswarm/locks").iterdir()
    publisher = Publisher(Tree(storage.root), fsync=False, patience=0.05)
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(UnavailableError, match="held the lock"):
            publisher.put(("a",), b"y", ANY_VERSION)
    publisher.put(("a",), b"z", ANY_VERSION)
    assert (storage.root / "a").read_bytes() == b"z"


@pytest.mark.parametrize("what", ["link", "file"])
def test_a_hidden_folder_that_is_none_is_refused(storage: FolderStorage, tmp_path: Path, what: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    hidden = storage.root / ".skyswarm"
    if what == "link":
        hidden.symlink_to(tmp_path / "elsewhere")
    else:
        hidden.write_text("")
    for call in (
        lambda: storage.put("a", b"x", if_version=None),
        lambda: storage.begin("a", 1, 1, "t"),
    ):
        with pytest.raises(ForbiddenError, match="not a folder"):
            call()
    assert not list((tmp_path / "elsewhere").iterdir())


def test_skipped_names_are_paged_too(storage: FolderStorage) -> None:
    for number in range(5):
        (storage.root / f"link{number}").symlink_to("/")
        (storage.root / f"link{number}x").write_text("")
    seen: list[str] = []
    token = None
    while True:
        page = storage.list("", token, 1)
        seen += [entry.key for entry in page.objects] + [name for name, _ in page.skipped]
        token = page.next
        if token is None:
            break
    assert seen == sorted(f"link{number}{end}" for number in range(5) for end in ("", "x"))


@pytest.mark.parametrize(
    "key",
    ["", "/etc/passwd", "a//b", "a/", "../x", "a/../b", ".", "a/./b", "a\0b", "\udcff", ".skyswarm/uploads/x",
     "a/.SkySwarm/b", "n" * 256, "a/" * 2500 + "b"],
)  # fmt: skip
def test_keys_that_no_storage_here_opens(storage: FolderStorage, key: str) -> None:
    for call in (
        lambda: storage.stat(key),
        lambda: storage.put(key, b"", if_version=None),
        lambda: storage.begin(key, 1, 1, "t"),
        lambda: storage.delete(key),
        lambda: storage.parts(f"{'0' * 32}.1.1.{key}"),
    ):
        with pytest.raises((UnsafePathError, AbsentError)) as raised:
            call()
        assert isinstance(raised.value, UnsafePathError) or key == ""
    assert storage.list("").objects == ()


def test_a_link_swapped_in_while_reading_never_leads_out(storage: FolderStorage, tmp_path: Path) -> None:
    """A racer turns the folder `a` into a link to the outside and back while it is read."""
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil/file").write_text("SECRET")
    (storage.root / "a").mkdir()
    (storage.root / "a/file").write_text("public")
    (storage.root / "link").symlink_to(tmp_path / "evil")
    a, b, link = (str(storage.root / name) for name in ("a", "b", "link"))
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            for old, new in ((a, b), (link, a), (a, link), (b, a)):
                os.rename(old, new)

    racer = threading.Thread(target=swap)
    racer.start()
    seen: set[str] = set()
    try:
        for _ in range(3000):
            try:
                found = storage.stat("a/file")
                seen.add(read(storage, "a/file", found.version, 0, found.size).decode())
            except (AbsentError, SourceChangedError):
                seen.add("")
    finally:
        stop.set()
        racer.join()
    assert "" in seen  # the race was on
    assert seen <= {"public", ""}
    found = storage.stat("a/file")  # the racer ends with the folder in its place
    assert read(storage, "a/file", found.version, 0, found.size) == b"public"


def test_a_folder_that_is_not_mounted_is_unavailable_not_empty(tmp_path: Path) -> None:
    rig = FolderRig(tmp_path)
    storage = rig.open()
    storage.root.rmdir()
    for call in (lambda: storage.list(""), lambda: storage.stat("a"), lambda: storage.begin("a", 1, 1, "t")):
        with pytest.raises(UnavailableError):
            call()


def test_a_change_while_reading_is_noticed(storage: FolderStorage) -> None:
    made = storage.put("a", bytes(2 << 20), if_version=None)
    chunks = storage.chunks("a", made.version, 0, 2 << 20)
    next(chunks)
    with (storage.root / "a").open("r+b") as file:
        file.write(b"changed")
    os.utime(storage.root / "a", ns=(1, 1))
    with pytest.raises(SourceChangedError):
        for _ in chunks:
            pass


def test_a_listing_survives_changes_between_its_pages(storage: FolderStorage) -> None:
    for number in range(6):
        storage.put(f"d{number}/f", b"", if_version=None)
    page = storage.list("", None, 2)
    assert [entry.key for entry in page.objects] == ["d0/f", "d1/f"]
    (storage.root / "d2/f").unlink()
    (storage.root / "d3/f").unlink()
    (storage.root / "d3").rmdir()
    assert [entry.key for entry in storage.list("", page.next, 100).objects] == ["d4/f", "d5/f"]


# ---- what is in the way ------------------------------------------------------------------------
def test_a_file_or_a_link_in_the_way_of_a_folder_is_a_conflict(
    storage: FolderStorage, tmp_path: Path
) -> None:
    storage.put("file", b"", if_version=None)
    (storage.root / "link").symlink_to(tmp_path)
    storage.put("folder/x", b"", if_version=None)
    for key in ("file/x", "link/x"):
        with pytest.raises(ConflictError):
            storage.put(key, b"", if_version=None)
        with pytest.raises(ConflictError):
            storage.begin(key, 1, 1, "t")
    upload = filled(storage, "late/x")
    (storage.root / "late").write_text("in the way now")
    with pytest.raises(ConflictError):
        storage.finish(upload, DIGESTS, if_version=None)
    for condition in (None, ANY_VERSION, "1-2-3"):
        with pytest.raises(ConflictError):
            storage.put("folder", b"", if_version=condition)
    assert not list(tmp_path.glob("x"))
    assert [path.name for path in (storage.root / ".skyswarm/tmp").iterdir()] == []


def test_files_get_the_modes_of_the_umask(storage: FolderStorage) -> None:
    storage.finish(filled(storage), DIGESTS, if_version=None)
    storage.put("small", b"1", if_version=None)
    plain = storage.root / "plain"
    plain.write_text("")
    for path in (storage.root / "dir/big.bin", storage.root / "small"):
        assert path.stat().st_mode == plain.stat().st_mode
        assert path.stat().st_nlink == 1
    assert (storage.root / ".skyswarm").stat().st_mode & 0o077 == 0
