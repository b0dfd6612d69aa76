"""The life of one child: what each happening means in each phase.

Theory of operation. A child is a worker or a local supervisor; both live by the same table. Its supervisor
gives it three orders (`start`, `ask_stop`, `kill`), the world tells what happens to it (`happens`), and it
tells its supervisor three things, through the turn's inbox: it started, its start failed, it is gone. What is
made of these is in `supervisor`; this file knows nothing of strategies, restarts and siblings.

    DOWN --start--> SPAWNING --spawned--> STARTING --ready--> RUNNING
                        |                    |                  | hangs
                        v                    v                  v
                      DOWN               KILLING <---------- DUMPING
                                             |
       STOPPING (from STARTING, RUNNING, DUMPING, when its supervisor asks) --too slow--> KILLING --> DOWN

A worker is gone when all of its processes are (`Exited.empty`, `Emptied`): what is left when the main process
crashed is killed at once, what is left when it was stopped is asked first. Nothing here restarts anything, so
nothing can run twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

from msgspec.structs import replace

from supervisord_ng.core import said
from supervisord_ng.core.effects import AskStop, Dump, Kill, Note, Spawn
from supervisord_ng.core.ends import reason_of
from supervisord_ng.core.events import (
    BecameReady,
    Dumped,
    Emptied,
    Exited,
    Ignored,
    Spawned,
    SpawnFailed,
    Unresponsive,
)
from supervisord_ng.core.liveness import first_beat_by
from supervisord_ng.core.state import (
    ChildGone,
    ChildStarted,
    ChildStartFailed,
    ChildState,
    Idle,
    KillTree,
    Phase,
    StartTree,
    StopTree,
)
from supervisord_ng.core.turn import Turn
from supervisord_ng.limits import DUMP_WAIT_NS, KILL_RESEND_NS
from supervisord_ng.model import names
from supervisord_ng.model.exits import (
    HEARTBEAT_TIMEOUT,
    KILLED,
    SHUTDOWN,
    ExitClass,
    ExitReason,
    ExitStatus,
    start_failed,
    status_text,
)
from supervisord_ng.model.reports import EventName
from supervisord_ng.model.spec import BRUTAL_KILL, INFINITY, SupervisorSpec, WorkerSpec


class DeadlineReached:
    """The child's own deadline has come; `machine` makes this out of the time."""

    __slots__ = ()


News = (
    Spawned
    | SpawnFailed
    | Ignored
    | BecameReady
    | Exited
    | Emptied
    | Unresponsive
    | Dumped
    | said.Saying
)
"""What the world tells of one child."""

Happening = News | DeadlineReached


# --- orders of the supervisor --------------------------------------------------------------------
def start(turn: Turn, child: ChildState, *, automatic: bool) -> None:
    """Start a new incarnation. Requires phase DOWN. Emits Spawn, or orders the subtree to boot."""
    assert child.phase is Phase.DOWN, (child.path, child.phase)
    incarnation = child.last_number + 1
    is_worker = isinstance(child.spec, WorkerSpec)
    turn.put_child(
        replace(
            child,
            incarnation=incarnation,
            phase=Phase.SPAWNING if is_worker else Phase.STARTING,
            deadline=None,
            pid=None,
            since=turn.now,
            ready=False,
            cause=None,
            asked=False,
            last_beat=None,
            beat_age=None,
            progress=None,
            arrivals=None,
            excused=0,
            beat_timeout=None,
            by_operator=False,
            counted=False,
            renew=False,
            restarts=child.restarts + automatic,
        )
    )
    if isinstance(child.spec, WorkerSpec):
        turn.emit(Note(EventName.STARTING, child.path, incarnation))
        turn.emit(Spawn(child.path, incarnation, child.spec))
        return
    refusal = turn.take_refusal(child.path)
    if refusal is None:
        turn.inbox.append(StartTree(child.path, incarnation, automatic))
    elif refusal.reason is None:
        _ignored(turn, turn.living_child(child.path), Ignored(child.path, incarnation))
    else:
        _down(turn, turn.living_child(child.path), refusal.reason)


def ask_stop(turn: Turn, child: ChildState) -> None:
    """Ask a living child to end, by its own `shutdown`. supervisor.erl, shutdown/1.

    Requires a phase other than DOWN and SPAWNING. Emits AskStop or Kill, and keeps the time.
    """
    assert child.phase not in (Phase.DOWN, Phase.SPAWNING), (child.path, child.phase)
    child = replace(child, asked=True)
    shutdown = child.spec.shutdown
    if child.phase is Phase.KILLING:
        turn.put_child(child)
    elif shutdown in (BRUTAL_KILL, 0):
        _kill(turn, replace(child, cause=None))
    elif child.phase is Phase.STOPPING:  # it has begun by itself; a second signal could hurry it
        turn.put_child(child)
    else:
        grace = None if shutdown == INFINITY else int(shutdown)
        deadline = None if grace is None else turn.now + grace
        turn.put_child(replace(child, phase=Phase.STOPPING, cause=None, deadline=deadline))
        _note(turn, child, EventName.STOPPING)
        if isinstance(child.spec, WorkerSpec):
            whole = child.spec.stop_signal_to == "all"
            turn.emit(AskStop(child.path, child.incarnation, child.spec.stop_signal, whole, grace))
        else:
            turn.inbox.append(StopTree(child.path, SHUTDOWN))


def kill(turn: Turn, child: ChildState) -> None:
    """End a living child at once, because its supervisor was killed. Nobody waits and nobody judges."""
    if child.phase is Phase.SPAWNING:
        turn.put_child(replace(child, asked=True))
    elif child.phase is not Phase.DOWN:
        _kill(turn, replace(child, asked=True))


def _kill(turn: Turn, child: ChildState) -> None:
    turn.put_child(replace(child, phase=Phase.KILLING, deadline=turn.now + KILL_RESEND_NS))
    _send_kill(turn, child)


def _send_kill(turn: Turn, child: ChildState) -> None:
    if isinstance(child.spec, WorkerSpec):
        turn.emit(Kill(child.path, child.incarnation))
        _note(turn, child, EventName.KILLED, child.cause)
    else:
        turn.inbox.append(KillTree(child.path))


# --- what happens to it --------------------------------------------------------------------------
def happens(turn: Turn, child: ChildState, what: Happening) -> None:
    """Look the happening up in the table and do what stands there. A hole in the table is our bug."""
    TABLE[child.phase][type(what)](turn, child, what)


def _spawned(turn: Turn, child: ChildState, what: Spawned) -> None:
    spec = child.spec
    assert isinstance(spec, WorkerSpec)
    child = replace(child, pid=what.pid, birth=what.birth, since=turn.now)
    _note(turn, child, EventName.STARTED)
    if child.asked:
        _kill(turn, child)
    elif spec.ready.kind == "exec":
        _becomes_ready(turn, child)
    else:
        deadline = turn.now + spec.ready_timeout_ns
        turn.put_child(replace(child, phase=Phase.STARTING, deadline=deadline))


def _spawn_failed(turn: Turn, child: ChildState, what: SpawnFailed) -> None:
    _down(turn, child, what.reason)


def _ignored(turn: Turn, child: ChildState, _: Ignored) -> None:
    if isinstance(child.spec, SupervisorSpec):  # of a worker the world knows itself
        _note(turn, child, EventName.START_FAILED, ExitReason(ExitClass.NORMAL, "ignore"))
    turn.put_child(replace(child, phase=Phase.DOWN, since=None))
    turn.inbox.append(ChildStarted(names.parent(child.path), child.name, ignored=True))


def _ready(turn: Turn, child: ChildState, _: BecameReady) -> None:
    if isinstance(child.spec, WorkerSpec):
        _note(turn, child, EventName.READY)
    _becomes_ready(turn, child)


def _becomes_ready(turn: Turn, child: ChildState) -> None:
    turn.put_child(
        replace(child, phase=Phase.RUNNING, ready=True, deadline=first_beat_by(child, turn.now))
    )
    turn.inbox.append(ChildStarted(names.parent(child.path), child.name))


def _start_too_slow(turn: Turn, child: ChildState, _: DeadlineReached) -> None:
    _kill(turn, replace(child, cause=start_failed("timeout")))


def _exited_starting(turn: Turn, child: ChildState, what: Exited) -> None:
    """It ended before it was ready: a failed start, unless its end is its readiness (`ready = "exit"`)."""
    reason = reason_of(child, what.how)
    one_shot = isinstance(child.spec, WorkerSpec) and child.spec.ready.kind == "exit"
    if one_shot and reason.kind is ExitClass.NORMAL:
        _ready(turn, child, BecameReady(child.path, child.incarnation))
        child = replace(child, ready=True)
    elif isinstance(what.how, ExitStatus):
        reason = start_failed(status_text(what.how))
    _main_ended(turn, child, reason, empty=what.empty)


def _exited_running(turn: Turn, child: ChildState, what: Exited) -> None:
    _main_ended(turn, child, child.cause or reason_of(child, what.how), empty=what.empty)


def _main_ended(turn: Turn, child: ChildState, reason: ExitReason, *, empty: bool) -> None:
    """The main process ended by itself. What it leaves behind holds its ports and files: it goes at once."""
    if empty:
        _down(turn, child, reason)
    else:
        _kill(turn, replace(child, cause=reason))


def _exited_stopping(turn: Turn, child: ChildState, what: Exited) -> None:
    """It obeyed. What it leaves behind is asked next, within the same `shutdown` time."""
    reason = child.cause or reason_of(child, what.how)
    if what.empty or not child.asked:
        _main_ended(turn, child, reason, empty=what.empty)
        return
    assert isinstance(child.spec, WorkerSpec)
    turn.put_child(replace(child, cause=reason))
    grace = None if child.deadline is None else max(0, child.deadline - turn.now)
    turn.emit(
        AskStop(child.path, child.incarnation, child.spec.stop_signal, whole=True, grace_ns=grace)
    )


def _exited_killing(turn: Turn, child: ChildState, what: Exited) -> None:
    reason = child.cause or reason_of(child, what.how)
    if what.empty:
        _down(turn, child, reason)
    else:
        turn.put_child(replace(child, cause=reason))
        _send_kill(turn, child)


def _emptied(turn: Turn, child: ChildState, _: Emptied) -> None:
    assert child.cause is not None, "emptied before its main process exited"
    _down(turn, child, child.cause)


def _hangs(turn: Turn, child: ChildState, _: DeadlineReached) -> None:
    silent_since = child.last_beat if child.last_beat is not None else child.since
    assert silent_since is not None
    silence = turn.now - silent_since
    _collect_stacks(turn, replace(child, cause=HEARTBEAT_TIMEOUT, beat_age=silence))


def _unresponsive(turn: Turn, child: ChildState, what: Unresponsive) -> None:
    _collect_stacks(turn, replace(child, cause=what.reason))


def _collect_stacks(turn: Turn, child: ChildState) -> None:
    turn.put_child(replace(child, phase=Phase.DUMPING, deadline=turn.now + DUMP_WAIT_NS))
    turn.emit(Dump(child.path, child.incarnation))


def _dumped(turn: Turn, child: ChildState, _: Happening) -> None:
    _kill(turn, child)


def _stop_too_slow(turn: Turn, child: ChildState, _: DeadlineReached) -> None:
    """Its time is over. Had its main process ended well, the verdict of a late rest is still: killed."""
    _kill(turn, replace(child, cause=KILLED if child.cause is not None else None))


def _kill_again(turn: Turn, child: ChildState, _: DeadlineReached) -> None:
    """It survived SIGKILL: it is in uninterruptible sleep. Say so by the note, and go on trying."""
    _kill(turn, child)


def _down(turn: Turn, child: ChildState, reason: ExitReason) -> None:
    """Nothing is left of it: tell its supervisor."""
    supervisor = names.parent(child.path)
    down = replace(
        child,
        phase=Phase.DOWN,
        deadline=None,
        pid=None,
        last_exit=reason,
        last_beat=None,
        idle=Idle.EXITED,
    )
    turn.put_child(down)
    if child.ready or child.asked:
        turn.inbox.append(ChildGone(supervisor, child.name, child.incarnation, reason))
    else:
        turn.inbox.append(ChildStartFailed(supervisor, child.name, reason))


def _note(
    turn: Turn, child: ChildState, event: EventName, reason: ExitReason | None = None
) -> None:
    turn.emit(
        Note(event, child.path, child.incarnation, kind=child.kind, pid=child.pid, reason=reason)
    )


# --- the table -----------------------------------------------------------------------------------
Entry = Callable[..., None]


def _late(turn: Turn, child: ChildState, what: Happening) -> None:
    """A word that was on its way when things changed. It says nothing any more."""


def _never(_: Turn, child: ChildState, what: Happening) -> None:
    """Cannot happen in this phase: whoever says so has a bug, and going on would hide it."""
    message = f"{type(what).__name__} for {child.path} #{child.incarnation} in phase {child.phase}"
    raise AssertionError(message)


# For each phase what changes anything in it. What does not stand here is too late, or refused by `_never`.
_POSSIBLE: dict[Phase, dict[type[Happening], Entry]] = {
    Phase.DOWN: {},
    Phase.LOST: {Exited: _exited_running},
    Phase.SPAWNING: {Spawned: _spawned, SpawnFailed: _spawn_failed, Ignored: _ignored},
    Phase.STARTING: {
        BecameReady: _ready,
        Exited: _exited_starting,
        DeadlineReached: _start_too_slow,
        **said.HEARD[Phase.STARTING],
    },
    Phase.RUNNING: {
        Exited: _exited_running,
        DeadlineReached: _hangs,
        Unresponsive: _unresponsive,
        **said.HEARD[Phase.RUNNING],
    },
    Phase.DUMPING: {Exited: _exited_running, DeadlineReached: _dumped, Dumped: _dumped},
    Phase.STOPPING: {
        Exited: _exited_stopping,
        Emptied: _emptied,
        DeadlineReached: _stop_too_slow,
        **said.HEARD[Phase.STOPPING],
    },
    Phase.KILLING: {Exited: _exited_killing, Emptied: _emptied, DeadlineReached: _kill_again},
}
# A worker's words, and words about it, can be on their way in any phase in which there is a process or was.
_MAY_BE_LATE = (BecameReady, Unresponsive, Dumped, *get_args(said.Saying))


def _otherwise(phase: Phase, what: type[Happening]) -> Entry:
    return _late if what in _MAY_BE_LATE and phase is not Phase.LOST else _never


HAPPENINGS: tuple[type[Happening], ...] = get_args(Happening)
TABLE: dict[Phase, dict[type[Happening], Entry]] = {
    phase: {what: _POSSIBLE[phase].get(what) or _otherwise(phase, what) for what in HAPPENINGS}
    for phase in Phase
}
