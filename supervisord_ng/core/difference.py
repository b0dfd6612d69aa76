"""What a reload would do, asked beforehand, and what no reload can do.

The answer is not a second opinion: it is the reload itself, on a copy of the state, up to the first act. So
what is foretold here and what `core.reload` does cannot differ. Which keys differ, and in which words, is for
the callers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum

import msgspec

from supervisord_ng.core import strategy
from supervisord_ng.core.events import Reload
from supervisord_ng.core.reload import adopt, steps_of
from supervisord_ng.core.state import ChildState, NodeState, Phase, SupervisorState
from supervisord_ng.core.turn import Turn
from supervisord_ng.model import names
from supervisord_ng.model.spec import ChildSpec, Strategy, SupervisorSpec, WorkerSpec


class Act(StrEnum):
    """What becomes of a child."""

    ADD = "add"  # it is new, or was gone and comes back
    REMOVE = "remove"
    RESTART = "restart"  # it runs, and is stopped and started
    START = "start"  # it is down, and is started
    CHANGE = "change"  # nothing happens to its process


class Difference(msgspec.Struct, frozen=True):
    """One child and what becomes of it. `old` is None for a new one, `new` for one that goes.

    `because` are the siblings, or a supervisor above, with whom it is restarted though nothing that it runs
    has changed. `reordered` says that the children of a supervisor stand in another order.
    """

    path: str
    act: Act
    old: ChildSpec | None
    new: ChildSpec | None
    because: tuple[str, ...] = ()
    reordered: bool = False


class Refusal(msgspec.Struct, frozen=True):
    """A change that cannot be made while the tree runs, and why."""

    path: str
    why: str


def foresee(state: NodeState, spec: SupervisorSpec) -> tuple[Difference, ...]:
    """What a reload would change, in the order of the new tree. Requires that `refusals` has none."""
    turn = Turn(state, 0)
    adopt(turn, Reload(spec, 0))
    before, after = state.supervisors[state.root], turn.supervisor(state.root)
    found = []
    if _flags(before.spec) != _flags(after.spec) or _is_reordered(before, after):
        reordered = _is_reordered(before, after)
        root = Difference(state.root, Act.CHANGE, before.spec, after.spec, reordered=reordered)
        found.append(root)
    return (*found, *_below(state.supervisors, turn, state.root, None))


def _below(
    before: Mapping[str, SupervisorState], turn: Turn, path: str, above: Difference | None
) -> Iterator[Difference]:
    """The differences below the supervisor `path`, whose own fate is `above` if it has one."""
    after = turn.supervisor(path)
    steps = steps_of(after)
    known = before[path].children if path in before else {}
    for name, child in after.children.items():
        found = _of_child(after, known.get(name), child, steps.stop, above)
        inner = child.path in turn.supervisors
        if found is not None and inner:
            earlier = before.get(child.path)
            reordered = earlier is not None and _is_reordered(earlier, turn.supervisor(child.path))
            found = msgspec.structs.replace(found, reordered=reordered)
        elif inner and child.path in before and not child.removed:
            earlier, later = before[child.path], turn.supervisor(child.path)
            if _is_reordered(earlier, later):
                found = Difference(child.path, Act.CHANGE, earlier.spec, later.spec, reordered=True)
        if found is not None:
            yield found
        if inner:
            moved = found if found is not None and found.act is not Act.CHANGE else above
            yield from _below(before, turn, child.path, moved)


def _of_child(
    supervisor: SupervisorState,
    old: ChildState | None,
    child: ChildState,
    stop: tuple[str, ...],
    above: Difference | None,
) -> Difference | None:
    spec = child.spec
    if old is None:
        return Difference(child.path, Act.ADD, None, spec)
    if child.removed or (above is not None and above.act is Act.REMOVE):
        return Difference(child.path, Act.REMOVE, old.spec, None)
    if above is not None and above.act is Act.RESTART:
        if child.phase is Phase.DOWN:
            return None
        return Difference(child.path, Act.RESTART, old.spec, spec, (above.path,))
    if child.name in stop:
        culprits = () if child.renew else _culprits(supervisor, child.name)
        return Difference(child.path, Act.RESTART, old.spec, spec, culprits)
    if child.renew and not child.by_operator:
        return Difference(child.path, Act.START, old.spec, spec)
    if _flags(old.spec) != _flags(spec):
        return Difference(child.path, Act.CHANGE, old.spec, spec)
    return None


def _culprits(supervisor: SupervisorState, name: str) -> tuple[str, ...]:
    """The changed children with whom this one is restarted."""
    order = [child.name for child in supervisor.children.values() if not child.removed]
    return tuple(
        child.path
        for child in supervisor.children.values()
        if child.renew
        and not child.removed
        and child.phase is not Phase.DOWN
        and name in strategy.scope(supervisor.spec.strategy, order, child.name)
    )


def _flags(spec: ChildSpec) -> ChildSpec:
    """A specification without what has one of its own."""
    if isinstance(spec, SupervisorSpec):
        children = spec.children if spec.strategy is Strategy.SIMPLE_ONE_FOR_ONE else ()
        return msgspec.structs.replace(spec, children=children, scaled=())
    return spec


def _is_reordered(before: SupervisorState, after: SupervisorState) -> bool:
    """Whether those that stay stand in another order."""
    stays = [name for name, child in after.children.items() if not child.removed]
    return [name for name in stays if name in before.children] != [
        name for name in before.children if name in stays
    ]


# --- what cannot be ------------------------------------------------------------------------------
def refusals(state: NodeState, spec: SupervisorSpec) -> tuple[Refusal, ...]:
    """Changes that no reload can make, in the order of the new tree."""
    running = {child.name: child for child in _children(state)}
    return tuple(_refused(state, running, state.root, spec))


def _children(state: NodeState) -> Iterator[ChildState]:
    for supervisor in state.supervisors.values():
        yield from supervisor.children.values()


def _refused(
    state: NodeState, running: Mapping[str, ChildState], path: str, spec: SupervisorSpec
) -> Iterator[Refusal]:
    supervisor = state.supervisors.get(path)
    simple = spec.strategy is Strategy.SIMPLE_ONE_FOR_ONE
    if supervisor is not None:
        if simple != (supervisor.spec.strategy is Strategy.SIMPLE_ONE_FOR_ONE):
            why = f"its strategy cannot change from {supervisor.spec.strategy} to {spec.strategy}"
            yield Refusal(path, f"{why}: the children of the two are different things")
            return
        if simple and supervisor.spec.children[0].name != spec.children[0].name:
            old, new = supervisor.spec.children[0].name, spec.children[0].name
            yield Refusal(path, f"its template cannot change from {old} to {new}: rename neither")
            return
    if simple:
        return
    for child in spec.children:
        child_path = names.join(path, child.name)
        found = running.get(child.name)
        if found is not None and found.path != child_path:
            yield Refusal(child_path, _moved(found))
        elif found is not None and type(found.spec) is not type(child):
            yield Refusal(child_path, f"it is a {found.kind}, and cannot become a {_kind(child)}")
        if isinstance(child, SupervisorSpec):
            yield from _refused(state, running, child_path, child)


def _moved(found: ChildState) -> str:
    if found.dynamic:
        return f"{found.path}, which was added at run time, has this name (delete that first)"
    return (
        f"it cannot move from {found.path} while it is there: nothing may run twice"
        " (leave it out, reload, put it in, reload)"
    )


def _kind(spec: ChildSpec) -> str:
    if isinstance(spec, WorkerSpec):
        return "worker"
    return "supervisor" if isinstance(spec, SupervisorSpec) else "remote"
