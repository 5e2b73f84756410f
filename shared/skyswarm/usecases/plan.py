"""Planning a transfer: find sources, get the manifest and its pages, cut the work into batches.

Law: a pure function of the manifest's pages gives the batches, so planning may be repeated, resumed or raced and
adds nothing twice. One call plans some pages and then continues by a task: a share of any size plans in bounded
memory and time. No payload byte is moved here.

Steps (`shared/spec/transfers.md`, planning):
  1. sources: whoever announces the share at any repository, and the endpoints the link names
  2. the manifest, when only its id is known; its signature
  3. the estimate, before anything is spent
  4. page by page: get it, check its paths, begin uploads of big files, add batches, push their tasks
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import replace

from skyswarm.errors import (
    ConflictError,
    DestinationConflictError,
    ForbiddenError,
    ManifestError,
    NoSourceError,
    SkyError,
    SourceRefusedError,
    UnsafePathError,
)
from skyswarm.messages import canonical
from skyswarm.messages.dsse import Envelope
from skyswarm.messages.keys import parse_did_key
from skyswarm.messages.manifest import MANIFEST_TYPE, FileEntry, Manifest, Page, check_list, read_pages
from skyswarm.pieces.paths import PathSet
from skyswarm.pieces.size import piece_count, piece_size
from skyswarm.ports.records import Batch
from skyswarm.ports.work import Task
from skyswarm.usecases import asking, jobs, objects
from skyswarm.usecases.candidates import all_refuse, in_vain, learn_source, ranking, turns
from skyswarm.usecases.deps import Deps
from skyswarm.usecases.jobs import ACTIVE, Job, SourceState
from skyswarm.usecases.lookup import look_up
from skyswarm.usecases.repos import known as known_repos
from skyswarm.usecases.views import viewing

PAGES_PER_CALL = 256
PORTION = 1000
"""Batches that are added at once, and those of the last file more: a page of huge files has millions of them."""
MAX_PLAN = 1 << 20
PAGE_STRIDE = 1 << 24
"""Batch numbers of page n start at n × this: a page has at most 1,000 files of at most 10,000 pieces."""


def plan(deps: Deps, agent: str, transfer: str, pool: Executor) -> None:
    """Plan the next pages of a transfer. Retryable errors mean: call again later; others end the transfer."""
    job = jobs.load(deps, agent, transfer)
    if job.state not in ("queued", "planning") or job.planned:
        return
    job = find_sources(deps, agent, job, pool)
    manifest = get_manifest(deps, agent, job)
    job = _described(deps, agent, _met(deps, agent, job), manifest)
    paths = PathSet(folding=deps.storages.open(agent, job.storage).folds)
    pages = read_pages(manifest, lambda one: get_side(deps, agent, job, manifest, one))
    for number, page in enumerate(pages):
        for entry in page.files:
            paths.add(entry.path)  # also of pages that an earlier call planned: the set must know them all
        if number < job.planned_pages:
            continue
        if number >= job.planned_pages + PAGES_PER_CALL:
            deps.tasks.push(plan_task(agent, transfer))
            return
        if not _still(deps, agent, transfer):
            return
        for batches in _portions(cut(deps, agent, job, manifest, number, page)):
            deps.transfers.add(agent, transfer, batches)
            if not _still(deps, agent, transfer):
                _forget(deps, agent, job, batches)
                return
            for batch in batches:
                if not canonical.loads(batch.plan_json, MAX_PLAN)[
                    "closes"
                ]:  # they wait for their file's pieces
                    deps.tasks.push(move_task(agent, transfer, batch.number))
        jobs.change(deps, agent, transfer, lambda one, done=number + 1: _planned(one, done))  # type: ignore[misc]
    done = jobs.change(deps, agent, transfer, lambda one: _all_planned(one, deps.clock()))
    if done.state == "moving":
        deps.tasks.push(settle_task(agent, transfer))


def plan_task(agent: str, transfer: str) -> Task:
    return Task(agent, "plan", canonical.dumps({"transfer": transfer}), f"plan/{agent}/{transfer}")


def move_task(agent: str, transfer: str, number: int) -> Task:
    body = canonical.dumps({"transfer": transfer, "number": number})
    return Task(agent, "move", body, f"move/{agent}/{transfer}/{number}")


def settle_task(agent: str, transfer: str) -> Task:
    return Task(agent, "settle", canonical.dumps({"transfer": transfer}), f"settle/{agent}/{transfer}")


# ---- sources and objects -----------------------------------------------------------------------
def find_sources(deps: Deps, agent: str, job: Job, pool: Executor) -> Job:
    """The job with every source that can be found now. NoSourceError when there is none at all."""
    repos = tuple(dict.fromkeys((*job.repos, *(repo.url for repo in known_repos(deps, agent)))))
    answers = look_up(deps, agent, job.manifest, repos, pool)
    found = answers.found
    known = {source.agent for source in job.sources}
    fresh = [
        SourceState(agent=one.agent, endpoint=one.endpoint)
        for one in found
        if one.agent not in known and one.agent != agent
    ]
    rank = ranking(deps, agent, job, [*known, *(one.agent for one in fresh)])
    endpoints = {one.agent: one.endpoint for one in found}

    def merge(now: Job) -> Job | None:
        out = now
        for source in fresh:
            if all(one.agent != source.agent for one in out.sources):
                out = out.with_source(source)
        for source in out.sources:
            moved = endpoints.get(source.agent, source.endpoint)
            if moved != source.endpoint:
                out = out.with_source(replace(source, endpoint=moved))
        # The best stand first: what is beyond the most that a transfer keeps is forgotten from the end.
        out = replace(out, sources=tuple(sorted(out.sources, key=lambda one: rank.get(one.agent, 2))))
        if out.state == "queued":
            out = out.to_state("planning", deps.clock())
        return None if out == now else out

    job = jobs.change(deps, agent, job.id, merge)
    if not job.active_sources():
        dropped = [source for source in job.sources if source.state == "dropped"]
        if all_refuse(job):
            raise SourceRefusedError(dropped[0].reason, advice="Nobody else offers this share now.")
        if dropped:
            raise NoSourceError(
                f"no source is left ({dropped[0].reason})", advice="It is tried again by itself."
            )
        raise NoSourceError(
            answers.nobody(job.name or job.manifest[:12]),
            advice="It is tried again by itself; check `skyswarm repo ls`, and that the owner's agent runs.",
        )
    return job


def get_manifest(deps: Deps, agent: str, job: Job) -> Manifest:
    """The manifest, from our bucket or from a source; checked to be the one named and signed by its issuer."""
    envelope = objects.manifest_envelope(deps, agent, job.manifest)
    if envelope is None:
        envelope = _from_sources(deps, agent, job, job.manifest, whole_manifest=True)
        check_manifest(deps, agent, envelope, job.manifest)
        objects.write(deps, agent, objects.manifest_key(job.manifest), envelope)
    return check_manifest(deps, agent, envelope, job.manifest)


def check_manifest(deps: Deps, agent: str, envelope: bytes, manifest_id: str | None = None) -> Manifest:
    """Parse a manifest's envelope: its form, its id, and a signature by the key it names.

    Whether that key is the issuer's is checked when the issuer's chain is known here (`ManifestError` if it is
    not); the bytes themselves are pinned by the id that the user chose.
    """
    parsed = Envelope.parse(envelope, objects.MAX_ENVELOPE)
    if parsed.payload_type != MANIFEST_TYPE:
        raise ManifestError("this is a signed document, but not a manifest")
    manifest = Manifest.parse(parsed.payload)
    if manifest_id is not None and manifest.id != manifest_id:
        raise ManifestError("this is another manifest than the one asked for")
    public = parse_did_key(parsed.signatures[0][0])
    parsed.verify(public)
    with viewing(deps, agent) as view:
        keys = view.keys_of(manifest.issuer)
    if keys and public not in keys:
        raise ManifestError("the manifest is not signed by a key of the agent it names")
    return manifest


def get_side(deps: Deps, agent: str, job: Job, manifest: Manifest, object_id: str) -> bytes:
    """A page, index page or piece list: ours, or a source's, then kept."""
    tag = objects.tag_of(manifest)
    data = objects.side(deps, agent, tag, object_id)
    if data is None:
        data = _from_sources(deps, agent, job, object_id)
        objects.write(deps, agent, objects.side_key(tag, object_id), data)
    return data


def _from_sources(deps: Deps, agent: str, job: Job, object_id: str, *, whole_manifest: bool = False) -> bytes:
    last: SkyError | None = None
    for source in turns(deps, agent, jobs.load(deps, agent, job.id)):
        try:
            reply = asking.ask(deps, agent, source, job.manifest, (), (object_id,))
            index = reply.objects[0]
            if index is None:
                raise NoSourceError(f"{source.agent[:12]} does not have {object_id[:12]}")
            learn_source(deps, agent, job.id, source, reply.storage, reply.chain)
            url = reply.urls[index].url
            if whole_manifest:
                data = deps.fetcher.small(url, objects.MAX_ENVELOPE)
                check_manifest(deps, agent, data, object_id)  # here: a liar costs itself, not the transfer
                return data
            return asking.read_object(deps, url, object_id, objects.MAX_SIDE)
        except SkyError as error:
            last = in_vain(deps, agent, job, source, error)
    if last is None:
        raise NoSourceError("no source is left", advice="It is tried again by itself.")
    if asking.refused_for_good(last) and jobs.load(deps, agent, job.id).active_sources():
        # One that is dropped does not speak for those who were away, or were not asked yet.
        raise NoSourceError(
            f"nobody who was asked could give {object_id[:12]}; the last one said: {last.message}",
            advice="It is tried again by itself.",
        )
    raise last


def _met(deps: Deps, agent: str, job: Job) -> Job:
    """The job with the kind of storage of a source that answers now: no estimate is made of guesses when one does."""
    last: SkyError | None = None
    if any(source.storage for source in job.active_sources()):
        return job
    for source in turns(deps, agent, job):
        try:
            reply = asking.ask(deps, agent, source, job.manifest, (), (job.manifest,))
            learn_source(deps, agent, job.id, source, reply.storage, reply.chain)
            return jobs.load(deps, agent, job.id)
        except SkyError as error:
            last = in_vain(deps, agent, job, source, error)
    job = jobs.load(deps, agent, job.id)
    if last is not None and not job.active_sources():
        raise last
    return job


# ---- batches -----------------------------------------------------------------------------------
def _described(deps: Deps, agent: str, job: Job, manifest: Manifest) -> Job:
    """The job with the manifest's totals and the estimate."""
    storage = deps.storages.open(agent, job.storage)
    source = next((one.storage for one in job.active_sources() if one.storage), "")
    estimate = deps.prices.lines(source, storage.kind, manifest.bytes, manifest.pieces)

    def step(now: Job) -> Job | None:
        out = replace(
            now,
            name=manifest.name,
            issuer=manifest.issuer,
            files=manifest.files,
            bytes=manifest.bytes,
            pieces=manifest.pieces,
            estimate=estimate,
            started=now.started or int(deps.clock()),
        )
        return None if out == now else out

    return jobs.change(deps, agent, job.id, step)


def destination(job: Job, manifest: Manifest, entry: FileEntry) -> str:
    """The final key: a share of one file lands under its own name, a tree under the share's name."""
    parts = [job.prefix] if job.prefix else []
    if manifest.files > 1 or len(entry.path.parts) > 1:
        parts.append(manifest.name)
    return "/".join((*parts, entry.path.text))


def cut(deps: Deps, agent: str, job: Job, manifest: Manifest, number: int, page: Page) -> Iterator[Batch]:
    """The batches of one page: small files packed together, big ones cut by pieces."""
    storage = deps.storages.open(agent, job.storage)
    limits = deps.limits
    next_number = number * PAGE_STRIDE
    small: list[list[object]] = []
    small_bytes = 0
    unfit: list[tuple[str, SkyError]] = []
    for index, entry in enumerate(page.files):
        pieces = piece_count(entry.size)
        if pieces <= 1:
            if small and (len(small) >= limits.batch_files or small_bytes + entry.size > limits.batch_bytes):
                yield _batch(next_number, "", small, 0)
                next_number += 1
                small, small_bytes = [], 0
            small.append([number, index, 0, pieces, ""])
            small_bytes += entry.size
            continue
        if entry.list_id is not None:
            check_list(entry, get_side(deps, agent, job, manifest, entry.list_id))
        size = piece_size(entry.size)
        upload = ""
        if deps.transfers.batch(agent, job.id, next_number) is None:  # else planned before: it has its upload
            token = f"{job.id}/{number}/{index}"
            try:
                key = destination(job, manifest, entry)
                upload = storage.begin(key, entry.size, size, token, media_type=entry.media_type)
            except ConflictError as error:
                why = DestinationConflictError(error.message, advice="Choose another destination.")
                unfit.append((entry.path.text, why))
            except (UnsafePathError, ForbiddenError) as error:
                unfit.append((entry.path.text, error))
        step = max(1, limits.batch_bytes // size)
        count = -(-pieces // step)
        if unfit and unfit[-1][0] == entry.path.text:
            next_number += (
                count + 1
            )  # its numbers stay free, so that those of the others are the same in every try
            continue
        group, last = f"{number}.{index}", next_number + count
        for first in range(0, pieces, step):
            item: list[object] = [number, index, first, min(step, pieces - first), upload]
            yield _batch(next_number, group, [item], count, close=last)
            next_number += 1
        # Finishing the upload is a batch of its own: the transfer is not done before its files are.
        yield _batch(next_number, "", [[number, index, 0, 0, upload]], count, closes=group)
        next_number += 1
    if small:
        yield _batch(next_number, "", small, 0)
    for path, reason in unfit:
        # The destination cannot hold that one: it is that file's failure. Small ones meet it when they are moved.
        jobs.note_failure(deps, agent, job.id, path, reason)


def _portions(batches: Iterator[Batch]) -> Iterator[list[Batch]]:
    """Some batches at a time. Those of one file stay together: its first one says whether it was planned before."""
    portion: list[Batch] = []
    for batch in batches:
        portion.append(batch)
        if len(portion) >= PORTION and not batch.group:
            yield portion
            portion = []
    yield portion


def _batch(
    number: int, group: str, items: list[list[object]], of: int, *, close: int = 0, closes: str = ""
) -> Batch:
    """`close`: the batch that finishes the file of these pieces; `closes`: the group whose file this one finishes."""
    doc = {"items": items, "of": of, "close": close, "closes": closes}
    return Batch(number, group, canonical.dumps(doc))


def _forget(deps: Deps, agent: str, job: Job, batches: list[Batch]) -> None:
    """The transfer ended while its uploads were begun: when it was cancelled, nobody else gives them up."""
    if jobs.load(deps, agent, job.id).state == "cancelled":
        storage = deps.storages.open(agent, job.storage)
        for batch in batches:
            for item in canonical.loads(batch.plan_json, MAX_PLAN)["items"]:
                if item[4]:
                    storage.abort(str(item[4]))


def _still(deps: Deps, agent: str, transfer: str) -> bool:
    return jobs.load(deps, agent, transfer).state in ACTIVE


def _planned(job: Job, pages: int) -> Job | None:
    return replace(job, planned_pages=pages, pages=pages) if pages > job.planned_pages else None


def _all_planned(job: Job, now: float) -> Job | None:
    if job.planned or job.state not in ACTIVE:
        return None
    return replace(job, planned=True).to_state("moving", now)
