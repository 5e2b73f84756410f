"""Everyone the agent knows of, with the chain that lets them in or the reason why none does.

Law: the evaluator's answer in the user's own names; nothing is decided here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from skyswarm.edge.runtime import Runtime
from skyswarm.trust.verdict import Verdict
from skyswarm.usecases.people import name_of
from skyswarm.usecases.views import viewing

NAMED = "called/"


@dataclass(frozen=True, slots=True)
class Person:
    """One agent: the user's name for it ('': none), the scopes it is trusted for, the chain of ids (root first), the
    same as names, and a sentence that says the chain or why there is none. The chain is that of `fetch`, else of the
    first scope."""

    agent: str
    name: str
    scopes: tuple[str, ...]
    chain: tuple[str, ...]
    path: tuple[str, ...]
    sentence: str

    @property
    def trusted(self) -> bool:
        """Whether it may fetch from us."""
        return "fetch" in self.scopes

    def to_json(self) -> dict[str, Any]:
        return {
            "agent": self.agent,
            "name": self.name or None,
            "trusted": self.trusted,
            "scopes": list(self.scopes),
            "chain": list(self.chain),
            "path": list(self.path),
            "reason": self.sentence,
        }


def naming(runtime: Runtime) -> Any:
    """A function from agent ids to the user's names, or the first digits of the id."""
    known: dict[str, str] = {}

    def name(agent: str) -> str:
        if agent not in known:
            known[agent] = name_of(runtime.deps, runtime.agent, agent) or agent[:8]
        return known[agent]

    return name


def everyone(runtime: Runtime) -> list[Person]:
    """All who are trusted for something and all whom the user has named; the trusted first, then by name."""
    deps, me = runtime.deps, runtime.agent
    name, now = naming(runtime), deps.clock()
    out: dict[str, Person] = {}
    with viewing(deps, me) as view:
        for verdicts in view.people(now):
            person = _person(runtime, tuple(verdicts.values()), name)
            out[person.agent] = person
    for agent in _named(runtime):
        if agent not in out and agent != me:
            out[agent] = look(runtime, agent)
    return sorted(out.values(), key=lambda one: (not one.trusted, one.name or "~", one.agent))


def look(runtime: Runtime, agent: str, scope: str = "fetch", survive: int = 0) -> Person:
    """One agent, judged for one scope."""
    with viewing(runtime.deps, runtime.agent) as view:
        verdict = view.evaluate(agent, scope, runtime.deps.clock(), survive)
    return _person(runtime, (verdict,), naming(runtime))


def _person(runtime: Runtime, verdicts: tuple[Verdict, ...], name: Any) -> Person:
    shown = next((one for one in verdicts if one.scope == "fetch"), verdicts[0])
    return Person(
        agent=shown.agent,
        name=name_of(runtime.deps, runtime.agent, shown.agent) or "",
        scopes=tuple(sorted(one.scope for one in verdicts if one.trusted)),
        chain=shown.agents() if shown.trusted else (),
        path=tuple(map(name, shown.agents())) if shown.trusted else (),
        sentence=_spoken(shown.sentence(name)),
    )


def _spoken(sentence: str) -> str:
    """A sentence about `me` as it is said to that very person."""
    for said, better in (("me has ", "you have "), ("me distrusts ", "you distrust "), ("me's ", "your ")):
        if sentence.startswith(said):
            return better + sentence.removeprefix(said)
    return sentence


def _named(runtime: Runtime) -> list[str]:
    out: list[str] = []
    after = ""
    while page := runtime.deps.notes.page(runtime.agent, NAMED, after, 1000):
        out += [one.key.removeprefix(NAMED) for one in page]
        after = page[-1].key
    return out
