"""The parts of one upload of a folder storage: which are there, and the one way to write them.

Law: a part counts only when its slot in `parts` says so, and the slot is written after the part's bytes were
verified and written. One 64-byte slot per part at a fixed place: its index, the SHA-256, the boot during which it
was written, and a CRC, so that a torn slot is no slot. Bytes of an earlier boot may never have reached the disk:
they are hashed again before they count. Each part is written under a lock of its own (an open-file-description
lock, freed by the kernel when its holder dies), because a late worker with a lying source must not write over a
part that is verified already.
"""

from __future__ import annotations

import errno
import fcntl
import functools
import hashlib
import os
import re
import struct
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from skyswarm.drivers.local.reading import open_range
from skyswarm.drivers.storages.folder_tree import translated, translating
from skyswarm.drivers.storages.keys import parts_of
from skyswarm.errors import AbsentError, InputError, PieceMismatchError, UnavailableError

_ID = re.compile(r"([0-9a-f]{32})\.([0-9]{1,15})\.([0-9]{1,15})\.(.+)", re.DOTALL)
_BODY = struct.Struct(">4sI32s16s4x")
_CRC = struct.Struct(">I")
SLOT = 64
_MAGIC = b"SKY1"
_WAIT = 30.0


@functools.cache
def boot_id() -> bytes:
    """16 bytes that change with every start of the machine; where it cannot be known, with every process."""
    try:
        return bytes.fromhex(
            Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip().replace("-", "")
        )
    except (OSError, ValueError):
        return os.urandom(16)


@dataclass(frozen=True, slots=True)
class UploadName:
    """What an upload id says. It is all in the id, so that `finish` can be answered after the upload is gone."""

    folder: str
    size: int
    piece_size: int
    key: str

    @classmethod
    def make(cls, token: str, key: str, size: int, piece_size: int) -> UploadName:
        parts_of(key)
        if size < 0 or piece_size < 1:
            raise InputError(f"an upload of {size} bytes in pieces of {piece_size}")
        text = f"{len(token)} {token} {size} {piece_size} {key}"
        return cls(
            hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32], size, piece_size, key
        )

    @classmethod
    def parse(cls, upload: str) -> UploadName:
        found = _ID.fullmatch(upload)
        if found is None or int(found[3]) < 1:
            raise AbsentError(f"there is no upload {upload[:80]!r}")
        parts_of(found[4])
        return cls(found[1], int(found[2]), int(found[3]), found[4])

    @property
    def id(self) -> str:
        return f"{self.folder}.{self.size}.{self.piece_size}.{self.key}"

    @property
    def count(self) -> int:
        return -(-self.size // self.piece_size)

    def span(self, index: int) -> tuple[int, int]:
        """Offset and length of a part. InputError when there is none of that index."""
        if not 0 <= index < self.count:
            raise InputError(f"part {index} of an upload that has {self.count}")
        return index * self.piece_size, min(self.piece_size, self.size - index * self.piece_size)


class Upload:
    """An open upload. Every call opens its own: locks belong to descriptors."""

    def __init__(self, folder: int, name: UploadName) -> None:
        self.folder = folder
        self.name = name
        self.data = os.open("data", os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            self._parts = os.open("parts", os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        except OSError:
            os.close(self.data)
            raise

    def close(self) -> None:
        os.close(self._parts)
        os.close(self.data)
        os.close(self.folder)

    def write(self, index: int, sha256: bytes, fill: Callable[[int, int], None]) -> None:
        """Have `fill(data descriptor, offset)` write part `index` and count it, unless it is there already.
        `fill` raises when the bytes do not verify."""
        offset, _ = self.name.span(index)
        with self._locked(index):
            state = self._slot(index)
            if state == (sha256, boot_id()):
                return
            if state is not None:
                self._set_slot(index, bytes(SLOT))
            fill(self.data, offset)
            self._set_slot(index, _write_slot(index, sha256))

    def present(self) -> dict[int, bytes]:
        """The parts that count, each with its SHA-256. Hashes again what an earlier boot has written."""
        with translating(self.name.key):
            slots = _pread(self._parts, self.name.count * SLOT)
        found: dict[int, bytes] = {}
        for index in range(len(slots) // SLOT):
            state = _read_slot(slots[index * SLOT : (index + 1) * SLOT], index)
            if state is None:
                continue
            sha256, boot = state
            if boot == boot_id() or self._again(index, sha256):
                found[index] = sha256
        return found

    def _again(self, index: int, sha256: bytes) -> bool:
        """Whether a part written during an earlier boot is whole; its slot then says so for this boot."""
        offset, length = self.name.span(index)
        with self._locked(index):
            state = self._slot(index)
            if state != (sha256, boot_id()):
                if state is None or state[0] != sha256 or hash_range(self.data, offset, length) != sha256:
                    return False
                self._set_slot(index, _write_slot(index, sha256))
        return True

    def _slot(self, index: int) -> tuple[bytes, bytes] | None:
        with translating(self.name.key):
            return _read_slot(os.pread(self._parts, SLOT, index * SLOT), index)

    def _set_slot(self, index: int, slot: bytes) -> None:
        with translating(self.name.key, writing=True):
            write_at(self._parts, slot, index * SLOT)

    @contextmanager
    def _locked(self, index: int) -> Iterator[None]:
        """The only writer of part `index`, on this machine. UnavailableError when another one takes too long."""
        end = time.monotonic() + _WAIT
        while not _lock(self._parts, index, fcntl.F_WRLCK):
            if time.monotonic() > end:
                raise UnavailableError(f"another worker has been writing part {index} for {_WAIT:.0f} s")
            time.sleep(0.01)
        try:
            yield
        finally:
            _lock(self._parts, index, fcntl.F_UNLCK)


def hash_range(fd: int, offset: int, length: int) -> bytes:
    """SHA-256 of a range of an open file."""
    sha256 = hashlib.sha256()
    for chunk in open_range(fd, offset, length):
        sha256.update(chunk)
    return sha256.digest()


def write_chunks(fd: int, offset: int, length: int, chunks: Iterable[memoryview]) -> None:
    """Write what `chunks` give at `offset`. PieceMismatchError unless it is `length` bytes; never writes more."""
    at = 0
    for chunk in chunks:
        if at + len(chunk) > length:
            raise PieceMismatchError(f"a part of {length} bytes came longer than that")
        try:
            write_at(fd, chunk, offset + at)
        except OSError as error:
            raise translated(error, "writing a part", writing=True) from error
        at += len(chunk)
    if at != length:
        raise PieceMismatchError(f"a part of {length} bytes ended after {at}")


# ---- slots and locks -------------------------------------------------------------------------
def _write_slot(index: int, sha256: bytes) -> bytes:
    body = _BODY.pack(_MAGIC, index, sha256, boot_id())
    return body + _CRC.pack(zlib.crc32(body))


def _read_slot(slot: bytes, index: int) -> tuple[bytes, bytes] | None:
    """SHA-256 and boot of a slot; None when it is empty, torn or not the one of `index`."""
    if len(slot) != SLOT or slot[:4] != _MAGIC:
        return None
    body = slot[: _BODY.size]
    if _CRC.unpack(slot[_BODY.size :])[0] != zlib.crc32(body):
        return None
    _, number, sha256, boot = _BODY.unpack(body)
    return (sha256, boot) if number == index else None


def _lock(fd: int, index: int, kind: int) -> bool:
    """Lock or unlock the byte `index`; False when another descriptor has it."""
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack("@hhqqi0q", kind, os.SEEK_SET, index, 1, 0))
    except OSError as error:
        if error.errno in {errno.EAGAIN, errno.EACCES}:
            return False
        raise translated(error, "locking a part", writing=True) from error
    return True


def write_at(fd: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of `data` at `offset`."""
    done = os.pwrite(fd, data, offset)
    while done < len(data):
        done += os.pwrite(fd, memoryview(data)[done:], offset + done)


def _pread(fd: int, limit: int) -> bytes:
    out = bytearray()
    while len(out) < limit and (more := os.pread(fd, limit - len(out), len(out))):
        out += more
    return bytes(out)
