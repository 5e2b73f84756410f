"""Receipts: what a receiver got from a giver, signed by both (`spec/messages.md`).

Law: a receipt names its pair, its place in the pair's own chain and the running totals, so the newest one says all,
and two different ones in one place prove that whoever signed both has lied. Signatures are checked against keys that
the caller got from the agents' chains; nothing here knows keys, stores or time.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import InitVar, dataclass, field
from typing import TypeAlias

from skyswarm.errors import EquivocationError, SequenceError, StatementError
from skyswarm.messages import canonical
from skyswarm.messages.dsse import Envelope, seal
from skyswarm.messages.fields import Fields
from skyswarm.messages.keys import Signer
from skyswarm.messages.statements import MAX_PAYLOAD, payload_type

KIND = "receipt"
TRANSFER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
Raw: TypeAlias = bytes
"""Bytes as a type, inside classes whose field `bytes` is a number."""
ROUTE = re.compile(r"[a-z][a-z-]{0,31}")


@dataclass(frozen=True, slots=True)
class Receipt:
    """`giver` and `receiver` are agent ids (`from`, `to` on the wire). `bytes` arrived and verified, `wasted` bytes
    arrived and were thrown away; `cost` is the receiver's in micro-dollars; `at` is Unix s by the receiver's clock.
    `seq` counts the pair's receipts from 1, `prev` is the id of the one before, totals include this one."""

    giver: str
    receiver: str
    manifest: str
    transfer: str
    seq: int
    prev: str | None
    bytes: int
    pieces: int
    wasted: int
    route: str
    cost: int
    total_bytes: int
    total_receipts: int
    at: int
    id: str = field(init=False, compare=False)
    raw: InitVar[Raw | None] = None

    def __post_init__(self, raw: Raw | None) -> None:
        if raw is None:
            raw = self.payload()
            if _parse(raw) != self:
                raise StatementError("receipt with a value of the wrong type")
        object.__setattr__(self, "id", hashlib.sha256(raw).hexdigest())

    def payload(self) -> Raw:
        """The canonical bytes that are signed."""
        value = {"v": 1, "kind": KIND, "from": self.giver, "to": self.receiver, "manifest": self.manifest}
        value |= {"transfer": self.transfer, "seq": self.seq, "prev": self.prev, "bytes": self.bytes}
        value |= {"pieces": self.pieces, "wasted": self.wasted, "route": self.route, "cost": self.cost}
        value |= {"total_bytes": self.total_bytes, "total_receipts": self.total_receipts, "at": self.at}
        return canonical.dumps(value)


@dataclass(frozen=True, slots=True)
class SignedReceipt:
    """A receipt in its envelope: signed by the receiver, then by the giver too. Claims until `check`."""

    receipt: Receipt
    envelope: Envelope

    @property
    def complete(self) -> bool:
        """Whether both sides claim to have signed."""
        return len(self.envelope.signatures) == 2

    def dump(self) -> bytes:
        """The envelope's bytes."""
        return self.envelope.dump()

    def check(self, receiver: bytes, giver: bytes | None = None) -> None:
        """Verify the receiver's signature, and the giver's when its public key is given. SignatureError."""
        self.envelope.verify(receiver)
        if giver is not None:
            self.envelope.verify(giver)

    def countersign(self, giver: Signer) -> SignedReceipt:
        """The same receipt with the giver's signature. Check it first: signing is agreeing."""
        return SignedReceipt(self.receipt, self.envelope.add(giver))


def sign_receipt(receipt: Receipt, receiver: Signer) -> SignedReceipt:
    """A receipt signed by the one who got the bytes."""
    return SignedReceipt(receipt, seal(payload_type(KIND), receipt.payload(), receiver))


def parse_receipt(envelope_bytes: bytes) -> SignedReceipt:
    """Read an envelope and the receipt in it; checks NO signature. StatementError, MalformedError, TooLargeError."""
    envelope = Envelope.parse(envelope_bytes, MAX_PAYLOAD)
    if envelope.payload_type != payload_type(KIND) or len(envelope.signatures) > 2:
        raise StatementError("not a receipt with one or two signatures")
    return SignedReceipt(_parse(envelope.payload), envelope)


def check_follows(new: Receipt, previous: Receipt | None) -> None:
    """`new` is the next of its pair after `previous` (None: the first). The very same receipt is not the next.

    SequenceError: it does not follow. EquivocationError: another one in the very place of `previous`.
    """
    if previous is None:
        seq, prev, total = 1, None, new.bytes
    else:
        if (new.giver, new.receiver) != (previous.giver, previous.receiver):
            raise SequenceError("receipts of two different pairs of agents")
        if fraud_proof(new, previous):
            raise EquivocationError(f"two different receipts have the number {new.seq}")
        seq, prev, total = previous.seq + 1, previous.id, previous.total_bytes + new.bytes
    if (new.seq, new.prev) != (seq, prev):
        raise SequenceError(f"receipt {new.seq} does not follow the pair's newest, {seq - 1}")
    if new.total_bytes != total:
        raise SequenceError(f"receipt {new.seq} says {new.total_bytes} bytes in all, {total} would follow")


def fraud_proof(a: Receipt, b: Receipt) -> bool:
    """Whether these two cannot both be honest: one pair, one number, two contents. Guilty is who signed both."""
    return (a.giver, a.receiver, a.seq) == (b.giver, b.receiver, b.seq) and a.id != b.id


def _parse(payload: bytes) -> Receipt:
    f = Fields(canonical.loads(payload, MAX_PAYLOAD), "receipt", StatementError)
    f.fixed("v", 1)
    f.fixed("kind", KIND)
    receipt = Receipt(
        giver=f.id("from"),
        receiver=f.id("to"),
        manifest=f.id("manifest"),
        transfer=f.match("transfer", TRANSFER, "must be a transfer's id"),
        seq=f.integer("seq", 1),
        prev=f.maybe("prev", f.id),
        bytes=f.integer("bytes"),
        pieces=f.integer("pieces"),
        wasted=f.integer("wasted"),
        route=f.match("route", ROUTE, "must be the name of a route"),
        cost=f.integer("cost"),
        total_bytes=f.integer("total_bytes"),
        total_receipts=f.integer("total_receipts", 1),
        at=f.time("at"),
        raw=payload,
    )
    f.end()
    if receipt.giver == receipt.receiver:
        raise StatementError("receipt: from and to must be two agents")
    if (receipt.prev is None) != (receipt.seq == 1) or receipt.total_receipts != receipt.seq:
        raise StatementError("receipt: prev is null exactly in the first, and total_receipts is seq")
    if receipt.total_bytes < receipt.bytes:
        raise StatementError("receipt: total_bytes is less than bytes")
    return receipt
