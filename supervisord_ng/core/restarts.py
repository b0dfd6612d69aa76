"""What a supervisor does when a child ended by itself or could not be started: the decisions of OTP.

supervisor.erl: do_restart/3 (which ends are restarted), restart/2 (count, then act), add_restart/1, and the
handling of {try_again_restart, Id}. The order of duties is OTP's: report first, then count, then act; above
the limit report `shutdown`, then go down. Only plans are made here; `plans` carries them out.
"""

from __future__ import annotations

from msgspec.structs import replace

from supervisord_ng.core import intensity, plans, reload, strategy, termination
from supervisord_ng.core.backoff import delay_ns
from supervisord_ng.core.effects import Note
from supervisord_ng.core.state import (
    ChildEnded,
    ChildState,
    Idle,
    Plan,
    Purpose,
    Reconcile,
    Retry,
    Standing,
)
from supervisord_ng.core.turn import Turn
from supervisord_ng.model.exits import REACHED_MAX_RESTART_INTENSITY, SHUTDOWN, ExitReason
from supervisord_ng.model.reports import Context, Decision, EventName
from supervisord_ng.model.spec import (
    AutoShutdown,
    Backoff,
    Restart,
    StartFailure,
    Strategy,
    WorkerSpec,
)


def child_ended(turn: Turn, path: str, message: ChildEnded) -> None:
    """A child ended by itself. otp: section "restart type" of supervisor(3); supervisor.erl, do_restart/3."""
    child = turn.supervisor(path).children.get(message.name)
    if (
        child is None
        or child.standing is not Standing.UP
        or child.incarnation != message.incarnation
    ):
        return  # a stop has consumed its end, or it is a stranger by now
    if is_restarted(child, message.reason):
        _restart(turn, path, child, message.reason)
    else:
        _stays_down(turn, path, child, message.reason)


def is_restarted(child: ChildState, reason: ExitReason) -> bool:
    """Whether this end calls for a restart: permanent always, transient after a crash, temporary never."""
    restart = child.spec.restart
    return restart is Restart.PERMANENT or (restart is Restart.TRANSIENT and reason.is_abnormal)


def _stays_down(turn: Turn, path: str, child: ChildState, reason: ExitReason) -> None:
    temporary = child.spec.restart is Restart.TEMPORARY
    decision = Decision.REMOVED if temporary else Decision.NONE
    if reason.is_abnormal:  # only a temporary child comes here with a crash
        plans.report(
            turn,
            path,
            Context.CHILD_TERMINATED,
            child,
            reason,
            Decision.REMOVED,
            offender=child.incarnation,
        )
    _note_end(turn, child, reason, decision)
    simple = turn.supervisor(path).spec.strategy is Strategy.SIMPLE_ONE_FOR_ONE
    if temporary or simple:
        turn.remove_child(child.path)
    else:
        turn.put_child(replace(child, standing=Standing.DOWN, offender=None, idle=Idle.EXITED))
    _auto_shutdown(turn, path, child)


def _auto_shutdown(turn: Turn, path: str, child: ChildState) -> None:
    """A significant child ended for good. EEP 56; supervisor.erl, do_auto_shutdown/2."""
    supervisor = turn.supervisor(path)
    if not child.spec.significant or supervisor.spec.auto_shutdown is AutoShutdown.NEVER:
        return
    others_left = any(
        other.spec.significant and other.standing is not Standing.DOWN
        for other in supervisor.children.values()
    )
    if supervisor.spec.auto_shutdown is AutoShutdown.ANY_SIGNIFICANT or not others_left:
        termination.begin_exit(turn, path, SHUTDOWN)


def _restart(turn: Turn, path: str, child: ChildState, reason: ExitReason) -> None:
    """The first restart after an end: report, count, act."""
    allowed = _count_restart(turn, path)
    decision = Decision.RESTART if allowed else Decision.GIVE_UP
    offender = child.incarnation
    plans.report(turn, path, Context.CHILD_TERMINATED, child, reason, decision, offender=offender)
    _note_end(turn, child, reason, decision)
    if not allowed:
        _give_up(turn, path, child, offender=offender, retrying=False)
        return
    backoff = _backoff(child)
    ran_ns = turn.now - (child.since if child.since is not None else turn.now)
    if backoff is not None and ran_ns >= backoff.reset_after_ns:
        child = replace(child, tries=0)
    delay = delay_ns(backoff, child.tries, turn.chance()) if backoff is not None else 0
    _note_restart(turn, path, child, delay)
    _begin_restart(turn, path, replace(child, tries=child.tries + 1), retrying=False, delay=delay)


def retry(turn: Turn, path: str, message: Retry) -> None:
    """The supervisor's own {try_again_restart, Id}: one more restart, counted like any other.

    It does nothing when the child is not waiting for it any more: stopped meanwhile, or started by the
    restart of an elder sibling.
    """
    child = turn.supervisor(path).children.get(message.name)
    if (
        child is None
        or child.standing is not Standing.RESTARTING
        or child.incarnation != message.incarnation
    ):
        return
    if child.counted:  # it only waited for its back-off
        _begin_restart(turn, path, replace(child, counted=False), retrying=False, delay=0)
    elif _count_restart(turn, path):
        _note_restart(turn, path, child, 0)
        _begin_restart(turn, path, child, retrying=True, delay=0)
    else:
        _give_up(turn, path, child, offender=child.offender, retrying=True)


def _count_restart(turn: Turn, path: str) -> bool:
    """Put a restart into the window; say whether the intensity allows it."""
    supervisor = turn.supervisor(path)
    spec = supervisor.spec
    restarts = intensity.add_restart(supervisor.restarts, turn.now, spec.period_ns, spec.intensity)
    turn.update(path, restarts=restarts)
    return intensity.is_allowed(restarts, spec.intensity)


def _begin_restart(turn: Turn, path: str, child: ChildState, *, retrying: bool, delay: int) -> None:
    """Plan the restart of `child` and of those its strategy restarts with it.

    The child's record goes on speaking of the old process (OTP's {restarting, OldPid}) until a new one is up.
    """
    supervisor = turn.supervisor(path)
    scope = strategy.scope(supervisor.spec.strategy, supervisor.children, child.name)
    turn.put_child(
        replace(
            child,
            standing=Standing.RESTARTING,
            deadline=None,
            idle=Idle.WAITING,
        )
    )
    others = tuple(name for name in scope if name != child.name)
    turn.update(
        path,
        plan=Plan(
            Purpose.RESTART,
            stop=tuple(reversed(others)),
            start=scope,
            child=child.name,
            retrying=retrying,
            delay_ns=delay,
        ),
    )


def _note_restart(turn: Turn, path: str, child: ChildState, delay: int) -> None:
    """Tell the event stream of a restart when it is counted; one that waited is not told again."""
    supervisor = turn.supervisor(path)
    spec = supervisor.spec
    scope = strategy.scope(spec.strategy, supervisor.children, child.name)
    turn.emit(
        Note(
            EventName.RESTARTING,
            child.path,
            child.incarnation,
            kind=child.kind,
            restarts_in_window=len(supervisor.restarts),  # it was counted just now
            intensity=spec.intensity,
            period_ns=spec.period_ns,
            delay_ns=delay or None,
            with_siblings=tuple(name for name in scope if name != child.name),
        )
    )


def pause(turn: Turn, path: str) -> None:
    """Everyone who had to stop has: now the back-off is waited for, and the supervisor is free meanwhile."""
    plan = turn.supervisor(path).plan
    assert plan is not None
    child = turn.supervisor(path).children[plan.child]
    turn.put_child(replace(child, deadline=turn.now + plan.delay_ns, counted=True))
    turn.update(path, plan=None)
    _keep_in_mind(turn, path, child, plan.start)


def start_failed(turn: Turn, path: str, name: str, reason: ExitReason) -> None:
    """The start that the plan waited for has failed. supervisor.erl, init_children/2 and restart/3."""
    supervisor = turn.supervisor(path)
    plan = supervisor.plan
    child = supervisor.children[name]
    turn.emit(
        Note(
            EventName.START_FAILED,
            child.path,
            child.incarnation,
            kind=child.kind,
            reason=reason,
        )
    )
    assert plan is not None
    if plan.purpose is Purpose.CALL:
        _call_failed(turn, path, child, plan, reason)
    elif plan.purpose is Purpose.RELOAD:
        reload.failed(turn, path, child, reason)
        turn.update(path, plan=replace(plan, start_at=plan.start_at + 1))
    elif plan.purpose is Purpose.EXIT:
        report_start_error(turn, path, child, reason, Decision.NONE)
        turn.put_child(replace(child, standing=Standing.DOWN, offender=None, idle=Idle.FAILED))
    elif plan.purpose is Purpose.BOOT and supervisor.spec.start_failure is StartFailure.GIVE_UP:
        report_start_error(turn, path, child, reason, Decision.GIVE_UP)
        termination.boot_failed(turn, path, name, reason)
    else:
        plans.reply(turn, plan, "start_failed", reason)  # to who hurried the restart, if so
        plan = replace(plan, call=None)
        turn.update(path, plan=plan)
        _try_again(turn, path, child, plan, reason)


def report_start_error(
    turn: Turn, path: str, child: ChildState, reason: ExitReason, decision: Decision
) -> None:
    """Report a failed start. Only a strategy that restarts one child alone speaks of the old process.

    supervisor.erl, restart/2: one_for_one hands start_child/2 the record with its old pid, the others start
    children whose pid is undefined by then.
    """
    supervisor = turn.supervisor(path)
    plan = supervisor.plan
    assert plan is not None
    alone = supervisor.spec.strategy in (Strategy.ONE_FOR_ONE, Strategy.SIMPLE_ONE_FOR_ONE)
    old = child.offender if alone and plan.purpose is Purpose.RESTART else None
    plans.report(
        turn,
        path,
        Context.START_ERROR,
        child,
        reason,
        decision,
        offender=old,
        retrying=old is not None and plan.retrying,
    )


def _try_again(turn: Turn, path: str, child: ChildState, plan: Plan, reason: ExitReason) -> None:
    """Keep the failed child for another attempt: at once, behind what has arrived, or after its back-off.

    OTP counts an attempt when it is made, which without a back-off is now. One that waits is counted before
    it waits, so that a supervisor that is to give up does not first wait for nothing.
    """
    backoff = _backoff(child)
    delay = delay_ns(backoff, child.tries, turn.chance()) if backoff is not None else 0
    allowed = not delay or _count_restart(turn, path)
    decision = Decision.RESTART if allowed else Decision.GIVE_UP
    report_start_error(turn, path, child, reason, decision)
    if not allowed:
        _give_up(turn, path, child, offender=child.offender, retrying=True)
        return
    if delay:
        _note_restart(turn, path, child, delay)
    turn.put_child(
        replace(
            child,
            standing=Standing.RESTARTING,
            tries=child.tries + 1,
            deadline=turn.now + delay if delay else None,
            counted=delay > 0,
            idle=Idle.WAITING,
        )
    )
    supervisor = turn.supervisor(path)
    first = supervisor.children.get(plan.child)
    if first is not None and first.name != child.name and first.standing is Standing.RESTARTING:
        # The retry is about the one that failed now; the one whose restart it was is just down.
        turn.put_child(replace(first, standing=Standing.DOWN, offender=None))
    if not delay:
        mailbox = (*supervisor.mailbox, Retry(child.name, child.incarnation))
        turn.update(path, mailbox=mailbox)
    if plan.purpose is Purpose.BOOT and supervisor.spec.strategy is Strategy.ONE_FOR_ONE:
        turn.update(path, plan=replace(plan, start_at=plan.start_at + 1))
    else:
        turn.update(path, plan=None)
        _keep_in_mind(turn, path, child, plan.start[plan.start_at + 1 :])


def _keep_in_mind(turn: Turn, path: str, child: ChildState, rest: tuple[str, ...]) -> None:
    """Mark those whom the plan would have started next and the retry of `child` does not come to.

    There are some only if the configuration has changed meanwhile: another strategy, or somebody new. A boot
    looks for them at its end.
    """
    supervisor = turn.supervisor(path)
    if not supervisor.booted:
        return
    scope = strategy.scope(supervisor.spec.strategy, supervisor.children, child.name)
    left = [supervisor.children[n] for n in rest if n in supervisor.children and n not in scope]
    for one in left:
        turn.put_child(replace(one, renew=True))
    if left:
        mailbox = turn.supervisor(path).mailbox
        turn.update(path, mailbox=(*mailbox, Reconcile()))


def _call_failed(turn: Turn, path: str, child: ChildState, plan: Plan, reason: ExitReason) -> None:
    """What an operator starts and fails makes no report and is not retried. supervisor(3), start_child/2."""
    assert plan.call is not None
    turn.update(path, plan=plan.resume)
    plans.reply(turn, plan, "start_failed", reason)
    simple = turn.supervisor(path).spec.strategy is Strategy.SIMPLE_ONE_FOR_ONE
    keeps_none = simple or child.spec.restart is Restart.TEMPORARY
    if plan.call.op == "start_child" or (plan.call.op == "renew_child" and keeps_none):
        turn.remove_child(child.path)
    else:
        turn.put_child(replace(child, standing=Standing.DOWN, offender=None, idle=Idle.FAILED))


def _give_up(
    turn: Turn, path: str, child: ChildState, *, offender: int | None, retrying: bool
) -> None:
    """Too many restarts: say so, stop the others, end. The parent decides what becomes of us."""
    supervisor = turn.supervisor(path)
    reason = REACHED_MAX_RESTART_INTENSITY
    plans.report(
        turn,
        path,
        Context.SHUTDOWN,
        child,
        reason,
        Decision.GIVE_UP,
        offender=offender,
        retrying=retrying,
    )
    last = child.last_exit.text if child.last_exit is not None else "unknown"
    turn.note_give_up(f"{path} gave up: {reason.text}, because of {child.path} ({last})")
    turn.emit(
        Note(
            EventName.GAVE_UP,
            path,
            supervisor.incarnation,
            kind="supervisor",
            reason=reason,
            decision=Decision.GIVE_UP,
            restarts_in_window=len(supervisor.restarts),
            intensity=supervisor.spec.intensity,
            period_ns=supervisor.spec.period_ns,
            with_siblings=(child.name,),
        )
    )
    turn.put_child(
        replace(child, standing=Standing.DOWN, offender=None, deadline=None, idle=Idle.EXITED)
    )
    termination.begin_exit(turn, path, SHUTDOWN)


def _note_end(turn: Turn, child: ChildState, reason: ExitReason, decision: Decision) -> None:
    """Tell the event stream that a child ended by itself."""
    event = EventName.CRASHED if reason.is_abnormal else EventName.EXITED
    if child.kind == "supervisor":
        return  # it has said so itself, with its reason
    turn.emit(
        Note(event, child.path, child.incarnation, pid=None, reason=reason, decision=decision)
    )


def _backoff(child: ChildState) -> Backoff | None:
    return child.spec.backoff if isinstance(child.spec, WorkerSpec) else None
