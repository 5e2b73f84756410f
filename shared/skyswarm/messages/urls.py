"""URLs that peers write: endpoints, repositories and presigned links, read once and strictly (`spec/messages.md`).

Law: one spelling per address. What two URL parsers could read differently (userinfo, backslashes, percent signs in a
host, numeric hosts, dot segments, control characters) is refused, so that what was checked is what is called.
Whether an address may be called at all (private networks) is the HTTP driver's policy, not decided here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from skyswarm.errors import InputError, MalformedError

MAX_ENDPOINT = 512
MAX_URL = 4096

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_URL = re.compile(
    rf"(?P<scheme>https?)://(?:(?P<name>{_LABEL}(?:\.{_LABEL})*)|\[(?P<six>[0-9a-f:.]{{2,45}})\])"
    r"(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?P<path>(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*)*)"
    r"(?:\?(?P<query>(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*))?"
)
_ENDPOINT_PATH = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*")
_DEFAULT_PORTS = {"http": "80", "https": "443"}


@dataclass(frozen=True, slots=True)
class Url:
    """An http(s) URL in parts: `authority` as the Host header has it, `path` never empty, `query` without '?'."""

    scheme: str
    authority: str
    path: str
    query: str


def parse_url(text: str, *, limit: int = MAX_URL, error: type[InputError] = MalformedError) -> Url:
    """An http(s) URL without userinfo or fragment, with a lower-case host; `error` otherwise."""
    match = _URL.fullmatch(text) if len(text) <= limit else None
    if match is None:
        raise error(f"not an http(s) URL of at most {limit} characters in the form that the spec allows")
    name, six, port, scheme = match["name"], match["six"], match["port"], match["scheme"]
    if port is not None and (int(port) > 65535 or port == _DEFAULT_PORTS[scheme]):
        raise error(f"a URL with the port {port}, which is out of range or the scheme's own")
    host = _six(six, error) if six is not None else _name(name, error)
    path = match["path"] or "/"
    if any(part.lower().replace("%2e", ".") in (".", "..") for part in path.split("/")):
        raise error("a URL with a dot segment in its path")
    return Url(scheme, f"{host}:{port}" if port else host, path, match["query"] or "")


def parse_endpoint(text: str, *, error: type[InputError] = MalformedError) -> str:
    """The base URL of an agent or repository, unchanged: no query, no percent signs, no trailing slash, ≤ 512."""
    url = parse_url(text, limit=MAX_ENDPOINT, error=error)
    plain = "" if url.path == "/" else url.path
    if _ENDPOINT_PATH.fullmatch(plain) is None or text != f"{url.scheme}://{url.authority}{plain}":
        raise error(
            "an endpoint is http(s)://host[:port][/path] without query, percent signs or a trailing slash"
        )
    return text


def _name(name: str, error: type[InputError]) -> str:
    # A last label that is a number makes the whole an IPv4 address to some parsers (127.1, 0x7f.1, 2130706433).
    last = name.rpartition(".")[2]
    if last.isdigit() or re.fullmatch(r"0x[0-9a-f]*", last):
        try:
            return str(IPv4Address(name))
        except AddressValueError as wrong:
            raise error("a URL with a numeric host that is not a dotted IPv4 address") from wrong
    if len(name) > 253:
        raise error("a URL with a host name longer than 253 characters")
    return name


def _six(six: str, error: type[InputError]) -> str:
    try:
        address = IPv6Address(six)
    except AddressValueError as wrong:
        raise error("a URL with brackets around what is not an IPv6 address") from wrong
    # Written here, not by `str`: from Python 3.13 on that ends IPv4-mapped addresses in a dotted IPv4 address, and all
    # agents must agree on what an endpoint is.
    mapped = address.ipv4_mapped
    shortest = str(address) if mapped is None else f"::ffff:{int(mapped) >> 16:x}:{int(mapped) & 0xFFFF:x}"
    if shortest != six:
        raise error("a URL with an IPv6 address that is not in its shortest form")
    return f"[{six}]"
