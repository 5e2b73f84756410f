"""The dated price table that ships with the package.

Law: read from the package, never from a network; what it says and from when is in the file.
"""

from __future__ import annotations

import json
from importlib import resources

from skyswarm.usecases.costs import Prices


def prices() -> Prices:
    """Parsed."""
    return Prices.parse(
        json.loads(resources.files("skyswarm.data").joinpath("prices.json").read_text("utf-8"))
    )
