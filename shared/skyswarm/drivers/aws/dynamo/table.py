"""One DynamoDB table, as the drivers of this room use it.

Law: the only file here that calls DynamoDB. Reads are strongly consistent and follow every page. What comes out is a
port's error or `Refused`; throttles and conflicts of transactions are tried again, a little later each time, before
they are anybody's trouble. In expressions `#name` is the attribute `name`, and `:name` a value given under that name.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from skyswarm.drivers.aws.dynamo.items import Item, Key, Value, decoded, encoded, names
from skyswarm.drivers.aws.session import code_of, meaning
from skyswarm.errors import AbsentError, BackendError, TooLargeError, UnavailableError

MOST_ITEMS = 100
"""Of one transaction, and of one reading of many."""
MOST_BYTES = 3_000_000
"""Of the values of one transaction; DynamoDB takes 4 MB of all."""
_AT_ONCE = 25  # of one BatchWriteItem
_TRIES = 12
_LONGEST = 0.4
PASSING = frozenset(
    {
        "TransactionConflict",
        "TransactionConflictException",
        "TransactionInProgressException",
        "ProvisionedThroughputExceeded",
        "ThrottlingError",
    }
)  # fmt: skip

Write = dict[str, dict[str, Any]]
"""One write of a transaction: `{"Put": {...}}` and so on."""


class Refused(Exception):
    """A condition did not hold. `reasons` has a code per write of a transaction; `item` is what is there instead."""

    def __init__(self, reasons: tuple[str, ...], item: Item | None = None) -> None:
        super().__init__(reasons)
        self.reasons = reasons
        self.item = item

    def at(self) -> list[int]:
        """Which writes' conditions did not hold."""
        return [place for place, code in enumerate(self.reasons) if code == "ConditionalCheckFailed"]


class Table:
    """`client` is a DynamoDB client of `session.py`."""

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self.name = name

    # ---- reading ---------------------------------------------------------------------------------
    def get(self, key: Key) -> Item | None:
        """The item, or None."""
        with self._asking():
            reply = self._client.get_item(TableName=self.name, Key=_wire(key), ConsistentRead=True)
        return decoded(reply["Item"]) if reply.get("Item") else None

    def get_many(self, keys: Iterable[Key], *attributes: str) -> dict[Key, Item]:
        """Those that are there, by key; with `attributes`, only these and the keys."""
        wanted = list(dict.fromkeys(keys))
        found: dict[Key, Item] = {}
        extra: dict[str, Any] = {}
        if attributes:
            shown = ", ".join(f"#{one}" for one in ("pk", "sk", *attributes))
            extra = {"ProjectionExpression": shown, "ExpressionAttributeNames": names(shown)}
        tries = 0
        while wanted:
            ask = wanted[:MOST_ITEMS]
            request = {"Keys": [_wire(key) for key in ask], "ConsistentRead": True, **extra}
            with self._asking():
                reply = self._client.batch_get_item(RequestItems={self.name: request})
            for raw in reply["Responses"].get(self.name, ()):
                item = decoded(raw)
                found[Key(item["pk"], item["sk"])] = item
            left = reply.get("UnprocessedKeys", {}).get(self.name, {}).get("Keys", ())
            wanted = [Key(one["pk"]["S"], one["sk"]["S"]) for one in left] + wanted[MOST_ITEMS:]
            # A full reply (16 MB) leaves some over and is no trouble; one that brings nothing is a throttle.
            tries = tries + 1 if len(left) == len(ask) else 0
            if tries:
                self._wait(tries)
        return found

    def query(
        self, partition: str, *, low: str = "", high: str = "", forward: bool = True, page: int = 0
    ) -> Iterator[Item]:
        """Items of a partition by sort key, from `low` to `high`, both included; '' is no bound.
        `page`: how many the caller will want, most likely."""
        condition, values = "#pk = :pk", {":pk": partition}
        if low and high:
            condition += " AND #sk BETWEEN :low AND :high"
            values |= {":low": low, ":high": high}
        elif low or high:
            condition += " AND #sk >= :low" if low else " AND #sk <= :low"
            values |= {":low": low or high}
        if low and high and low > high:
            return
        request: dict[str, Any] = {
            "TableName": self.name,
            "KeyConditionExpression": condition,
            "ExpressionAttributeNames": names(condition),
            "ExpressionAttributeValues": encoded(values),
            "ConsistentRead": True,
            "ScanIndexForward": forward,
        }
        if page > 0:
            request["Limit"] = page
        while True:
            with self._asking():
                reply = self._client.query(**request)
            for raw in reply["Items"]:
                yield decoded(raw)
            if not reply.get("LastEvaluatedKey"):
                return
            request["ExclusiveStartKey"] = reply["LastEvaluatedKey"]

    # ---- writes, made ready ----------------------------------------------------------------------
    def putting(self, key: Key, item: Mapping[str, Value], condition: str = "", /, **values: Value) -> Write:
        """Insert or replace, when the condition holds."""
        wire = {**_wire(key), **encoded(item)}
        return {"Put": {"Item": wire, **self._terms(condition, "", values)}}

    def updating(self, key: Key, change: str, condition: str = "", /, **values: Value) -> Write:
        return {"Update": {"Key": _wire(key), **self._terms(condition, change, values)}}

    def deleting(self, key: Key, condition: str = "", /, **values: Value) -> Write:
        return {"Delete": {"Key": _wire(key), **self._terms(condition, "", values)}}

    def _terms(self, condition: str, change: str, values: Mapping[str, Value]) -> dict[str, Any]:
        out: dict[str, Any] = {"TableName": self.name}
        if change:
            out["UpdateExpression"] = change
        if condition:
            out["ConditionExpression"] = condition
        if known := names(condition, change):
            out["ExpressionAttributeNames"] = known
        if values:
            out["ExpressionAttributeValues"] = encoded({f":{name}": value for name, value in values.items()})
        return out

    # ---- writing ---------------------------------------------------------------------------------
    def write(self, write: Write) -> Item:
        """One write by itself; gives the item after an update, with what is there in `Refused` otherwise."""
        ((kind, body),) = write.items()
        call = {"Put": "put_item", "Update": "update_item", "Delete": "delete_item"}[kind]
        extra = {"ReturnValues": "ALL_NEW"} if kind == "Update" else {}
        if "ConditionExpression" in body:
            extra["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        for attempt in range(1, _TRIES + 1):
            try:
                with self._asking():
                    reply = getattr(self._client, call)(**body, **extra)
                return decoded(reply.get("Attributes", {}))
            except _Passing:
                self._wait(attempt)
        raise UnavailableError(f"{self} is busy")

    def write_many(self, writes: Sequence[Write]) -> None:
        """Puts and deletes without conditions, in any order, each by itself; no two of one item."""
        wanted = [_request(one) for one in writes]
        tries = 0
        while wanted:
            ask = wanted[:_AT_ONCE]
            with self._asking():
                reply = self._client.batch_write_item(RequestItems={self.name: ask})
            left = list(reply.get("UnprocessedItems", {}).get(self.name, ()))
            wanted = left + wanted[_AT_ONCE:]
            tries = tries + 1 if len(left) == len(ask) else 0
            if tries:
                self._wait(tries)

    def transact(self, writes: Sequence[Write]) -> None:
        """All or nothing, at most 100. Repeated by the SDK with one token, so a lost answer applies it once.
        Refused: a condition did not hold."""
        for attempt in range(1, _TRIES + 1):
            try:
                with self._asking():
                    self._client.transact_write_items(TransactItems=list(writes))
                return
            except _Passing:
                self._wait(attempt)
        raise UnavailableError(f"{self} is busy")

    # ---- errors ----------------------------------------------------------------------------------
    def __str__(self) -> str:
        return f"table {self.name}"

    def _wait(self, attempt: int) -> None:
        if attempt >= _TRIES:
            raise UnavailableError(f"{self} is busy")
        pause(attempt)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            raise self._meaning(error) from error
        except BotoCoreError as error:
            raise meaning(error, str(self)) from error

    def _meaning(self, error: ClientError) -> Exception:
        code, said = code_of(error), str(error.response.get("Error", {}).get("Message", ""))
        response: Mapping[str, Any] = error.response
        reasons = tuple(str(one.get("Code") or "None") for one in response.get("CancellationReasons", ()))
        if code == "ConditionalCheckFailedException":
            item = response.get("Item")
            return Refused(("ConditionalCheckFailed",), decoded(item) if item else None)
        if "ConditionalCheckFailed" in reasons:
            return Refused(reasons)
        if code in PASSING or PASSING & set(reasons):
            return _Passing()
        if code in ("ValidationException", "TransactionCanceledException"):
            text = "; ".join(
                (said, *(str(one.get("Message", "")) for one in response.get("CancellationReasons", ())))
            )
            if "size" in text and "exceed" in text:
                return TooLargeError(f"{self} holds nothing as large as that")
            return BackendError(f"{self} refuses this: {text[:300]}")
        found = meaning(error, str(self))
        # No record is missing: the table is. AbsentError would say that of a record.
        return BackendError(found.message) if isinstance(found, AbsentError) else found


class _Passing(Exception):
    """Something else is at that item right now, or it is throttled in the middle of a transaction."""


def pause(attempt: int) -> None:
    """Wait a little before the next try, more and more, by chance: those who met must not meet again."""
    time.sleep(random.uniform(0, min(_LONGEST, 0.01 * 2.0**attempt)))  # noqa: S311 - no secret


def _wire(key: Key) -> dict[str, Any]:
    return {"pk": {"S": key.pk}, "sk": {"S": key.sk}}


def _request(write: Write) -> dict[str, Any]:
    if "Put" in write:
        return {"PutRequest": {"Item": write["Put"]["Item"]}}
    return {"DeleteRequest": {"Key": write["Delete"]["Key"]}}
