"""Statements that somebody brings along to be let in: which of them are worth a signature check and a place here.

Law: only the chains of agents that a chain of ours reaches are checked and stored, ring by ring outwards, and our
own; strangers, forgeries and what hangs on nothing that is here leave no trace. So a flood costs what it weighs itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from skyswarm.errors import RequestError, SignatureError
from skyswarm.messages.statements import Announce, Logged, Signed, parse_signed
from skyswarm.trust.chain import Chain
from skyswarm.trust.keys import Checker, KeyState
from skyswarm.trust.view import TrustView
from skyswarm.usecases.deps import Deps
from skyswarm.usecases.views import row_of, viewing


def brought(envelopes: Sequence[bytes]) -> list[Signed]:
    """Statements of chains as they came, nothing proven. RequestError for an announcement; InputError subclasses."""
    found = [parse_signed(one) for one in envelopes]
    if any(isinstance(one.statement, Announce) for one in found):
        raise RequestError("announcements go to a repository, and prove nothing here")
    return found


def learn(deps: Deps, agent: str, found: Sequence[Signed], scope: str, now: float) -> int:
    """Store, of what was brought, the genuine statements of agents that our chains reach; how many are new here."""
    waiting: dict[str, list[Signed]] = {}
    for one in found:
        waiting.setdefault(one.statement.iss, []).append(one)
    new = 0
    while True:
        with viewing(deps, agent) as view:
            turn = [who for who in waiting if who == agent or view.evaluate(who, scope, now).trusted]
            good = [one for who in turn for one in genuine(view, who, waiting.pop(who))]
        if not turn:
            return new
        deps.statements.append(agent, [row_of(one, now) for one in good])
        new += len(good)


def genuine(view: TrustView, issuer: str, found: Iterable[Signed]) -> list[Signed]:
    """Those that are not in the issuer's chain yet, hang on it and are signed by whom they must be, in order."""
    view.key_state(issuer)
    return grown(view.chain(issuer), found)[0]


def grown(chain: Chain | None, found: Iterable[Signed]) -> tuple[list[Signed], KeyState | None]:
    """What of `found` extends a chain (None: nothing of it is here), and the newest keys after it."""
    accepted = chain.accepted if chain is not None else ()
    checker, made = Checker(), dict[str, tuple[int, KeyState]]()
    newest = accepted[-1].after if accepted else None
    good: list[Signed] = []
    for one in sorted(found, key=lambda one: _logged(one).seq):
        event = _logged(one)
        if event.id in made or (event.seq < len(accepted) and accepted[event.seq].id == event.id):
            continue
        try:
            if event.prev is None:
                after = checker.birth(one)
            else:
                seq, before = made.get(event.prev, (-1, None))
                if before is None and 0 < event.seq <= len(accepted):
                    node = accepted[event.seq - 1]
                    seq, before = (node.statement.seq, node.after) if node.id == event.prev else (-1, None)
                if before is None or event.seq != seq + 1:
                    continue
                after = checker.follow(before, one)
        except SignatureError:
            continue
        made[event.id] = (event.seq, after)
        good.append(one)
        if newest is None or after.since > newest.since:
            newest = after
    return good, newest


def standing_of(view: TrustView, agent: str, found: Iterable[Signed]) -> KeyState | None:
    """The keys of an agent by its chain here and what it brought of it, nothing being stored. None: no inception."""
    view.key_state(agent)
    return grown(view.chain(agent), (one for one in found if one.statement.iss == agent))[1]


def _logged(one: Signed) -> Logged:
    statement = one.statement
    if isinstance(statement, Announce):
        raise RequestError("an announcement is in no chain")
    return statement
