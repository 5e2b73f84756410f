"""The home folder: how it is made, that one process serves it, and what a crash leaves."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from skyswarm.drivers.local.config import StorageConfig
from skyswarm.drivers.local.home import MOVER, Holder, Home
from skyswarm.errors import AbsentError, HomeInUseError, KeyFileError, NoHomeError, SetupError
from tests.support.crash_child import CONFIG, found
from tests.support.racing import child, race
from tests.support.record_rigs import ALICE


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return found(tmp_path / "deep" / "home")


# ---- making it -------------------------------------------------------------------------------
def test_a_new_home_is_its_owners_alone(home: Home) -> None:
    names = {path.name: stat.S_IMODE(path.stat().st_mode) for path in home.path.iterdir()}
    folders = dict.fromkeys(("keys", "objects", "inbox", "storage", "log"), 0o700)
    assert names == {**folders, "config.json": 0o600, ".config.lock": 0o600}
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o700
    assert stat.S_IMODE((home.keys / "presign").stat().st_mode) == 0o600
    assert home.config() == CONFIG
    assert home.database == home.path / "agent.db"


def test_an_empty_folder_becomes_a_home_and_is_closed_to_others(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    found(tmp_path / "open")
    assert stat.S_IMODE((tmp_path / "open").stat().st_mode) == 0o700


def test_a_folder_with_anything_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    tmp_path.chmod(0o755)
    with pytest.raises(SetupError, match="not empty"):
        found(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_a_home_is_not_made_twice(home: Home) -> None:
    secret = home.presign_secret()
    with pytest.raises(SetupError, match="already"):
        found(home.path)
    assert (home.config(), home.presign_secret()) == (CONFIG, secret)


def test_a_file_in_its_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(SetupError):
        found(tmp_path / "file")
    with pytest.raises(SetupError):
        found(tmp_path / "file" / "below")


def test_where_there_is_no_home_it_is_said(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(NoHomeError, match="skyswarm init"):
            Home(path).config()
    with pytest.raises(NoHomeError), Home(tmp_path / "absent").lock():
        pass
    with Home.founding(tmp_path / "unfinished") as unfinished, pytest.raises(NoHomeError):
        unfinished.config()


def test_a_crash_at_any_line_of_making_a_home_can_be_made_good(tmp_path: Path) -> None:
    process = child("tests.support.crash_child", "create", str(tmp_path))
    out, _ = process.communicate(timeout=100)
    assert process.returncode == 0
    finished = []
    for line in range(int(out) + 1):
        home = Home(tmp_path / str(line) / "home")
        try:
            finished.append(home.config() == CONFIG)
        except NoHomeError:
            finished.append(False)
            found(home.path)
        assert home.config() == CONFIG
        assert len(home.presign_secret()) == 32
        with pytest.raises(SetupError, match="already"):
            found(home.path)
    assert finished == sorted(finished) and set(finished) == {False, True}


def test_a_home_is_made_by_one_of_many_at_once(tmp_path: Path) -> None:
    for number in range(8):
        path = tmp_path / str(number) / "home"
        made = race([lambda path=path: found(path)] * 4)
        assert sum(isinstance(one, Home) for one in made) == 1, made
        assert {str(one) for one in made if not isinstance(one, Home)} == {
            f"SKY-700 there is an agent in {path} already Nothing was changed."
        }
        assert Home(path).config() == CONFIG


def test_what_an_attempt_that_died_left_is_cleared_but_nothing_of_a_home(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), Home.founding(tmp_path / "home") as home:
        (home.keys / ALICE).mkdir()
        (home.keys / ALICE / "seeds").write_bytes(b"never used")
        home.database.write_bytes(b"half of it")
        (home.storage / "mine.txt").write_text("mine")
        raise ZeroDivisionError
    found(home.path)
    assert [path.name for path in home.keys.iterdir()] == ["presign"]
    assert not home.database.exists()
    assert (home.storage / "mine.txt").read_text() == "mine"
    (home.path / ".unfinished").touch()  # as when the last line of making it was not reached
    (home.keys / ALICE).mkdir()
    with home.lock():
        pass
    (home.path / "config.json").unlink()  # by hand
    with pytest.raises(SetupError, match="not empty"):
        found(home.path)
    assert (home.keys / ALICE).exists()


def test_a_crash_at_any_line_of_a_change_leaves_the_old_settings_or_the_new(tmp_path: Path) -> None:
    process = child("tests.support.crash_child", "change", str(tmp_path))
    out, _ = process.communicate(timeout=100)
    assert process.returncode == 0
    names = [Home(tmp_path / str(line) / "home").config().name for line in range(int(out) + 1)]
    turn = names.index("renamed")
    assert names == ["alice"] * turn + ["renamed"] * (len(names) - turn)
    again = Home(tmp_path / str(turn) / "home")
    assert again.change(lambda old: replace(old, port=99)).port == 99


# ---- settings, secret, storages --------------------------------------------------------------
def test_racing_changes_are_all_kept(home: Home) -> None:
    def add(number: int) -> None:
        home.change(lambda old: replace(old, repos=(*old.repos, f"http://r{number}.example")))

    race([lambda n=n: add(n) for n in range(8)])
    assert sorted(home.config().repos) == [f"http://r{number}.example" for number in range(8)]


def test_settings_that_could_not_be_read_back_are_not_written(home: Home) -> None:
    for wrong in (replace(CONFIG, port=70000), replace(CONFIG, agent="x"), replace(CONFIG, name="a\ud800")):
        with pytest.raises(SetupError):
            home.save(wrong)
        with pytest.raises(SetupError):
            home.change(lambda old, wrong=wrong: wrong)
    assert home.config() == CONFIG


def test_settings_open_to_others_are_refused(home: Home) -> None:
    (home.path / "config.json").chmod(0o644)
    with pytest.raises(SetupError) as caught:
        home.config()
    assert "chmod 600" in caught.value.advice


def test_the_presigning_secret_is_random_private_and_whole(home: Home, tmp_path: Path) -> None:
    other = found(tmp_path / "other")
    assert home.presign_secret() != other.presign_secret()
    path = home.keys / "presign"
    path.chmod(0o640)
    with pytest.raises(KeyFileError):
        home.presign_secret()
    path.chmod(0o600)
    for wrong in (b"", bytes(31), bytes(33)):
        path.write_bytes(wrong)
        with pytest.raises(KeyFileError):
            home.presign_secret()
    path.unlink()
    with pytest.raises(KeyFileError):
        home.presign_secret()


def test_a_storage_lies_where_its_settings_say(home: Home) -> None:
    home.save(
        replace(
            CONFIG,
            storages={"home": StorageConfig("folder", "storage"), "far": StorageConfig("folder", "/data")},
        )
    )
    assert home.storage_path("home") == home.storage
    assert home.storage_path("far") == Path("/data")
    assert home.storage_path("#objects") == home.objects
    with pytest.raises(AbsentError):
        home.storage_path("absent")


def test_a_storage_in_the_folder_of_a_user_that_is_not_there_is_said(home: Home) -> None:
    home.save(replace(CONFIG, storages={"far": StorageConfig("folder", "~no-such-user/data")}))
    with pytest.raises(SetupError, match="no-such-user"):
        home.storage_path("far")


# ---- the one process -------------------------------------------------------------------------
def test_one_process_serves_a_home_and_the_others_are_told_which(home: Home) -> None:
    assert home.holder() is None
    with home.lock():
        assert home.server() == os.getpid()
        with pytest.raises(HomeInUseError, match=f"process {os.getpid()} "), Home(home.path).lock():
            pass
        assert home.server() == os.getpid()
    assert home.holder() is None
    with home.lock():
        assert home.server() == os.getpid()


def test_the_lock_is_free_when_its_holder_is_killed(home: Home) -> None:
    process = child("tests.support.lock_child", str(home.path))
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        assert home.server() == process.pid
        with pytest.raises(HomeInUseError, match=f"process {process.pid} "), home.lock():
            pass
        process.kill()
        process.wait(30)
        assert home.holder() is None
        with home.lock():
            assert home.server() == os.getpid()
    finally:
        process.kill()
        process.communicate()


def test_what_a_dead_holder_left_in_the_lock_says_nothing(home: Home) -> None:
    (home.path / "lock").write_text("9" * 20 + "\n")
    assert home.holder() is None
    with home.lock():
        assert home.server() == os.getpid()


def test_the_lock_is_given_back_when_serving_fails(home: Home) -> None:
    with pytest.raises(ValueError, match="served badly"), home.lock():
        raise ValueError("served badly")
    assert home.holder() is None


def test_the_agent_of_the_settings_is_the_one_of_the_tests(home: Home) -> None:
    assert home.config().agent == ALICE


def test_a_command_that_moves_bytes_serves_nothing_and_is_told_when_a_server_wants_the_home(
    home: Home,
) -> None:
    assert not home.wanted()
    with home.lock(MOVER):
        assert home.holder() == Holder(os.getpid(), MOVER)
        assert home.server() is None
        with pytest.raises(HomeInUseError, match="transfers moved by process"), home.lock():
            pass
        with home.wanting():
            assert home.wanted()
        assert not home.wanted()
