"""Amazon's front door of `revoke`: Lambda calls `handler(event, context)`."""

from __future__ import annotations

from skyswarm.edge.lambda_home import embedded
from skyswarm.edge.lambda_http import door

handler = door("revoke", embedded)
