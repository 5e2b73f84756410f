"""Every error Skyswarm can raise or send, drawn once: a class, a stable code, an HTTP status.

Law of this file: one class per code; a code never changes its meaning and is never used again
(`shared/spec/errors.md` lists them and a test holds the two equal). Messages say what happened,
`advice` what to do, `lost` what it cost. Foreign errors are translated where they enter, `from` them.

    SkyError
    ├── InputError        SKY-1xx  what was given cannot be used; nothing was changed
    ├── TrustError        SKY-2xx  who asks, what they may, and who broke a promise
    ├── TransferError     SKY-3xx  a transfer, its pieces, its sources and its destination
    ├── LimitError        SKY-4xx  a cap that the user or a peer has set
    ├── BackendError      SKY-5xx  a store or a storage beneath a port
    ├── RepositoryError   SKY-6xx  repositories and their logs
    └── SetupError        SKY-7xx  the home folder, keys and ports of this agent
"""

from __future__ import annotations

from typing import ClassVar


class SkyError(Exception):
    """Base of all. `code` and `status` (HTTP) are the class's; `retryable`: the same call may work later."""

    code: ClassVar[str] = "SKY-500"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, advice: str = "", lost: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice
        self.lost = lost

    def __str__(self) -> str:
        return " ".join(part for part in (f"{self.code} {self.message}", self.lost, self.advice) if part)

    def to_json(self) -> dict[str, str]:
        """The wire form: code and message always, advice and lost when there is something to say."""
        out = {"code": self.code, "message": self.message}
        if self.advice:
            out["advice"] = self.advice
        if self.lost:
            out["lost"] = self.lost
        return out


# ---- SKY-1xx input ---------------------------------------------------------------------------
class InputError(SkyError):
    """Something given by a person or a peer cannot be used as it is."""

    code, status = "SKY-100", 400


class MalformedError(InputError):
    """Bytes that are not the canonical JSON, base64 or encoding they must be."""

    code = "SKY-101"


class TooLargeError(InputError):
    """Longer, deeper or more numerous than the spec allows."""

    code, status = "SKY-102", 413


class UnsafePathError(InputError):
    """A path that could leave the destination or that some storage cannot hold."""

    code = "SKY-103"


class PathCollisionError(InputError):
    """Two paths of one share that are the same file on some storages."""

    code = "SKY-104"


class ManifestError(InputError):
    """A manifest, page or piece list that breaks `spec/pieces.md`."""

    code = "SKY-105"


class StatementError(InputError):
    """A statement or receipt that breaks `spec/identity.md`, `spec/trust.md` or `spec/messages.md`."""

    code = "SKY-106"


class LinkError(InputError):
    """A `skyswarm:` link that cannot be read."""

    code = "SKY-107"


class StatusError(InputError):
    """A status document that breaks `spec/messages.md`."""

    code = "SKY-108"


class RequestError(InputError):
    """A request to a handler that breaks `spec/messages.md`."""

    code = "SKY-109"


class NoteError(InputError):
    """A signed note, checkpoint or tile that breaks C2SP's formats."""

    code = "SKY-110"


class UnknownRouteError(InputError):
    """No such path at this server."""

    code, status = "SKY-111", 404


# ---- SKY-2xx trust ---------------------------------------------------------------------------
class TrustError(SkyError):
    """Who asks and what they may."""

    code, status = "SKY-200", 403


class SignatureError(TrustError):
    """A signature that does not verify under the key it must."""

    code, status = "SKY-201", 401


class StaleRequestError(TrustError):
    """A request signed too long ago, for too long, or in the future: usually a wrong clock."""

    code, status = "SKY-202", 401


class ReplayError(TrustError):
    """A request whose nonce was used before."""

    code, status = "SKY-203", 401


class AudienceError(TrustError):
    """A request or statement meant for another agent."""

    code, status = "SKY-204", 403


class NotTrustedError(TrustError):
    """No live chain of vouches reaches the asker for this scope."""

    code = "SKY-210"


class RevokedError(NotTrustedError):
    """A chain reached the asker once; a revocation, distrust, expiry or cut has pruned it."""

    code = "SKY-211"


class EquivocationError(TrustError):
    """An issuer signed two statements with one sequence number: void from there on."""

    code, status = "SKY-212", 409


class SequenceError(TrustError):
    """A statement whose `seq` or `prev` does not follow the issuer's chain; earlier ones may be missing."""

    code, status = "SKY-213", 409


class ShareDeniedError(TrustError):
    """This share is not for the asker, or there is none of that id: the two look the same on purpose."""

    code, status = "SKY-214", 404


class UnderwritingError(TrustError):
    """The chain is live, but the bytes its vouchers underwrite are used up."""

    code = "SKY-215"


# ---- SKY-3xx transfers -----------------------------------------------------------------------
class TransferError(SkyError):
    """A transfer that cannot go on as it is."""

    code, status = "SKY-300", 409


class NoSourceError(TransferError):
    """No agent that holds the share was found or is left."""

    code, status, retryable = "SKY-310", 503, True


class SourceUnreachableError(TransferError):
    """A source did not answer."""

    code, status, retryable = "SKY-311", 504, True


class SourceRefusedError(TransferError):
    """A source answered that it will not serve; its own code and reason are in the message."""

    code, status = "SKY-312", 403


class SourceChangedError(TransferError):
    """The file at the source is no longer the one that was published."""

    code, status = "SKY-313", 409


class PieceMismatchError(TransferError):
    """Bytes that do not hash to the piece that the manifest names; they were discarded."""

    code, status, retryable = "SKY-320", 502, True


class StalledError(TransferError):
    """A source that sent nothing for too long."""

    code, status, retryable = "SKY-321", 504, True


class LinkExpiredError(TransferError):
    """A presigned URL that is past its time; a new one is asked for."""

    code, status, retryable = "SKY-322", 403, True


class DestinationConflictError(TransferError):
    """Another file already has that name at the destination; it was left as it is."""

    code, status = "SKY-330", 409


class DestinationFullError(TransferError):
    """No room at the destination; what is verified stays and the transfer can be resumed."""

    code, status = "SKY-331", 507


class LeaseLostError(TransferError):
    """Another worker holds this batch now; this one stops without harm."""

    code, retryable = "SKY-340", True


class TransferStateError(TransferError):
    """The transfer is not in a state in which that can be done."""

    code = "SKY-341"


class CancelledError(TransferError):
    """The user cancelled the transfer."""

    code = "SKY-350"


class UnknownTransferError(TransferError):
    """No transfer of that name."""

    code, status = "SKY-351", 404


# ---- SKY-4xx limits --------------------------------------------------------------------------
class LimitError(SkyError):
    """A cap that somebody has set."""

    code, status = "SKY-400", 429


class CostCapError(LimitError):
    """The next batch would cost more than the user allowed."""

    code, status = "SKY-402", 402


class ByteCapError(LimitError):
    """The share's owner hands out no more bytes to this asker."""

    code, status = "SKY-403", 403


class QuotaError(LimitError):
    """Too many requests or statements from one issuer in this window."""

    code, retryable = "SKY-429", True


# ---- SKY-5xx backends ------------------------------------------------------------------------
class BackendError(SkyError):
    """A store or storage beneath a port failed."""

    code, status = "SKY-500", 500


class AbsentError(BackendError):
    """No such object or record."""

    code, status = "SKY-501", 404


class ForbiddenError(BackendError):
    """The storage says that this agent may not."""

    code, status = "SKY-502", 403


class UnavailableError(BackendError):
    """The storage or store cannot answer now (timeout, 503, throttled, locked)."""

    code, status, retryable = "SKY-503", 503, True


class ConflictError(BackendError):
    """A conditional write lost its race: read again and decide again."""

    code, status, retryable = "SKY-505", 409, True


class StorageFullError(BackendError):
    """No space left beneath the storage or the store."""

    code, status = "SKY-507", 507


# ---- SKY-6xx repositories --------------------------------------------------------------------
class RepositoryError(SkyError):
    """A repository that fails or lies."""

    code, status = "SKY-600", 502


class RepositoryUnreachableError(RepositoryError):
    """A repository did not answer; others are used, and it is tried again later."""

    code, status, retryable = "SKY-601", 504, True


class RollbackError(RepositoryError):
    """A repository served a log smaller than one it signed before."""

    code = "SKY-610"


class ForkError(RepositoryError):
    """A repository signed two different logs of one size; both notes are kept as the proof."""

    code = "SKY-611"


class OmissionError(RepositoryError):
    """A repository took a statement and did not show it in its log in time."""

    code = "SKY-612"


# ---- SKY-7xx set-up --------------------------------------------------------------------------
class SetupError(SkyError):
    """The home folder of this agent is not as it must be."""

    code = "SKY-700"


class NoHomeError(SetupError):
    """There is no agent in that home folder yet."""

    code = "SKY-701"


class HomeInUseError(SetupError):
    """Another process already serves this home folder."""

    code = "SKY-702"


class PortInUseError(SetupError):
    """The port is taken by another program."""

    code = "SKY-703"


class KeyFileError(SetupError):
    """A key file is missing, unreadable or readable by others."""

    code = "SKY-704"
