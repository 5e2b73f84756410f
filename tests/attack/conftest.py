"""Where the attacks on agents happen, and on whom. A file that needs another says so with a fixture of that name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.attack import FILE, Agent, Town, town


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Town]:
    with town(tmp_path) as made:
        yield made


@pytest.fixture
def alice(place: Town) -> Agent:
    return place.agent("alice")


@pytest.fixture
def bob(place: Town, alice: Agent) -> Agent:
    """Alice vouches for him and knows him by his key."""
    return alice.welcomes(place.agent("bob"))


@pytest.fixture
def share(alice: Agent) -> str:
    """The id of a share of alice's: one file `a`, a thousand bytes."""
    return alice.publish({"a": FILE}).manifest.id
