"""What holds for every test: how hypothesis runs, and that Ctrl-C is heard. Helpers are in `tests/support`."""

from __future__ import annotations

import signal

from hypothesis import HealthCheck, settings

# Two shared cores stall at times: a deadline per example would fail for the machine's sake, not the code's. Every
# test still has pytest's timeout. A failure prints the blob that repeats it.
settings.register_profile(
    "house", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("house")

# A shell without job control has its background jobs ignore Ctrl-C, and so would the commands that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
