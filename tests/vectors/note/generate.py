"""Makes notes.json: C2SP signed notes, checkpoints and cosignatures, written out by hand-made rules."""

from __future__ import annotations

import base64
import hashlib
import json
import sys

from nacl.signing import SigningKey

DASH = "\u2014"


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


class Key:
    def __init__(self, name: str, kind: int, byte: int) -> None:
        self.name, self.kind = name, kind
        self.secret = SigningKey(bytes([byte]) * 32)
        public = bytes(self.secret.verify_key)
        self.id = hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:4]
        self.vkey = f"{name}+{self.id.hex()}+{b64(bytes([kind]) + public)}"

    def line(self, text: str, when: int = 0, claimed: int | None = None) -> str:
        if self.kind == 1:
            return f"{DASH} {self.name} {b64(self.id + self.secret.sign(text.encode()).signature)}\n"
        message = f"cosignature/v1\ntime {when}\n{text}".encode()
        stamped = (when if claimed is None else claimed).to_bytes(8, "big") + self.secret.sign(
            message
        ).signature
        return f"{DASH} {self.name} {b64(self.id + stamped)}\n"


PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_TEXT = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
)
PETER_LINE = (
    f"{DASH} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNX"
    "gKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)


def main() -> None:
    log, other = Key("example.com/log", 1, 1), Key("example.com/log", 1, 2)
    witness = Key("witness.example/w", 4, 3)
    gap = "a\n\nb\n"
    text = f"example.com/log\n3\n{b64(bytes(range(32)))}\n"
    keys = [log.vkey, witness.vkey]
    good = log.line(text)
    whole = f"{text}\n{good}"
    unknown = f"{DASH} someone.example/key {b64(bytes(4 + 2420))}\n"
    cut = f"{DASH} example.com/log "
    verified = [
        ("the documentation's example", [PETER], f"{PETER_TEXT}\n{PETER_LINE}", ["PeterNeumann"]),
        ("one signature", keys, whole, [log.name]),
        ("log and witness", keys, whole + witness.line(text, 1679315147), [log.name, witness.name]),
        ("a long signature of an unknown key", keys, whole + unknown, [log.name]),
        ("sixteen signatures", keys, whole + unknown * 15, [log.name]),
        ("same name, other key", keys, f"{text}\n{other.line(text)}", []),
        ("no key is known", [], whole, []),
        ("an empty line in the text", keys, f"{gap}\n{log.line(gap)}", [log.name]),
        ("a text of one empty line", keys, f"\n\n{log.line(chr(10))}", [log.name]),
        ("not ASCII", keys, f"ed è subito sera.\n\n{log.line('ed è subito sera.' + chr(10))}", [log.name]),
    ]
    forged = [
        ("another size", whole.replace("\n3\n", "\n4\n")),
        ("another origin in the text", "x" + whole),
        ("a bit of the signature", whole.replace(good, log.line(text + "x"))),
        ("a cosignature moved in time", whole + witness.line(text, 5, claimed=6)),
        ("a signature of 63 bytes", f"{text}\n{cut}{b64(log.id + bytes(63))}\n"),
        ("a cosignature of 64 bytes", f"{text}\n{DASH} {witness.name} {b64(witness.id + bytes(64))}\n"),
        ("good first, forged after", whole + log.line("x\n")),
    ]
    malformed = [
        ("nothing", ""),
        ("text only", text),
        ("no signature", text + "\n"),
        ("no empty line", text + good),
        ("no newline at the end", whole[:-1]),
        ("a line that is no signature", whole + "unexpected\n"),
        ("a hyphen for the dash", whole.replace(DASH, "-")),
        ("two spaces", whole.replace(f"{DASH} ", f"{DASH}  ")),
        ("a space at the end", whole[:-1] + " \n"),
        ("a carriage return", whole.replace("\n", "\r\n")),
        ("a tab in the text", "\t" + whole),
        ("a plus in the name", f"{text}\n{good.replace('example.com/log', 'example.com+log')}"),
        (
            "a no-break space in the name",
            f"{text}\n" + good.replace("example.com/log", "example.com\u00a0log"),
        ),
        ("no name", f"{text}\n{good.replace('example.com/log ', ' ')}"),
        ("base64url", f"{text}\n{cut}{b64(log.id + bytes([255]) * 64).replace('/', '_')}\n"),
        ("base64 without padding", f"{text}\n{cut}{b64(bytes(68)).rstrip('=')}\n"),
        ("base64 with stray bits", f"{text}\n{cut}{b64(bytes(68))[:-2]}B=\n"),
        ("a key id and no signature", f"{text}\n{cut}{b64(log.id)}\n"),
        ("65 signatures", whole + unknown * 64),
    ]
    rows = [{"case": case, "keys": ks, "note": note, "verified": names} for case, ks, note, names in verified]
    rows += [{"case": case, "keys": keys, "note": note, "forged": True} for case, note in forged]
    rows += [{"case": case, "keys": keys, "note": note, "malformed": True} for case, note in malformed]
    sys.stdout.write("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")


if __name__ == "__main__":
    main()
