"""Amazon's front door of `fetch_piece`: Lambda calls `handler(event, context)`."""

from __future__ import annotations

from skyswarm.edge.lambda_home import embedded
from skyswarm.edge.lambda_http import door

handler = door("fetch_piece", embedded)
