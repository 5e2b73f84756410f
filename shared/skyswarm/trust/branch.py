"""Which branch of one agent's statements counts (spec/trust.md, "Chains").

Law: every statement here is checked already; no signature, no clock. They form a tree, each below the one its
`prev` names. The accepted path starts at the inception. Where a statement has several followers, the one that
is or leads to what stands highest here is taken; when two lead equally high, the issuer equivocated: the path
ends there, and the two are the proof. The outcome depends on which statements are here and when each was
received, never on their order.

2. A recovery received within seven days of the rotation or retirement that it undoes.
1. A rotation or retirement: the committed key signed it, which a thief of the signing key does not have.
0. Anything else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from skyswarm.errors import EquivocationError
from skyswarm.messages.statements import Logged, Retire, Rotate
from skyswarm.trust.keys import KeyState

RECOVERY_WINDOW = 7 * 86400
"""Seconds after the receipt of a rotation or retirement in which a recovery that undoes it is accepted."""


@dataclass(slots=True, eq=False)
class Node:
    """A checked statement and the keys after it. `rank`: the number above of what it is or leads to."""

    statement: Logged
    envelope: bytes
    received: float
    parent: Node | None
    after: KeyState
    rank: int = 0
    children: list[Node] = field(default_factory=list)

    @property
    def id(self) -> str:
        return self.statement.id

    @property
    def is_key_event(self) -> bool:
        """Whether it changes the keys."""
        return isinstance(self.statement, Rotate | Retire)

    @property
    def undoes(self) -> str | None:
        """The statement that this one, a recovery, undoes."""
        return self.statement.undo if isinstance(self.statement, Rotate) else None


@dataclass(frozen=True, slots=True)
class Equivocation:
    """Two statements of one issuer with one seq, both validly signed: the proof, as envelopes, lower id
    first. `rank`: how high they stand; a rotation mends what stands below one.
    """

    issuer: str
    seq: int
    first: bytes
    second: bytes
    rank: int = 0

    def error(self) -> EquivocationError:
        """To raise or to show."""
        what = "a recovery" if self.rank else "a rotation by the pre-committed key"
        return EquivocationError(
            f"{self.issuer[:8]} signed two statements with number {self.seq}; nothing from there on counts",
            advice=f"Its owner mends it with {what}.",
        )


class Branches:
    """The tree of one issuer's checked statements and the path through it that counts."""

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self.path: list[Node] = []
        self.nodes: dict[str, Node] = {}
        self.equivocation: Equivocation | None = None
        self.rewrites = 0
        """Raised whenever the path changed other than by growing."""
        self._strays: dict[str, dict[str, Node]] = {}  # by the statement that they follow in number

    def attach(self, node: Node) -> None:
        """Hang a statement below its parent (None: the inception)."""
        self.nodes[node.id] = node
        tail, parent = (self.path[-1] if self.path else None), node.parent
        if parent is not None:
            parent.children.append(node)
        for one in parent.children if parent is not None and node.is_key_event else (node,):
            self._raise(one)
        lonely = parent is None or (len(parent.children) == 1 and parent.id not in self._strays)
        if lonely and parent is tail and node.undoes is None and self.equivocation is None:
            self.path.append(node)
        else:
            self._choose()

    def received(self, node: Node, when: float) -> None:
        """A rotation or retirement was received earlier than known: a recovery may come into its window, or
        leave it.
        """
        node.received = when
        for one in self.nodes.values():
            one.rank = 0
        for one in self.nodes.values():
            self._raise(one)
        self._choose()

    def stray(self, node: Node) -> None:
        """A checked twin of a statement on the path whose own predecessor is not here: it can prove, not be
        followed.
        """
        if node.parent is not None and node.undoes is None:
            node.rank = int(node.is_key_event)
            self._strays.setdefault(node.parent.id, {})[node.id] = node
            self._choose()

    def unstray(self, statement_id: str) -> None:
        """Forget a stray: its predecessor came."""
        places = [
            place for place, strays in self._strays.items() if strays.pop(statement_id, None) is not None
        ]
        for place in places:
            if not self._strays[place]:
                del self._strays[place]
        if places:
            self._choose()

    def prefix(self, seq: int) -> Iterator[bytes]:
        """The envelopes that prove the path up to `seq`, what recoveries undid included."""
        for node in self.path[: seq + 1]:
            if node.undoes is not None:
                yield self.nodes[node.undoes].envelope
            yield node.envelope

    def _raise(self, node: Node) -> None:
        """Let everything above a node know of its rank."""
        rank = int(node.is_key_event) if node.undoes is None else 2 * self._in_force(node)
        above: Node | None = node
        while above is not None and above.rank < rank:
            above.rank = rank
            above = above.parent

    def _in_force(self, node: Node) -> bool:
        """Whether a recovery counts: what it undoes is here, beside it, and was received at most 7 days
        before.
        """
        undone = self.nodes.get(node.undoes or "")
        return (
            undone is not None
            and undone.parent is node.parent
            and undone.is_key_event
            and undone.undoes is None
            and node.received <= undone.received + RECOVERY_WINDOW
        )

    def _choose(self) -> None:
        path: list[Node] = []
        self.equivocation = None
        node = self.nodes.get(self.issuer)
        while node is not None:
            path.append(node)
            node = self._follower(node)
        if path[: len(self.path)] != self.path:
            self.rewrites += 1
        self.path = path

    def _follower(self, parent: Node) -> Node | None:
        here = [child for child in parent.children if child.undoes is None or self._in_force(child)]
        if not here:
            return None
        strays = self._strays.get(parent.id, {}).values()
        rivals = sorted((*here, *strays), key=lambda node: (-node.rank, node.id))
        best = rivals[0]
        if best in here and (len(rivals) == 1 or rivals[1].rank < best.rank):
            return best
        # A stray that stands alone at the top cannot be followed: it contradicts the best of those that can.
        other = (
            rivals[1] if best in here or rivals[1].rank == best.rank else next(n for n in rivals if n in here)
        )
        first, second = sorted((best, other), key=lambda node: node.id)
        self.equivocation = Equivocation(
            self.issuer, first.statement.seq, first.envelope, second.envelope, best.rank
        )
        return None
