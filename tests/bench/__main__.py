"""`make bench`: every figure beside its rival or limit, measured in one run. Ratios count, absolute times do not.

Name parts to run only these: `make bench ARGS="relay trust"`. BENCH_DIR says where the files go (about 5 GB).
"""

from __future__ import annotations

import importlib
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PARTS = ("pieces", "relay_floor", "relay", "trust", "records", "announce")


def main() -> int:
    """Each part in a process of its own, so that one's memory is not another's."""
    asked = [one for one in sys.argv[1:] if one in PARTS]
    if sys.argv[1:2] == ["--part"]:
        with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
            module = importlib.import_module(f"tests.bench.bench_{sys.argv[2]}")
            rows = module.run(Path(folder))
            show = getattr(module, "show", None)
            if show is not None:
                show(rows)
        return 0
    python, load = platform.python_version(), os.getloadavg()[0]
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, Python {python}, load {load:.1f}")
    missed = 0
    for part in asked or PARTS:
        began = time.monotonic()
        print(f"\n== {part}", flush=True)
        done = subprocess.run([sys.executable, "-m", "tests.bench", "--part", part], check=False)
        missed += done.returncode != 0
        print(f"   ({time.monotonic() - began:.0f} s)", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
