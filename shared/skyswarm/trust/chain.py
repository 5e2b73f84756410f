"""One agent's statements as they come, checked as soon as what precedes them is here (spec/trust.md,
"Chains").

Law: in any order, twice, with gaps, forged and contradictory; nothing true is ever lost to something forged,
and nothing is verified twice. Which of the checked statements count is decided in trust/branch.py. No clock:
`received` (Unix seconds, our own receipt) is given.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from skyswarm.errors import SequenceError, SignatureError, StatementError
from skyswarm.messages.statements import Announce, Logged, Signed
from skyswarm.trust.branch import Branches, Equivocation, Node
from skyswarm.trust.keys import Checker, KeyState

MAX_PENDING = 256
"""Statements kept per issuer that cannot be checked yet because earlier ones are missing."""
MAX_REFUSED = 64


class Fate(enum.Enum):
    """What became of a statement."""

    ACCEPTED = "accepted"
    VOID = "void"  # validly signed, but on a branch that lost, or from an equivocation on
    PENDING = "pending"  # what comes before it is not here yet
    REFUSED = "refused"  # signed by nobody who may


@dataclass(slots=True, eq=False)
class _Claim:
    """A statement that cannot be checked yet. `tried`: the statements as whose follower it was looked at."""

    signed: Signed
    statement: Logged
    received: float
    tried: set[str] = field(default_factory=set)


class Chain:
    """The chain of one issuer."""

    def __init__(self, issuer: str, checker: Checker) -> None:
        self.issuer = issuer
        self.overflowed = False
        """Statements were dropped for lack of room: offer the issuer's statements again once its gap is
        filled.
        """
        self.refused: dict[str, str] = {}
        """Why statements were refused, by id; the newest 64."""
        self._checker = checker
        self._branches = Branches(issuer)
        self._claims: dict[str | None, list[_Claim]] = {}  # by the prev they wait for
        self._waiting = 0

    # ---- what is known -----------------------------------------------------------------------
    @property
    def accepted(self) -> Sequence[Node]:
        """The statements that count, from the inception; the index is the seq."""
        return self._branches.path

    @property
    def nodes(self) -> Collection[Node]:
        """Every checked statement that has its place, on whatever branch."""
        return self._branches.nodes.values()

    @property
    def rewrites(self) -> int:
        """Raised whenever `accepted` changed other than by growing."""
        return self._branches.rewrites

    @property
    def equivocation(self) -> Equivocation | None:
        """The proof, while a contradiction stands."""
        return self._branches.equivocation

    @property
    def keys(self) -> KeyState | None:
        """The keys after the last statement that counts; None before the inception is here."""
        return self.accepted[-1].after if self.accepted else None

    @property
    def pending(self) -> int:
        """How many statements wait for earlier ones."""
        return self._waiting

    def gap(self) -> SequenceError | None:
        """What is missing, when statements wait for earlier ones."""
        have = len(self.accepted) - 1
        ahead = [claim.statement.seq for claim in self._all_claims() if claim.statement.seq > have]
        if not ahead:
            return None
        what = f"its chain is here up to number {have}" if self.accepted else "its inception is not here"
        return SequenceError(
            f"statements of {self.issuer[:8]} are missing: {what}, {len(ahead)} from number {min(ahead)} on wait",
            advice="Ask a repository for this issuer's statements, or wait for the next sync.",
        )

    def fate(self, statement_id: str) -> Fate | None:
        """What became of a statement; None when it never came, or was dropped for lack of room."""
        node = self._branches.nodes.get(statement_id)
        if node is not None:
            seq = node.statement.seq
            kept = seq < len(self.accepted) and self.accepted[seq] is node
            return Fate.ACCEPTED if kept else Fate.VOID
        if any(claim.statement.id == statement_id for claim in self._all_claims()):
            return Fate.PENDING
        return Fate.REFUSED if statement_id in self.refused else None

    def checked(self, statement_id: str) -> bytes | None:
        """The envelope whose signature let a statement into the tree, on whatever branch; None: it is not there."""
        node = self._branches.nodes.get(statement_id)
        return node.envelope if node is not None else None

    def prefix(self, seq: int) -> Iterator[bytes]:
        """The envelopes that prove the accepted chain up to `seq`, what recoveries undid included."""
        return self._branches.prefix(seq)

    # ---- what comes --------------------------------------------------------------------------
    def offer(self, signed: Signed, received: float) -> Fate | None:
        """Take a statement in; its fate as `fate` tells it. StatementError when it is not of this issuer's
        chain.
        """
        statement = signed.statement
        if isinstance(statement, Announce) or statement.iss != self.issuer:
            raise StatementError("a statement of another issuer, or one that is in no chain")
        known = self._branches.nodes.get(statement.id)
        if known is not None:
            self._again(known, signed, received)
        elif self._hold(_Claim(signed, statement, received)):
            self._grow(statement.prev)
        self._look_at_strays()
        self._make_room()
        return self.fate(statement.id)

    def _hold(self, claim: _Claim) -> bool:
        """Keep a claim; False when that very envelope is here."""
        line = self._claims.setdefault(claim.statement.prev, [])
        for other in line:
            if other.signed.envelope_bytes == claim.signed.envelope_bytes:
                other.received = min(other.received, claim.received)
                return False
        line.append(claim)
        self._waiting += 1
        return True

    def _drop(self, claim: _Claim) -> None:
        line = self._claims[claim.statement.prev]
        line.remove(claim)
        if not line:
            del self._claims[claim.statement.prev]
        self._waiting -= 1

    def _make_room(self) -> None:
        """Beyond the bound, what is furthest from the head gives way: a sequence number run ahead gains
        nothing.
        """
        while self._waiting > MAX_PENDING:
            head = len(self.accepted)
            self._drop(
                max(
                    self._all_claims(),
                    key=lambda one: (abs(one.statement.seq - head), one.signed.envelope_bytes),
                )
            )
            self.overflowed = True

    def _grow(self, prev: str | None) -> None:
        """Hang every claim that can be checked now into the tree, starting with those that follow `prev`."""
        ready: list[str | None] = [prev]
        while ready:
            key = ready.pop()
            parent = None if key is None else self._branches.nodes.get(key)
            if key is not None and parent is None:
                continue
            follows = 0 if parent is None else parent.statement.seq + 1
            for claim in list(self._claims.get(key, ())):
                # A wrong number behind a known predecessor can never be followed, but it can be half of a
                # proof.
                if claim.statement.seq == follows:
                    self._drop(claim)
                    self._branches.unstray(claim.statement.id)
                    if self._check(claim, parent):
                        ready.append(claim.statement.id)

    def _check(self, claim: _Claim, parent: Node | None) -> bool:
        """Whether a claim is now newly in the tree, below `parent` (None: it is the inception)."""
        statement = claim.statement
        known = self._branches.nodes.get(statement.id)
        if known is not None:
            self._again(known, claim.signed, claim.received)
            return False
        try:
            after = self._after(parent, claim.signed)
        except SignatureError as error:
            self.refused[statement.id] = error.message
            while len(self.refused) > MAX_REFUSED:
                del self.refused[next(iter(self.refused))]
            return False
        self.refused.pop(statement.id, None)
        self._branches.attach(Node(statement, claim.signed.envelope_bytes, claim.received, parent, after))
        return True

    def _after(self, parent: Node | None, signed: Signed) -> KeyState:
        """The keys after a statement below `parent`. SignatureError."""
        return self._checker.birth(signed) if parent is None else self._checker.follow(parent.after, signed)

    def _again(self, node: Node, signed: Signed, received: float) -> None:
        """A copy of what is in the tree. When a rotation came first matters, so a copy that says so must be
        genuine.
        """
        if received < node.received and node.is_key_event:
            try:
                self._after(node.parent, signed)
            except SignatureError:
                return
            self._branches.received(node, received)

    def _look_at_strays(self) -> None:
        """Check waiting statements whose number is taken: signed by the key of that time, they prove
        equivocation even though their own predecessor is withheld."""
        for claim in list(self._all_claims()):
            seq = claim.statement.seq
            # Also at an open contradiction, so that which pair is the proof does not hang on who came first.
            if not 0 < seq < len(self.accepted) + (self.equivocation is not None):
                continue
            parent = self.accepted[seq - 1]
            if parent.id not in claim.tried:
                claim.tried.add(parent.id)
                try:
                    after = self._checker.follow(parent.after, claim.signed)
                except SignatureError:
                    continue  # perhaps of another branch, with other keys: it goes on waiting
                self._branches.stray(
                    Node(claim.statement, claim.signed.envelope_bytes, claim.received, parent, after)
                )

    def _all_claims(self) -> Iterator[_Claim]:
        for line in self._claims.values():
            yield from line
