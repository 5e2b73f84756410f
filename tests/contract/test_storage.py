"""The promises of ports/storage.py, held to every storage of tests/support/storages.py."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from skyswarm.errors import (
    AbsentError,
    ConflictError,
    ForbiddenError,
    PieceMismatchError,
    SourceChangedError,
    TransferStateError,
)
from skyswarm.pieces.hasher import verified
from skyswarm.ports.storage import ANY_VERSION, Object, Origin, Storage
from tests.support.storages import RIGS, Rig, Sample, cut, digest_of, read, sample, views

DATA = random.Random(7).randbytes(15_017)


@pytest.fixture(params=sorted(RIGS))
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Rig:
    return RIGS[request.param](tmp_path)


@pytest.fixture(name="s")
def four_parts(rig: Rig) -> Sample:
    return sample(rig.piece)


@pytest.fixture
def storage(rig: Rig) -> Storage:
    return rig.open()


# ---- reading -----------------------------------------------------------------------------------
def test_whole_and_ranged_reads(storage: Storage) -> None:
    made = storage.put("x/y.bin", DATA, if_version=None)
    assert (made.key, made.size) == ("x/y.bin", len(DATA))
    assert storage.stat("x/y.bin") == made
    for offset, length in [(0, len(DATA)), (0, 1), (len(DATA) - 1, 1), (4999, 5003), (77, 0), (len(DATA), 0)]:
        assert read(storage, "x/y.bin", made.version, offset, length) == DATA[offset : offset + length]


def test_a_read_past_the_end_is_a_changed_source(storage: Storage) -> None:
    made = storage.put("a", b"short", if_version=None)
    with pytest.raises(SourceChangedError):
        read(storage, "a", made.version, 3, 3)


def test_a_read_is_pinned_to_its_version(storage: Storage) -> None:
    old = storage.put("a", DATA, if_version=None)
    new = storage.put("a", DATA[::-1], if_version=old.version)
    assert new.version != old.version
    with pytest.raises(SourceChangedError):
        read(storage, "a", old.version, 0, 5)
    assert read(storage, "a", new.version, 0, 5) == DATA[::-1][:5]


def test_absent_is_absent(storage: Storage, s: Sample) -> None:
    for call in (
        lambda: storage.stat("no/such"),
        lambda: read(storage, "no/such", "v", 0, 1),
        lambda: storage.parts("no such upload"),
        lambda: storage.part("no such upload", 0, s.digests[0], s.piece, views(s.pieces[0])),
        lambda: storage.finish("no such upload", s.digests, if_version=None),
    ):
        with pytest.raises(AbsentError):
            call()
    storage.delete("no/such")
    storage.abort("no such upload")


def test_an_empty_object(storage: Storage) -> None:
    made = storage.put("empty", b"", if_version=None)
    assert made.size == 0
    assert read(storage, "empty", made.version, 0, 0) == b""


# ---- conditional writes ------------------------------------------------------------------------
def test_put_conditions(storage: Storage) -> None:
    first = storage.put("a", b"1", if_version=None)
    with pytest.raises(ConflictError):
        storage.put("a", b"2", if_version=None)
    second = storage.put("a", b"2", if_version=first.version)
    with pytest.raises(ConflictError):
        storage.put("a", b"3", if_version=first.version)
    with pytest.raises(ConflictError):
        storage.put("other", b"3", if_version=second.version)
    third = storage.put("a", b"three", if_version=ANY_VERSION)
    storage.put("new", b"4", if_version=ANY_VERSION)
    assert read(storage, "a", third.version, 0, 5) == b"three"


@pytest.mark.parametrize("condition", ["absent", "token"])
def test_racing_writers_have_one_winner(rig: Rig, condition: str) -> None:
    version = None if condition == "absent" else rig.open().put("a", b"old", if_version=None).version
    start = threading.Barrier(8)

    def race(number: int) -> int | None:
        mine = rig.open()
        start.wait()
        try:
            mine.put("a", b"%d" % number, if_version=version)
        except ConflictError:
            return None
        return number

    with ThreadPoolExecutor(8) as pool:
        winners = [number for number in pool.map(race, range(8)) if number is not None]
    assert len(winners) == 1
    now = rig.open().stat("a")
    assert read(rig.open(), "a", now.version, 0, now.size) == b"%d" % winners[0]


def test_delete(storage: Storage) -> None:
    storage.put("d/a", b"1", if_version=None)
    storage.delete("d/a")
    storage.delete("d/a")
    with pytest.raises(AbsentError):
        storage.stat("d/a")
    assert storage.put("d/a", b"2", if_version=None).size == 1


# ---- uploads -----------------------------------------------------------------------------------
def test_an_upload_appears_at_finish_and_never_before(storage: Storage, s: Sample) -> None:
    upload = s.filled(storage)
    assert storage.list("").objects == ()
    with pytest.raises(AbsentError):
        storage.stat("dir/big.bin")
    made = storage.finish(upload, s.digests, if_version=None)
    assert (made.key, made.size) == ("dir/big.bin", len(s.data))
    assert read(storage, made.key, made.version, 0, made.size) == s.data
    assert storage.list("").objects == (made,)


def test_parts_in_any_order_and_at_once(rig: Rig, s: Sample) -> None:
    data = random.Random(3).randbytes(rig.many * s.piece + 1)
    pieces = cut(data, s.piece)
    digests = [digest_of(piece) for piece in pieces]
    upload = rig.open().begin("big", len(data), s.piece, "t")
    order = list(range(len(pieces))) * 2
    random.Random(4).shuffle(order)

    def one(index: int) -> None:
        chunks = verified(views(pieces[index]), digests[index], len(pieces[index]))
        rig.open().part(upload, index, digests[index], len(pieces[index]), chunks)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, order))
    assert rig.open().parts(upload) == frozenset(range(len(pieces)))
    made = rig.open().finish(upload, digests, if_version=None)
    assert read(rig.open(), "big", made.version, 0, made.size) == data


def test_parts_of_a_span(rig: Rig, s: Sample) -> None:
    storage = rig.open()
    upload = s.begun(storage)
    for index in (0, 1, 3):
        s.write(storage, upload, index)
    for first, count in ((0, 1), (0, 2), (1, 2), (2, 1), (2, 2), (3, 9), (4, 1), (0, 0)):
        assert storage.parts(upload, first, count) == {0, 1, 3}.intersection(range(first, first + count))
    assert storage.parts(upload, 1) == {1, 3}


def test_begin_finds_the_upload_again(rig: Rig, s: Sample) -> None:
    upload = s.begun(rig.open())
    s.write(rig.open(), upload, 1)
    assert s.begun(rig.open()) == upload
    assert s.begun(rig.open(), token="t2") != upload
    assert rig.open().parts(upload) == {1}


def test_resume_after_a_crash_between_part_and_finish(rig: Rig, s: Sample) -> None:
    upload = s.begun(rig.open())
    s.write(rig.open(), upload, 3)
    s.write(rig.open(), upload, 0)
    again = rig.open()
    assert again.parts(upload) == {0, 3}
    with pytest.raises(TransferStateError):
        again.finish(upload, s.digests, if_version=None)
    for index in (1, 2):
        s.write(again, upload, index)
    made = again.finish(upload, s.digests, if_version=None)
    assert read(rig.open(), made.key, made.version, 0, made.size) == s.data


def test_finish_is_idempotent(rig: Rig, s: Sample) -> None:
    upload = s.filled(rig.open())
    made = rig.open().finish(upload, s.digests, if_version=None)
    assert rig.open().finish(upload, s.digests, if_version=None) == made
    with pytest.raises(AbsentError):
        rig.open().parts(upload)
    with pytest.raises(AbsentError):
        s.write(rig.open(), upload, 0)


def test_racing_finishers_all_get_the_object(rig: Rig, s: Sample) -> None:
    upload = s.filled(rig.open())
    start = threading.Barrier(6)

    def finish(_: int) -> str:
        mine = rig.open()
        start.wait()
        return mine.finish(upload, s.digests, if_version=None).version

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(finish, range(6)))) == 1
    now = rig.open().stat("dir/big.bin")
    assert read(rig.open(), now.key, now.version, 0, now.size) == s.data


def test_a_conflict_leaves_the_upload_and_the_other_file(storage: Storage, s: Sample) -> None:
    upload = s.filled(storage)
    other = storage.put("dir/big.bin", b"somebody else's", if_version=None)
    with pytest.raises(ConflictError):
        storage.finish(upload, s.digests, if_version=None)
    with pytest.raises(ConflictError):
        storage.finish(upload, s.digests, if_version="another version")
    assert read(storage, other.key, other.version, 0, other.size) == b"somebody else's"
    assert storage.parts(upload) == {0, 1, 2, 3}
    made = storage.finish(upload, s.digests, if_version=other.version)
    assert read(storage, made.key, made.version, 0, made.size) == s.data


def test_finish_over_whatever_is_there(storage: Storage, s: Sample) -> None:
    storage.put("dir/big.bin", b"old", if_version=None)
    made = storage.finish(s.filled(storage), s.digests, if_version=ANY_VERSION)
    assert read(storage, made.key, made.version, 0, made.size) == s.data
    assert storage.finish(s.filled(storage, "fresh"), s.digests, if_version=ANY_VERSION).size == len(s.data)


def test_an_empty_upload(storage: Storage, s: Sample) -> None:
    upload = storage.begin("empty", 0, s.piece, "t")
    assert storage.parts(upload) == frozenset()
    made = storage.finish(upload, [], if_version=None)
    assert made.size == 0
    assert storage.finish(upload, [], if_version=None) == made


def test_abort(storage: Storage, s: Sample) -> None:
    upload = s.filled(storage)
    storage.abort(upload)
    storage.abort(upload)
    with pytest.raises(AbsentError):
        storage.parts(upload)
    with pytest.raises(AbsentError):
        storage.finish(upload, s.digests, if_version=None)
    assert storage.parts(s.begun(storage)) == frozenset()


def test_bytes_that_do_not_verify_never_count(storage: Storage, s: Sample) -> None:
    upload = s.begun(storage)
    bad = bytes(len(s.pieces[0]))
    with pytest.raises(PieceMismatchError):
        storage.part(upload, 0, s.digests[0], s.piece, verified(views(bad), s.digests[0], s.piece))
    for wrong in (s.pieces[0][:-1], s.pieces[0] + b"x"):
        with pytest.raises(PieceMismatchError):
            storage.part(upload, 0, s.digests[0], s.piece, views(wrong))
    assert storage.parts(upload) == frozenset()
    s.write(storage, upload, 0)
    assert storage.parts(upload) == {0}


def test_a_late_liar_cannot_spoil_a_part_that_counts(storage: Storage, s: Sample) -> None:
    upload = s.filled(storage)

    def lies() -> Iterator[memoryview]:
        yield memoryview(bytes(s.piece))
        raise PieceMismatchError("lies")

    with suppress(PieceMismatchError):
        storage.part(upload, 1, s.digests[1], s.piece, lies())
    made = storage.finish(upload, s.digests, if_version=None)
    assert read(storage, made.key, made.version, 0, made.size) == s.data


def test_finish_wants_the_digests_that_were_written(storage: Storage, s: Sample) -> None:
    upload = s.filled(storage)
    with pytest.raises(TransferStateError):
        storage.finish(upload, s.digests[:-1], if_version=None)
    with pytest.raises(TransferStateError):
        storage.finish(upload, [s.digests[1], *s.digests[1:]], if_version=None)
    assert storage.finish(upload, s.digests, if_version=None).size == len(s.data)


# ---- provider copy -----------------------------------------------------------------------------
def test_copy_proves_what_it_copied_or_leaves_nothing(rig: Rig, s: Sample) -> None:
    made = rig.open("origin").put("src/a.bin", b"head" + s.data, if_version=None)
    origin = Origin("origin", "src/a.bin", made.version)
    sink = rig.open()
    upload = s.begun(sink)
    for index, piece in enumerate(s.pieces):
        proof = sink.copy(upload, index, origin, 4 + index * s.piece, s.digests[index], len(piece))
        assert proof == (hashlib.sha256(piece).digest() if rig.proves_copies else None)
    assert sink.parts(upload) == (frozenset(range(4)) if rig.proves_copies else frozenset())
    for index in () if rig.proves_copies else range(4):  # the caller relays
        s.write(sink, upload, index)
    made = sink.finish(upload, s.digests, if_version=None)
    assert read(sink, made.key, made.version, 0, made.size) == s.data


def test_copy_of_other_bytes_never_counts(rig: Rig, s: Sample) -> None:
    made = rig.open("origin").put("a", s.data, if_version=None)
    sink = rig.open()
    upload = s.begun(sink)

    def copied(origin: Origin, offset: int) -> bytes | None:
        return sink.copy(upload, 0, origin, offset, s.digests[0], s.piece)

    with pytest.raises(SourceChangedError):
        copied(Origin("origin", "a", "another version"), 0)
    with pytest.raises(AbsentError):
        copied(Origin("origin", "b", made.version), 0)
    if rig.proves_copies:
        with pytest.raises(PieceMismatchError):
            copied(Origin("origin", "a", made.version), 1)
    else:
        assert copied(Origin("origin", "a", made.version), 1) is None
    assert sink.parts(upload) == frozenset()
    if rig.replaces_parts:
        s.write(sink, upload, 0)
        assert sink.parts(upload) == {0}


@pytest.mark.parametrize("origin", [Origin("nowhere", "a", "v"), Origin("", "a", "v", "elsewhere", "b", "c")])
def test_copy_from_a_storage_that_is_not_here(rig: Rig, s: Sample, origin: Origin) -> None:
    storage = rig.open()
    upload = s.begun(storage)
    with pytest.raises(ForbiddenError):
        storage.copy(upload, 0, origin, 0, s.digests[0], s.piece)


# ---- listing -----------------------------------------------------------------------------------
KEYS = ["a", "a-b", "a.txt", "a/b", "a/c/d", "a0", "b/ä", "b/z", "b/é/x", "c d/e#f?.bin", "z/" + "n" * 200]


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_listing_is_complete_in_key_order_and_paged(rig: Rig, limit: int) -> None:
    keys = [key for key in KEYS if key != "a"]  # a file and a folder of one name: not everywhere
    made = {key: rig.open().put(key, key.encode(), if_version=None) for key in keys}
    seen, token = [], None
    while True:
        page = rig.open().list("", token, limit)
        assert len(page.objects) <= limit
        seen += page.objects
        token = page.next
        if token is None:
            break
    assert in_order(rig, seen) == [made[key] for key in sorted(keys, key=str.encode)]


def in_order(rig: Rig, objects: Iterable[Object]) -> list[Object]:
    return list(objects) if rig.ordered else sorted(objects, key=lambda one: one.key.encode())


def test_listing_below_a_prefix(rig: Rig, storage: Storage) -> None:
    keys = [key for key in KEYS if key != "a"]
    for key in keys:
        storage.put(key, b"", if_version=None)
    for prefix in ("", "a", "a/", "a/c", "a/c/d", "b/", "b/é", "nothing", "nothing/at/all", "z/n"):
        found = [entry.key for entry in in_order(rig, storage.list(prefix).objects)]
        assert found == sorted((key for key in keys if key.startswith(prefix)), key=str.encode), prefix


def test_uploads_are_never_listed(storage: Storage, s: Sample) -> None:
    s.filled(storage)
    storage.put("x", b"", if_version=None)
    listing = storage.list("")
    assert [entry.key for entry in listing.objects] == ["x"]
    assert listing.skipped == ()
