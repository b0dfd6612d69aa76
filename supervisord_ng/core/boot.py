"""Fresh states out of specifications: a supervisor before its first child is started, a child just added."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from supervisord_ng.core.effects import Note
from supervisord_ng.core.state import (
    ChildState,
    Downlink,
    Idle,
    Plan,
    Purpose,
    StartTree,
    SupervisorState,
)
from supervisord_ng.core.turn import Turn
from supervisord_ng.model import names
from supervisord_ng.model.reports import EventName
from supervisord_ng.model.spec import ChildSpec, RemoteSpec, Strategy, SupervisorSpec, WorkerSpec


def new_child(
    path: str, spec: ChildSpec, *, incarnation: int, dynamic: bool = False, restarts: int = 0
) -> ChildState:
    """A child that has not been started (in this life of its supervisor)."""
    waits = not isinstance(spec, WorkerSpec) or spec.autostart
    return ChildState(
        spec=spec,
        path=path,
        incarnation=incarnation,
        dynamic=dynamic,
        restarts=restarts,
        idle=Idle.WAITING if waits else Idle.STOPPED,
    )


def supervisors_of(
    spec: SupervisorSpec, path: str, incarnations: Mapping[str, int], retired: int
) -> dict[str, SupervisorState]:
    """All supervisors of a tree, none alive, parents first.

    Args:
        spec: the top of the tree.
        path: its path.
        incarnations: the last incarnation number ever used, by path of a child.
        retired: a number below which none may be used, where `incarnations` knows nothing.
    """
    found: dict[str, SupervisorState] = {}
    waiting = [(path, spec)]
    while waiting:
        here, supervisor = waiting.pop(0)
        children = _fresh_children(supervisor, here, {}, incarnations, retired)
        found[here] = SupervisorState(
            spec=supervisor, path=here, children=children, retired=retired
        )
        waiting += [
            (names.join(here, child.name), child)
            for child in supervisor.children
            if isinstance(child, SupervisorSpec)
        ]
    return found


def downlinks_of(supervisors: Mapping[str, SupervisorState]) -> dict[str, Downlink]:
    """A link for each remote child, none of them up."""
    return {
        child.name: Downlink(path=child.path, spec=child.spec)
        for supervisor in supervisors.values()
        for child in supervisor.children.values()
        if isinstance(child.spec, RemoteSpec)
    }


def _fresh_children(
    spec: SupervisorSpec,
    path: str,
    before: Mapping[str, ChildState],
    incarnations: Mapping[str, int],
    retired: int,
) -> dict[str, ChildState]:
    """The children that the specification names, as before their first start; none for a template."""
    if spec.strategy is Strategy.SIMPLE_ONE_FOR_ONE:
        return {}
    children = {}
    for child in spec.children:
        child_path = names.join(path, child.name)
        old = before.get(child.name)
        last = old.last_number if old is not None else incarnations.get(child_path, retired)
        restarts = old.restarts if old is not None else 0
        children[child.name] = new_child(child_path, child, incarnation=last, restarts=restarts)
    return children


def start_tree(turn: Turn, order: StartTree) -> None:
    """Boot a supervisor: forget dynamic children, history and who was stopped, then start all in order.

    supervisor.erl, init/1: a restart of a supervisor is a fresh start from its specifications.
    """
    supervisor = turn.supervisor(order.path)
    assert not supervisor.alive, order.path
    before = supervisor.children
    kept = {child.name for child in supervisor.spec.children}
    for child in list(before.values()):
        if child.name not in kept or supervisor.spec.strategy is Strategy.SIMPLE_ONE_FOR_ONE:
            turn.remove_child(child.path)
    retired = turn.supervisor(order.path).retired
    children = _fresh_children(supervisor.spec, order.path, before, {}, retired)
    stopped = turn.take_stopped(order.path)
    for name in stopped & children.keys():
        children[name] = replace(children[name], idle=Idle.STOPPED, by_operator=True)
    turn.set_children(order.path, children)
    for child in children.values():
        ensure_supervisors(turn, child, retired)
    turn.update(
        order.path,
        incarnation=order.incarnation,
        alive=True,
        booted=False,
        automatic=order.automatic,
        restarts=(),
        plan=Plan(Purpose.BOOT, start=tuple(children)),
    )
    if order.path == turn.root:
        turn.change(life=f"{turn.node.boot}.{order.incarnation}", ended=None)
    turn.emit(Note(EventName.STARTING, order.path, order.incarnation, kind="supervisor"))


def add_child(turn: Turn, path: str, spec: ChildSpec, *, used: int = 0) -> None:
    """Put a child that is added at run time at the end of the start order, not started.

    `used` is the last incarnation number that it ever had.
    """
    retired = max(turn.supervisor(path).retired, used)
    child_path = names.join(path, spec.name)
    child = new_child(child_path, spec, incarnation=retired, dynamic=True)
    turn.put_child(child)
    ensure_supervisors(turn, child, retired)


def ensure_supervisors(turn: Turn, child: ChildState, retired: int) -> None:
    """A supervisor below that was forgotten (a temporary one), or is new, gets its states."""
    if isinstance(child.spec, SupervisorSpec) and child.path not in turn.supervisors:
        for supervisor in supervisors_of(child.spec, child.path, {}, retired).values():
            turn.add(supervisor)
