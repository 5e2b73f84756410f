"""`fetch_piece`: hand out short-lived presigned URLs of our storage to an agent that may have them.

Law: no byte of a file passes here; every refusal happens before the next dearer check (`spec/transfers.md`, serving):
  1. the signature was checked against the key in the request (edge); here the key must be the agent's current one
  2. attached statements are stored and, as far as chains reach, verified
  3. quota of the asker; nonce used once
  4. a live chain of vouches for `fetch`, with the share's threshold
  5. the share: its audience, its end
  6. URLs, one per file, of exactly the versions that were published
  7. the size of the answer
  8. caps: bytes of this share per asker, bytes that the vouchers underwrite; counted last, before the answer goes out
"""

from __future__ import annotations

from contextlib import suppress

from skyswarm.errors import (
    AbsentError,
    ByteCapError,
    ConflictError,
    QuotaError,
    ReplayError,
    RequestError,
    ShareDeniedError,
    SignatureError,
    SkyError,
    UnderwritingError,
)
from skyswarm.messages.httpsig import Checked
from skyswarm.messages.manifest import Manifest
from skyswarm.messages.requests import FetchReply, FetchRequest, UrlGrant, Want
from skyswarm.pieces.size import piece_count, piece_span
from skyswarm.ports.records import Entry, Share
from skyswarm.trust.verdict import Verdict
from skyswarm.usecases import objects
from skyswarm.usecases.deps import Deps
from skyswarm.usecases.proofs import brought, learn, standing_of
from skyswarm.usecases.views import own_head, viewing

NO_LIMIT = 2**62
MAX_PAGES = 16
"""Pages that the wants of one request may name: each is read and parsed, a thousand files at a time."""


def fetch_piece(deps: Deps, agent: str, checked: Checked, request: FetchRequest) -> FetchReply:
    """Answer one asker's batch. Raises the TrustError, LimitError or InputError that refuses it."""
    now = deps.clock()
    admit(deps, agent, checked, request.proof, now)
    verdict = judge(deps, agent, checked.agent, now, 0)
    share = _share(deps.shares.get(agent, request.manifest), checked.agent, now)
    if share.survive:  # only now: who is not to know of the share must not see what it asks for
        verdict = judge(deps, agent, checked.agent, now, share.survive)
    try:
        manifest = objects.manifest(deps, agent, share.manifest)
    except AbsentError as error:
        raise _denied() from error
    return _grants(deps, agent, share, manifest, request, checked.agent, verdict, now)


def admit(deps: Deps, agent: str, checked: Checked, proof: tuple[bytes, ...], now: float) -> None:
    """The asker is who it says, is not asking too often, and did not ask this before.

    Whoever is not known by its current key and trusted draws on one quota for all strangers: identities are free.
    """
    fits, trusted = _standing(deps, agent, checked, now)
    minute = int(now) // 60
    known, own = fits and trusted, f"asks/{checked.agent}/{minute}"
    if not known:
        _count(deps, agent, f"strangers/{minute}", deps.limits.strangers_per_minute, now)
    elif deps.meters.read(agent, own) >= deps.limits.requests_per_minute:
        raise _too_many(deps.limits.requests_per_minute)
    if proof:
        found = brought(proof)
        learn(deps, agent, found, "fetch", now)
        fits, trusted = _standing(deps, agent, checked, now)
        if not fits and not trusted:
            with viewing(deps, agent) as view:
                state = standing_of(view, checked.agent, found)
            fits = state is not None and not state.retired and state.key == checked.public
    if not fits:
        raise SignatureError(
            "the request is not signed with a key that is known here as your current one",
            advice="Attach your inception and rotations as proof, and sign with the newest key they name.",
        )
    if not deps.nonces.use(agent, checked.nonce, checked.remember_until, now):
        raise ReplayError("this request was made before", advice="Sign each request anew.")
    if known:  # after the nonce: somebody else's copies must not use up the asker's quota
        _count(deps, agent, own, deps.limits.requests_per_minute, now)


def _standing(deps: Deps, agent: str, checked: Checked, now: float) -> tuple[bool, bool]:
    """Whether the request is signed with the asker's current key as known here, and whether a chain reaches it."""
    with viewing(deps, agent) as view:
        state = view.authenticate(checked.agent, now)
        trusted = view.evaluate(checked.agent, "fetch", now).trusted
    return state is not None and not state.retired and state.key == checked.public, trusted


def _count(deps: Deps, agent: str, meter: str, most: int, now: float) -> None:
    try:
        deps.meters.add(agent, meter, 1, most, int(now) + 60)
    except QuotaError as error:
        raise _too_many(most) from error


def _too_many(most: int) -> QuotaError:
    return QuotaError(f"more than {most} requests in a minute", advice="Wait a minute.")


def judge(deps: Deps, agent: str, asker: str, now: float, survive: int) -> Verdict:
    """The chain that lets the asker in; NotTrustedError or RevokedError with the reason when there is none."""
    with viewing(deps, agent) as view:
        verdict = view.evaluate(asker, "fetch", now, survive)
    if not verdict.trusted:
        raise verdict.error()
    return verdict


def _share(share: Share | None, asker: str, now: float) -> Share:
    if share is None or (share.audience and asker not in share.audience) or 0 < share.expires <= now:
        raise _denied()
    return share


def _denied() -> ShareDeniedError:
    return ShareDeniedError(
        "there is no such share here for you", advice="Ask its owner: it may be for others, or have ended."
    )


def _grants(
    deps: Deps,
    agent: str,
    share: Share,
    manifest: Manifest,
    request: FetchRequest,
    asker: str,
    verdict: Verdict,
    now: float,
) -> FetchReply:
    tag = objects.tag_of(manifest)
    places: dict[int, list[tuple[str, str, str, int]]] = {}
    wanted: list[tuple[str, str, str]] = []
    total = 0
    if len({want.page for want in request.want}) > MAX_PAGES:
        raise RequestError(f"one request asks for files of at most {MAX_PAGES} pages")
    for want in request.want:
        if want.page not in places:
            try:
                places[want.page] = objects.places(deps, agent, tag, want.page)
            except AbsentError as error:
                raise RequestError(f"the share has no page {want.page} here") from error
        total += _bytes(want, places[want.page])
        storage, key, version, _ = places[want.page][want.file]
        wanted.append((storage, key, version))
    ttl = deps.limits.grant_ttl
    urls: dict[tuple[str, str, str], int] = {}
    grants: list[UrlGrant] = []
    for place in wanted:
        if place not in urls:
            urls[place] = len(grants)
            grant = deps.storages.open(agent, place[0]).presign(place[1], place[2], ttl)
            grants.append(UrlGrant(grant.url, grant.expires))
    bucket = objects.bucket(deps, agent)
    side: list[int | None] = []
    for object_id in request.objects:
        key = (
            objects.manifest_key(object_id) if object_id == manifest.id else objects.side_key(tag, object_id)
        )
        try:
            found = bucket.stat(key)
        except AbsentError:
            side.append(None)
            continue
        grant = bucket.presign(key, found.version, ttl)
        side.append(len(grants))
        grants.append(UrlGrant(grant.url, grant.expires))
    reply = FetchReply(
        urls=tuple(grants),
        wants=tuple(urls[place] for place in wanted),
        objects=tuple(side),
        storage=deps.storages.open(agent, share.storage).kind,
        head=own_head(deps, agent),
        chain=verdict.agents(),
    )
    reply.dump()  # TooLargeError: URLs may be long, and what cannot be answered costs the asker nothing
    _charge(deps, agent, share, asker, total, now)  # last
    return reply


def _bytes(want: Want, places: list[tuple[str, str, str, int]]) -> int:
    if want.file >= len(places):
        raise RequestError(f"page {want.page} has no file {want.file}")
    size = places[want.file][3]
    if want.first + want.count > piece_count(size):
        raise RequestError(f"file {want.file} of page {want.page} has {piece_count(size)} pieces")
    if not want.count:
        return 0
    start, _ = piece_span(size, want.first)
    last, length = piece_span(size, want.first + want.count - 1)
    return last + length - start


def _charge(deps: Deps, agent: str, share: Share, asker: str, total: int, now: float) -> None:
    """Count the bytes handed out, after the answer was made, before it goes out: no two that race get the same room."""
    if not total:
        return
    cap = share.cap_bytes or NO_LIMIT
    shared, handed = f"share/{share.manifest}/{asker}", f"handed/{asker}"
    try:
        deps.meters.add(agent, shared, total, cap)
    except QuotaError as error:
        raise ByteCapError(
            f"this share hands out at most {share.cap_bytes} bytes to one agent",
            advice="Ask its owner for more.",
        ) from error
    counted = [shared]
    try:
        deps.meters.add(agent, handed, total, NO_LIMIT)
        counted.append(handed)
        _underwritten(deps, agent, asker, total, now)
    except SkyError:  # refused, or a store that is away for a moment: there will be no answer
        for meter in reversed(counted):
            deps.meters.add(agent, meter, -total, NO_LIMIT)
        raise


def _underwritten(deps: Deps, agent: str, asker: str, total: int, now: float) -> None:
    """Refuse more than those who vouch for the asker underwrite, all that they underwrite for others counted.

    `total` is in the asker's meter already: of two that race each sees the other's, so both may be refused, but
    never both be served beyond the limit.
    """
    with viewing(deps, agent) as view:
        if not view.underwritten(asker, "fetch", now):
            return
    key = f"debtor/{asker}"
    if deps.notes.get(agent, key) is None:
        with suppress(ConflictError):
            deps.notes.put(agent, Entry(key, b"1"))
    demands: dict[str, int] = {}
    after = ""
    while rows := deps.notes.page(agent, "debtor/", after, 500):
        for row in rows:
            debtor = row.key.removeprefix("debtor/")
            demands[debtor] = deps.meters.read(agent, f"handed/{debtor}")
        after = rows[-1].key
    demands[asker] = max(0, demands.get(asker, 0) - total)
    with viewing(deps, agent) as view:
        room = view.credit(asker, "fetch", demands, now)
    if room is not None and total > room:
        raise UnderwritingError(
            f"{total} bytes asked, {room} are still underwritten by those who vouch for you",
            advice="Ask one of them for a vouch with a higher limit.",
        )
