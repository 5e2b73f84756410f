"""Which addresses an agent connects to: a peer names its own endpoint, so it could name our inside (SSRF).

Law: the decision is about the numeric address that is then connected to, never about a name: a name that
resolves differently the second time gains nothing. No proxy of the environment is used, for the same reason.
"""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from skyswarm.errors import SourceUnreachableError

METADATA = frozenset(
    ip_address(text)
    for text in (
        "169.254.169.254",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd20:ce::254",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
    )
)
"""Where clouds hand credentials to whoever asks from inside."""

_OLD = (IPv6Network("64:ff9b::/96"), IPv6Network("::/96"))  # NAT64, "IPv4-compatible"
# All IPv6 addresses that belong to somebody, and those of houses. Beyond are translators to IPv4 of this network's own
# (64:ff9b:1::/48, ::ffff:0:0:0/96) and what has no use any more; some Pythons call them global.
_ASSIGNED = (IPv6Network("2000::/3"), IPv6Network("fc00::/7"))
_CONNECT = 10.0


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """`allow_private`: loopback and private networks too, for agents of one machine or one house. Clouds' metadata
    services, link-local, multicast and unspecified addresses are never connected to."""

    allow_private: bool = False

    def allows(self, address: str) -> bool:
        """Whether to connect to this numeric address."""
        found = _inner(ip_address(address.partition("%")[0]))
        if found in METADATA or found.is_link_local or found.is_multicast or found.is_unspecified:
            return False
        if isinstance(found, IPv4Address) and found.is_reserved:
            return False  # 240.0.0.0/4 with the broadcast address
        if (
            isinstance(found, IPv6Address)
            and not any(found in one for one in _ASSIGNED)
            and not found.is_loopback
        ):
            return False
        return found.is_global or (self.allow_private and (found.is_private or found.is_loopback))

    def connect(self, host: str, port: int, timeout: float) -> socket.socket:
        """A connected socket. SourceUnreachableError."""
        end = time.monotonic() + timeout
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise SourceUnreachableError(f"{host} has no address: {error}") from error
        last = "no address of it is one to connect to"
        for family, kind, number, _, address in found:
            if not self.allows(str(address[0])):
                continue
            left = end - time.monotonic()
            if left <= 0:
                last = "no time left"
                break
            sock = socket.socket(family, kind, number)
            try:
                sock.settimeout(min(_CONNECT, left))
                sock.connect(address)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError as error:
                sock.close()
                last = error.strerror or str(error)
            else:
                return sock
        raise SourceUnreachableError(f"{host}:{port} cannot be reached: {last}")


def _inner(found: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv6 one stands for, if it does."""
    if isinstance(found, IPv6Address):
        if any(found in network for network in _OLD) and int(found) > 1:
            return IPv4Address(int(found) & 0xFFFFFFFF)
        return found.ipv4_mapped or found.sixtofour or found
    return found
