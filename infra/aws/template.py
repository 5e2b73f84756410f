"""Templates for people without Node: one file for each kind of deployment, and the zips to lay into a bucket first.

    python -m infra.aws.template [FOLDER]

Law: the same stacks as the CDK deploys, synthesised with the zips' place as a parameter. What cfn-lint refuses ends in
an error, and so does a missing handler (`--unfinished` says that this is known).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
NAMES = {"skyswarm-me": "skyswarm-agent", "skyswarm-repository-commons": "skyswarm-repository"}


def write(into: Path, bundles: Path) -> list[Path]:
    """The templates, with their zips beside them. RuntimeError: what the synthesis or cfn-lint said."""
    into.mkdir(parents=True, exist_ok=True)
    written = []
    with tempfile.TemporaryDirectory() as name:
        context = {"parameters": "true", "bundles": str(bundles)}
        _run(
            [sys.executable, str(ROOT / "infra/aws/app.py")],
            {"CDK_OUTDIR": name, "CDK_CONTEXT_JSON": json.dumps(context)},
        )
        for stack, title in NAMES.items():
            template = json.loads((Path(name) / f"{stack}.template.json").read_text("utf-8"))
            for zipped in _zips(template):
                shutil.copyfile(bundles / zipped, into / zipped)
            path = into / f"{title}.template.json"
            path.write_text(json.dumps(template, indent=1) + "\n", "utf-8")
            written.append(path)
    _run([str(Path(sys.executable).parent / "cfn-lint"), *map(str, written)], {})
    return written


def _zips(template: dict[str, Any]) -> set[str]:
    """Names of the zips that a template's functions are made of: the last part of each key."""
    functions = [one for one in template["Resources"].values() if one["Type"] == "AWS::Lambda::Function"]
    return {str(function["Properties"]["Code"]["S3Key"]["Fn::Join"][1][-1]) for function in functions}


def _run(command: Sequence[str], env: dict[str, str]) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, env={**os.environ, "PATH": path, **env}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{Path(command[0]).name} refused:\n{done.stdout}{done.stderr}"[-4000:])


def main(arguments: Sequence[str]) -> None:
    """Write them, and say what to do with them."""
    sys.path.insert(0, str(ROOT))
    from infra.bundles import KEPT, entry
    from infra.catalog import CATALOG

    parser = argparse.ArgumentParser(prog="python -m infra.aws.template")
    parser.add_argument("--unfinished", action="store_true")
    parser.add_argument("into", type=Path, nargs="?", default=ROOT / "dist" / "aws")
    asked = parser.parse_args(arguments)
    missing = [row.name for row in CATALOG if not entry(row).endswith(".aws")]
    if missing and not asked.unfinished:
        sys.exit(f"No handler yet: {', '.join(missing)}. A template that cannot work is not written.")
    try:
        for path in write(asked.into, KEPT):
            print(path)
    except RuntimeError as error:
        sys.exit(str(error))
    print("Lay the zips beside them into a bucket of the region, then make a stack of one of these files.")


if __name__ == "__main__":
    main(sys.argv[1:])
