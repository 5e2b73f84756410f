"""No error tells whoever asks where on this machine something lies; the log tells the owner."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from skyswarm.drivers.storages.presign import OBJECTS
from skyswarm.edge.api import make_app
from skyswarm.edge.flask_door import door
from skyswarm.edge.http import Request, Response
from skyswarm.edge.outward import outward
from skyswarm.edge.runtime import Runtime, create
from skyswarm.errors import (
    AbsentError,
    KeyFileError,
    NotTrustedError,
    SkyError,
    StorageFullError,
    UnavailableError,
)

Told = list[tuple[str, dict[str, object]]]


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[Runtime]:
    runtime, _ = create(tmp_path / "home", name="repo", role="repository", fsync=False)
    yield runtime
    runtime.close()


def asked(runtime: Runtime, path: str, query: str = "") -> tuple[Response, Told]:
    told: Told = []
    app = make_app(runtime, lambda event, **fields: told.append((event, fields)))
    return app(Request("GET", "h", path, query)), told


def text(response: Response) -> str:
    assert isinstance(response.body, bytes)
    return response.body.decode()


@pytest.mark.parametrize("kind", [KeyFileError, StorageFullError, UnavailableError])
def test_what_was_written_for_the_owner_goes_into_the_log(kind: type[SkyError]) -> None:
    told: Told = []
    shown = outward(
        kind("/home/alice/agent.db is full", advice="See /home"),
        "/a",
        lambda event, **f: told.append((event, f)),
    )
    assert type(shown) is kind and "/home" not in str(shown)
    assert told == [("failed", {"path": "/a", "code": kind.code, "message": "/home/alice/agent.db is full"})]


@pytest.mark.parametrize("kind", [NotTrustedError, AbsentError, SkyError])
def test_what_was_written_for_whoever_asks_stays(kind: type[SkyError]) -> None:
    error = kind("carol revoked her vouch")
    assert outward(error, "/a", lambda *_, **__: pytest.fail("nothing to log")) is error


def test_a_key_file_that_is_open_to_others_is_named_in_the_log_only(repo: Runtime) -> None:
    path = f"/a/{repo.agent}/v1/checkpoint"
    assert asked(repo, path)[0].status == 200
    for file in repo.home.keys.rglob("seeds"):
        file.chmod(0o644)
    response, told = asked(repo, path)
    assert (response.status, '"SKY-704"' in text(response)) == (500, True)
    assert str(repo.home.path) not in text(response)
    assert [event for event, _ in told] == ["failed"] and str(repo.home.path) in str(told)


def test_a_presigned_url_tells_no_path_and_survives_a_defect(repo: Runtime) -> None:
    grant = repo.presigner.grant("home", "a", "1", 60)
    path, _, query = grant.url.partition(OBJECTS)[2].partition("?")
    assert asked(repo, OBJECTS + path, query)[0].status == 404
    (repo.home.path / "config.json").write_text("{}")
    response, told = asked(repo, OBJECTS + path, query)
    assert (response.status, '"SKY-700"' in text(response)) == (503, True)
    assert [event for event, _ in told] == ["failed"]
    repo.presigner = None  # type: ignore[assignment] - a defect of ours
    response, told = asked(repo, OBJECTS + path, query)
    assert (response.status, [event for event, _ in told]) == (500, ["crash"])


def test_a_function_whose_home_is_not_there_tells_its_own_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SKYSWARM_HOME", str(tmp_path / "nowhere"))
    body, status, _ = door("vouch")(None)
    assert (status, b'"SKY-701"' in body) == (500, True)
    assert str(tmp_path).encode() not in body
    assert str(tmp_path) in capsys.readouterr().err
