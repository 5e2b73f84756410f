"""What a user does to a transfer, and what lies at its destination: pause, resume, cancel, caps, drops, conflicts."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from skyswarm.errors import TransferStateError
from skyswarm.usecases import jobs, settle
from skyswarm.usecases.receipts import newest
from tests.support.faulty_proxy import Fault
from tests.support.stage import Actor, make_file, sha256, until
from tests.support.trio import MIB, Cast, no_upload_left, trio


def slow_start(cast: Cast, size: int = 48 * MIB) -> str:
    """A transfer under way, some of whose pieces are at bob's; its id."""
    published = cast.share(size)
    cast.bob.finds(published, cast.alice)
    cast.proxy.fault = Fault(rate=3 * MIB)
    transfer = cast.bob.get(published.envelope)
    until(lambda: any(cast.bob.parts(transfer).values()), 60)
    return transfer


def all_parts(bob: Actor, transfer: str) -> set[int]:
    return {index for parts in bob.parts(transfer).values() for index in parts}


def test_pause_resume_and_cancel(tmp_path: Path) -> None:
    with trio(tmp_path) as cast:
        bob = cast.bob
        transfer = slow_start(cast)
        settle.pause(bob.deps, bob.id, transfer)
        # Everything that was on its way ends within seconds, and then nothing moves.
        quiet = [cast.proxy.sent(), 0]

        def still() -> bool:
            quiet[1] = quiet[1] + 1 if cast.proxy.sent() == quiet[0] else 0
            quiet[0] = cast.proxy.sent()
            return quiet[1] > 10

        until(still, 15, "quiet after a pause", pause=0.1)
        assert bob.job(transfer).state == "paused"
        there = {index for parts in bob.parts(transfer).values() for index in parts}
        before = len(cast.proxy.ranges)
        cast.proxy.fault = Fault()
        settle.resume(bob.deps, bob.id, transfer)
        bob.wait("done", 60, transfer)
        assert sha256(cast.final) == cast.files["big.bin"]
        assert not there & {one.first // (8 * MIB) for one in cast.proxy.ranges[before:]}
        assert no_upload_left(bob)
        with contextlib.suppress(TransferStateError):
            settle.cancel(bob.deps, bob.id, transfer)
            raise AssertionError("a transfer that is done was cancelled")
        # Another one, cancelled in the middle: nothing of it is left, and it cannot be resumed.
        cast.final.unlink()
        cast.proxy.fault = Fault(rate=2 * MIB)
        assert cast.published is not None
        second = bob.get(cast.published.envelope, prefix="two")
        until(lambda: any(bob.parts(second).values()), 60)
        settle.cancel(bob.deps, bob.id, second)
        until(lambda: no_upload_left(bob), 15, "the upload to go")
        assert bob.job(second).state == "cancelled"
        until(lambda: '"cancelled"' in json.dumps(bob.job(second).history), 5)
        assert not (bob.home / "storage" / "two").exists() or not any(
            (bob.home / "storage" / "two").iterdir()
        )
        with contextlib.suppress(TransferStateError):
            settle.resume(bob.deps, bob.id, second)
            raise AssertionError("a cancelled transfer was resumed")


def test_a_cost_cap_stops_and_a_higher_one_goes_on(tmp_path: Path) -> None:
    with trio(tmp_path) as cast:
        bob, alice = cast.bob, cast.alice
        sha = make_file(tmp_path / "paid" / "big.bin", 64 * MIB)
        alice.end()
        alice.storage("paid", tmp_path / "paid", priced_as="s3/eu-central-1")
        alice.start()
        published = alice.publish(tmp_path / "paid", storage="paid")
        bob.finds(published, alice)
        # 8 pieces of 8 MiB at 0.09 $/GB: about 756 µ$ each. The cap allows for three.
        transfer = bob.get(published.envelope, max_cost=2500)
        job = bob.wait("stopped", 60, transfer)
        assert job.error is not None and job.error["code"] == "SKY-402", job.error
        assert "--max-cost" in job.error["advice"]
        found = bob.report(transfer)
        assert 0 < found.spent <= 2500
        assert sum(line["micro"] for line in job.estimate) > 2500
        assert {line["payer"] for line in job.estimate} == {"them", "you"}
        # What was paid for and under way comes to its end.
        there = until(
            lambda: len(pieces := all_parts(bob, transfer)) == 3 and pieces, 15, "what was paid for"
        )
        before = len(cast.proxy.ranges)
        settle.resume(bob.deps, bob.id, transfer, max_cost=20_000)
        bob.wait("done", 60, transfer)
        assert sha256(bob.home / "storage" / "big.bin") == sha
        assert not there & {one.first // (8 * MIB) for one in cast.proxy.ranges[before:]}
        assert cast.proxy.sent() == 64 * MIB
        assert bob.report(transfer).spent <= 8 * 800


def test_drops_that_come_twice_are_bad_or_meet_another_file(tmp_path: Path) -> None:
    with trio(tmp_path) as cast:
        bob = cast.bob
        published = cast.share(9 * MIB)
        bob.finds(published, cast.alice)
        # Bad ones first: each gets a status that says why, and nothing starts.
        for name, data in {
            "nonsense": b"not a manifest",
            "bent": published.envelope.replace(b'"payload":"', b'"payload":"A', 1),
            "huge": b"x" * (200 * 1024),
            "empty": b"",
        }.items():
            status = bob.drop(data, name)
            until(status.exists, 15, f"the status of {name}")
            told = json.loads(status.read_text())
            assert told["state"] == "refused" and told["error"]["code"].startswith("SKY-"), told
        assert bob.job() is None
        # The same drop again and again, and after a restart: one transfer.
        status = bob.drop(published.envelope)
        job = bob.wait("done", 60)
        for _ in range(3):
            bob.drop(published.envelope)
        bob.restart()
        bob.drop(published.envelope)
        until(lambda: status.exists() and json.loads(status.read_text())["state"] == "done", 15, "the status")
        assert json.loads(status.read_text())["transfer"] == job.id
        # The same manifest under another name is another wish: all is held, nothing moves.
        sent = cast.proxy.sent()
        bob.drop(published.envelope, "again")
        # Looked for by its origin: two transfers of one second have no order in the list.
        again = until(
            lambda: [one for one in jobs.page(bob.deps, bob.id) if one.origin == "again.manifest.json"], 30
        )
        bob.wait("done", 30, again[0].id)
        assert cast.proxy.sent() == sent
        found = bob.report(again[0].id)
        assert found.tally.held_bytes == found.tally.bytes == 9 * MIB and found.spent == 0
        # Another file under that name is left as it is, unless the user says otherwise.
        cast.final.write_bytes(b"mine")
        third = bob.get(published.envelope)
        job = bob.wait("failed", 60, third)
        assert job.failed[0]["code"] == "SKY-330", job.failed
        assert cast.final.read_bytes() == b"mine"
        assert no_upload_left(bob)
        fourth = bob.get(published.envelope, overwrite=True)
        bob.wait("done", 60, fourth)
        assert sha256(cast.final) == cast.files["big.bin"]
        # A failed one is tried again as a follow-up once the way is free.
        follow = settle.resume(bob.deps, bob.id, third)
        bob.wait("done", 60, follow.id)


def test_a_receipt_that_could_not_be_handed_in_holds_up_no_other(tmp_path: Path) -> None:
    with trio(tmp_path) as cast:
        alice, bob = cast.alice, cast.bob
        published = cast.share(9 * MIB)
        bob.finds(published, alice)
        cast.proxy.deaf = "/v1/receipt"
        first = bob.get(published.envelope)
        bob.wait("done", 60, first)
        until(lambda: cast.proxy.unheard > 0, 20)
        make_file(tmp_path / "more" / "more.bin", 10 * MIB, 3)
        more = alice.publish(tmp_path / "more", name="more", storage="more")
        bob.finds(more, alice)
        second = bob.get(more.envelope)
        bob.wait("done", 60, second)
        heard = cast.proxy.unheard
        until(lambda: cast.proxy.unheard > heard, 20)
        cast.proxy.deaf = ""
        until(lambda: bob.job(first).receipts and bob.job(second).receipts, 40, "both receipts")
        ours, theirs = (newest(one.deps, one.id, alice.id, bob.id)[0] for one in (bob, alice))
        assert ours is not None and theirs is not None and ours.complete
        assert ours.receipt == theirs.receipt
        assert (ours.receipt.total_receipts, ours.receipt.total_bytes) == (2, 19 * MIB)


def test_what_the_user_holds_in_another_storage_is_copied_there(tmp_path: Path) -> None:
    with trio(tmp_path) as cast:
        bob = cast.bob
        published = cast.share(40 * MIB)
        bob.storage("other", tmp_path / "other")
        bob.finds(published, cast.alice)
        first = bob.get(published.envelope)
        bob.wait("done", 60, first)
        sent = cast.proxy.sent()
        second = bob.get(published.envelope, "other", prefix="deep/er")
        bob.wait("done", 60, second)
        assert sha256(tmp_path / "other" / "deep" / "er" / "big.bin") == cast.files["big.bin"]
        assert cast.proxy.sent() == sent, "not a byte was moved"
        found = bob.report(second)
        assert found.tally.held_bytes == found.tally.bytes == 40 * MIB


def test_a_tree_arrives_whole_with_the_names_of_all_the_world(tmp_path: Path) -> None:
    with trio(tmp_path) as cast:
        names = [
            "a.txt",
            "leer zeichen/ü.bin",
            "tief/er/und/tiefer/x",
            "空/の.dat",
            "none",
            "b+c%20&d=e;f.txt",
        ]
        sums = {name: make_file(tmp_path / "src" / name, size * 1000) for size, name in enumerate(names)}
        sums["big.bin"] = make_file(tmp_path / "src" / "big.bin", 20 * MIB)
        published = cast.alice.publish(tmp_path / "src", name="tree")
        cast.bob.finds(published, cast.alice)
        status = cast.bob.drop(published.envelope)
        cast.bob.wait("done", 60)
        root = cast.bob.home / "storage" / "tree"
        assert {str(one.relative_to(root)) for one in root.rglob("*") if one.is_file()} == set(sums)
        assert all(sha256(root / name) == sums[name] for name in sums)
        until(lambda: status.exists() and json.loads(status.read_text())["state"] == "done", 15)
        told = json.loads(status.read_text())
        assert told["files"] == {"done": 7, "total": 7}
        assert (
            told["bytes"]["done"]
            == told["bytes"]["total"]
            == sum((tmp_path / "src" / name).stat().st_size for name in sums)
        )
