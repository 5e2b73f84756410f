"""The examples of spec/trust.md, computed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from skyswarm.trust.bulk import Packed
from skyswarm.trust.credit import credit
from skyswarm.trust.graph import Edge, Graph
from skyswarm.trust.survive import survives

PAGE = (Path(__file__).parents[3] / "shared/spec/trust.md").read_text()
EXAMPLES = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["name"])
def test_example(example: dict[str, Any]) -> None:
    graph = Graph(example["roots"])
    parts = [example.get(part, {}) for part in ("limits", "cuts", "positions")]
    for number, (name, issuer, subject, depth) in enumerate(reversed(example["vouches"])):
        limit, cut, positions = (part.get(name) for part in parts)
        graph.add(Edge(name, issuer, subject, frozenset({"fetch"}), depth, limit, cut or {}, positions or {}))
        assert len(graph.edges) == number + 1
    assert graph.budgets("fetch") == example["budgets"]
    if not example.get("cuts"):
        assert Packed(graph).budgets("fetch") == example["budgets"]
    for agent, path in example.get("paths", {}).items():
        assert [edge.id for edge in graph.path(agent, "fetch") or ()] == path
    for agent, outcomes in example.get("survives", {}).items():
        assert [survives(graph, agent, "fetch", f).holds for f in range(len(outcomes))] == outcomes
    for agent, expected in example.get("credit", {}).items():
        assert credit(graph, agent, "fetch", example["handed"]) == expected


def test_every_kind_of_claim_has_an_example() -> None:
    assert {"budgets", "paths", "cuts", "survives", "credit"} <= {part for one in EXAMPLES for part in one}
