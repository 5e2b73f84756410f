"""The page on transfers: examples go through the real parser, numbers and names are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

from skyswarm.edge.limits_file import parse_limits
from skyswarm.messages.requests import FetchRequest
from skyswarm.messages.status import STATES
from skyswarm.usecases.jobs import ACTIVE, ENDED, RESUMABLE
from skyswarm.usecases.limits import Limits
from skyswarm.usecases.plan import PAGE_STRIDE, PAGES_PER_CALL

ROOT = Path(__file__).parents[2]
TRANSFERS = (ROOT / "shared/spec/transfers.md").read_text()


def test_the_examples_are_a_request_and_limits() -> None:
    example, limits = re.findall(r"```json\n(.*?)\n```", TRANSFERS, re.DOTALL)
    assert parse_limits(limits.encode()).patience == 3600
    request = FetchRequest.parse(example.encode())
    assert request.dump() == example.encode()
    assert request.want[0].count == 8


def test_every_state_is_named_and_no_other() -> None:
    assert set(STATES) == ACTIVE | RESUMABLE | ENDED
    block = TRANSFERS.split("## States")[1].split("## Serving")[0]
    assert set(re.findall(r"[a-z]+", "".join(re.findall(r"^    .*$", block, re.MULTILINE)))) == set(STATES)


def test_the_numbers_are_the_defaults() -> None:
    limits = Limits()
    assert f"({limits.lease:.0f} s, renewed" in TRANSFERS
    assert f"rests {limits.rest:.0f} s, doubling to {limits.rest_most:.0f} s" in TRANSFERS
    assert f"up to {limits.batch_files} files" in TRANSFERS
    assert f"about\n{limits.batch_bytes >> 20} MiB" in TRANSFERS
    assert f"at most {limits.grant_ttl // 60} minutes" in TRANSFERS
    assert f"One call plans {PAGES_PER_CALL} pages" in TRANSFERS
    assert PAGE_STRIDE == 1 << 24
    assert "page × 2^24" in TRANSFERS
    assert limits.strikes == 3
    assert "at three the source is dropped" in TRANSFERS
