"""One supervisor as a process: a mailbox, and a plan while it is busy.

Theory of operation. supervisor(3) is a sequential process: it handles one message at a time and handles
nothing while it starts or stops a child. Here the waiting is visible: a supervisor that waits has a `plan`,
and what arrives meanwhile stands in its `mailbox`, in order of arrival. `run` carries the plan on as far as it
goes, then takes the next message, until it waits again or has nothing to do. Three things do not wait in the
mailbox: what becomes of the child that the plan waits for, the parent's order to stop, which cuts everything
short, and an operator's call or a reload while a slow start is waited for.
"""

from __future__ import annotations

from msgspec.structs import replace

from supervisord_ng.core import boot, commands, plans, reload, restarts, termination
from supervisord_ng.core.effects import Note, Reply, TreeUp
from supervisord_ng.core.events import BecameReady, Call
from supervisord_ng.core.state import (
    ChildEnded,
    ChildGone,
    ChildStarted,
    ChildStartFailed,
    Idle,
    KillTree,
    Message,
    Order,
    Outcome,
    ParentStop,
    Phase,
    Plan,
    Purpose,
    Reconcile,
    Retry,
    Standing,
    StartTree,
    StopTree,
    SupervisorState,
)
from supervisord_ng.core.turn import Turn
from supervisord_ng.model import names
from supervisord_ng.model.reports import EventName
from supervisord_ng.model.spec import Restart, Strategy


def obey(turn: Turn, order: Order) -> None:
    """An order of the parent has arrived."""
    match order:
        case StartTree():
            boot.start_tree(turn, order)
        case StopTree():
            termination.asked_by_parent(turn, order.path, order.reason)
        case KillTree():
            termination.killed(turn, order.path)
    run(turn, order.path)


def hear(turn: Turn, outcome: Outcome) -> None:
    """A child's start has come to an end, or the child itself has."""
    match outcome:
        case ChildStarted():
            _child_started(turn, outcome)
        case ChildStartFailed():
            _child_start_failed(turn, outcome)
        case ChildGone():
            _child_gone(turn, outcome)
    run(turn, outcome.path)


def receive(turn: Turn, path: str, message: Message) -> None:
    """Put a message into the mailbox; it is handled at once if nothing is before it."""
    supervisor = turn.supervisor(path)
    if not supervisor.alive:
        if isinstance(message, Call):
            turn.emit(Reply(message.request, "noproc", path=path))
        return
    if isinstance(message, Call) and _waits_for_readiness(turn, path):
        _interrupt(turn, path, message)
    elif isinstance(message, Reconcile) and _waits_for_readiness(turn, path):
        reload.reconcile(turn, path)
    else:
        turn.update(path, mailbox=(*supervisor.mailbox, message))
    run(turn, path)


def suspend(turn: Turn, path: str, *, suspended: bool) -> None:
    """Make the supervisor deaf, or let it hear again. sys(3), suspend/1 and resume/1."""
    if turn.supervisor(path).alive:
        turn.update(path, suspended=suspended)
        run(turn, path)


def worker_exists(turn: Turn, path: str) -> None:
    """A worker has come into the world, ready or not.

    Its supervisor may want its end by now; and whoever further up waits for it has begun to wait, so that calls
    need not any more.
    """
    while supervisor := names.parent(path):
        run(turn, supervisor)
        path = supervisor


def run(turn: Turn, path: str) -> None:
    """Carry the plan on until it has to wait, then take the next message, until there is nothing to do."""
    while path in turn.supervisors:
        supervisor = turn.supervisor(path)
        plan = supervisor.plan
        if plan is None:
            if not supervisor.alive or supervisor.suspended:
                return
            if not supervisor.mailbox:
                if _boot_is_stuck(supervisor):
                    _go_on_booting(turn, path)
                    continue
                return
            turn.update(path, mailbox=supervisor.mailbox[1:])
            _handle(turn, path, supervisor.mailbox[0])
        elif plan.stop_at < len(plan.stop):
            if not plans.stop_next(turn, path):
                return
        elif plan.delay_ns:
            restarts.pause(turn, path)
        elif plan.start_at < len(plan.start):
            if not plans.start_next(turn, path) and not _let_a_call_in(turn, path):
                return
        else:
            _finish(turn, path)


def _boot_is_stuck(supervisor: SupervisorState) -> bool:
    """Whether the boot waited for the retry of a child that an operator has stopped meanwhile."""
    return not supervisor.booted and all(
        child.standing is not Standing.RESTARTING for child in supervisor.children.values()
    )


def _go_on_booting(turn: Turn, path: str) -> None:
    """Start those whose turn has not come yet; who ended or was stopped meanwhile stays so."""
    turn.update(path, plan=Plan(Purpose.BOOT, start=_waiting(turn.supervisor(path))))


def _waiting(supervisor: SupervisorState) -> tuple[str, ...]:
    """Those whose turn has not come yet."""
    return tuple(
        child.name
        for child in supervisor.children.values()
        if child.idle is Idle.WAITING and child.standing is Standing.DOWN
    )


def _handle(turn: Turn, path: str, message: Message) -> None:
    match message:
        case ChildEnded():
            restarts.child_ended(turn, path, message)
        case Retry():
            restarts.retry(turn, path, message)
        case ParentStop():
            termination.asked_by_parent(turn, path, message.reason)
        case Reconcile():
            reload.reconcile(turn, path)
        case Call():
            commands.handle(turn, path, message)


def _finish(turn: Turn, path: str) -> None:
    """The plan is carried out: say so to whoever waits for it."""
    supervisor = turn.supervisor(path)
    plan = supervisor.plan
    assert plan is not None
    if plan.purpose is Purpose.EXIT:
        termination.finish_exit(turn, path)
        return
    turn.update(path, plan=plan.resume)
    plans.reply(turn, plan)
    if plan.purpose is Purpose.RELOAD:
        reload.settled(turn, path)
    elif plan.purpose is not Purpose.CALL and not supervisor.booted:
        if plan.purpose is Purpose.RESTART and _waiting(supervisor):
            _go_on_booting(turn, path)  # a reload has put them before who was tried again
        else:
            _announce_started(turn, path)


def _announce_started(turn: Turn, path: str) -> None:
    supervisor = turn.supervisor(path)
    turn.update(path, booted=True)
    turn.emit(Note(EventName.STARTED, path, supervisor.incarnation, kind="supervisor"))
    if path != turn.root:
        turn.inbox.append(BecameReady(path, supervisor.incarnation))
    elif not turn.node.up_announced:
        turn.change(up_announced=True)
        turn.emit(TreeUp())


# --- what becomes of children --------------------------------------------------------------------
def _child_started(turn: Turn, outcome: ChildStarted) -> None:
    supervisor = turn.supervisor(outcome.path)
    child = supervisor.children[outcome.name]
    if not outcome.ignored:
        turn.put_child(replace(child, standing=Standing.UP, offender=child.incarnation))
        _answer_hurried(turn, outcome)
        return
    # OTP keeps the specification of a child that had nothing to start, but for temporary ones.
    simple = supervisor.spec.strategy is Strategy.SIMPLE_ONE_FOR_ONE
    if simple or child.spec.restart is Restart.TEMPORARY:
        turn.remove_child(child.path)
    else:
        turn.put_child(replace(child, standing=Standing.DOWN, offender=None, idle=Idle.EXITED))
    plan = supervisor.plan
    assert plan is not None, "a child starts only by a plan"
    turn.update(outcome.path, plan=_without(plan, outcome.name))


def _answer_hurried(turn: Turn, outcome: ChildStarted) -> None:
    """Who hurried a pending restart is answered when the child is up, not when its siblings are."""
    plan = turn.supervisor(outcome.path).plan
    call = None if plan is None or plan.purpose is not Purpose.RESTART else plan.call
    if plan is not None and call is not None and call.name == outcome.name:
        plans.reply(turn, plan)
        turn.update(outcome.path, plan=replace(plan, call=None))


def _without(plan: Plan, name: str) -> Plan:
    """The plan after the start of `name`, also where a call has interrupted it."""
    if plan.start_at < len(plan.start) and plan.start[plan.start_at] == name:
        return replace(plan, start_at=plan.start_at + 1)
    if plan.resume is not None:
        return replace(plan, resume=_without(plan.resume, name))
    return plan


def _child_start_failed(turn: Turn, outcome: ChildStartFailed) -> None:
    """The failure belongs to the plan that started the child, also when others have interrupted it."""
    path = outcome.path
    plan = turn.supervisor(path).plan
    assert plan is not None, "a child starts only by a plan"
    above: list[Plan] = []
    while plan.resume is not None and not _starts(plan, outcome.name):
        above.insert(0, plan)
        plan = plan.resume
    turn.update(path, plan=plan)
    restarts.start_failed(turn, path, outcome.name, outcome.reason)
    beneath = turn.supervisor(path).plan
    for interrupting in above:
        if beneath is not None and beneath.purpose is Purpose.EXIT:
            plans.reply(turn, interrupting, "shutdown")
        else:
            beneath = replace(interrupting, resume=beneath)
            turn.update(path, plan=beneath)


def _starts(plan: Plan, name: str) -> bool:
    """Whether it is this plan, which has interrupted another, that has started the child."""
    if plan.call is not None:
        return plan.call.name == name
    return plan.stop_at == len(plan.stop) and plan.start[plan.start_at : plan.start_at + 1] == (
        name,
    )


def _child_gone(turn: Turn, outcome: ChildGone) -> None:
    """An end that was asked for belongs to the plan that waits for it; any other is a message.

    A stop that met the child dead in this very step has dealt with its end already.
    """
    supervisor = turn.supervisor(outcome.path)
    child = supervisor.children.get(outcome.name)
    if child is None or child.incarnation != outcome.incarnation:
        return
    if child.standing is Standing.UP and not child.asked:
        message = ChildEnded(outcome.name, outcome.incarnation, outcome.reason)
        if supervisor.plan is None and not supervisor.mailbox and not supervisor.suspended:
            restarts.child_ended(turn, outcome.path, message)
        else:
            turn.update(outcome.path, mailbox=(*supervisor.mailbox, message))


_SLOW = (Purpose.BOOT, Purpose.RESTART, Purpose.RELOAD)


# --- calls that do not wait for a slow start -----------------------------------------------------
def _waits_for_readiness(turn: Turn, path: str) -> bool:
    supervisor = turn.supervisor(path)
    plan = supervisor.plan
    if plan is None or supervisor.suspended or plan.purpose not in _SLOW:
        return False
    if plan.stop_at < len(plan.stop) or plan.start_at >= len(plan.start):
        return False
    child = supervisor.children.get(plan.start[plan.start_at])
    return child is not None and child.phase is Phase.STARTING


def _waits_for_a_worker(turn: Turn, path: str) -> bool:
    """Whether it is a worker, its own or one further down, that is not ready: a start that takes its time."""
    while _waits_for_readiness(turn, path):
        supervisor = turn.supervisor(path)
        plan = supervisor.plan
        assert plan is not None
        child = supervisor.children[plan.start[plan.start_at]]
        if child.path not in turn.supervisors:
            return True
        path = child.path
    return False


def _let_a_call_in(turn: Turn, path: str) -> bool:
    """Handle the first call that was there before a slow start began to be waited for; False: there is none."""
    if not _waits_for_a_worker(turn, path):
        return False
    mailbox = turn.supervisor(path).mailbox
    for at, message in enumerate(mailbox):
        if isinstance(message, Call):
            turn.update(path, mailbox=(*mailbox[:at], *mailbox[at + 1 :]))
            _interrupt(turn, path, message)
            return True
    return False


def _interrupt(turn: Turn, path: str, call: Call) -> None:
    """Handle a call at once; the plan goes on when it is done, without what an operator stopped meanwhile."""
    beneath = turn.supervisor(path).plan
    assert beneath is not None
    commands.handle(turn, path, call)
    plan = turn.supervisor(path).plan
    assert plan is not None
    if plan is not beneath:
        if call.op in ("terminate_child", "renew_child"):
            rest = tuple(name for name in beneath.start[beneath.start_at :] if name != call.name)
            beneath = replace(beneath, start=rest, start_at=0)
        turn.update(path, plan=replace(plan, resume=beneath))
