"""Announcements per second and core: a repository as a real process, signed announcements over kept connections.

The figure is requests divided by the CPU seconds of the repository's process, so it does not depend on who else uses
the machine. Each request is a signature check, a chain look-up, quotas and a durable upsert. Beside it, in the same
run: the same server answering `GET /v1/status`, which is the floor that HTTP alone costs here.
"""

from __future__ import annotations

import contextlib
import http.client
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from skyswarm.edge.runtime import Runtime, create
from skyswarm.messages.dsse import seal
from skyswarm.messages.repository import AnnounceRequest
from skyswarm.messages.statements import Announce, payload_type
from skyswarm.usecases.lookup import lookup_key
from skyswarm.usecases.views import own_head
from tests.bench.bench_relay import _cpu, _open, _peak, _ports, _until

AGENTS = 4
EACH = 500


def run(workdir: Path) -> dict[str, Any]:
    """Prints and returns announcements and bare requests per CPU second of the repository."""
    with tempfile.TemporaryDirectory(dir=workdir) as name:
        folder = Path(name)
        port = _ports(1)[0]
        repo, _ = create(folder / "repo", name="repo", port=port, role="repository")
        agents = [create(folder / f"a{number}", name="a", port=9)[0] for number in range(AGENTS)]
        command = [sys.executable, "-m", "skyswarm.cli.main", "--home", str(repo.home.path), "repo", "serve"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _until(lambda: _open(port), 30)
            path = f"/a/{repo.agent}/v1"
            batches = [_announcements(agent) for agent in agents]
            for batch in batches:  # the first brings the chain, and is not measured
                _send(port, [("POST", f"{path}/announce", batch[0])])
            rows = {
                "announcements": [
                    [("POST", f"{path}/announce", one) for one in batch[1:]] for batch in batches
                ],
                "bare requests": [[("GET", f"{path}/status", b"")] * EACH for _ in batches],
            }
            out: dict[str, Any] = {}
            for kind, work in rows.items():
                before, began = _cpu(process.pid), time.perf_counter()
                threads = [threading.Thread(target=_send, args=(port, part)) for part in work]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                wall, cpu = time.perf_counter() - began, _cpu(process.pid) - before
                count = sum(map(len, work))
                out[kind] = count / cpu
                print(
                    f"repository: {kind:14} {count / cpu:7,.0f} per CPU second, {count / wall:7,.0f}/s here"
                )
            out["peak_mb"] = _peak(process.pid)
            share = out["announcements"] / out["bare requests"]
            print(
                f"repository: an announcement has {share:.2f} of the rate of a bare request; {out['peak_mb']:.0f} MB"
            )
            return out
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(15)
            for one in (repo, *agents):
                one.close()


def _announcements(agent: Runtime) -> list[bytes]:
    deps, now = agent.deps, int(time.time())
    signer, head = deps.keys.current(agent.agent), own_head(deps, agent.agent)
    chain = tuple(row.envelope for row in deps.statements.of(agent.agent, agent.agent))
    out = []
    for number in range(EACH + 1):
        lookups = tuple(sorted(lookup_key(f"{number:032x}{at:032x}") for at in range(8)))
        event = Announce(
            agent.agent,
            number,
            now * 1000 + number,
            "http://127.0.0.1:9/a/" + agent.agent,
            head,
            lookups,
            now + 3600,
        )
        envelope = seal(payload_type("announce"), event.payload(), signer).dump()
        out.append(AnnounceRequest(envelope, chain if number == 0 else ()).dump())
    return out


def _send(port: int, requests: Sequence[tuple[str, str, bytes]]) -> None:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        for method, path, body in requests:
            connection.request(method, path, body or None)
            reply = connection.getresponse()
            said = reply.read()
            if reply.status != 200:
                raise RuntimeError(f"{reply.status} {said[:300]!r}")


if __name__ == "__main__":
    run(Path(tempfile.gettempdir()))
