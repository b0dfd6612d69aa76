"""Signs of life: until when a running worker has to give the next one.

Judged on the daemon's monotonic clock, after what has arrived was taken in and its own lag taken off. Not
judged before a worker is ready nor while it is being stopped. `timeout` is a fixed silence; what `phi` makes of
a silence is in `accrual`.
"""

from __future__ import annotations

from msgspec.structs import replace

from supervisord_ng.core import accrual
from supervisord_ng.core.state import Arrivals, ChildState, Phase
from supervisord_ng.core.turn import Turn
from supervisord_ng.limits import LAG_EXCUSES_MAX, LAG_GRACE_NS
from supervisord_ng.model.spec import Heartbeat, WorkerSpec


def beat(turn: Turn, child: ChildState, progress: int | None) -> None:
    """A sign of life. A counter that stands still is none: the loop may be stuck while a thread beats."""
    now = turn.now
    if progress is not None and progress == child.progress:
        turn.put_child(replace(child, last_beat=now))
        return
    arrivals = _arrivals(child, now) if _is_judged_by_phi(child) else None
    if child.phase is not Phase.RUNNING:
        turn.put_child(replace(child, last_beat=now, progress=progress, arrivals=arrivals))
        return
    patience = _patience_ns(child, arrivals)
    turn.put_child(
        replace(
            child,
            last_beat=now,
            progress=progress,
            arrivals=arrivals,
            excused=0,
            deadline=now + patience if patience else None,
        )
    )


def lagged(turn: Turn, child: ChildState, lag_ns: int) -> None:
    """The daemon was late: a worker's silence of that time says nothing.

    What made us late, a busy host or a suspended one, may have made the worker late too, so whoever would be
    judged now is given a moment more. Not for ever: on a host where everybody is always late there are hung
    workers as well.
    """
    if child.phase not in (Phase.STARTING, Phase.RUNNING) or child.deadline is None:
        return
    deadline, excused = child.deadline + lag_ns, child.excused
    if child.deadline <= turn.now:
        if excused >= LAG_EXCUSES_MAX:
            return
        deadline, excused = max(deadline, turn.now + LAG_GRACE_NS), excused + 1
    arrivals = child.arrivals
    if arrivals is not None:
        arrivals = replace(arrivals, last=arrivals.last + lag_ns)
    turn.put_child(replace(child, deadline=deadline, excused=excused, arrivals=arrivals))


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
    patience = _patience_ns(child, child.arrivals)
    return now + patience if patience else None


def _patience_ns(child: ChildState, arrivals: Arrivals | None) -> int | None:
    """How long it may be silent; 0 or None: for ever."""
    if arrivals is None or not _is_judged_by_phi(child):
        return _timeout_ns(child)
    return accrual.patience_ns(arrivals, _heartbeat(child), _timeout_ns(child) or 0)


def _arrivals(child: ChildState, now: int) -> Arrivals:
    """What is known of its signs of life with the one that comes now."""
    heartbeat = _heartbeat(child)
    if child.arrivals is None:
        return accrual.first(heartbeat, now)
    return accrual.another(child.arrivals, heartbeat, _timeout_ns(child) or 0, now)


def _is_judged_by_phi(child: ChildState) -> bool:
    """Whether it is judged, and by what it has shown."""
    spec = child.spec
    if not isinstance(spec, WorkerSpec) or spec.heartbeat is None:
        return False
    return spec.heartbeat.detector == "phi" and child.beat_timeout != 0


def _heartbeat(child: ChildState) -> Heartbeat:
    assert isinstance(child.spec, WorkerSpec)
    assert child.spec.heartbeat is not None
    return child.spec.heartbeat


def _timeout_ns(child: ChildState) -> int | None:
    """The timeout in force: the worker's own, else as specified; 0 or None: it is not judged."""
    if child.beat_timeout is not None:
        return child.beat_timeout
    spec = child.spec
    if not isinstance(spec, WorkerSpec) or spec.heartbeat is None:
        return None
    return spec.heartbeat.timeout_ns
