"""A new identity: fresh keys, an inception that names them, both kept under the id that is the inception's hash.

Law: the keys first, the statement next, and whoever calls makes the id known last: a crash leaves something that nobody
refers to. Every deployment founds its agents here.
"""

from __future__ import annotations

from collections.abc import Callable

from skyswarm.drivers.seeds import Prepared, prepare
from skyswarm.messages.dsse import seal
from skyswarm.messages.keys import commitment, did_key
from skyswarm.messages.statements import Inception, parse_signed, payload_type
from skyswarm.ports.records import Statements
from skyswarm.ports.system import Clock, Entropy
from skyswarm.usecases.views import row_of


def found(
    adopt: Callable[[Prepared, str], None],
    statements: Statements,
    clock: Clock,
    entropy: Entropy,
    recovery: tuple[str, ...] = (),
) -> str:
    """The id of a new agent (`shared/spec/identity.md`). `adopt` keeps its keys; `recovery`: at most 3 commitments."""
    prepared = prepare(entropy)
    born = Inception(did_key(prepared.current_public), commitment(prepared.next_public), recovery)
    signed = parse_signed(seal(payload_type("inception"), born.payload(), prepared.current).dump())
    adopt(prepared, born.id)
    statements.append(born.id, [row_of(signed, clock())])
    return born.id
