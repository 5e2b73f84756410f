"""The HTTP face of an agent and of a repository: paths to use cases, errors to statuses. One place for both.

Law: no rule of the protocol is decided here. An action is named once in `ACTIONS`; every front door (the local server,
a function of a cloud) answers through `answer`, which is total: a SkyError becomes its status, code and sentence,
anything else SKY-500 without a word about our insides.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from skyswarm import __version__
from skyswarm.edge.http import App, Request, Response
from skyswarm.edge.outward import outward
from skyswarm.errors import RequestError, SkyError, TooLargeError, UnknownRouteError
from skyswarm.messages.httpsig import Checked, check_request
from skyswarm.messages.requests import FetchRequest
from skyswarm.usecases import receipts, receiving, repository, serving, spreading
from skyswarm.usecases.deps import Deps

if TYPE_CHECKING:
    from skyswarm.edge.runtime import Runtime

MAX_BODY = 256 * 1024
MAX_QUERY = 512
_PATH = re.compile(
    r"/a/(?P<agent>[0-9a-f]{64})/v1/(?P<action>[a-z_]{1,20})(?P<rest>/[A-Za-z0-9_./-]{0,200})?"
)
JSON = {"content-type": "application/json", "cache-control": "no-store", "x-content-type-options": "nosniff"}
TEXT = {**JSON, "content-type": "text/plain; charset=utf-8"}
BINARY = {**JSON, "content-type": "application/octet-stream"}


@dataclass(frozen=True, slots=True)
class Call:
    """A request that found its action."""

    deps: Deps
    agent: str
    role: str
    request: Request
    rest: str
    query: Mapping[str, str]
    tell: Callable[..., None]

    def checked(self) -> Checked:
        """Who signed this request. A gateway may have rewritten the authority: the one we announce counts too."""
        request, announced = self.request, spreading.endpoint_of(self.deps, self.agent)
        authorities = [request.authority, urlsplit(announced).netloc] if announced else [request.authority]
        return check_request(
            request.method,
            tuple(dict.fromkeys(authorities)),
            request.path,
            request.query,
            request.headers,
            request.body,
            self.agent,
            self.deps.clock(),
        )

    def number(self, name: str, default: int, most: int = 2**53 - 1) -> int:
        """A query parameter that is a plain number."""
        text = self.query.get(name, str(default))
        if not re.fullmatch(r"[0-9]{1,16}", text) or int(text) > most:
            raise RequestError(f"{name} must be a number of at most {most}")
        return int(text)


def _fetch_piece(call: Call) -> Response:
    deps, checked = call.deps, call.checked()
    asked = FetchRequest.parse(call.request.body)
    try:
        reply = serving.fetch_piece(deps, call.agent, checked, asked)
    except SkyError as error:
        call.tell(
            "refused", asker=checked.agent, manifest=asked.manifest, code=error.code, message=error.message
        )
        raise
    call.tell(
        "granted",
        asker=checked.agent,
        manifest=asked.manifest,
        pieces=sum(w.count for w in asked.want),
        chain=reply.chain,
    )
    return Response(200, JSON, reply.dump())


def _receipt(call: Call) -> Response:
    return Response(
        200, JSON, receipts.take_receipt(call.deps, call.agent, call.checked(), call.request.body)
    )


def _announce(call: Call) -> Response:
    _only(call, "repository")
    return Response(200, JSON, repository.announce(call.deps, call.agent, call.request.body))


def _vouch(call: Call) -> Response:
    return Response(200, JSON, _submit(call, repository.VOUCH_KINDS))


def _revoke(call: Call) -> Response:
    return Response(200, JSON, _submit(call, repository.REVOKE_KINDS))


def _submit(call: Call, kinds: frozenset[str]) -> bytes:
    if call.role == "repository":
        return repository.submit(call.deps, call.agent, call.request.body, kinds)
    return receiving.deliver(call.deps, call.agent, call.request.body, kinds)


def _lookup(call: Call) -> Response:
    _only(call, "repository")
    return Response(200, JSON, repository.lookup(call.deps, call.agent, call.rest, call.deps.clock()))


def _statements(call: Call) -> Response:
    _only(call, "repository")
    issuer = call.query.get("issuer")
    if issuer is not None:
        body = repository.chain(call.deps, call.agent, issuer, call.number("seq", 0))
    else:
        body = repository.statements(
            call.deps, call.agent, call.number("after", 0), call.number("limit", 256)
        )
    return Response(200, JSON, body)


def _checkpoint(call: Call) -> Response:
    _only(call, "repository")
    return Response(200, TEXT, repository.checkpoint(call.deps, call.agent))


def _tile(call: Call) -> Response:
    _only(call, "repository")
    return Response(200, BINARY, repository.tile(call.deps, call.agent, call.rest))


def _status(call: Call) -> Response:
    doc = {"v": 1, "agent": call.agent, "role": call.role, "software": f"skyswarm/{__version__}"}
    return Response(200, JSON, json.dumps(doc).encode())


ACTIONS: Mapping[tuple[str, str], Callable[[Call], Response]] = {
    ("POST", "fetch_piece"): _fetch_piece,
    ("POST", "receipt"): _receipt,
    ("POST", "announce"): _announce,
    ("POST", "vouch"): _vouch,
    ("POST", "revoke"): _revoke,
    ("GET", "lookup"): _lookup,
    ("GET", "statements"): _statements,
    ("GET", "checkpoint"): _checkpoint,
    ("GET", "tile"): _tile,
    ("GET", "status"): _status,
}


def _query(text: str) -> Mapping[str, str]:
    """The parameters by name; RequestError when one comes twice or there are too many."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=8)
    except ValueError as error:
        raise RequestError("a query of too many fields") from error
    if len(dict(pairs)) != len(pairs):
        raise RequestError("a query that names a field twice")
    return dict(pairs)


def _only(call: Call, role: str) -> None:
    if call.role != role:
        raise UnknownRouteError(f"this is not a {role}")


def answer(
    deps: Deps,
    roles: Mapping[str, str],
    request: Request,
    tell: Callable[..., None],
    only: frozenset[str] | None = None,
) -> Response:
    """Answer one request for any of the agents in `roles` (id → role). `only`: the actions this door may serve."""
    try:
        found = _PATH.fullmatch(request.path)
        if found is None or found["agent"] not in roles:
            raise UnknownRouteError("there is nothing at this path")
        action = ACTIONS.get((request.method, found["action"]))
        if action is None or (only is not None and found["action"] not in only):
            raise UnknownRouteError("there is nothing at this path for this method")
        if len(request.body) > MAX_BODY:
            raise TooLargeError(f"at most {MAX_BODY} bytes are taken at once")
        if len(request.query) > MAX_QUERY:
            raise TooLargeError(f"a query has at most {MAX_QUERY} characters")
        query = _query(request.query)
        rest = (found["rest"] or "/")[1:]
        return action(Call(deps, found["agent"], roles[found["agent"]], request, rest, query, tell))
    except SkyError as error:
        return refusal(outward(error, request.path, tell))
    except Exception as error:  # noqa: BLE001 - the last line: whoever asks learns nothing of our insides
        return _crashed(error, request, tell)


def _crashed(error: Exception, request: Request, tell: Callable[..., None]) -> Response:
    tell("crash", path=request.path, error=repr(error), kind=type(error).__name__)
    return refusal(SkyError("something went wrong here", advice="It is in the log of this agent."))


def make_app(runtime: Runtime, tell: Callable[..., None]) -> App:
    """The app of one home: its agent under `/a/<id>/`, presigned objects under `/o/`."""
    # Here, because a function serves no files of its machine and starts without what does.
    from skyswarm.edge.objects import serve_object

    roles = {runtime.agent: runtime.config.role}

    def app(request: Request) -> Response:
        if request.path.startswith("/o/"):
            storage = partial(runtime.storages.open, runtime.agent)
            try:
                return serve_object(storage, runtime.presigner, request, tell)
            except Exception as error:  # noqa: BLE001 - as in `answer`
                return _crashed(error, request, tell)
        return answer(runtime.deps, roles, request, tell)

    return app


def refusal(error: SkyError) -> Response:
    """The answer that an error is."""
    headers = dict(JSON)
    if error.status in (429, 503):
        headers["retry-after"] = "5"
    return Response(error.status, headers, json.dumps({"error": error.to_json()}).encode())
