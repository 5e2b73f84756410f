"""Google's front door of `revoke`: functions-framework calls `revoke(request)`."""

from __future__ import annotations

from skyswarm.edge.flask_door import door

revoke = door("revoke")
