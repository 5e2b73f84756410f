"""Bad input: only documented errors come out of manifests, pages, index pages, piece lists and paths.

Two ways in: bytes that are damaged (few survive as canonical JSON), and documents that are damaged and then
written canonically again, which reach the checks behind the parser.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyswarm.errors import InputError
from skyswarm.messages import canonical
from skyswarm.messages.fields import from_b64url
from skyswarm.messages.manifest import Manifest, Page, check_list, dump_index, parse_index
from skyswarm.pieces.digest import pack_all, unpack_all
from skyswarm.pieces.paths import PathSet, SharePath

VECTORS = json.loads((Path(__file__).parents[1] / "vectors/pieces/documents.json").read_text("ascii"))
FILM = Page.parse(VECTORS["page"]["good"].encode()).files[1]
LIST = from_b64url(VECTORS["list"])

# Each parser with what gives back the very bytes it has read.
PARSERS: dict[str, Callable[[bytes], bytes]] = {
    "manifest": lambda data: Manifest.parse(data).payload(),
    "page": lambda data: Page.parse(data).dump(),
    "index": lambda data: dump_index(parse_index(data), json.loads(data)["depth"]),
}
_SCRAPS = (
    b'"|{|}|[|]|,|:|\\|\\u0000|\\ud800|null|true|1e9|-|0| |NaN|"size"|"v":1|../'
    b"|\x00|\xff|\xc0\x80|\xed\xa0\x80|\xef\xbb\xbf"
)
SCRAPS = st.sampled_from([*_SCRAPS.split(b"|"), b"9" * 20, b"[" * 20])


@st.composite
def damaged(draw: st.DrawFn, good: bytes) -> bytes:
    """Good bytes with some cut out and others put in."""
    data = good
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        cut = draw(st.integers(0, 3) | st.integers(0, len(data)))
        data = data[:at] + draw(SCRAPS | st.binary(max_size=4)) + data[at + cut :]
    return data


TEXTS = st.text(max_size=8) | st.sampled_from(
    ["..", "a" * 64, "A" * 64, "0" * 64, "AAAA", "a/b", "md5", "\ud800", "\x00"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 2) | st.integers(-(2**54), 2**54) | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in a document."""
    keys = (
        list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    )
    return [(value, key) for key in keys] + [place for key in keys for place in places(value[key])]


@st.composite
def altered(draw: st.DrawFn, good: dict[str, Any]) -> bytes:
    """A good document with fields replaced, removed or added, in the form that json writes and ours reads."""
    document = copy.deepcopy(good)
    for _ in range(draw(st.integers(1, 3))):
        found = places(document)
        if not found:
            break
        container, key = draw(st.sampled_from(found))
        action = draw(st.sampled_from(["put", "remove", "add", "steal"]))
        if action == "remove":
            del container[key]
        elif action == "add" and isinstance(container, dict):
            container[draw(TEXTS)] = draw(VALUES)
        elif action == "steal":
            other, there = draw(st.sampled_from(found))
            container[key] = copy.deepcopy(other[there])
        else:
            container[key] = draw(VALUES)
    text = json.dumps(document, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "surrogatepass")


@pytest.mark.parametrize("kind", sorted(PARSERS))
@settings(max_examples=250)
@given(data=st.data())
def test_documents(kind: str, data: st.DataObject) -> None:
    good = VECTORS[kind]["good"]
    raw = data.draw(damaged(good.encode()) | altered(json.loads(good)) | st.binary(max_size=60))
    try:
        again = PARSERS[kind](raw)
    except InputError:
        return
    assert again == raw  # what is read is written the same, so it has one id


@pytest.mark.parametrize("kind", sorted(PARSERS))
def test_any_json_value(kind: str) -> None:
    for value in (None, True, 0, "", "x", [], [[]], {}, {"v": 1}, {"v": 1, "kind": kind}):
        with pytest.raises(InputError):
            PARSERS[kind](canonical.dumps(value))


@settings(max_examples=200)
@given(damaged(LIST) | st.binary(max_size=200))
def test_piece_lists(raw: bytes) -> None:
    with suppress(InputError):
        assert pack_all(unpack_all(raw)) == raw
    try:
        check_list(FILM, raw)
    except InputError:
        return
    assert raw == LIST


@settings(max_examples=300)
@given(st.lists(st.text(max_size=30) | st.text("aA/.\\:\x00\u202e\ud800\u0301", max_size=12), max_size=4))
def test_paths(texts: list[str]) -> None:
    seen = PathSet()
    for text in texts:
        try:
            seen.add(SharePath.parse(text))
        except InputError as error:
            assert str(error).isprintable()
            return
