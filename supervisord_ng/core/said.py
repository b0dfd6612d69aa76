"""What a worker says of its own life, beyond signs of life: more time, another pace, the end of it.

The words are systemd's, sd_notify(3); who may say them, and how, is the shell's to know. All of them are
about the phase that the worker is in: said too late they say nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from supervisord_ng.core.effects import Note
from supervisord_ng.core.events import Extended, HeartbeatChanged, MainChanged, SelfStopping
from supervisord_ng.core.liveness import next_beat_by
from supervisord_ng.core.state import ChildState, Phase
from supervisord_ng.core.turn import Turn
from supervisord_ng.limits import SHUTDOWN_WORKER_DEFAULT_NS
from supervisord_ng.model.reports import EventName
from supervisord_ng.model.spec import BRUTAL_KILL, INFINITY

Saying = Extended | HeartbeatChanged | MainChanged | SelfStopping


def extended(turn: Turn, child: ChildState, what: Extended) -> None:
    """It needs more time: whatever it has to do next, it has at least so long from now. Never shortens.

    service.c, service_extend_timeout: start, stop and watchdog alike. Requires STARTING, RUNNING or STOPPING.
    """
    if child.deadline is not None:
        by = turn.now + what.by_ns
        turn.put_child(replace(child, deadline=max(child.deadline, by)))


def heartbeat_changed(turn: Turn, child: ChildState, what: HeartbeatChanged) -> None:
    """From now on, and until it ends, it beats at another pace. Requires STARTING or RUNNING.

    service.c, service_override_watchdog_timeout: this counts as a beat.
    """
    child = replace(child, beat_timeout=what.timeout_ns)
    if child.phase is Phase.RUNNING:
        child = replace(child, deadline=next_beat_by(child, turn.now))
    turn.put_child(child)


def main_changed(turn: Turn, child: ChildState, what: MainChanged) -> None:
    """It has handed its work over to another of its processes: people want to know that one's number."""
    turn.put_child(replace(child, pid=what.pid, birth=what.birth))


def stopping(turn: Turn, child: ChildState, _: SelfStopping) -> None:
    """It ends by itself: no beats any more, and as much time as if it had been asked. Requires RUNNING.

    service.c, service_enter_stop_by_notify. Its supervisor has not asked, so the end is judged as any other,
    and SIGKILL for being too slow is a crash. `brutal_kill` gives no time to who is asked; who is not gets
    the default. Emits Note.
    """
    shutdown = child.spec.shutdown
    if shutdown == INFINITY:
        deadline = None
    elif shutdown == BRUTAL_KILL:
        deadline = turn.now + SHUTDOWN_WORKER_DEFAULT_NS
    else:
        deadline = turn.now + int(shutdown)
    turn.put_child(replace(child, phase=Phase.STOPPING, deadline=deadline))
    turn.emit(Note(EventName.STOPPING, child.path, child.incarnation, pid=child.pid))


# In which phases each of them is heard; in all others it comes too late.
HEARD: dict[Phase, dict[type[Any], Callable[..., None]]] = {
    Phase.STARTING: {
        Extended: extended,
        HeartbeatChanged: heartbeat_changed,
        MainChanged: main_changed,
    },
    Phase.RUNNING: {
        Extended: extended,
        HeartbeatChanged: heartbeat_changed,
        MainChanged: main_changed,
        SelfStopping: stopping,
    },
    Phase.STOPPING: {Extended: extended, MainChanged: main_changed},
}
