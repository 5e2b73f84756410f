"""Tenants: several agents in one deployment, over the very same stores. Nothing of one is reachable through another."""

from __future__ import annotations

import json
from typing import Any

import pytest

from skyswarm.edge.api import answer
from skyswarm.edge.http import Request
from skyswarm.errors import AbsentError, InputError, SkyError, UnknownTransferError
from skyswarm.messages.httpsig import sign_request
from skyswarm.messages.requests import FetchReply, FetchRequest, Want
from skyswarm.usecases import inbox, jobs, objects, people, receipts, settle
from skyswarm.usecases.starting import Wish
from skyswarm.usecases.views import viewing
from tests.support.land import Land, Person

SECRET = b"alice's own file"


@pytest.fixture
def land() -> Land:
    return Land()


@pytest.fixture
def alice(land: Land) -> Person:
    return land.agent("alice")


@pytest.fixture
def eve(land: Land, alice: Person) -> Person:
    """Lives in alice's deployment: same Deps, other id."""
    return land.agent("eve", alice.deps)


def ask(who: Person, server: Person, manifest: str, **changes: Any) -> Any:
    """A signed request to the deployment that serves both; the reply or the error's code."""
    body = FetchRequest(manifest, (Want(0, 0, 0, 1),), changes.get("objects", ())).dump()
    url = f"{changes.get('at', server).url}/v1/fetch_piece"
    key, nonce = who.deps.keys.current(who.id), changes.get("nonce") or f"{who.land.entropy(16).hex()[:21]}A"
    headers = sign_request("POST", url, body, key, who.id, server.id, who.land.now, nonce)
    path = url[url.index("/a/") :]
    lower = {name.lower(): value for name, value in headers.items()}
    roles = {one.id: "agent" for one in who.land.people.values() if one.deps is server.deps}
    host = url.removeprefix("http://").partition("/")[0]
    response = answer(server.deps, roles, Request("POST", host, path, "", lower, body), server.tell)
    assert isinstance(response.body, bytes)
    if response.status == 200:
        return FetchReply.parse(response.body)
    return json.loads(response.body)["error"]["code"]


def test_attack_tenant_asks_for_the_neighbours_share(land: Land, alice: Person, eve: Person) -> None:
    """Alice's share is not eve's, though both are served by the same process from the same tables."""
    bob = land.agent("bob")
    for one in (alice, eve):
        one.vouch(bob)
        one.hears(bob)
    share = alice.publish({"a": SECRET})
    reply = ask(bob, alice, share.manifest.id)
    assert land.small(reply.urls[0].url, 100) == SECRET
    assert ask(bob, eve, share.manifest.id) == "SKY-214"
    assert ask(bob, eve, share.manifest.id, objects=(share.manifest.pages[0],)) == "SKY-214"


def test_attack_tenant_request_at_the_neighbours_path(land: Land, alice: Person, eve: Person) -> None:
    bob = alice.welcomes(land.agent("bob"))
    share = alice.publish({"a": SECRET})
    assert ask(bob, alice, share.manifest.id, at=eve) == "SKY-204"


def test_attack_tenant_trust_of_one_is_not_trust_of_the_other(land: Land, alice: Person, eve: Person) -> None:
    bob = eve.welcomes(land.agent("bob"))
    share = alice.publish({"a": SECRET})
    assert ask(bob, alice, share.manifest.id) in ("SKY-201", "SKY-210")
    assert not alice.sees(bob) and eve.sees(bob)
    # and eve herself is a stranger to alice, for all that they live together
    assert ask(eve, alice, share.manifest.id) in ("SKY-201", "SKY-210")


def test_attack_tenant_presigned_url_with_the_neighbours_secret(
    land: Land, alice: Person, eve: Person
) -> None:
    alice.put("a", SECRET)
    version = alice.bucket("src").stat("a").version
    mine = eve.bucket("src").presign("a", version, 60).url
    with pytest.raises(SkyError):
        land.small(mine, 100)
    with pytest.raises(SkyError):
        land.small(mine.replace(eve.url, alice.url), 100)
    assert land.small(alice.bucket("src").presign("a", version, 60).url, 100) == SECRET


def test_attack_tenant_one_nonce_is_used_once_by_each(land: Land, alice: Person, eve: Person) -> None:
    """A request to eve does not use up the nonce of one to alice: nonces, too, are kept by agent."""
    bob, nonce = land.agent("bob"), "A" * 22
    for one in (alice, eve):
        one.vouch(bob)
        one.hears(bob)
    shares = {one.id: one.publish({"a": SECRET}).manifest.id for one in (alice, eve)}
    for one in (eve, alice):
        assert isinstance(ask(bob, one, shares[one.id], nonce=nonce), FetchReply)
        assert ask(bob, one, shares[one.id], nonce=nonce) == "SKY-203"


def test_attack_tenant_every_record_is_absent_for_the_neighbour(
    land: Land, alice: Person, eve: Person
) -> None:
    deps = alice.deps
    bob = land.agent("bob")
    source = land.agent("source")
    source.vouch(alice)
    source.hears(alice)
    published = source.publish({"a": SECRET})
    transfer = alice.get(published.envelope, source)
    alice.work()
    assert alice.job(transfer).state == "done"
    people.give_name(deps, alice.id, "bob", bob.id)
    alice.vouch(bob)
    alice.publish({"b": SECRET})
    meters = [f"cost/{transfer}", f"handed/{bob.id}", "strangers/0"]

    assert deps.shares.page(eve.id) == []
    assert deps.transfers.page(eve.id) == []
    assert deps.transfers.get(eve.id, transfer) is None
    assert deps.transfers.batch(eve.id, transfer, 0) is None
    assert deps.transfers.tally(eve.id, transfer) == type(deps.transfers.tally(eve.id, transfer))()
    assert {one.key for one in deps.notes.page(eve.id, "")} <= {"endpoint"}
    assert [row.issuer for row in deps.statements.after(eve.id, 0, 100)] == [eve.id]
    assert deps.statements.of(eve.id, alice.id) == []
    assert deps.held.find(eve.id, published.manifest.id) == []
    assert all(deps.held.at(eve.id, "home", key, "m1") is None for key in alice.files())
    assert [deps.meters.read(eve.id, name) for name in meters] == [0] * len(meters)
    assert eve.files() == {} and eve.files("#objects") == {}
    with pytest.raises(UnknownTransferError):
        jobs.load(deps, eve.id, transfer)
    for act in (settle.pause, settle.resume, settle.cancel):
        with pytest.raises(UnknownTransferError):
            act(deps, eve.id, transfer)
    assert alice.job(transfer).state == "done"
    with pytest.raises(InputError):
        people.find(deps, eve.id, "bob")
    with pytest.raises(AbsentError):
        objects.manifest(deps, eve.id, published.manifest.id)
    assert receipts.newest(deps, eve.id, source.id, alice.id) == (None, 0)
    with pytest.raises(AbsentError):
        deps.keys.current("f" * 64)
    with viewing(deps, eve.id) as view:
        assert view.root == eve.id
        assert view.keys_of(alice.id) == ()


def test_attack_tenant_the_same_drop_in_two_inboxes_is_two_transfers(
    land: Land, alice: Person, eve: Person
) -> None:
    """Ids of transfers may be equal: they are keyed by agent."""
    source = land.agent("source")
    for one in (alice, eve):
        source.vouch(one)
        source.hears(one)
    envelope = source.publish({"a": SECRET}).envelope
    for one in (alice, eve):
        one.put("x.manifest.json", envelope, "#inbox")
        assert inbox.look(one.deps, one.id, Wish("home")) == ["x.manifest.json"]
    (mine,), (hers,) = (jobs.page(alice.deps, one.id) for one in (alice, eve))
    assert mine.id == hers.id
    settle.cancel(alice.deps, alice.id, mine.id)
    assert jobs.load(alice.deps, eve.id, hers.id).state == "queued"
    jobs.change(
        eve.deps,
        eve.id,
        hers.id,
        lambda now: now.with_source(jobs.SourceState(agent=source.id, endpoint=source.url)),
    )
    eve.work()
    assert eve.job(hers.id).state == "done"
    assert alice.files() == {} and eve.files() == {"a": SECRET}


def test_attack_tenant_tasks_of_both_run_in_one_queue_for_each(
    land: Land, alice: Person, eve: Person
) -> None:
    """One worker serves all; a task is for the agent it names."""
    source = land.agent("source")
    wanted = {}
    for one in (alice, eve):
        source.vouch(one)
        source.hears(one)
        wanted[one.id] = source.publish({"a": one.name.encode()}).envelope
    for one in (alice, eve):
        one.get(wanted[one.id], source)
    alice.work()
    # the same key in the source's bucket: only the newest share's version is still there
    assert eve.files() == {"a": b"eve"}
    assert alice.files() == {}


def test_attack_tenant_cap_and_quota_are_each_agents_own(land: Land) -> None:
    alice = land.agent("alice", requests_per_minute=2)
    eve = land.agent("eve", alice.deps)
    bob = land.agent("bob")
    shares = {}
    for one in (alice, eve):
        one.vouch(bob)
        one.hears(bob)
        shares[one.id] = one.publish({"a": SECRET}, cap_bytes=2 * len(SECRET)).manifest.id
    for _ in range(2):
        assert isinstance(ask(bob, alice, shares[alice.id]), FetchReply)
    assert ask(bob, alice, shares[alice.id]) == "SKY-429"
    assert isinstance(ask(bob, eve, shares[eve.id]), FetchReply)
