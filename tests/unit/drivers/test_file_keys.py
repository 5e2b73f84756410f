"""Key files: who may read them, what a crash leaves, and that a private key never shows."""

from __future__ import annotations

import copy
import logging
import os
import pickle
import stat
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from skyswarm.drivers.local.keys import FileKeys
from skyswarm.drivers.seeds import Prepared, make_recovery, prepare, read_recovery
from skyswarm.errors import AbsentError, ConflictError, KeyFileError, MalformedError, SkyError
from skyswarm.messages.keys import SeedSigner
from tests.support.crash_child import SEEDS, UNDONE
from tests.support.racing import child, race_processes
from tests.support.record_rigs import ALICE, BOB


@pytest.fixture
def keys(tmp_path: Path) -> FileKeys:
    return FileKeys(tmp_path)


@pytest.fixture
def made(keys: FileKeys) -> Prepared:
    prepared = prepare(os.urandom)
    keys.adopt(prepared, ALICE)
    return prepared


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# ---- who may read them -----------------------------------------------------------------------
def test_only_their_owner_may_read_them_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        keys, prepared = FileKeys(tmp_path), prepare(os.urandom)
        keys.adopt(prepared, ALICE)
        keys.rotate(ALICE, prepared.current_public)
    finally:
        os.umask(before)
    assert mode(tmp_path / ALICE) == 0o700
    assert {path.name: mode(path) for path in (tmp_path / ALICE).iterdir()} == {"seeds": 0o600, "lock": 0o600}


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o620, 0o602, 0o610, 0o660, 0o666])
def test_a_key_file_open_to_others_is_refused_with_the_command_that_mends_it(
    keys: FileKeys, made: Prepared, tmp_path: Path, bits: int
) -> None:
    signer = keys.current(ALICE)  # known already: the file is still looked at each time
    path = tmp_path / ALICE / "seeds"
    path.chmod(bits)
    for ask in (keys.current, keys.upcoming, keys.following, FileKeys(tmp_path).current):
        with pytest.raises(KeyFileError) as caught:
            ask(ALICE)
        assert f"chmod 600 '{path}'" in caught.value.advice
        assert f"{bits:04o}" in caught.value.message
    with pytest.raises(KeyFileError):
        keys.rotate(ALICE, made.current_public)
    path.chmod(0o600)
    assert keys.current(ALICE).public == signer.public


def test_a_folder_open_to_others_is_refused(tmp_path: Path, made: Prepared) -> None:
    (tmp_path / ALICE).chmod(0o750)
    with pytest.raises(KeyFileError) as caught:
        FileKeys(tmp_path).current(ALICE)
    assert "chmod 700" in caught.value.advice


def test_a_link_a_folder_or_a_pipe_in_the_place_of_a_key_is_refused(
    keys: FileKeys, made: Prepared, tmp_path: Path
) -> None:
    path = tmp_path / ALICE / "seeds"
    aside = path.rename(tmp_path / "aside")
    for put in (
        lambda: path.symlink_to(aside),
        lambda: path.mkdir(mode=0o700),
        lambda: os.mkfifo(path, 0o600),
    ):
        put()
        with pytest.raises(KeyFileError):
            keys.current(ALICE)
        path.rmdir() if path.is_dir() else path.unlink()


def test_a_link_that_waits_where_a_key_will_be_written_is_not_followed(
    keys: FileKeys, made: Prepared, tmp_path: Path
) -> None:
    (tmp_path / "bait").write_bytes(b"untouched")
    (tmp_path / ALICE / ".seeds.new").symlink_to(tmp_path / "bait")
    keys.rotate(ALICE, made.current_public)
    assert (tmp_path / "bait").read_bytes() == b"untouched"
    assert not (tmp_path / ALICE / "seeds").is_symlink()


@pytest.mark.parametrize(
    "spoil",
    [lambda data: b"", lambda data: data[:-1], lambda data: data + b"x", lambda data: b"S" + data[1:]],
    ids=["empty", "cut", "longer", "other head"],
)
def test_a_damaged_key_file_is_refused(
    keys: FileKeys, made: Prepared, tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / ALICE / "seeds"
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(KeyFileError):
        keys.current(ALICE)


@pytest.mark.parametrize(
    "agent", ["", "..", "../" + ALICE, "a" * 63, "A" * 64, ALICE + "/", ALICE + "\n", "\x00" * 64]
)
def test_an_id_that_is_none_leads_to_no_file(keys: FileKeys, made: Prepared, agent: str) -> None:
    with pytest.raises(AbsentError):
        keys.current(agent)
    with pytest.raises(MalformedError):
        keys.adopt(made, agent)


# ---- several processes, and crashes ----------------------------------------------------------
def test_a_rotation_by_another_process_is_seen_at_once(
    keys: FileKeys, made: Prepared, tmp_path: Path
) -> None:
    assert keys.current(ALICE).public == made.current_public
    FileKeys(tmp_path).rotate(ALICE, made.current_public)
    assert keys.current(ALICE).public == made.next_public
    with pytest.raises(ConflictError):
        keys.rotate(ALICE, made.current_public)


def test_one_of_several_processes_rotates(keys: FileKeys, made: Prepared, tmp_path: Path) -> None:
    argument = (str(tmp_path), ALICE, made.current_public.hex())
    won = race_processes("tests.support.rotate_child", [argument] * 4)
    assert sorted(won) == [False, False, False, True]
    assert keys.current(ALICE).public == made.next_public


def crash(way: str, folder: Path) -> list[Path]:
    """The folders that each crash left behind, in the order of the lines; in the last one nothing crashed."""
    process = child("tests.support.crash_child", way, str(folder))
    out, _ = process.communicate(timeout=100)
    assert process.returncode == 0
    return [folder / str(line) for line in range(int(out) + 1)]


def test_a_crash_at_any_line_of_a_rotation_leaves_the_keys_of_before_or_after(tmp_path: Path) -> None:
    public = [SeedSigner(seed).public for seed in SEEDS]
    states = []
    for place in crash("rotate", tmp_path):
        keys = FileKeys(place)
        now = [keys.current(ALICE).public, keys.upcoming(ALICE).public, keys.following(ALICE)]
        states.append(now)
        keys.rotate(ALICE, now[0])  # and the next one works, whatever the crash has left lying about
        assert keys.current(ALICE).public == now[1]
        assert keys.upcoming(ALICE).public == now[2]
        assert {path.name for path in (place / ALICE).iterdir()} == {"seeds", "lock"}
    assert len(states) > 30
    before, after = public[:3], public[1:4]
    turn = states.index(after)
    assert states == [before] * turn + [after] * (len(states) - turn)


def test_a_crash_at_any_line_of_adopting_leaves_no_key_or_all(tmp_path: Path) -> None:
    public = [SeedSigner(seed).public for seed in SEEDS[:3]]
    for place in crash("adopt", tmp_path):
        keys = FileKeys(place)
        try:
            assert keys.current(ALICE).public == public[0]
        except AbsentError:
            keys.adopt(Prepared((SEEDS[0], SEEDS[1], SEEDS[2])), ALICE)
        assert [keys.current(ALICE).public, keys.upcoming(ALICE).public, keys.following(ALICE)] == public


def test_a_crash_at_any_line_of_reserving_leaves_the_keys_as_they_were(tmp_path: Path) -> None:
    public = [SeedSigner(seed).public for seed in SEEDS]
    fresh = 0
    for place in crash("reserve", tmp_path):
        keys = FileKeys(place)
        assert [keys.current(ALICE).public, keys.upcoming(ALICE).public] == public[:2]
        made = keys.reserve(ALICE, UNDONE)  # those that were kept, or others when nobody can have seen them
        fresh += made != (public[3], public[4])
        assert keys.reserve(ALICE, UNDONE) == made
        keys.replace(ALICE, UNDONE, made[0])
        assert (keys.current(ALICE).public, keys.upcoming(ALICE).public) == made
        assert {path.name for path in (place / ALICE).iterdir()} == {"seeds", "lock"}
    assert fresh > 10, "most lines come before the file is in its place"


def test_a_crash_at_any_line_of_replacing_leaves_the_keys_of_before_or_after(tmp_path: Path) -> None:
    public = [SeedSigner(seed).public for seed in SEEDS]
    states = []
    for place in crash("replace", tmp_path):
        keys = FileKeys(place)
        now = [keys.current(ALICE).public, keys.upcoming(ALICE).public, keys.following(ALICE)]
        states.append(now)
        if now == public[:3]:
            keys.replace(ALICE, UNDONE, public[3])
        assert keys.current(ALICE).public == public[3]
        assert {path.name for path in (place / ALICE).iterdir()} == {"seeds", "lock"}
    turn = states.index(public[3:])
    assert turn > 10 and states == [public[:3]] * turn + [public[3:]] * (len(states) - turn)


@pytest.mark.parametrize("undone", ["", "..", "1" * 63, "A" * 64, "1" * 64 + "\n", "../" + "1" * 64])
def test_an_id_that_is_none_reserves_nothing(keys: FileKeys, made: Prepared, undone: str) -> None:
    with pytest.raises(MalformedError):
        keys.reserve(ALICE, undone)
    with pytest.raises(MalformedError):
        keys.replace(ALICE, undone, made.current_public)


def test_reserved_keys_that_others_can_read_are_refused(
    keys: FileKeys, made: Prepared, tmp_path: Path
) -> None:
    key, _ = keys.reserve(ALICE, UNDONE)
    path = tmp_path / ALICE / f"reserved-{UNDONE}"
    assert mode(path) == 0o600
    path.chmod(0o640)
    for act in (lambda: keys.reserve(ALICE, UNDONE), lambda: keys.replace(ALICE, UNDONE, key)):
        with pytest.raises(KeyFileError):
            act()
    assert keys.current(ALICE).public == made.current_public


# ---- secrecy ---------------------------------------------------------------------------------
def shapes(secret: bytes) -> set[bytes]:
    """How a secret could show in a text."""
    return {secret, secret.hex().encode(), repr(secret)[2:-1].encode(), str(list(secret)).encode()[1:-1]}


def test_a_private_key_shows_in_no_repr_error_or_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    seeds = [os.urandom(32) for _ in range(4)]
    supply = iter(seeds)
    keys = FileKeys(tmp_path, lambda size: next(supply))
    prepared = prepare(lambda size: next(supply))
    keys.adopt(prepared, ALICE)
    _, text = make_recovery(lambda size: seeds[0])
    told = [repr(one) for one in (prepared, keys, keys.current(ALICE), vars(keys), read_recovery(text))]
    told += [str(prepared), f"{prepared}", f"{keys.current(ALICE)}"]
    keys.rotate(ALICE, prepared.current_public)

    def fail(step: Callable[[], object]) -> None:
        with pytest.raises((SkyError, TypeError)) as caught:
            step()
        told.append("".join(traceback.format_exception(caught.value)))
        told.append(repr(caught.value))

    fail(lambda: keys.rotate(ALICE, prepared.current_public))
    fail(lambda: keys.adopt(prepared, ALICE))
    fail(lambda: keys.current(BOB))
    fail(lambda: read_recovery(text[:-1] + "="))
    fail(lambda: pickle.dumps(prepared))
    fail(lambda: pickle.dumps(keys.current(ALICE)))
    fail(lambda: copy.deepcopy(keys.current(ALICE)))
    path = tmp_path / ALICE / "seeds"
    path.chmod(0o644)
    fail(lambda: keys.current(ALICE))
    path.chmod(0o600)
    path.write_bytes(path.read_bytes() + b"x")
    fail(lambda: keys.current(ALICE))
    everything = ("\n".join(told) + caplog.text).encode()
    for seed in seeds:
        assert not [shape for shape in shapes(seed) if shape in everything]
    assert text.encode()[:14] not in everything


def test_a_recovery_key_is_not_written_anywhere(tmp_path: Path) -> None:
    seed = os.urandom(32)
    keys = FileKeys(tmp_path)
    keys.adopt(prepare(os.urandom), ALICE)
    make_recovery(lambda size: seed)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and seed in path.read_bytes()]
