"""How a supervisor ends: all children stopped in reverse start order, then its own exit.

It ends because its parent asks (supervisor.erl, terminate/2), because it gave up, because auto_shutdown says
so, because its boot failed, or because it was killed. An end takes precedence over whatever it was doing:
what OTP would make wait until a slow start is over, we cut short.
"""

from __future__ import annotations

from msgspec.structs import replace

from supervisord_ng.core import plans, reload, remote, uplink
from supervisord_ng.core.effects import Halt, Note, Reply
from supervisord_ng.core.events import Call, Exited
from supervisord_ng.core.state import Idle, ParentStop, Phase, Plan, Purpose, Standing
from supervisord_ng.core.turn import Turn
from supervisord_ng.model.exits import KILLED, ExitClass, ExitReason
from supervisord_ng.model.reports import EventName
from supervisord_ng.model.spec import StopOrder, Strategy


def asked_by_parent(turn: Turn, path: str, reason: ExitReason) -> None:
    """The parent's stop has arrived. A busy supervisor drops what it does; a suspended one notices later."""
    supervisor = turn.supervisor(path)
    if not supervisor.alive:
        return
    if supervisor.suspended:
        turn.update(path, mailbox=(*supervisor.mailbox, ParentStop(reason)))
    elif supervisor.plan is None or supervisor.plan.purpose is not Purpose.EXIT:
        begin_exit(turn, path, reason)


def begin_exit(turn: Turn, path: str, reason: ExitReason) -> None:
    """Plan the end: stop everyone in reverse start order, then exit with `reason`."""
    supervisor = turn.supervisor(path)
    if supervisor.plan is not None:
        plans.reply(turn, supervisor.plan, "shutdown")
    spec = supervisor.spec
    parallel = spec.strategy is Strategy.SIMPLE_ONE_FOR_ONE or spec.stop_order is StopOrder.PARALLEL
    order = tuple(reversed(supervisor.children))
    turn.update(path, plan=Plan(Purpose.EXIT, stop=order, parallel=parallel, reason=reason))


def killed(turn: Turn, path: str) -> None:
    """The supervisor dies untrappably; its children die of the broken link, all at once, unjudged."""
    supervisor = turn.supervisor(path)
    if not supervisor.alive or (supervisor.plan is not None and supervisor.plan.brutal):
        return
    if supervisor.plan is not None:
        plans.reply(turn, supervisor.plan, "noproc")
    order = tuple(reversed(supervisor.children))
    turn.update(
        path, suspended=False, plan=Plan(Purpose.EXIT, stop=order, brutal=True, reason=KILLED)
    )
    _note_exit(turn, path, KILLED)


def finish_exit(turn: Turn, path: str) -> None:
    """Nobody is left: answer who still waits, tell the parent. Emits Halt when it is the root."""
    supervisor = turn.supervisor(path)
    plan = supervisor.plan
    assert plan is not None
    assert plan.reason is not None
    assert all(child.phase is Phase.DOWN for child in supervisor.children.values())
    if plan.errors:
        plans.report_grouped_errors(turn, path)
    turn.update(
        path, alive=False, booted=False, plan=None, mailbox=(), suspended=False, restarts=()
    )
    reload.ended(turn, path)
    if not plan.brutal:
        _note_exit(turn, path, plan.reason)
    for message in supervisor.mailbox:
        if isinstance(message, Call):
            turn.emit(Reply(message.request, "noproc", reason=plan.reason))
    if path == turn.root:
        _root_ended(turn, plan.reason, booted=supervisor.booted)
    else:
        turn.inbox.append(Exited(path, supervisor.incarnation, plan.reason))


def _root_ended(turn: Turn, reason: ExitReason, *, booted: bool) -> None:
    """The top of the tree is gone. Where there is a node above, that decides what follows."""
    if not booted and not turn.node.stop_asked:
        incarnation = turn.supervisor(turn.root).incarnation
        turn.emit(
            Note(EventName.START_FAILED, turn.root, incarnation, kind="supervisor", reason=reason)
        )
    if turn.node.uplink is not None and not turn.node.stop_asked:
        turn.change(ended=reason)
    else:
        halt(turn, reason)


def halt(turn: Turn, reason: ExitReason) -> None:
    """The daemon has nothing more to do."""
    uplink.say_goodbye(turn)
    remote.say_goodbye(turn)
    turn.change(halted=True)
    turn.emit(Halt(reason, asked=turn.node.stop_asked, chain=turn.node.chain))


def _note_exit(turn: Turn, path: str, reason: ExitReason) -> None:
    incarnation = turn.supervisor(path).incarnation
    turn.emit(Note(EventName.EXITED, path, incarnation, kind="supervisor", reason=reason))


def boot_failed(turn: Turn, path: str, name: str, reason: ExitReason) -> None:
    """A child could not be started at boot: stop those that were, and fail. supervisor.erl, init_children/2."""
    child = turn.supervisor(path).children[name]
    turn.put_child(replace(child, standing=Standing.DOWN, offender=None, idle=Idle.FAILED))
    begin_exit(turn, path, failed_to_start_child(name, reason))


def failed_to_start_child(name: str, reason: ExitReason) -> ExitReason:
    """OTP's {shutdown, {failed_to_start_child, Name, Reason}}."""
    return ExitReason(ExitClass.SHUTDOWN_TERM, f"failed_to_start_child:{name}:{reason.text}")
