"""The storages of a home, as its settings name them."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from skyswarm.drivers.local.config import Config, StorageConfig
from skyswarm.drivers.local.home import Home
from skyswarm.drivers.local.storages import LocalStorages
from skyswarm.drivers.storages.presign import Presigner
from skyswarm.errors import AbsentError
from skyswarm.ports.storage import Origin
from tests.support.storages import AGENT, SECRET, digest_of, read


@pytest.fixture
def home(tmp_path: Path) -> Home:
    settings = Config("alice", AGENT, storages=MappingProxyType({"home": StorageConfig("folder", "storage")}))
    with Home.founding(tmp_path / "home") as made:
        made.complete(settings)
    return made


@pytest.fixture
def storages(home: Home) -> LocalStorages:
    return LocalStorages(home, Presigner(SECRET, "http://127.0.0.1:1", time.time))


def test_names_and_the_agents_own_bucket(storages: LocalStorages, home: Home) -> None:
    assert storages.names(AGENT) == ("home",)
    storages.open(AGENT, "#objects").put("a", b"1", if_version=None)
    storages.open(AGENT, "home").put("b", b"2", if_version=None)
    assert (home.objects / "a").read_bytes() == b"1"
    assert (home.storage / "b").read_bytes() == b"2"
    assert storages.open(AGENT, "home") is storages.open(AGENT, "home")
    assert "/o/%23objects/a?v=" in storages.open(AGENT, "#objects").presign("a", "v", 1).url


def test_no_other_storage_and_no_other_agent(storages: LocalStorages) -> None:
    for agent, name in (
        (AGENT, "photos"),
        (AGENT, ".."),
        (AGENT, ""),
        ("b" * 64, "home"),
        ("b" * 64, "#objects"),
    ):
        with pytest.raises(AbsentError):
            storages.open(agent, name)
    with pytest.raises(AbsentError):
        storages.names("b" * 64)


def test_a_storage_added_by_another_process_is_there_at_once(
    storages: LocalStorages, home: Home, tmp_path: Path
) -> None:
    with pytest.raises(AbsentError):
        storages.open(AGENT, "photos")
    (tmp_path / "photos").mkdir()
    added = {
        "home": StorageConfig("folder", "storage"),
        "photos": StorageConfig("folder", str(tmp_path / "photos")),
    }
    Home(home.path).change(lambda config: replace(config, storages=MappingProxyType(added)))
    assert storages.names(AGENT) == ("home", "photos")
    made = storages.open(AGENT, "photos").put("sea", b"blue", if_version=None)

    sink = storages.open(AGENT, "home")
    upload = sink.begin("sea", 4, 4, "t")
    sink.copy(upload, 0, Origin("photos", "sea", made.version), 0, digest_of(b"blue"), 4)
    copied = sink.finish(upload, [digest_of(b"blue")], if_version=None)
    assert read(sink, "sea", copied.version, 0, 4) == b"blue"

    Home(home.path).change(lambda config: replace(config, storages=MappingProxyType({"home": added["home"]})))
    with pytest.raises(AbsentError):
        storages.open(AGENT, "photos")
