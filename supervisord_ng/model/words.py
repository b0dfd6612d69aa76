"""Events in plain words, for everyone who shows them to a person: ``sng run``, ``events``, ``simulate``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from supervisord_ng.model.reports import Decision, Event, EventName

Mood = Literal["good", "bad", "plain", "dim"]

_MOODS: dict[EventName, Mood] = {
    EventName.STARTING: "dim",
    EventName.STARTED: "good",
    EventName.ADOPTED: "good",
    EventName.READY: "good",
    EventName.START_FAILED: "bad",
    EventName.EXITED: "plain",
    EventName.CRASHED: "bad",
    EventName.RESTARTING: "plain",
    EventName.GAVE_UP: "bad",
    EventName.STOPPING: "dim",
    EventName.STOPPED: "plain",
    EventName.KILLED: "bad",
    EventName.LINK_DOWN: "bad",
    EventName.REPORT_SENT: "dim",
    EventName.LINK_UP: "good",
}

_QUIET = {
    "worker": frozenset({EventName.STARTING, EventName.STOPPING, EventName.READY}),
    "supervisor": frozenset({EventName.STARTING, EventName.STOPPED}),
}

_REASONS = {
    "heartbeat_timeout": "it hung, no heartbeat or no progress in time",
    "liveness": "its liveness probe failed",
    "noconnection": "its node is unreachable",
    "reached_max_restart_intensity": "too many restarts",
    "shutdown": "shut down",
}


def mood(event: Event) -> Mood:
    """How bad the news is, for the colour of a line."""
    return _MOODS.get(event.event, "plain")


def is_quiet(event: Event) -> bool:
    """Whether the event says nothing to somebody who is told the others.

    Of a worker the beginning of a start or stop says little beside its end, of a supervisor the other way
    round.
    """
    return event.event in _QUIET.get(event.kind or "", ())


def describe(event: Event) -> str:
    """What happened and what was decided, in one sentence without the name of the child."""
    sentence = _SENTENCES.get(event.event)
    return sentence(event) if sentence is not None else event.event.value


def explain(reason: str | None) -> str:
    """A reason word in plain words: "exit:1" is "exited with status 1"."""
    if reason is None:
        return "for no known reason"
    if reason in _REASONS:
        return _REASONS[reason]
    kind, _, detail = reason.partition(":")
    if kind == "exit":
        return f"exited with status {detail}"
    if kind == "signal":
        return f"was ended by {detail}"
    if kind == "start_failed":
        return f"could not be started ({detail})"
    if kind == "failed_to_start_child":
        name, _, why = detail.partition(":")
        if why.startswith("start_failed:"):
            return f"its child {name} could not be started ({why.removeprefix('start_failed:')})"
        return f"its child {name} could not be started: {explain(why)}"
    return reason


def _pid(event: Event) -> str:
    return f" (pid {event.pid})" if event.pid is not None else ""


def _starting(_: Event) -> str:
    return "starting"


def _ready(_: Event) -> str:
    return "ready"


def _start_failed(event: Event) -> str:
    kind, _, why = (event.reason or "unknown").partition(":")
    if kind != "start_failed":
        return f"CANNOT START: {explain(event.reason)}"
    if why == "timeout":
        return "CANNOT START: not ready in time (start_failed:timeout)"
    if why.partition(":")[0] in ("exit", "signal"):
        return f"CANNOT START: {explain(why)} before it was ready"
    return f"CANNOT START: {why}"


def _stopping(event: Event) -> str:
    return f"asked to stop{_pid(event)}"


def _stopped(event: Event) -> str:
    return f"stopped: {explain(event.reason)}"


def _killed(event: Event) -> str:
    why = "" if event.reason is None else f": {explain(event.reason)}"
    return f"killed, with all that it started{_pid(event)}{why}"


def _command(event: Event) -> str:
    return f"operator (uid {event.uid}) says: {event.verb} {event.detail or ''}".rstrip()


def _shutdown(event: Event) -> str:
    return f"shutting down: {event.detail or 'asked'}"


def _upgrade(event: Event) -> str:
    return f"replacing itself: {event.detail or 'asked'}"


def _adopted(event: Event) -> str:
    return f"adopted from an earlier daemon{_pid(event)}"


def _started(event: Event) -> str:
    return f"started{_pid(event)}" if event.kind == "worker" else "all its children are up"


def _exited(event: Event) -> str:
    if event.kind != "worker":
        return f"has ended: {explain(event.reason)}"
    return f"{explain(event.reason)}, as it may; it stays down"


def _link_up(event: Event) -> str:
    return f"the node {_side(event)} is connected"


def _link_down(event: Event) -> str:
    why = "it ended in good order" if event.reason == "shutdown" else "nothing is heard of it"
    return f"the node {_side(event)} is gone: {why}"


def _side(event: Event) -> str:
    return "below" if event.kind == "remote" else "above"


def _crashed(event: Event) -> str:
    ends = {
        Decision.REMOVED: "; it is temporary, so it is not restarted",
        Decision.NONE: "; it stays down",
    }
    tail = ends.get(event.decision, "") if event.decision is not None else ""
    report = f" [report {event.report}]" if event.report is not None else ""
    return f"CRASHED: {explain(event.reason)}{tail}{report}"


def _restarting(event: Event) -> str:
    limit = _limit(event)
    wait = f" in {event.delay_s:.3g} s" if event.delay_s else ""
    others = f", with {', '.join(event.with_siblings)}" if event.with_siblings else ""
    return f"restarting{wait}{others}{limit}"


def _limit(event: Event) -> str:
    if event.restarts_in_window is None:
        return ""
    if event.intensity is None:
        return f": restart {event.restarts_in_window} of any number"
    return (
        f": restart {event.restarts_in_window} of at most {event.intensity} in {event.period_s:g} s"
    )


def _report_sent(event: Event) -> str:
    return f"the node above has stored the crash reports {event.detail}"


def _gave_up(event: Event) -> str:
    culprit = ", ".join(event.with_siblings) or "a child"
    return (
        f"GAVE UP because of {culprit}: {event.restarts_in_window} restarts in {event.period_s:g} s, "
        f"{event.intensity} are allowed; stopping its children, its own supervisor decides what follows"
    )


_SENTENCES: dict[EventName, Callable[[Event], str]] = {
    EventName.STARTING: _starting,
    EventName.STARTED: _started,
    EventName.READY: _ready,
    EventName.START_FAILED: _start_failed,
    EventName.EXITED: _exited,
    EventName.CRASHED: _crashed,
    EventName.RESTARTING: _restarting,
    EventName.GAVE_UP: _gave_up,
    EventName.STOPPING: _stopping,
    EventName.STOPPED: _stopped,
    EventName.KILLED: _killed,
    EventName.COMMAND: _command,
    EventName.SHUTDOWN: _shutdown,
    EventName.UPGRADE: _upgrade,
    EventName.ADOPTED: _adopted,
    EventName.LINK_UP: _link_up,
    EventName.LINK_DOWN: _link_down,
    EventName.REPORT_SENT: _report_sent,
}
