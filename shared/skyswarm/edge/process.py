"""An agent as one process: the HTTP server, the workers that run tasks, and the one thread that looks and sweeps.

Law: threads and their life live here, what they do is in usecases/. Everything may be killed at any moment: a start
takes back what a dead predecessor had leased (the home's lock proves that it is dead).
"""

from __future__ import annotations

import contextlib
import threading
import time
import traceback
from collections.abc import Callable
from types import TracebackType

from skyswarm.edge.api import make_app
from skyswarm.edge.log import Log
from skyswarm.edge.runtime import Runtime
from skyswarm.edge.server import Server
from skyswarm.errors import SkyError
from skyswarm.ports.work import Delivery, Task
from skyswarm.usecases import tending
from skyswarm.usecases.work import defect, perform

TASK_LEASE = 120.0
IDLE = 0.05
IDLE_MOST = 0.5


class Workers:
    """Threads that pull tasks and run them. Names of lease holders are `<instance>/<thread>`."""

    def __init__(self, runtime: Runtime, threads: int = 8, log: Log | None = None) -> None:
        self._runtime = runtime
        self._log = log or Log(runtime.home.log)
        self._stop = threading.Event()
        self._defects: dict[Task, int] = {}
        """How often each task has met a defect here; only of those that did and are not done."""
        self.instance = runtime.deps.entropy(8).hex()
        self._threads = [
            threading.Thread(
                target=self._run, args=(f"{self.instance}/{number}",), name=f"worker-{number}", daemon=True
            )
            for number in range(threads)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    @property
    def busy(self) -> bool:
        """Whether a task still runs, also after `leave`."""
        return any(thread.is_alive() for thread in self._threads)

    def leave(self) -> None:
        """No new task; the running ones go on, and `busy` says for how long."""
        self._stop.set()

    def stop(self, wait: float = 5.0) -> None:
        """No new task; the running ones have `wait` seconds. What is cut short is leased and comes again."""
        self.leave()
        end = time.monotonic() + wait
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _run(self, holder: str) -> None:
        deps = self._runtime.deps
        idle = IDLE
        while not self._stop.is_set():
            try:
                found = deps.tasks.pull(holder, deps.clock(), TASK_LEASE)
                if not found:
                    self._stop.wait(idle)
                    idle = min(IDLE_MOST, idle * 1.5)
                    continue
                idle = IDLE
                for delivery in found:
                    self.run(delivery, holder)
            except SkyError as error:
                self._log.write("task-error", code=error.code, message=error.message)
                self._stop.wait(1.0)
            except Exception as error:  # noqa: BLE001 - a worker outlives any defect; the log has it whole
                self._log.write("task-crash", error=repr(error), trace=traceback.format_exc())
                self._stop.wait(1.0)

    def run(self, delivery: Delivery, holder: str) -> None:
        """One task, whatever it meets. Raises what the ports raise while a failure is written down."""
        deps, task = self._runtime.deps, delivery.task
        if task.kind != "sync":  # every few seconds, and each repository keeps its own errors
            body = task.body_json.decode(errors="replace")
            self._log.write("task", kind=task.kind, attempt=delivery.attempt, body=body)
        try:
            perform(deps, delivery, holder, self._runtime.network)
        except SkyError as error:
            if (
                error.retryable
            ):  # the store is away, or others wrote at once: it comes again when its lease ends
                raise
            self._log.write("task-error", code=error.code, message=error.message)
            reason = error
        except Exception as error:  # noqa: BLE001 - a worker outlives any defect; the log has it whole
            self._log.write("task-crash", error=repr(error), trace=traceback.format_exc())
            reason = SkyError("something went wrong here, it is in the log", advice="Report it; then resume.")
        else:
            self._defects.pop(task, None)
            return
        times = self._defects[task] = self._defects.get(task, 0) + 1
        if defect(deps, delivery, reason, times):
            self._defects.pop(task, None)


class AgentProcess:
    """Everything that `skyswarm serve` runs. Use as a context manager, or `start` and `stop`."""

    def __init__(
        self, runtime: Runtime, *, threads: int = 8, notify: Callable[[str], None] = lambda _: None
    ) -> None:
        self._runtime = runtime
        self._notify = notify
        self.log = Log(runtime.home.log)
        self._lock = contextlib.ExitStack()
        self._stop = threading.Event()
        self.workers = Workers(runtime, threads, self.log)
        config = runtime.config
        self.server = Server(make_app(runtime, self.log.write), config.host, config.port, log=self.log.access)
        self._tender = threading.Thread(target=self._tend, name="tender", daemon=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return self.server.url

    def start(self) -> None:
        """HomeInUseError, PortInUseError."""
        runtime = self._runtime
        self._lock.enter_context(runtime.home.lock())
        try:
            self.server.start()
            runtime.tasks.reclaim(self.workers.instance)
            runtime.transfers.reclaim(self.workers.instance)
            tending.wake_up(runtime.deps, runtime.agent, runtime.endpoint)
        except BaseException:
            self.stop()
            raise
        self.workers.start()
        self._tender.start()
        self.log.write("start", url=self.url, agent=runtime.agent)

    def stop(self) -> None:
        self._stop.set()
        self.server.stop()
        if self._tender.ident is not None:
            self._tender.join(5.0)
            self.workers.stop()
        self._lock.close()
        self.log.write("stop")

    def wait(self) -> None:
        """Until `stop` is called from another thread or a signal handler."""
        self._stop.wait()

    def __enter__(self) -> AgentProcess:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _tend(self) -> None:
        """Two looks a second: the inbox, statuses, announcements and repositories that are due."""
        runtime = self._runtime
        rounds = tending.Rounds()
        while not self._stop.is_set():
            try:
                rounds = tending.tend(runtime.deps, runtime.agent, rounds, runtime.config.role)
            except SkyError as error:
                self.log.write("tend-error", code=error.code, message=error.message)
            except Exception as error:  # noqa: BLE001 - as in Workers
                self.log.write("tend-crash", error=repr(error), trace=traceback.format_exc())
            self._stop.wait(0.5)
