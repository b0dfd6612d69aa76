"""A what-if story as lines for people, who may never have read the manual."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from supervisord_ng import limits
from supervisord_ng.errors import EXIT_SOFTWARE
from supervisord_ng.model.reports import EventName
from supervisord_ng.model.spec import SupervisorSpec
from supervisord_ng.model.status import State
from supervisord_ng.model.words import describe, is_quiet, mood
from supervisord_ng.sim.whatif import Act, Deed, End, Line, Story
from supervisord_ng.sim.whatif_words import Text, duration, short_names, some, together, wrapped

_AT_REST = (State.RUNNING, State.STOPPED, State.EXITED, State.FAILED)


def assumed_lines(assumed: Iterable[str]) -> Iterator[Text]:
    """What the pretend world takes for granted."""
    for one in assumed:
        yield from wrapped(f"- {one}", "dim", 2)
    yield Text()


def story_lines(story: Story, spec: SupervisorSpec) -> Iterator[Text]:
    """The timeline, and how everyone is at its end."""
    called = short_names(spec)
    told = list(_told(story.lines, called))
    width = max((len(one.who) for one in told), default=0)
    before = ""
    for one in told:
        stamp = "" if one.at == before else one.at
        yield Text(f"{stamp:>10}  {one.who:<{width}}  {one.what}", one.style)
        before = one.at
    yield Text()
    yield from wrapped(_ending(story), "title" if story.end is End.SETTLED else "bad")
    for why in story.chain:
        yield Text(f"  {why}")
    yield from _how_they_are(story, called)


class _Told(NamedTuple):
    """One line of the timeline."""

    at: str
    who: str
    what: str
    style: str


def _told(lines: Iterable[Line], called: dict[str, str]) -> Iterator[_Told]:
    """What there is to tell; the same of several instances of one worker in a row is told once."""
    said = [_say(line, called) for line in _loud(lines)]
    for _, alike in itertools.groupby(said, key=lambda one: (one.at, one.what, one.style)):
        same = list(alike)
        for who in together(one.who for one in same):
            yield same[0]._replace(who=who)


def _say(line: Line, called: dict[str, str]) -> _Told:
    who = called.get(line.path or "", "")
    if isinstance(line, Deed):
        return _Told(f"{line.time:.3f}s", who, _deed(line), "title")
    return _Told(f"{line.time:.3f}s", who, describe(line), mood(line))


def _loud(lines: Iterable[Line]) -> Iterator[Line]:
    """The lines that say something; a stop does so only where it is not obeyed at once."""
    hung: set[str | None] = set()
    for line in lines:
        if isinstance(line, Deed):
            if line.act is Act.HANG:
                hung.add(line.path)
        elif is_quiet(line) and not (line.event is EventName.STOPPING and line.path in hung):
            continue
        yield line


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
        f"<-- hangs, as you asked; it will be found at {deed.noticed_s:.3f}s, after no sign of life"
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
    found = [line.path for line in story.lines if isinstance(line, Deed) and line.noticed_s]
    lost = [path for path in story.hanging if path not in found]
    yield from _listed("hangs, and nobody knows", lost, called)
    late = [path for path in story.hanging if path in found]
    yield from _listed("hangs, and will be found", late, called)
    for state in State:
        if state is not State.RUNNING:
            there = [row.path for row in workers if row.state is state]
            stuck = story.end is End.SETTLED and state not in _AT_REST
            word = f"{state.value}{', and stays so for ever' if stuck else ''}"
            yield from _listed(word, there, called)


def _listed(word: str, paths: Sequence[str], called: dict[str, str]) -> Iterator[Text]:
    if paths:
        yield from wrapped(f"  {word}: {some(paths, called)}", "plain", 4)
