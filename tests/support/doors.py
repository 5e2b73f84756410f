"""The front doors in Google's functions-framework and in Lambda's runtime: one process each, real requests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.attack import call
from tests.support.lambda_runtime import Function, Gateway
from tests.support.stage import ROOT, free_port, until


class Door:
    """One function's process. `url` is where an agent's actions are reached at this door."""

    def __init__(self, name: str, home: Path | None, agent: str, out: Path) -> None:
        self.name, self.port, self.out = name, free_port(), out
        self.base = f"http://127.0.0.1:{self.port}"
        self.url = f"{self.base}/a/{agent}"
        variables = {"PYTHONPATH": f"{ROOT / 'shared'}{os.pathsep}{ROOT}"}
        if home is not None:
            variables["SKYSWARM_HOME"] = str(home)
        keep = {key: value for key, value in os.environ.items() if key in ("PATH", "HOME", "LANG", "TMPDIR")}
        with out.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "functions_framework", f"--target={name}",
                 f"--source=functions/{name}/gcp.py", "--host=127.0.0.1", f"--port={self.port}"],
                cwd=ROOT, env=keep | variables, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip

    def ready(self) -> None:
        def there() -> bool:
            assert self.process.poll() is None, self.out.read_text()
            try:
                return call("GET", f"{self.base}/").status > 0
            except OSError:
                return False

        until(there, 40.0, f"{self.name} to answer")

    def close(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class LambdaDoor:
    """The same, under `awslambdaric` behind a gateway of ours."""

    def __init__(self, name: str, home: Path | None, agent: str, out: Path) -> None:
        self.name, self.port, self.out = name, free_port(), out
        self.base = f"http://127.0.0.1:{self.port}"
        self.url = f"{self.base}/a/{agent}"
        variables = {} if home is None else {"SKYSWARM_HOME": str(home)}
        self.function = Function(f"functions.{name}.aws.handler", variables, out)
        self.gateway = Gateway(self.function, self.port)

    def ready(self) -> None:
        assert call("GET", f"{self.base}/").status > 0

    def close(self) -> None:
        self.gateway.close()
        self.function.close()


CLOUDS: dict[str, type[Door] | type[LambdaDoor]] = {"gcp": Door, "aws": LambdaDoor}


@contextmanager
def doors(
    *wanted: tuple[str, Path | None, str], folder: Path, cloud: str = "gcp"
) -> Iterator[list[Door | LambdaDoor]]:
    """Doors by function, home and agent, started side by side."""
    made: list[Door | LambdaDoor] = []
    try:
        for number, (name, home, agent) in enumerate(wanted):
            made.append(CLOUDS[cloud](name, home, agent, folder / f"door-{number}.txt"))
        for one in made:
            one.ready()
        yield made
    finally:
        for one in made:
            one.close()
