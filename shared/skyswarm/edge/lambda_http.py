"""A front door for AWS Lambda: an event of an HTTP API or a function URL (payload 2.0) in, its reply out.

Law: translates, calls `api.answer`, translates back. No rule, no routing of its own. What came is kept as it came, for
it was signed so: path, query and body; a body that is too long is cut before it is decoded, just long enough that
`answer` refuses it. No SDK and no Powertools is loaded here (`shared/decisions/aws-doors.md`).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

from skyswarm.edge.api import MAX_BODY, answer, refusal
from skyswarm.edge.http import FileRange, Request, Response
from skyswarm.edge.lambda_root import Event, Kept, Opener, count, tell
from skyswarm.errors import RequestError, SkyError

Reply = dict[str, Any]
_BASE64 = (MAX_BODY + 3) // 3 * 4
"""Letters that are enough for one byte more than a body may have."""
_TEXTS = ("application/json", "text/")


def door(action: str, opener: Opener) -> Callable[[Event, Any], Reply]:
    """The handler that serves one action; `opener` makes its root at the first call."""
    return doors(frozenset({action}), opener)


def doors(actions: frozenset[str], opener: Opener) -> Callable[[Event, Any], Reply]:
    """The handler that serves these actions."""
    root = Kept(opener)

    def handle(event: Event, context: Any) -> Reply:
        request_id = getattr(context, "aws_request_id", "")

        def told(name: str, **fields: object) -> None:
            tell(name, request=request_id, **fields)

        try:
            here = root()
            request = request_of(event)
        except SkyError as error:
            response = refusal(error)
        else:
            response = answer(here.deps, here.roles, request, told, actions)
        if response.status >= 500:
            count("Failed", request=request_id, status=response.status)
        return reply_of(response)

    return handle


def request_of(event: Event) -> Request:
    """The request as it came. RequestError: the event is of another kind."""
    try:
        http = event["requestContext"]["http"]
        headers = {str(name).lower(): str(value) for name, value in event.get("headers", {}).items()}
        return Request(
            method=str(http["method"]),
            authority=headers.get("host") or str(event["requestContext"].get("domainName", "")),
            path=str(event["rawPath"]),
            query=str(event.get("rawQueryString", "")),
            headers=headers,
            body=_body(event.get("body") or "", bool(event.get("isBase64Encoded"))),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise RequestError("this is no event of an HTTP request") from error


def _body(text: str, encoded: bool) -> bytes:
    if not encoded:
        return text[: MAX_BODY + 1].encode("utf-8", "surrogatepass")
    try:
        return base64.b64decode(text[:_BASE64], validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError("the body is not the base64 that the event says") from error


def reply_of(response: Response) -> Reply:
    """What Lambda sends back. Bytes that are no text go in base64; the gateway decodes them again."""
    body = response.body
    data = b"".join(body.chunks()) if isinstance(body, FileRange) else body
    response.close()
    kind = next((value for name, value in response.headers.items() if name.lower() == "content-type"), "")
    text = kind.startswith(_TEXTS)
    return {
        "statusCode": response.status,
        "headers": dict(response.headers),
        "body": data.decode() if text else base64.b64encode(data).decode(),
        "isBase64Encoded": not text,
    }
