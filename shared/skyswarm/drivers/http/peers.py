"""One HTTP exchange with another agent or a repository: the Peers port.

Law: one request, one reply, within one deadline for all of it; a reply is read only up to its limit. No redirect is
followed, no cookie kept, no proxy of the environment used, nothing retried: the request may have been done.
"""

from __future__ import annotations

import http.client
from collections.abc import Mapping

from skyswarm.drivers.http.address import AddressPolicy
from skyswarm.drivers.http.links import Deadline, Link, Links, Target, body_of, declared
from skyswarm.errors import SourceUnreachableError
from skyswarm.ports.network import Reply

__all__ = ["AddressPolicy", "HttpPeers"]


class HttpPeers:
    """Threads may share it; connections are kept for the next call."""

    def __init__(self, policy: AddressPolicy) -> None:
        self._links = Links(policy)

    def call(
        self, method: str, url: str, body: bytes, headers: Mapping[str, str], *, timeout: float, limit: int
    ) -> Reply:
        target = Target.parse(url)
        link, _ = self._links.take(target)
        try:
            pace = Deadline(timeout)
            response = link.exchange(pace, method, target, {"User-Agent": "skyswarm", **headers}, body)
            reply, whole = _read(link, response, limit)
        except TimeoutError as error:
            link.close()
            raise SourceUnreachableError(f"{target.authority} gave no answer in {timeout:g} s") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            link.close()
            raise SourceUnreachableError(f"{target.authority} cannot be reached: {error}") from error
        except BaseException:
            link.close()
            raise
        if whole:
            self._links.give(link)
        else:
            link.close()
        return reply

    def close(self) -> None:
        """Close the connections that are kept."""
        self._links.close()


def _read(link: Link, response: http.client.HTTPResponse, limit: int) -> tuple[Reply, bool]:
    """The reply, and whether the link can be used again."""
    if response.headers.get("content-encoding", "identity") != "identity":
        raise SourceUnreachableError(f"{link.target.authority} answered in an encoding nobody asked for")
    length = declared(response)
    if length > limit:
        raise SourceUnreachableError(f"{link.target.authority} answered with more than {limit} bytes")
    body = body_of(response, length)
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Reply(response.status, body, headers), response.isclosed() and not response.will_close
