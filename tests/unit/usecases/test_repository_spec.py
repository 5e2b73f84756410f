"""The examples of spec/repositories.md are what the code reads and writes, and its numbers are the code's."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from skyswarm.messages.canonical import dumps
from skyswarm.messages.keys import parse_did_key
from skyswarm.messages.note import COSIGNATURE, MAX_NOTE, Checkpoint, NoteKey, SignedNote
from skyswarm.messages.repository import (
    MAX_BATCH,
    MAX_BODY,
    MAX_FOUND,
    MAX_PAGE,
    MAX_REPLY,
    AnnounceReply,
    AnnounceRequest,
    StatementsPage,
)
from skyswarm.messages.statements import Announce, parse_signed
from skyswarm.trust.tlog import leaf_hash, tree_root
from skyswarm.usecases import repos
from skyswarm.usecases.logreading import FROZEN, PROMISE
from skyswarm.usecases.lookup import GRACE, GRACE_EMPTY, lookup_key
from skyswarm.usecases.repository import SKEW

PAGE = (Path(__file__).parents[3] / "shared/spec/repositories.md").read_text("utf-8")
PARSERS: dict[str, Callable[[bytes], Any]] = {
    "announce": AnnounceRequest.parse,
    "fresh": AnnounceReply.parse,
    "statements": StatementsPage.parse,
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("example", blocks("json"), ids=range(len(blocks("json"))))
def test_json_examples_are_read_and_written_by_the_real_parsers(example: str) -> None:
    data = dumps(json.loads(example))
    parse = next(parse for field, parse in PARSERS.items() if field in json.loads(example))
    assert parse(data).dump() == data


def test_the_announcement_of_the_example_is_signed_by_the_key_of_its_chain() -> None:
    request = AnnounceRequest.parse(dumps(json.loads(blocks("json")[0])))
    announce, (birth,) = parse_signed(request.announce), (parse_signed(one) for one in request.chain)
    event = announce.statement
    assert isinstance(event, Announce) and event.iss == birth.id
    announce.envelope.verify(parse_did_key(birth.envelope.keyids[0]))
    assert event.lookups == (lookup_key("2713561a88c12a61a55b12166d5bffd4f6acded26a8aaf41159d6a6da52ed495"),)


def test_the_checkpoint_of_the_example_covers_the_two_inceptions() -> None:
    keys = [NoteKey.parse(line) for line in blocks("vkey")[0].split()]
    note = SignedNote.parse(blocks("note")[0].encode())
    plain, timed = note.verify(keys)
    assert plain == (keys[0], None) and timed == (keys[1], 1790000000) and keys[1].kind == COSIGNATURE
    checkpoint = Checkpoint.parse(note.text)
    page = StatementsPage.parse(dumps(json.loads(blocks("json")[2])))
    repo = checkpoint.origin.removeprefix("skyswarm/")
    ids = [repo, *(parse_signed(one).id for one in page.statements)]
    assert (checkpoint.size, checkpoint.root) == (
        len(ids),
        tree_root(leaf_hash(bytes.fromhex(one)) for one in ids),
    )


def test_the_numbers_of_the_page_are_those_of_the_code() -> None:
    assert "256 KiB, answers 1 MiB" in PAGE and (MAX_BODY, MAX_REPLY) == (256 * 1024, 1024 * 1024)
    assert f"`chain` (≤ {MAX_BATCH})" in PAGE and f"`found` (≤ {MAX_FOUND})" in PAGE
    assert f"`statements` (≤ {MAX_PAGE})" in PAGE
    assert f"more than {SKEW} s ahead" in PAGE
    assert f"older than {FROZEN} s" in PAGE and f"took {PROMISE} s before" in PAGE
    assert f"{GRACE} s more, {GRACE_EMPTY:.0f} s once" in PAGE
    assert f"rests for {repos.BACKOFF:.0f} s, doubling up to {repos.BACKOFF_MOST:.0f} s" in PAGE
    assert f"no longer than {repos.BACKOFF:.0f} s after" in PAGE
    assert MAX_NOTE == 128 * 1024
