"""Statements that somebody delivers to an agent (not to a repository): a vouch for it, a revocation it should know.

Law: they authenticate themselves, so any relay may bring them, and twice is harmless. An agent takes only what
concerns it, checked: the chains of those it trusts, and of whoever vouches for it. The rest belongs to repositories.
Strangers share one quota, so that a flood of them costs a bounded number of signature checks and of rows.
"""

from __future__ import annotations

from skyswarm.errors import (
    NotTrustedError,
    QuotaError,
    RequestError,
    SequenceError,
    SignatureError,
    TooLargeError,
)
from skyswarm.messages.requests import Outcome, SubmitReply, SubmitRequest
from skyswarm.messages.statements import Distrust, Revoke, Signed, Vouch
from skyswarm.usecases.chains import rows_of
from skyswarm.usecases.deps import Deps
from skyswarm.usecases.proofs import brought, genuine
from skyswarm.usecases.views import row_of, viewing

MOST = 64
PER_MINUTE = 120
STRANGERS_PER_DAY = 2000
DAY = 86_400


def deliver(deps: Deps, agent: str, body: bytes, kinds: frozenset[str]) -> bytes:
    """Store statements that concern us. NotTrustedError when none does; RequestError, TooLargeError, QuotaError."""
    request = SubmitRequest.parse(body)
    if len(request.statements) > MOST:
        raise TooLargeError(f"at most {MOST} statements are taken at once")
    found = brought(request.statements)
    if found and not any(one.statement.kind in kinds for one in found):
        raise RequestError("none of these statements is of a kind that is taken here")
    now = deps.clock()
    issuers = {one.statement.iss for one in found}
    with viewing(deps, agent) as view:
        reached = {one for one in issuers if one == agent or view.evaluate(one, "fetch", now).trusted}
    strangers = {one.statement.iss for one in found if _names(one, agent)} - reached
    if issuers and not reached | strangers:
        raise NotTrustedError(
            "these statements are by agents that no chain of mine reaches, and not about me",
            advice="Hand them to a repository.",
        )
    _count(deps, agent, found, reached, strangers, now)
    positions: dict[str, int] = {}
    for issuer in sorted(reached | strangers):
        theirs = [one for one in found if one.statement.iss == issuer]
        with viewing(deps, agent) as view:
            good = genuine(view, issuer, theirs)
        have = (
            {row.id: row.position for row in rows_of(deps, agent, issuer)} if len(good) < len(theirs) else {}
        )
        positions |= {one.id: have[one.id] for one in theirs if one.id in have}
        stored = deps.statements.append(agent, [row_of(one, now) for one in good])
        positions |= dict(zip((one.id for one in good), stored, strict=True))
    return SubmitReply(tuple(_outcome(one, positions, reached | strangers, agent) for one in found)).dump()


def _count(
    deps: Deps, agent: str, found: list[Signed], reached: set[str], strangers: set[str], now: float
) -> None:
    """Each issuer that is reached has its own quota; all strangers together have one, and one for the day."""
    minute, day = int(now) // 60, int(now) // DAY
    theirs = sum(one.statement.iss in strangers for one in found)
    try:
        for issuer in sorted(reached):
            count = sum(one.statement.iss == issuer for one in found)
            deps.meters.add(agent, f"delivered/{issuer}/{minute}", count, PER_MINUTE, int(now) + 60)
        if theirs:
            deps.meters.add(agent, f"delivered/{minute}", theirs, PER_MINUTE, int(now) + 60)
            deps.meters.add(agent, f"delivered/day/{day}", theirs, STRANGERS_PER_DAY, int(now) + DAY)
    except QuotaError as error:
        raise QuotaError("too many statements for now", advice="Hand them to a repository.") from error


def _outcome(signed: Signed, positions: dict[str, int], welcome: set[str], agent: str) -> Outcome:
    if signed.id in positions:
        return Outcome(positions[signed.id])
    if signed.statement.iss == agent:
        return Outcome(None, SignatureError.code, "in my name, but not by me")
    if signed.statement.iss in welcome:
        return Outcome(
            None, SequenceError.code, "not signed by its issuer's key, or what comes before it is not here"
        )
    return Outcome(None, NotTrustedError.code, "not about me")


def _names(signed: Signed, agent: str) -> bool:
    statement = signed.statement
    return isinstance(statement, Vouch | Revoke | Distrust) and statement.sub == agent
