"""A new specification for a running tree: who is marked, and what each supervisor makes of its marks.

Theory of operation. A reload is two things. First, within one step, every supervisor and child gets its new
specification, and what cannot be had by that alone is marked: `renew` for who has to be started, anew if it
runs, `removed` for who has to go. Then every supervisor that has marks gets the message `Reconcile` and acts
on them in its turn, by a plan like any other: it stops what goes and what is to be started anew, in reverse
start order and with those that its strategy restarts together, then starts in order. A supervisor that dies
before its turn loses nothing: it boots from its new specification.

supervisor.erl, code_change/3, has the first half: flags and specifications are replaced, pids are kept. OTP
leaves the second half to the operator: it starts nothing new, and keeps what is not specified any more.

What the file does not speak of is kept: children added at run time, and those that an operator has stopped.
A child that is gone though its specification is still there (a temporary one that ended, one that was
deleted) comes back only when a reload changes what it runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from msgspec.structs import replace

from supervisord_ng.core import boot, plans, strategy
from supervisord_ng.core.effects import FailedStart, Reconfigure, Reloaded
from supervisord_ng.core.events import Reload
from supervisord_ng.core.liveness import next_beat_by
from supervisord_ng.core.state import (
    ChildState,
    Idle,
    Phase,
    Plan,
    Purpose,
    Reconcile,
    Reloading,
    Standing,
    SupervisorState,
)
from supervisord_ng.core.turn import Turn
from supervisord_ng.model import names
from supervisord_ng.model.exits import ExitReason
from supervisord_ng.model.instances import instance_of
from supervisord_ng.model.spec import (
    ChildSpec,
    Strategy,
    SupervisorSpec,
    WorkerSpec,
)


class Steps(NamedTuple):
    """What a supervisor does about its marks: `stop` in the order of stopping, `start` in that of starting."""

    stop: tuple[str, ...]
    start: tuple[str, ...]


# --- the new specifications ----------------------------------------------------------------------
def adopt(turn: Turn, event: Reload) -> tuple[str, ...]:
    """Give everyone its new specification and mark who has to be started or to go. Touches no process.

    Returns:
        The supervisors that have to act on marks, parents first. Below one that is itself stopped and
        started by this nobody has to: it will boot from its new specification.
    """
    found: list[str] = []
    waiting = [(turn.root, event.spec, True)]
    while waiting:
        path, spec, acts = waiting.pop(0)
        _adopt_supervisor(turn, path, spec, event.incarnations)
        supervisor = turn.supervisor(path)
        steps = steps_of(supervisor)
        if not supervisor.alive:
            _forget_marks(turn, path)
        elif acts and any(child.renew or child.removed for child in supervisor.children.values()):
            found.append(path)
        for child in turn.supervisor(path).children.values():
            if isinstance(child.spec, SupervisorSpec) and not (child.removed or child.dynamic):
                lives_on = acts and child.name not in steps.stop and not child.renew
                waiting.append((child.path, child.spec, lives_on))
    return tuple(found)


def begin(turn: Turn, event: Reload) -> tuple[str, ...]:
    """Adopt the new tree and remember who has still to act on it; returns those."""
    waiting = adopt(turn, event)
    turn.change(reloads=(*turn.node.reloads, Reloading(event.request, waiting)))
    if not waiting:
        _answer(turn)
    return waiting


def _adopt_supervisor(
    turn: Turn, path: str, spec: SupervisorSpec, incarnations: Mapping[str, int]
) -> None:
    supervisor = turn.supervisor(path)
    restarts = supervisor.restarts
    if spec.intensity is not None:
        restarts = restarts[: spec.intensity]  # the next one within the period is one too many
    if spec.strategy is Strategy.SIMPLE_ONE_FOR_ONE:
        children = _new_instances(turn, supervisor, spec)
    else:
        children = _new_children(turn, supervisor, spec, incarnations)
    if supervisor.booted and spec.strategy is not supervisor.spec.strategy:
        children = {name: in_its_own_right(child) for name, child in children.items()}
    turn.set_children(path, children)
    turn.update(path, spec=spec, restarts=restarts)
    for child in children.values():
        boot.ensure_supervisors(turn, child, child.last_number)


def in_its_own_right(child: ChildState) -> ChildState:
    """Who was stopped for the restart of a sibling, to which the new strategy may not take it along."""
    stopped = child.phase is Phase.DOWN and child.standing is Standing.DOWN
    return replace(child, renew=True) if stopped and child.idle is Idle.WAITING else child


def _new_children(
    turn: Turn,
    supervisor: SupervisorState,
    spec: SupervisorSpec,
    incarnations: Mapping[str, int],
) -> dict[str, ChildState]:
    """The children in their new order; who is not specified any more stands behind whom it stood behind."""
    before = {child.name: child for child in supervisor.spec.children}
    order: list[ChildState] = []
    for wanted in spec.children:
        known = supervisor.children.get(wanted.name)
        old = before.get(wanted.name)
        if known is not None:
            order.append(_adopt_child(turn, known, wanted))
        elif old is None or _runs_otherwise(old, wanted):
            child_path = names.join(supervisor.path, wanted.name)
            used = max(supervisor.retired, incarnations.get(child_path, 0))
            new = boot.new_child(child_path, wanted, incarnation=used)
            order.append(replace(new, renew=supervisor.alive and plans.is_autostarted(new)))
    kept = {child.name for child in order}
    elder = ""
    for child in supervisor.children.values():
        if child.name not in kept:
            place = next((at + 1 for at, one in enumerate(order) if one.name == elder), 0)
            if child.dynamic:
                place = len(order)
            order.insert(place, child if child.dynamic else replace(child, removed=True))
        elder = child.name
    return {child.name: child for child in order}


def _new_instances(
    turn: Turn, supervisor: SupervisorState, spec: SupervisorSpec
) -> dict[str, ChildState]:
    """The instances of a template, each with the arguments it was started with."""
    old, new = supervisor.spec.children[0], spec.children[0]
    return {
        name: _adopt_child(
            turn, child, instance_of(new, name, _arguments(old, child.spec)), dynamic=True
        )
        for name, child in supervisor.children.items()
    }


def _arguments(template: ChildSpec, instance: ChildSpec) -> tuple[str, ...]:
    """What stands behind the template's command in that of its instance."""
    if not (isinstance(template, WorkerSpec) and isinstance(instance, WorkerSpec)):
        return ()
    return instance.launch.command[len(template.launch.command) :]


def _adopt_child(
    turn: Turn, child: ChildState, spec: ChildSpec, *, dynamic: bool = False
) -> ChildState:
    """The child by its new specification, marked if it has to be started because of it."""
    old = child.spec
    if child.removed:  # it was to go, and is on its way: it has to come back
        child = replace(child, renew=True)
    child = replace(child, spec=spec, dynamic=dynamic, removed=False)
    if old == spec or not (isinstance(old, WorkerSpec) and isinstance(spec, WorkerSpec)):
        return child
    if _has_to_start(child, old, spec):
        return replace(child, renew=True, idle=_waiting(child))
    turn.emit(Reconfigure(child.path, spec))
    if child.phase is Phase.RUNNING and old.heartbeat != spec.heartbeat:
        return _judged_anew(child, old, turn.now)
    if child.phase is Phase.STARTING and old.ready_timeout_ns != spec.ready_timeout_ns:
        assert child.since is not None
        return replace(child, deadline=child.since + spec.ready_timeout_ns)
    return child


def _waiting(child: ChildState) -> Idle:
    return Idle.WAITING if child.phase is Phase.DOWN else child.idle


def _has_to_start(child: ChildState, old: WorkerSpec, new: WorkerSpec) -> bool:
    """Whether only a start brings the new specification about. A pending restart will, by itself."""
    if child.phase is not Phase.DOWN:
        # What a start waits for is watched from its beginning.
        starts = child.phase in (Phase.SPAWNING, Phase.STARTING)
        return child.renew or _runs_otherwise(old, new) or (starts and old.ready != new.ready)
    if child.by_operator or child.standing is Standing.RESTARTING or not new.autostart:
        return False
    return child.renew or _runs_otherwise(old, new) or not old.autostart


def _runs_otherwise(old: ChildSpec, new: ChildSpec) -> bool:
    """Whether the process itself would be another: all that exec needs, and the keys about its output."""
    if not (isinstance(old, WorkerSpec) and isinstance(new, WorkerSpec)):
        return False
    return old.launch != new.launch


def _judged_anew(child: ChildState, old: WorkerSpec, now: int) -> ChildState:
    """A running worker under a new `heartbeat`.

    It goes on beating as it was told when it was started, so a longer time, or none, holds at once, a
    shorter one when it has been started again; and who was told nothing cannot be missed.
    """
    new = child.spec.heartbeat if isinstance(child.spec, WorkerSpec) else None
    told = child.beat_timeout
    if told is None:
        told = old.heartbeat.timeout_ns if old.heartbeat is not None else 0
    if new is None or told == 0:
        child = replace(child, beat_timeout=0)
    else:
        child = replace(child, beat_timeout=told if new.timeout_ns < told else None)
    child = replace(child, arrivals=None)
    return replace(child, deadline=next_beat_by(child, now))


def _forget_marks(turn: Turn, path: str) -> None:
    """Of a supervisor that is down nobody runs, so nobody has to be stopped."""
    for child in list(turn.supervisor(path).children.values()):
        if child.removed:
            turn.remove_child(child.path)
        elif child.renew:
            turn.put_child(replace(child, renew=False))


# --- acting on the marks -------------------------------------------------------------------------
def steps_of(supervisor: SupervisorState) -> Steps:
    """Whom the supervisor has to stop and to start because of its marks, by its strategy.

    A changed child takes its siblings along as its crash would (one_for_all, rest_for_one), but for those
    that an operator has stopped. A new child and one that goes take nobody along.
    """
    children = supervisor.children
    order = [name for name, child in children.items() if not child.removed]
    together: set[str] = set()
    for child in children.values():
        if child.renew and not child.removed and child.phase is not Phase.DOWN:
            together.update(strategy.scope(supervisor.spec.strategy, order, child.name))
    stop = [
        name
        for name, child in children.items()
        if child.removed or (name in together and not _is_at_rest(child))
    ]
    start = [
        name
        for name, child in children.items()
        if not child.removed and not child.by_operator and (child.renew or name in together)
    ]
    return Steps(tuple(reversed(stop)), tuple(start))


def _is_at_rest(child: ChildState) -> bool:
    return child.phase is Phase.DOWN and child.standing is Standing.DOWN


def reconcile(turn: Turn, path: str) -> None:
    """Plan what the marks ask for; what is interrupted by it goes on afterwards."""
    supervisor = turn.supervisor(path)
    beneath = supervisor.plan
    steps = steps_of(supervisor)
    start = steps.start
    if beneath is not None and beneath.purpose is Purpose.RELOAD:  # one plan does for both
        rest = beneath.start[beneath.start_at :]
        begun = tuple(name for name in rest[:1] if name not in steps.stop)
        wanted = {*rest, *start} - {*begun}
        start = begun + tuple(name for name in supervisor.children if name in wanted)
        beneath = beneath.resume
    elif beneath is not None:
        beneath, left = _left_to(beneath, supervisor, steps)
        start = tuple(name for name in start if name not in left)
    if not steps.stop and not start:
        turn.update(path, plan=beneath)
        settled(turn, path)
        return
    turn.update(path, plan=Plan(Purpose.RELOAD, stop=steps.stop, start=start, resume=beneath))


def _left_to(plan: Plan, supervisor: SupervisorState, steps: Steps) -> tuple[Plan, set[str]]:
    """The interrupted plan with those children that it comes to itself, and the names of these.

    Whom it has still to start it starts by the new specification. And whoever is started one after the other,
    each when the one before is ready, has to be started so in spite of a reload.
    """
    rest = plan.start[plan.start_at :]
    left = {name for name in steps.start if name in rest}
    if plan.purpose is Purpose.BOOT or len(plan.start) > 1:
        order = list(supervisor.children)
        after = order.index(rest[0]) if rest and rest[0] in supervisor.children else 0
        left |= {
            name for name in steps.start if order.index(name) > after and name not in steps.stop
        }
    later = {*rest[1:], *left} - {*rest[:1]}
    start = rest[:1] + tuple(name for name in supervisor.children if name in later)
    return replace(plan, start=start, start_at=0), left


def failed(turn: Turn, path: str, child: ChildState, reason: ExitReason) -> None:
    """A child that a reload wanted could not be started: it stays down, the reload goes on.

    What an operator starts is not counted as a restart, makes no report and is not tried again.
    """
    told = FailedStart(child.path, reason)
    turn.change(
        reloads=tuple(
            replace(one, failed=(*one.failed, told)) if path in one.waiting else one
            for one in turn.node.reloads
        )
    )
    turn.put_child(
        replace(child, standing=Standing.DOWN, offender=None, renew=False, idle=Idle.FAILED)
    )


def ended(turn: Turn, path: str) -> None:
    """This supervisor has ended, and nobody of its children is left: no mark of theirs means anything more."""
    _forget_marks(turn, path)
    settled(turn, path)


def settled(turn: Turn, path: str) -> None:
    """This supervisor has nothing more to do about a reload."""
    if not any(path in one.waiting for one in turn.node.reloads):
        return
    if any(isinstance(message, Reconcile) for message in turn.supervisor(path).mailbox):
        return  # a later reload will be done with the earlier
    turn.change(
        reloads=tuple(
            replace(one, waiting=tuple(other for other in one.waiting if other != path))
            for one in turn.node.reloads
        )
    )
    _answer(turn)


def _answer(turn: Turn) -> None:
    """Answer the reloads that nobody has to act on any more."""
    for one in turn.node.reloads:
        if not one.waiting:
            turn.emit(Reloaded(one.request, one.failed))
    turn.change(reloads=tuple(one for one in turn.node.reloads if one.waiting))
