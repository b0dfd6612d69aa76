"""Crash loops as lines for people, who may never have read the manual."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from supervisord_ng import limits
from supervisord_ng.errors import EXIT_SOFTWARE
from supervisord_ng.model import names
from supervisord_ng.model.spec import SupervisorSpec
from supervisord_ng.sim.whatif_loops import Findings, Loop, Outcome, Round
from supervisord_ng.sim.whatif_words import (
    Text,
    count,
    duration,
    everyone,
    rounded,
    short_names,
    some,
    wrapped,
)

_WAITS_SHOWN = 4
_ROUNDS_SHOWN = 2  # of those that are all alike; the last one comes besides


def findings_lines(findings: Findings, spec: SupervisorSpec) -> Iterator[Text]:
    """What each worker's crash loop does to the tree."""
    called = short_names(spec)
    below = everyone(spec, spec.name)
    supervisors = {path: child for path, child in below if isinstance(child, SupervisorSpec)}
    teller = _Teller(called, {spec.name: spec} | supervisors)
    for loop in findings.loops:
        yield from teller.tell(loop)
        yield Text()
    if findings.left_out:
        what = f"Not looked at, because {limits.WHATIF_STEPS_MAX} simulated steps are the bound: "
        yield from wrapped(what + some(findings.left_out, called), "bad")


class _Teller:
    """Tells of loops in one tree."""

    def __init__(self, called: dict[str, str], supervisors: dict[str, SupervisorSpec]) -> None:
        self._called = called
        self._supervisors = supervisors
        self._places = {path: place for place, path in enumerate(called)}  # in the tree

    def tell(self, loop: Loop) -> Iterator[Text]:
        """The headline of a loop, and below it what happens when."""
        yield from wrapped(self._headline(loop), _STYLES[loop.outcome])
        plain = list(itertools.takewhile(lambda one: not one.gave_up, loop.rounds))
        if plain:
            yield from self._restarts(loop, plain)
        given_up = [one for one in loop.rounds if one.gave_up]
        known: set[str] = set()
        hidden = False
        for at, one in enumerate(given_up):
            is_news = not known.issuperset(one.gave_up)
            if is_news or at < _ROUNDS_SHOWN or at == len(given_up) - 1:
                yield from self._give_up(loop, one, known)
                hidden = False
            elif not hidden:
                yield Text("     ...", "dim")
                hidden = True
            known.update(one.gave_up)
        yield from self._rest(loop)

    def _headline(self, loop: Loop) -> str:
        who = self._name(loop.path)
        if loop.one_shot:
            who += " (a one-shot, each time before it is done)"
        if loop.by_hand:
            who += " (once an operator has started it)"
        if loop.alike:
            who += f" (likewise {some(loop.alike, self._called)})"
        crashes = count(loop.crashes, "crash", "crashes")
        waited = f" and {duration(loop.took_s)} of waiting" if loop.took_s else ""
        gave_up = list(dict.fromkeys(path for one in loop.rounds for path in one.gave_up))
        if loop.outcome is Outcome.DOWN:
            pace = (
                ""
                if loop.life_s is None
                else f", if no run lasts longer than {rounded(loop.life_s)}"
            )
            return f"{who}: takes EVERYTHING down, after {crashes}{waited}{pace}"
        if loop.outcome is Outcome.FOR_EVER and gave_up:
            whom = some(gave_up, self._called, " and ")
            return f"{who}: goes on FOR EVER; {whom} gives up again and again, to no end"
        if loop.outcome is Outcome.FOR_EVER:
            return f"{who}: goes on FOR EVER, and nobody gives up"
        if loop.outcome is Outcome.STAYS_DOWN:
            return f"{who}: stays down after {crashes}; the rest runs on"
        if loop.outcome is Outcome.NOT_RUNNING:
            return f"{who}: does not run when the tree is up"
        return f"{who}: no end in sight after {crashes}{waited}"

    def _restarts(self, loop: Loop, rounds: list[Round]) -> Iterator[Text]:
        """The crashes before anybody gives up."""
        first, last = rounds[0], rounds[-1]
        if first.restarted is None:
            what = "cannot be started" if loop.one_shot else "is not restarted"
            yield from self._line(first, first.crash, f"{self._name(loop.path)} {what}")
            return
        path = first.restarted.path
        verb = "tries again to start" if loop.one_shot else "restarts"
        what = f"{self._name(names.parent(path))} {verb} {self._name(path)}{self._with(first)}"
        times = [one.time_s for one in loop.rounds[: last.crash + 1]]
        waits = [later - one for one, later in itertools.pairwise(times)]
        if any(waits):
            shown = [duration(wait) for wait in waits[:_WAITS_SHOWN]]
            dots = " ..." if len(waits) > _WAITS_SHOWN else ""
            what += f", after waiting {', '.join(shown)}{dots}"
        yield from self._line(first, last.crash, what)

    def _give_up(self, loop: Loop, round_: Round, known: set[str]) -> Iterator[Text]:
        """A crash that was one too many for somebody. `known`: of whom it was told before."""
        told = []
        for path in round_.gave_up:
            if path in known:
                told.append(f"{self._name(path)} gives up again")
            else:
                told.append(f"{self._name(path)} gives up: {self._too_many(path)}")
        restarted = round_.restarted
        if restarted is not None and restarted.path in round_.gave_up:
            limit = "" if restarted.intensity is None else f" of {restarted.intensity}"
            along = "" if known.issuperset(round_.gave_up) else self._with(round_)
            told.append(
                f"{self._name(names.parent(restarted.path))} restarts"
                f" {self._name(restarted.path)}{along}"
                f" [{restarted.number}{limit} within {duration(restarted.period_s)}]"
            )
        elif loop.outcome is Outcome.DOWN and round_ is loop.rounds[-1]:
            told.append(f"Everything is stopped, the daemon ends with exit status {EXIT_SOFTWARE}")
        else:
            told.append("It is not restarted, its restart type says so")
        yield from self._line(round_, round_.crash, ". ".join(told))

    def _rest(self, loop: Loop) -> Iterator[Text]:
        """How it goes on, and why no further."""
        if loop.outcome is Outcome.DOWN and not any(one.gave_up for one in loop.rounds):
            ends = f"the root ends with it, the daemon with exit status {EXIT_SOFTWARE}"
            yield from self._line(loop.rounds[-1], loop.crashes, ends)
        if loop.outcome is Outcome.UNDECIDED:
            yield Text("    then  not looked at any further (--for, or too many steps)", "dim")
        if loop.outcome is not Outcome.FOR_EVER:
            return
        again = f"every {duration(loop.repeats_s)}" if loop.repeats_s else "without a pause"
        most: dict[str, int] = {}
        for one in loop.rounds:
            if one.restarted is not None:
                above = names.parent(one.restarted.path)
                most[above] = max(most.get(above, 0), one.restarted.number)
        never = [path for path in most if not any(path in one.gave_up for one in loop.rounds)]
        told = [f"the same {again}"]
        told += [
            f"{self._name(path)} never gives up: {self._few(path, most[path])}" for path in never
        ]
        yield from wrapped(f"    then  {'. '.join(told)}", "plain", 10)

    def _few(self, path: str, most: int) -> str:
        spec = self._supervisors[path]
        if spec.intensity is None:
            return 'its intensity is "infinity"'
        period = duration(spec.period_ns / limits.SECOND)
        return (
            f"at most {count(most, 'restart', 'restarts')} within {period},"
            f" and {spec.intensity} are allowed"
        )

    def _too_many(self, path: str) -> str:
        spec = self._supervisors[path]
        period = duration(spec.period_ns / limits.SECOND)
        if spec.intensity == 0:
            return "it may not restart anything"
        return f"more than {count(spec.intensity or 0, 'restart', 'restarts')} within {period}"

    def _with(self, round_: Round) -> str:
        along = sorted(round_.also, key=self._places.__getitem__)
        return f", along with {some(along, self._called)}" if along else ""

    def _line(self, round_: Round, until: int, what: str) -> Iterator[Text]:
        crash = (
            f"crash {round_.crash}" if until == round_.crash else f"crash {round_.crash}-{until}"
        )
        head = f"{duration(round_.time_s):>8}  {crash:<12}"
        yield from wrapped(f"{head}  {what}", "plain", len(head) + 2)

    def _name(self, path: str) -> str:
        return self._called.get(path, path)


_STYLES = {
    Outcome.DOWN: "bad",
    Outcome.FOR_EVER: "busy",
    Outcome.STAYS_DOWN: "title",
    Outcome.NOT_RUNNING: "title",
    Outcome.UNDECIDED: "busy",
}
