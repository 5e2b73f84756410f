"""Who may sign what comes next in one agent's chain, and the counted, remembered act of checking it.

Law: the only file of trust/ that checks signatures of statements (spec/trust.md, "Keys"). A check is done
once per envelope and key; how many were done can be read, because a flood must not be able to raise it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, MutableSet
from dataclasses import dataclass, replace

from skyswarm.errors import SignatureError
from skyswarm.messages.dsse import pae
from skyswarm.messages.keys import commitment, parse_did_key, verify
from skyswarm.messages.statements import Inception, Retire, Rotate, Signed


@dataclass(frozen=True, slots=True)
class KeyState:
    """The keys of an agent after some statement of its chain. `did` (did:key) signs; `next` and `recovery`
    are commitments; `since` is the seq of the statement that set them. Once `retired` nothing is signed any
    more.
    """

    did: str
    next: str
    recovery: tuple[str, ...]
    since: int = 0
    retired: bool = False

    @property
    def key(self) -> bytes:
        """The 32-byte public key that signs."""
        return parse_did_key(self.did)


class Checker:
    """Checks signatures of statements. `known` remembers what held (give it back later to save the work);
    `count` says how many signatures were really verified."""

    def __init__(self, known: MutableSet[str] | None = None) -> None:
        self.known: MutableSet[str] = set() if known is None else known
        self.count = 0

    def signed_by(self, signed: Signed, did: str) -> bool:
        """Whether the envelope carries a valid signature of that did:key. False costs nothing when none is
        claimed.
        """
        for keyid, signature in signed.envelope.signatures:
            if keyid == did:
                memo = hashlib.sha256(signed.envelope_bytes + did.encode()).hexdigest()
                if memo in self.known:
                    return True
                self.count += 1
                try:
                    verify(
                        parse_did_key(did),
                        pae(signed.envelope.payload_type, signed.envelope.payload),
                        signature,
                    )
                except SignatureError:
                    return False
                self.known.add(memo)
                return True
        return False

    def birth(self, signed: Signed) -> KeyState:
        """The state after an inception that is signed by the key it names. SignatureError."""
        event = signed.statement
        if not isinstance(event, Inception) or not self.signed_by(signed, event.key):
            raise SignatureError("an inception is signed by the key that it names")
        return KeyState(event.key, event.next, event.recovery)

    def follow(self, state: KeyState, signed: Signed) -> KeyState:
        """The state after a statement, when `state` allows it there; `prev` and `seq` are the chain's
        business.

        SignatureError: signed by nobody who may. A signature beside the one that is needed is not looked at.
        """
        event = signed.statement
        if state.retired:
            raise SignatureError("nothing follows a retirement")
        if isinstance(event, Rotate) and event.undo is not None:
            if any(self.signed_by(signed, did) for did in self._recoverers(state, signed)):
                return replace(state, did=event.key, next=event.next, since=event.seq)
            raise SignatureError("a recovery is signed by a recovery key of the agent")
        if isinstance(event, Rotate | Retire):
            if commitment(parse_did_key(event.key)) != state.next:
                raise SignatureError(f"a {event.kind} statement shows the key that was committed to before")
            if not self.signed_by(signed, event.key):
                raise SignatureError(f"a {event.kind} statement is signed by the key that it shows")
            if isinstance(event, Rotate):
                return replace(state, did=event.key, next=event.next, since=event.seq)
            return replace(state, did=event.key, since=event.seq, retired=True)
        if not self.signed_by(signed, state.did):
            raise SignatureError("not signed by the key that the agent had then")
        return state

    def _recoverers(self, state: KeyState, signed: Signed) -> Iterator[str]:
        for did in signed.envelope.keyids:
            if commitment(parse_did_key(did)) in state.recovery:
                yield did
