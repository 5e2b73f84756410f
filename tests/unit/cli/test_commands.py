"""Commands on a real home, as far as they need no other process: each as a person types it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from skyswarm.cli.main import run
from skyswarm.edge.runtime import open_runtime
from skyswarm.messages.dsse import seal
from skyswarm.messages.link import parse_link
from skyswarm.messages.statements import Vouch, parse_signed, payload_type
from skyswarm.usecases.views import row_of
from tests.support.cli import Shell, free_port

BOB, DAVE = "b" * 64, "d" * 64


@pytest.fixture
def alice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Shell]:
    shell = Shell(tmp_path / "alice", capsys)
    shell("init", "--name", "alice")
    yield shell


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that is made once, for what must change nothing in it."""
    home = tmp_path_factory.mktemp("made") / "alice"
    assert run(["--home", str(home), "--quiet", "init", "--name", "alice"]) == 0
    return home


@pytest.fixture
def untouched(made: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(made, capsys)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "Our Photos"
    (folder / "2024").mkdir(parents=True)
    (folder / "a.txt").write_bytes(b"alpha")
    (folder / "2024" / "b.bin").write_bytes(bytes(100_000))
    (folder / "out").symlink_to("/etc/hostname")
    return folder


# ---- the agent -----------------------------------------------------------------------------------
def test_init_makes_one_agent_and_never_another_over_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(tmp_path / "home", capsys)
    made = shell.json("init", "--name", "alice", "--port", "7001", "--recovery")
    assert made["endpoint"] == f"http://127.0.0.1:7001/a/{made['agent']}"
    assert len(made["recovery"].split("-")) == 14
    assert "SKY-700" in shell("init", code=1).err
    assert shell("whoami", "--quiet").out == made["agent"] + "\n"
    assert shell("whoami", "--quiet", "--endpoint").out == made["endpoint"] + "\n"
    assert made["recovery"] not in "".join(
        path.read_text("latin-1") for path in (tmp_path / "home").rglob("*") if path.is_file()
    )


def test_init_refuses_before_it_makes_anything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shell = Shell(tmp_path / "home", capsys)
    assert "SKY-107" in shell("init", "--repo", "http://nowhere", code=2).err
    assert not (tmp_path / "home").exists()


def test_status(untouched: Shell) -> None:
    status = untouched.json("status")
    assert status["served_by"] is None and status["transfers"] == {"active": [], "stopped": [], "all": 0}
    assert "not served now" in untouched("status").out
    assert untouched("status", "--quiet").out == "stopped\n"


def test_an_agent_is_not_served_as_a_repository(untouched: Shell) -> None:
    assert "is an agent, not a repository" in untouched("repo", "serve", code=2).err


def test_keys_rotate_and_the_id_stays(alice: Shell) -> None:
    before = alice.json("whoami")
    said = alice.json("rotate-key")
    after = alice.json("whoami")
    assert after["agent"] == before["agent"]
    assert after["key"] == said["key"] != before["key"]
    assert alice.json("doctor")["health"] == "warn"


def test_rotate_key_mends_what_doctor_says_that_it_mends(alice: Shell) -> None:
    alice("vouch", BOB)
    runtime = open_runtime(alice.home)
    first = runtime.deps.statements.of(runtime.agent, runtime.agent, 1)[0]
    event = parse_signed(first.envelope).statement
    assert isinstance(event, Vouch)
    twin = seal(
        payload_type("vouch"), replace(event, sub=DAVE).payload(), runtime.deps.keys.current(runtime.agent)
    )
    runtime.deps.statements.append(runtime.agent, [row_of(parse_signed(twin.dump()), first.received)])
    runtime.close()
    found = {one["check"]: one for one in alice.json("doctor", code=1)["checks"]}
    assert found["keys"]["level"] == "fail" and "rotate-key" in found["keys"]["fix"]
    assert "rotate-key" in alice("vouch", DAVE, code=1).err
    assert "all from number 1 on is void" in alice("rotate-key").out
    found = {one["check"]: one for one in alice.json("doctor")["checks"]}
    assert found["keys"]["level"] == "ok"
    alice("vouch", DAVE)


def test_retire_asks_and_then_ends_it(alice: Shell) -> None:
    assert "nobody here to ask" in alice("retire", code=2).err
    assert alice.json("retire", "--yes")["agent"] == alice.json("whoami")["agent"]
    found = {one["check"]: one for one in alice.json("doctor", code=1)["checks"]}
    assert found["keys"]["level"] == "fail" and "retired" in found["keys"]["message"]


# ---- doctor --------------------------------------------------------------------------------------
def test_doctor_of_a_new_agent_has_no_failure(untouched: Shell) -> None:
    said = untouched("doctor").out.splitlines()
    assert {line.split()[0] for line in said} == {"ok", "warn"}
    assert any("skyswarm repo add URL" in line for line in said)


def test_doctor_names_open_keys_and_the_fix(alice: Shell) -> None:
    (alice.home / "keys").chmod(0o755)
    said = alice("doctor", code=1).out
    assert "fail  home" in said and "chmod 700" in said


def test_doctor_finds_a_taken_port_and_a_missing_storage(alice: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    alice("storage", "add", "gone", str(folder))
    folder.rmdir()
    port = json.loads((alice.home / "config.json").read_text())["port"]
    with socket.create_server(("127.0.0.1", port)):
        failed = [one for one in alice.json("doctor", code=1)["checks"] if one["level"] == "fail"]
    assert [one["check"] for one in failed] == ["port", "disk"]
    assert all(one["fix"] for one in failed)


def test_doctor_without_a_home(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = Shell(tmp_path / "none", capsys).json("doctor", code=1)
    assert found["health"] == "fail" and "skyswarm init" in found["checks"][-1]["fix"]


# ---- people --------------------------------------------------------------------------------------
def test_people_from_a_name_to_a_revocation(alice: Shell) -> None:
    assert "You know nobody yet" in alice("people").out
    alice("people", "add", "bob", BOB)
    why = alice.json("people", "why", "bob")
    assert (why["trusted"], why["chain"]) == (False, [])
    assert "Nobody that is trusted here vouches for bob" in why["reason"]
    alice("vouch", "bob", "--days", "14")
    assert alice.json("people", "why", "bob")["path"] == ["me", "bob"]
    assert "me → bob" in alice("people").out
    said = alice.json("revoke", "bob", "--reason", "gone")
    assert (said["trusted"], said["pruned"]) == (False, [BOB])
    assert "(gone)" in alice("people", "why", "bob").out
    assert "nothing to take back" in alice("revoke", DAVE, code=2).err


def test_trust_lets_others_vouch_and_distrust_shuts_out(alice: Shell) -> None:
    alice("people", "add", "bob", BOB)
    said = alice.json(
        "trust", "bob", "--depth", "2", "--limit", "50GB", "--scope", "store", "--scope", "fetch"
    )
    assert (said["depth"], said["limit"], said["scopes"]) == (2, 50 * 10**9, ["fetch", "store"])
    assert alice.json("people")["people"][0]["scopes"] == ["fetch", "store"]
    assert alice.json("distrust", "bob", "--reason", "signs twice")["pruned"] == [BOB]
    assert alice.json("people")["people"][0]["scopes"] == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("vouch", "nobody"), "You know nobody called nobody"),
        (("vouch", BOB, "--scope", "everything"), "no scope 'everything'"),
        (("vouch", BOB, "--limit", "much"), "'much' is not a size"),
        (("people", "add", "no/name", BOB), "cannot be a name"),
        (("people", "add", "bob", "b0b"), "64 hex digits"),
        (("vouch", BOB, "--days", "91"), "--days"),
    ],
)
def test_people_refuses_with_a_reason(untouched: Shell, words: tuple[str, ...], sentence: str) -> None:
    assert sentence in untouched(*words, code=2).err


def test_nobody_vouches_for_himself(untouched: Shell) -> None:
    me = untouched("whoami", "-q").out.strip()
    assert "that is you" in untouched("vouch", me, code=2).err.lower()


# ---- sharing -------------------------------------------------------------------------------------
def test_share_a_folder_of_this_machine(alice: Shell, tree: Path) -> None:
    alice("people", "add", "bob", BOB)
    said = alice.json("share", str(tree), "--to", "bob", "--expires", "14d", "--max-bytes-per-peer", "10GB")
    assert (said["files"], said["bytes"], said["name"], said["storage"]) == (
        2,
        100_005,
        "Our Photos",
        "our-photos",
    )
    assert (said["audience"], said["vouched"], said["max_bytes_per_peer"]) == ([BOB], [BOB], 10**10)
    assert said["skipped"] == [{"path": "out", "reason": said["skipped"][0]["reason"]}]
    assert Path(said["manifest_file"]) == alice.home / "outbox" / "Our Photos.manifest.json"
    assert parse_link(said["link"]).manifest == said["manifest"]
    assert parse_link(said["link"]).at == alice.json("whoami")["endpoint"]
    assert alice.json("people", "why", "bob")["trusted"]
    again = alice.json("share", str(tree), "--to", "bob", "--name", "again")
    assert again["vouched"] == [] and again["storage"] == "our-photos"
    assert {one["name"] for one in alice.json("shares")["shares"]} == {"again", "Our Photos"}


def test_share_one_file_by_its_storage_with_more_checksums(alice: Shell, tree: Path) -> None:
    alice("storage", "add", "pics", str(tree))
    said = alice.json("share", "pics:2024/b.bin", "--with", "md5,dropbox", "--manifest-out", str(tree.parent))
    assert (said["files"], said["prefix"], said["name"]) == (1, "2024/b.bin", "b.bin")
    assert Path(said["manifest_file"]) == tree.parent / "b.bin.manifest.json"
    assert alice("share", "pics:", "--quiet").out.startswith("skyswarm:")
    assert sorted(one["name"] for one in alice.json("shares")["shares"]) == ["b.bin", "pics"]


def test_a_shared_folder_is_summed_up_for_people(alice: Shell, tree: Path) -> None:
    said = alice("share", str(tree))
    assert said.out.startswith(
        "2 files, 100 kB. Serving costs you about $0.00 per copy in your region, $0.00 outside."
    )
    assert "skipped   out: " in said.out
    assert "for       everyone your chains reach" in said.out
    assert "link      'skyswarm:" in said.out
    assert "skyswarm serve" in said.err


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("nowhere",), 2, "There is no "),
        (("cloud:x",), 1, "no storage named 'cloud'"),
        (("home:nothing",), 2, "nothing to share"),
        (("home:../keys",), 2, "SKY-103"),
        (("home:", "--with", "sha1"), 2, "sha1"),
        (("home:", "--expires", "soon"), 2, "'soon' is not a length of time"),
        (("home:", "--to", "bob"), 2, "nobody called bob"),
    ],
)
def test_share_refuses_with_a_reason(
    untouched: Shell, words: tuple[str, ...], code: int, sentence: str
) -> None:
    assert sentence in untouched("share", *words, code=code).err
    assert untouched.json("shares")["shares"] == []


def test_an_agent_never_shares_its_own_keys(alice: Shell) -> None:
    for place in (alice.home, alice.home.parent, alice.home / "keys", alice.home / "config.json"):
        assert "its keys are there" in alice("share", str(place), code=2).err
    assert alice.json("shares")["shares"] == []
    assert [one["name"] for one in alice.json("storage", "ls")["storages"]] == ["home"]
    (alice.home / "storage" / "mine.txt").write_text("mine")
    assert alice.json("share", "home:")["files"] == 1


def test_a_share_never_lands_among_an_agents_own_keys(alice: Shell) -> None:
    for place in (alice.home, alice.home / "keys", alice.home / "outbox"):
        assert (
            "its keys are there" in alice("get", "skyswarm:" + "0" * 64, str(place), "--detach", code=2).err
        )
    assert (
        alice.json("get", "skyswarm:" + "0" * 64, str(alice.home.parent / "down"), "--detach")["state"]
        == "queued"
    )


def test_in_the_home_of_the_user_the_agents_own_is_hidden(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(tmp_path / ".skyswarm", capsys)
    shell("init", "--name", "alice")
    (tmp_path / "letter.txt").write_text("dear bob")
    assert shell.json("share", str(tmp_path))["files"] == 1
    assert "its keys are there" in shell("get", "skyswarm:" + "0" * 64, str(tmp_path), "--detach", code=2).err


def test_unshare_by_name_or_by_id(alice: Shell, tree: Path) -> None:
    first = alice.json("share", str(tree), "--name", "one")
    alice("share", str(tree), "--name", "two")
    assert "no shares are called" in alice("unshare", "three", code=2).err.lower()
    alice("unshare", first["manifest"][:8])
    alice("unshare", "two")
    assert "You share nothing" in alice("shares").out


# ---- storages, repositories, transfers -----------------------------------------------------------
def test_storages(alice: Shell, tree: Path) -> None:
    assert "cannot name a storage" in alice("storage", "add", "Bad Name", str(tree), code=2).err
    assert "there is no folder" in alice("storage", "add", "x", str(tree / "no"), code=2).err.lower()
    alice("storage", "add", "pics", str(tree))
    assert "already" in alice("storage", "add", "pics", str(tree), code=2).err
    assert [one["name"] for one in alice.json("storage", "ls")["storages"]] == ["home", "pics"]
    alice("share", "pics:")
    assert "skyswarm unshare" in alice("storage", "remove", "pics", code=2).err
    alice("unshare", "pics")
    alice("storage", "remove", "pics")
    assert (tree / "a.txt").read_bytes() == b"alpha"
    assert "SKY-501" in alice("storage", "remove", "pics", code=1).err


def test_a_dead_repository_is_kept_and_named(alice: Shell) -> None:
    url = f"http://127.0.0.1:{free_port()}/a/{DAVE}"
    said = alice("repo", "add", url)
    assert "does not answer now" in said.err and "is used from now on" in said.out
    told = alice.json("vouch", BOB)["told"]
    assert told["by"] == "command" and told["repos"] == []
    assert [one["repo"] for one in told["failed"]] == [url]
    assert alice.json("repo", "ls")["repos"][0]["url"] == url
    assert "SKY-107" in alice("repo", "add", "http://127.0.0.1:7000", code=2).err
    assert "no repository" in alice("repo", "remove", "http://other", code=2).err
    alice("repo", "remove", DAVE[:12])
    assert alice.json("repo", "ls") == {"repos": []}


def test_nothing_moved_yet(untouched: Shell) -> None:
    assert "No transfers yet" in untouched("ls").out
    assert "No receipts yet" in untouched("receipts").out
    assert "Nothing is being moved" in untouched("watch").out
    for words in (("ls", "t-1"), ("watch", "t-1"), ("pause", "t-1"), ("resume", "t-1"), ("cancel", "t-1")):
        assert "SKY-351 There is no transfer t-1." in untouched(*words, code=1).err


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("skyswarm:nonsense",), 2, "SKY-107"),
        (("no such file",), 2, "neither a skyswarm: link nor"),
        (("/etc/hostname",), 2, "SKY-10"),
        (("skyswarm:" + "0" * 64, "cloud:/x"), 1, "no storage named 'cloud'"),
        (("skyswarm:" + "0" * 64, "home:/../x"), 2, "SKY-103"),
        (("skyswarm:" + "0" * 64, "--max-cost", "much"), 2, "not an amount of US dollars"),
    ],
)
def test_get_refuses_before_it_starts_anything(
    untouched: Shell, words: tuple[str, ...], code: int, sentence: str
) -> None:
    assert sentence in untouched("get", *words, code=code).err
    assert untouched.json("ls") == {"transfers": []}
    assert [one["name"] for one in untouched.json("storage", "ls")["storages"]] == ["home"]


def test_a_transfer_without_a_source_waits_and_can_be_ended(alice: Shell, tmp_path: Path) -> None:
    said = alice.json("get", "skyswarm:" + "0" * 64, str(tmp_path / "down"), "--detach")
    assert said["state"] == "queued"
    assert alice("ls", "-q").out.strip() == said["transfer"]
    assert alice.json("pause", said["transfer"])["state"] == "paused"
    assert alice.json("resume", said["transfer"], "--detach", "--max-cost", "6")["cost"]["cap"] == 6_000_000
    assert alice.json("cancel", said["transfer"])["state"] == "cancelled"
    assert [one["state"] for one in alice.json("ls", said["transfer"])["history"]] == [
        "paused",
        "queued",
        "paused",
        "queued",
        "cancelled",
    ]
    assert "SKY-341" in alice("resume", said["transfer"], code=1).err
    assert "cancelled" in alice("ls", said["transfer"]).out
