"""The calls of supervisor(3): start_child, terminate_child, restart_child, delete_child and so on.

A call is handled in its turn, like every message. What it starts is never counted as a restart, and its
failure makes no report and is not tried again. Refusals are OTP's words. supervisor.erl, handle_call/3.
"""

from __future__ import annotations

from typing import cast

from msgspec.structs import replace

from supervisord_ng.core import boot, strategy
from supervisord_ng.core.effects import ChildInfo, Counts, Reply
from supervisord_ng.core.events import Call
from supervisord_ng.core.state import ChildState, Phase, Plan, Purpose, Standing, SupervisorState
from supervisord_ng.core.turn import Turn
from supervisord_ng.model import names
from supervisord_ng.model.exits import abnormal
from supervisord_ng.model.instances import instance_of
from supervisord_ng.model.spec import AutoShutdown, ChildSpec, Restart, Strategy, SupervisorSpec


def handle(turn: Turn, path: str, call: Call) -> None:
    """Do what the call asks, or refuse it."""
    match call.op:
        case "start_child":
            _start_child(turn, path, call)
        case "terminate_child":
            _terminate_child(turn, path, call)
        case "restart_child":
            _restart_child(turn, path, call)
        case "renew_child":
            _renew_child(turn, path, call)
        case "delete_child":
            _delete_child(turn, path, call)
        case "which_children":
            _answer(turn, call, children=which_children(turn.supervisor(path)))
        case "count_children":
            _answer(turn, call, counts=count_children(turn.supervisor(path)))


def _answer(
    turn: Turn,
    call: Call,
    code: str = "ok",
    *,
    child: ChildState | None = None,
    children: tuple[ChildInfo, ...] | None = None,
    counts: Counts | None = None,
    why: str | None = None,
) -> None:
    turn.emit(
        Reply(
            request=call.request,
            code=code,
            incarnation=None if child is None else child.offender,
            path=names.join(call.path, call.name) if call.name else call.path,
            reason=None if why is None else abnormal(why),
            children=children,
            counts=counts,
        )
    )


def _start_child(turn: Turn, path: str, call: Call) -> None:
    supervisor = turn.supervisor(path)
    simple = supervisor.spec.strategy is Strategy.SIMPLE_ONE_FOR_ONE
    known = supervisor.children.get(call.name)
    if known is not None and _is_running(known):
        _answer(turn, call, "already_started", child=known)
        return
    if known is not None:
        _answer(turn, call, "already_present")
        return
    if simple:
        spec = instance_of(supervisor.spec.children[0], call.name, call.args)
    else:
        spec = cast("ChildSpec", call.spec)
    refused = None if simple else bad_combination(supervisor.spec, spec)
    if refused is not None:
        _answer(turn, call, "invalid", why=refused)
        return
    boot.add_child(turn, path, spec, used=call.used)
    turn.update(path, plan=Plan(Purpose.CALL, start=(call.name,), call=call))


def bad_combination(supervisor: SupervisorSpec, spec: ChildSpec) -> str | None:
    """OTP's refusal of a significant child that could never be significant. supervisor.erl, check_childspec."""
    if not spec.significant:
        return None
    if supervisor.auto_shutdown is AutoShutdown.NEVER:
        return "{bad_combination,[{auto_shutdown,never},{significant,true}]}"
    if spec.restart is Restart.PERMANENT:
        return "{bad_combination,[{restart,permanent},{significant,true}]}"
    return None


def _terminate_child(turn: Turn, path: str, call: Call) -> None:
    child = turn.supervisor(path).children.get(call.name)
    if child is None:
        _answer(turn, call, "not_found")
        return
    if call.incarnation is not None and call.incarnation not in (child.incarnation, child.offender):
        _answer(turn, call)  # that process is dead already, and its place was taken
        return
    turn.update(path, plan=Plan(Purpose.CALL, stop=(call.name,), call=call))


def _restart_child(turn: Turn, path: str, call: Call) -> None:
    child = _static_child(turn, path, call)
    if child is None:
        return
    if child.standing is Standing.RESTARTING:
        _hurry(turn, path, child, call)
    else:
        turn.update(path, plan=Plan(Purpose.CALL, start=(call.name,), call=call))


def _renew_child(turn: Turn, path: str, call: Call) -> None:
    child = turn.supervisor(path).children.get(call.name)
    if child is None:
        _answer(turn, call, "not_found")
    elif child.standing is Standing.RESTARTING and child.phase is Phase.DOWN:
        _hurry(turn, path, child, call)  # it is dead already
    else:
        name = (child.name,)
        turn.update(path, plan=Plan(Purpose.CALL, stop=name, start=name, call=call))


def _hurry(turn: Turn, path: str, child: ChildState, call: Call) -> None:
    """Carry out a pending restart now, as an operator means it who says `start`.

    Alone it is a start like any other; where others wait for it, it is the restart of all.
    """
    supervisor = turn.supervisor(path)
    scope: tuple[str, ...] = (child.name,)
    if (
        supervisor.plan is None
    ):  # else this call interrupts a plan that goes on with the others itself
        scope = strategy.scope(supervisor.spec.strategy, supervisor.children, child.name)
    alone = len(scope) == 1
    standing = Standing.DOWN if alone else Standing.RESTARTING
    offender = None if alone else child.offender
    turn.put_child(
        replace(child, standing=standing, offender=offender, deadline=None, counted=False)
    )
    purpose = Purpose.CALL if alone else Purpose.RESTART
    turn.update(path, plan=Plan(purpose, start=scope, child=child.name, call=call))


def _delete_child(turn: Turn, path: str, call: Call) -> None:
    child = _static_child(turn, path, call)
    if child is None:
        return
    _answer(turn, call)
    turn.remove_child(child.path)


def _static_child(turn: Turn, path: str, call: Call) -> ChildState | None:
    """The child of a restart_child or delete_child, None when the call has been refused."""
    supervisor = turn.supervisor(path)
    child = supervisor.children.get(call.name)
    if supervisor.spec.strategy is Strategy.SIMPLE_ONE_FOR_ONE:
        _answer(turn, call, "simple_one_for_one")
    elif child is None:
        _answer(turn, call, "not_found")
    elif _is_running(child):
        _answer(turn, call, "running", child=child)
    elif child.standing is Standing.RESTARTING and not call.now:
        _answer(turn, call, "restarting")
    else:
        return child
    return None


def _is_running(child: ChildState) -> bool:
    """Held for running, or on its way up while a call interrupts its slow start."""
    return child.standing is Standing.UP or child.phase is not Phase.DOWN


def which_children(supervisor: SupervisorState) -> tuple[ChildInfo, ...]:
    """The children as supervisor(3) lists them: last started first."""
    return tuple(
        ChildInfo(
            name=child.name,
            incarnation=child.offender if child.standing is Standing.UP else None,
            restarting=child.standing is Standing.RESTARTING,
            kind=child.kind,
        )
        for child in reversed(supervisor.children.values())
    )


def count_children(supervisor: SupervisorState) -> Counts:
    """supervisor(3), count_children/1. Active is who is held for running and really is alive.

    Of simple_one_for_one it is who is held for running; supervisor.erl does not look there.
    """
    children = supervisor.children.values()
    supervisors = sum(1 for child in children if child.kind == "supervisor")
    simple = supervisor.spec.strategy is Strategy.SIMPLE_ONE_FOR_ONE
    return Counts(
        specs=1 if simple else len(children),
        active=sum(
            1
            for c in children
            if c.standing is Standing.UP and (simple or c.phase is not Phase.DOWN)
        ),
        supervisors=supervisors,
        workers=len(children) - supervisors,
    )
