"""Shares, nonces, meters and notes: one item each, written conditionally.

Law: one method is one request. Expiry is judged by the `now` that is given; the broom comes later than anybody's clock.
"""

from __future__ import annotations

import math
from dataclasses import asdict, replace

from skyswarm.drivers.aws.dynamo.items import Item, Key, Value, pk
from skyswarm.drivers.aws.dynamo.table import Refused, Table
from skyswarm.errors import ConflictError, QuotaError
from skyswarm.ports.records import Entry, Share
from skyswarm.ports.sizes import MAX_KEY, check

# An expired nonce is kept this long, so that a caller whose clock is behind still finds it.
_NONCE_SLACK = 600
_METER_SLACK = 86_400
_ABSENT = "attribute_not_exists(#pk)"


class DynamoShares:
    """The Shares port."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def put(self, agent: str, share: Share) -> None:
        values: dict[str, Value] = asdict(share)
        self._table.write(self._table.putting(_share_key(agent, share.manifest), values))

    def get(self, agent: str, manifest: str) -> Share | None:
        item = self._table.get(_share_key(agent, manifest))
        return None if item is None else _share(item)

    def page(self, agent: str, after: str = "", limit: int = 100) -> list[Share]:
        out: list[Share] = []
        for item in self._table.query(pk(agent, "shares"), low=f"={after}", page=limit + 1):
            if len(out) == limit:
                break
            if item["manifest"] > after:
                out.append(_share(item))
        return out

    def delete(self, agent: str, manifest: str) -> None:
        self._table.write(self._table.deleting(_share_key(agent, manifest)))


def _share_key(agent: str, manifest: str) -> Key:
    return Key(pk(agent, "shares"), f"={manifest}")


def _share(item: Item) -> Share:
    values = {name: value for name, value in item.items() if name not in ("pk", "sk")}
    return Share(**{**values, "created": float(values["created"])})


class DynamoNonces:
    """The Nonces port."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def use(self, agent: str, nonce: str, expires: float, now: float) -> bool:
        item: dict[str, Value] = {"expires": expires, "ttl": math.ceil(expires) + _NONCE_SLACK}
        # A request is still good in the very second it expires, so its nonce must be, too.
        condition = f"{_ABSENT} OR #expires < :now"
        try:
            self._table.write(
                self._table.putting(Key(pk(agent, "nonce", nonce), "-"), item, condition, now=now)
            )
        except Refused:
            return False
        return True


class DynamoMeters:
    """The Meters port."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def add(self, agent: str, meter: str, amount: int, limit: int, expires: float = 0) -> int:
        key, room = _meter_key(agent, meter), limit - amount
        condition = "#total <= :room"
        if room >= 0:
            condition += f" OR {_ABSENT}"
        change, values = "ADD #total :amount", {"amount": amount, "room": room}
        if expires:
            change += " SET #ttl = if_not_exists(#ttl, :ttl)"
            values["ttl"] = math.ceil(expires) + _METER_SLACK
        update = self._table.updating(key, change, condition, **values)
        try:
            if amount >= 0:
                # Applied twice when its answer is lost: that errs to the safe side.
                return int(self._table.write(update)["total"])
            # What is given back must not be given back twice: a transaction carries a token.
            self._table.transact([update])
        except Refused as refused:
            raise QuotaError(f"{meter}: {amount} more would pass the limit of {limit}") from refused
        return self.read(agent, meter)

    def read(self, agent: str, meter: str) -> int:
        item = self._table.get(_meter_key(agent, meter))
        return 0 if item is None else int(item["total"])


def _meter_key(agent: str, meter: str) -> Key:
    return Key(pk(agent, "meter", meter), "-")


class DynamoNotes:
    """The Notes port."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def get(self, agent: str, key: str) -> Entry | None:
        if len(key.encode()) > MAX_KEY:
            return None
        item = self._table.get(_note_key(agent, key))
        return None if item is None else _note(item)

    def put(self, agent: str, entry: Entry) -> Entry:
        check(entry)
        new = replace(entry, version=entry.version + 1)
        item: dict[str, Value] = {"value": new.value, "version": new.version}
        key, table = _note_key(agent, entry.key), self._table
        try:
            if entry.version == 0:
                table.write(table.putting(key, item, _ABSENT))
            else:
                table.write(table.putting(key, item, "#version = :old", old=entry.version))
        except Refused as refused:
            raise ConflictError(f"{entry.key} has changed since it was read") from refused
        return new

    def page(self, agent: str, prefix: str, after: str = "", limit: int = 100) -> list[Entry]:
        out: list[Entry] = []
        low, high = f"={_short(max(prefix, after))}", _after_prefix(f"={_short(prefix)}")
        for item in self._table.query(pk(agent, "notes"), low=low, high=high, page=limit + 1):
            note = _note(item)
            if len(out) == limit or (note.key > prefix and not note.key.startswith(prefix)):
                break
            if note.key > after and note.key.startswith(prefix):
                out.append(note)
        return out

    def delete(self, agent: str, key: str) -> None:
        if len(key.encode()) <= MAX_KEY:
            self._table.write(self._table.deleting(_note_key(agent, key)))


def _note_key(agent: str, key: str) -> Key:
    return Key(pk(agent, "notes"), f"={key}")


def _note(item: Item) -> Entry:
    return Entry(item["sk"][1:], item["value"], item["version"])


def _short(text: str) -> str:
    """As much of a text's beginning as a sort key may have; it sorts before the text."""
    return text.encode()[:MAX_KEY].decode(errors="ignore")


def _after_prefix(prefix: str) -> str:
    """A text that sorts after every one that starts with `prefix`, which does not begin with the last character."""
    kept = prefix.rstrip("\U0010ffff")
    following = ord(kept[-1]) + 1
    return kept[:-1] + chr(0xE000 if following == 0xD800 else following)
