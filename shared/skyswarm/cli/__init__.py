"""The command line: asks, shows, and calls use cases.

Law: nothing imports this room. Every command prints for people or, with `--json`, for programs.
"""
