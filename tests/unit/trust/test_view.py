"""trust/view.py, trust/upkeep.py, trust/explain.py, trust/verdict.py and trust/proof.py over real signed
statements.
"""

from __future__ import annotations

import pytest

from skyswarm.errors import InputError, NotTrustedError, RevokedError, StatementError, TooLargeError
from skyswarm.messages.statements import Announce, Head, Rotate, Signed
from skyswarm.trust.branch import RECOVERY_WINDOW
from skyswarm.trust.proof import MAX_PROOF, check_proof
from skyswarm.trust.upkeep import MAX_UNREAD
from skyswarm.trust.verdict import Reason
from skyswarm.trust.view import TrustView
from tests.support.trust_authors import DAY, START, Author, Row, forge, rows, sign

NOW = START + DAY


class Circle:
    """alice trusts carol, carol vouches for bob, bob for dan."""

    def __init__(self) -> None:
        self.alice, self.bob, self.carol, self.dan = (Author(n) for n in ("alice", "bob", "carol", "dan"))
        self.names = {a.id: a.name for a in (self.alice, self.bob, self.carol, self.dan)}
        self.v_carol = self.alice.vouch(self.carol)
        self.v_bob = self.carol.vouch(self.bob)
        self.v_dan = self.bob.vouch(self.dan)

    def view(self, **how: object) -> TrustView:
        view = TrustView(self.alice.id, **how)  # type: ignore[arg-type]
        view.offer(rows(self.dan, self.bob, self.carol, self.alice))
        return view

    def name(self, agent: str) -> str:
        return self.names.get(agent, agent[:8])


@pytest.fixture
def circle() -> Circle:
    return Circle()


def test_the_chain_as_a_path(circle: Circle) -> None:
    verdict = circle.view().evaluate(circle.dan.id, "fetch", NOW)
    assert (verdict.trusted, verdict.budget, verdict.reason) == (True, 4, Reason.TRUSTED)
    assert verdict.sentence(circle.name) == "alice → carol → bob → dan"
    assert [edge.id for edge in verdict.chain] == [circle.v_carol.id, circle.v_bob.id, circle.v_dan.id]
    assert verdict.agents() == tuple(a.id for a in (circle.alice, circle.carol, circle.bob, circle.dan))
    root = circle.view().evaluate(circle.alice.id, "store", NOW)
    assert root.trusted and root.chain == () and root.agents() == (circle.alice.id,)


def test_a_stranger_and_another_scope(circle: Circle) -> None:
    view = circle.view()
    for agent, scope in ((Author("eve").id, "fetch"), (circle.bob.id, "store")):
        verdict = view.evaluate(agent, scope, NOW)
        assert (verdict.trusted, verdict.reason, verdict.chain) == (False, Reason.NEVER, ())
        assert type(verdict.error()) is NotTrustedError
        assert verdict.agents() == (agent,)
    assert "Nobody that is trusted here vouches for bob for store" in view.evaluate(
        circle.bob.id, "store", NOW
    ).sentence(circle.name)


def test_a_revocation_prunes_the_branch_and_says_why(circle: Circle) -> None:
    view = circle.view()
    assert view.evaluate(circle.dan.id, "fetch", NOW).trusted
    end = circle.carol.revoke(circle.bob, reason="lost his laptop")
    view.offer(rows([end]))
    for agent in (circle.bob, circle.dan):
        verdict = view.evaluate(agent.id, "fetch", NOW)
        assert verdict.reason is Reason.REVOKED and verdict.broken is not None
        assert verdict.broken.cause == end.id
        assert verdict.sentence(circle.name) == "carol has revoked bob (lost his laptop)."
        error = verdict.error(circle.name)
        assert type(error) is RevokedError and error.code == "SKY-211"
    assert view.evaluate(circle.carol.id, "fetch", NOW).trusted
    view.offer(rows([circle.carol.vouch(circle.bob)]))
    assert view.evaluate(circle.dan.id, "fetch", NOW).trusted, "a later vouch counts again"


def test_the_newest_word_of_the_issuer_is_the_reason(circle: Circle) -> None:
    view = circle.view()
    carol, bob = circle.carol, circle.bob

    def said(*statements: Signed) -> str:
        view.offer(rows(list(statements)))
        return view.evaluate(bob.id, "fetch", NOW).sentence(circle.name)

    assert said(carol.revoke(bob, reason="lost his laptop")) == "carol has revoked bob (lost his laptop)."
    assert said(carol.vouch(bob)) == "alice → carol → bob"
    assert said(carol.revoke(bob)) == "carol has revoked bob."
    assert said(carol.distrust(bob, reason="leaks")) == "carol distrusts bob (leaks)."
    assert said(carol.revoke(bob, reason="for good")) == "carol has revoked bob (for good)."
    again = carol.vouch(bob)
    assert (
        said(again, carol.revoke(vouch=again, reason="by mistake")) == "carol has revoked bob (by mistake)."
    )
    for _ in range(6):
        again = carol.vouch(bob)
        assert said(again, carol.revoke(vouch=again)) == "carol has revoked bob."


def test_what_another_chain_supports_stays(circle: Circle) -> None:
    view = circle.view()
    view.offer(rows([circle.carol.revoke(circle.bob), circle.alice.vouch(circle.bob, depth=1)]))
    assert view.evaluate(circle.dan.id, "fetch", NOW).sentence(circle.name) == "alice → bob → dan"


def test_revoking_by_id_ends_one_vouch_only(circle: Circle) -> None:
    second = circle.carol.vouch(circle.bob, depth=0)
    view = circle.view()
    view.offer(rows([circle.carol.revoke(vouch=circle.v_bob)]))
    verdict = view.evaluate(circle.bob.id, "fetch", NOW)
    assert [edge.id for edge in verdict.chain] == [circle.v_carol.id, second.id]
    assert verdict.budget == 0
    assert view.evaluate(circle.dan.id, "fetch", NOW).reason is Reason.FAR
    view.offer(rows([circle.bob.revoke(vouch=circle.v_bob)]))
    assert view.evaluate(circle.bob.id, "fetch", NOW).trusted, "nobody revokes what another said"


def test_distrust_takes_scopes_and_is_no_ones_business_else(circle: Circle) -> None:
    both = circle.alice.vouch(circle.bob, scope=("fetch", "store"))
    view = circle.view()
    view.offer(rows([circle.alice.distrust(circle.bob, ("store",), reason="full")]))
    assert view.evaluate(circle.bob.id, "fetch", NOW).chain[0].id == both.id
    verdict = view.evaluate(circle.bob.id, "store", NOW)
    assert verdict.sentence(circle.name) == "alice distrusts bob (full)."
    assert type(verdict.error()) is RevokedError
    view.offer(rows([circle.dan.distrust(circle.carol)]))
    assert view.evaluate(circle.dan.id, "fetch", NOW).trusted


def test_the_own_distrust_binds_whoever_vouches(circle: Circle) -> None:
    view = circle.view()
    view.offer(rows([circle.alice.distrust(circle.bob)]))
    for agent in (circle.bob, circle.dan):
        assert not view.evaluate(agent.id, "fetch", NOW).trusted
    assert view.evaluate(circle.bob.id, "fetch", NOW).sentence(circle.name) == "alice distrusts bob."
    view.offer(rows([circle.alice.vouch(circle.bob)]))
    assert view.evaluate(circle.dan.id, "fetch", NOW).trusted


def test_heeded_advice_prunes_for_the_scope_and_never_transitively(circle: Circle) -> None:
    watch, friend = Author("watch"), Author("friend")
    circle.names |= {watch.id: "watch", friend.id: "friend"}
    warning = watch.distrust(circle.bob, reason="leaks")
    further = friend.distrust(circle.carol)
    watch.vouch(friend)
    for heed in ((), (watch.id,)):
        view = circle.view(heed=heed)
        view.offer(rows(watch, friend))
        verdict = view.evaluate(circle.bob.id, "fetch", NOW)
        assert verdict.trusted == view.evaluate(circle.dan.id, "fetch", NOW).trusted == (not heed)
        assert view.evaluate(circle.carol.id, "fetch", NOW).trusted, "whom watch trusts is not heeded"
        if heed:
            assert verdict.broken is not None and verdict.broken.cause == warning.id
            assert verdict.sentence(circle.name) == "watch distrusts bob (leaks)."
            view.offer(rows([circle.alice.vouch(circle.bob)]))
            assert view.evaluate(circle.bob.id, "fetch", NOW).trusted, "the own word stands above advice"
            view.offer(rows([watch.vouch(circle.bob, exp=START + DAY)]))
            view.offer(rows([circle.alice.revoke(circle.bob)]))
            assert view.evaluate(circle.bob.id, "fetch", NOW).trusted, "taken back by a later vouch"
    assert further.id


@pytest.mark.parametrize(
    ("when", "reason"),
    [
        (START - 121, Reason.EARLY),
        (START - 120, Reason.TRUSTED),
        (START, Reason.TRUSTED),
        (START + 30 * DAY - 1, Reason.TRUSTED),
        (START + 30 * DAY, Reason.EXPIRED),
    ],
)
def test_time_is_given_and_may_go_either_way(circle: Circle, when: int, reason: Reason) -> None:
    view = circle.view()
    for at in (NOW, when, NOW, START + 40 * DAY, when):
        expected = Reason.TRUSTED if at == NOW else reason if at == when else Reason.EXPIRED
        assert view.evaluate(circle.bob.id, "fetch", at).reason is expected


def test_times_after_going_back_are_seen_again(circle: Circle) -> None:
    view = circle.view()
    assert not view.evaluate(circle.bob.id, "fetch", START + 31 * DAY).trusted
    assert view.evaluate(circle.bob.id, "fetch", START + 29 * DAY).trusted
    assert not view.evaluate(circle.bob.id, "fetch", START + 30 * DAY).trusted
    assert type(view.evaluate(circle.bob.id, "fetch", START - 999).error()) is NotTrustedError


def test_a_retired_agent_and_its_vouches_are_out(circle: Circle) -> None:
    view = circle.view()
    view.offer(rows([circle.bob.retire()]))
    for agent in (circle.bob, circle.dan):
        verdict = view.evaluate(agent.id, "fetch", NOW)
        assert verdict.reason is Reason.RETIRED
        assert verdict.sentence(circle.name) == "bob has retired its identity."
    standing = view.authenticate(circle.bob.id, NOW)
    assert standing is not None and standing.retired
    assert [{v.agent for v in p.values()} for p in view.people(NOW)] == [{circle.carol.id}]


def test_a_retired_leaf_that_nobody_asked_about_is_found_out(circle: Circle) -> None:
    circle.dan.retire()
    assert circle.view().evaluate(circle.dan.id, "fetch", NOW).reason is Reason.RETIRED


def test_an_equivocating_issuer_supports_nobody_until_it_rotates(circle: Circle) -> None:
    other = circle.bob.twin(upto=1)
    circle.bob.vouch(Author("x"))
    other.vouch(Author("y"))
    view = circle.view()
    view.offer(rows(other))
    assert view.evaluate(circle.bob.id, "fetch", NOW).reason is Reason.EQUIVOCATED
    assert view.evaluate(circle.dan.id, "fetch", NOW).reason is Reason.EQUIVOCATED
    assert not view.evaluate(Author("x").id, "fetch", NOW).trusted
    standing = view.authenticate(circle.bob.id, NOW)
    assert standing is not None and standing.equivocation is not None and standing.head.seq == 1
    view.offer(rows([circle.bob.rotate()]))
    assert view.evaluate(circle.dan.id, "fetch", NOW).trusted
    assert view.evaluate(Author("x").id, "fetch", NOW).trusted
    assert view.evaluate(Author("y").id, "fetch", NOW).reason is Reason.NEVER


def test_recovery_voids_the_vouches_of_the_thief(circle: Circle) -> None:
    thief = circle.bob.twin()
    rotation, bad = thief.rotate(), thief.vouch(Author("mallory"))
    view = circle.view()
    view.offer(rows([rotation, bad], received=START))
    mallory = Author("mallory").id
    assert view.evaluate(mallory, "fetch", NOW).trusted
    undo = circle.bob.recover(rotation)
    view.offer(rows([undo], received=START + RECOVERY_WINDOW))
    verdict = view.evaluate(mallory, "fetch", NOW)
    assert verdict.reason is Reason.VOID and type(verdict.error()) is RevokedError
    assert view.evaluate(circle.dan.id, "fetch", NOW).trusted
    assert list(view.keys_of(circle.bob.id)) == [Author("bob").key.public, circle.bob.key.public]


def test_a_rotation_that_brings_a_revocation_along_ends_the_vouch(circle: Circle) -> None:
    """The chain is taken back to before the thief's statement and at once goes on with a revocation."""
    thief = circle.carol.twin()
    thief.vouch(Author("mallory"))
    view = circle.view()
    view.offer(rows(thief))
    assert view.evaluate(circle.bob.id, "fetch", NOW).trusted
    circle.carol.revoke(circle.bob)
    circle.carol.rotate()
    view.offer(rows(circle.carol))
    assert view.evaluate(circle.bob.id, "fetch", NOW).reason is Reason.REVOKED
    assert circle.v_bob.id not in view.graph.edges


def test_advice_that_a_thief_gave_is_void_with_the_theft(circle: Circle) -> None:
    watch = Author("watch")
    thief = watch.twin()
    thief.distrust(circle.bob)
    view = circle.view(heed=(watch.id,))
    view.offer(rows(thief))
    assert not view.evaluate(circle.bob.id, "fetch", NOW).trusted
    view.offer(rows([watch.rotate()]))
    assert view.evaluate(circle.bob.id, "fetch", NOW).trusted


def test_cuts_are_judged_by_log_position(circle: Circle) -> None:
    circle.carol.revoke(circle.bob)
    circle.carol.vouch(circle.bob, cut=(("log.example/a", 10),))
    late = circle.bob.vouch(Author("eve"))
    view = circle.view()
    assert view.evaluate(circle.bob.id, "fetch", NOW).trusted
    verdict = view.evaluate(circle.dan.id, "fetch", NOW)
    assert verdict.reason is Reason.CUT, "in no log as far as is known"
    assert "bob's vouch for dan came after" in verdict.sentence(circle.name)
    view.place([(circle.v_dan.id, "log.example/a", 10), (late.id, "log.example/a", 11)])
    assert view.evaluate(circle.dan.id, "fetch", NOW).trusted
    assert view.evaluate(Author("eve").id, "fetch", NOW).reason is Reason.CUT
    view.place([(circle.v_dan.id, "log.example/a", 12)])
    assert view.evaluate(circle.dan.id, "fetch", NOW).trusted, "its first place stays"


def test_places_told_before_the_statement_count(circle: Circle) -> None:
    circle.carol.revoke(circle.bob)
    circle.carol.vouch(circle.bob, cut=(("log.example/a", 10),))
    view = TrustView(circle.alice.id)
    view.place([(circle.v_dan.id, "log.example/a", 3)])
    view.offer(rows(circle.bob, circle.carol, circle.alice))
    assert view.evaluate(circle.dan.id, "fetch", NOW).trusted


def test_survival_names_who_all_hangs_on(circle: Circle) -> None:
    view = circle.view()
    verdict = view.evaluate(circle.bob.id, "fetch", NOW, survive=1)
    assert (verdict.reason, verdict.witness) == (Reason.THIN, {circle.carol.id})
    assert "would be lost with carol" in verdict.sentence(circle.name)
    assert type(verdict.error()) is NotTrustedError
    eve = Author("eve")
    eve.vouch(circle.bob)
    view.offer(rows([circle.alice.vouch(eve)], eve))
    assert view.evaluate(circle.bob.id, "fetch", NOW, survive=1).trusted


def test_the_depth_of_the_root_ends_the_chain(circle: Circle) -> None:
    view = circle.view(depth=2)
    assert view.evaluate(circle.bob.id, "fetch", NOW).budget == 0
    verdict = view.evaluate(circle.dan.id, "fetch", NOW)
    assert verdict.reason is Reason.FAR and type(verdict.error()) is NotTrustedError
    assert "further away" in verdict.sentence(circle.name)


def test_who_is_known_to_have_said_more_is_named(circle: Circle) -> None:
    view = circle.view()
    view.heard(circle.carol.id, Head(1, circle.v_bob.id))
    assert view.evaluate(circle.bob.id, "fetch", NOW).behind == ()
    view.heard(circle.carol.id, Head(2, "0" * 64))
    assert view.evaluate(circle.bob.id, "fetch", NOW).behind == (circle.carol.id,)
    view.offer(rows([circle.carol.vouch(Author("x"))]))
    assert view.evaluate(circle.bob.id, "fetch", NOW).behind == ()


def test_people_are_all_who_are_trusted_with_their_scopes(circle: Circle) -> None:
    circle.alice.vouch(circle.dan, scope=("store", "witness"), depth=0)
    people = list(circle.view().people(NOW))
    found = {v.agent: set(p) for p in people for v in p.values()}
    assert found == {
        circle.bob.id: {"fetch"},
        circle.carol.id: {"fetch"},
        circle.dan.id: {"fetch", "store", "witness"},
    }
    assert [next(iter(p.values())).agent for p in people] == sorted(found)


def test_keys_follow_a_rotation_also_of_strangers(circle: Circle) -> None:
    eve = Author("eve")
    old = eve.key.public
    view = circle.view()
    assert view.authenticate(eve.id, NOW) is None and view.keys_of(eve.id) == ()
    view.offer(rows(eve))
    standing = view.authenticate(eve.id, NOW)
    assert standing is not None and standing.key == old and standing.head == Head(0, eve.id)
    eve.rotate()
    view.offer(rows(eve))
    standing = view.key_state(eve.id)
    assert standing is not None and standing.key == eve.key.public != old and standing.head.seq == 1
    assert view.keys_of(eve.id) == (old, eve.key.public)


def test_only_frontier_chains_are_verified(circle: Circle) -> None:
    mallory = [Author(f"m{number}") for number in range(20)]
    for one, other in zip(mallory, mallory[1:] + mallory[:1], strict=True):
        one.vouch(other)
    view = circle.view()
    view.evaluate(circle.bob.id, "fetch", NOW)
    before = view.verifications
    view.offer(rows(*mallory))
    assert view.evaluate(circle.dan.id, "fetch", NOW).trusted
    assert not view.evaluate(mallory[0].id, "fetch", NOW).trusted
    assert view.verifications - before <= len(circle.dan.said)
    view.offer(rows([circle.dan.vouch(mallory[0])]))
    assert view.evaluate(mallory[1].id, "fetch", NOW).trusted, (
        "what was left unread is read when its turn comes"
    )


def test_offering_in_any_order_or_again_changes_nothing(circle: Circle) -> None:
    everything = rows(circle.alice, circle.carol, circle.bob, circle.dan)
    view = TrustView(circle.alice.id)
    for row in [*reversed(everything), *everything]:
        view.offer([row])
        view.evaluate(circle.dan.id, "fetch", NOW)
    verdict, other = (v.evaluate(circle.dan.id, "fetch", NOW) for v in (view, circle.view()))
    assert verdict.trusted and verdict.agents() == other.agents() and verdict.budget == other.budget
    assert view.verifications == len(everything)
    assert view.position == len(everything)


def test_rows_that_are_not_what_they_say_are_refused_with_a_reason(circle: Circle) -> None:
    view = circle.view()
    wrong = Row(circle.carol.id, circle.dan.said[0].envelope_bytes, 0.0, 50)
    view.offer([Row(circle.carol.id, b"{}", 0.0, 40), wrong])
    assert view.evaluate(circle.bob.id, "fetch", NOW).trusted
    assert set(view.refused) == {40, 50} and "another issuer" in view.refused[50]


def crowded(circle: Circle, eve: Author) -> tuple[TrustView, list[str]]:
    """A view that was offered more in eve's name than it keeps of a stranger, and whom it went to the store for."""
    junk = [Row(eve.id, b"junk", 0.0, n) for n in range(MAX_UNREAD)]
    asked: list[str] = []

    def rest(issuer: str) -> list[Row]:
        asked.append(issuer)
        return [*junk, *rows(eve)]

    view = circle.view(rest=rest)
    view.offer([*junk, *rows(eve)])
    return view, asked


def test_what_was_left_in_the_store_is_read_once_it_counts(circle: Circle) -> None:
    eve, fay = Author("eve"), Author("fay")
    eve.vouch(fay)
    view, asked = crowded(circle, eve)
    view.authenticate(eve.id, NOW)
    assert not view.evaluate(fay.id, "fetch", NOW).trusted
    assert asked == [], "strangers get no more room, also when they are asked for by name"
    view.offer(rows([circle.dan.vouch(eve)]))
    assert view.evaluate(fay.id, "fetch", NOW).trusted
    assert asked == [eve.id]


def test_forgeries_in_the_name_of_a_friend_whose_vouches_do_not_count_hide_nothing(circle: Circle) -> None:
    eve = Author("eve")
    eve.retire()
    view, asked = crowded(circle, eve)
    view.offer(rows([circle.alice.vouch(eve, depth=0)]))
    assert view.evaluate(eve.id, "fetch", NOW).reason is Reason.RETIRED
    assert asked == [eve.id]


def test_known_signatures_are_not_verified_again(circle: Circle) -> None:
    known: set[str] = set()
    circle.view(known=known).evaluate(circle.dan.id, "fetch", NOW)
    again = circle.view(known=known)
    assert again.evaluate(circle.dan.id, "fetch", NOW).trusted and again.verifications == 0


def test_credit_and_underwriting(circle: Circle) -> None:
    view = circle.view()
    assert not view.underwritten(circle.dan.id, "fetch", NOW)
    assert view.credit(circle.dan.id, "fetch", {}, NOW) is None
    view.offer(rows([circle.alice.revoke(circle.carol), circle.alice.vouch(circle.carol, limit=100)]))
    assert view.underwritten(circle.dan.id, "fetch", NOW)
    assert view.credit(circle.dan.id, "fetch", {circle.bob.id: 30}, NOW) == 70
    assert view.credit(Author("eve").id, "fetch", {}, NOW) == 0
    assert not view.underwritten(circle.alice.id, "fetch", NOW)


# ---- proofs ----------------------------------------------------------------------------------
def test_an_exported_chain_can_be_checked_by_anyone(circle: Circle) -> None:
    circle.bob.rotate()
    circle.bob.vouch(Author("eve"))
    circle.dan.rotate()
    circle.dan.vouch(Author("later"))
    view = circle.view()
    proof = view.export(circle.dan.id, "fetch", NOW)
    verdict = check_proof(proof, circle.alice.id, circle.dan.id, "fetch", NOW)
    assert verdict.sentence(circle.name) == "alice → carol → bob → dan"
    assert check_proof(proof[::-1], circle.alice.id, circle.dan.id, "fetch", NOW).trusted
    for missing in range(len(proof) - 2):  # the last two are dan's own
        rest = proof[:missing] + proof[missing + 1 :]
        assert not check_proof(rest, circle.alice.id, circle.dan.id, "fetch", NOW).trusted
    assert len(proof) == 2 + 2 + 2 + 2, "no more than each issuer's statements up to its vouch, and dan's key"
    assert not check_proof(proof, circle.carol.id, circle.alice.id, "fetch", NOW).trusted
    assert not check_proof(proof, circle.alice.id, circle.dan.id, "fetch", START + 31 * DAY).trusted
    assert view.export(Author("eve2").id, "fetch", NOW) == []


def test_a_proof_over_a_recovered_chain_holds(circle: Circle) -> None:
    thief = circle.bob.twin()
    rotation = thief.rotate()
    circle.bob.recover(rotation)
    eve = Author("eve")
    circle.bob.vouch(eve)
    view = circle.view()
    view.offer(rows([rotation]))
    proof = view.export(eve.id, "fetch", NOW)
    assert check_proof(proof, circle.alice.id, eve.id, "fetch", NOW).trusted


def test_a_forged_proof_does_not_hold(circle: Circle) -> None:
    view = circle.view()
    proof = view.export(circle.bob.id, "fetch", NOW)
    forged = [
        forge(circle.v_bob).envelope_bytes if one == circle.v_bob.envelope_bytes else one for one in proof
    ]
    assert forged != proof
    assert not check_proof(forged, circle.alice.id, circle.bob.id, "fetch", NOW).trusted
    assert check_proof([*forged, *proof], circle.alice.id, circle.bob.id, "fetch", NOW).trusted


def test_a_proof_is_bounded_and_made_of_statements(circle: Circle) -> None:
    with pytest.raises(TooLargeError):
        check_proof([b""] * (MAX_PROOF + 1), circle.alice.id, circle.bob.id, "fetch", NOW)
    with pytest.raises(InputError):
        check_proof([b"no"], circle.alice.id, circle.bob.id, "fetch", NOW)
    where = "https://x.example/a/" + circle.dan.id
    announce = sign(Announce(circle.dan.id, 0, 1, where, Head(0, circle.dan.id), (), 2), circle.dan.key)  # type: ignore[arg-type]
    with pytest.raises(StatementError):
        check_proof([announce.envelope_bytes], circle.alice.id, circle.bob.id, "fetch", NOW)


def test_a_rotated_root_is_still_the_root(circle: Circle) -> None:
    rotation = circle.alice.rotate()
    circle.alice.vouch(Author("eve"))
    view = circle.view()
    assert view.evaluate(Author("eve").id, "fetch", NOW).trusted
    assert isinstance(rotation.statement, Rotate)
