"""The links to other nodes, as the machine sees them: what goes to which side, and what they wait for."""

from __future__ import annotations

from supervisord_ng.core import remote, uplink
from supervisord_ng.core.events import (
    Connected,
    FrameFromChild,
    FrameFromParent,
    FramesFromChildren,
    ReportsArrived,
    ReportsOffered,
    ReportStored,
)
from supervisord_ng.core.state import NodeState
from supervisord_ng.core.turn import Turn

Frame = FrameFromParent | FrameFromChild | FramesFromChildren
OfLink = (
    Connected | FrameFromParent | FrameFromChild | ReportStored | ReportsOffered | ReportsArrived
)


def take(turn: Turn, event: OfLink) -> None:
    """Hand an event to the side of the node that it concerns."""
    match event:
        case FrameFromChild(remote=name, frame=frame):
            remote.receive(turn, name, frame)
        case FrameFromParent(frame=frame):
            uplink.receive(turn, frame)
        case Connected():
            uplink.connected(turn)
        case ReportStored(seq=seq):
            uplink.report_stored(turn, seq)
        case ReportsOffered(remote=name, after=after, upto=upto):
            remote.reports_offered(turn, name, after, upto)
        case ReportsArrived(remote=name, upto=upto):
            remote.reports_arrived(turn, name, upto)


def expire(turn: Turn) -> None:
    """Do what is due, towards the parent first."""
    uplink.expire(turn)
    remote.expire(turn)


def tell(turn: Turn) -> None:
    """At the end of a step: tell the other nodes what they have to know at once."""
    if not turn.node.halted:
        uplink.tell(turn)
        remote.tell(turn)


def lagged(turn: Turn, lag_ns: int) -> None:
    """This daemon was late by so much, and no other node may be blamed for it."""
    uplink.lagged(turn, lag_ns)
    remote.lagged(turn, lag_ns)


def next_deadline(state: NodeState) -> int | None:
    """The next moment that a link waits for."""
    return earlier(uplink.deadline(state.uplink), state.links_at)


def earlier(time: int | None, other: int | None) -> int | None:
    """The earlier of two times, None if there is none."""
    if time is None or other is None:
        return other if time is None else time
    return min(time, other)
