"""Bringing one piece: which source, by which URL, at what price, and what each fault means for whom.

Law: every fault of a source is answered here: another source, a rest, a strike, a fresh URL; what leaves this file as
an error concerns the batch or the transfer (`NotNow`, no source left, changed everywhere, the user's cost cap).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeVar

from skyswarm.errors import (
    CancelledError,
    CostCapError,
    LeaseLostError,
    LinkExpiredError,
    NoSourceError,
    PieceMismatchError,
    QuotaError,
    SkyError,
    SourceChangedError,
    SourceRefusedError,
)
from skyswarm.messages.manifest import FileEntry
from skyswarm.messages.requests import FetchReply, Want
from skyswarm.pieces.digest import PieceDigest
from skyswarm.pieces.hasher import verified
from skyswarm.ports.records import Tally
from skyswarm.usecases import asking, jobs
from skyswarm.usecases.candidates import all_refuse, drop, learn_source
from skyswarm.usecases.deps import Deps
from skyswarm.usecases.jobs import Job

MAX_RENEWALS = 3
"""How often one piece asks for a fresh URL before its source counts as failing."""
EXPIRY_MARGIN = 30

Item = list[int | str]
"""One line of a batch's plan: page, file, first piece, count, upload ('': a small file)."""
T = TypeVar("T")


class NotNow(SkyError):
    """No source is awake: come back at `at` (Unix s). Never leaves this package."""

    code, status, retryable = "SKY-310", 503, True

    def __init__(self, at: float, why: str) -> None:
        super().__init__(why or "every source rests after a failure")
        self.at = at


class FetchFault(Exception):
    """A fault of the source while the sink was reading from it, kept apart from faults of the sink."""

    def __init__(self, error: SkyError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(slots=True)
class Gains:
    """What this holder of the batch achieved so far."""

    files: int = 0
    pieces: int = 0
    bytes: int = 0
    held: int = 0
    failed: int = 0
    wasted: int = 0
    sources: dict[str, list[int]] = field(default_factory=dict)

    def tally(self) -> Tally:
        return Tally(
            done=1,
            files=self.files,
            pieces=self.pieces,
            bytes=self.bytes,
            held_bytes=self.held,
            failed=self.failed,
            wasted_bytes=self.wasted,
        )

    def others(self) -> dict[str, Tally]:
        return {
            f"from:{source}": Tally(pieces=n, bytes=size, wasted_bytes=wasted)
            for source, (n, size, wasted) in self.sources.items()
        }

    def came(self, source: str, length: int, *, good: bool = True) -> None:
        """A piece arrived from `source`: verified, or thrown away."""
        count = self.sources.setdefault(source, [0, 0, 0])
        count[0] += good
        count[1] += length if good else 0
        count[2] += 0 if good else length
        self.wasted += 0 if good else length


class Relay:
    """The relaying half of one leased batch. `job` is the newest state seen; `beat` renews the lease."""

    def __init__(
        self,
        deps: Deps,
        agent: str,
        job: Job,
        items: list[Item],
        sink_kind: str,
        gains: Gains,
        beat: Callable[..., None],
    ) -> None:
        self.deps, self.agent, self.job = deps, agent, job
        self.items, self.sink_kind, self.gains, self.beat = items, sink_kind, gains, beat
        self.grants: dict[str, FetchReply] = {}
        self.changed: set[tuple[str, int]] = set()

    def bring(
        self,
        number: int,
        entry: FileEntry,
        index: int,
        digest: PieceDigest,
        offset: int,
        length: int,
        write: Callable[[Iterator[memoryview]], T],
    ) -> T:
        """Bring one piece from whichever source works. NotNow, NoSourceError, SourceChangedError (from all of them),
        and what `write` raises by itself."""
        renewals = 0
        while True:
            self.beat()
            source = self.choose(number, length)
            started = self.deps.clock()
            try:
                url = self.url(source, number)
                self.pay(source, length)
                chunks = self.deps.fetcher.read(url, offset, length)
                result = write(self.watched(verified(chunks, digest, length)))
            except FetchFault as fault:
                renewals = self.blame(source, number, entry, index, length, fault.error, renewals)
                continue
            except SkyError:  # the destination's fault or the user's wish, not the source's
                self.deps.pace.let_go(self.agent, source, length)
                raise
            self.deps.pace.landed(self.agent, source, length, self.deps.clock() - started)
            self.gains.came(source, length)
            return result

    def watched(self, chunks: Iterator[memoryview]) -> Iterator[memoryview]:
        """Pass the chunks on, renewing the lease, and tell faults of the source from those of the sink."""
        while True:
            try:
                chunk = next(chunks)
            except StopIteration:
                return
            except SkyError as error:
                raise FetchFault(error) from error
            self.beat(paid=True)
            yield chunk

    def choose(self, number: int, length: int) -> str:
        job = self.job
        names = [one.agent for one in job.active_sources() if (one.agent, number) not in self.changed]
        if not names:
            if any(at == number for _, at in self.changed):
                raise SourceChangedError("the file is no longer at any source as it was published")
            raise _no_source(job)
        now = self.deps.clock()
        chosen = self.deps.pace.choose(self.agent, names, length, now)
        if chosen is None:
            at = self.deps.pace.awake_at(self.agent, names)
            raise NotNow(at, "; ".join(filter(None, (self.deps.pace.why(self.agent, one) for one in names))))
        return chosen

    def pay(self, source: str, length: int) -> None:
        """Count what this piece costs before it moves; CostCapError when that would pass the user's cap."""
        micro = self.deps.prices.piece(self.grants[source].storage, self.sink_kind, length)
        cap = self.job.max_cost
        if micro or cap >= 0:
            try:
                self.deps.meters.add(self.agent, f"cost/{self.job.id}", micro, cap if cap >= 0 else 2**62)
            except QuotaError as error:
                raise CostCapError(
                    f"stopped at your ${cap / 1e6:.2f} cap; what is verified is safe",
                    advice=f"Raise it: skyswarm resume {self.job.id} --max-cost …",
                ) from error

    def url(self, source: str, number: int) -> str:
        """The presigned URL of this item's file at that source; one request asks for the whole batch."""
        reply = self.grants.get(source)
        try:
            if reply is None or min(one.expires for one in reply.urls) < self.deps.clock() + EXPIRY_MARGIN:
                state = next(one for one in self.job.sources if one.agent == source)
                wants = tuple(
                    Want(page=int(page), file=int(file), first=int(first), count=int(count))
                    for page, file, first, count, _ in self.items
                )
                reply = self.grants[source] = asking.ask(
                    self.deps, self.agent, state, self.job.manifest, wants
                )
                learn_source(self.deps, self.agent, self.job.id, state, reply.storage, reply.chain)
            return reply.urls[reply.wants[number]].url
        except SkyError as error:
            raise FetchFault(error) from error

    def blame(
        self,
        source: str,
        number: int,
        entry: FileEntry,
        index: int,
        length: int,
        error: SkyError,
        renewals: int,
    ) -> int:
        """What a fault means for its source. Returns how often this piece's URL was renewed."""
        deps, now = self.deps, self.deps.clock()
        limits = deps.limits
        if isinstance(error, LeaseLostError | CancelledError):
            deps.pace.let_go(self.agent, source, length)
            raise error
        if isinstance(error, LinkExpiredError) and renewals < MAX_RENEWALS:
            deps.pace.let_go(self.agent, source, length)
            self.grants.pop(source, None)
            return renewals + 1
        if isinstance(error, SourceChangedError):
            # It costs the source that file alone. Were it to rest, the rest of the batch would wait for it, and meet
            # this very file again first.
            deps.pace.let_go(self.agent, source, length)
            self.changed.add((source, number))
            return 0
        why = asking.of_source(deps, self.agent, source, error)
        # While nothing else moves, a source that comes back is found soon; beside others a bad one is left in peace.
        most = self.job.longest_wait(now, limits.rest_most) if self.job.waiting else limits.rest_most
        deps.pace.failed(self.agent, source, length, now, limits.rest, most, why.message)
        self.grants.pop(source, None)
        if isinstance(error, PieceMismatchError):
            self.gains.came(source, length, good=False)
            self.job = strike(deps, self.agent, self.job.id, source, entry.path.text, index)
        elif asking.refused_for_good(error):
            self.job = drop(deps, self.agent, self.job.id, source, error)
        return 0


def strike(deps: Deps, agent: str, transfer: str, source: str, path: str, index: int) -> Job:
    """One more lie of that source; it is dropped when it has told too many."""

    def step(job: Job) -> Job | None:
        for one in job.sources:
            if one.agent == source and one.state == "active":
                told = replace(one, strikes=one.strikes + 1)
                if told.strikes >= deps.limits.strikes:
                    error = PieceMismatchError(
                        f"piece {index} of {path} did not match its hash, {told.strikes} lies"
                    )
                    told = replace(told, state="dropped", code=error.code, reason=error.message)
                return job.with_source(told)
        return None

    return jobs.change(deps, agent, transfer, step)


def _no_source(job: Job) -> SkyError:
    dropped = [one for one in job.sources if one.state == "dropped"]
    why = "; ".join(f"{one.agent[:12]}: {one.code} {one.reason}" for one in dropped)
    if all_refuse(job):
        capped = all(one.code.startswith("SKY-4") for one in dropped)
        who = "its owner for more" if capped else "somebody they trust to vouch for you"
        return SourceRefusedError(why, advice=f"Ask {who}, then `skyswarm resume`.")
    return NoSourceError(
        f"no source is left ({why})", advice="What is verified stays; `skyswarm resume` tries again."
    )
