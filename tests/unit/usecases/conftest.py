"""Who most tests of the use cases are about. A file that needs them otherwise says so with a fixture of that name."""

from __future__ import annotations

import pytest

from tests.support.land import Land, Person


@pytest.fixture
def land() -> Land:
    return Land()


@pytest.fixture
def alice(land: Land) -> Person:
    return land.agent("alice")


@pytest.fixture
def bob(land: Land, alice: Person) -> Person:
    """Alice vouches for him and knows him by his key."""
    return alice.welcomes(land.agent("bob"))
