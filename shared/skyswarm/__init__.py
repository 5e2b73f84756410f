"""Skyswarm: peer-to-peer transfers between agents in the cloud, on their users' own storage.

The one import package. Rooms, from the inside out: errors, pieces, messages, trust, ports,
usecases, drivers and edge, cli. Dependencies run one way only (see pyproject, import-linter).
"""

__version__ = "0.1.0"
