"""What is probably meant when something cannot be used: refused before anything is made, with the way on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from skyswarm.edge.http import Response
from skyswarm.edge.runtime import open_runtime
from skyswarm.messages.dsse import max_size
from skyswarm.messages.manifest import MAX_MANIFEST
from skyswarm.usecases import jobs
from skyswarm.usecases.jobs import Job
from tests.support.cli import Shell
from tests.support.served import serving

BOB, CAROL = "b" * 64, "c" * 64
LINK = "skyswarm:" + "0" * 64


@pytest.fixture
def alice(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    shell = Shell(tmp_path / "alice", capsys)
    shell("init", "--name", "alice")
    return shell


def test_a_bare_word_makes_no_folder(alice: Shell, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    assert "Did you mean home:/ ?" in alice("get", LINK, "home", "--detach", code=2).err
    assert (
        "To make it, write ./down; a storage is NAME:/prefix."
        in alice("get", LINK, "down", "--detach", code=2).err
    )
    assert "Did you mean home:/ ?" in alice("share", "home", code=2).err
    assert sorted(tmp_path.iterdir()) == before
    assert alice.json("ls") == {"transfers": []}
    said = alice("get", LINK, "./down", "--detach")
    assert f"{tmp_path / 'down'} is now your storage down:" in said.err


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("0" * 64, "Did you mean skyswarm:" + "0" * 64),
        ("SkySwarm:" + "0" * 64, "lower-case letters"),
        ("https://alice.example/photos", "the address of something else"),
        ("magnet:?xt=1", "the address of something else"),
        ("skyswarm:00ff", "It is cut off: copy the whole link."),
        (LINK + "?nam=x", "Copy the whole link"),
        ("/etc/hostname", "This is not a manifest"),
        ("/etc", "/etc is a folder"),
        ("letter", "Put a link into quotes"),
        ("~nobody-of-this-name/x", "Put a link into quotes"),
    ],
)
def test_what_is_no_link_is_told_apart(alice: Shell, what: str, sentence: str) -> None:
    assert sentence in alice("get", what, code=2).err
    assert alice.json("ls") == {"transfers": []}


def test_a_symbolic_link_is_not_shared_for_what_it_leads_to(alice: Shell, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a").write_bytes(b"alpha")
    (tmp_path / "short").symlink_to(tmp_path / "files")
    said = alice("share", "short", code=2).err
    assert f"short is a symbolic link to {tmp_path / 'files'}" in said
    assert f"skyswarm share {tmp_path / 'files'}" in said
    assert [one["name"] for one in alice.json("storage", "ls")["storages"]] == ["home"]
    assert f"{tmp_path / 'files'} is now your storage files:" in alice("share", "files/a").err


def test_the_same_is_shared_once_unless_it_changed_or_again_is_said(alice: Shell, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    file = tmp_path / "files" / "a"
    file.write_bytes(b"alpha")
    os.utime(file, (1, 1))
    first = alice.json("share", "files")
    repeated = alice("share", "files", "--quiet")
    assert repeated.out.strip() == first["link"]
    said = alice("share", "files").err
    assert f"{tmp_path / 'files'} is shared already as files ({first['manifest'][:8]}), " in said
    assert "--again" in said
    again = alice.json("share", "files", "--manifest-out", "again.json")
    assert again | {"manifest_file": ""} == first | {"manifest_file": ""}
    assert (tmp_path / "again.json").read_bytes() == Path(first["manifest_file"]).read_bytes()
    assert "would end it at once" in alice("share", "files", "--expires", "0d", code=2).err
    alice("share", "files", "--again")
    alice("share", "files", "--to", BOB)
    file.write_bytes(b"beta, which is another")
    alice("share", "files")
    listed = alice("shares").out
    assert len(alice.json("shares")["shares"]) == 4
    assert listed.splitlines()[0].split() == ["SHARE", "NAME", "FILES", "SIZE", "SHARED", "FOR", "PATH"]
    assert listed.splitlines()[1].endswith(str(tmp_path / "files"))


def test_a_second_name_replaces_the_first(alice: Shell) -> None:
    alice("people", "add", "bob", BOB)
    assert "is robert to you (was bob until now)" in alice("people", "add", "robert", BOB).out
    assert "nobody called bob" in alice("vouch", "bob", code=2).err
    alice("people", "add", "bob", CAROL)
    assert [one["name"] for one in alice.json("people")["people"]] == ["bob", "robert"]
    assert alice("vouch", "robert").out.startswith("robert may fetch from you for 30 days.")


def test_a_name_after_people_asks_why(alice: Shell) -> None:
    alice("people", "add", "bob", BOB)
    assert alice("people", "bob").out == alice("people", "why", "bob").out
    assert alice.json("people", "bob", "--scope", "store")["scope"] == "store"
    assert "nobody called lst" in alice("people", "lst", code=2).err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("trust", BOB, "--depth", "9"), "--depth must be 7 at most."),
        (("trust", BOB, "--depth", "0"), "--depth must be 1 at least."),
        (("vouch", BOB, "--days", "soon"), "--days must be a whole number."),
    ],
)
def test_numbers_out_of_range_are_told_in_our_words(
    alice: Shell, words: tuple[str, ...], sentence: str
) -> None:
    assert alice(*words, code=2).err == f"SKY-100 {sentence} See skyswarm {words[0]} --help.\n"


def test_quiet_doctor_prints_what_fails(alice: Shell) -> None:
    assert alice("doctor", "-q").out == "warn\n"
    (alice.home / "keys").chmod(0o755)
    (line,) = alice("doctor", "-q", code=1).out.splitlines()
    assert line.startswith("fail  home") and "chmod 700" in line


def test_a_repository_is_served_by_its_own_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repo = Shell(tmp_path / "repo", capsys)
    assert repo("repo", "init").out.startswith("repository is ")
    assert "not served now: `skyswarm repo serve` starts it" in repo("status").out
    said = repo("doctor").out
    assert "skyswarm repo serve" in said and "skyswarm serve" not in said and "work" not in said
    assert "The signing key is the one your statement names." in said


def test_a_held_start_is_not_told_as_paused(alice: Shell) -> None:
    transfer = alice.json("get", LINK, "--detach")["transfer"]
    said = alice("ls", transfer).out
    assert " begun\n" in said and "paused" not in said


def test_doctor_tells_what_stopped_or_waits_but_not_what_came_later(alice: Shell) -> None:
    refused = Job("t-refused1", "1" * 64, "photos", "home", "", 100, state="refused")
    later = Job("t-later111", "1" * 64, "photos", "home", "", 200, state="done")
    stopped = Job("t-stopped1", "2" * 64, "films", "home", "", 100, state="stopped")
    why = {"code": "SKY-601", "message": "nobody answers", "next": 1, "since": 1}
    waits = Job("t-waiting1", "3" * 64, "songs", "home", "", 100, waiting=why)
    runtime = open_runtime(alice.home)
    for job in (refused, later, stopped, waits):
        jobs.store(runtime.deps, runtime.agent, job)
    runtime.close()
    found = [one["message"] for one in alice.json("doctor")["checks"] if one["check"] == "work"]
    assert found[0] == "1 transfer not at an end, and nobody moves them."
    assert found[1].startswith("t-waiting1 waits: SKY-601 nobody answers, tried again ")
    assert found[2:] == ["Stopped: t-stopped1."]
    assert "waits: SKY-601 nobody answers" in alice("ls").out
    assert "waits     SKY-601 nobody answers" in alice("ls", "t-waiting1").out


@pytest.mark.parametrize("path", ["long", "~nobody-of-this-name/x"])
@pytest.mark.parametrize(
    "words",
    [
        ("share", "PATH"),
        ("get", LINK, "PATH", "--detach"),
        ("storage", "add", "x", "PATH"),
        ("demo", "--file", "PATH"),
        ("demo", "--dir", "PATH"),
        ("whoami", "--home", "PATH"),
    ],
    ids=" ".join,
)
def test_a_path_that_cannot_be_is_no_defect(alice: Shell, words: tuple[str, ...], path: str) -> None:
    given = [word.replace("PATH", path if path != "long" else "a" * 5000) for word in words]
    said = alice(*given, code=2).err
    assert said.startswith("SKY-100 ") and len(said) < 400, said
    assert alice.json("ls") == {"transfers": []}


def test_doctor_looks_at_the_store_and_tells_of_one_that_cannot_be_opened(alice: Shell) -> None:
    found = {one["check"]: one for one in alice.json("doctor")["checks"]}
    assert found["store"]["level"] == "ok"
    runtime = open_runtime(alice.home)
    with runtime.database.write() as connection:
        connection.execute("CREATE TABLE filler AS SELECT randomblob(90000)")
    runtime.close()
    file = alice.home / "agent.db"
    with file.open("r+b") as data:
        data.seek(4096 * 6)
        data.write(b"\xff" * 4096)
    found = {one["check"]: one for one in alice.json("doctor", code=1)["checks"]}
    assert found["store"]["level"] == "fail" and "is damaged" in found["store"]["message"]
    assert found["disk"]["level"] == "ok"
    file.write_bytes(b"no database at all" * 1000)
    last = alice.json("doctor", code=1)["checks"][-1]
    assert (last["level"], last["message"][:7]) == ("fail", "SKY-500") and "is damaged" in last["message"]


@pytest.mark.parametrize("date", ["Mon, 01 Jan 2024 00:00:00 +99999999999999999999", "yesterday"])
def test_doctor_bears_a_repository_that_names_no_time(alice: Shell, date: str) -> None:
    with serving(lambda _: Response(200, {"Date": date}, b"{}")) as server:
        url = f"{server.url}/a/{BOB}"
        alice("repo", "add", url)
        said = alice("doctor").out
    assert f"{url} answers." in said and "clock" not in said


def test_a_manifest_appears_in_an_inbox_as_a_whole(alice: Shell, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"alpha")
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    before = inbox / "a.manifest.json"
    before.write_text("older")
    with before.open() as open_before:
        made = alice.json("share", "a", "--manifest-out", str(inbox))
        assert open_before.read() == "older", "replaced, not written over"
    assert [file.name for file in inbox.iterdir()] == ["a.manifest.json"]
    assert made["manifest_file"] == str(before) and before.read_bytes().startswith(b"{")
    said = alice("share", "a", "--again", "--manifest-out", "/dev/null")
    assert "/dev/null" in said.out and Path("/dev/null").is_char_device()


# ---- what would be dangerous ---------------------------------------------------------------------
def test_no_home_of_any_agent_is_shared_or_written_into(
    alice: Shell, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A link beside the share's folder, and a share with the name of somebody's home: bob's keys are out of reach."""
    bob = tmp_path / "h-bob"
    Shell(bob, capsys)("init", "--name", "bob")
    alice("storage", "add", "w", str(tmp_path))
    before = sorted(bob.rglob("*"))
    for what in (
        "w:/h-bob",
        "w:/h-bob/keys",
        "w:/h-bob/storage",
        "h-bob",
        "h-bob/keys",
        "h-bob/inbox",
        "h-bob/agent.db",
    ):
        assert "h-bob is the home of an agent" in alice("share", what, code=2).err
    for to in (
        "w:/h-bob",
        "w:/h-bob/storage",
        "./h-bob",
        "./h-bob/keys/new",
        "./h-bob/inbox",
        "./alice/inbox",
    ):
        assert "home" in alice("get", LINK, to, "--detach", code=2).err
    for root in ("h-bob", "h-bob/keys", "h-bob/inbox", "alice", "alice/objects"):
        assert "is the home of an agent" in alice("storage", "add", "x", root, code=2).err
    assert sorted(bob.rglob("*")) == before
    assert alice.json("ls") == {"transfers": []}
    alice("storage", "add", "bobs", "h-bob/storage")


def test_a_link_to_an_agents_keys_is_not_shared(
    alice: Shell, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Shell(tmp_path / "k-bob", capsys)("init", "--name", "bob")
    alice("storage", "add", "w", str(tmp_path))
    public = tmp_path / "pub"
    public.mkdir()
    (public / "a").write_bytes(b"alpha")
    for number, target in enumerate(("../k-bob/keys/presign", "../k-bob/agent.db", "../k-bob/config.json")):
        (public / f"x{number}").symlink_to(target)
    made = alice.json("share", "w:/pub")
    assert made["files"] == 1
    assert {one["reason"] for one in made["skipped"]} == {"a link that leads out of its folder"}
    assert made["skipped_count"] == 3


def test_a_cap_of_nothing_is_refused(alice: Shell, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a").write_bytes(b"alpha")
    for cap in ("0", "0GB", "0.4"):
        said = alice("share", "files", "--max-bytes-per-peer", cap, code=2).err
        assert "would hand out nothing" in said
    assert "is too much" in alice("share", "files", "--max-bytes-per-peer", "900000P", code=2).err
    assert alice.json("shares")["shares"] == []


def test_what_is_no_ordinary_file_is_not_waited_for(alice: Shell, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "is not an ordinary file" in alice("get", str(tmp_path / "pipe"), code=2).err
    assert "is not an ordinary file" in alice("get", "/dev/zero", code=2).err
    with (tmp_path / "large").open("wb") as file:
        file.truncate(max_size(MAX_MANIFEST) + 1)
    assert "is not a manifest" in alice("get", str(tmp_path / "large"), code=2).err


@pytest.mark.parametrize("home", ["/proc/x", "/proc/self/x/y", "/dev/null/x"])
def test_a_home_that_cannot_be_made_is_said(home: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "SKY-700" in Shell(Path(home), capsys)("init", code=1).err
