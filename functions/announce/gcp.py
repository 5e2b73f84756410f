"""Google's front door of `announce`: functions-framework calls `announce(request)`."""

from __future__ import annotations

from skyswarm.edge.flask_door import door

announce = door("announce")
