"""The examples of spec/identity.md and spec/messages.md are what the code reads and writes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from skyswarm.messages.canonical import dumps
from skyswarm.messages.dsse import seal
from skyswarm.messages.fields import UNSAFE
from skyswarm.messages.httpsig import check_request
from skyswarm.messages.keys import parse_did_key
from skyswarm.messages.link import parse_link
from skyswarm.messages.receipts import parse_receipt
from skyswarm.messages.requests import FetchReply, FetchRequest, SubmitReply, SubmitRequest
from skyswarm.messages.statements import Inception, parse_signed, parse_statement, payload_type
from skyswarm.messages.status import Status
from tests.support.signing import signer

SPEC = Path(__file__).parents[3] / "shared/spec"
BODIES: dict[str, Callable[[bytes], Any]] = {
    "want": FetchRequest.parse,
    "wants": FetchReply.parse,
    "results": SubmitReply.parse,
    "statements": SubmitRequest.parse,
}


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (SPEC / page).read_text(), re.DOTALL)


def read(example: str) -> bytes:
    """Parse an example with the parser of its kind and write it again."""
    value = json.loads(example)
    data = dumps(value)
    if "payloadType" in value:
        return parse_signed(data).envelope.dump()
    if value.get("kind") == "status":
        return Status.parse(data).dump()
    if value.get("kind") == "receipt":
        return parse_receipt(seal(payload_type("receipt"), data, signer("bob")).dump()).receipt.payload()
    if "kind" in value:
        return parse_statement(payload_type(value["kind"]), data).payload()
    parse = next(parse for field, parse in BODIES.items() if field in value)
    dumped: bytes = parse(data).dump()
    return dumped


EXAMPLES = [
    (page, number, example)
    for page in ("identity.md", "messages.md")
    for number, example in enumerate(blocks(page, "json"))
]


@pytest.mark.parametrize(("page", "number", "example"), EXAMPLES, ids=lambda value: str(value)[:12])
def test_every_example_is_read_and_written_again(page: str, number: int, example: str) -> None:
    assert read(example) == dumps(json.loads(example))


def test_every_kind_and_body_has_an_example() -> None:
    kinds = {json.loads(example).get("kind") for _, _, example in EXAMPLES}
    statements = {"inception", "rotate", "retire", "vouch", "revoke", "distrust", "announce"}
    assert statements | {"receipt", "status"} <= kinds
    fields = {field for _, _, example in EXAMPLES for field in json.loads(example)}
    assert set(BODIES) <= fields


def test_the_envelope_of_the_example_verifies_and_holds_the_payload_below() -> None:
    envelope, inner = blocks("identity.md", "json")[:2]
    signed = parse_signed(dumps(json.loads(envelope)))
    assert isinstance(signed.statement, Inception)
    assert signed.statement.payload() == dumps(json.loads(inner))
    signed.envelope.verify(parse_did_key(signed.statement.key))


def test_the_signed_request_of_the_example_is_accepted() -> None:
    (head,) = blocks("messages.md", "http")
    first, *lines = head.strip().splitlines()
    method, path, _ = first.split(" ")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    body = dumps(json.loads(blocks("messages.md", "json")[0]))
    checked = check_request(
        method, headers["host"], path, "", headers, body, path.split("/")[2], 1_790_000_030
    )
    assert checked.agent == headers["skyswarm-agent"]
    FetchReply.parse(dumps(json.loads(blocks("messages.md", "json")[1]))).fits(FetchRequest.parse(body))


def test_text_for_people_is_what_the_spec_says() -> None:
    (rule,) = re.findall(
        r"^- \*Text for people\*.*?(?=^- )", (SPEC / "identity.md").read_text(), re.DOTALL | re.MULTILINE
    )
    ranges = re.findall(r"U\+([0-9A-F]{4})(?:–([0-9A-F]{4}))?", rule)
    named = {chr(code) for low, high in ranges for code in range(int(low, 16), int(high or low, 16) + 1)}
    assert named == set(UNSAFE.findall("".join(map(chr, range(0x110000)))))


def test_the_link_of_the_example_is_read() -> None:
    (text,) = blocks("messages.md", "text")
    assert parse_link(text.strip()).name == "holiday"
