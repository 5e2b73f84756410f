"""Makes proofs.json from the recursive definitions of RFC 6962 §2.1; shares no code with the package."""

from __future__ import annotations

import hashlib
import json
import sys
from typing import Any


def mth(leaves: list[bytes]) -> bytes:
    """Merkle tree hash of entries."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    k = split(len(leaves))
    return hashlib.sha256(b"\1" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def split(n: int) -> int:
    k = 1
    while 2 * k < n:
        k *= 2
    return k


def path(m: int, leaves: list[bytes]) -> list[bytes]:
    """PATH(m, D[n])."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if m < k:
        return [*path(m, leaves[:k]), mth(leaves[k:])]
    return [*path(m - k, leaves[k:]), mth(leaves[:k])]


def proof(m: int, leaves: list[bytes]) -> list[bytes]:
    """PROOF(m, D[n])."""
    return subproof(m, leaves, True)


def subproof(m: int, leaves: list[bytes], whole: bool) -> list[bytes]:
    if m == len(leaves):
        return [] if whole else [mth(leaves)]
    k = split(len(leaves))
    if m <= k:
        return [*subproof(m, leaves[:k], whole), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), mth(leaves[:k])]


def flip(data: bytes) -> bytes:
    return bytes([data[0] ^ 4]) + data[1:]


def faults(proof: list[bytes]) -> dict[str, list[bytes]]:
    """One fault each."""
    out = {"a hash more at the end": [*proof, b"\x07" * 32], "a hash more in front": [b"\x07" * 32, *proof]}
    if proof:
        out |= {
            "no last hash": proof[:-1],
            "no first hash": proof[1:],
            "empty": [],
            "a bit of the first hash": [flip(proof[0]), *proof[1:]],
            "a bit of the last hash": [*proof[:-1], flip(proof[-1])],
            "a hash of 31 bytes": [proof[0][:31], *proof[1:]],
        }
    if len(set(proof)) > 1:
        out["two hashes swapped"] = [proof[1], proof[0], *proof[2:]]
    return out


def main() -> None:
    leaves = [b"entry %d" % number for number in range(70)]
    inclusion: list[dict[str, Any]] = []
    for index, size in [(0, 1), (0, 2), (1, 2), (2, 3), (0, 8), (6, 7), (20, 70), (69, 70)]:
        good = {
            "index": index,
            "size": size,
            "leaf": hashlib.sha256(b"\0" + leaves[index]).hexdigest(),
            "root": mth(leaves[:size]).hex(),
        }
        right = path(index, leaves[:size])
        inclusion.append({"fault": None, **good, "proof": [one.hex() for one in right]})
        for fault, wrong in faults(right).items():
            inclusion.append({"fault": fault, **good, "proof": [one.hex() for one in wrong]})
        hexes = [one.hex() for one in right]
        inclusion.append({"fault": "another leaf", **good, "leaf": flip(bytes(32)).hex(), "proof": hexes})
        inclusion.append({"fault": "another root", **good, "root": flip(bytes(32)).hex(), "proof": hexes})
        inclusion.append({"fault": "index past the end", **good, "index": size, "proof": hexes})
        inclusion.append({"fault": "index below 0", **good, "index": -1, "proof": hexes})
        inclusion.append({"fault": "twice the size", **good, "size": 2 * size, "proof": hexes})
        if index ^ 1 < size:
            inclusion.append({"fault": "neighbour's index", **good, "index": index ^ 1, "proof": hexes})
    consistency: list[dict[str, Any]] = []
    for old, new in [(1, 1), (1, 2), (2, 5), (3, 7), (4, 7), (6, 8), (8, 64), (21, 70)]:
        good = {
            "old": old,
            "new": new,
            "old_root": mth(leaves[:old]).hex(),
            "new_root": mth(leaves[:new]).hex(),
        }
        right = proof(old, leaves[:new])
        consistency.append({"fault": None, **good, "proof": [one.hex() for one in right]})
        for fault, wrong in faults(right).items():
            consistency.append({"fault": fault, **good, "proof": [one.hex() for one in wrong]})
        hexes = [one.hex() for one in right]
        consistency.append(
            {"fault": "another old root", **good, "old_root": flip(bytes(32)).hex(), "proof": hexes}
        )
        consistency.append(
            {"fault": "another new root", **good, "new_root": flip(bytes(32)).hex(), "proof": hexes}
        )
        consistency.append({"fault": "from nothing", **good, "old": 0, "proof": hexes})
        consistency.append({"fault": "shrinking", **good, "new": old - 1, "proof": hexes})
        if old != new:
            swapped = {"old_root": good["new_root"], "new_root": good["old_root"]}
            consistency.append({"fault": "roots swapped", **good, **swapped, "proof": hexes})
    rows = {"inclusion": inclusion, "consistency": consistency}
    parts = (
        f'"{name}": [\n' + ",\n".join(json.dumps(one) for one in found) + "\n]"
        for name, found in rows.items()
    )
    sys.stdout.write("{" + ",\n".join(parts) + "}\n")


if __name__ == "__main__":
    main()
