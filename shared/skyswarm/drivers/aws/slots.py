"""Which of a task's messages counts: one row per name, each step one conditional write.

Law: the only file here that knows of a name's row; `sqs.py` knows of messages. A *slot* is one waiting of a name: it is
opened by a push, any message that carries its token may claim it, and the first one does; the others are superfluous.
A row is never proof that a message exists until it is `sure`: whoever opened the slot may have died before sending.
Nothing depends on the row being there: a message whose row is gone counts.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from skyswarm.drivers.aws.dynamo.items import Key, pk
from skyswarm.drivers.aws.dynamo.table import Refused, Table
from skyswarm.errors import LeaseLostError
from skyswarm.ports.system import Clock, Entropy

TRUST = 900.0
"""Seconds after its time that a waiting task is believed in: its message may have ended in the dead-letter queue."""
KEEP = 15 * 86_400
"""Seconds that a row is kept after it was touched: longer than any queue keeps a message (14 days)."""


class Slot(NamedTuple):
    """A waiting, and when it is due. A message with this token is to be sent, and then to be told as `sent`."""

    token: str
    due: float


class Holder(NamedTuple):
    """One delivery of one message: the message's own mark, and how often it was received."""

    message: str
    received: int


class Slots(Protocol):
    """One name's waitings. Every method is one atomic step or a loop over them, and may be repeated."""

    def open(self, agent: str, name: str, at: float, given_back: Holder | None = None) -> Slot | None:
        """The slot for which a message must be sent now; None: none, another is surely waiting and due no later.
        `given_back`: the delivery that makes room; LeaseLostError when it is not the last one of its name any more."""
        ...

    def sent(self, agent: str, name: str, slot: Slot) -> None:
        """Its message is in the queue: from now on another push may rely on it."""
        ...

    def claim(self, agent: str, name: str, token: str, holder: Holder) -> bool:
        """Whether this message counts. It is then the one of its slot, for this and all later deliveries of it."""
        ...


class DynamoSlots:
    """Slots in the deployment's table."""

    def __init__(self, table: Table, clock: Clock, entropy: Entropy) -> None:
        self._table = table
        self._clock = clock
        self._entropy = entropy

    def open(self, agent: str, name: str, at: float, given_back: Holder | None = None) -> Slot | None:
        key, mine, values = _key(agent, name), "#by <> :nobody", dict[str, Any]()
        if given_back is not None:
            mine, values = "#by = :mine AND #count = :received", {"mine": given_back.message}
            values["received"] = given_back.received
        while True:
            fresh = Slot(self._entropy(12).hex(), at)
            values |= {"token": fresh.token, "at": at, "no": 0, "nobody": "", "ttl": self._ttl(at)}
            found = self._change(
                key,
                "SET #token = :token, #due = :at, #sure = :no, #by = :nobody, #count = :no, #ttl = :ttl",
                f"attribute_not_exists(#pk) OR ({mine})",
                values,
            )
            if found is None:
                return fresh
            if found.get("by"):
                raise LeaseLostError("this task was delivered again meanwhile")
            if not found:
                continue  # the broom came in between
            waiting = Slot(found["token"], found["due"])
            if waiting.due <= at and self._clock() - waiting.due < TRUST:
                return None if found["sure"] else waiting
            sooner = {"at": at, "no": 0, "ttl": self._ttl(at), "nobody": "", "token": waiting.token}
            found = self._change(
                key,
                "SET #due = :at, #sure = :no, #ttl = :ttl",
                "#by = :nobody AND #token = :token AND #due = :old",
                sooner | {"old": waiting.due},
            )
            if found is None:
                return Slot(waiting.token, at)

    def sent(self, agent: str, name: str, slot: Slot) -> None:
        self._change(
            _key(agent, name),
            "SET #sure = :yes",
            "#by = :nobody AND #token = :token AND #due = :due",
            {"yes": 1, "nobody": "", "token": slot.token, "due": slot.due},
        )

    def claim(self, agent: str, name: str, token: str, holder: Holder) -> bool:
        values = {"me": holder.message, "received": holder.received, "token": token, "nobody": "", "no": 0}
        values["ttl"] = self._ttl(self._clock())
        while True:
            found = self._change(
                _key(agent, name),
                "SET #by = :me, #count = :received, #token = if_not_exists(#token, :token), #ttl = :ttl",
                "attribute_not_exists(#pk) OR #by = :me OR "
                "(#by = :nobody AND (#token = :token OR #sure = :no))",
                values,
            )
            if found is None:
                return True
            if found:
                return False

    def _change(self, key: Key, change: str, condition: str, values: dict[str, Any]) -> dict[str, Any] | None:
        """None: done. Else what is there instead; empty when nothing is."""
        try:
            self._table.write(self._table.updating(key, change, condition, **values))
        except Refused as refused:
            return refused.item or {}
        return None

    def _ttl(self, at: float) -> int:
        return int(max(at, self._clock()) + KEEP)


def _key(agent: str, name: str) -> Key:
    return Key(pk(agent, "task", name), "-")
