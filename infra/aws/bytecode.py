"""Compiles every source below a folder, for functions that run on this very Python. `bytecode.mjs` does it for others.

Law: standard library only; prints the tag of its Python and nothing else. Also run inside Pyodide.
"""

from __future__ import annotations

import py_compile
import sys
from pathlib import Path


def main(root: Path) -> str:
    """Unchecked-hash bytecode beside each source. Names in tracebacks are as Lambda's folder has them."""
    for path in sorted(root.rglob("*.py")):
        place = "/".join(path.relative_to(root).parts[1:])
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
        py_compile.compile(str(path), dfile=f"/var/task/{place}", doraise=True, invalidation_mode=mode)
    return str(sys.implementation.cache_tag)


if __name__ == "__main__":
    print(main(Path(sys.argv[1])))
