"""The naive model of the API: what an operator starts is not counted, not reported and not tried again.

supervisor.erl, handle_call/3.
"""

from __future__ import annotations

from msgspec.structs import replace

from supervisord_ng.model.spec import AutoShutdown, Restart, SupervisorSpec
from tests.core.model import Supervisor
from tests.core.model_nouns import Call, Child, StartFailedError


def handle(supervisor: Supervisor, call: Call) -> None:
    """What an operator starts is not counted, not reported and not tried again."""
    answer = _answer(supervisor, call)
    if answer is not None:
        supervisor.answer(call, answer)


def _answer(supervisor: Supervisor, call: Call) -> str | None:
    known = {child.spec.name: child for child in supervisor.children}
    child = known.get(call.name)
    match call.op:
        case "which_children":
            return " ".join(["ok", *[each.listed for each in reversed(supervisor.children)]])
        case "count_children":
            return f"ok {_counts(supervisor)}"
        case "start_child":
            return _start_child(supervisor, call, child)
        case _ if supervisor.simple and call.op not in ("terminate_child", "renew_child"):
            return "simple_one_for_one"
        case _ if child is None:
            return "not_found"
        case "terminate_child":
            supervisor.stop(child)
            return "ok"
        case "renew_child" if not child.restarting:
            supervisor.stop(child, renewed=True)
            temporary = child.spec.restart is Restart.TEMPORARY
            return _start(supervisor, child, keep=not (supervisor.simple or temporary))
        case _ if child.running is not None:
            return f"running {child.running.name}"
        case _ if child.restarting and not call.now and call.op != "renew_child":
            return "restarting"
        case "restart_child" | "renew_child" if (
            child.restarting and len(supervisor.scope(child)) > 1
        ):
            supervisor.restart(child, retrying=False, hurried=call)
            return None
        case "restart_child" | "renew_child":
            return _start(supervisor, child, keep=True)
        case _:
            supervisor.children.remove(child)
            return "ok"


def _start_child(supervisor: Supervisor, call: Call, child: Child | None) -> str:
    """handle_start_child/2."""
    if child is not None:
        running = child.running
        return "already_present" if running is None else f"already_started {running.name}"
    spec = supervisor.spec.children[0] if supervisor.simple else call.spec
    assert spec is not None
    if spec.significant and not supervisor.simple:
        never = supervisor.spec.auto_shutdown is AutoShutdown.NEVER
        if never or spec.restart is Restart.PERMANENT:
            why = "{auto_shutdown,never}" if never else "{restart,permanent}"
            return f"invalid {{bad_combination,[{why},{{significant,true}}]}}"
    new = Child(replace(spec, name=call.name), f"{supervisor.path}/{call.name}")
    supervisor.children.append(new)
    return _start(supervisor, new, keep=False)


def _start(supervisor: Supervisor, child: Child, *, keep: bool) -> str:
    """Start one child for an operator."""
    try:
        supervisor.start(child)
    except StartFailedError as failed:
        child.rests()
        if not keep:
            supervisor.children.remove(child)
        return f"start_failed {failed.reason.text}"
    return "ok" if child.pid is None else f"ok {child.pid.name}"


def _counts(supervisor: Supervisor) -> str:
    """count_children/1: specs, active, supervisors, workers."""
    active = [c for c in supervisor.children if c.running is not None and c.running.reason is None]
    supervisors = [c for c in supervisor.children if isinstance(c.spec, SupervisorSpec)]
    specs = 1 if supervisor.simple else len(supervisor.children)
    workers = len(supervisor.children) - len(supervisors)
    return f"{specs} {len(active)} {len(supervisors)} {workers}"
