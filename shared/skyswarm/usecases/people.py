"""People: an agent's own statements about others, and the user's own names for them.

Law: names (petnames) are this user's alone and never leave the agent; on the wire there are only ids. Every statement
is signed once, stored in our own chain first, then pushed to repositories and to whom it concerns.
"""

from __future__ import annotations

import re

from skyswarm.errors import InputError
from skyswarm.messages.keys import commitment, did_key
from skyswarm.messages.statements import Distrust, Retire, Revoke, Rotate, Signed, Vouch
from skyswarm.ports.records import Entry
from skyswarm.usecases.deps import Deps
from skyswarm.usecases.recovery import finish
from skyswarm.usecases.spreading import soon
from skyswarm.usecases.views import issue, viewing, way_back

_NAME = re.compile(r"[^\W\d_][\w.-]{0,39}")
_ID = re.compile(r"[0-9a-f]{64}")
DAY = 86400


def give_name(deps: Deps, agent: str, name: str, other: str) -> str | None:
    """Call `other` by `name` from now on, and no longer by the name it had until now, which is returned (None: it had
    none, or this one). InputError: not a name, not an id, or the name is another's."""
    if _NAME.fullmatch(name) is None:
        raise InputError(
            f"{name!r} cannot be a name", advice="Letters, digits, - _ . and a letter first, at most 40."
        )
    if _ID.fullmatch(other) is None:
        raise InputError("an agent id has 64 hex digits", advice="`skyswarm whoami` prints one's own.")
    taken = deps.notes.get(agent, f"name/{name}")
    if _called(deps, agent, name) not in (None, other):
        raise InputError(f"you call another agent {name} already", advice="Choose another name.")
    old = deps.notes.get(agent, f"called/{other}")
    deps.notes.put(agent, Entry(f"name/{name}", other.encode(), taken.version if taken else 0))
    deps.notes.put(agent, Entry(f"called/{other}", name.encode(), old.version if old else 0))
    was = old.value.decode() if old is not None else name
    if was == name:
        return None
    deps.notes.delete(agent, f"name/{was}")
    return was


def _called(deps: Deps, agent: str, name: str) -> str | None:
    """Whom the user calls so. `called/…` decides; a `name/…` that says otherwise was left by a crash."""
    entry = deps.notes.get(agent, f"name/{name}")
    if entry is None:
        return None
    other = entry.value.decode()
    said = deps.notes.get(agent, f"called/{other}")
    return other if said is not None and said.value.decode() == name else None


def name_of(deps: Deps, agent: str, other: str) -> str | None:
    """The user's name for an agent, if it has one."""
    if other == agent:
        return "me"
    entry = deps.notes.get(agent, f"called/{other}")
    return entry.value.decode() if entry else None


def find(deps: Deps, agent: str, text: str) -> str:
    """An agent id from a name, an id, or an unambiguous start of a known id of at least 8 digits. InputError."""
    if _ID.fullmatch(text):
        return text
    called = _called(deps, agent, text)
    if called is not None:
        return called
    if len(text) >= 8 and re.fullmatch(r"[0-9a-f]+", text):
        known = [one.key.removeprefix("called/") for one in deps.notes.page(agent, f"called/{text}", limit=2)]
        if len(known) == 1:
            return known[0]
    raise InputError(
        f"you know nobody called {text}",
        advice="Give the agent id (64 hex digits) once with a name: skyswarm people add NAME ID",
    )


def vouch(
    deps: Deps,
    agent: str,
    sub: str,
    *,
    depth: int = 0,
    scope: tuple[str, ...] = ("fetch",),
    days: int = 0,
    limit: int | None = None,
) -> Signed:
    """Vouch for `sub`. `depth` is how many hops on its own vouches count; `days` ≤ 90; `limit` in bytes."""
    now = int(deps.clock())
    end = now + DAY * (days or deps.limits.vouch_days)
    signed = issue(
        deps,
        agent,
        lambda seq, prev, seen: Vouch(
            iss=agent,
            seq=seq,
            prev=prev,
            sub=sub,
            scope=tuple(sorted(set(scope))),
            depth=depth,
            limit=limit,
            nbf=now - 120,  # a peer's clock may be two minutes behind ours
            exp=min(end, now - 120 + 90 * DAY),
            seen=seen,
        ),
    )
    soon(deps, agent)
    return signed


def revoke(
    deps: Deps, agent: str, *, sub: str | None = None, vouch_id: str | None = None, reason: str = ""
) -> Signed:
    """Take back every own vouch for `sub`, or one by its id."""
    signed = issue(
        deps,
        agent,
        lambda seq, prev, seen: Revoke(
            iss=agent, seq=seq, prev=prev, vouch=vouch_id, sub=sub, reason=reason, seen=seen
        ),
    )
    soon(deps, agent)
    return signed


def distrust(
    deps: Deps, agent: str, sub: str, *, scope: tuple[str, ...] = ("fetch",), reason: str = ""
) -> Signed:
    """Withdraw every edge of ours to `sub` for the scopes, and say so to others."""
    signed = issue(
        deps,
        agent,
        lambda seq, prev, seen: Distrust(
            iss=agent, seq=seq, prev=prev, sub=sub, scope=tuple(sorted(set(scope))), reason=reason, seen=seen
        ),
    )
    soon(deps, agent)
    return signed


def disputed(deps: Deps, agent: str) -> int | None:
    """The number from which on the agent's own statements contradict each other; None: they do not."""
    with viewing(deps, agent) as view:
        state = view.key_state(agent)
    return state.equivocation.seq if state is not None and state.equivocation is not None else None


def rotate(deps: Deps, agent: str) -> Signed:
    """Replace the signing key by the pre-committed one. It also mends a contradiction in the agent's own chain:
    whatever stands from the first disputed number on, signed by whomever, is void then.

    The statement is stored first and names the key after the next, which the key store has made already; so a crash
    before the store's own step is mended by `mend_rotation`, and never leaves an agent without its key.
    """
    old = deps.keys.current(agent)
    new = deps.keys.upcoming(agent)
    following = deps.keys.following(agent)
    signed = issue(
        deps,
        agent,
        lambda seq, prev, seen: Rotate(
            iss=agent, seq=seq, prev=prev, key=did_key(new.public), next=commitment(following), seen=seen
        ),
        signer=new,
    )
    deps.keys.rotate(agent, old.public)
    soon(deps, agent)
    return signed


def retire(deps: Deps, agent: str) -> Signed:
    """End the identity: signed by the pre-committed key, which a thief of the current one does not have. Nothing that
    the agent signs counts after it."""
    final = deps.keys.upcoming(agent)
    signed = issue(
        deps,
        agent,
        lambda seq, prev, seen: Retire(iss=agent, seq=seq, prev=prev, key=did_key(final.public), seen=seen),
        signer=final,
    )
    soon(deps, agent)
    return signed


def mend_rotation(deps: Deps, agent: str) -> bool:
    """After a crash: when our chain already names the upcoming key, or those of a recovery, make the key store follow.
    True: it had to. InputError: it names keys that are not here, by a thief's hand or an old copy's."""
    if finish(deps, agent):
        return True
    with viewing(deps, agent) as view:
        state = view.key_state(agent)
    current = deps.keys.current(agent).public
    if state is None or state.retired or state.key == current:
        return False
    ours = deps.keys.upcoming(agent).public, commitment(deps.keys.following(agent))
    if ours != (state.key, state.keys.next):
        raise InputError(
            "the key in this home is not the one that your statements name",
            advice=way_back(state.keys, "This home may be an old copy: never run two copies of one agent."),
        )
    deps.keys.rotate(agent, current)
    return True
