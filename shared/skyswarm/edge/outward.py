"""What whoever asks is told of an error, when its message was written for the owner of this machine.

Law: one rule (`spec/errors.md`, MUST 2). Errors of stores, storages and the home may name files of this machine: their
class, and so code and status, goes out; their message goes into the log.
"""

from __future__ import annotations

from collections.abc import Callable

from skyswarm.errors import AbsentError, BackendError, ConflictError, SetupError, SkyError


def outward(error: SkyError, path: str, tell: Callable[..., None]) -> SkyError:
    """The error itself, or one of its class that says nothing of this machine; then `tell` gets the message.
    `path`: what was asked for."""
    if not isinstance(error, BackendError | SetupError) or isinstance(error, AbsentError | ConflictError):
        return error
    tell("failed", path=path, code=error.code, message=error.message)
    if error.retryable:
        return type(error)(
            "what lies beneath this agent cannot answer now", advice="Ask again in a few seconds."
        )
    return type(error)("what lies beneath this agent failed", advice="Its owner finds the reason in its log.")
