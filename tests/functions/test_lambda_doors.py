"""Lambda's door: the same request gives the same reply, byte for byte, as the other cloud's door; and its events."""

from __future__ import annotations

import base64
import json
import shutil
import types
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from skyswarm.edge.api import MAX_BODY
from skyswarm.edge.http import Response
from skyswarm.edge.lambda_http import door, reply_of, request_of
from skyswarm.edge.lambda_root import Root
from skyswarm.errors import NoHomeError, RequestError, UnavailableError
from skyswarm.messages.requests import FetchRequest, SubmitRequest, Want
from tests.support.attack import Agent, Sybil, call, signed, town
from tests.support.doors import CLOUDS, Door, LambdaDoor
from tests.support.lambda_runtime import Function, FunctionError, http_event
from tests.support.stage import until

SHOWN = ("content-type", "cache-control", "x-content-type-options", "retry-after")
JSON = {"content-type": "application/json"}
CONTEXT = types.SimpleNamespace(aws_request_id="a-request")


class Twins:
    """Copies of one home, and a door of each cloud over its own: what one is asked, the other is asked too."""

    def __init__(self, alice: Agent, bob: Agent, share: str, folder: Path) -> None:
        self.alice, self.bob, self.share = alice, bob, share
        self._doors: dict[tuple[str, str], Door | LambdaDoor] = {}
        for cloud in CLOUDS:
            shutil.copytree(alice.home, folder / cloud)
            for name in ("fetch_piece", "vouch", "revoke"):
                out = folder / f"{cloud}-{name}.txt"
                self._doors[name, cloud] = CLOUDS[cloud](name, folder / cloud, alice.id, out)
        for one in self._doors.values():
            one.ready()

    def close(self) -> None:
        for one in self._doors.values():
            one.close()

    def both(self, name: str, method: str, rest: str, body: bytes, headers: dict[str, str]) -> list[Any]:
        """Status, headers and bytes of both replies."""
        out = []
        for cloud in CLOUDS:
            answer = call(method, f"{self._doors[name, cloud].url}{rest}", body, headers)
            out.append((answer.status, {one: answer.headers.get(one) for one in SHOWN}, answer.body))
        return out


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twins]:
    folder = tmp_path_factory.mktemp("twins")
    with town(folder / "town") as where:
        alice, bob = where.agent("alice"), where.agent("bob")
        alice.vouch(bob)
        alice.hears(bob)
        share = alice.publish({"ä/b": b"the same\n" * 100}, cap_bytes=10**9).manifest.id
        made = Twins(alice, bob, share, folder)
        yield made
        made.close()


def test_what_is_granted_is_the_same_to_the_byte(twins: Twins) -> None:
    """Ends of URLs are whole seconds: both are asked until they were asked in the same one."""
    body = FetchRequest(twins.share, (Want(0, 0, 0, 1),)).dump()
    for _ in range(20):
        _, headers = signed(twins.bob, twins.alice, body)
        one, other = twins.both("fetch_piece", "POST", "/v1/fetch_piece", body, headers)
        assert one[0] == other[0] == 200, other
        if one == other:
            break
    assert one == other
    assert b'"urls"' in one[2]


ASKED: dict[str, Callable[[Twins], tuple[str, str, str, bytes, dict[str, str]]]] = {
    "unsigned": lambda t: ("fetch_piece", "POST", "/v1/fetch_piece", b"{}", JSON),
    "no type, in base64": lambda t: ("fetch_piece", "POST", "/v1/fetch_piece", b"{}", {}),
    "empty": lambda t: ("fetch_piece", "POST", "/v1/fetch_piece", b"", {}),
    "no text": lambda t: ("vouch", "POST", "/v1/vouch", bytes(range(256)), {}),
    "no text that says it is": lambda t: ("vouch", "POST", "/v1/vouch", b'{"v":"\xff"}', {}),
    "text": lambda t: ("vouch", "POST", "/v1/vouch", '{"v":"ä\\u0000"}'.encode(), JSON),
    "as long as may be": lambda t: ("vouch", "POST", "/v1/vouch", b" " * MAX_BODY, JSON),
    "one byte more": lambda t: ("vouch", "POST", "/v1/vouch", b" " * (MAX_BODY + 1), JSON),
    "one byte more, in base64": lambda t: ("vouch", "POST", "/v1/vouch", b" " * (MAX_BODY + 1), {}),
    "far too long": lambda t: ("vouch", "POST", "/v1/vouch", b"\xc3\xa4" * MAX_BODY, JSON),
    "a vouch": lambda t: ("vouch", "POST", "/v1/vouch", vouched(41, t.alice), JSON),
    "a vouch for a stranger": lambda t: ("vouch", "POST", "/v1/vouch", vouched(42, None), JSON),
    "a vouch at the other door": lambda t: ("revoke", "POST", "/v1/revoke", vouched(43, t.alice), JSON),
    "another method": lambda t: ("vouch", "GET", "/v1/vouch", b"", {}),
    "another path": lambda t: ("vouch", "POST", "/v1/vouch/%2e%2e?x=1", b"{}", JSON),
    "a query": lambda t: ("revoke", "POST", "/v1/revoke?a=%20&b=+", b"{}", JSON),
    "a query too long": lambda t: ("revoke", "POST", "/v1/revoke?" + "a" * 600, b"{}", JSON),
    "a query of two": lambda t: ("revoke", "POST", "/v1/revoke?a=1&a=2", b"{}", JSON),
}


def vouched(number: int, alice: Agent | None) -> bytes:
    one = Sybil(number)
    return SubmitRequest((*one.chain, one.vouch(alice.id if alice else "b" * 64, 1_790_000_000))).dump()


@pytest.mark.parametrize("name", ASKED)
def test_the_same_request_has_the_same_reply_to_the_byte(twins: Twins, name: str) -> None:
    one, other = twins.both(*ASKED[name](twins))
    assert one == other
    assert one[0] in (200, 400, 401, 403, 404, 413)


def test_what_is_signed_for_our_announced_address_is_taken_behind_a_gateway(twins: Twins) -> None:
    """A gateway puts its own name into the place of Host; a forwarded one is nobody's word."""
    deps, alice = twins.alice.deps, twins.alice
    with ThreadPoolExecutor(1) as pool:
        handle = door("fetch_piece", lambda: Root(deps, alice.id, "agent", alice.url, pool))
        body = FetchRequest(twins.share, (Want(0, 0, 0, 1),)).dump()
        for url, forwarded, status in (
            (f"{alice.url}/v1/fetch_piece", "", 200),
            (f"https://gateway.example/a/{alice.id}/v1/fetch_piece", "", 200),
            (f"https://evil.example/a/{alice.id}/v1/fetch_piece", "evil.example", 401),
        ):
            _, headers = signed(twins.bob, alice, body, url=url)
            sent = [*headers.items(), ("x-forwarded-host", forwarded)]
            path = f"/a/{alice.id}/v1/fetch_piece"
            event = http_event("POST", path, sent, body, domain="gateway.example")
            assert handle(event, CONTEXT)["statusCode"] == status


def test_a_path_that_the_gateway_has_decoded_is_not_the_one_that_was_signed(twins: Twins) -> None:
    """An HTTP API decodes `rawPath`, and cuts it at a question mark that it decoded; a function URL does neither."""
    deps, alice = twins.alice.deps, twins.alice
    body = FetchRequest(twins.share, (Want(0, 0, 0, 1),)).dump()
    path = f"/a/{alice.id}/v1/fetch_piece"
    with ThreadPoolExecutor(1) as pool:
        handle = door("fetch_piece", lambda: Root(deps, alice.id, "agent", alice.url, pool))
        for spelt, raw in (
            ("%66etch_piece", path),
            ("fetch_piece%3Fx", path),
            ("fetch_piece%20", f"{path} "),
        ):
            url = f"https://gateway.example/a/{alice.id}/v1/{spelt}"
            _, headers = signed(twins.bob, alice, body, url=url)
            reply = handle(
                http_event("POST", raw, [*headers.items()], body, domain="gateway.example"), CONTEXT
            )
            assert reply["statusCode"] == (401 if raw == path else 404)


# ---- events and replies ----------------------------------------------------------------------
EVENT = http_event(
    "POST", "/a/b%2Fc?x=%20&y", [("Host", "h"), ("X-A", "1"), ("x-a", "2"), *JSON.items()], b'"\xc3\xa4"'
)


def test_an_event_is_the_request_as_it_came() -> None:
    request = request_of(EVENT)
    assert (request.method, request.authority, request.path) == ("POST", "h", "/a/b%2Fc")
    assert (request.query, request.body) == ("x=%20&y", b'"\xc3\xa4"')
    assert request.headers["x-a"] == "1,2"


def test_without_a_host_the_gateways_own_name_counts() -> None:
    event = EVENT | {"headers": {"X-B": "1"}}
    event["requestContext"] = EVENT["requestContext"] | {"domainName": "d.example"}
    assert request_of(event).authority == "d.example"
    assert request_of(event).headers == {"x-b": "1"}


@pytest.mark.parametrize(
    "size", [MAX_BODY - 1, MAX_BODY, MAX_BODY + 1, MAX_BODY + 2, MAX_BODY + 3, 5_000_000]
)
@pytest.mark.parametrize("encoded", [True, False])
def test_what_is_too_long_is_not_decoded_to_its_end(size: int, encoded: bool) -> None:
    data = b"a" * size
    text = base64.b64encode(data).decode() if encoded else data.decode()
    got = request_of(EVENT | {"body": text, "isBase64Encoded": encoded}).body
    assert got == data if size <= MAX_BODY else MAX_BODY < len(got) <= MAX_BODY + 3


@pytest.mark.parametrize(
    "event",
    [{}, {"Records": []}, {"version": "1.0", "httpMethod": "POST", "path": "/"}, EVENT | {"requestContext": None},
     EVENT | {"headers": []}, EVENT | {"body": "not base64!", "isBase64Encoded": True}, EVENT | {"body": 7}],
)  # fmt: skip
def test_an_event_of_another_kind_is_refused(event: dict[str, Any]) -> None:
    with pytest.raises(RequestError):
        request_of(event)


def test_half_a_letter_is_no_crash() -> None:
    assert request_of(EVENT | {"body": "\ud800"}).body == b"\xed\xa0\x80"


def test_bytes_go_in_base64_and_text_as_it_is() -> None:
    binary = reply_of(Response(200, {"Content-Type": "application/octet-stream"}, b"\xff\x00"))
    assert (binary["body"], binary["isBase64Encoded"]) == ("/wA=", True)
    note = reply_of(Response(200, {"content-type": "text/plain; charset=utf-8"}, "— note\n".encode()))
    assert (note["body"], note["isBase64Encoded"]) == ("— note\n", False)
    assert reply_of(Response(204))["body"] == ""


# ---- its own process -------------------------------------------------------------------------
def test_a_root_that_fails_is_asked_again(capsys: pytest.CaptureFixture[str], twins: Twins) -> None:
    made: list[str] = []
    with ThreadPoolExecutor(1) as pool:

        def opener() -> Root:
            made.append("")
            if len(made) < 3:
                raise NoHomeError("not yet") if len(made) == 1 else UnavailableError("away")
            return Root(twins.alice.deps, twins.alice.id, "agent", twins.alice.url, pool)

        handle = door("vouch", opener)
        event = http_event("POST", f"/a/{twins.alice.id}/v1/vouch", list(JSON.items()), b"{}")
        replies = [handle(event, CONTEXT) for _ in range(4)]
    assert [one["statusCode"] for one in replies] == [500, 503, 400, 400]
    assert replies[1]["headers"]["retry-after"] == "5"
    assert len(made) == 3
    counted = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["Failed"], one["status"], one["request"]) for one in counted] == [
        (1, 500, "a-request"),
        (1, 503, "a-request"),
    ]
    measured = counted[0]["_aws"]["CloudWatchMetrics"][0]
    assert (measured["Namespace"], measured["Metrics"]) == ("Skyswarm", [{"Name": "Failed", "Unit": "Count"}])
    assert all(name in counted[0] for name in measured["Dimensions"][0])


def test_a_refusal_is_in_the_log_with_its_request_and_trace(twins: Twins) -> None:
    body = FetchRequest("0" * 64, (Want(0, 0, 0, 1),)).dump()
    _, headers = signed(twins.bob, twins.alice, body)
    assert twins.both("fetch_piece", "POST", "/v1/fetch_piece", body, headers)[1][0] == 404
    at = twins._doors["fetch_piece", "aws"]
    assert isinstance(at, LambdaDoor)
    said = [one for one in at.function.lines() if one.get("event") == "refused"][-1]
    assert (said["asker"], said["code"], said["function"]) == (twins.bob.id, "SKY-214", "fetch_piece")
    assert len(said["request"]) == 36
    assert said["xray"].startswith("Root=1-")
    assert "signature" not in at.out.read_text().lower()


def test_what_is_no_request_is_answered_and_what_cannot_be_loaded_is_said(tmp_path: Path) -> None:
    function = Function("functions.vouch.aws.handler", {}, tmp_path / "out.txt")
    assert json.loads(function.invoke({"ping": 1})["body"])["error"]["code"] == "SKY-701"
    function.close()
    broken = Function("functions.nothing.aws.handler", {}, tmp_path / "broken.txt")
    with pytest.raises(FunctionError) as caught:
        broken.invoke({})
    assert caught.value.kind == "Runtime.ImportModuleError"
    broken.close()


def test_in_lambda_a_root_is_made_while_the_environment_starts(tmp_path: Path) -> None:
    """Nothing was asked yet when the home that is not there was looked for."""
    out = tmp_path / "out.txt"
    function = Function("functions.vouch.aws.handler", {"SKYSWARM_HOME": str(tmp_path / "none")}, out)
    until(lambda: function.lines() != [], 30, "the function to say what it lacks")
    assert [one["code"] for one in function.lines()] == ["SKY-701"]
    assert json.loads(function.invoke({})["body"])["error"]["code"] == "SKY-701"
    assert [one["event"] for one in function.lines()] == ["failed", "failed", "count"]
    function.close()
