"""A signed request as the profile wants it, and ways of making one that a careless or hostile signer would make."""

from __future__ import annotations

import base64

from skyswarm.messages.fields import b64url
from skyswarm.messages.httpsig import (
    COMPONENTS,
    LABEL,
    TAG,
    Checked,
    check_request,
    sign_request,
    signature_base,
)
from skyswarm.messages.keys import SeedSigner, did_key
from tests.support.signing import hex_id, signer

NOW = 1_790_000_000
ME, ALICE, BOB = signer("asker"), hex_id("alice"), hex_id("bob")
URL = f"https://alice.example/a/{ALICE}/v1/fetch_piece"
PATH = f"/a/{ALICE}/v1/fetch_piece"
BODY = b'{"v":1}'
NONCE = b64url(bytes(range(16)))


def signed(url: str = URL, body: bytes = BODY, now: float = NOW, life: int = 60) -> dict[str, str]:
    headers = sign_request("POST", url, body, ME, BOB, ALICE, now, NONCE, life)
    return {name.lower(): value for name, value in headers.items()}


def check(
    headers: dict[str, str] | None = None,
    *,
    method: str = "POST",
    authority: str | tuple[str, ...] = "alice.example",
    path: str = PATH,
    query: str = "",
    body: bytes = BODY,
    audience: str = ALICE,
    now: float = NOW + 1,
) -> Checked:
    return check_request(
        method, authority, path, query, signed() if headers is None else headers, body, audience, now
    )


def resigned(
    params: str, names: tuple[str, ...] = COMPONENTS, key: SeedSigner = ME, label: str = LABEL
) -> dict[str, str]:
    """A request that a careless or hostile signer made: a right signature over other components or parameters."""
    headers = signed()
    values = {
        "@method": "POST",
        "@authority": "alice.example",
        "@path": PATH,
        "@query": "?",
        "content-digest": headers["content-digest"],
        "skyswarm-agent": BOB,
        "skyswarm-audience": ALICE,
    }
    value = "(" + " ".join(f'"{name}"' for name in names) + ")" + params
    base = signature_base([(name, values[name]) for name in names], value)
    raw = base64.b64encode(key.sign(base)).decode()
    return headers | {"signature-input": f"{label}={value}", "signature": f"{label}=:{raw}:"}


def params(**changes: str | None) -> str:
    parts: dict[str, str | None] = {
        "created": str(NOW),
        "keyid": f'"{did_key(ME.public)}"',
        "alg": '"ed25519"',
        "expires": str(NOW + 60),
        "nonce": f'"{NONCE}"',
        "tag": f'"{TAG}"',
    }
    return "".join(f";{name}={value}" for name, value in (parts | changes).items() if value is not None)
