"""How large a record may be: what the smallest of the stores can hold, and every driver refuses beyond.

Law: asked before a record is written, never when one is read: an older store may have longer ones.
"""

from __future__ import annotations

from typing import Final

from skyswarm.errors import TooLargeError
from skyswarm.ports.records import AnnounceRow, Batch, Entry, StatementRow, Transfer

MAX_VALUE: Final = 320 * 1024
"""Bytes of a record's opaque value. A DynamoDB item holds 409,600 in all, keys and a batch's progress among them."""
MAX_PROGRESS: Final = 64 * 1024
"""Bytes of a batch's progress, which may lie beside its plan."""
MAX_KEY: Final = 1000
"""Bytes of a note's key in UTF-8."""


def check(row: AnnounceRow | Batch | Entry | StatementRow | Transfer) -> None:
    """TooLargeError, when some store could not hold the row."""
    match row:
        case AnnounceRow() | StatementRow():
            fitting(row.envelope)
        case Transfer():
            fitting(row.doc_json)
        case Batch():
            fitting(row.plan_json)
            check_progress(row.progress_json)
        case Entry():
            fitting(row.value)
            fitting(row.key.encode(), MAX_KEY)


def check_progress(progress_json: bytes) -> None:
    """TooLargeError."""
    fitting(progress_json, MAX_PROGRESS)


def fitting(value: bytes, most: int = MAX_VALUE) -> None:
    """TooLargeError, when the value has more bytes than that."""
    if len(value) > most:
        raise TooLargeError(f"{len(value)} bytes in one record, at most {most} can be kept")
