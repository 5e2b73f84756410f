"""Writes the vectors of `shared/spec/pieces.md`. Run as `python -m tests.vectors.pieces.generate`.

Law: imports nothing of Skyswarm. Sizes follow the prose of the spec, CRCs are computed bit by bit, JSON is
sorted by the standard library: a second implementation, slow and plain, that the first one is held against.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
MIB, GIB = 1 << 20, 1 << 30


def plain_piece_size(size: int) -> int:
    """The prose of the spec, as a loop."""
    piece = 8 * MIB
    while piece < 64 * MIB and size > 1024 * piece:
        piece *= 2
    while size > 10_000 * piece:
        piece *= 2
    return min(piece, 5 * GIB)


def crc(data: bytes, polynomial: int, width: int) -> int:
    """A reflected CRC with all bits set before and inverted after, one byte of a table at a time."""
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (polynomial if value & 1 else 0)
        table.append(value)
    state = mask = (1 << width) - 1
    for byte in data:
        state = state >> 8 ^ table[(state ^ byte) & 0xFF]
    return state ^ mask


def record(piece: bytes) -> bytes:
    sums = crc(piece, 0x82F63B78, 32), crc(piece, 0x9A6C9329AC4BC9B5, 64)
    return hashlib.sha256(piece).digest() + struct.pack(">IQ", *sums)


def b64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def sizes() -> list[dict[str, Any]]:
    edges = [1024 * (8 << step) * MIB for step in range(4)]
    edges += [10_000 * (64 << step) * MIB for step in range(7)] + [50_000 * GIB]
    points = {0, 1, 4 * MIB, 8 * MIB, 8 * MIB + 1, 12_345_678, GIB, 5 << 40}
    points |= {edge + by for edge in edges for by in (-1, 0, 1)} - {50_000 * GIB + 1}
    rows = []
    for size in sorted(points):
        piece = plain_piece_size(size)
        count = -(-size // piece)
        rows.append(
            {"size": size, "piece": piece, "count": count, "last": size - (count - 1) * piece if size else 0}
        )
    return rows


def files() -> list[dict[str, Any]]:
    rows = []
    for name, unit, times in (
        ("empty", b"", 0),
        ("check", b"123456789", 1),
        ("text", b"skyswarm\n", 1),
        ("bytes", bytes(range(256)), 400),
    ):
        data = unit * times
        packed = record(data) if data else b""
        rows.append(
            {
                "name": name,
                "unit": unit.hex(),
                "times": times,
                "size": len(data),
                "pieces": b64url(packed),
                "content": hashlib.sha256(packed[:32]).hexdigest(),
                "md5": hashlib.md5(data).hexdigest(),
                "sha256": hashlib.sha256(data).hexdigest(),
                "dropbox": hashlib.sha256(hashlib.sha256(data).digest() if data else b"").hexdigest(),
            }
        )
    return rows


def paths() -> dict[str, list[Any]]:
    good = [
        "a",
        "a/b.txt",
        "...",
        "..a",
        "a..",
        "...a/b",
        ".hidden",
        "a b",
        " a",
        "~",
        "-rf",
        "$HOME",
        "%2e%2e/a",
        "a/C:",
        "C",
        "aC:",
        "caf\u00e9",
        "cafe\u0301",
        "\u65e5\u672c\u8a9e/\u6587",
        "\U0001f41d",
        "a\u200db",
        "\u200ea",
        "a/.skyswarm",
        ".skyswarmed",
        "skyswarm",
        "a" * 255,
        "\u00e9" * 127,
        "/".join(["a" * 127] * 8) + "b",
        "/".join("a" * 64),
    ]
    unportable = [
        "ab:c",
        "a<b",
        "a>b",
        'a"b',
        "a|b",
        "a?b",
        "a*b",
        "a.",
        "a ",
        "dir./a",
        "dir /a",
        "CON",
        "con.txt",
        "x/NUL.tar.gz",
        "aux",
        "Prn.",
        "COM1",
        "lpt9.log",
        "COM\u00b9",
        "CONIN$",
        "nul .txt",
    ]
    bad = [
        ("empty", ""),
        ("absolute", "/a"),
        ("root", "/"),
        ("trailing slash", "a/"),
        ("empty part", "a//b"),
        ("dot", "."),
        ("dot inside", "a/./b"),
        ("parent", ".."),
        ("parent first", "../a"),
        ("parent inside", "a/../b"),
        ("parent last", "a/.."),
        ("drive", "C:"),
        ("drive and path", "c:a"),
        ("drive and slash", "C:/a"),
        ("backslash", "a\\b"),
        ("backslash parent", "..\\a"),
        ("share of a machine", "\\\\host\\a"),
        ("NUL", "a\x00b"),
        ("newline", "a\nb"),
        ("escape", "\x1b[2J"),
        ("delete", "a\x7f"),
        ("C1", "a\u009bb"),
        ("line separator", "a\u2028b"),
        ("paragraph separator", "a\u2029b"),
        ("right-to-left override", "a\u202etxt.exe"),
        ("isolate", "a\u2066b"),
        ("noncharacter", "a\uffff"),
        ("noncharacter inside", "\ufdd0"),
        ("noncharacter above", "\U0001fffe"),
        ("lone surrogate", "a\ud800"),
        ("part too long", "a" * 256),
        ("part too long in bytes", "\u00e9" * 128),
        ("too long", "/".join(["a" * 127] * 8) + "bb"),
        ("too many parts", "/".join("a" * 65)),
        ("hidden", ".skyswarm"),
        ("in hidden", ".skyswarm/a"),
        ("hidden in capitals", ".SkySwarm/a"),
        ("hidden for Windows", ".skyswarm. /a"),
        ("hidden stream", ".skyswarm::$INDEX_ALLOCATION/a"),
        ("hidden for HFS+", ".sky\u200cswarm/a"),
        ("hidden with a long s", ".\u017fkyswarm/a"),
        ("hidden with a Kelvin sign", ".s\u212ayswarm/a"),
    ]
    clashes = [
        ("twice", ["a", "a"], True),
        ("case", ["A/b", "a/B"], False),
        ("case of a folder only", ["A/b", "a/c"], None),
        ("accents", ["caf\u00e9", "cafe\u0301"], False),
        ("sharp s", ["stra\u00dfe", "STRASSE"], False),
        ("capital sharp s", ["\u1e9e", "ss"], False),
        ("Kelvin", ["\u212a", "k"], False),
        ("sigma", ["\u03c3", "\u03c2"], False),
        ("file over folder", ["a/b", "a"], True),
        ("folder over file", ["a", "a/b"], True),
        ("deep folder over file", ["a/b", "a/b/c/d"], True),
        ("file over deep folder", ["a/b/c/d", "a/b"], True),
        ("folder over file by case", ["A", "a/b"], False),
        ("neighbours", ["a/b", "a/c", "b", "ab", "a.b"], None),
        ("dotless i is another letter", ["\u0131", "i"], None),
    ]
    return {
        "good": good,
        "unportable": unportable,
        "bad": [{"name": name, "path": path, "error": "UnsafePathError"} for name, path in bad],
        # `exact`: a clash everywhere, or (false) only where case and accents fold; null: no clash.
        "clashes": [{"name": name, "paths": listed, "exact": exact} for name, listed, exact in clashes],
    }


CHECK = b"123456789"
FILM = 128 * MIB + 1
MANY = [record(bytes([number])) for number in range(17)]
"""The records of a file of 17 pieces: too many for an entry, so they are a list of their own."""


def page() -> dict[str, Any]:
    sha256 = hashlib.sha256(CHECK)
    return {
        "v": 1,
        "kind": "page",
        "files": [
            {
                "path": "notes/check.txt",
                "size": len(CHECK),
                "modified": 1_700_000_000,
                "pieces": b64url(record(CHECK)),
                "content": hashlib.sha256(sha256.digest()).hexdigest(),
                "type": "text/plain; charset=utf-8",
                "extras": {
                    "md5": hashlib.md5(CHECK).hexdigest(),
                    "sha256": sha256.hexdigest(),
                    "dropbox": hashlib.sha256(sha256.digest()).hexdigest(),
                },
            },
            {
                "path": "film.mkv",
                "size": FILM,
                "modified": -1,
                "list": hashlib.sha256(b"".join(MANY)).hexdigest(),
                "content": hashlib.sha256(b"".join(one[:32] for one in MANY)).hexdigest(),
            },
            {
                "path": "empty",
                "size": 0,
                "modified": 0,
                "pieces": "",
                "content": hashlib.sha256(b"").hexdigest(),
            },
        ],
    }


def index() -> dict[str, Any]:
    return {
        "v": 1,
        "kind": "index",
        "depth": 1,
        "pages": [hashlib.sha256(bytes([n])).hexdigest() for n in range(3)],
    }


def manifest() -> dict[str, Any]:
    return {
        "v": 1,
        "kind": "manifest",
        "iss": hashlib.sha256(b"alice").hexdigest(),
        "name": "holiday",
        "files": 3,
        "bytes": len(CHECK) + FILM,
        "pieces": 18,
        "pages": [hashlib.sha256(canonical(page()).encode()).hexdigest()],
        "index_depth": 0,
        "repos": ["https://repo.example/a/" + hashlib.sha256(b"repo").hexdigest()],
        "created": 1_790_000_000,
        "exp": 0,
        "nonce": b64url(bytes(range(16))),
    }


Change = Callable[[dict[str, Any]], Any]
Fault = tuple[str, Change, str]
LIE = "0" * 64
WRONG, MALFORMED, LARGE, PATH = "ManifestError", "MalformedError", "TooLargeError", "UnsafePathError"


def put(name: str, value: Any) -> Change:
    """The document with one field replaced or added."""
    return lambda document: document.__setitem__(name, value)


def drop(name: str) -> Change:
    return lambda document: document.pop(name)


def entry(number: int, change: Change) -> Change:
    """A change of one of the page's entries."""
    return lambda document: change(document["files"][number])


MANIFEST_FAULTS: list[Fault] = [
    *((f"without {name}", drop(name), WRONG) for name in sorted(manifest())),
    ("unknown field", put("size", 1), WRONG),
    ("version 2", put("v", 2), WRONG),
    ("version true", put("v", True), WRONG),
    ("another kind", put("kind", "page"), WRONG),
    ("issuer in capitals", put("iss", hashlib.sha256(b"alice").hexdigest().upper()), WRONG),
    ("name with a slash", put("name", "a/b"), WRONG),
    ("name of the parent", put("name", ".."), WRONG),
    ("name with a backslash", put("name", "a\\b"), WRONG),
    ("name that is hidden", put("name", ".skyswarm"), WRONG),
    ("name with a newline", put("name", "a\nb"), WRONG),
    ("name too long in bytes", put("name", "\u00e9" * 101), WRONG),
    ("empty name", put("name", ""), WRONG),
    ("no files", put("files", 0), WRONG),
    ("files true", put("files", True), WRONG),
    ("negative bytes", put("bytes", -1), WRONG),
    ("bytes without pieces", put("pieces", 0), WRONG),
    ("more pieces than bytes", put("bytes", 17), WRONG),
    ("more pieces than files can have", put("pieces", 30_001), LARGE),
    ("more bytes than files can have", put("bytes", 3 * 50_000 * GIB + 1), LARGE),
    ("more files than the page can have", put("files", 1001), WRONG),
    ("more pages than files", put("pages", [LIE] * 4), WRONG),
    ("no pages", put("pages", []), WRONG),
    ("513 pages", put("pages", [LIE] * 513), WRONG),
    ("pages that are text", put("pages", LIE), WRONG),
    ("page id too short", put("pages", ["0" * 63]), WRONG),
    ("index depth 3", put("index_depth", 3), WRONG),
    ("nine repositories", put("repos", [f"https://r{number}.example" for number in range(9)]), WRONG),
    ("repository twice", put("repos", ["https://r.example"] * 2), WRONG),
    ("repository with a password", put("repos", ["https://a:b@r.example"]), WRONG),
    ("repository of another scheme", put("repos", ["file:///etc"]), WRONG),
    ("created after the year 9999", put("created", 253_402_300_800), WRONG),
    ("expires before it was created", put("exp", 1_789_999_999), WRONG),
    ("nonce of 15 bytes", put("nonce", b64url(bytes(15))), WRONG),
    ("nonce with loose bits", put("nonce", "A" * 21 + "B"), MALFORMED),
    ("nonce in plain base64", put("nonce", "+" * 22), MALFORMED),
    ("an integer of 2^53", put("bytes", 2**53), MALFORMED),
    ("a fraction", put("created", 0.5), MALFORMED),
]

PAGE_FAULTS: list[Fault] = [
    *((f"without {name}", drop(name), WRONG) for name in sorted(page())),
    *(
        (f"entry without {name}", entry(0, drop(name)), WRONG)
        for name in ("content", "modified", "path", "size")
    ),
    ("unknown field", put("next", LIE), WRONG),
    ("version 2", put("v", 2), WRONG),
    ("version true", put("v", True), WRONG),
    ("another kind", put("kind", "index"), WRONG),
    ("no files", put("files", []), WRONG),
    ("entry with an unknown field", entry(0, put("mode", 493)), WRONG),
    ("entry that is a list", lambda document: document["files"].append([]), WRONG),
    ("path that climbs", entry(0, put("path", "../check.txt")), PATH),
    ("path that is a number", entry(0, put("path", 7)), PATH),
    ("path that is null", entry(0, put("path", None)), WRONG),
    ("size true", entry(0, put("size", True)), WRONG),
    ("size negative", entry(2, put("size", -1)), WRONG),
    ("size above the largest", entry(1, put("size", 50_000 * GIB + 1)), WRONG),
    ("size of another number of pieces", entry(0, put("size", 8 * MIB + 1)), WRONG),
    ("content that lies", entry(0, put("content", LIE)), WRONG),
    ("content of an empty file that lies", entry(2, put("content", LIE)), WRONG),
    ("content in capitals", entry(1, lambda one: one.update(content=one["content"].upper())), WRONG),
    ("modified before the year 1", entry(0, put("modified", -62_135_596_801)), WRONG),
    ("modified as text", entry(0, put("modified", "1700000000")), WRONG),
    ("neither pieces nor list", entry(1, drop("list")), WRONG),
    ("pieces and list", entry(0, put("list", LIE)), WRONG),
    ("list where pieces must be", entry(0, lambda one: one.update(list=one.pop("pieces"))), WRONG),
    ("pieces where a list must be", entry(1, lambda one: one.update(pieces=b64url(b"".join(MANY)))), WRONG),
    ("pieces cut off", entry(0, lambda one: one.update(pieces=b64url(record(CHECK)[:-1]))), WRONG),
    ("pieces with padding", entry(0, lambda one: one.update(pieces=one["pieces"] + "=")), MALFORMED),
    ("pieces with loose bits", entry(0, lambda one: one.update(pieces=one["pieces"][:-1] + "B")), MALFORMED),
    ("pieces that are null", entry(0, put("pieces", None)), WRONG),
    ("type without a subtype", entry(0, put("type", "text")), WRONG),
    ("type with a newline", entry(0, put("type", "text/plain;\r\na: b")), WRONG),
    ("type that is null", entry(0, put("type", None)), WRONG),
    ("no extras", entry(0, put("extras", {})), WRONG),
    ("extras that are a list", entry(0, put("extras", ["md5"])), WRONG),
    ("extra that is a number", entry(0, put("extras", {"md5": 7})), WRONG),
    ("pieces that are a list", entry(0, put("pieces", [])), WRONG),
    ("an unknown extra", entry(0, put("extras", {"sha1": "0" * 40})), WRONG),
    ("md5 too long", entry(0, put("extras", {"md5": "0" * 33})), WRONG),
    ("sha256 of one piece that lies", entry(0, put("extras", {"sha256": LIE})), WRONG),
    ("dropbox of one block that lies", entry(0, put("extras", {"dropbox": LIE})), WRONG),
    ("md5 of an empty file that lies", entry(2, put("extras", {"md5": "0" * 32})), WRONG),
    ("sha256 of an empty file that lies", entry(2, put("extras", {"sha256": LIE})), WRONG),
]

INDEX_FAULTS: list[Fault] = [
    *((f"without {name}", drop(name), WRONG) for name in sorted(index())),
    ("unknown field", put("files", []), WRONG),
    ("version 2", put("v", 2), WRONG),
    ("another kind", put("kind", "page"), WRONG),
    ("depth 0", put("depth", 0), WRONG),
    ("depth 3", put("depth", 3), WRONG),
    ("depth true", put("depth", True), WRONG),
    ("no pages", put("pages", []), WRONG),
    ("page id in capitals", put("pages", ["A" * 64]), WRONG),
    ("page id that is a number", put("pages", [7]), WRONG),
]


def texts(good: dict[str, Any]) -> list[dict[str, str]]:
    """Faults of the bytes, which no document can show."""
    text = canonical(good)
    last = text.rindex(",")
    return [
        {"name": "nothing", "text": "", "error": MALFORMED},
        {"name": "cut off", "text": text[:-1], "error": MALFORMED},
        {"name": "trailing newline", "text": text + "\n", "error": MALFORMED},
        {"name": "space", "text": text[:last] + ", " + text[last + 1 :], "error": MALFORMED},
        {"name": "a key twice", "text": text[:-1] + text[last:], "error": MALFORMED},
        {
            "name": "keys not sorted",
            "text": "{" + text[last + 1 : -1] + "," + text[1:last] + "}",
            "error": MALFORMED,
        },
        {"name": "not an object", "text": f"[{text}]", "error": WRONG},
        {"name": "nested too deeply", "text": "[" * 17 + "]" * 17, "error": LARGE},
    ]


def documents() -> dict[str, Any]:
    out: dict[str, Any] = {"list": b64url(b"".join(MANY))}
    for make, faults in ((manifest, MANIFEST_FAULTS), (page, PAGE_FAULTS), (index, INDEX_FAULTS)):
        good = make()
        rows = texts(good)
        for name, change, error in faults:
            document = copy.deepcopy(good)
            change(document)
            rows.append({"name": name, "text": canonical(document), "error": error})
        text = canonical(good)
        out[good["kind"]] = {"good": text, "id": hashlib.sha256(text.encode()).hexdigest(), "bad": rows}
    return out


BUILDERS: dict[str, Callable[[], Any]] = {
    "sizes": sizes,
    "files": files,
    "paths": paths,
    "documents": documents,
}


def build(name: str) -> str:
    """The text of `<name>.json`. ASCII, so that no editor and no checkout can change what it means."""
    return json.dumps(BUILDERS[name](), indent=1) + "\n"


if __name__ == "__main__":
    for each in BUILDERS:
        (HERE / f"{each}.json").write_text(build(each), "ascii")
