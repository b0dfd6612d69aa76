"""What-if stories and crash loops as lines for people, who may never have read the manual."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from supervisord_ng import limits
from supervisord_ng.errors import EXIT_SOFTWARE
from supervisord_ng.model import names
from supervisord_ng.model.reports import Event, EventName
from supervisord_ng.model.spec import SupervisorSpec, WorkerSpec
from supervisord_ng.model.status import State
from supervisord_ng.model.words import Mood, describe, is_quiet, mood
from supervisord_ng.sim.whatif import Act, Deed, End, Story
from supervisord_ng.sim.whatif_loops import Findings, Loop, Outcome, Round

_WIDTH = 100
_NAMES_SHOWN = 6  # in a sentence
_NAMES_LISTED = 20  # where nothing but names stands
_WAITS_SHOWN = 4
_TOLERANCE = 1e-6  # of a number that binary fractions do not hit
_ROUNDS_SHOWN = 2  # of those that are all alike; the last one comes besides
_AT_REST = (State.RUNNING, State.STOPPED, State.EXITED, State.FAILED)


class Text(NamedTuple):
    """One line; `style` is one of `cli.output`."""

    text: str = ""
    style: Mood | str = "plain"


def assumed_lines(assumed: Iterable[str]) -> Iterator[Text]:
    """What the pretend world takes for granted."""
    for one in assumed:
        yield from _wrapped(f"- {one}", "dim", 2)
    yield Text()


# --- a story -------------------------------------------------------------------------------------
def story_lines(story: Story, spec: SupervisorSpec) -> Iterator[Text]:
    """The timeline, and how everyone is at its end."""
    called = short_names(spec)
    width = max(len(name) for name in called.values())
    before = ""
    hung: set[str | None] = set()
    for line in story.lines:
        if isinstance(line, Deed):
            if line.act is Act.HANG:
                hung.add(line.path)
        elif is_quiet(line) and not (line.event is EventName.STOPPING and line.path in hung):
            continue  # a stop says something where it is not obeyed at once
        at = f"{line.time:.3f}s"
        what = describe(line) if isinstance(line, Event) else _deed(line)
        style = mood(line) if isinstance(line, Event) else "title"
        stamp = "" if at == before else at
        yield Text(f"{stamp:>10}  {called.get(line.path or '', ''):<{width}}  {what}", style)
        before = at
    yield Text()
    yield from _wrapped(_ending(story), "title" if story.end is End.SETTLED else "bad")
    for why in story.chain:
        yield Text(f"  {why}")
    yield from _how_they_are(story, called)


def _deed(deed: Deed) -> str:
    if not deed.struck:
        return f"(nothing to {deed.act.value}: it does not run)"
    if deed.act is Act.KILL:
        return "<-- is killed with SIGKILL, as you asked"
    if deed.noticed_s is None:
        return (
            "<-- hangs, as you asked, and NOBODY NOTICES: without a heartbeat it counts as running"
        )
    return (
        f"<-- hangs, as you asked; it will be found at {deed.noticed_s:.3f}s, when no beat has come"
    )


def _ending(story: Story) -> str:
    at = duration(story.time_s)
    if story.end is End.HALTED:
        return (
            f"After {at} the root has ended: nothing runs any more,"
            f" the daemon ends with exit status {EXIT_SOFTWARE}."
        )
    if story.end is End.TIME:
        return f"Not looked at beyond {at} (--for); something was still under way."
    if story.end is End.BOUND:
        steps = f"{limits.WHATIF_STEPS_MAX:,}".replace(",", " ")
        return f"Given up after {steps} steps, at {at}: it goes on and on (--for TIME shows less)."
    return f"After {at} nothing more happens."


def _how_they_are(story: Story, called: dict[str, str]) -> Iterator[Text]:
    workers = [
        row for row in story.children if row.kind == "worker" and row.path not in story.hanging
    ]
    untouched = [row.path for row in workers if row.incarnation == 1 and row.state is State.RUNNING]
    anew = [row.path for row in workers if row.incarnation > 1 and row.state is State.RUNNING]
    yield from _listed("runs on, never touched", untouched, called)
    yield from _listed("runs again, restarted", anew, called)
    yield from _listed("hangs, and nobody knows", story.hanging, called)
    for state in State:
        if state is not State.RUNNING:
            there = [row.path for row in workers if row.state is state]
            stuck = story.end is End.SETTLED and state not in _AT_REST
            word = f"{state.value}{', and stays so for ever' if stuck else ''}"
            yield from _listed(word, there, called)


def _listed(word: str, paths: Sequence[str], called: dict[str, str]) -> Iterator[Text]:
    if paths:
        yield from _wrapped(f"  {word}: {_some(paths, called, most=_NAMES_LISTED)}", "plain", 4)


# --- crash loops ---------------------------------------------------------------------------------
def findings_lines(findings: Findings, spec: SupervisorSpec) -> Iterator[Text]:
    """What each worker's crash loop does to the tree."""
    called = short_names(spec)
    teller = _Teller(called, dict(_supervisors(spec, spec.name)))
    for loop in findings.loops:
        yield from teller.tell(loop)
        yield Text()
    if findings.left_out:
        what = f"Not looked at, because {limits.WHATIF_STEPS_MAX} simulated steps are the bound: "
        yield from _wrapped(what + _some(findings.left_out, called), "bad")


class _Teller:
    """Tells of loops in one tree."""

    def __init__(self, called: dict[str, str], supervisors: dict[str, SupervisorSpec]) -> None:
        self._called = called
        self._supervisors = supervisors

    def tell(self, loop: Loop) -> Iterator[Text]:
        """The headline of a loop, and below it what happens when."""
        yield from _wrapped(self._headline(loop), _STYLES[loop.outcome])
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
            who += f" (likewise {_some(loop.alike, self._called)})"
        crashes = _count(loop.crashes, "crash", "crashes")
        waited = f" and {duration(loop.took_s)} of waiting" if loop.took_s else ""
        gave_up = list(dict.fromkeys(path for one in loop.rounds for path in one.gave_up))
        if loop.outcome is Outcome.DOWN:
            pace = (
                ""
                if loop.life_s is None
                else f", if it runs at most {_short(loop.life_s)} each time"
            )
            return f"{who}: takes EVERYTHING down, after {crashes}{waited}{pace}"
        if loop.outcome is Outcome.FOR_EVER and gave_up:
            whom = _some(gave_up, self._called, " and ")
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
        yield from _wrapped(f"    then  {'. '.join(told)}", "plain", 10)

    def _few(self, path: str, most: int) -> str:
        spec = self._supervisors[path]
        if spec.intensity is None:
            return 'its intensity is "infinity"'
        period = duration(spec.period_ns / limits.SECOND)
        return (
            f"at most {_count(most, 'restart', 'restarts')} within {period},"
            f" and {spec.intensity} are allowed"
        )

    def _too_many(self, path: str) -> str:
        spec = self._supervisors[path]
        period = duration(spec.period_ns / limits.SECOND)
        if spec.intensity == 0:
            return "it may not restart anything"
        return f"more than {_count(spec.intensity or 0, 'restart', 'restarts')} within {period}"

    def _with(self, round_: Round) -> str:
        order = list(self._called)
        along = sorted(round_.also, key=order.index)
        return f", along with {_some(along, self._called)}" if along else ""

    def _line(self, round_: Round, until: int, what: str) -> Iterator[Text]:
        crash = (
            f"crash {round_.crash}" if until == round_.crash else f"crash {round_.crash}-{until}"
        )
        head = f"{duration(round_.time_s):>8}  {crash:<12}"
        yield from _wrapped(f"{head}  {what}", "plain", len(head) + 2)

    def _name(self, path: str) -> str:
        return self._called.get(path, path)


_STYLES = {
    Outcome.DOWN: "bad",
    Outcome.FOR_EVER: "busy",
    Outcome.STAYS_DOWN: "title",
    Outcome.NOT_RUNNING: "title",
    Outcome.UNDECIDED: "busy",
}


# --- words ---------------------------------------------------------------------------------------
def short_names(spec: SupervisorSpec) -> dict[str, str]:
    """What to call everyone in the tree: the name, or the path where a name is there twice."""
    paths = [spec.name, *(path for path, _ in _everyone(spec, spec.name))]
    leaves = [names.leaf(path) for path in paths]
    return {
        path: leaf if leaves.count(leaf) == 1 else path
        for path, leaf in zip(paths, leaves, strict=True)
    }


def duration(seconds: float) -> str:
    """A length of time, exact to the millisecond."""
    if 0 < seconds < 1:
        return f"{round(seconds * 1000)}ms"
    minutes, rest = divmod(round(seconds, 3), 60)
    said = f"{rest:.3f}".rstrip("0").rstrip(".") + "s"
    if not minutes:
        return said
    hours, minutes = divmod(int(minutes), 60)
    clock = f"{hours}h{minutes}m" if hours else f"{minutes}m"
    return clock if not rest else clock + said


def _short(seconds: float) -> str:
    """A length of time that is no longer than `seconds`, in round numbers."""
    unit = 0.001 if seconds < 1 else 0.1
    return duration(math.floor(seconds / unit + _TOLERANCE) * unit)


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _some(
    paths: Iterable[str], called: dict[str, str], and_: str = ", ", most: int = _NAMES_SHOWN
) -> str:
    listed = [called.get(path, path) for path in paths]
    more = len(listed) - most
    if more > 1:
        return f"{', '.join(listed[:most])} and {more} more"
    return and_.join([", ".join(listed[:-1]), listed[-1]]) if len(listed) > 1 else "".join(listed)


def _wrapped(text: str, style: Mood | str, indent: int = 0) -> Iterator[Text]:
    """Lines of a readable length."""
    for line in textwrap.wrap(
        text, _WIDTH, subsequent_indent=" " * indent, drop_whitespace=True, break_on_hyphens=False
    ):
        yield Text(line, style)


def _everyone(spec: SupervisorSpec, path: str) -> Iterator[tuple[str, SupervisorSpec | WorkerSpec]]:
    for child in spec.children:
        child_path = names.join(path, child.name)
        if isinstance(child, SupervisorSpec | WorkerSpec):
            yield child_path, child
        if isinstance(child, SupervisorSpec):
            yield from _everyone(child, child_path)


def _supervisors(spec: SupervisorSpec, path: str) -> Iterator[tuple[str, SupervisorSpec]]:
    yield path, spec
    for child_path, child in _everyone(spec, path):
        if isinstance(child, SupervisorSpec):
            yield child_path, child
