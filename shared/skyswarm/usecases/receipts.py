"""Receipts: the receiver signs what it got from a giver, the giver signs the same, both keep the pair's newest.

Law: one chain of receipts per (giver, receiver), advanced only by conditional writes, so neither side can sign two
with one number by accident; what a liar signs twice is kept as the proof (`spec/messages.md`, receipts).
"""

from __future__ import annotations

from contextlib import suppress

from skyswarm.errors import (
    ConflictError,
    EquivocationError,
    QuotaError,
    ReplayError,
    RequestError,
    SequenceError,
    SignatureError,
    SkyError,
)
from skyswarm.messages.httpsig import Checked
from skyswarm.messages.receipts import (
    Receipt,
    SignedReceipt,
    check_follows,
    parse_receipt,
    sign_receipt,
)
from skyswarm.ports.records import Entry
from skyswarm.usecases.asking import signed_call
from skyswarm.usecases.deps import Deps
from skyswarm.usecases.jobs import Job, SourceState
from skyswarm.usecases.views import viewing

MAX_RECEIPT = 16 * 1024
PER_MINUTE = 120
KEPT = 1000
"""Receipts of one receiver that are kept by their transfer's name, which is his to choose; the newest always is."""


def _newest_key(giver: str, receiver: str) -> str:
    return f"receipt/{giver}/{receiver}/newest"


def _for_key(giver: str, receiver: str, transfer: str) -> str:
    return f"receipt/{giver}/{receiver}/for/{transfer}"


def newest(deps: Deps, agent: str, giver: str, receiver: str) -> tuple[SignedReceipt | None, int]:
    """The pair's newest receipt here, and the stored version of that note."""
    entry = deps.notes.get(agent, _newest_key(giver, receiver))
    return (parse_receipt(entry.value), entry.version) if entry else (None, 0)


def give_receipt(deps: Deps, agent: str, job: Job, source: SourceState) -> SignedReceipt:
    """Sign and exchange the receipt for what `source` gave in this transfer; idempotent per transfer and source."""
    done = deps.notes.get(agent, _for_key(source.agent, agent, job.id))
    if done is not None:
        signed = parse_receipt(done.value)
        if signed.complete:
            return signed
    else:
        signed = _next(deps, agent, job, source)
    return _exchange(deps, agent, source, signed)


def _exchange(deps: Deps, agent: str, source: SourceState, signed: SignedReceipt) -> SignedReceipt:
    """Have the giver sign one of ours, and keep it. Signed anew each time: our key may have been rotated since."""
    signed = sign_receipt(signed.receipt, deps.keys.current(agent))
    answer = parse_receipt(
        signed_call(deps, agent, source.agent, source.endpoint, "receipt", signed.dump(), MAX_RECEIPT)
    )
    if answer.receipt.id != signed.receipt.id or not answer.complete:
        raise SignatureError("the giver sent back another receipt than ours")
    with viewing(deps, agent) as view:
        state = view.authenticate(source.agent, deps.clock())
    if state is not None:
        answer.check(deps.keys.current(agent).public, state.key)
    keep(deps, agent, answer)
    return answer


def _next(deps: Deps, agent: str, job: Job, source: SourceState) -> SignedReceipt:
    """The pair's next receipt, stored before it is sent: after a crash the very same one is sent again."""
    tally = deps.transfers.tally(agent, job.id, f"from:{source.agent}")
    kind = deps.storages.open(agent, job.storage).kind
    while True:
        last, version = newest(deps, agent, source.agent, agent)
        before = last.receipt if last else None
        if before is not None and before.transfer == job.id:
            assert last is not None
            return last
        if last is not None and not last.complete:
            # One without the giver's signature holds up the next: the giver takes them in order only.
            _exchange(deps, agent, source, last)
            continue
        receipt = Receipt(
            giver=source.agent,
            receiver=agent,
            manifest=job.manifest,
            transfer=job.id,
            seq=before.seq + 1 if before else 1,
            prev=before.id if before else None,
            bytes=tally.bytes,
            pieces=tally.pieces,
            wasted=tally.wasted_bytes,
            route="relay",
            cost=deps.prices.piece(source.storage, kind, tally.bytes),
            total_bytes=(before.total_bytes if before else 0) + tally.bytes,
            total_receipts=(before.total_receipts if before else 0) + 1,
            at=int(deps.clock()),
        )
        signed = sign_receipt(receipt, deps.keys.current(agent))
        try:
            deps.notes.put(agent, Entry(_newest_key(source.agent, agent), signed.dump(), version))
        except ConflictError:
            continue
        return signed


def take_receipt(deps: Deps, agent: str, checked: Checked, body: bytes) -> bytes:
    """The giver's side: check, countersign, keep. Idempotent. SequenceError, EquivocationError with the reason."""
    signed = parse_receipt(body)
    receipt = signed.receipt
    if receipt.giver != agent or receipt.receiver != checked.agent:
        raise SignatureError("a receipt is between the one who sends it and the one who gets it")
    with viewing(deps, agent) as view:
        state = view.authenticate(checked.agent, deps.clock())
    if state is None or state.key != checked.public:
        raise SignatureError("the receipt is not signed with your current key")
    if not deps.nonces.use(agent, checked.nonce, checked.remember_until, deps.clock()):
        raise ReplayError("this request was made before", advice="Sign each request anew.")
    _count(deps, agent, checked.agent)
    signed.check(checked.public)
    if not receipt.bytes:
        raise RequestError("a receipt is for bytes that were given; this one counts none")
    while True:
        last, version = newest(deps, agent, agent, checked.agent)
        if last is not None and last.receipt.id == receipt.id:
            # Not the stored copy: since the first time either of us may have rotated its key.
            both = signed.countersign(deps.keys.current(agent))
            _keep_for(deps, agent, both)  # a crash may have come in between
            return both.dump()
        try:
            check_follows(receipt, last.receipt if last else None)
        except EquivocationError:
            assert last is not None
            proof = b"\n".join((last.dump(), signed.dump()))
            try_put(deps, agent, f"fraud/{checked.agent}/{receipt.seq:016d}", proof)
            raise
        handed = deps.meters.read(agent, f"handed/{checked.agent}")
        if receipt.total_bytes > handed:
            raise SequenceError(
                f"the receipt counts {receipt.total_bytes} bytes, only {handed} were handed out to you"
            )
        both = signed.countersign(deps.keys.current(agent))
        try:
            deps.notes.put(agent, Entry(_newest_key(agent, checked.agent), both.dump(), version))
        except ConflictError:
            continue
        _keep_for(deps, agent, both)
        return both.dump()


def _keep_for(deps: Deps, agent: str, both: SignedReceipt) -> None:
    """Keep it by its transfer's name too, while there is room for one more of that receiver."""
    receipt = both.receipt
    key = _for_key(agent, receipt.receiver, receipt.transfer)
    if deps.notes.get(agent, key) is None:
        with suppress(QuotaError):
            deps.meters.add(agent, f"receipts-kept/{receipt.receiver}", 1, KEPT)
            try_put(deps, agent, key, both.dump())


def _count(deps: Deps, agent: str, asker: str) -> None:
    now = int(deps.clock())
    try:
        deps.meters.add(agent, f"receipts/{asker}/{now // 60}", 1, PER_MINUTE, now + 60)
    except QuotaError as error:
        raise QuotaError("too many receipts in this minute", advice="Wait a minute.") from error


def keep(deps: Deps, agent: str, signed: SignedReceipt) -> None:
    """Store a completed receipt as its transfer's, and as the pair's newest."""
    receipt = signed.receipt
    try_put(deps, agent, _for_key(receipt.giver, receipt.receiver, receipt.transfer), signed.dump())
    last, version = newest(deps, agent, receipt.giver, receipt.receiver)
    if last is not None and last.receipt.id == receipt.id:
        try:
            deps.notes.put(agent, Entry(_newest_key(receipt.giver, receipt.receiver), signed.dump(), version))
        except ConflictError:
            return  # a newer one took its place meanwhile


def try_put(deps: Deps, agent: str, key: str, value: bytes) -> None:
    """Write a note that never changes; another writer of the same one is welcome."""
    try:
        deps.notes.put(agent, Entry(key, value, 0))
    except ConflictError:
        return


def exchange_all(deps: Deps, agent: str, job: Job) -> tuple[tuple[str, ...], SkyError | None]:
    """Receipts with every source that gave bytes: ids of the complete ones, and the last error of the others. For a
    share whose files are all empty none is due: there is nothing to count."""
    ids: list[str] = []
    trouble: SkyError | None = None
    for source in job.sources:
        if not deps.transfers.tally(agent, job.id, f"from:{source.agent}").bytes:
            continue
        try:
            ids.append(give_receipt(deps, agent, job, source).receipt.id)
        except SkyError as error:
            trouble = error
    return tuple(ids), trouble
