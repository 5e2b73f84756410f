"""What a folder storage promises beyond the shared contract: links, races, crashes, torn slots, full disks."""

from __future__ import annotations

import fcntl
import os
import random
import signal
import stat
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from skyswarm.drivers.storages import folder_parts
from skyswarm.drivers.storages.folder import FolderStorage
from skyswarm.drivers.storages.folder_publish import Publisher
from skyswarm.drivers.storages.folder_tree import Tree
from skyswarm.errors import (
    AbsentError,
    ConflictError,
    ForbiddenError,
    SourceChangedError,
    StorageFullError,
    UnavailableError,
    UnsafePathError,
)
from skyswarm.messages.urls import parse_url
from skyswarm.ports.storage import ANY_VERSION
from tests.support.racing import race
from tests.support.storages import FolderRig, cut, digest_of, read, views

PIECE = 5000
DATA = random.Random(7).randbytes(3 * PIECE + 17)
PIECES = cut(DATA, PIECE)
DIGESTS = [digest_of(piece) for piece in PIECES]


@pytest.fixture
def rig(tmp_path: Path) -> FolderRig:
    return FolderRig(tmp_path)


@pytest.fixture
def storage(rig: FolderRig) -> FolderStorage:
    return rig.open()


def filled(storage: FolderStorage, key: str = "dir/big.bin") -> str:
    upload = storage.begin(key, len(DATA), PIECE, "t")
    for index, piece in enumerate(PIECES):
        storage.part(upload, index, DIGESTS[index], len(piece), views(piece))
    return upload


def parts_file(storage: FolderStorage) -> Path:
    (found,) = (storage.root / ".skyswarm/uploads").glob("*/parts")
    return found


def python(code: str, *args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run `code` in another process, with the packages of this one."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.run(
        [sys.executable, "-c", code, *args],
        env=environment,
        capture_output=True,
        text=True,
        check=check,
        timeout=60,
    )


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


# ---- crashes -----------------------------------------------------------------------------------
def test_a_torn_slot_is_no_slot(rig: FolderRig) -> None:
    storage = rig.open()
    upload = filled(storage)
    journal = parts_file(storage)
    whole = journal.read_bytes()
    assert len(whole) == 4 * folder_parts.SLOT
    for spoil in range(folder_parts.SLOT):
        torn = bytearray(whole)
        torn[folder_parts.SLOT + spoil] ^= 1
        journal.write_bytes(torn)
        assert rig.open().parts(upload) == {0, 2, 3}, spoil
    journal.write_bytes(whole[: 3 * folder_parts.SLOT + 20])
    assert rig.open().parts(upload) == {0, 1, 2}
    journal.write_bytes(whole[folder_parts.SLOT : 2 * folder_parts.SLOT] + whole[folder_parts.SLOT :])
    assert rig.open().parts(upload) == {1, 2, 3}


def test_parts_of_an_earlier_boot_are_hashed_before_they_count(rig: FolderRig) -> None:
    storage = rig.open()
    upload = filled(storage)
    journal = parts_file(storage)
    slots = b"".join(earlier_boot(index) for index in range(4))
    journal.write_bytes(slots)
    with (journal.parent / "data").open("r+b") as data:
        data.seek(2 * PIECE + 5)
        data.write(b"lost in the power cut")
    assert rig.open().parts(upload) == {0, 1, 3}
    assert journal.read_bytes()[:64] != slots[:64]  # and is known for this boot
    rig.open().part(upload, 2, DIGESTS[2], PIECE, views(PIECES[2]))
    made = rig.open().finish(upload, DIGESTS, if_version=None)
    assert read(storage, made.key, made.version, 0, made.size) == DATA


def earlier_boot(index: int) -> bytes:
    """A slot as another boot would have written it."""
    body = struct.pack(">4sI32s16s4x", b"SKY1", index, DIGESTS[index].sha256, b"another boot's ")
    return body + struct.pack(">I", zlib.crc32(body))


@pytest.mark.parametrize("condition", [None, ANY_VERSION])
def test_killed_between_the_link_and_the_clean_up(rig: FolderRig, condition: str | None) -> None:
    storage = rig.open()
    upload = filled(storage)
    (data,) = (storage.root / ".skyswarm/uploads").glob("*/data")
    (storage.root / "dir").mkdir()
    os.link(data, storage.root / "dir/big.bin")  # what a finish that was killed then leaves
    again = rig.open()
    assert again.begin("dir/big.bin", len(DATA), PIECE, "t") == upload
    assert again.parts(upload) == {0, 1, 2, 3}
    with pytest.raises(AbsentError):  # a late worker with other bytes must not write into the finished file
        again.part(upload, 0, DIGESTS[1], PIECE, views(PIECES[1]))
    made = again.finish(upload, DIGESTS, if_version=condition)
    assert read(again, made.key, made.version, 0, made.size) == DATA
    assert not data.exists()
    assert (storage.root / "dir/big.bin").stat().st_nlink == 1


def test_finish_again_is_known_by_the_bytes(rig: FolderRig) -> None:
    storage = rig.open()
    upload = filled(storage)
    made = storage.finish(upload, DIGESTS, if_version=None)
    assert storage.finish(upload, DIGESTS, if_version=None) == made
    (storage.root / "dir/big.bin").write_bytes(DATA[:-1] + b"?")
    with pytest.raises(AbsentError):
        storage.finish(upload, DIGESTS, if_version=None)


WORKER = """
import sys
from pathlib import Path
from tests.support.storages import FolderRig, views
from skyswarm.pieces.digest import PieceDigest
rig, upload, index, sha, kill = FolderRig(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5]
import os, random, signal
data = random.Random(7).randbytes(3 * 5000 + 17)[index * 5000:(index + 1) * 5000]
def chunks():
    yield memoryview(data)[:2000]
    if kill == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    yield memoryview(data)[2000:]
rig.open().part(upload, index, PieceDigest(bytes.fromhex(sha), 0, 0), len(data), chunks())
"""


def test_parts_written_by_processes_one_of_them_killed(rig: FolderRig) -> None:
    storage = rig.open()
    upload = storage.begin("dir/big.bin", len(DATA), PIECE, "t")

    def run(index: int, kill: str) -> int:
        return python(
            WORKER, str(rig.folder), upload, str(index), DIGESTS[index].sha256.hex(), kill, check=False
        ).returncode

    assert run(0, "") == 0
    assert run(1, "kill") == -signal.SIGKILL
    assert storage.parts(upload) == {0}
    assert run(1, "") == 0  # the dead one's lock is gone
    for index in (2, 3):
        storage.part(upload, index, DIGESTS[index], len(PIECES[index]), views(PIECES[index]))
    made = storage.finish(upload, DIGESTS, if_version=None)
    assert read(storage, made.key, made.version, 0, made.size) == DATA


def test_half_made_and_half_removed_uploads_are_swept(rig: FolderRig) -> None:
    storage = rig.open()
    filled(storage)
    uploads = storage.root / ".skyswarm/uploads"
    for name, age in (("x.new", 7200), ("y.gone", 7200), ("z.new", 0)):
        (uploads / name).mkdir()
        (uploads / name / "data").write_text("left")
        os.utime(uploads / name, times=(0, 0) if age else None)
    rig.open().begin("other", 1, 1, "t")
    left = {path.name for path in uploads.iterdir()}
    assert "z.new" in left
    assert not left & {"x.new", "y.gone"}


def test_what_a_killed_put_has_left_is_swept(rig: FolderRig) -> None:
    rig.open().put("a", b"1", if_version=None)
    tmp = rig.open().root / ".skyswarm/tmp"
    for name, old in (("x.tmp", True), ("x.tmp.0123", True), ("y.tmp", False)):
        (tmp / name).write_text("left")
        if old:
            os.utime(tmp / name, times=(0, 0))
    rig.open().put("b", b"2", if_version=None)
    assert [path.name for path in tmp.iterdir()] == ["y.tmp"]


# ---- full and forbidden ------------------------------------------------------------------------
def test_no_room_is_known_at_the_beginning(storage: FolderStorage) -> None:
    with pytest.raises(StorageFullError) as raised:
        storage.begin("huge", 1 << 55, 1 << 33, "t")
    assert "free" in raised.value.message
    assert not list((storage.root / ".skyswarm/uploads").iterdir())


def test_a_file_that_may_not_grow_is_a_full_storage(rig: FolderRig) -> None:
    """The limit of a process stands for a full disk: the system refuses in the middle of a write."""
    code = (
        "import resource, sys\nfrom pathlib import Path\nfrom tests.support.storages import *\n"
        "from skyswarm.errors import StorageFullError\n"
        "storage = FolderRig(Path(sys.argv[1])).open()\n"
        "upload = storage.begin('a', 100_000, 50_000, 't')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))\n"
        "data = bytes(50_000)\n"
        "storage.part(upload, 0, digest_of(data), 50_000, views(data))\n"
        "for call in (lambda: storage.part(upload, 1, digest_of(data), 50_000, views(data)),\n"
        "             lambda: storage.put('b', bytes(70_000), if_version=None)):\n"
        "    try: call()\n"
        "    except StorageFullError as error: print(error.code)\n"
        "print(sorted(storage.parts(upload)), [o.key for o in storage.list('').objects])\n"
    )
    assert python(code, str(rig.folder)).stdout.split("\n")[:3] == ["SKY-507", "SKY-507", "[0] []"]


def test_a_slot_that_cannot_be_written_is_a_full_storage(rig: FolderRig) -> None:
    """On file systems that copy on write, a full disk refuses it although the file does not grow."""
    storage = rig.open()
    upload = filled(storage)
    parts_file(storage).write_bytes(b"".join(earlier_boot(index) for index in range(4)))
    code = (
        "import resource, sys\nfrom pathlib import Path\nfrom tests.support.storages import *\n"
        "from skyswarm.errors import StorageFullError\n"
        "storage = FolderRig(Path(sys.argv[1])).open()\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "for call in (lambda: storage.parts(sys.argv[2]),\n"
        "             lambda: storage.part(sys.argv[2], 0, digest_of(b''), 5000, views(bytes(5000)))):\n"
        "    try: call()\n"
        "    except StorageFullError as error: print(error.code)\n"
    )
    assert python(code, str(rig.folder), upload).stdout.split() == ["SKY-507", "SKY-507"]


def test_what_the_user_may_not_is_forbidden(rig: FolderRig) -> None:
    """In a process of an ordinary user, also when the tests run as root."""
    storage = rig.open()
    storage.put("open/a", b"1", if_version=None)
    storage.put("shut/b", b"2", if_version=None)
    (storage.root / "shut").chmod(0)
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom tests.support.storages import *\n"
        "from skyswarm.errors import ForbiddenError\n"
        "storage = FolderRig(Path(sys.argv[1])).open()\n"
        "root = os.open('/', os.O_RDONLY)\n"
        "if os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "for call in (lambda: storage.stat('shut/b'), lambda: storage.put('shut/c', b'', if_version=None)):\n"
        "    try: call()\n"
        "    except ForbiddenError as error: print(error.code)\n"
        "listing = storage.list('')\n"
        "print([o.key for o in listing.objects], [name for name, _ in listing.skipped])\n"
    )
    walk = rig.folder
    while walk != walk.parent:  # pytest's folders are private to their user
        walk.chmod(walk.stat().st_mode | 0o755) if walk.stat().st_uid == os.geteuid() else None
        walk = walk.parent
    try:
        assert python(code, str(rig.folder)).stdout.split("\n")[:3] == [
            "SKY-502",
            "SKY-502",
            "['open/a'] ['shut/']",
        ]
    finally:
        (storage.root / "shut").chmod(0o755)
