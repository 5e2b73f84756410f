"""Undoing what a thief of the committed key did to an agent's keys (spec/trust.md, "Keys" 3 and "Chains").

Law: the recovery key is a signer that comes in, signs one statement and is kept nowhere. As in every rotation the
statement is stored first and the key store follows (`finish`); the keys that it names are in the store before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from skyswarm.errors import AbsentError, ConflictError, EquivocationError, InputError
from skyswarm.messages.dsse import seal
from skyswarm.messages.keys import commitment, did_key
from skyswarm.messages.statements import Rotate, parse_signed, payload_type
from skyswarm.ports.records import StatementRow
from skyswarm.ports.system import Signer
from skyswarm.trust.branch import RECOVERY_WINDOW, Node
from skyswarm.trust.chain import Chain, Fate
from skyswarm.trust.keys import Checker
from skyswarm.usecases.chains import replayed
from skyswarm.usecases.deps import Deps
from skyswarm.usecases.spreading import soon
from skyswarm.usecases.views import row_of, seen

_TRIES = 8
_SHORT = 8


@dataclass(frozen=True, slots=True)
class Void:
    """A statement that will not count, or does not any more."""

    id: str
    seq: int
    kind: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What a recovery undoes (`id`, `kind`, `seq`, `prev`), and all that is void with it, by number. `until`: when it
    is too late here (Unix s). `done`: the recovery that did it already ('': none). `beside`: ids of its number."""

    id: str
    kind: str
    seq: int
    prev: str | None
    until: float
    void: tuple[Void, ...] = ()
    done: str = ""
    beside: tuple[str, ...] = ()


def plan(deps: Deps, agent: str, signer: Signer, undo: str | None = None) -> Plan:
    """What a recovery with this key would do; nothing is changed. `undo`: the rotation or retirement to undo, by
    its id or at least 8 digits of it; else the first on the chain, or in dispute, that does not lead to the keys here.

    InputError: not a key of this agent's, nothing to undo, or too late. EquivocationError: it would not count.
    """
    with replayed(deps, agent, agent) as (line, rows):
        if not line.accepted:
            raise AbsentError(f"agent {agent[:12]} has no inception here")
        _check_key(line.accepted[0], signer)
        events = [node for node in line.nodes if node.is_key_event and node.undoes is None]
        done = {node.undoes: node.id for node in line.accepted if node.undoes is not None}
        choice = _named(events, undo) if undo is not None else _foreign(deps, agent, line, events, done)
        if not choice and undo is None and done:
            last = list(done)[-1]
            choice = [node for node in events if node.id == last]
        if not choice:
            raise _nothing(line, events)
        if choice[0].id in done:
            node = choice[0]
            return replace(_plan(node), done=done[node.id])
        late = [node for node in choice if deps.clock() > node.received + RECOVERY_WINDOW]
        for node in choice:
            trial = None if node in late else _trial(agent, rows, node, signer)
            if trial is not None:
                void = sorted(_void(line, trial, node), key=lambda one: (one.seq, one.id))
                beside = tuple({row.id for row in rows if row.seq == node.statement.seq})
                return replace(_plan(node), void=tuple(void), beside=beside)
    if len(late) < len(choice):
        raise EquivocationError(
            f"a recovery at number {choice[0].statement.seq} would contradict another one",
            advice="Make a new agent, and have others vouch for it: skyswarm init",
        )
    days = int(deps.clock() - late[0].received) // 86400
    raise InputError(
        f"number {late[0].statement.seq} of this agent's chain was received {days} days ago, and a recovery counts for "
        f"{RECOVERY_WINDOW // 86400} days only",
        advice="Make a new agent, and have others vouch for it: skyswarm init",
    )


def recover(deps: Deps, agent: str, signer: Signer, undo: str | None = None) -> Plan:
    """Undo it: the chain goes on from before it with keys that nobody has had. What was done, with `done` set.

    Idempotent, also after a crash at any point. Errors of `plan`, and ConflictError: others sign all the time.
    """
    for _ in range(_TRIES):
        finish(deps, agent)
        found = plan(deps, agent, signer, undo)
        if found.done:
            soon(deps, agent)
            return found
        assert found.prev is not None
        key, upcoming = deps.keys.reserve(agent, found.id)
        statement = Rotate(
            iss=agent, seq=found.seq, prev=found.prev, key=did_key(key), next=commitment(upcoming),
            undo=found.id, seen=seen(deps, agent),
        )  # fmt: skip
        signed = parse_signed(seal(payload_type("rotate"), statement.payload(), signer).dump())
        try:
            deps.statements.extend(agent, row_of(signed, deps.clock()), found.beside)
        except ConflictError:
            continue  # something came in between: look again at what it is
        finish(deps, agent)
        soon(deps, agent)
        return replace(found, done=signed.id)
    raise ConflictError("statements with this number go on coming in", advice="Try again.")


def finish(deps: Deps, agent: str) -> bool:
    """After a crash: when our chain names keys that are reserved for a recovery, make them the agent's. True: done."""
    with replayed(deps, agent, agent) as (line, _):
        state = line.keys
        undone = line.accepted[state.since].undoes if state is not None else None
    if state is None or undone is None or deps.keys.current(agent).public == state.key:
        return False
    try:
        deps.keys.replace(agent, undone, state.key)
    except (AbsentError, ConflictError):
        return False  # another process was faster, or a recovery that was made elsewhere
    return True


def _check_key(birth: Node, signer: Signer) -> None:
    if not birth.after.recovery:
        raise InputError(
            "this agent was made without a recovery key",
            advice="Make a new one, this time with `skyswarm init --recovery`.",
        )
    if commitment(signer.public) not in birth.after.recovery:
        raise InputError(
            "that is a recovery key, but none of this agent's",
            advice="`skyswarm whoami` says which agent this is.",
        )


def _named(events: Sequence[Node], undo: str) -> list[Node]:
    """The one rotation or retirement whose id begins so. InputError, which never repeats what may be a secret."""
    found = [node for node in events if len(undo) >= _SHORT and node.id.startswith(undo)]
    if len(found) != 1:
        raise InputError(
            "that is the id of no rotation or retirement of this agent's", advice=_listed(events)
        )
    return found


def _foreign(deps: Deps, agent: str, line: Chain, events: Sequence[Node], done: dict[str, str]) -> list[Node]:
    """Rotations and retirements that count, or are in dispute, and branch off from what led to the keys here: the
    earliest first. Then our own ones in dispute: undoing one of them makes the other branch void as well."""
    here = (did_key(deps.keys.current(agent).public), commitment(deps.keys.upcoming(agent).public))
    own: set[str] = set()
    for node in line.nodes:
        above: Node | None = node if (node.after.did, node.after.next) == here else None
        while above is not None and above.id not in own:
            own.add(above.id)
            above = above.parent
    contest = line.equivocation
    foreign = [
        node
        for node in events
        if node.id not in own
        and node.id not in done
        and node.parent is not None
        and node.parent.id in own
        and (contest is not None or line.fate(node.id) is Fate.ACCEPTED)
    ]
    foreign.sort(key=lambda node: (node.statement.seq, -node.received, node.id))
    ours = [node for node in events if contest and node.id in own and node.statement.seq >= contest.seq]
    return foreign + sorted(ours, key=lambda node: node.statement.seq)


def _trial(agent: str, rows: Sequence[StatementRow], node: Node, signer: Signer) -> Chain | None:
    """The chain as it would be, when the recovery would count; the keys that it names here are never used."""
    name = did_key(signer.public)
    statement = Rotate(
        iss=agent, seq=node.statement.seq, prev=node.statement.prev or "", key=name,
        next=commitment(signer.public), undo=node.id,
    )  # fmt: skip
    signed = parse_signed(seal(payload_type("rotate"), statement.payload(), signer).dump())
    trial = Chain(agent, Checker())
    for row in rows:
        trial.offer(parse_signed(row.envelope), row.received)
    counts = trial.offer(signed, node.received) is Fate.ACCEPTED and trial.equivocation is None
    return trial if counts else None


def _void(line: Chain, trial: Chain, undone: Node) -> list[Void]:
    """What counts now and will not, or has such a number that it could."""
    kept = {node.id for node in trial.accepted}
    counted = {node.id for node in line.accepted}
    return [
        Void(node.id, node.statement.seq, node.statement.kind)
        for node in line.nodes
        if node.id not in kept and (node.id in counted or node.statement.seq >= undone.statement.seq)
    ]


def _plan(node: Node) -> Plan:
    said = node.statement
    return Plan(node.id, said.kind, said.seq, said.prev, node.received + RECOVERY_WINDOW)


def _nothing(line: Chain, events: Sequence[Node]) -> InputError:
    if line.equivocation is not None and not line.equivocation.rank:
        return InputError(
            "nobody has touched your next key, so no recovery is needed",
            advice="skyswarm rotate-key mends it.",
        )
    return InputError(
        "nothing was found to undo: your keys are the ones that your statements name",
        advice=f"Name the statement with --undo if you know better. {_listed(events)}",
    )


def _listed(events: Sequence[Node]) -> str:
    if not events:
        return "There is no rotation or retirement."
    last = sorted(events, key=lambda node: -node.statement.seq)[:3]
    return "The last: " + ", ".join(
        f"{node.id[:12]} (number {node.statement.seq}, {node.statement.kind})" for node in last
    )
