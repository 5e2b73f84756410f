"""`shared/spec/pieces.md` is true: its examples parse, they are the vectors, and its numbers are the
code's."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from skyswarm.messages import canonical
from skyswarm.messages.manifest import Manifest, Page, parse_index
from skyswarm.pieces import merkle, paths, size
from tests.vectors.pieces import generate

ROOT = Path(__file__).parents[3]
SPEC = (ROOT / "shared/spec/pieces.md").read_text("utf-8")
EXAMPLES = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", SPEC, re.DOTALL)]
VECTORS = ROOT / "tests/vectors/pieces"


def test_examples() -> None:
    manifest, page, index = (canonical.dumps(example) for example in EXAMPLES)
    documents = json.loads((VECTORS / "documents.json").read_text("ascii"))
    assert manifest.decode() == documents["manifest"]["good"]
    assert page.decode() == documents["page"]["good"]
    parsed = Manifest.parse(manifest)
    assert parsed.pages == (Page.parse(page).id,) == parse_index(index, 1)


@pytest.mark.parametrize("name", sorted(generate.BUILDERS))
def test_vectors_are_what_their_generator_makes(name: str) -> None:
    assert (VECTORS / f"{name}.json").read_text("ascii") == generate.build(name)


def test_numbers() -> None:
    assert f"0 to {size.MAX_FILE:,}" in SPEC
    assert (
        f"at most {paths.MAX_PATH:,} bytes of UTF-8, {paths.MAX_PARTS} parts, and {paths.MAX_PART} bytes"
        in SPEC
    )
    for prefix in (merkle._LEAF, merkle._NODE):
        assert f"`{prefix[:-1].decode()}` 0x00" in SPEC
