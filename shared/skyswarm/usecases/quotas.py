"""What a repository lets issuers store: statements and bytes, of each and of all that are new here together.

Law: identities are free, so a quota of each of them bounds no flood: who is new here shares one more with all others
that are, and who is here already is not touched by it. What takes a trust or a key back has room of its own, which
nobody else can use up. Counted by meters, before anything is stored. `spec/repositories.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from skyswarm.errors import QuotaError
from skyswarm.ports.records import StatementRow
from skyswarm.usecases.deps import Deps

KEY_EVENTS = frozenset({"inception", "rotate", "retire"})
_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Quotas:
    """What one issuer may have a repository store. A thief of the signing key cannot use up the room for key events."""

    statements_per_day: int = 1000
    key_events_per_day: int = 32
    announcements_per_hour: int = 8192
    newcomers_per_hour: int = 600
    """Issuers that are new here, all together: identities are free, so no quota of each of them bounds a flood."""
    newcomers_per_day: int = 5000
    newcomer_days: int = 7
    """So long after its inception was logged here an issuer is new here."""
    newcomer_bytes_per_day: int = 64 * 1024 * 1024
    """All statements of issuers that are new here, together, beyond the reserve of each."""
    reserve_bytes: int = 12 * 1024
    """Of each issuer that is new here, as long as it is: its key events, and again its revocations and what they
    follow. Two of the longest, a dozen of the usual ones."""


QUOTAS = Quotas()


@dataclass(slots=True)
class _Meter:
    """One meter: its ceiling, when it ends (Unix s), what is counted already and what this batch adds."""

    name: str
    limit: int
    until: int
    before: int
    used: int = 0

    def fits(self, amount: int) -> bool:
        return self.before + self.used + amount <= self.limit


class Room:
    """What an issuer may still have stored now. `stored`: its statements here, the first first."""

    def __init__(
        self, deps: Deps, repo: str, issuer: str, stored: Sequence[StatementRow], now: float, quotas: Quotas
    ) -> None:
        self._deps, self._repo, self._now, self._quotas = deps, repo, now, quotas
        self._unknown = not stored
        day = int(now) // _DAY
        tomorrow = (day + 1) * _DAY
        self._statements = self._meter(f"statements/{issuer}/{day}", quotas.statements_per_day, tomorrow)
        self._keys = self._meter(f"keys/{issuer}/{day}", quotas.key_events_per_day, tomorrow)
        since = stored[0].received if stored else now
        end = int(since) + quotas.newcomer_days * _DAY
        self._new = now < end
        if self._new:
            self._shared = self._meter(f"newcomers/bytes/{day}", quotas.newcomer_bytes_per_day, tomorrow)
            self._key_reserve = self._meter(f"reserve/keys/{issuer}", quotas.reserve_bytes, end)
            self._reserve = self._meter(f"reserve/{issuer}", quotas.reserve_bytes, end)

    def _meter(self, name: str, limit: int, until: int) -> _Meter:
        return _Meter(name, limit, until, self._deps.meters.read(self._repo, name))

    def refusal(self, kind: str, size: int, *, leads: bool) -> QuotaError | None:
        """The error when one more of that kind and size (bytes) would be too many. `leads`: a revocation or key event
        is brought with it, which can only be taken after it."""
        own = self._own(kind)
        if not own.fits(1):
            return QuotaError(f"more than {own.limit} statements of one agent in a day", advice="Wait a day.")
        if self._new and not self._bytes(kind, size, leads).fits(size):
            return QuotaError(
                "agents that are new here have brought too much today; those that are here longer go on",
                advice="Try again tomorrow, or use another repository.",
            )
        return None

    def take(self, kind: str, size: int, *, leads: bool) -> None:
        """Count one that was not refused."""
        self._own(kind).used += 1
        if self._new:
            self._bytes(kind, size, leads).used += size

    def _own(self, kind: str) -> _Meter:
        return self._keys if kind in KEY_EVENTS else self._statements

    def _bytes(self, kind: str, size: int, leads: bool) -> _Meter:
        """What it is counted in: where it has a reserve, that one first, so that no race for what all share matters."""
        if kind in KEY_EVENTS or kind == "revoke":
            reserve = self._key_reserve if kind in KEY_EVENTS else self._reserve
            return reserve if reserve.fits(size) else self._shared
        return self._reserve if leads and not self._shared.fits(size) else self._shared

    def charge(self) -> None:
        """Count what is used. QuotaError when others were faster, or when too many have come lately: nothing of the
        batch is stored then."""
        if self._unknown:
            self._welcome()
        meters = [self._statements, self._keys]
        if self._new:
            meters += [self._shared, self._key_reserve, self._reserve]
        for one in meters:
            if one.used:
                self._deps.meters.add(self._repo, one.name, one.used, one.limit, one.until)

    def _welcome(self) -> None:
        """Count an issuer whose first statements are about to be stored."""
        hour, day = int(self._now) // 3600, int(self._now) // _DAY
        for meter, most, until in (
            (f"newcomers/hour/{hour}", self._quotas.newcomers_per_hour, (hour + 1) * 3600),
            (f"newcomers/day/{day}", self._quotas.newcomers_per_day, (day + 1) * _DAY),
        ):
            try:
                self._deps.meters.add(self._repo, meter, 1, most, until)
            except QuotaError as error:
                raise QuotaError(
                    "too many agents have come to this repository lately; those that are here go on",
                    advice="Try again in an hour, or use another repository.",
                ) from error
