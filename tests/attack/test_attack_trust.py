"""The attacks of shared/spec/threats.md that are made with statements alone, one test per line, named after
it.

Everything here is really signed and goes through the view that an agent uses. Attacks on requests, logs and
repositories are tested where those are.
"""

from __future__ import annotations

import time
from typing import Any

from skyswarm.errors import RevokedError
from skyswarm.messages.dsse import Envelope, seal
from skyswarm.messages.keys import did_key
from skyswarm.messages.statements import Head, Signed, Vouch, parse_signed, payload_type
from skyswarm.trust.branch import RECOVERY_WINDOW
from skyswarm.trust.chain import MAX_PENDING
from skyswarm.trust.credit import credit
from skyswarm.trust.graph import Edge, Graph
from skyswarm.trust.proof import check_proof
from skyswarm.trust.survive import survives
from skyswarm.trust.verdict import Reason
from skyswarm.trust.view import SKEW, TrustView
from tests.support.trust_authors import DAY, START, Author, Row, forge, rows, sign, signer

NOW = START + DAY
FETCH = frozenset({"fetch"})


def trio() -> tuple[Author, Author, Author]:
    """alice trusts carol, carol vouches for bob."""
    alice, carol, bob = Author("alice"), Author("carol"), Author("bob")
    alice.vouch(carol)
    carol.vouch(bob)
    return alice, carol, bob


def view_of(root: Author, *others: Author, **how: Any) -> TrustView:
    view = TrustView(root.id, **how)
    view.offer(rows(root, *others))
    return view


def test_forged_vouch() -> None:
    """A vouch in carol's name by another key, under every pretence, lets nobody in and blocks nothing of
    carol's.
    """
    alice, carol, bob = trio()
    mallory = Author("mallory")
    view = view_of(alice, bob, carol)
    assert view.evaluate(bob.id, "fetch", NOW).trusted
    wanted = carol.twin().vouch(mallory)
    attempts = [
        forge(wanted),  # carol's keyid, mallory's signature
        sign(wanted.statement, mallory.key),  # type: ignore[arg-type]  # mallory's keyid and signature
        sign(wanted.statement, carol.next),  # type: ignore[arg-type]  # the committed key does not vouch
    ]
    for attempt in attempts:
        view.offer(rows([attempt]))
        assert not view.evaluate(mallory.id, "fetch", NOW).trusted
    true = carol.vouch(Author("dan"))
    view.offer(rows([forge(true), true]))
    assert view.evaluate(Author("dan").id, "fetch", NOW).trusted
    chain = view.chain(carol.id)
    assert chain is not None and chain.equivocation is None


def test_withheld_revocation() -> None:
    """Not guaranteed: a revocation that never arrives has no effect. Guaranteed: it ends with the vouch (≤ 90
    days), whoever names a newer head uncovers it, nothing later of that issuer counts without it, and it
    works on arrival.
    """
    alice, carol, bob = trio()
    revocation = carol.revoke(bob)
    later = carol.vouch(Author("dan"))
    view = view_of(alice, bob)
    view.offer(rows(carol.said[:2]))
    assert view.evaluate(bob.id, "fetch", NOW).trusted, "what is not here cannot count"
    assert not view.evaluate(bob.id, "fetch", START + 90 * DAY).trusted
    view.heard(carol.id, Head(3, later.id))
    assert view.evaluate(bob.id, "fetch", NOW).behind == (carol.id,), "who needs certainty fails closed"
    view.offer(rows([later]))
    assert not view.evaluate(Author("dan").id, "fetch", NOW).trusted, (
        "later statements wait for what is withheld"
    )
    chain = view.chain(carol.id)
    assert chain is not None and chain.gap() is not None and "from number 3" in str(chain.gap())
    view.offer(rows([revocation]))
    assert view.evaluate(bob.id, "fetch", NOW).reason is Reason.REVOKED
    assert view.evaluate(Author("dan").id, "fetch", NOW).trusted
    assert view.evaluate(Author("dan").id, "fetch", NOW).behind == ()


def test_sybil_flood_verify_count_stays_flat() -> None:
    """Strangers who vouch for each other, for the victim and for its friends cost list places and no
    verification.
    """
    counts = []
    for flood in (0, 100, 400):
        alice, carol, bob = trio()
        view = view_of(alice, carol, bob)
        sybils = [Author(f"sybil{number}", recovery=0) for number in range(20)]
        said = [signed for one in sybils for signed in one.said]
        for number in range(flood):
            one = sybils[number % 20]
            said.append(one.vouch(sybils[(number * 7 + 1) % 20] if number % 3 else bob))
        view.offer(rows(said))
        assert view.evaluate(bob.id, "fetch", NOW).trusted
        assert not view.evaluate(sybils[3].id, "fetch", NOW).trusted
        counts.append(view.verifications)
    assert counts[0] == counts[1] == counts[2] == 2 + 2 + 1


def test_sybil_flood_gains_no_credit() -> None:
    """A region of sybils behind one fooled voucher gets what that voucher underwrites, however many they are."""
    graph = Graph({"root": 7})
    inside = [f"s{number}" for number in range(50)]
    edges = [Edge("in", "root", "fooled", FETCH, 7, None), Edge("x", "fooled", "s0", FETCH, 7, 1000)]
    edges += [
        Edge(f"{a}>{b}", a, b, FETCH, 7, None) for a in inside for b in (inside[0], inside[-1]) if a != b
    ]
    edges += [Edge(f"s0>{b}", "s0", b, FETCH, 7, None) for b in inside[1:]]
    graph.update(add=edges)
    handed: dict[str, int] = {}
    for agent in inside:
        handed[agent] = min(30, credit(graph, agent, "fetch", handed))
    assert sum(handed.values()) == 1000
    assert all(credit(graph, agent, "fetch", handed) == 0 for agent in inside)


def test_stolen_key_soft() -> None:
    """The signing key is stolen: the owner rotates to the committed key at the last number that was its own."""
    alice, carol, bob = trio()
    thief = carol.twin()
    thief.revoke(bob)
    thief.vouch(Author("mallory"))
    view = view_of(alice, bob, thief)
    assert view.evaluate(Author("mallory").id, "fetch", NOW).trusted
    assert not view.evaluate(bob.id, "fetch", NOW).trusted
    view.offer(rows([carol.rotate()]))
    assert view.evaluate(Author("mallory").id, "fetch", NOW).reason is Reason.VOID
    assert view.evaluate(bob.id, "fetch", NOW).trusted
    thief.vouch(Author("mallory2"))
    old = carol.twin(upto=0)
    old.keys = 0
    old.vouch(Author("mallory3"))
    view.offer(rows(thief, old))
    for name in ("mallory2", "mallory3"):
        assert not view.evaluate(Author(name).id, "fetch", NOW).trusted, (
            "the stolen key is worth nothing any more"
        )
    assert view.evaluate(bob.id, "fetch", NOW).trusted, "nor can it void the agent from behind"
    standing = view.authenticate(carol.id, NOW)
    assert standing is not None and standing.key == carol.key.public


def test_stolen_key_hard() -> None:
    """The signing and the committed key are stolen: a recovery key undoes the thief's rotation within seven
    days.
    """
    for late, mended in ((RECOVERY_WINDOW, True), (RECOVERY_WINDOW + 1, False)):
        alice, carol, bob = trio()
        thief = carol.twin()
        rotation = thief.rotate()
        thief.revoke(bob)
        thief.vouch(Author("mallory"))
        view = view_of(alice, bob, thief)
        assert view.evaluate(Author("mallory").id, "fetch", NOW).trusted
        view.offer(rows([carol.recover(rotation)], received=float(late)))
        assert view.evaluate(Author("mallory").id, "fetch", NOW).trusted == (not mended)
        assert view.evaluate(bob.id, "fetch", NOW).trusted == mended
    fake = carol.twin()
    fake.recovery = [thief.key]
    assert not view_of(alice, bob, carol, fake).evaluate(Author("mallory").id, "fetch", NOW).trusted


def test_backdated_statement() -> None:
    """A thief dates its vouch to before the theft. The clock in a statement is the signer's; the place in a
    log is not.
    """
    alice, carol, bob = trio()
    honest = carol.vouch(Author("dan"))
    backdated = carol.vouch(Author("mallory"), nbf=START - 10 * DAY, exp=START + 30 * DAY)
    alice.revoke(carol)
    alice.vouch(carol, cut=(("log.example/main", 100),))
    view = view_of(alice, bob, carol)
    view.place([(carol.said[1].id, "log.example/main", 40), (honest.id, "log.example/main", 100)])
    view.place([(backdated.id, "log.example/main", 101)])
    assert view.evaluate(bob.id, "fetch", NOW).trusted
    assert view.evaluate(Author("dan").id, "fetch", NOW).trusted
    assert view.evaluate(Author("mallory").id, "fetch", NOW).reason is Reason.CUT
    view.place([(backdated.id, "log.example/other", 1)])
    assert not view.evaluate(Author("mallory").id, "fetch", NOW).trusted, (
        "a friendly log elsewhere does not help"
    )


def test_clock_skew_of_two_minutes() -> None:
    """A voucher whose clock is two minutes ahead is believed at once; one that is further ahead is not."""
    alice, carol, bob = trio()
    ahead = Author("ahead")
    alice.vouch(ahead, nbf=NOW + SKEW, exp=NOW + DAY)
    view = view_of(alice, carol, bob)
    assert view.evaluate(ahead.id, "fetch", NOW).trusted
    assert view.evaluate(ahead.id, "fetch", NOW - 1).reason is Reason.EARLY


def test_cyclic_vouches() -> None:
    """A ring holds itself up by nothing: cut from the root it falls, however often its members vouch for each
    other.
    """
    alice, carol, bob = trio()
    bob.vouch(carol)
    dan = Author("dan")
    bob.vouch(dan)
    dan.vouch(bob)
    dan.vouch(alice)
    view = view_of(alice, carol, bob, dan)
    assert view.evaluate(dan.id, "fetch", NOW).trusted
    view.offer(rows([alice.revoke(carol)]))
    for one in (carol, bob, dan):
        assert not view.evaluate(one.id, "fetch", NOW).trusted
    assert view.evaluate(alice.id, "fetch", NOW).trusted


def test_mutual_distrust() -> None:
    """Two who distrust each other end their own vouches and nobody else's; who heeds both loses both, in any
    order.
    """
    alice, carol, bob = trio()
    dan = Author("dan")
    alice.vouch(dan)
    dan.vouch(carol)
    carol.vouch(dan)
    dan.vouch(bob)
    carol.vouch(alice)
    carol.distrust(dan, reason="spam")
    dan.distrust(carol, reason="spam too")
    view = view_of(alice, carol, dan, bob)
    for one in (carol, dan, bob):
        assert view.evaluate(one.id, "fetch", NOW).trusted
    assert survives(view.graph, bob.id, "fetch", 1).holds
    assert not view_of(carol, alice, dan, bob).evaluate(dan.id, "fetch", NOW).trusted, (
        "one's own distrust binds"
    )
    for order in ((carol, dan), (dan, carol)):
        heeding = TrustView(bob.id, heed=[one.id for one in order])
        bob = bob.twin(upto=0)
        bob.vouch(alice)
        heeding.offer(rows(bob, *order, alice))
        assert heeding.evaluate(alice.id, "fetch", NOW).trusted
        assert not heeding.evaluate(carol.id, "fetch", NOW).trusted
        assert not heeding.evaluate(dan.id, "fetch", NOW).trusted


def test_huge_graph() -> None:
    """30,000 vouches, and an enemy who makes one agent the knot of 3,000: no update takes long, none is
    quadratic.
    """
    graph = Graph({0: 7})
    size = 6000
    edges = [
        Edge(str(number), (number * 7919) % size, (number * 104729 + 13) % size, FETCH, 7, None)
        for number in range(30_000)
    ]
    edges += [Edge(f"in{n}", 1, size + n, FETCH, 7, None) for n in range(3000)]
    edges += [Edge(f"up{n}", size + n, "knot", FETCH, 7, None) for n in range(3000)]
    edges.append(Edge("gate", 0, 1, FETCH, 7, None))
    started = time.process_time()
    graph.update(add=edges)
    before = graph.budgets("fetch")
    assert len(before) > 3000 and "knot" in before
    slowest = 0.0
    for agent in (1, 2, 3, 4):
        mark = time.process_time()
        removed = [e for e in graph.edges.values() if agent in (e.issuer, e.subject)]
        graph.remove_agent(agent)
        graph.update(add=removed)
        slowest = max(slowest, time.process_time() - mark)
    assert graph.budgets("fetch") == before
    assert slowest < 1.0 and time.process_time() - started < 10, (
        "seconds of CPU; 0.03 and 0.3 when measured alone"
    )


def test_huge_chain_of_statements_stays_linear() -> None:
    """An issuer with thousands of statements is read once, in whatever pieces it comes."""
    alice, carol, _ = trio()
    for number in range(400):
        carol.vouch(f"{number:064x}")
    view = view_of(alice)
    for row in rows(carol):
        view.offer([row])
        view.evaluate(carol.id, "fetch", NOW)
    assert view.evaluate(f"{399:064x}", "fetch", NOW).trusted
    assert view.verifications == len(alice.said) + len(carol.said)


def test_sequence_fast_forward() -> None:
    """Statements far ahead, signed or not, wait in bounded room, are never verified, and displace nothing
    true.
    """
    alice, carol, bob = trio()
    store: list[Row] = []
    asked: list[str] = []

    def rest(issuer: str) -> list[Row]:
        asked.append(issuer)
        return store

    view = view_of(alice, rest=rest)
    view.offer(rows(carol.said[:1]))
    assert view.evaluate(carol.id, "fetch", NOW).trusted
    before = view.verifications
    jumper = carol.twin()
    jumper.said = [*jumper.said, *[jumper.said[-1]] * 100_000]
    flood = [jumper.vouch(Author("mallory")) for _ in range(MAX_PENDING + 20)]
    store += rows([*flood[:-5], *(forge(one) for one in flood[-5:])])
    view.offer(store)
    assert not view.evaluate(Author("mallory").id, "fetch", NOW).trusted
    chain = view.chain(carol.id)
    assert chain is not None and chain.pending == MAX_PENDING and view.verifications == before
    asked.clear()
    view.offer(rows(flood, carol))
    assert view.evaluate(bob.id, "fetch", NOW).trusted
    assert asked == [carol.id], "what was dropped is asked for again"
    for _ in range(2):
        view.offer(rows(flood, carol))
        assert view.evaluate(bob.id, "fetch", NOW).trusted
    assert asked == [carol.id], "and not for ever"
    standing = view.authenticate(carol.id, NOW)
    assert standing is not None and standing.head.seq == 1


def test_equivocation() -> None:
    """carol shows dan one statement and eve another with the same number: the pair voids both, and proves it
    to anyone.
    """
    alice, carol, bob = trio()
    other = carol.twin(upto=1)
    one, two = carol.vouch(Author("dan")), other.vouch(Author("eve"))
    for first, second in ((one, two), (two, one)):
        view = view_of(alice, bob)
        view.offer(rows([*carol.said[:2], first]))
        assert view.evaluate(bob.id, "fetch", NOW).trusted
        view.offer(rows([second]))
        for agent in (bob, Author("dan"), Author("eve"), carol):
            verdict = view.evaluate(agent.id, "fetch", NOW)
            assert verdict.reason in (Reason.EQUIVOCATED, Reason.NEVER) and not verdict.trusted
        chain = view.chain(carol.id)
        assert chain is not None and chain.equivocation is not None
        proof = [parse_signed(chain.equivocation.first), parse_signed(chain.equivocation.second)]
        assert {said.id for said in proof} == {one.id, two.id}
        for said in proof:
            said.envelope.verify(carol.key.public)
        assert (
            check_proof(
                [
                    *(s.envelope_bytes for s in (*alice.said, *carol.said[:2])),
                    chain.equivocation.first,
                    chain.equivocation.second,
                ],
                alice.id,
                bob.id,
                "fetch",
                NOW,
            ).reason
            is Reason.EQUIVOCATED
        )


def test_equivocation_cannot_be_framed() -> None:
    """Nobody else can make carol look as if she had signed twice."""
    alice, carol, bob = trio()
    view = view_of(alice, carol, bob)
    twin = carol.twin(upto=0).vouch(Author("mallory"))
    for attempt in (forge(twin), sign(twin.statement, Author("mallory").key)):  # type: ignore[arg-type]
        view.offer(rows([attempt]))
        assert view.evaluate(bob.id, "fetch", NOW).trusted


def test_confused_deputy_statement() -> None:
    """What carol signed for one purpose is not accepted for another: kind, subject, issuer and domain are all
    signed.
    """
    alice, carol, bob = trio()
    mallory = Author("mallory")
    view = view_of(alice, carol, bob)
    vouch = carol.said[1]
    signature = vouch.envelope.signatures
    relabelled = Envelope(payload_type("revoke"), vouch.envelope.payload, signature)
    swapped_payload = carol.twin(upto=0).vouch(mallory).envelope.payload
    swapped = Envelope(vouch.envelope.payload_type, swapped_payload, signature)
    bare = Envelope(
        vouch.envelope.payload_type,
        swapped_payload,
        ((did_key(carol.key.public), carol.key.sign(swapped_payload)),),  # signed, but not as a statement
    )
    position = 100
    for envelope in (relabelled, swapped, bare):
        position += 1
        view.offer([Row(carol.id, envelope.dump(), 0.0, position)])
        assert view.evaluate(bob.id, "fetch", NOW).trusted
        assert not view.evaluate(mallory.id, "fetch", NOW).trusted
    # Carol's vouch in mallory's own chain, and mallory's words filed under carol.
    stolen = mallory.twin()
    taken = Vouch(mallory.id, 1, mallory.id, bob.id, ("fetch",), 7, None, START, START + DAY)
    stolen.said.append(sign(taken, carol.key))
    view.offer(rows(stolen))
    assert view.authenticate(mallory.id, NOW) is not None
    standing = view.authenticate(mallory.id, NOW)
    assert standing is not None and standing.head.seq == 0, "carol's key does not speak for mallory"
    filed = mallory.vouch(Author("x"))
    view.offer([Row(carol.id, filed.envelope_bytes, 0.0, position + 1)])
    assert not view.evaluate(Author("x").id, "fetch", NOW).trusted
    assert "another issuer" in view.refused[position + 1]


def test_replayed_statement() -> None:
    """A revoked vouch that is delivered again stays revoked; nothing is verified or applied twice."""
    alice, carol, bob = trio()
    vouch = carol.said[1]
    carol.revoke(bob)
    view = view_of(alice, carol, bob)
    assert isinstance(view.evaluate(bob.id, "fetch", NOW).error(), RevokedError)
    before = view.verifications
    for _ in range(3):
        view.offer(rows([vouch], received=float(NOW)))
        assert not view.evaluate(bob.id, "fetch", NOW).trusted
    assert view.verifications == before


def test_stolen_key_of_the_root() -> None:
    """Even the root's own signing key, stolen, is mended by its rotation; what the thief vouched for is gone."""
    alice, carol, bob = trio()
    thief = alice.twin()
    thief.vouch(Author("mallory"))
    view = view_of(thief, carol, bob)
    assert view.evaluate(Author("mallory").id, "fetch", NOW).trusted
    view.offer(rows([alice.rotate()]))
    assert not view.evaluate(Author("mallory").id, "fetch", NOW).trusted
    assert view.evaluate(bob.id, "fetch", NOW).trusted


def test_extra_signatures_change_nothing() -> None:
    """A junk signature beside the true one neither helps a forgery nor spoils the original."""
    alice, carol, bob = trio()
    junk = signer("junk")
    rotation = carol.rotate()
    both = seal(rotation.envelope.payload_type, rotation.envelope.payload, signer("carol", "key", 1), junk)
    view = view_of(alice, bob)
    padded: Signed = parse_signed(both.dump())
    view.offer(rows([*carol.said[:2], padded]))
    standing = view.authenticate(carol.id, NOW)
    assert standing is not None and standing.key == carol.key.public
    assert view.evaluate(bob.id, "fetch", NOW).trusted
