"""A repository: takes announcements and statements from anyone, answers look-ups, serves its log.

Law: nobody is asked for a name or a signature on the request; what is brought speaks for itself, so any relay may
bring it and bringing it twice changes nothing. Every statement is checked against its issuer's chain before it is
stored, and quotas are counted per issuer for what is new only, so that nobody can use up another one's. A repository
learns look-up keys, never manifest ids. `repo` is the repository's agent id; `spec/repositories.md`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import cast

from skyswarm.errors import (
    EquivocationError,
    QuotaError,
    RequestError,
    SequenceError,
    SignatureError,
    SkyError,
    StaleRequestError,
    StatementError,
    TooLargeError,
)
from skyswarm.messages.fields import LOOKUP
from skyswarm.messages.repository import (
    MAX_BATCH,
    MAX_FOUND,
    MAX_PAGE,
    MAX_REPLY,
    AnnounceReply,
    AnnounceRequest,
    LookupReply,
    StatementsPage,
)
from skyswarm.messages.requests import Outcome, SubmitReply, SubmitRequest
from skyswarm.messages.statements import Announce, Head, Logged, Signed, parse_signed
from skyswarm.ports.records import AnnounceRow, StatementRow
from skyswarm.trust.chain import Chain, Fate
from skyswarm.usecases.chains import Standing, replayed, standing
from skyswarm.usecases.deps import Deps
from skyswarm.usecases.loghead import checkpoint, consistency, guard, inclusion, tile
from skyswarm.usecases.quotas import KEY_EVENTS, QUOTAS, Quotas, Room

__all__ = [
    "QUOTAS",
    "Quotas",
    "announce",
    "chain",
    "checkpoint",
    "consistency",
    "inclusion",
    "lookup",
    "statements",
    "submit",
    "tile",
]

VOUCH_KINDS = frozenset({"inception", "rotate", "retire", "vouch"})
REVOKE_KINDS = frozenset({"inception", "rotate", "retire", "revoke", "distrust"})
URGENT = frozenset({"rotate", "retire", "revoke"})
"""What takes a key or a trust back."""
SKEW = 120
"""Seconds by which an issuer's clock may be ahead."""
TWINS = 2
"""Statements kept with one number of one issuer, not counting key events and what continues the chain that counts: two
are the proof, more are a flood."""
MAX_LOOKED_AT = 2000
"""Announcements of one key that a look-up compares, the freshest of them all."""
_ROOM = MAX_REPLY - 64 * 1024
_MOST_PLACES = 100_000


# ---- what is brought -------------------------------------------------------------------------
def announce(deps: Deps, repo: str, body: bytes, quotas: Quotas = QUOTAS) -> bytes:
    """Take an announcement (AnnounceRequest) and the chain that introduces its issuer. Idempotent.

    SequenceError: statements of the issuer are missing here (the sentence says from which number on).
    StaleRequestError: expired, or from the future. SignatureError, QuotaError, InputError.
    """
    request = AnnounceRequest.parse(body)
    signed = parse_signed(request.announce)
    event = signed.statement
    if not isinstance(event, Announce):
        raise StatementError(f"a {event.kind} statement where an announcement belongs")
    now = deps.clock()
    if event.exp <= now:
        raise StaleRequestError(
            "this announcement has expired", advice="Check the clock, then announce again."
        )
    if event.serial > (now + SKEW) * 1000:
        raise StaleRequestError("this announcement is from the future", advice="Check the clock.")
    guard(deps, repo)
    if request.chain:
        brought = [parse_signed(one) for one in request.chain]
        if any(one.statement.iss != event.iss for one in brought):
            raise RequestError("the chain that goes with an announcement is its issuer's")
        for outcome in _take(deps, repo, event.iss, brought, now, quotas):
            if isinstance(outcome, SkyError):
                raise outcome
    head = _signed_by_current_key(standing(deps, repo, event.iss), signed, event)
    meter = f"announce/{event.iss}/{int(now) // 3600}"
    if deps.meters.read(repo, meter) >= quotas.announcements_per_hour:
        raise QuotaError("too many announcements of this agent in this hour", advice="Announce less often.")
    row = AnnounceRow(event.iss, event.part, event.serial, event.exp, event.lookups, request.announce)
    fresh = deps.announcements.put(repo, row)
    if fresh:  # a replayed old announcement costs its issuer nothing
        deps.meters.add(repo, meter, 1, 2 * quotas.announcements_per_hour, int(now) + 3600)
    return AnnounceReply(fresh, head).dump()


def submit(deps: Deps, repo: str, body: bytes, kinds: Collection[str], quotas: Quotas = QUOTAS) -> bytes:
    """Take a batch of statements (SubmitRequest, at most 64), each after its predecessors. Idempotent.

    At least one must be of the `kinds`; the others are the chain it hangs on. The reply (SubmitReply) has one outcome
    per statement, in order, and a checkpoint that covers those that were taken. RequestError, TooLargeError.
    """
    request = SubmitRequest.parse(body)
    if len(request.statements) > MAX_BATCH:
        raise TooLargeError(f"{len(request.statements)} statements, at most {MAX_BATCH} are taken at once")
    brought = [parse_signed(one) for one in request.statements]
    if any(isinstance(one.statement, Announce) for one in brought):
        raise RequestError("announcements go to announce")
    if brought and not any(one.statement.kind in kinds for one in brought):
        raise RequestError(f"none of these statements is of the kinds {', '.join(sorted(kinds))}")
    guard(deps, repo)
    now = deps.clock()
    outcomes: dict[str, int | SkyError] = {}
    for issuer in dict.fromkeys(cast(Logged, one.statement).iss for one in brought):
        own = [one for one in brought if one.statement.iss == issuer]
        try:
            outcomes |= zip((one.id for one in own), _take(deps, repo, issuer, own, now, quotas), strict=True)
        except QuotaError as error:
            outcomes |= dict.fromkeys((one.id for one in own), error)
    results = tuple(_outcome(outcomes[one.id]) for one in brought)
    return SubmitReply(results, checkpoint(deps, repo).decode()).dump()


def _outcome(what: int | SkyError) -> Outcome:
    return Outcome(what) if isinstance(what, int) else Outcome(None, what.code, what.message[:500])


def _take(
    deps: Deps, repo: str, issuer: str, brought: Sequence[Signed], now: float, quotas: Quotas
) -> list[int | SkyError]:
    """Check one issuer's statements against its chain and store what is valid: a position or an error for each."""
    with replayed(deps, repo, issuer) as (line, rows):
        places = {row.id: row.position for row in rows}
        seqs = {row.id: row.seq for row in rows}
        crowd = Counter(row.seq for row in rows if row.kind not in KEY_EVENTS)
        room = Room(deps, repo, issuer, rows, now, quotas)
        new: list[StatementRow] = []
        errors: dict[str, SkyError] = {}
        urgent = [at for at, one in enumerate(brought) if one.statement.kind in URGENT]
        for at, one in enumerate(brought):
            event = cast(Logged, one.statement)
            if event.id in places:
                continue
            size, leads = len(one.envelope_bytes), bool(urgent) and at < urgent[-1]
            error = _unfit(line, event, seqs, crowd) or room.refusal(event.kind, size, leads=leads)
            # A signature is looked at before it is counted: forgeries must not use up the room of whom they name.
            if error is None and line.offer(one, now) not in (Fate.ACCEPTED, Fate.VOID):
                error = SignatureError(
                    line.refused.get(event.id, "not signed by the key that its issuer had then")
                )
            if error is not None:
                errors[event.id] = error
                continue
            errors.pop(event.id, None)
            room.take(event.kind, size, leads=leads)
            crowd[event.seq] += event.kind not in KEY_EVENTS
            places[event.id], seqs[event.id] = -1, event.seq
            new.append(StatementRow(event.id, issuer, event.seq, event.kind, one.envelope_bytes, now))
        if new:
            room.charge()
            given = deps.statements.append(repo, new, once=True)  # another process may be faster
            places |= zip((row.id for row in new), given, strict=True)
        return [places[one.id] if one.id in places else errors[one.id] for one in brought]


def _unfit(line: Chain, event: Logged, seqs: Mapping[str, int], crowd: Counter[int]) -> SkyError | None:
    """Why a statement cannot be looked at yet, or at all; no signature is checked for it then."""
    if event.prev is not None and event.prev not in seqs:
        wanted = len(line.accepted)
        return SequenceError(
            f"statement {event.seq} of {event.iss[:12]} follows one that is not here; number {wanted} is wanted next",
            advice="Bring the statements before it first.",
        )
    if event.prev is not None and event.seq != seqs[event.prev] + 1:
        return SequenceError(
            f"statement {event.seq} of {event.iss[:12]} has not the number after its predecessor's"
        )
    # What continues the chain that counts is never the flood: a thief may have filled the numbers to come before the
    # owner took the chain back.
    onward = line.equivocation is None and bool(line.accepted) and event.prev == line.accepted[-1].id
    if event.kind not in KEY_EVENTS and crowd[event.seq] >= TWINS and not onward:
        return EquivocationError(
            f"two statements with number {event.seq} of {event.iss[:12]} are here already, as the proof",
            advice="Its owner mends it with a rotation by the pre-committed key.",
        )
    return None


def _signed_by_current_key(where: Standing | None, signed: Signed, event: Announce) -> Head:
    """The issuer's newest statement here. SequenceError when the key may be one that is not known here yet."""
    if where is None:
        raise SequenceError(f"the statements of {event.iss[:12]} are not here; number 0 is wanted next")
    try:
        if where.keys.retired:
            raise SignatureError("its issuer has retired")
        signed.envelope.verify(where.keys.key)
    except SignatureError as error:
        if event.head.seq > where.seq:
            wanted = where.seq + 1
            raise SequenceError(
                f"statements of {event.iss[:12]} are missing; number {wanted} is wanted next"
            ) from error
        raise
    return Head(where.seq, where.id)


# ---- what is asked ---------------------------------------------------------------------------
def lookup(deps: Deps, repo: str, key: str, now: float) -> bytes:
    """Who announces this look-up key (LookupReply): at most 50, one per agent, each with its chain.

    Those come first whose inception was the first to be here. An announcement's serial is its issuer's to choose, its
    place in the log is not: whoever floods a key with new identities stands behind who was there before.
    """
    if LOOKUP.fullmatch(key) is None:
        raise RequestError("a look-up key is 43 characters of base64url")
    rows: dict[str, AnnounceRow] = {}
    for row in deps.announcements.find(repo, key, now, MAX_LOOKED_AT):
        rows.setdefault(row.issuer, row)  # the freshest of each
    first = sorted(rows, key=lambda one: _since(deps, repo, one))[:MAX_FOUND]
    found: list[AnnounceRequest] = []
    room = _ROOM - sum(len(AnnounceRequest(rows[issuer].envelope).dump()) for issuer in first)
    for issuer in first:
        chain = _introduction(deps, repo, issuer)
        size = sum(len(one) + 1 for one in chain)
        if size > room:  # it is read by issuer then; nobody is left out because others have much to say
            chain, size = (), 0
        room -= size
        found.append(AnnounceRequest(rows[issuer].envelope, chain))
    return LookupReply(tuple(found)).dump()


def _since(deps: Deps, repo: str, issuer: str) -> tuple[int, str]:
    """The place in the log of an issuer's first statement, which never changes."""
    kept = deps.cache.setdefault((repo, "first"), {})
    assert isinstance(kept, dict)
    place: int | None = kept.get(issuer)
    if place is None:
        first = deps.statements.since(repo, issuer, 0, 1)
        place = first[0].position if first else 2**62
        if first:
            if len(kept) >= _MOST_PLACES:
                kept.clear()
            kept[issuer] = place
    return place, issuer


def _introduction(deps: Deps, repo: str, issuer: str) -> tuple[bytes, ...]:
    """An issuer's statements up to its newest key event; none when they are more than fit: they are read by issuer."""
    last = deps.statements.key_event(repo, issuer)
    if last is None or last.seq >= MAX_BATCH:
        return ()
    rows = [last] if last.seq == 0 else deps.statements.of(repo, issuer, 0, MAX_BATCH)
    end = next((at for at, row in enumerate(rows) if row.position == last.position), -1)
    return tuple(row.envelope for row in rows[: end + 1])


def statements(deps: Deps, repo: str, after: int, limit: int = MAX_PAGE) -> bytes:
    """Statements from log position `after` on, in order (StatementsPage), at most 256 and about 1 MiB."""
    rows = _fit(deps.statements.after(repo, after, max(1, min(limit, MAX_PAGE))))
    return StatementsPage(
        tuple(row.envelope for row in rows), after + len(rows), deps.statements.count(repo)
    ).dump()


def chain(deps: Deps, repo: str, issuer: str, seq: int, limit: int = MAX_PAGE) -> bytes:
    """An issuer's statements with numbers from `seq` on (StatementsPage; `next` is a number, and below `count` when
    there are more)."""
    most = max(TWINS, min(limit, MAX_PAGE))
    rows = deps.statements.of(repo, issuer, seq, most + 1)
    page = _fit(rows[:most])
    more = len(page) < len(rows)
    if more:  # end with a whole number, so that no twin falls between two pages
        page = [row for row in page if row.seq < rows[len(page)].seq] or page
    following = page[-1].seq + 1 if page else seq
    return StatementsPage(tuple(row.envelope for row in page), following, following + more).dump()


def _fit(rows: list[StatementRow]) -> list[StatementRow]:
    """As many rows as fit into one reply."""
    room = _ROOM
    for at, row in enumerate(rows):
        room -= len(row.envelope) + 1
        if room < 0:
            return rows[:at]
    return rows
