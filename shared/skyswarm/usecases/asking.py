"""Asking a source for presigned URLs, and reading small objects through them.

Law: everything a source says is checked against what the manifest names; a refusal keeps the source's own code and
sentence. The first request carries no proof; only when the source does not know us, or no chain of its reaches us,
the statements that introduce us go along (a chain's statements are bytes worth saving).
"""

from __future__ import annotations

import base64
import hashlib

from skyswarm.errors import (
    InputError,
    NotTrustedError,
    PieceMismatchError,
    SequenceError,
    SignatureError,
    SkyError,
    SourceRefusedError,
    SourceUnreachableError,
)
from skyswarm.messages.httpsig import sign_request
from skyswarm.messages.requests import MAX_REPLY, FetchReply, FetchRequest, Want
from skyswarm.usecases.deps import Deps
from skyswarm.usecases.introducing import introduction
from skyswarm.usecases.jobs import SourceState
from skyswarm.usecases.people import name_of
from skyswarm.usecases.wire import reply_error


def signed_call(
    deps: Deps, agent: str, audience: str, endpoint: str, action: str, body: bytes, limit: int = MAX_REPLY
) -> bytes:
    """POST a signed request to another agent; the reply's body. The error of a refusal is the one it names."""
    url = f"{endpoint}/v1/{action}"
    nonce = base64.urlsafe_b64encode(deps.entropy(16)).rstrip(b"=").decode()
    headers = sign_request("POST", url, body, deps.keys.current(agent), agent, audience, deps.clock(), nonce)
    reply = deps.peers.call("POST", url, body, headers, timeout=deps.limits.call_timeout, limit=limit)
    if reply.status != 200:
        raise reply_error(reply, SourceRefusedError)
    return reply.body


def ask(
    deps: Deps,
    agent: str,
    source: SourceState,
    manifest_id: str,
    want: tuple[Want, ...] = (),
    object_ids: tuple[str, ...] = (),
) -> FetchReply:
    """URLs for pieces and side objects. TrustError, LimitError: refused; SourceUnreachableError: no sound answer."""
    proof: tuple[bytes, ...] = ()
    while True:
        request = FetchRequest(manifest=manifest_id, want=want, objects=object_ids, proof=proof)
        try:
            body = signed_call(deps, agent, source.agent, source.endpoint, "fetch_piece", request.dump())
        except (SignatureError, NotTrustedError, SequenceError):
            if proof:
                raise
            proof = introduction(deps, agent, source.agent)
            if not proof:
                raise
            continue
        try:
            reply = FetchReply.parse(body)
            reply.fits(request)
        except InputError as error:
            raise SourceUnreachableError(f"the source's answer makes no sense: {error.message}") from error
        return reply


def read_object(deps: Deps, url: str, object_id: str, size_limit: int) -> bytes:
    """A side object whose SHA-256 is its name, through a presigned URL. PieceMismatchError when it is not."""
    data = deps.fetcher.small(url, size_limit)
    if hashlib.sha256(data).hexdigest() != object_id:
        raise PieceMismatchError(f"side object {object_id[:12]} did not match its name; it was discarded")
    return data


def refused_for_good(error: SkyError) -> bool:
    """Whether asking this source again in this transfer is pointless."""
    return not error.retryable and not isinstance(error, SourceUnreachableError)


def of_source(deps: Deps, agent: str, source: str, error: SkyError) -> SkyError:
    """An error of a source that goes by itself, with the source's name in it."""
    if not isinstance(error, SourceUnreachableError):
        return error
    who = name_of(deps, agent, source) or f"agent {source[:12]}"
    verb = "does not answer" if not isinstance(error.__cause__, InputError) else "answers wrongly"
    return SourceUnreachableError(f"{who} {verb}: {error.message}", advice="It is tried again by itself.")
