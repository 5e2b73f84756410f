"""CRC-32C and CRC-64/NVME, running and combined, by awscrt.

Law: the only importer of awscrt in the core. It loads 10 MB of native code (30-60 ms), which a command or a
function that hashes nothing need not pay, so it is loaded at the first use. All functions release the GIL.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

Crc = Callable[[Any, int], int]
"""`crc(data, before)`: the CRC of what gave `before` (0 for nothing) followed by `data` (any contiguous
buffer)."""


@cache
def both() -> tuple[Crc, Crc]:
    """The two running functions, (crc32c, crc64nvme)."""
    from awscrt import checksums

    return checksums.crc32c, checksums.crc64nvme


def combine_crc32c(first: int, second: int, length: int) -> int:
    """The CRC-32C of two stretches of bytes from their own CRCs; `length` is the second's, in bytes."""
    from awscrt import checksums

    return int(checksums.combine_crc32c(first, second, length))


def combine_crc64nvme(first: int, second: int, length: int) -> int:
    """The CRC-64/NVME of two stretches of bytes from their own CRCs; `length` is the second's, in bytes."""
    from awscrt import checksums

    return int(checksums.combine_crc64nvme(first, second, length))
