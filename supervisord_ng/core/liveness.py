"""Signs of life: until when a running worker has to give the next one.

Judged on the daemon's monotonic clock, after what has arrived was taken in and its own lag taken off. Not
judged before a worker is ready nor while it is being stopped.
"""

from __future__ import annotations

from msgspec.structs import replace

from supervisord_ng.core.state import ChildState, Phase
from supervisord_ng.core.turn import Turn
from supervisord_ng.model.spec import WorkerSpec


def beat(turn: Turn, child: ChildState, progress: int | None) -> None:
    """A sign of life. A counter that stands still is none: the loop may be stuck while a thread beats."""
    moved = progress is None or progress != child.progress
    child = replace(child, last_beat=turn.now, progress=progress)
    if child.phase is Phase.RUNNING and moved:
        child = replace(child, deadline=next_beat_by(child, turn.now))
    turn.put_child(child)


def lagged(turn: Turn, child: ChildState, lag_ns: int) -> None:
    """The daemon was late: a worker's silence of that time says nothing."""
    if child.phase is Phase.RUNNING and child.deadline is not None:
        turn.put_child(replace(child, deadline=child.deadline + lag_ns))


def first_beat_by(child: ChildState, now: int) -> int | None:
    """Until when a child that just became ready has to give a sign of life, None if it need not."""
    by = next_beat_by(child, now)
    if by is None or child.last_beat is not None:
        return by
    assert isinstance(child.spec, WorkerSpec)
    assert child.since is not None
    return max(by, child.since + child.spec.ready_timeout_ns)


def next_beat_by(child: ChildState, now: int) -> int | None:
    """Until when a child that gives a sign of life now has to give the next, None if it need not."""
    timeout_ns = child.beat_timeout
    if timeout_ns is None and isinstance(child.spec, WorkerSpec) and child.spec.heartbeat:
        timeout_ns = child.spec.heartbeat.timeout_ns
    return now + timeout_ns if timeout_ns else None
