"""A folder that is somebody's bucket, mounted: its prices are the bucket's."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from skyswarm.drivers.local.config import Config, StorageConfig, parse
from skyswarm.edge.runtime import create
from skyswarm.errors import SetupError


def test_a_folder_says_the_kind_it_is_priced_as(tmp_path: Path) -> None:
    runtime, _ = create(tmp_path / "home", name="alice")
    paid = StorageConfig("folder", str(tmp_path), "s3/eu-central-1")

    def step(config: Config) -> Config:
        return replace(config, storages=MappingProxyType({**config.storages, "paid": paid}))

    runtime.change(step)
    assert runtime.deps.storages.open(runtime.agent, "paid").kind == "s3/eu-central-1"
    assert runtime.deps.storages.open(runtime.agent, "home").kind == "folder"
    assert runtime.deps.prices.lines("s3/eu-central-1", "folder", 10**9, 1)[0]["micro"] == 90_000
    runtime.close()


@pytest.mark.parametrize("wrong", ["", "S3", "s3/", "s3/eu central", 7, None])
def test_a_kind_that_cannot_be_is_refused(tmp_path: Path, wrong: object) -> None:
    runtime, _ = create(tmp_path / "home", name="alice")
    runtime.close()
    file = tmp_path / "home" / "config.json"
    doc = json.loads(file.read_text())
    assert doc["storages"]["home"].keys() == {"kind", "path"}, "what is as usual is not written"
    doc["storages"]["home"]["priced_as"] = wrong
    with pytest.raises(SetupError, match="priced_as"):
        parse(json.dumps(doc).encode())
