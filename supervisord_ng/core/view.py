"""The state as rows for `status`: the only way in which anything outside of the core reads it."""

from __future__ import annotations

from msgspec.structs import replace

from supervisord_ng.core.intensity import in_window
from supervisord_ng.core.plans import is_autostarted
from supervisord_ng.core.restarts import is_restarted
from supervisord_ng.core.state import (
    ChildState,
    Idle,
    NodeState,
    Phase,
    Purpose,
    Standing,
    SupervisorState,
)
from supervisord_ng.limits import SECOND
from supervisord_ng.model import names
from supervisord_ng.model.spec import WorkerSpec
from supervisord_ng.model.status import Row, State

_ALIVE = {
    Phase.LOST: State.LOST,
    Phase.SPAWNING: State.STARTING,
    Phase.STARTING: State.STARTING,
    Phase.RUNNING: State.RUNNING,
    Phase.DUMPING: State.RUNNING,
    Phase.STOPPING: State.STOPPING,
    Phase.KILLING: State.STOPPING,
}


def rows(state: NodeState, now: int) -> tuple[Row, ...]:
    """One row for each child in tree order, depth first, the root itself first."""
    found: list[Row] = []
    waiting: list[str] = [state.root]
    while waiting:
        path = waiting.pop()
        supervisor = state.supervisors.get(path)
        if path == state.root:
            found.append(root_row(state, now))
        else:
            above = state.supervisors[names.parent(path)]
            found.append(child_row(state, above, above.children[names.leaf(path)], now))
        if supervisor is not None:
            waiting += [child.path for child in reversed(supervisor.children.values())]
    return tuple(found)


def root_row(state: NodeState, now: int) -> Row:
    """The row of the root supervisor, which is nobody's child on this node."""
    root = state.supervisors[state.root]
    row = Row(
        path=root.path,
        name=root.path,
        kind="supervisor",
        supervisor=None,
        state=root_state(state),
        ready=root.alive and root.booted,
        incarnation=root.incarnation,
    )
    return _of_supervisor(row, root, now)


def root_state(state: NodeState) -> State:
    """The word for the whole tree."""
    root = state.supervisors[state.root]
    if not root.alive:
        return State.STOPPED
    if root.plan is not None and root.plan.purpose is Purpose.EXIT:
        return State.STOPPING
    return State.RUNNING if root.booted else State.STARTING


def child_row(state: NodeState, above: SupervisorState, child: ChildState, now: int) -> Row:
    """The row of one child of the supervisor `above`."""
    word = child_state(above, child)
    alive = child.phase not in (Phase.DOWN, Phase.SPAWNING, Phase.LOST)
    last = child.last_exit
    own = state.supervisors.get(child.path)
    row = Row(
        path=child.path,
        name=child.name,
        kind=child.kind,
        supervisor=above.path,
        state=word,
        ready=alive and child.ready and word is State.RUNNING,
        pid=child.pid,
        incarnation=child.incarnation,
        uptime_s=_seconds(now - child.since) if alive and child.since is not None else None,
        restarts=child.restarts,
        last_exit=None if last is None else last.text,
        last_exit_ok=None if last is None else not last.is_abnormal,
        beat_age_s=None if child.last_beat is None else _seconds(now - child.last_beat),
        autostart=is_autostarted(child),
        backoff_s=_seconds(child.deadline - now)
        if word is State.BACKOFF and child.deadline is not None
        else None,
    )
    return row if own is None else _of_supervisor(row, own, now)


def child_state(above: SupervisorState, child: ChildState) -> State:
    """The state word of a child: what it does, or else why it does nothing."""
    if child.phase is not Phase.DOWN:
        return _ALIVE[child.phase]
    if child.standing is Standing.RESTARTING:
        return State.BACKOFF if child.deadline is not None else State.RESTARTING
    if child.standing is Standing.UP:  # dead, and its supervisor is busy with others
        assert child.last_exit is not None
        return State.RESTARTING if is_restarted(child, child.last_exit) else State.EXITED
    if child.idle is Idle.WAITING and not (child.renew or _is_to_be_started(above, child.name)):
        return State.STOPPED
    return State(child.idle.value)


def _is_to_be_started(above: SupervisorState, name: str) -> bool:
    """Whether the supervisor will come to this child: its plan says so, or a retry will.

    Nothing will when an operator has stopped the one whose retry it waited for (otp: it stays undefined).
    """
    plan = above.plan
    while plan is not None:
        if plan.purpose is Purpose.EXIT:
            return False
        if name in plan.start[plan.start_at :]:
            return True
        plan = plan.resume
    return any(sibling.standing is Standing.RESTARTING for sibling in above.children.values())


def _of_supervisor(row: Row, supervisor: SupervisorState, now: int) -> Row:
    spec = supervisor.spec
    return replace(
        row,
        strategy=spec.strategy.value,
        intensity=spec.intensity,
        period_s=_seconds(spec.period_ns),
        restarts_in_window=in_window(supervisor.restarts, now, spec.period_ns),
    )


def _seconds(nanoseconds: int) -> float:
    return nanoseconds / SECOND


def worker_specs(state: NodeState) -> dict[str, WorkerSpec]:
    """Every worker of the tree by its path."""
    return {
        child.path: child.spec
        for supervisor in state.supervisors.values()
        for child in supervisor.children.values()
        if isinstance(child.spec, WorkerSpec)
    }
