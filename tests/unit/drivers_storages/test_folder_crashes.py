"""Folder storage: crashes, torn slots, full disks, what is forbidden."""

from __future__ import annotations

import os
import signal
import struct
import zlib

import pytest

from skyswarm.drivers.storages import folder_parts
from skyswarm.drivers.storages.folder import FolderStorage
from skyswarm.errors import (
    AbsentError,
    StorageFullError,
)
from skyswarm.ports.storage import ANY_VERSION
from tests.support.folder import DATA, DIGESTS, PIECE, PIECES, filled, parts_file, python
from tests.support.storages import FolderRig, read, views


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
