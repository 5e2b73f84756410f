"""One room per world that keeps the promises of the ports; each passes the suites in `tests/contract`.

Law: a driver takes a ready-made client, never reads the environment, and translates foreign errors where they enter.
No room imports another provider's.
"""
