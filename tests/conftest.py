"""What holds for every test: how hypothesis runs, and nothing else. Helpers are in `tests/support`."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# Two shared cores stall at times: a deadline per example would fail for the machine's sake, not the code's. Every
# test still has pytest's timeout. A failure prints the blob that repeats it.
settings.register_profile(
    "house", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("house")
