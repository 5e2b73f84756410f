"""A new identity: fresh keys, an inception that names them, both kept under the id that is the inception's hash.

Law: the keys first, the statement next, and whoever calls makes the id known last: a crash leaves something that nobody
refers to. Every deployment founds its agents here.
"""

from __future__ import annotations

from dataclasses import dataclass

from skyswarm.drivers.seeds import Prepared, prepare
from skyswarm.messages.dsse import seal
from skyswarm.messages.keys import commitment, did_key
from skyswarm.messages.statements import Inception, Signed, parse_signed, payload_type
from skyswarm.ports.records import StatementRow
from skyswarm.ports.system import Entropy
from skyswarm.usecases.views import row_of


@dataclass(frozen=True)
class Newborn:
    """An agent that is kept nowhere yet."""

    prepared: Prepared
    inception: Signed

    @property
    def id(self) -> str:
        """Its id: the inception's hash."""
        return self.inception.statement.id

    def row(self, now: float) -> StatementRow:
        """Its inception, to be stored once its keys are kept."""
        return row_of(self.inception, now)


def bear(entropy: Entropy, recovery: tuple[str, ...] = ()) -> Newborn:
    """A new agent (`shared/spec/identity.md`). `recovery`: at most 3 commitments."""
    prepared = prepare(entropy)
    born = Inception(did_key(prepared.current_public), commitment(prepared.next_public), recovery)
    return Newborn(
        prepared, parse_signed(seal(payload_type("inception"), born.payload(), prepared.current).dump())
    )
