"""The numbers an agent lives by: quotas, life times, sizes of work. All in one place, none hidden.

Law: plain values; sizes in bytes, times in seconds. An operator may set others in `limits.json` of the home.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Defaults fit one user's agent on small functions."""

    requests_per_minute: int = 600
    """Signed requests that one agent may send another."""
    strangers_per_minute: int = 120
    """Requests from agents that no chain reaches, all of them together: each may cost a few signature checks."""
    grant_ttl: int = 900
    """Life of the presigned URLs that are handed out."""
    lease: float = 60.0
    """A batch's lease; it is renewed at a third of this."""
    batch_bytes: int = 64 * 1024 * 1024
    batch_files: int = 240
    """One request asks for all URLs of a batch: so many of the longest that there are fit into one reply."""
    strikes: int = 3
    """Lies (pieces that do not verify) after which a source is dropped for the transfer."""
    rest: float = 2.0
    """A source that failed rests this long, doubling up to `rest_most`."""
    rest_most: float = 30.0
    patience: float = 600.0
    """A transfer that verified nothing for this long gives up, keeping what it has."""
    stall: float = 15.0
    """A source that sends nothing for this long, while it is read, has failed."""
    call_timeout: float = 15.0
    lookup_timeout: float = 5.0
    announce_ttl: int = 6 * 3600
    status_every: float = 1.0
    vouch_days: int = 30
    failures_kept: int = 100
    log_bytes_per_day: int = 256 * 1024 * 1024
    """Read of one repository's log in a day (UTC); what is beyond that waits."""
    log_bytes: int = 4 * 1024 * 1024 * 1024
    """Read of one repository's log in all."""
