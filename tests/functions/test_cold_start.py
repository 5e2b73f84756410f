"""What each front door loads: a cold start is paid for by every first request, so each library in it is named here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from skyswarm.edge.runtime import create
from tests.support.stage import ROOT

ALLOWED = {"functions", "skyswarm", "nacl", "_sodium", "rfc8785", "cffi", "_cffi_backend"}
"""Third-party roots that may be there once a request was answered."""
SCRIPT = """
import importlib, io, json, sys, types
before = set(sys.modules)
module = importlib.import_module(f"functions.{sys.argv[1]}.{sys.argv[3]}")
def roots():
    names = {name.partition(".")[0] for name in set(sys.modules) - before}
    return sorted(names - set(sys.stdlib_module_names) - {"__mp_main__"})
loaded = roots()
if sys.argv[3] == "aws":
    http = {"http": {"method": "POST"}}
    path = f"/a/{sys.argv[2]}/v1/{sys.argv[1]}"
    reply = module.handler({"requestContext": http, "rawPath": path, "headers": {}, "body": "{}"}, None)
    print(json.dumps({"loaded": loaded, "after": roots(), "status": reply["statusCode"], "body": reply["body"],
                      "modules": len(sys.modules)}))
    sys.exit()
request = types.SimpleNamespace(
    method="POST", host="x", full_path="/", environ={"RAW_URI": f"/a/{sys.argv[2]}/v1/{sys.argv[1]}"},
    query_string=b"", headers={}, stream=io.BytesIO(b"{}"),
)
body, status, headers = getattr(module, sys.argv[1])(request)
print(json.dumps({"loaded": loaded, "after": roots(), "status": status, "body": body.decode(),
                  "modules": len(sys.modules)}))
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    path = tmp_path_factory.mktemp("cold") / "home"
    runtime, _ = create(path, name="cold", port=1, role="repository", fsync=False)
    runtime.close()
    return path, runtime.agent


@pytest.mark.parametrize("cloud", ["gcp", "aws"])
@pytest.mark.parametrize("name", ["announce", "fetch_piece", "vouch", "revoke"])
def test_a_door_loads_nothing_heavy(home: tuple[Path, str], name: str, cloud: str) -> None:
    path, agent = home
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, name, agent, cloud],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{ROOT / 'shared'}{os.pathsep}{ROOT}",
            "SKYSWARM_HOME": str(path),
        },
        capture_output=True,
        timeout=60,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found["loaded"]) <= ALLOWED, found
    assert set(found["after"]) <= ALLOWED, found
    assert found["modules"] < 450, "half a second of a small function's first request"
    assert 400 <= found["status"] < 500, found["body"]


def test_every_door_has_the_name_of_its_folder() -> None:
    folders = {path.parent.name for path in (ROOT / "functions").glob("*/gcp.py")}
    assert folders == {"announce", "fetch_piece", "vouch", "revoke"}


IMPORT = "import functions.{name}.aws, sys; print(*sorted(sys.modules))"


@pytest.mark.parametrize("name", ["announce", "fetch_piece", "vouch", "revoke"])
def test_lambdas_door_itself_chooses_no_driver_and_loads_no_sdk(name: str) -> None:
    """What the root chooses comes on top: the SDK with it, Powertools never (`shared/decisions/aws-doors.md`)."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORT.format(name=name)],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT / 'shared'}{os.pathsep}{ROOT}"},
        capture_output=True,
        timeout=60,
        text=True,
        check=True,
    )
    loaded = done.stdout.split()
    heavy = {
        "boto3",
        "botocore",
        "aws_lambda_powertools",
        "awscrt",
        "sqlite3",
        "http.client",
        "socket",
        "ssl",
    }
    assert not heavy & set(loaded)
    rooms = {one.split(".")[1] for one in loaded if one.startswith("skyswarm.")}
    assert rooms <= {"edge", "errors", "messages", "pieces", "ports", "trust", "usecases"}
    assert not {"skyswarm.edge.runtime", "skyswarm.edge.objects", "skyswarm.edge.server"} & set(loaded)
