"""Crash reports on their way to the node above: what to send, when to send it again, how far it has come.

The reports themselves lie in the store, numbered; here are three numbers. At least once: everything above
`acked` is sent, and sent again after a time without an acknowledgement or over a new link. The receiver tells
repetitions apart by the reports' ids. zguide chapter 4, "Disconnected Reliability (Titanic)", without broker.
"""

from __future__ import annotations

from msgspec.structs import replace

from supervisord_ng.core.effects import ReportsAcked, SendReports
from supervisord_ng.core.state import Outbox
from supervisord_ng.core.turn import Turn
from supervisord_ng.limits import REPORTS_RESEND_NS, REPORTS_UNACKED_MAX


def stored(turn: Turn, box: Outbox, seq: int, *, linked: bool) -> Outbox:
    """The store holds more. Emits SendReports when there is a link."""
    return _pump(turn, replace(box, stored=max(box.stored, seq)), linked=linked)


def linked_up(turn: Turn, box: Outbox) -> Outbox:
    """There is a new link: what was under way on the old one may be lost."""
    return _pump(turn, replace(box, sent=box.acked, resend_at=None), linked=True)


def linked_down(box: Outbox) -> Outbox:
    """Nothing can be sent for now."""
    return replace(box, resend_at=None)


def acked(turn: Turn, box: Outbox, upto: int) -> Outbox:
    """The node above has stored everything up to `upto`; an old acknowledgement says nothing new."""
    if not box.acked < upto <= box.stored:
        return box
    turn.emit(ReportsAcked(upto))
    box = replace(box, acked=upto, sent=max(box.sent, upto))
    waits = box.sent > box.acked
    resend_at = turn.now + REPORTS_RESEND_NS if waits else None
    return _pump(turn, replace(box, resend_at=resend_at), linked=True)


def overdue(turn: Turn, box: Outbox) -> Outbox:
    """Too long without an acknowledgement: from the last one on, again."""
    return _pump(turn, replace(box, sent=box.acked, resend_at=None), linked=True)


def _pump(turn: Turn, box: Outbox, *, linked: bool) -> Outbox:
    """Send what may be sent: no more than the window is unacknowledged at a time."""
    upto = min(box.stored, box.acked + REPORTS_UNACKED_MAX)
    if not linked or upto <= box.sent:
        return box
    turn.emit(SendReports(after=box.sent, upto=upto))
    resend_at = box.resend_at if box.resend_at is not None else turn.now + REPORTS_RESEND_NS
    return replace(box, sent=upto, resend_at=resend_at)
