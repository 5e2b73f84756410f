"""Servers that stand in for AWS, real processes out of `.venv-emulators`, one of each per test process.

Law: started when first asked for, on loopback only, on free ports, in a process group of its own that is killed when
the tests end (and by the kernel when they are killed). A server that does not come up is a failure, never a skip. What
none of them proves is listed in `shared/decisions/unproven.md`.
"""

from __future__ import annotations

import atexit
import ctypes
import json
import os
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from skyswarm.cli.agent import free_port

BIN = Path(__file__).parents[2] / ".venv-emulators" / "bin"
REGION = "eu-central-1"
ACCOUNT = "111111111111"
"""As an access key it *is* an account on ministack."""
SECRET = "an-emulators-secret"
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Emulator:
    """A running server."""

    url: str
    key: str = ACCOUNT
    secret: str = SECRET

    def options(self) -> dict[str, str]:
        """Keyword arguments of a boto3 client."""
        return {
            "endpoint_url": self.url,
            "region_name": REGION,
            "aws_access_key_id": self.key,
            "aws_secret_access_key": self.secret,
        }


def unique(prefix: str) -> str:
    """A name for a table, bucket or queue that no other test has."""
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


@cache
def ministack() -> Emulator:
    """S3, DynamoDB, SQS, Lambda, KMS, Secrets Manager and more; signatures and policies are not enforced."""
    port = free_port()
    env = {"BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port), "IOT_MTLS_ENABLED": "0", "SFTP_ENABLED": "0"}
    env["AWS_SECRET_ACCESS_KEY"] = SECRET  # what presigned URLs are checked with
    return Emulator(_run([str(BIN / "ministack")], port, "/_ministack/health", env))


@cache
def moto() -> Emulator:
    """A second DynamoDB, by other people. Its own server lets requests of several threads run into each other, which
    DynamoDB never does with one item: here it answers one at a time."""
    port = free_port()
    return Emulator(_run([str(BIN / "python"), "-c", _MOTO, str(port)], port, "/moto-api/"))


_MOTO = """
import sys
from moto.server import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import run_simple
application = DomainDispatcherApplication(create_backend_app)
run_simple("127.0.0.1", int(sys.argv[1]), application, threaded=False, request_handler=MotoRequestHandler)
"""


@cache
def seaweedfs() -> Emulator:
    """A second S3, on disk, which checks signatures and gives the checksums of copied parts."""
    folder = Path(tempfile.mkdtemp(prefix="skyswarm-weed-"))
    atexit.register(_remove, folder)
    identity = {
        "name": "tests",
        "credentials": [{"accessKey": ACCOUNT, "secretKey": SECRET}],
        "actions": ["Admin", "Read", "List", "Tagging", "Write"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    names = (
        "s3.port",
        "s3.port.iceberg",
        "s3.port.lance",
        "master.port",
        "volume.port",
        "filer.port",
        "admin.port",
    )
    ports = {name: free_port() for name in names}
    arguments = [f"-{name}={port}" for name, port in ports.items()]
    arguments += [f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-s3.config={folder / 's3.json'}"]
    arguments += ["-admin.ui=false", "-webdav=false", "-master.telemetry=false"]
    return Emulator(_run([str(BIN / "weed"), "mini", *arguments], ports["s3.port"], "/status"))


def _run(command: Sequence[str], port: int, path: str, env: dict[str, str] | None = None) -> str:
    if not Path(command[0]).exists():
        raise RuntimeError(f"{Path(command[0]).name} is not installed: run `make env-emulators`")
    log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the server
    server = subprocess.Popen(
        command,
        stdout=log,
        stderr=log,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **(env or {})},
        start_new_session=True,
        preexec_fn=_die_with_parent,  # noqa: PLW1509 - one C call
    )
    atexit.register(_kill, server)
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 60
    while not _answers(url + path):
        if server.poll() is not None or time.monotonic() > deadline:
            log.seek(0)
            raise RuntimeError(f"{command[0]} did not start: {log.read()[-2000:].decode(errors='replace')}")
        time.sleep(0.05)
    return url


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=5):
            return True
    except HTTPError:
        return True
    except (URLError, OSError):
        return False


_libc: Callable[..., int] = ctypes.CDLL(None).prctl


def _die_with_parent() -> None:
    _libc(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _kill(server: subprocess.Popen[bytes]) -> None:
    if server.poll() is None:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _remove(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)
