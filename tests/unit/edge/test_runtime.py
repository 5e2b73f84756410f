"""The composition root: what an agent may connect to, by how it is reached itself."""

from __future__ import annotations

import pytest

from skyswarm.edge.runtime import _public


@pytest.mark.parametrize(
    ("url", "public"),
    [
        (None, False),
        ("http://127.0.0.1:7001", False),
        ("http://localhost:7001", False),
        ("http://nas:7001", False),
        ("http://192.168.1.4:7001", False),
        ("http://[::1]:7001", False),
        ("http://[fd00::4]:7001", False),
        ("https://agent.example.org", True),
        ("https://8.8.8.8", True),
        ("https://[2606:4700::1111]", True),
    ],
)
def test_only_an_agent_of_the_internet_is_kept_out_of_its_own_network(url: str | None, public: bool) -> None:
    assert _public(url) is public
