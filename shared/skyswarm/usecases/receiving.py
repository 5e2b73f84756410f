"""Statements that somebody delivers to an agent (not to a repository): a vouch for it, a revocation it should know.

Law: they authenticate themselves, so any relay may bring them, and twice is harmless. An agent takes only what
concerns it: chains of those it trusts, and of whoever vouches for it. The rest belongs to repositories.
"""

from __future__ import annotations

from skyswarm.errors import NotTrustedError, QuotaError, RequestError, SignatureError, TooLargeError
from skyswarm.messages.requests import Outcome, SubmitReply, SubmitRequest
from skyswarm.messages.statements import Announce, Distrust, Revoke, Signed, Vouch, parse_signed
from skyswarm.usecases.chains import keep
from skyswarm.usecases.deps import Deps
from skyswarm.usecases.views import row_of, viewing

MOST = 64
PER_MINUTE = 120


def deliver(deps: Deps, agent: str, body: bytes, kinds: frozenset[str]) -> bytes:
    """Store statements that concern us. NotTrustedError when none does; RequestError, TooLargeError, QuotaError."""
    request = SubmitRequest.parse(body)
    if len(request.statements) > MOST:
        raise TooLargeError(f"at most {MOST} statements are taken at once")
    brought = [parse_signed(one) for one in request.statements]
    if any(isinstance(one.statement, Announce) for one in brought):
        raise RequestError("announcements go to a repository")
    if brought and not any(one.statement.kind in kinds for one in brought):
        raise RequestError("none of these statements is of a kind that is taken here")
    now = deps.clock()
    issuers = {one.statement.iss for one in brought}
    with viewing(deps, agent) as view:
        welcome = {
            issuer
            for issuer in issuers
            if issuer == agent
            or view.evaluate(issuer, "fetch", now).trusted
            or any(_names(one, agent) for one in brought if one.statement.iss == issuer)
        }
    if issuers and not welcome:
        raise NotTrustedError(
            "these statements are by agents that no chain of mine reaches, and not about me",
            advice="Hand them to a repository.",
        )
    try:
        deps.meters.add(agent, f"delivered/{int(now) // 60}", len(brought), PER_MINUTE, int(now) + 60)
    except QuotaError as error:
        raise QuotaError("too many statements in this minute", advice="Hand them to a repository.") from error
    places = keep(deps, agent, [row_of(one, now) for one in brought if one.statement.iss in welcome])
    return SubmitReply(tuple(_outcome(one, places, agent) for one in brought)).dump()


def _outcome(signed: Signed, places: dict[str, int], agent: str) -> Outcome:
    if signed.id in places:
        return Outcome(places[signed.id])
    if signed.statement.iss == agent:
        return Outcome(None, SignatureError.code, "in my name, but not by me")
    return Outcome(None, NotTrustedError.code, "not about me")


def _names(signed: Signed, agent: str) -> bool:
    statement = signed.statement
    return isinstance(statement, Vouch | Revoke | Distrust) and statement.sub == agent
