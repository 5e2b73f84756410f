"""Links: one spelling, 2 KiB, and names that cannot forge a terminal."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyswarm.errors import LinkError
from skyswarm.messages.fields import UNSAFE
from skyswarm.messages.link import MAX_LINK, Link, parse_link
from tests.support.signing import hex_id

ID = hex_id("share")
BARE = f"skyswarm:{ID}"
FULL = Link(
    ID,
    "Fotos 2024 & more/\u00e9",
    ("https://repo.example/r", "http://[::1]:9/a"),
    f"http://127.0.0.1:8080/a/{ID}",
)
TEXT = (
    f"{BARE}?name=Fotos%202024%20%26%20more/%C3%A9&repo=https://repo.example/r&repo=http://%5B::1%5D:9/a"
    f"&at=http://127.0.0.1:8080/a/{ID}"
)


def test_there_and_back() -> None:
    assert FULL.format() == TEXT
    assert parse_link(TEXT) == FULL
    assert parse_link(BARE) == Link(ID)
    assert Link(ID).format() == BARE


@given(
    st.text(max_size=40).filter(lambda name: not UNSAFE.search(name)),
    st.lists(
        st.sampled_from(["http://a.example", "https://b.example/r", "http://[::1]"]), unique=True, max_size=3
    ),
    st.none() | st.just(f"https://c.example/a/{ID}"),
)
def test_every_link_has_one_spelling(name: str, repos: list[str], at: str | None) -> None:
    link = Link(ID, name, tuple(repos), at)
    assert parse_link(link.format()) == link


@pytest.mark.parametrize(
    "text",
    [
        "",
        ID,
        "skyswarm:",
        "skyswarm:" + ID.upper(),
        "skyswarm:" + ID[:-1],
        "SKYSWARM:" + ID,
        "skyswarm://" + ID,
        BARE + "?",
        BARE + "?name=",
        BARE + "?name",
        BARE + "&name=a",
        BARE + "?name=a&",
        BARE + "?name=a&name=b",
        BARE + "?at=http://a.example&at=http://b.example",
        BARE + "?repo=http://a.example&name=a",
        BARE + "?at=http://a.example&repo=http://b.example",
        BARE + "?repo=http://a.example&repo=http://a.example",
        BARE + "".join(f"{'&' if n else '?'}repo=http://{n}.example" for n in range(9)),
        BARE + "?key=a",
        BARE + "?name=a+b",
        BARE + "?name=a b",
        BARE + "?name=%61",
        BARE + "?name=%c3%a9",
        BARE + "?name=%C3",
        BARE + "?name=%",
        BARE + "?name=%0A",
        BARE + "?name=%1B",
        BARE + "?name=%E2%80%AE",
        BARE + "?name=%00",
        BARE + "?name=" + "a" * 201,
        BARE + "?name=\u00e9",
        BARE + "?repo=ftp://a.example",
        BARE + "?repo=http://me%40a.example",
        BARE + "?repo=http://a.example/",
        BARE + "?at=http://a.example%3Fq",
        BARE + "?at=",
        BARE + "#name",
        " " + BARE,
        BARE + "\n",
        BARE + "?name=" + "a" * MAX_LINK,
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(LinkError):
        parse_link(text)


@pytest.mark.parametrize(
    "fields",
    [
        {"manifest": "x"},
        {"name": "a\nb"},
        {"name": "a" * 201},
        {"repos": ("http://a.example",) * 2},
        {"repos": ("a.example",)},
        {"at": ""},
        {"name": "\ud800"},
    ],
    ids=str,
)
def test_what_could_not_be_read_cannot_be_made(fields: dict[str, Any]) -> None:
    with pytest.raises(LinkError):
        Link(**({"manifest": ID} | fields)).format()


def test_at_most_2_kib() -> None:
    repos = tuple(f"http://a.example/{n}{'a' * 300}" for n in range(8))
    with pytest.raises(LinkError, match="characters"):
        Link(ID, "", repos).format()
