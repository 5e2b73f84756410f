"""Keys in Secrets Manager beyond the contract: no seed is shown, a rotation can be killed anywhere, what is damaged."""

from __future__ import annotations

import base64
import logging
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from skyswarm.drivers.aws.keys import FRESH, SecretKeys
from skyswarm.drivers.seeds import Prepared, prepare
from skyswarm.errors import BackendError, ConflictError, MalformedError, SetupError, UnavailableError
from tests.support.aws_rigs import Dying, session
from tests.support.emulators import ministack, unique
from tests.support.record_rigs import ALICE


class Store:
    """A place for secrets, and drivers over it."""

    def __init__(self) -> None:
        self.client = session(ministack().url).client("secretsmanager")
        self.prefix = unique("keys") + "/"
        self.now = time.time()
        self.prepared: Prepared = prepare(os.urandom)
        self.driver().adopt(self.prepared, ALICE)

    def driver(self, client: Any = None) -> SecretKeys:
        return SecretKeys(client or self.client, self.prefix, os.urandom, lambda: self.now)

    def versions(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = self.client.describe_secret(SecretId=self.prefix + ALICE)[
            "VersionIdsToStages"
        ]
        return {version: stages for version, stages in found.items() if stages}


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def loud() -> Iterator[None]:
    """Everything writes what it can into the log."""
    root, sdk = logging.getLogger(), logging.getLogger("botocore")
    before = root.level, sdk.level
    root.setLevel(logging.DEBUG)
    sdk.setLevel(logging.DEBUG)
    yield
    root.setLevel(before[0])
    sdk.setLevel(before[1])


def test_no_seed_is_in_a_log_or_a_repr(store: Store, loud: None, caplog: pytest.LogCaptureFixture) -> None:
    store.client.list_secrets()
    assert "Response body" in caplog.text, "the SDK was silent anyway"
    caplog.clear()
    fresh = prepare(os.urandom)
    made = store.driver()
    made.adopt(fresh, "c" * 64)
    made.rotate("c" * 64, fresh.current_public)
    signer = made.current("c" * 64)
    with pytest.raises(ConflictError) as caught:
        made.adopt(prepare(os.urandom), ALICE)
    shown = (
        caplog.text
        + repr(made)
        + repr(signer)
        + repr(caught.value)
        + repr(made._read(ALICE))
        + repr(vars(made))
    )
    raw = store.client.get_secret_value(SecretId=store.prefix + "c" * 64)["SecretBinary"]
    for seed in (*fresh.seeds, *store.prepared.seeds, raw[-32:]):
        for form in (seed.hex(), base64.b64encode(seed).decode(), repr(seed), repr(seed)[2:-1]):
            assert form not in shown
    assert base64.b64encode(raw).decode() not in shown


def test_a_rotation_is_seen_by_others_within_seconds(store: Store) -> None:
    other = store.driver()
    assert other.current(ALICE).public == store.prepared.current_public
    store.driver().rotate(ALICE, store.prepared.current_public)
    assert other.current(ALICE).public == store.prepared.current_public
    store.now += FRESH
    assert other.current(ALICE).public == store.prepared.next_public
    store.now -= 1000  # a clock that was put back
    store.driver().rotate(ALICE, store.prepared.next_public)
    assert other.upcoming(ALICE).public != store.prepared.next_public


def test_after_a_rotation_no_older_version_is_kept_under_a_label(store: Store) -> None:
    store.driver().rotate(ALICE, store.prepared.current_public)
    assert list(store.versions().values()) == [["AWSCURRENT"]]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", ["put_secret_value", "update_secret_version_stage"])
def test_a_rotation_that_is_killed_was_whole_or_was_not(store: Store, step: str, after: bool) -> None:
    prepared, following = store.prepared, store.driver().following(ALICE)
    with pytest.raises(UnavailableError):
        store.driver(Dying(store.client, step, after)).rotate(ALICE, prepared.current_public)
    now = store.driver()
    keys = (now.current(ALICE).public, now.upcoming(ALICE).public)
    if (step, after) == ("update_secret_version_stage", True):
        assert keys == (prepared.next_public, following)
    else:
        assert keys == (prepared.current_public, prepared.next_public)
        assert now.rotate(ALICE, prepared.current_public) == following
    assert store.driver().current(ALICE).public == prepared.next_public


def test_a_move_whose_answer_was_lost_and_that_the_sdk_repeats_is_ours(store: Store) -> None:
    class Repeating:
        def __getattr__(self, name: str) -> Any:
            method = getattr(store.client, name)
            if name != "update_secret_version_stage":
                return method

            def call(**named: Any) -> Any:
                if "MoveToVersionId" in named:
                    method(**named)
                return method(**named)

            return call

    following = store.driver().following(ALICE)
    assert store.driver(Repeating()).rotate(ALICE, store.prepared.current_public) == following


def test_what_is_damaged_or_being_deleted_is_said_so(store: Store) -> None:
    store.client.put_secret_value(
        SecretId=store.prefix + ALICE, SecretBinary=b"skyswarm keys 2\n" + b"x" * 96
    )
    with pytest.raises(BackendError, match="damaged or of a newer version"):
        store.driver().current(ALICE)
    store.client.delete_secret(SecretId=store.prefix + ALICE, RecoveryWindowInDays=7)
    with pytest.raises(SetupError, match="about to be deleted"):
        store.driver().adopt(store.prepared, ALICE)


def test_an_agent_is_an_id() -> None:
    with pytest.raises(MalformedError):
        Store().driver().adopt(prepare(os.urandom), "../other")
