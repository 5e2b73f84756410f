"""Which drivers keep the promises of the record, task and key ports: the lists in `tests/support/record_rigs`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.record_rigs import KEYRINGS, RIGS, SHARED_RIGS, Keyring, Rig


@pytest.fixture(params=RIGS)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    made = RIGS[request.param](tmp_path)
    yield made
    made.close()


@pytest.fixture(params=SHARED_RIGS)
def shared_rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Rig, str]]:
    """A rig and what a child process finds it by."""
    made = SHARED_RIGS[request.param](tmp_path)
    yield made, f"{request.param}:{tmp_path}"
    made.close()


@pytest.fixture(params=KEYRINGS)
def keyring(request: pytest.FixtureRequest, tmp_path: Path) -> Keyring:
    return KEYRINGS[request.param](tmp_path)
