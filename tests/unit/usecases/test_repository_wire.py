"""What a peer's error replies become here."""

from __future__ import annotations

import json

import pytest

from skyswarm.errors import (
    CancelledError,
    CostCapError,
    ForkError,
    KeyFileError,
    NotTrustedError,
    QuotaError,
    RepositoryError,
    RevokedError,
    SequenceError,
    SkyError,
    UnavailableError,
)
from skyswarm.ports.network import Reply
from skyswarm.usecases.wire import reply_error


def reply(status: int, value: object) -> Reply:
    return Reply(status, value if isinstance(value, bytes) else json.dumps(value).encode())


@pytest.mark.parametrize(
    "error", [SequenceError, NotTrustedError, RevokedError, QuotaError, UnavailableError]
)
def test_an_error_comes_back_as_the_class_it_was(error: type[SkyError]) -> None:
    sent = error("what happened", advice="what to do")
    got = reply_error(reply(sent.status, {"error": sent.to_json()}), RepositoryError)
    assert (type(got), got.message, got.advice) == (error, "what happened", "what to do")


@pytest.mark.parametrize("error", [CostCapError, CancelledError, ForkError, KeyFileError])
def test_a_peer_cannot_speak_of_our_own_caps_keys_or_proofs(error: type[SkyError]) -> None:
    got = reply_error(reply(400, {"error": error("stop").to_json()}), RepositoryError)
    assert type(got) is RepositoryError and error.code in got.message and "stop" in got.message


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b'{"error":5}', b'{"error":{}}', b'{"error":{"code":1}}', b"\xff", b"[" * 5000],
)
def test_whatever_else_is_answered_is_the_fallback_or_a_busy_gateway(body: bytes) -> None:
    assert type(reply_error(reply(418, body), RepositoryError)) is RepositoryError
    assert type(reply_error(reply(503, body), RepositoryError)) is UnavailableError
    assert type(reply_error(reply(429, body), RepositoryError)) is QuotaError


def test_a_peers_sentence_is_short_and_cannot_steer_a_terminal() -> None:
    evil = {
        "error": {"code": "SKY-213", "message": "a\x1b[2J\u202eb\n" + "x" * 9000, "advice": ["\x07"] * 999}
    }
    got = reply_error(reply(409, evil), RepositoryError)
    assert got.message.startswith("a [2J b ") and len(got.message) == 500 and len(got.advice) == 300
    assert "\x1b" not in str(got) and "\x07" not in str(got)
