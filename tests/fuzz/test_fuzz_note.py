"""Bad input: only documented errors come out of notes, checkpoints and tile paths; what is read stays."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from skyswarm.errors import MalformedError, NoteError, RequestError, TooLargeError
from skyswarm.messages.keys import SeedSigner
from skyswarm.messages.note import Checkpoint, NoteKey, SignedNote
from skyswarm.messages.repository import AnnounceReply, AnnounceRequest, LookupReply, StatementsPage
from skyswarm.messages.statements import Head
from skyswarm.trust.tlog import Frontier, Tile

SIGNER = SeedSigner(bytes([9]) * 32)
KEY = NoteKey("o", SIGNER.public)
GOOD = SignedNote(Checkpoint("o", 5, bytes(32)).text, ()).signed(KEY, SIGNER.sign).dump()
PIECES = st.sampled_from(
    [b"\n", b"\n\n", b"\xe2\x80\x94 ", b" ", b"o", b"=", b"AAAAAAAA", b"\x00", b"\xff", b"+", b"0"]
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A good note with some bytes cut out and others put in."""
    data = GOOD
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        data = data[:at] + draw(PIECES | st.binary(max_size=4)) + data[at + draw(st.integers(0, 3)) :]
    return data


@settings(max_examples=300)
@given(st.binary(max_size=200) | st.lists(PIECES, max_size=20).map(b"".join) | damaged())
def test_notes(data: bytes) -> None:
    try:
        note = SignedNote.parse(data)
    except (NoteError, TooLargeError):
        return
    assert note.dump() == data
    try:
        checkpoint = Checkpoint.parse(note.text)
    except NoteError:
        return
    assert checkpoint.text == note.text


@settings(max_examples=300)
@given(st.text(alphabet="0123456789x/.pentris-\n\u0663", max_size=24) | st.text(max_size=80))
def test_tile_paths(path: str) -> None:
    try:
        tile = Tile.parse(path)
    except NoteError:
        return
    assert tile.path == path


@given(
    st.text(max_size=80)
    | st.tuples(st.text(max_size=9), st.binary(max_size=40)).map(lambda p: f"{p[0]}+{p[1].hex()}")
)
def test_verifier_keys(vkey: str) -> None:
    try:
        key = NoteKey.parse(vkey)
    except NoteError:
        return
    assert key.vkey == vkey


@given(st.integers(-2, 2**60), st.binary(max_size=100))
def test_frontiers(size: int, data: bytes) -> None:
    try:
        frontier = Frontier.load(size, data)
    except NoteError:
        return
    assert frontier.dump() == data


BODIES = (
    AnnounceRequest(b'{"a":1}', (b"{}",)).dump(),
    AnnounceReply(True, Head(3, "0" * 64)).dump(),
    LookupReply((AnnounceRequest(b"{}"),)).dump(),
    StatementsPage((b"{}", b'{"b":[]}'), 2, 9).dump(),
)


@settings(max_examples=300)
@given(st.sampled_from(BODIES), st.integers(0, 200), st.integers(0, 8), st.binary(max_size=6) | PIECES)
def test_bodies_of_repositories(body: bytes, at: int, cut: int, put: bytes) -> None:
    data = body[:at] + put + body[at + cut :]
    for kind in (AnnounceRequest, AnnounceReply, LookupReply, StatementsPage):
        try:
            found = kind.parse(data)
        except (RequestError, MalformedError, TooLargeError):
            continue
        assert found.dump() == data
