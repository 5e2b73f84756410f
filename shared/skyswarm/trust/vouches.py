"""One issuer's vouches as its accepted chain leaves them: which it took back, which scopes it withdrew.

Law: reads statements in chain order, knows no time, no other issuer and no graph (spec/trust.md, "What ends a
vouch"). A later statement wins over an earlier one: a revocation or distrust ends the vouches *before* it, a
vouch after it counts again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from skyswarm.messages.statements import Distrust, Logged, Retire, Revoke, Vouch
from skyswarm.trust.graph import Edge
from skyswarm.trust.verdict import Broken, Reason


@dataclass(slots=True, eq=False)
class Record:
    """A vouch that was accepted once. `withdrawn`: by scope, its issuer's last statement against it. `edge`: as it
    stands in the graph now, if it does."""

    vouch: Vouch
    withdrawn: dict[str, Revoke | Distrust] = field(default_factory=dict)
    void: bool = False
    edge: Edge | None = None

    def scopes(self) -> frozenset[str]:
        """The scopes that its issuer has not withdrawn."""
        return frozenset(self.vouch.scope).difference(self.withdrawn)

    def broken(self, reason: Reason, by: Logged | None = None) -> Broken:
        """This vouch as the link that is missing."""
        note = by.reason if isinstance(by, Revoke | Distrust) else ""
        return Broken(reason, by.iss if by else self.vouch.iss, self.vouch.sub, by.id if by else None, note)

    def ended(self, scope: str) -> Broken | None:
        """How its own issuer ended it for a scope."""
        if self.void:
            return self.broken(Reason.VOID)
        by = self.withdrawn.get(scope)
        if by is None:
            return None
        return self.broken(Reason.REVOKED if isinstance(by, Revoke) else Reason.DISTRUSTED, by)


class Ledger:
    """The vouches of one issuer, and its standing distrust of others as advice."""

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}
        self.retired: Retire | None = None
        self._by_sub: dict[str, list[Record]] = {}
        self._distrust: dict[str, dict[str, Distrust]] = {}

    def distrusted(self, sub: str) -> Mapping[str, Distrust]:
        """The scopes for which the issuer's last word about `sub` is distrust, with the statement."""
        return self._distrust.get(sub, {})

    def advised(self) -> list[str]:
        """Whom it distrusts for anything."""
        return [sub for sub, standing in self._distrust.items() if standing]

    def read(self, statement: Logged) -> tuple[list[Record], str | None]:
        """Take the next statement in. Returns the records that it made or changed, and whom new advice is
        about.
        """
        if isinstance(statement, Vouch):
            record = self.records[statement.id] = Record(statement)
            self._by_sub.setdefault(statement.sub, []).append(record)
            standing = self._distrust.get(statement.sub, {})
            taken_back = [standing.pop(scope) for scope in statement.scope if scope in standing]
            return [record], statement.sub if taken_back else None
        if isinstance(statement, Revoke):
            one = self.records.get(statement.vouch or "")
            ended = self._by_sub.get(statement.sub or "", []) if one is None else [one]
            return [record for record in ended if _withdraw(record, statement, record.vouch.scope)], None
        if isinstance(statement, Distrust):
            self._distrust.setdefault(statement.sub, {}).update(dict.fromkeys(statement.scope, statement))
            ended = self._by_sub.get(statement.sub, [])
            return [
                record for record in ended if _withdraw(record, statement, statement.scope)
            ], statement.sub
        if isinstance(statement, Retire):
            self.retired = statement
            return list(self.records.values()), None
        return [], None


def _withdraw(record: Record, by: Revoke | Distrust, scopes: tuple[str, ...]) -> bool:
    """End a vouch for some scopes; the newest statement that does is the reason. Whether any was live until now."""
    ended = [scope for scope in scopes if scope in record.vouch.scope]
    new = any(scope not in record.withdrawn for scope in ended)
    record.withdrawn.update(dict.fromkeys(ended, by))
    return new
