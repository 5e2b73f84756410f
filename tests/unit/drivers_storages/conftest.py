"""The folder storage that each of these tests is given."""

from __future__ import annotations

from pathlib import Path

import pytest

from skyswarm.drivers.storages.folder import FolderStorage
from tests.support.storages import FolderRig


@pytest.fixture
def rig(tmp_path: Path) -> FolderRig:
    return FolderRig(tmp_path)


@pytest.fixture
def storage(rig: FolderRig) -> FolderStorage:
    return rig.open()
