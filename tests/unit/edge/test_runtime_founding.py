"""An agent is made once: by one of many that try at the same moment, and again after one that was killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from skyswarm.edge.runtime import create, open_runtime
from skyswarm.errors import SetupError
from tests.support.racing import child, race


def made(path: Path) -> str:
    """Make an agent there; its id."""
    runtime, _ = create(path, name="alice", port=7001)
    runtime.close()
    return runtime.agent


def kept(path: Path) -> list[str]:
    """The agents that have keys there."""
    return sorted(one.name for one in (path / "keys").iterdir() if one.is_dir())


def test_of_many_at_once_one_makes_the_agent_and_the_others_are_told(tmp_path: Path) -> None:
    for number in range(6):
        home = tmp_path / str(number)
        results = race([lambda home=home: made(home)] * 3)
        (agent,) = (one for one in results if isinstance(one, str))
        told = [one for one in results if isinstance(one, SetupError)]
        assert [one.message for one in told] == [f"there is an agent in {home} already"] * 2
        runtime = open_runtime(home)
        assert (runtime.agent, kept(home)) == (agent, [agent])
        runtime.close()


def test_what_a_killed_attempt_left_is_gone_after_the_next(tmp_path: Path) -> None:
    home = tmp_path / "home"
    process = child("tests.support.founding_child", str(home))
    process.communicate(timeout=60)
    assert process.returncode == -9
    assert len(kept(home)) == 1 and not (home / "config.json").exists()
    agent = made(home)
    assert kept(home) == [agent]
    with pytest.raises(SetupError, match="already"):
        made(home)
