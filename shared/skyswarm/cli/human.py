"""Sizes, durations, money and times as people write and read them.

Law: pure functions; what is typed becomes bytes, seconds or micro-dollars, or an InputError with an example. GB is
10^9 bytes, GiB is 2^30; money is US dollars, kept as integer micro-dollars.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal

from skyswarm.errors import InputError

_NUMBER = r"([0-9]{1,15}(?:\.[0-9]{1,9})?)"
_SIZE = re.compile(rf"{_NUMBER}\s*(?:([kmgtp])(i?)b?|b|bytes)?", re.IGNORECASE)
_DURATION = re.compile(rf"{_NUMBER}\s*(s|min|m|h|d|w)")
_MONEY = re.compile(rf"\$?\s*{_NUMBER}\s*(?:usd|\$)?", re.IGNORECASE)
_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_MOST = 2**53 - 1
"""The largest number that every reader of JSON takes exactly."""
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}


def parse_size(text: str) -> int:
    """Bytes of `10GB`, `10GiB`, `500k`, `1.5T` or a plain number. InputError."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise InputError(f"{text!r} is not a size", advice="Write for example 500k, 10GB or 10GiB.")
    factor = (1024 if match[3] else 1000) ** _POWERS.get((match[2] or "").lower(), 0)
    return _bounded(text, int(Decimal(match[1]) * factor))


def parse_duration(text: str) -> int:
    """Seconds of `14d`, `6h`, `90min`, `2w`. InputError."""
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None:
        raise InputError(f"{text!r} is not a length of time", advice="Write for example 14d, 6h or 30min.")
    return _bounded(text, int(Decimal(match[1]) * _SECONDS[match[2]]))


def parse_money(text: str) -> int:
    """Micro-dollars of `6`, `$6`, `4.50`, `0.05 USD`. InputError."""
    match = _MONEY.fullmatch(text.strip())
    if match is None:
        raise InputError(f"{text!r} is not an amount of US dollars", advice="Write for example 6 or 4.50.")
    return _bounded(text, int(Decimal(match[1]) * 1_000_000))


def _bounded(text: str, number: int) -> int:
    if number > _MOST:
        raise InputError(f"{text} is too much", advice=f"In the smallest unit it may be {_MOST:,} at most.")
    return number


def size(count: int) -> str:
    """`61.2 GB`: decimal units, three figures."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 999.5 or unit == "TB":
            return f"{count} B" if unit == "B" else f"{_three(value)} {unit}"
        value /= 1000
    raise AssertionError("the last unit has no end")


def _three(value: float) -> str:
    """Three significant figures, never fewer digits than the whole part has."""
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else f"{value:,.0f}"


def money(micro: int) -> str:
    """`$5.51`; below a cent as many digits as it takes to show the first one."""
    if micro and abs(micro) < 10_000:
        return f"${micro / 1_000_000:.6f}".rstrip("0")
    return f"${micro / 1_000_000:,.2f}"


def clock(seconds: int) -> str:
    """A length of time as `0:31`, `12:05` or `2:00:09`; from two days on `3 d`."""
    if seconds >= 2 * 86400:
        return f"{seconds // 86400} d"
    minutes, rest = divmod(max(0, seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def when(at: float, now: float) -> str:
    """A moment seen from now: `just now`, `20 s ago`, `5 min ago`, `in 14 d`; beyond 100 days its date (UTC)."""
    away = at - now
    distance = abs(away)
    if distance < 1:
        return "just now"
    if distance >= 100 * 86400:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")
    steps = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
    span = next(f"{round(distance / unit)} {name}" for unit, name in steps if distance >= unit)
    return f"in {span}" if away > 0 else f"{span} ago"


def some(count: int, noun: str) -> str:
    """`1 file`, `12,410 files`, `2 entries`, `30 days`."""
    plural = noun[:-1] + "ies" if noun.endswith("y") and noun[-2] not in "aeiou" else noun + "s"
    return f"{count:,} {noun if count == 1 else plural}"
