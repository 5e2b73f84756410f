"""The inbox: drops, statuses beside them, and what is refused with a reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from skyswarm.drivers.storages.folder import FolderStorage
from skyswarm.errors import SkyError
from skyswarm.messages.status import Status
from skyswarm.usecases import inbox, jobs, settle, tending
from skyswarm.usecases.starting import Wish
from tests.support.land import Land, Person

HOME = Wish("home")


def look(bob: Person, wish: Wish = HOME) -> list[str]:
    return inbox.look(bob.deps, bob.id, wish)


def status(bob: Person, name: str = "x") -> Status:
    return Status.parse(bob.files("#inbox")[f"{name}.status.json"])


def known(alice: Person, bob: Person) -> None:
    """Bob's transfers find alice."""
    source = jobs.SourceState(agent=alice.id, endpoint=alice.url)
    for job in jobs.page(bob.deps, bob.id):
        jobs.change(bob.deps, bob.id, job.id, lambda now: now.with_source(source))


def test_a_drop_becomes_a_transfer_with_its_status_beside_it(land: Land, alice: Person, bob: Person) -> None:
    bob.put("d/x.manifest.json", alice.publish({"a": b"abc"}).envelope, "#inbox")
    assert look(bob) == ["d/x.manifest.json"]
    assert (status(bob, "d/x").state, status(bob, "d/x").bytes.total) == ("queued", 3)
    known(alice, bob)
    bob.work()
    done = status(bob, "d/x")
    assert (done.state, done.bytes.done, done.files.done) == ("done", 3, 1)
    assert done.chain == (alice.id, bob.id)
    inbox.refresh(bob.deps, bob.id)
    assert len(status(bob, "d/x").receipts) == 1


def test_looking_again_starts_nothing(alice: Person, bob: Person) -> None:
    bob.put("x.manifest.json", alice.publish({"a": b"abc"}).envelope, "#inbox")
    assert [look(bob) for _ in range(3)] == [["x.manifest.json"], [], []]
    assert len(jobs.page(bob.deps, bob.id)) == 1


def test_an_event_that_comes_twice_or_whose_note_was_lost(alice: Person, bob: Person) -> None:
    """The id is made of the drop: after a crash before the note was written it is the same transfer again."""
    bob.put("x.manifest.json", alice.publish({"a": b"abc"}).envelope, "#inbox")
    look(bob)
    bob.deps.notes.delete(bob.id, "drop/x.manifest.json")
    look(bob)
    assert len(jobs.page(bob.deps, bob.id)) == 1


def test_another_manifest_under_the_same_name_is_another_transfer(alice: Person, bob: Person) -> None:
    for data in (b"one", b"two"):
        bob.put("x.manifest.json", alice.publish({"a": data}).envelope, "#inbox")
        assert look(bob) == ["x.manifest.json"]
    assert len(jobs.page(bob.deps, bob.id)) == 2


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"", "SKY-101"), (b"{}", "SKY-101"), (b"\xff\x00", "SKY-101"), (b"x" * 200_000, "SKY-102"),
     (b"[" * 10_000, "SKY-101")],
    ids=["empty", "no envelope", "not text", "too long", "deep"],
)  # fmt: skip
def test_what_cannot_be_used_gets_a_status_that_says_why(bob: Person, data: bytes, code: str) -> None:
    bob.put("x.manifest.json", data, "#inbox")
    assert look(bob) == []
    found = status(bob)
    assert found.state == "refused" and found.error is not None
    assert found.error.code in (code, "SKY-102"), found.error
    assert found.error.message
    assert look(bob) == [] and jobs.page(bob.deps, bob.id) == []


def test_other_files_are_left_alone(alice: Person, bob: Person) -> None:
    for key in ("readme.txt", "x.manifest.json.part", "d/.x.json", ".manifest", "y.status.json"):
        bob.put(key, b"{}", "#inbox")
    bob.put("film.mkv", b"x" * 200_000, "#inbox")
    for key in ("x.manifest.json.part", "d/.x", "z.status.json"):
        bob.put(key, alice.publish({"a": b"abc"}).envelope, "#inbox")
    before = bob.files("#inbox")
    assert look(bob) == []
    assert bob.files("#inbox") == before


@pytest.mark.parametrize(
    ("key", "told"),
    [("x.json", "x"), ("d.e/x", "d.e/x"), ("x.manifest", "x.manifest"), ("x (1).manifest.json", "x (1)"),
     ("x.manifest (1).json", "x.manifest (1)"), ("x.txt", "x.txt")],
)  # fmt: skip
def test_a_manifest_is_one_under_any_name(alice: Person, bob: Person, key: str, told: str) -> None:
    bob.put(key, alice.publish({"a": b"abc"}).envelope, "#inbox")
    assert look(bob) == [key]
    assert status(bob, told).state == "queued"
    assert look(bob) == []


def test_a_json_that_is_no_manifest_is_answered_once(alice: Person, bob: Person) -> None:
    bob.put("x.json", b'{"a":1}', "#inbox")
    bob.put("s.json", alice.vouch(bob).envelope_bytes, "#inbox")
    assert look(bob) == []
    for name in ("x", "s"):
        found = status(bob, name)
        assert found.state == "refused" and found.error is not None
        assert found.error.message.startswith("this is not a manifest: "), found.error
    bob.bucket("#inbox").delete("x.status.json")
    assert look(bob) == [] and "x.status.json" not in bob.files("#inbox")
    bob.put("x.json", alice.publish({"a": b"abc"}).envelope, "#inbox")
    assert look(bob) == ["x.json"], "it was replaced by a real one"


def test_a_manifest_with_a_broken_signature_is_refused_under_any_name(alice: Person, bob: Person) -> None:
    envelope = alice.publish({"a": b"abc"}).envelope
    other = alice.publish({"a": b"abcd"}).envelope
    signatures = envelope[envelope.index(b'"signatures"') :]
    bob.put("x", other[: other.index(b'"signatures"')] + signatures, "#inbox")
    assert look(bob) == []
    assert status(bob).state == "refused"


def test_other_files_are_read_once(alice: Person, bob: Person) -> None:
    for n in range(3):
        bob.put(f"{n}.txt", b"notes", "#inbox")
    look(bob)
    noted = len(bob.deps.notes.page(bob.id, "drop/"))
    look(bob)
    assert noted == len(bob.deps.notes.page(bob.id, "drop/")) == 3


def test_a_good_drop_beside_bad_ones(alice: Person, bob: Person) -> None:
    bob.put("a.manifest.json", b"nonsense", "#inbox")
    bob.put("m.manifest.json", alice.publish({"a": b"abc"}).envelope, "#inbox")
    bob.put("z.manifest.json", b"", "#inbox")
    assert look(bob) == ["m.manifest.json"]
    assert [status(bob, one).state for one in "amz"] == ["refused", "queued", "refused"]


def test_a_thousand_and_more_drops(alice: Person, bob: Person) -> None:
    """More than one page of the listing."""
    envelope = alice.publish({"a": b"abc"}).envelope
    for n in range(1100):
        bob.put(f"{n:04d}.txt", b"", "#inbox")
    bob.put("9999.manifest.json", envelope, "#inbox")
    assert look(bob) == ["9999.manifest.json"]


def test_a_destination_that_is_not_there_is_told(alice: Person, bob: Person) -> None:
    """It is the wish that is wrong, not the drop that is gone: silence would be for ever."""
    bob.put("x.manifest.json", alice.publish({"a": b"abc"}).envelope, "#inbox")
    assert look(bob, Wish("nowhere")) == []
    found = status(bob)
    assert (found.state, found.error and found.error.code) == ("refused", "SKY-501")


def test_the_status_follows_what_the_user_does(land: Land, alice: Person, bob: Person) -> None:
    bob.put("x.manifest.json", alice.publish({"a": b"abc"}).envelope, "#inbox")
    look(bob)
    (job,) = jobs.page(bob.deps, bob.id)
    settle.pause(bob.deps, bob.id, job.id)
    inbox.refresh(bob.deps, bob.id)
    assert status(bob).state == "paused"
    version = bob.bucket("#inbox").stat("x.status.json").version
    inbox.refresh(bob.deps, bob.id)
    assert bob.bucket("#inbox").stat("x.status.json").version == version, (
        "nothing changed, nothing is written"
    )
    settle.cancel(bob.deps, bob.id, job.id)
    land.now += 5
    inbox.refresh(bob.deps, bob.id)
    assert (status(bob).state, status(bob).finished) == ("cancelled", int(land.now) - 5)


def test_a_status_holds_no_url_no_key_and_no_path_of_the_machine(alice: Person, bob: Person) -> None:
    bob.put("x.manifest.json", alice.publish({"a": b"abc"}).envelope, "#inbox")
    look(bob)
    known(alice, bob)
    bob.work()
    text = bob.files("#inbox")["x.status.json"].decode()
    assert "http" not in text and "s=" not in text and "did:key" not in text and '"/' not in text


def test_a_refusal_is_told_with_its_reason(land: Land, alice: Person) -> None:
    eve = land.agent("eve")
    eve.put("x.manifest.json", alice.publish({"a": b"abc"}).envelope, "#inbox")
    look(eve)
    known(alice, eve)
    eve.work()
    found = status(eve)
    assert found.state == "refused" and found.error is not None
    assert "vouch" in found.error.message
    assert eve.files() == {}


@pytest.fixture
def folder(bob: Person, tmp_path: Path) -> Path:
    """Bob's inbox as a real folder, in which a folder lies where the status of `a` belongs."""
    presigner = bob.land.presigners[bob.id]
    bob.land.buckets.add(bob.id, "#inbox", FolderStorage(tmp_path / "inbox", "#inbox", presigner))
    (tmp_path / "inbox" / "a.status.json").mkdir(parents=True)
    return tmp_path / "inbox"


@pytest.mark.parametrize("first", ["junk", "manifest"])
def test_attack_a_folder_where_a_status_belongs(alice: Person, bob: Person, folder: Path, first: str) -> None:
    """It costs that one drop its status, told once; the others, and the other duties of a round, go on."""
    good = alice.publish({"a": b"abc"}).envelope
    (folder / "a.manifest.json").write_bytes(b"junk" if first == "junk" else good)
    (folder / "b.manifest.json").write_bytes(alice.publish({"b": b"abc"}, name="other").envelope)
    rounds = tending.Rounds()
    with pytest.raises(SkyError):
        tending.tend(bob.deps, bob.id, rounds, "agent")
    assert (folder / "b.status.json").exists()
    assert rounds.sync > bob.land.now and rounds.statuses > bob.land.now, "the other duties had their turn"
    for _ in range(3):
        bob.land.now += 10
        tending.tend(bob.deps, bob.id, rounds, "agent")
    (job,) = (one for one in jobs.page(bob.deps, bob.id) if one.origin == "b.manifest.json")
    settle.cancel(bob.deps, bob.id, job.id)
    bob.land.now += 10
    tending.tend(bob.deps, bob.id, rounds, "agent")
    assert Status.parse((folder / "b.status.json").read_bytes()).state == "cancelled"


def test_what_a_clock_that_was_ahead_put_off_is_due_now(bob: Person) -> None:
    far = bob.land.now + 365 * 86_400
    rounds = tending.Rounds(sync=far, statuses=far, sweep=far)
    tending.tend(bob.deps, bob.id, rounds, "agent")
    assert rounds.sync <= bob.land.now + tending.SYNC_EVERY and rounds.statuses <= bob.land.now + 60
    tending.tend(bob.deps, bob.id, rounds, "repository")
    assert rounds.sweep <= bob.land.now + tending.SWEEP_EVERY


def test_after_a_resume_the_status_is_that_of_the_follow_up(land: Land, alice: Person, bob: Person) -> None:
    bob.put("it/a", b"another")
    bob.put("it/a", b"another", "home")
    bob.put("x.manifest.json", alice.publish({"a": b"abc", "b": b"def"}).envelope, "#inbox")
    look(bob)
    known(alice, bob)
    bob.work()
    inbox.refresh(bob.deps, bob.id)
    failed = status(bob)
    assert failed.state == "failed" and failed.error is not None
    assert failed.error.message == "1 of 2 files could not be had; the others are complete"
    follow = settle.resume(bob.deps, bob.id, failed.transfer, overwrite=True)
    assert follow.id != failed.transfer
    # The failed one changes once more (its receipts), and the drop comes twice: neither takes the status back.
    jobs.change(bob.deps, bob.id, failed.transfer, lambda now: replace(now, receipts=("0" * 64,)))
    bob.deps.notes.delete(bob.id, "drop/x.manifest.json")
    look(bob)
    inbox.refresh(bob.deps, bob.id)
    bob.work()
    inbox.refresh(bob.deps, bob.id)
    assert (status(bob).transfer, status(bob).state) == (follow.id, "done")


def test_when_no_file_could_be_had_none_is_said_to_be_complete(alice: Person, bob: Person) -> None:
    bob.put("a", b"another", "home")
    transfer = bob.get(alice.publish({"a": b"abc"}).envelope, alice)
    bob.work()
    error = bob.job(transfer).error
    assert error is not None and error["message"] == "1 of 1 files could not be had"


def test_a_drop_whose_status_would_have_too_long_a_name_is_brought_all_the_same(
    alice: Person, bob: Person
) -> None:
    bob.put("x" * 245 + ".json", alice.publish({"a": b"abc"}).envelope, "#inbox")
    with pytest.raises(SkyError):
        look(bob)
    known(alice, bob)
    bob.work()
    assert bob.files() == {"a": b"abc"}
    (job,) = jobs.page(bob.deps, bob.id)
    assert job.state == "done", job
    assert look(bob) == []


def test_a_full_inbox_stops_no_transfer_and_is_answered_when_there_is_room(
    alice: Person, bob: Person
) -> None:
    bob.put("x.manifest.json", alice.publish({"a": b"abc"}).envelope, "#inbox")
    bob.put("y.manifest.json", b"nonsense", "#inbox")
    inbox_of_bob = bob.bucket("#inbox")
    inbox_of_bob._capacity = 0
    with pytest.raises(SkyError):
        look(bob)
    known(alice, bob)
    bob.work()
    assert bob.files() == {"a": b"abc"}
    with pytest.raises(SkyError):
        inbox.refresh(bob.deps, bob.id)
    inbox_of_bob._capacity = 1 << 40
    look(bob)
    inbox.refresh(bob.deps, bob.id)
    assert (status(bob).state, status(bob, "y").state) == ("done", "refused")
