"""A small world of agents, thieves and a bad post: whatever happens, the view says what spec/trust.md says.

Hypothesis drives real signed statements: vouch, revoke, distrust, rotate, retire, steal a key (soft and
hard), answer by rotation or recovery, withhold, reorder, duplicate, forge, and time going on. After every
delivery the incremental view is compared with an oracle that computes everything anew from the set of what
has arrived.
"""

from __future__ import annotations

import functools
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from skyswarm.messages.statements import Retire, Rotate, Signed
from skyswarm.trust.view import SKEW, TrustView
from tests.support.trust_authors import DAY, START, Author, Row, forge
from tests.support.trust_oracle import Heard, trusted

NAMES = ("alice", "bob", "carol", "dan", "eve")
DEPTH = 4
WHO = st.integers(0, len(NAMES) - 1)
SCOPES = st.sampled_from((("fetch",), ("fetch",), ("store",), ("fetch", "store")))


@functools.cache
def born(name: str) -> Author:
    return Author(name)


class World(RuleBasedStateMachine):
    """`post`: statements said and not yet delivered."""

    @initialize(order=st.permutations(range(len(NAMES))))
    def begin(self, order: list[int]) -> None:
        self.agents = [born(name).twin() for name in NAMES]
        self.thieves: list[tuple[int, Author, bool]] = []
        self.root, self.heed = self.agents[0].id, (self.agents[4].id,)
        self.known: set[str] = set()
        self.view = TrustView(self.root, DEPTH, heed=self.heed, known=self.known)
        self.now = START
        self.heard: dict[str, Heard] = {}
        self.rows: list[Row] = []
        self.post = [self.agents[i].said[0] for i in order]
        self.generation = 100
        self.checked = True
        for one, other in zip(self.agents, self.agents[1:], strict=False):
            self.post.append(one.vouch(other))

    # ---- what agents say ---------------------------------------------------------------------
    def open(self, voice: Author) -> bool:
        return not isinstance(voice.said[-1].statement, Retire) and len(voice.said) < 14

    @rule(who=WHO, sub=WHO, depth=st.integers(0, 4), scope=SCOPES, days=st.integers(1, 30))
    def vouch(self, who: int, sub: int, depth: int, scope: tuple[str, ...], days: int) -> None:
        if who != sub and self.open(self.agents[who]):
            start = self.now - self.now % 3600
            self.post.append(
                self.agents[who].vouch(
                    self.agents[sub], depth=depth, scope=scope, nbf=start, exp=start + days * DAY
                )
            )

    @rule(who=WHO, sub=WHO)
    def revoke(self, who: int, sub: int) -> None:
        if self.open(self.agents[who]):
            self.post.append(self.agents[who].revoke(self.agents[sub]))

    @rule(who=WHO, number=st.integers(0, 20))
    def revoke_one(self, who: int, number: int) -> None:
        vouches = [said for said in self.agents[who].said if said.statement.kind == "vouch"]
        if vouches and self.open(self.agents[who]):
            self.post.append(self.agents[who].revoke(vouch=vouches[number % len(vouches)]))

    @rule(who=WHO, sub=WHO, scope=SCOPES)
    def distrust(self, who: int, sub: int, scope: tuple[str, ...]) -> None:
        if who != sub and self.open(self.agents[who]):
            self.post.append(self.agents[who].distrust(self.agents[sub], scope))

    @rule(who=WHO, planned=st.booleans())
    def rotate(self, who: int, planned: bool) -> None:
        if self.open(self.agents[who]):
            self.post.append(self.agents[who].rotate(planned=planned))

    @rule(who=WHO)
    def retire(self, who: int) -> None:
        if self.open(self.agents[who]) and self.generation % 3 == 0:
            self.post.append(self.agents[who].retire())
        self.generation += 1

    # ---- thieves -----------------------------------------------------------------------------
    @rule(who=st.integers(1, 4), hard=st.booleans(), back=st.integers(0, 3))
    def steal_key(self, who: int, hard: bool, back: int) -> None:
        """Soft: the signing key; hard: the committed one too. The thief may go back to before things were
        said.
        """
        owner = self.agents[who]
        last = max(
            (n for n, s in enumerate(owner.said) if s.statement.kind in ("rotate", "inception")), default=0
        )
        if self.open(owner) and len(self.thieves) < 4:
            self.thieves.append((who, owner.twin(max(last, len(owner.said) - 1 - back)), hard))

    @precondition(lambda self: self.thieves)
    @rule(
        number=st.integers(0, 3),
        sub=WHO,
        act=st.sampled_from(("vouch", "revoke", "distrust", "rotate", "retire")),
    )
    def thief_acts(self, number: int, sub: int, act: str) -> None:
        who, thief, hard = self.thieves[number % len(self.thieves)]
        if not self.open(thief) or sub == who:
            return
        if act == "vouch":
            self.post.append(thief.vouch(self.agents[sub]))
        elif act == "revoke":
            self.post.append(thief.revoke(self.agents[sub]))
        elif act == "distrust":
            self.post.append(thief.distrust(self.agents[sub]))
        elif hard:
            self.post.append(thief.rotate() if act == "rotate" else thief.retire())

    @precondition(lambda self: self.thieves)
    @rule(number=st.integers(0, 3))
    def recover(self, number: int) -> None:
        """The owner undoes the newest rotation or retirement of the thief, and goes on from there."""
        who, thief, _ = self.thieves[number % len(self.thieves)]
        for said in reversed(thief.said):
            statement = said.statement
            if isinstance(statement, Rotate | Retire) and not getattr(statement, "undo", None):
                owner = thief.twin()
                self.generation += 10
                self.post.append(owner.recover(said, generation=self.generation))
                self.agents[who] = owner
                return

    # ---- the post ----------------------------------------------------------------------------
    @precondition(lambda self: self.post)
    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        """Some of what was said arrives, in any order; the rest is withheld, perhaps for ever."""
        chosen = data.draw(st.lists(st.integers(0, len(self.post) - 1), min_size=1, max_size=8, unique=True))
        arriving = [self.post[i] for i in chosen]
        self.post = [said for i, said in enumerate(self.post) if i not in chosen]
        self.arrive(arriving)

    @precondition(lambda self: self.post)
    @rule()
    def deliver_all(self) -> None:
        arriving, self.post = self.post, []
        self.arrive(arriving)

    @precondition(lambda self: self.rows)
    @rule(picks=st.lists(st.integers(0, 1000), min_size=1, max_size=5))
    def again(self, picks: list[int]) -> None:
        self.view.offer([self.rows[pick % len(self.rows)] for pick in picks])
        self.checked = False

    @precondition(lambda self: self.post)
    @rule(pick=st.integers(0, 1000))
    def forged_first(self, pick: int) -> None:
        """A copy under a wrong signature arrives before the true one does."""
        said = forge(self.post[pick % len(self.post)])
        self.offer([Row(said.statement.iss, said.envelope_bytes, self.now, len(self.rows))])

    @rule(days=st.sampled_from((0.04, 1, 4, 8, 31)))
    def time_goes_on(self, days: float) -> None:
        self.now += int(days * DAY)
        self.checked = False

    def arrive(self, arriving: list[Signed]) -> None:
        rows = []
        for said in arriving:
            signers = frozenset(_public(keyid) for keyid in said.envelope.keyids)
            self.heard.setdefault(said.id, Heard(said.statement, signers, self.now))  # type: ignore[arg-type]
            rows.append(Row(said.statement.iss, said.envelope_bytes, self.now, len(self.rows) + len(rows)))
        self.offer(rows)

    def offer(self, rows: list[Row]) -> None:
        self.rows += rows
        self.view.offer(rows)
        self.checked = False

    # ---- what must hold ----------------------------------------------------------------------
    @invariant()
    def view_is_what_the_spec_says(self) -> None:
        if self.checked:
            return
        self.checked = True
        fresh = TrustView(self.root, DEPTH, heed=self.heed, known=self.known)
        fresh.offer(reversed(self.rows))
        for scope in ("fetch", "store"):
            expected = trusted(
                self.heard.values(), self.root, DEPTH, scope, self.now, SKEW, (self.root, *self.heed)
            )
            assert self.trusted(self.view, scope) == expected
            assert self.trusted(fresh, scope) == expected

    def trusted(self, view: TrustView, scope: str) -> dict[str, int]:
        out = {}
        for agent in self.agents:
            verdict = view.evaluate(agent.id, scope, self.now)
            assert verdict.sentence()
            if verdict.trusted:
                out[agent.id] = view.graph.budget(agent.id, scope)
        return out


def _public(keyid: str) -> bytes:
    from skyswarm.messages.keys import parse_did_key

    return parse_did_key(keyid)


TestWorld: Any = World.TestCase
TestWorld.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
