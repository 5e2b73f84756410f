"""Signed requests: one fixed profile of RFC 9421 HTTP Message Signatures (`spec/messages.md`).

Law: exactly one form is accepted, to the byte, so there is no policy left to get wrong: label, components, their
order, parameters, algorithm and tag are constants. Steps, cheap ones first:

    1. the headers that must be there are there, short, and of their one form
    2. the request names this agent as its audience
    3. it is neither from the future nor too old
    4. the signature verifies under the key in keyid        (about 50 us; only here a key is used)
    5. the body is the one that was signed

Not done here: whether keyid is the agent's key *now* (its chain says so) and whether the nonce was used before (the
table says so). Why no library: `shared/decisions/messages-httpsig.md`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from skyswarm.errors import AudienceError, MalformedError, RequestError, SignatureError, StaleRequestError
from skyswarm.messages.fields import ID, MAX_TIME
from skyswarm.messages.keys import SIGNATURE_SIZE, Signer, did_key, parse_did_key, verify
from skyswarm.messages.urls import parse_url

LABEL = "sky"
TAG = "skyswarm-v1"
COMPONENTS = (
    "@method",
    "@authority",
    "@path",
    "@query",
    "content-digest",
    "skyswarm-agent",
    "skyswarm-audience",
)
HEADERS = ("skyswarm-agent", "skyswarm-audience", "content-digest", "signature-input", "signature")
"""The headers of a signed request. A server must see each of them once, or not at all."""
MAX_LIFE = 60
"""Seconds from created to expires, at most."""
MAX_SKEW = 120
"""Seconds that the clocks of two agents may differ."""
MAX_HEADER = 1024
MAX_AUTHORITIES = 4

_LIST = "(" + " ".join(f'"{name}"' for name in COMPONENTS) + ")"
_NONCE = r"[A-Za-z0-9_-]{21}[AQgw]"  # 16 bytes in base64url, in their one spelling
_NUMBER = r"0|[1-9][0-9]{0,11}"
_PARAMS = re.compile(
    re.escape(_LIST) + rf";created=(?P<created>{_NUMBER})"
    r';keyid="(?P<keyid>did:key:z[1-9A-HJ-NP-Za-km-z]{47})"'
    r';alg="ed25519"'
    rf";expires=(?P<expires>{_NUMBER})"
    rf';nonce="(?P<nonce>{_NONCE})"'
    rf';tag="{re.escape(TAG)}"'
)
_SIGNATURE = re.compile(rf"{LABEL}=:([A-Za-z0-9+/]{{86}}==):")
_DIGEST = re.compile(r"sha-256=:[A-Za-z0-9+/]{43}=:")
_METHOD = re.compile(r"[A-Z]{1,16}")
_AUTHORITY = re.compile(r"[a-z0-9.\-:\[\]]{1,262}")
_PATH = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/-]{0,2047}")
_QUERY = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@%/?-]{0,2048}")


@dataclass(frozen=True, slots=True)
class Checked:
    """A request whose signature holds. `public` is the key that signed; that it is `agent`'s, the caller must check.

    The nonce must be refused again until `remember_until` (Unix s): no copy of the request passes after that.
    """

    agent: str
    keyid: str
    public: bytes
    nonce: str
    created: int
    expires: int
    remember_until: float


def content_digest(body: bytes) -> str:
    """The Content-Digest header (RFC 9530) of a body."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"


def signature_base(values: Sequence[tuple[str, str]], params: str) -> bytes:
    """RFC 9421 section 2.5 for components without parameters; `params` is the value of @signature-params."""
    lines = [f'"{name}": {value}' for name, value in values]
    return "\n".join([*lines, f'"@signature-params": {params}']).encode("ascii")


def sign_request(
    method: str,
    url: str,
    body: bytes,
    signer: Signer,
    agent: str,
    audience: str,
    now: float,
    nonce: str,
    life: int = MAX_LIFE,
) -> dict[str, str]:
    """The headers that make a request one of `agent` to `audience` (agent ids), good for `life` seconds from `now`.

    `nonce` is 16 fresh random bytes in base64url without padding (22 characters). RequestError when an argument has no
    place in a signed request.
    """
    target = parse_url(url, error=RequestError)
    if re.fullmatch(_NONCE, nonce) is None or not 0 < life <= MAX_LIFE or not 0 <= now <= MAX_TIME:
        raise RequestError(f"a signed request has a nonce of 16 bytes and lives 1 to {MAX_LIFE} s")
    created, digest = int(now), content_digest(body)
    params = (
        f'{_LIST};created={created};keyid="{did_key(signer.public)}";alg="ed25519"'
        f';expires={created + life};nonce="{nonce}";tag="{TAG}"'
    )
    base = _base(method, target.authority, target.path, target.query, digest, agent, audience, params)
    signature = base64.b64encode(signer.sign(base)).decode()
    return {
        "Skyswarm-Agent": agent,
        "Skyswarm-Audience": audience,
        "Content-Digest": digest,
        "Signature-Input": f"{LABEL}={params}",
        "Signature": f"{LABEL}=:{signature}:",
    }


def check_request(
    method: str,
    authority: str | Sequence[str],
    path: str,
    query: str,
    headers: Mapping[str, str],
    body: bytes,
    audience: str,
    now: float,
    max_skew: float = MAX_SKEW,
) -> Checked:
    """All five steps. RequestError, AudienceError, StaleRequestError, SignatureError.

    `headers` has lower-case names; several lines of one name must arrive joined by commas, never dropped. `path` and
    `query` (without '?') are as they were on the wire. `authority` is what the asker called us: a gateway may rewrite
    the Host header, so up to four candidates are tried; none of them needs to be believed, `audience` is what binds.
    """
    # 1. the headers
    agent, named, digest, given, signed = (_header(headers, name) for name in HEADERS)
    label, _, params = given.partition("=")
    match = _PARAMS.fullmatch(params)
    if match is None or label != LABEL:
        raise RequestError("Signature-Input is not of the one form that the spec has", advice=_ADVICE)
    if ID.fullmatch(agent) is None or _DIGEST.fullmatch(digest) is None:
        raise RequestError(
            "Skyswarm-Agent or Content-Digest is not of the form that the spec has", advice=_ADVICE
        )
    signature, keyid = _read_signature(signed), match["keyid"]
    try:
        public = parse_did_key(keyid)
    except MalformedError as error:
        raise RequestError(f"keyid is {error.message}") from error
    # 2. the audience
    if not hmac.compare_digest(named.encode(), audience.encode()):
        raise AudienceError("this request is meant for another agent")
    # 3. the time
    created, expires = int(match["created"]), int(match["expires"])
    _in_time(created, expires, now, max_skew)
    # 4. the signature, under one of the authorities
    hosts = _candidates((authority,) if isinstance(authority, str) else authority)
    bases = [_base(method, host, path, query, digest, agent, named, params) for host in hosts]
    if not any(_verifies(public, base, signature) for base in bases):
        raise SignatureError("the signature does not verify under this key")
    # 5. the body
    if not hmac.compare_digest(content_digest(body), digest):
        raise SignatureError("the body is not the one that was signed")
    # Accepted while now <= expires + max_skew; one second more for the fraction.
    return Checked(agent, keyid, public, match["nonce"], created, expires, expires + max_skew + 1)


_ADVICE = "Sign as shared/spec/messages.md says: one signature, fixed components, fixed parameters."


def _header(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name)
    if value is None:
        raise RequestError(f"the header {name} is missing: this request must be signed", advice=_ADVICE)
    if len(value) > MAX_HEADER:
        raise RequestError(f"the header {name} is longer than {MAX_HEADER} characters")
    return value


def _read_signature(text: str) -> bytes:
    match = _SIGNATURE.fullmatch(text)
    try:
        raw = base64.b64decode(match.group(1), validate=True) if match else b""
    except binascii.Error:
        raw = b""
    if len(raw) != SIGNATURE_SIZE or f"{LABEL}=:{base64.b64encode(raw).decode()}:" != text:
        raise RequestError("Signature is not one Ed25519 signature under the label sky", advice=_ADVICE)
    return raw


def _in_time(created: int, expires: int, now: float, max_skew: float) -> None:
    if not 0 < expires - created <= MAX_LIFE:
        raise StaleRequestError(f"a request lives 1 to {MAX_LIFE} seconds, this one {expires - created}")
    # Written so that a clock that is not a number lets nothing pass.
    if not created <= now + max_skew:
        raise StaleRequestError(
            f"signed {created - now:.0f} s in the future", advice="Set the clock of the machine that asks."
        )
    if not now <= expires + max_skew:
        raise StaleRequestError(
            f"signed {now - created:.0f} s ago, good for {expires - created} s",
            advice="Sign again; if that does not help, set the clock of the machine that asks.",
        )


def _candidates(authorities: Sequence[str]) -> list[str]:
    """The authorities to check under, each once. One that nobody could have signed under spoils none of the others."""
    if not 1 <= len(authorities) <= MAX_AUTHORITIES:
        raise RequestError(f"a request has 1 to {MAX_AUTHORITIES} authorities to be checked under")
    hosts = [host for host in dict.fromkeys(one.lower() for one in authorities) if _AUTHORITY.fullmatch(host)]
    if not hosts:
        raise RequestError("the authority of this request cannot be signed")
    return hosts


def _verifies(public: bytes, base: bytes, signature: bytes) -> bool:
    try:
        verify(public, base, signature)
    except SignatureError:
        return False
    return True


def _base(
    method: str, authority: str, path: str, query: str, digest: str, agent: str, audience: str, params: str
) -> bytes:
    for value, pattern, what in (
        (method, _METHOD, "method"),
        (path, _PATH, "path"),
        (query, _QUERY, "query"),
        (agent, ID, "Skyswarm-Agent"),
        (audience, ID, "Skyswarm-Audience"),
    ):
        if pattern.fullmatch(value) is None:
            raise RequestError(f"the {what} of this request cannot be signed")
    values = (method, authority, path, f"?{query}", digest, agent, audience)
    return signature_base(tuple(zip(COMPONENTS, values, strict=True)), params)
