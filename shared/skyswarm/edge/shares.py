"""What all clients of a server have together, and the most that one of them may have of it.

Law: counts only, no sockets. A client is an IPv4 address or the /64 of an IPv6 one: whoever has one address of that has
all of it.
"""

from __future__ import annotations

import threading
from collections import Counter
from ipaddress import IPv6Address, ip_address


class Shares:
    """`most` of something; one client may have half of it. Threads may share it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._each = max(1, most // 2)
        self._taken: Counter[str] = Counter()
        self._lock = threading.Lock()

    def take(self, client: str, count: int, *, over: bool = False) -> bool:
        """Whether there is so much left for this client, which then has it; `over`: also beyond its share."""
        with self._lock:
            fits = self._taken.total() + count <= self._most and self._taken[client] + count <= self._each
            if fits or over:
                self._taken[client] += count
            elif not self._taken[client]:
                del self._taken[client]
            return fits or over

    def give(self, client: str, count: int) -> None:
        """It is free again."""
        with self._lock:
            self._taken[client] -= count
            if self._taken[client] <= 0:
                del self._taken[client]


def client_of(address: str) -> str:
    """The name of the client that is at a numeric address."""
    found = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address):
        return str(found.ipv4_mapped) if found.ipv4_mapped else f"{int(found) >> 64:x}::/64"
    return str(found)
