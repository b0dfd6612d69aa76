"""A new daemon takes the tree up where an earlier one left it.

The state is made again from the specification and from what was remembered (`memory`), as if the daemon had
only been slow: workers run on under their incarnations, plans are carried on, windows are what they were. What
has happened meanwhile comes afterwards as ordinary events: the end of a process that is gone is an `Exited`,
late like any other, and its supervisor counts, reports and decides by the ordinary path.

The configuration may have changed as well. Who is new in it is started; whoever was forgotten for good (a
temporary child that ended, one that was deleted) stays so as long as the specification has not changed there.
Who is no longer in it is not in the state either: the shell ends what is left of that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec.structs import replace

from supervisord_ng.core import boot
from supervisord_ng.core import memory as remembered
from supervisord_ng.core import supervisor as process
from supervisord_ng.core.effects import TreeUp
from supervisord_ng.core.events import BecameReady, Disowned
from supervisord_ng.core.liveness import next_beat_by
from supervisord_ng.core.memory import Mail, Memory, SupervisorMemory
from supervisord_ng.core.reload import in_its_own_right
from supervisord_ng.core.state import (
    ChildState,
    ParentStop,
    Phase,
    Plan,
    Purpose,
    Reconcile,
    SupervisorState,
)
from supervisord_ng.core.turn import Turn
from supervisord_ng.limits import ADOPTION_GRACE_NS
from supervisord_ng.model import names
from supervisord_ng.model.instances import instance_of
from supervisord_ng.model.spec import ChildSpec, RemoteSpec, Strategy, SupervisorSpec, WorkerSpec

Children = dict[str, ChildState]
New = dict[str, tuple[str, ...]]


def supervisors_of(
    spec: SupervisorSpec, memory: Memory, used: Mapping[str, int]
) -> tuple[dict[str, SupervisorState], New]:
    """All supervisors as they were, parents first; who was not known is there and not alive.

    Args:
        spec: the root supervisor.
        memory: of the earlier daemon.
        used: the highest incarnation number that may have been used, by path of a child. It stands for what
            was remembered where that is a start that was on its way.

    Returns:
        The supervisors by path, and the names of the children that each of them has not known before.
    """
    found: dict[str, SupervisorState] = {}
    new: New = {}
    waiting = [(spec.name, spec)]
    while waiting:
        path, one = waiting.pop(0)
        was = memory.supervisors.get(path)
        if was is None:
            found |= boot.supervisors_of(one, path, used, 0)
            continue
        children, new[path] = _children(one, path, was, memory, used)
        if was.booted and was.strategy not in (None, one.strategy):
            children = {name: in_its_own_right(child) for name, child in children.items()}
        found[path] = SupervisorState(
            spec=one,
            path=path,
            children=children,
            incarnation=was.incarnation,
            alive=was.alive,
            booted=was.booted,
            automatic=was.automatic,
            restarts=was.restarts,
            retired=max((was.retired, *_of_forgotten(one, path, children, used))),
            plan=_plan(was.plan, children),
            mailbox=tuple(mail for mail in was.mailbox if _is_about(mail, children)),
        )
        waiting += [
            (child.path, child.spec)
            for child in children.values()
            if isinstance(child.spec, SupervisorSpec)
        ]
    return found, new


def carry_on(turn: Turn, new: New) -> None:
    """Let everyone go on with what they were doing, and start who is new."""
    for supervisor in list(turn.supervisors.values()):
        children = {child.name: _living_on(turn, child) for child in supervisor.children.values()}
        turn.set_children(supervisor.path, children)
        if supervisor.alive and any(child.renew for child in children.values()):
            turn.update(supervisor.path, mailbox=(*supervisor.mailbox, Reconcile()))
    for path, names_of_new in new.items():
        _want(turn, path, names_of_new)
    if turn.supervisor(turn.root).booted:
        turn.change(up_announced=True)
        turn.emit(TreeUp())
    for path in list(turn.supervisors):
        process.run(turn, path)


def disowned(turn: Turn, event: Disowned) -> None:
    """Numbers are used up: nobody else may get them."""
    child, above = turn.child(event.path), names.parent(event.path)
    if child is not None:
        turn.put_child(replace(child, used=max(child.used, event.incarnation)))
    elif above in turn.supervisors:
        retired = max(turn.supervisor(above).retired, event.incarnation)
        turn.update(above, retired=retired)


# --- children ------------------------------------------------------------------------------------
def _children(
    spec: SupervisorSpec,
    path: str,
    was: SupervisorMemory,
    memory: Memory,
    used: Mapping[str, int],
) -> tuple[Children, tuple[str, ...]]:
    """Those that the specification names, then the dynamic ones, as they were remembered; and who is new."""
    children: Children = {}
    new: list[str] = []
    for child in _candidates(spec, path, was, memory):
        child_path = names.join(path, child.name)
        known = memory.children.get(child_path)
        highest = used.get(child_path, 0)
        fresh = boot.new_child(child_path, child, incarnation=max(highest, was.retired))
        if known is None or known.kind != fresh.kind or child.name not in was.children:
            children[child.name] = fresh
            new.append(child.name)
        else:
            fields = remembered.fields_of(known)
            if known.phase is Phase.SPAWNING and child_path in used:
                fields |= {"incarnation": min(known.incarnation, highest), "used": highest}
            else:
                fields |= {"used": max(highest, known.used)}
            children[child.name] = replace(fresh, **fields)
    return children, tuple(new)


def _of_forgotten(
    spec: SupervisorSpec, path: str, children: Children, used: Mapping[str, int]
) -> Iterator[int]:
    """The numbers of those that a restart of their supervisor brings back."""
    for child in spec.children:
        if child.name not in children:
            below = names.join(path, child.name)
            yield from (n for at, n in used.items() if at == below or at.startswith(f"{below}/"))


def _candidates(
    spec: SupervisorSpec, path: str, was: SupervisorMemory, memory: Memory
) -> Iterator[ChildSpec]:
    simple = spec.strategy is Strategy.SIMPLE_ONE_FOR_ONE
    known = {name: memory.children[names.join(path, name)] for name in was.children}
    # Who was forgotten and added again by hand has another place than the file says, and its own specification.
    again = {name for name in was.named if name in known and known[name].dynamic}
    if not simple:
        for child in spec.children:
            is_new = child.name not in was.named
            if is_new or (child.name in was.children and child.name not in again):
                yield child
    others = again | (known.keys() - {child.name for child in spec.children})
    for name, it in known.items():
        if simple and it.dynamic:
            yield it.spec or instance_of(spec.children[0], name)
        elif it.dynamic and it.spec is not None and name in others:
            yield it.spec


def _living_on(turn: Turn, child: ChildState) -> ChildState:
    """The child in this daemon: what was on its way when the other one ended did not arrive."""
    spec, now = child.spec, turn.now
    if isinstance(spec, RemoteSpec):
        if child.phase is Phase.DOWN:
            return child
        return replace(child, phase=Phase.LOST, ready=True, asked=False, deadline=None)
    if child.phase is Phase.SPAWNING:
        # Whether it was started nobody knows. If so, and it runs, it is the answer to the next `Spawn`.
        return replace(child, phase=Phase.DOWN, asked=False, since=None)
    if not isinstance(spec, WorkerSpec):
        return child
    if child.phase is Phase.RUNNING:
        by = next_beat_by(child, now + ADOPTION_GRACE_NS)
        return replace(child, last_beat=None if by is None else now, deadline=by)
    if child.phase is Phase.STARTING:
        if spec.ready.kind == "exec":  # it is no longer asked for more
            turn.inbox.append(BecameReady(child.path, child.incarnation))
        return replace(child, deadline=now + spec.ready_timeout_ns)
    return child


# --- what supervisors are doing ------------------------------------------------------------------
def _plan(plan: Plan | None, children: Children) -> Plan | None:
    """The rest of a plan, without whom the configuration does not know any more."""
    if plan is None:
        return None
    known = plan.child in children
    return replace(
        plan,
        stop=tuple(name for name in plan.stop[plan.stop_at :] if name in children),
        start=tuple(name for name in plan.start[plan.start_at :] if name in children),
        stop_at=0,
        start_at=0,
        delay_ns=plan.delay_ns if known else 0,
        resume=_plan(plan.resume, children),
    )


def _is_about(mail: Mail, children: Children) -> bool:
    return isinstance(mail, ParentStop) or mail.name in children


def _want(turn: Turn, path: str, new: tuple[str, ...]) -> None:
    """Plan the start of children that their living supervisor has not known before."""
    supervisor = turn.supervisor(path)
    plan = supervisor.plan
    if not new or not supervisor.alive or (plan is not None and plan.purpose is Purpose.EXIT):
        return
    if supervisor.booted or plan is not None:  # else its boot waits for a retry, and finds them
        turn.update(path, plan=_with(plan, new))


def _with(plan: Plan | None, new: tuple[str, ...]) -> Plan:
    """The plan, and then the start of these."""
    if plan is None:
        return Plan(Purpose.RESTART, start=new, child=new[0])
    if plan.purpose is Purpose.CALL:
        return replace(plan, resume=_with(plan.resume, new))
    return replace(plan, start=(*plan.start, *new))
