"""Carrying out a plan: stop some children, then start some, one at a time, then say so.

A plan (`state.Plan`) is made by `restarts`, `commands` and `termination`; here it is carried on whenever
something it waits for has happened. Rules: supervisor.erl, terminate_children/2, start_children/2, and
otp-semantics in docs/otp-conformance.md for what is ours.
"""

from __future__ import annotations

from msgspec.structs import replace

from supervisord_ng.core import child as life
from supervisord_ng.core.effects import Note, Reply, Report
from supervisord_ng.core.ends import ended_as_wanted
from supervisord_ng.core.intensity import in_window
from supervisord_ng.core.state import (
    ChildEnded,
    ChildState,
    Idle,
    Phase,
    Plan,
    Purpose,
    Standing,
    SupervisorState,
)
from supervisord_ng.core.turn import Turn
from supervisord_ng.model import names
from supervisord_ng.model.exits import ExitReason
from supervisord_ng.model.reports import Context, Decision, EventName
from supervisord_ng.model.spec import Restart, Strategy, WorkerSpec


def stop_next(turn: Turn, path: str) -> bool:
    """Deal with the next child to be stopped. False: it is not gone yet, wait."""
    supervisor = turn.supervisor(path)
    plan = supervisor.plan
    assert plan is not None
    if (plan.parallel or plan.brutal) and not plan.asked_all:
        for name in plan.stop:
            _order_end(turn, supervisor.children.get(name), plan)
        turn.update(path, plan=replace(plan, asked_all=True))
        return True
    name = plan.stop[plan.stop_at]
    child = supervisor.children.get(name)
    if child is not None and child.phase is not Phase.DOWN:
        _order_end(turn, child, plan)
        return False
    if child is not None:
        _settle_stopped(turn, path, child)
    plan = turn.supervisor(path).plan
    assert plan is not None
    turn.update(path, plan=replace(plan, stop_at=plan.stop_at + 1))
    return True


def _order_end(turn: Turn, child: ChildState | None, plan: Plan) -> None:
    """Tell a living child to end; one that is on its way into the world is told when it has arrived."""
    if child is None or child.phase is Phase.DOWN:
        return
    if plan.brutal:
        if not plan.asked_all:
            life.kill(turn, child)
    elif child.phase is not Phase.SPAWNING and not child.asked:
        life.ask_stop(turn, child)


def _settle_stopped(turn: Turn, path: str, child: ChildState) -> None:
    """A child that had to be stopped is gone: judge its end, consume its message, free its place."""
    supervisor = turn.supervisor(path)
    plan = supervisor.plan
    assert plan is not None
    if child.standing is Standing.UP or child.asked:
        assert child.last_exit is not None
        mailbox = tuple(
            m
            for m in supervisor.mailbox
            if not (isinstance(m, ChildEnded) and m.name == child.name)
        )
        if len(mailbox) != len(supervisor.mailbox):
            turn.update(path, mailbox=mailbox)
        turn.emit(
            Note(
                EventName.STOPPED,
                child.path,
                child.incarnation,
                kind=child.kind,
                reason=child.last_exit,
            )
        )
        if not plan.brutal and not ended_as_wanted(child, child.last_exit):
            _shutdown_error(turn, path, child, child.last_exit)
    simple = supervisor.spec.strategy is Strategy.SIMPLE_ONE_FOR_ONE
    never_ran = child.standing is Standing.DOWN and not child.asked
    still_to_come = plan.purpose is Purpose.RESTART and never_ran  # of a boot that is retried
    renewed = plan.purpose is Purpose.CALL and child.name in plan.start
    comes_back = still_to_come or renewed or plan.purpose is Purpose.RELOAD
    if child.removed or ((simple or child.spec.restart is Restart.TEMPORARY) and not comes_back):
        turn.remove_child(child.path)
        return
    turn.put_child(
        replace(
            child,
            standing=Standing.DOWN,
            offender=None,
            deadline=None,
            asked=False,
            counted=False,
            by_operator=plan.purpose is Purpose.CALL,
            idle=_idle_after_stop(child, plan),
        )
    )


def _idle_after_stop(child: ChildState, plan: Plan) -> Idle:
    """What `status` calls it now: about to be started again, or stopped, or what it was before."""
    was_idle = child.standing is Standing.DOWN and not child.asked
    if plan.purpose is Purpose.CALL:
        return Idle.STOPPED
    if plan.purpose is Purpose.EXIT:
        return child.idle if was_idle and child.idle is not Idle.WAITING else Idle.STOPPED
    return child.idle if was_idle and not is_autostarted(child) else Idle.WAITING


def _shutdown_error(turn: Turn, path: str, child: ChildState, reason: ExitReason) -> None:
    supervisor = turn.supervisor(path)
    plan = supervisor.plan
    assert plan is not None
    grouped = (
        supervisor.spec.strategy is Strategy.SIMPLE_ONE_FOR_ONE and plan.purpose is Purpose.EXIT
    )
    if grouped:  # reported together when all are gone, supervisor.erl, terminate_dynamic_children/1
        turn.update(path, plan=replace(plan, errors=(*plan.errors, reason)))
    else:
        report(
            turn,
            path,
            Context.SHUTDOWN_ERROR,
            child,
            reason,
            Decision.NONE,
            offender=child.incarnation,
        )


def report_grouped_errors(turn: Turn, path: str) -> None:
    """One shutdown_error for each distinct bad end of the instances, with their number."""
    supervisor = turn.supervisor(path)
    plan = supervisor.plan
    assert plan is not None
    template = supervisor.spec.children[0].name
    for reason in dict.fromkeys(plan.errors):
        turn.emit(
            Report(
                supervisor=path,
                context=Context.SHUTDOWN_ERROR,
                path=names.join(path, template),
                offender=None,
                retrying=False,
                reason=reason,
                decision=Decision.NONE,
                restarts_in_window=0,
                intensity=supervisor.spec.intensity,
                period_ns=supervisor.spec.period_ns,
                nb_children=plan.errors.count(reason),
            )
        )


def start_next(turn: Turn, path: str) -> bool:
    """Deal with the next child to be started. False: its start has not come to an end yet, wait."""
    supervisor = turn.supervisor(path)
    plan = supervisor.plan
    assert plan is not None
    child = supervisor.children.get(plan.start[plan.start_at])
    if child is None or child.standing is Standing.UP or not _wanted(child, plan):
        turn.update(path, plan=replace(plan, start_at=plan.start_at + 1))
        return True
    if child.phase is Phase.DOWN:
        life.start(turn, child, automatic=_is_automatic(supervisor, child, plan))
    return False


def _wanted(child: ChildState, plan: Plan) -> bool:
    """Whether a plan starts this child: `autostart = false` wants a person, or to have been running."""
    if child.removed:
        return False
    if child.by_operator and plan.purpose in (Purpose.BOOT, Purpose.RELOAD):
        return False  # it was told to stop, perhaps under a daemon before this one
    return plan.purpose is Purpose.CALL or is_autostarted(child) or child.idle is not Idle.STOPPED


def is_autostarted(child: ChildState) -> bool:
    """Whether the child is started without being asked for."""
    return not isinstance(child.spec, WorkerSpec) or child.spec.autostart


def _is_automatic(supervisor: SupervisorState, child: ChildState, plan: Plan) -> bool:
    """Whether this start is a restart that nobody ordered, for the count in `status`."""
    if plan.purpose is Purpose.BOOT:
        return supervisor.automatic and child.incarnation > 0
    return plan.purpose is Purpose.RESTART and child.incarnation > 0


def reply(turn: Turn, plan: Plan, code: str = "ok", reason: ExitReason | None = None) -> None:
    """Answer the operator whose call the plan carries out, if it is one."""
    call = plan.call
    if call is None:
        return
    child = turn.supervisor(call.path).children.get(call.name)
    running = child is not None and child.standing is Standing.UP
    turn.emit(
        Reply(
            request=call.request,
            code=code,
            incarnation=child.incarnation if child is not None and running else None,
            path=names.join(call.path, call.name),
            reason=reason,
        )
    )


def report(
    turn: Turn,
    path: str,
    context: Context,
    child: ChildState,
    reason: ExitReason,
    decision: Decision,
    *,
    offender: int | None,
    retrying: bool = False,
) -> None:
    """Make a supervisor report about `child`. supervisor.erl, report_error/4."""
    supervisor = turn.supervisor(path)
    spec = supervisor.spec
    turn.emit(
        Report(
            supervisor=path,
            context=context,
            path=child.path,
            offender=offender,
            retrying=retrying,
            reason=reason,
            decision=decision,
            restarts_in_window=in_window(supervisor.restarts, turn.now, spec.period_ns),
            intensity=spec.intensity,
            period_ns=spec.period_ns,
            incarnation=child.incarnation,
            supervisor_incarnation=supervisor.incarnation,
            beat_age_ns=child.beat_age,
        )
    )
