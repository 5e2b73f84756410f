"""Google's front door of `vouch`: functions-framework calls `vouch(request)`."""

from __future__ import annotations

from skyswarm.edge.flask_door import door

vouch = door("vouch")
