"""Makes cases.json: the twelve edge cases of ed25519-speccheck, constructed anew from their conditions.

Run it to write the file: `python tests/vectors/speccheck/generate.py`. Everything is derived from fixed labels, so it
always writes the same bytes; a test holds file and generator equal. The arithmetic is RFC 8032's, in plain integers:
slow, not constant in time, for vectors only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT = pow(2, (P - 1) // 4, P)
Point = tuple[int, int]
ZERO: Point = (0, 1)


def add(a: Point, b: Point) -> Point:
    (x1, y1), (x2, y2) = a, b
    k = D * x1 * x2 * y1 * y2 % P
    return (x1 * y2 + x2 * y1) * pow(1 + k, -1, P) % P, (y1 * y2 + x1 * x2) * pow(1 - k, -1, P) % P


def mul(n: int, a: Point) -> Point:
    out = ZERO
    while n:
        if n & 1:
            out = add(out, a)
        a, n = add(a, a), n >> 1
    return out


def lift(y: int, sign: int) -> Point | None:
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * ROOT % P
    if x * x % P != square:
        return None
    return (P - x if x & 1 != sign else x), y


def encode(a: Point) -> bytes:
    return (a[1] | (a[0] & 1) << 255).to_bytes(32, "little")


def number(*parts: bytes) -> int:
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little")


def scalar(label: str) -> int:
    return number(b"skyswarm speccheck " + label.encode()) % L


def torsion() -> Point:
    """A point of order 8: the first that clearing the prime order part of some point leaves."""
    for y in range(2, 1000):
        point = lift(y, 0)
        if point is not None and mul(4, small := mul(L, point)) != ZERO:
            return small
    raise AssertionError("unreachable: half of all points have torsion of order 8")


BASE = lift(4 * pow(5, -1, P) % P, 0) or ZERO
EIGHT = torsion()
# A decoder that does not compare y with p takes y = p for y = 0.
LOOSE_FOUR = P.to_bytes(32, "little")
FOUR = lift(0, 0) or ZERO
Case = dict[str, object]


def holds(public: bytes, message: bytes, signature: bytes, cofactored: bool) -> bool:
    """Whether the equation holds for a decoder that refuses nothing: y and S are taken modulo p and L, the hash is over
    the bytes as sent."""
    points = [
        lift((n := int.from_bytes(part, "little")) % 2**255 % P, n >> 255)
        for part in (public, signature[:32])
    ]
    if points[0] is None or points[1] is None:
        return False
    left = mul(int.from_bytes(signature[32:], "little"), BASE)
    right = add(points[1], mul(number(signature[:32], public, message) % L, points[0]))
    return mul(8, left) == mul(8, right) if cofactored else left == right


def messages() -> Iterator[bytes]:
    for count in range(1000):
        yield hashlib.sha256(b"skyswarm speccheck message %d" % count).digest()


def search(
    a: int,
    ta: Point,
    r: int,
    tr: Point,
    fits: Callable[[int], bool],
    loose_a: bytes = b"",
    loose_r: bytes = b"",
    hash_loose: bool = True,
) -> tuple[bytes, bytes, bytes]:
    """Public key, message and signature with A = aB + ta, R = rB + tr, S = r + ha and an h that `fits`."""
    point_a, point_r = encode(add(mul(a, BASE), ta)), encode(add(mul(r, BASE), tr))
    public, first = loose_a or point_a, loose_r or point_r
    for message in messages():
        h = number(first, public, message) if hash_loose else number(point_r, point_a, message)
        if fits(h % L):
            return public, message, first + ((r + h * a) % L).to_bytes(32, "little")
    raise AssertionError("no message fits: the conditions contradict each other")


def balanced(ta: Point, tr: Point) -> Callable[[int], bool]:
    """The torsion parts cancel: the cofactorless equation holds too."""
    return lambda h: add(tr, mul(h % 8, ta)) == ZERO


def cases() -> list[Case]:
    a, r = scalar("a"), scalar("r")
    t3 = mul(3, EIGHT)
    honest = search(a, ZERO, r, ZERO, lambda h: True)

    def raised(k: int) -> tuple[bytes, bytes, bytes]:
        public, message, signature = honest
        s = int.from_bytes(signature[32:], "little") + k * L
        return public, message, signature[:32] + s.to_bytes(32, "little")

    def prereduced(h: int) -> bool:
        return h % 8 != 0 and 8 * h % L % 8 != 0

    made = [
        ("small A, small R, S = 0", search(0, EIGHT, 0, t3, balanced(EIGHT, t3)), True, True),
        ("small A, mixed R", search(0, EIGHT, r, t3, balanced(EIGHT, t3)), True, True),
        ("mixed A, small R", search(a, EIGHT, 0, t3, balanced(EIGHT, t3)), True, True),
        ("mixed A, mixed R, torsion cancels", search(a, EIGHT, r, t3, balanced(EIGHT, t3)), True, True),
        (
            "mixed A, mixed R, torsion does not cancel",
            search(a, EIGHT, r, t3, lambda h: not balanced(EIGHT, t3)(h)),
            True,
            False,
        ),
        ("mixed A, 8h must not be reduced first", search(a, EIGHT, r, ZERO, prereduced), True, False),
        ("S above L", raised(1), True, True),
        ("S far above L, high bit set", raised(8), True, True),
        (
            "non-canonical small R, reduced for the hash",
            search(a, EIGHT, 0, FOUR, balanced(EIGHT, FOUR), loose_r=LOOSE_FOUR, hash_loose=False),
            True,
            True,
        ),
        (
            "non-canonical small R, hashed as it is",
            search(a, EIGHT, 0, FOUR, balanced(EIGHT, FOUR), loose_r=LOOSE_FOUR),
            True,
            True,
        ),
        (
            "non-canonical small A, reduced for the hash",
            search(
                0, FOUR, r, mul(2, EIGHT), balanced(FOUR, mul(2, EIGHT)), loose_a=LOOSE_FOUR, hash_loose=False
            ),
            True,
            True,
        ),
        (
            "non-canonical small A, hashed as it is",
            search(0, FOUR, r, mul(2, EIGHT), balanced(FOUR, mul(2, EIGHT)), loose_a=LOOSE_FOUR),
            True,
            True,
        ),
    ]
    return [
        {
            "case": index,
            "comment": comment,
            "public": public.hex(),
            "message": message.hex(),
            "signature": signature.hex(),
            "cofactored": cofactored,
            "cofactorless": cofactorless,
            "libsodium": index == 3,
        }
        for index, (comment, (public, message, signature), cofactored, cofactorless) in enumerate(made)
    ]


def document() -> str:
    return json.dumps(cases(), indent=1) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("cases.json").write_text(document())
