"""What the core has to say, as the events that people follow. The daemon and the simulator publish the same."""

from __future__ import annotations

from supervisord_ng.core.effects import Note
from supervisord_ng.limits import SECOND
from supervisord_ng.model.reports import Event


def event_of(
    note: Note, *, seq: int, time: float, node: str, pid: int | None, report: str | None = None
) -> Event:
    """The event that a note becomes.

    Args:
        note: what the core said.
        seq: the number of the event.
        time: in seconds, of whatever clock the events of this node go by.
        node: name of the node.
        pid: the worker's, where there are real ones.
        report: id of the crash report about it.
    """
    return Event(
        seq=seq,
        time=time,
        node=node,
        event=note.event,
        path=note.path,
        incarnation=note.incarnation,
        pid=pid,
        kind=note.kind,
        reason=None if note.reason is None else note.reason.text,
        decision=note.decision,
        restarts_in_window=note.restarts_in_window,
        intensity=note.intensity,
        period_s=_seconds(note.period_ns),
        delay_s=_seconds(note.delay_ns),
        with_siblings=note.with_siblings,
        report=report,
    )


def _seconds(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / SECOND
