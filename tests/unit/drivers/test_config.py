"""The settings file: what is accepted comes back as it was, everything else is refused by its field's name."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyswarm.drivers.local.config import Config, StorageConfig, parse
from skyswarm.errors import SetupError

FULL = Config(
    name="Älice's agent",
    agent="0123456789abcdef" * 4,
    host="::1",
    port=65535,
    public_url="https://alice.example/swarm",
    storages={"home": StorageConfig("folder", "storage"), "big-1": StorageConfig("folder", "/data/a b")},
    repos=("http://127.0.0.1:7000/a/" + "f" * 64, "https://r.example"),
    role="repository",
    fsync=False,
)


def document(**changes: Any) -> dict[str, Any]:
    return {**json.loads(FULL.dump()), **changes}


def test_settings_come_back_as_they_were_and_can_be_read_by_people() -> None:
    for config in (FULL, Config("a", "0" * 64)):
        assert parse(config.dump()) == config
        assert parse(config.dump()).dump() == config.dump()
    assert b'\n  "name": "\xc3\x84lice' in FULL.dump()
    assert FULL.dump().endswith(b"}\n")


WRONG: list[tuple[str, Any]] = [
    *(("v", value) for value in (0, 2, "1", True, None)),
    *(("name", value) for value in ("", "x" * 65, "a\nb", "a\u202eb", 5, None)),
    *(("agent", value) for value in ("", "A" * 64, "0" * 63, "0" * 64 + "\n", None)),
    *(("host", value) for value in ("", "a b", "a/b", 5, None)),
    *(("port", value) for value in (-1, 65536, "80", True, 80.0, None)),
    *(
        ("public_url", value)
        for value in ("", "ftp://x", "http://", "http://x?q", "http://x/#f", "http://[x", 5)
    ),
    *(
        ("repos", value)
        for value in (None, {}, "http://x", ["x"], [5], ["http://x", "http://x"], [["http://x"]])
    ),
    *(("role", value) for value in ("", "Agent", None, ["agent"])),
    *(("fsync", value) for value in (0, 1, "true", None)),
    *(("storages", value) for value in (None, [], "x")),
]


@pytest.mark.parametrize(("name", "value"), WRONG, ids=repr)
def test_a_field_of_another_shape_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(SetupError, match=rf"config\.json: {name} must be"):
        parse(json.dumps(document(**{name: value})).encode())


@pytest.mark.parametrize(
    "storages",
    [
        {"#objects": {"kind": "folder", "path": "x"}},
        {"Home": {"kind": "folder", "path": "x"}},
        {"": {"kind": "folder", "path": "x"}},
        {"../x": {"kind": "folder", "path": "x"}},
        {"x" * 33: {"kind": "folder", "path": "x"}},
        {"home": {"kind": "s4", "path": "x"}},
        {"home": {"kind": "folder", "path": ""}},
        {"home": {"kind": "folder", "path": "a\x00b"}},
        {"home": {"kind": "folder"}},
        {"home": {"kind": "folder", "path": "x", "more": 1}},
        {"home": "x"},
    ],
    ids=str,
)
def test_a_storage_of_another_shape_is_refused_by_name(storages: Any) -> None:
    with pytest.raises(SetupError, match=r"config\.json: storages\."):
        parse(json.dumps(document(storages=storages)).encode())


@pytest.mark.parametrize("path", ["/data/x\udcff", "/data/a\nb"])
def test_a_folder_that_settings_cannot_name_is_refused_by_its_path(path: str) -> None:
    with pytest.raises(SetupError) as caught:
        replace(FULL, storages={"home": StorageConfig("folder", path)}).dump()
    assert caught.value.message == f"{path!r} cannot be a storage: its path is not printable text in UTF-8"


def test_other_text_that_is_not_utf_8_is_refused_for_what_it_is() -> None:
    with pytest.raises(SetupError, match=r"'\\ud800' is not text that settings can hold"):
        replace(FULL, name="a\ud800").dump()


def test_unknown_missing_and_double_fields_are_refused() -> None:
    with pytest.raises(SetupError, match="unknown field 'colour'"):
        parse(json.dumps(document(colour="red")).encode())
    for name in document():
        doc = document()
        del doc[name]
        with pytest.raises(SetupError, match=f"missing field '{name}'"):
            parse(json.dumps(doc).encode())
    with pytest.raises(SetupError, match="twice"):
        parse(FULL.dump().replace(b'"v": 1', b'"v": 1, "v": 1'))


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"v": NaN}', b'{"v": 1e999}',
             b'{"v": 1' + b"0" * 5000 + b"}"],
    ids=lambda data: repr(data[:9]),
)  # fmt: skip
def test_what_is_no_settings_file_is_refused(data: bytes) -> None:
    with pytest.raises(SetupError):
        parse(data)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(sorted(document())), VALUES)
def test_any_value_in_any_field_is_accepted_or_refused_and_nothing_else(name: str, value: Any) -> None:
    data = json.dumps(document(**{name: value})).encode()
    try:
        config = parse(data)
    except SetupError:
        return
    assert parse(config.dump()) == config
