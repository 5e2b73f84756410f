"""Google's front door of `fetch_piece`: functions-framework calls `fetch_piece(request)`."""

from __future__ import annotations

from skyswarm.edge.flask_door import door

fetch_piece = door("fetch_piece")
