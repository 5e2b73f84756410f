"""A stage of real agents: homes on disk, each served by its own process on its own port, killed and started at will.

    with Stage(tmp_path) as stage:
        repo, alice, bob = stage.repository(), stage.agent("alice"), stage.agent("bob")
        stage.start(repo, alice, bob)
        manifest = alice.publish(folder)
        bob.drop(manifest)
        bob.wait("done")

Everything waits by polling with a deadline. What the tests decide themselves (vouching, publishing) happens in this
process on the same home, as the command line does.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from skyswarm.cli.agent import free_port
from skyswarm.edge.runtime import Runtime, create, open_runtime
from skyswarm.usecases import jobs, lookup, people, publish, reporting, repos, starting
from skyswarm.usecases.jobs import ACTIVE, Job

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT / 'shared'}:{ROOT}"}
LIMITS: dict[str, float] = {
    "rest": 0.2, "rest_most": 1.0, "patience": 15.0, "lease": 6.0, "status_every": 0.2, "stall": 2.0,
    "lookup_timeout": 2.0, "call_timeout": 5.0, "batch_bytes": 16 << 20,
}  # fmt: skip


def until(test: Callable[[], Any], seconds: float = 30.0, what: str = "", pause: float = 0.03) -> Any:
    """The first true value of `test`; TimeoutError after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        found = test()
        if found:
            return found
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds:g} s for {what or test}")
        time.sleep(pause)


def peak(pid: int) -> int:
    """VmHWM of a process in bytes; 0 when it has ended."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


class Actor:
    """One home and the process that serves it."""

    def __init__(
        self, home: Path, name: str, role: str, public_url: str | None, limits: dict[str, float]
    ) -> None:
        self.home, self.name, self.role = home, name, role
        self.port = free_port()
        self.runtime: Runtime = create(home, name=name, port=self.port, public_url=public_url, role=role)[0]
        self.id, self.deps = self.runtime.agent, self.runtime.deps
        self.limit(**limits)
        self.process: subprocess.Popen[bytes] | None = None
        self.starts = 0

    # ---- the process ---------------------------------------------------------------------------
    @property
    def endpoint(self) -> str:
        return self.runtime.endpoint

    def limit(self, **limits: float) -> None:
        """Numbers for the next start."""
        file = self.home / "limits.json"
        known = json.loads(file.read_text()) if file.exists() else {}
        file.write_text(json.dumps({**known, **limits}))

    def reopen(self) -> None:
        """Use the home as its files are now (after `limit`, or a change of settings)."""
        self.runtime.close()
        self.runtime = open_runtime(self.home)
        self.deps = self.runtime.deps

    def launch(self, *, offset: float = 0.0) -> None:
        """Start the process, its clock wrong by `offset` seconds; returns before it serves."""
        assert self.process is None
        serve = ["serve"] if self.role == "agent" else ["repo", "serve"]
        command = ["-m", "skyswarm.cli.main", "--home", str(self.home), *serve]
        if offset:
            command = ["-m", "tests.support.skewed_child", str(offset), str(self.home)]
        with (self.home / f"process-{self.starts}.txt").open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, *command],
                cwd=ROOT,
                env=ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.starts += 1

    def ready(self, seconds: float = 60.0) -> None:
        """Until it accepts connections."""

        def listening() -> bool:
            assert self.process is not None
            if self.process.poll() is not None:
                raise AssertionError(f"{self.name} ended: {self.said()}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1.0):
                return True
            return False

        until(listening, seconds, f"{self.name} to listen")

    def start(self, *, offset: float = 0.0) -> None:
        self.launch(offset=offset)
        self.ready()

    def end(self, number: int = signal.SIGKILL) -> None:
        """End its whole process group and wait for it. SIGKILL is the default: nothing is flushed or unwound."""
        process, self.process = self.process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        process.wait(30)

    def restart(self) -> None:
        self.end()
        self.start()

    def largest_file(self, size: int) -> None:
        """No file of the process may be longer than `size` bytes from now on (-1: any)."""
        assert self.process is not None
        hard = resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (size, hard))

    def memory(self) -> int:
        """VmHWM of the running process, in bytes."""
        assert self.process is not None
        return peak(self.process.pid)

    def command(self, *arguments: str, seconds: float = 600.0) -> tuple[dict[str, Any], int]:
        """Run a command of the command line on this home: its JSON, and the VmHWM of its process in bytes."""
        most = 0
        with (self.home / "command.txt").open("w+b") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "skyswarm.cli.main", "--home", str(self.home), "--json", *arguments],
                cwd=ROOT,
                env=ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

            def over() -> bool:
                nonlocal most
                most = max(most, peak(process.pid))
                return process.poll() is not None

            try:
                until(over, seconds, f"{arguments} to end", pause=0.05)
            finally:
                process.kill()
                process.wait()
            out.seek(0)
            text = out.read().decode()
        assert process.returncode == 0, text
        return json.loads(text.strip().splitlines()[-1]), most

    def said(self) -> str:
        """What its processes printed, and the last lines of its log."""
        texts = [file.read_text(errors="replace") for file in sorted(self.home.glob("process-*.txt"))]
        lines = [line for line in self.log() if '"event": "request"' not in line]
        return "\n".join([*texts[-2:], *lines[-25:]])

    def log(self) -> list[str]:
        return [
            line for file in sorted(self.home.glob("log/*.jsonl")) for line in file.read_text().splitlines()
        ]

    def crashes(self) -> list[str]:
        """Log lines of defects: an error nobody expected."""
        return [line for line in self.log() if '-crash"' in line or '"event": "crash"' in line]

    # ---- what its user does ----------------------------------------------------------------------
    def use(self, repo: Actor) -> None:
        repos.add(self.deps, self.id, repo.endpoint)

    def vouch(self, other: Actor, depth: int = 1) -> None:
        people.vouch(self.deps, self.id, other.id, depth=depth)

    def revoke(self, other: Actor, reason: str = "") -> None:
        people.revoke(self.deps, self.id, sub=other.id, reason=reason)

    def storage(self, name: str, path: Path, priced_as: str = "") -> None:
        """Add a folder as a storage."""
        path.mkdir(parents=True, exist_ok=True)
        self.runtime.add_storage(name, path)
        if priced_as:
            file = self.home / "config.json"
            doc = json.loads(file.read_text())
            doc["storages"][name]["priced_as"] = priced_as
            file.write_text(json.dumps(doc))
            self.reopen()

    def publish(
        self, folder: Path, name: str = "it", prefix: str = "", storage: str = "src"
    ) -> publish.Published:
        """Publish `folder` (made a storage when it is none yet)."""
        if storage not in self.runtime.config.storages:
            self.runtime.add_storage(storage, folder)
        urls = tuple(one.url for one in repos.known(self.deps, self.id))
        terms = publish.Terms(name=name, repos=urls)
        return publish.publish(
            self.deps, self.id, storage, prefix, terms, self.runtime.pool, publish.Progress()
        )

    def drop(self, envelope: bytes, name: str = "it") -> Path:
        """Drop a manifest into the inbox; returns where its status will be."""
        fresh = self.home / f".{name}.tmp"
        fresh.write_bytes(envelope)
        fresh.rename(self.runtime.home.inbox / f"{name}.manifest.json")
        return self.runtime.home.inbox / f"{name}.status.json"

    def get(self, envelope: bytes, storage: str = "home", **wish: Any) -> str:
        """Start a transfer as `skyswarm get FILE` does; returns its id."""
        return starting.start_manifest(self.deps, self.id, envelope, starting.Wish(storage, **wish)).id

    # ---- what can be seen ------------------------------------------------------------------------
    def finds(self, published: publish.Published, *sources: Actor, seconds: float = 30.0) -> None:
        """Until look-ups of this agent name all these sources."""
        urls = [one.url for one in repos.known(self.deps, self.id)]
        wanted = {one.id for one in sources}
        found = lambda: {  # noqa: E731
            one.agent
            for one in lookup.locate(self.deps, self.id, published.manifest.id, urls, self.runtime.network)
        }
        until(lambda: wanted <= found(), seconds, f"{[one.name for one in sources]} to be found")

    def job(self, transfer: str | None = None) -> Job | None:
        """That transfer, or the newest."""
        if transfer is not None:
            return jobs.load(self.deps, self.id, transfer)
        found = jobs.page(self.deps, self.id, limit=1)
        return found[0] if found else None

    def report(self, transfer: str | None = None) -> reporting.Report:
        job = self.job(transfer)
        assert job is not None
        return reporting.report_of(self.deps, self.id, job)

    def wait(self, state: str, seconds: float = 60.0, transfer: str | None = None) -> Job:
        """Until the transfer is in `state`; AssertionError as soon as it ends in another one."""

        def there() -> Job | None:
            job = self.job(transfer)
            if job is None or job.state != state:
                if job is not None and job.state not in ACTIVE:
                    raise AssertionError(
                        f"{self.name}: {job.state} {job.error} {job.failed}, not {state}\n{self.said()}"
                    )
                return None
            return job

        try:
            found: Job = until(there, seconds, f"{state} at {self.name}")
        except TimeoutError as error:
            job = self.job(transfer)
            raise AssertionError(f"{error}: {job}\n{self.said()}") from None
        return found

    def moved(self, transfer: str | None = None) -> int:
        """Bytes that are verified and counted now."""
        return self.report(transfer).tally.bytes if self.job(transfer) else 0

    def parts(self, transfer: str | None = None) -> dict[str, frozenset[int]]:
        """Parts that are present at the destination, by upload."""
        job = self.job(transfer)
        if job is None:
            return {}
        storage = self.deps.storages.open(self.id, job.storage)
        after, uploads, found = -1, set(), {}
        while rows := self.deps.transfers.undone(self.id, job.id, after, 500):
            for row in rows:
                uploads |= {item[4] for item in json.loads(row.plan_json)["items"] if item[4]}
            after = rows[-1].number
        for upload in uploads:
            with contextlib.suppress(Exception):
                found[upload] = storage.parts(upload)
        return found


class Stage:
    """The actors of one test; all processes are gone at the end."""

    def __init__(self, folder: Path, **limits: float) -> None:
        self.folder = folder
        self.limits = {**LIMITS, **limits}
        self.actors: list[Actor] = []

    def agent(self, name: str, *, public_url: str | None = None, role: str = "agent") -> Actor:
        actor = Actor(self.folder / "homes" / name, name, role, public_url, self.limits)
        actor.reopen()
        self.actors.append(actor)
        return actor

    def repository(self, name: str = "repo") -> Actor:
        return self.agent(name, role="repository")

    def start(self, *actors: Actor) -> None:
        """Start them side by side, the repositories a little before the others, which look for them at once."""
        for actor in actors:
            if actor.role == "repository":
                actor.start()
        for actor in actors:
            if actor.role != "repository":
                actor.launch()
        for actor in actors:
            actor.ready()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for actor in self.actors:
            actor.end()
            actor.runtime.close()
        if error is None:
            crashed = {actor.name: actor.crashes() for actor in self.actors}
            assert not any(crashed.values()), crashed


# ---- files -------------------------------------------------------------------------------------
def make_file(path: Path, size: int, seed: int = 0) -> str:
    """Write `size` bytes that nothing compresses or repeats, quickly; returns their SHA-256."""
    block = bytearray(hashlib.shake_256(seed.to_bytes(8, "big")).digest(1 << 20))
    whole = hashlib.sha256()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for number in range(-(-size // len(block))):
            for at in range(0, len(block), 4096):
                block[at : at + 8] = (number << 16 | at >> 12).to_bytes(8, "big")
            chunk = memoryview(block)[: min(len(block), size - number * len(block))]
            whole.update(chunk)
            file.write(chunk)
    return whole.hexdigest()


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def watched(path: Path, size: int) -> Iterator[list[str]]:
    """Looks at `path` all the time: it is absent, then whole. What was ever wrong is in the list."""
    import threading

    wrong: list[str] = []
    over = threading.Event()

    def look() -> None:
        seen = False
        while not over.wait(0.002):
            try:
                found = path.stat().st_size
            except FileNotFoundError:
                if seen:
                    wrong.append("it was there and is gone")
                continue
            if found != size:
                wrong.append(f"{found} bytes of {size} were seen")
            seen = True

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield wrong
    finally:
        over.set()
        thread.join(5.0)
