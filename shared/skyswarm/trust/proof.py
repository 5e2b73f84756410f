"""Re-check a chain of vouches from its statements alone, offline, as anyone (spec/trust.md, "Proofs").

Law: no state, no store: the statements given are all there is. What they cannot show is that nothing was
revoked since.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from skyswarm.errors import StatementError, TooLargeError
from skyswarm.messages.statements import Announce, parse_signed
from skyswarm.trust.graph import MAX_DEPTH
from skyswarm.trust.verdict import Verdict
from skyswarm.trust.view import TrustView

MAX_PROOF = 10_000
"""Statements in one proof."""


@dataclass(frozen=True, slots=True)
class _Loose:
    issuer: str
    envelope: bytes
    received: float
    position: int


def check_proof(
    envelopes: Sequence[bytes], root: str, sub: str, scope: str, now: float, depth: int = MAX_DEPTH
) -> Verdict:
    """What `root` would think of `sub` if it knew these statements and no others. InputError for bytes that
    are none.
    """
    if len(envelopes) > MAX_PROOF:
        raise TooLargeError(f"a proof of {len(envelopes)} statements, at most {MAX_PROOF} are allowed")
    view = TrustView(root, depth)
    for position, envelope in enumerate(envelopes):
        statement = parse_signed(envelope).statement
        if isinstance(statement, Announce):
            raise StatementError("a proof holds statements of chains, no announcements")
        view.offer([_Loose(statement.iss, envelope, 0.0, position)])
    return view.evaluate(sub, scope, now)
