"""What of a node's state outlives its daemon: values to be written down, and read by the next daemon.

Everything that decides what happens next is in it: who runs as which process, who is being stopped or waits
for a restart, the restart windows, what operators have stopped, which order of the node above was obeyed and
which life of each tree below was ours. What is not: signs of life, which begin anew; the links to other nodes,
which shake hands anew; who waits for an answer, whose connection is gone; and the specifications, because the
next daemon reads the configuration. Times are of the monotonic clock, so a memory means something during one
boot of the host only. Bringing it to life again is `resume`.

The next daemon may be of another version: fields may be added here, with defaults. Whoever changes what one
means raises `FORMAT`.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import Any

import msgspec
from msgspec.structs import replace

from supervisord_ng.core.state import (
    ChildEnded,
    ChildState,
    Idle,
    Kind,
    NodeState,
    ParentStop,
    Phase,
    Plan,
    Purpose,
    Retry,
    Standing,
    SupervisorState,
)
from supervisord_ng.model.exits import ExitReason
from supervisord_ng.model.spec import ChildSpec, Scalable, Strategy

FORMAT = 1
NOBODY = -1  # in place of the number of a request: who waited for its answer is gone

Mail = ChildEnded | Retry | ParentStop


class ChildMemory(msgspec.Struct, frozen=True, omit_defaults=True):
    """One child; fields mean what they mean in `ChildState`. `spec` is kept of dynamic children only."""

    kind: Kind
    standing: Standing = Standing.DOWN
    phase: Phase = Phase.DOWN
    incarnation: int = 0
    used: int = 0
    offender: int | None = None
    deadline: int | None = None
    pid: int | None = None
    birth: int = 0
    since: int | None = None
    ready: bool = False
    cause: ExitReason | None = None
    asked: bool = False
    beat_timeout: int | None = None
    idle: Idle = Idle.WAITING
    by_operator: bool = False
    last_exit: ExitReason | None = None
    restarts: int = 0
    tries: int = 0
    counted: bool = False
    dynamic: bool = False
    renew: bool = False
    life: str | None = None
    spec: ChildSpec | None = None


class SupervisorMemory(msgspec.Struct, frozen=True, omit_defaults=True):
    """One supervisor. `children` in start order; `named` are those that its specification named.

    `scaled` is the specification's: what an operator has said must outlive the daemon, and is in no file. So is
    `strategy`; None where an older version did not say.
    """

    children: tuple[str, ...] = ()
    named: tuple[str, ...] = ()
    scaled: tuple[tuple[str, int, int], ...] = ()
    incarnation: int = 0
    alive: bool = False
    booted: bool = False
    automatic: bool = False
    restarts: tuple[int, ...] = ()
    plan: Plan | None = None
    mailbox: tuple[Mail, ...] = ()
    retired: int = 0
    strategy: Strategy | None = None


class NodeMemory(msgspec.Struct, frozen=True, omit_defaults=True):
    """The node but for its tree. `tenure` and `generation`: which order of the node above was obeyed last."""

    root: str
    stop_asked: bool = False
    halted: bool = False
    life: str | None = None
    ended: ExitReason | None = None
    chain: tuple[str, ...] = ()
    boot: str | None = None
    tenure: str | None = None
    generation: int = 0


class Memory(msgspec.Struct, frozen=True):
    """All of it; the keys are paths."""

    node: NodeMemory
    supervisors: dict[str, SupervisorMemory]
    children: dict[str, ChildMemory]

    def stopped(self) -> frozenset[str]:
        """The paths of those that an operator has stopped."""
        return frozenset(path for path, child in self.children.items() if child.by_operator)

    def scales(self, scalable: Mapping[str, Scalable]) -> dict[str, int]:
        """How many instances operators want, of workers of which the file still says the same number."""
        return {
            name: count
            for supervisor in self.supervisors.values()
            for name, in_file, count in supervisor.scaled
            if name in scalable and scalable[name].count == in_file
        }

    def is_of_a_life(self, *, has_parent: bool) -> bool:
        """Whether there is something to go on with.

        A tree that was being stopped, or was giving up with nobody above to decide what follows, starts anew.
        """
        if self.node.halted or self.node.stop_asked:
            return False
        root = self.supervisors.get(self.node.root)
        if root is None:
            return False
        leaves = root.plan is not None and root.plan.purpose is Purpose.EXIT
        return has_parent or (root.alive and not leaves)


_CHILD = tuple(name for name in ChildMemory.__struct_fields__ if name not in ("kind", "spec"))
_SUPERVISOR = ("incarnation", "alive", "booted", "automatic", "restarts", "retired")
_OF_UPLINK = ("tenure", "generation")
_NODE = tuple(name for name in NodeMemory.__struct_fields__ if name not in _OF_UPLINK)
_own_fields = attrgetter(*_NODE)


def is_same(state: NodeState, other: NodeState) -> bool:
    """Whether nothing differs that is remembered; quick, and False at times where nothing does."""
    if state.supervisors is not other.supervisors or _own_fields(state) != _own_fields(other):
        return False
    return state.uplink is other.uplink or of_node(state) == of_node(other)


def of_node(state: NodeState) -> NodeMemory:
    """What is remembered of the node itself."""
    fields = {name: getattr(state, name) for name in _NODE}
    if state.uplink is not None:
        fields |= {name: getattr(state.uplink, name) for name in _OF_UPLINK}
    return NodeMemory(**fields)


def of_supervisor(supervisor: SupervisorState) -> SupervisorMemory:
    """What is remembered of a supervisor."""
    return SupervisorMemory(
        children=tuple(supervisor.children),
        named=tuple(child.name for child in supervisor.spec.children),
        scaled=supervisor.spec.scaled,
        strategy=supervisor.spec.strategy,
        plan=_without_caller(supervisor.plan),
        mailbox=tuple(mail for mail in supervisor.mailbox if isinstance(mail, Mail)),
        **{name: getattr(supervisor, name) for name in _SUPERVISOR},
    )


def of_child(child: ChildState) -> ChildMemory:
    """What is remembered of a child."""
    memory = ChildMemory(
        kind=child.kind,
        spec=child.spec if child.dynamic else None,
        **{name: getattr(child, name) for name in _CHILD},
    )
    # Until when it has to beat changes with every beat, and begins anew.
    return replace(memory, deadline=None) if child.phase is Phase.RUNNING else memory


def of(state: NodeState) -> Memory:
    """What is remembered of all."""
    return Memory(
        node=of_node(state),
        supervisors={path: of_supervisor(one) for path, one in state.supervisors.items()},
        children={
            child.path: of_child(child)
            for supervisor in state.supervisors.values()
            for child in supervisor.children.values()
        },
    )


def fields_of(child: ChildMemory) -> dict[str, Any]:
    """The fields of a `ChildState` that were remembered, by name."""
    return {name: getattr(child, name) for name in _CHILD}


def _without_caller(plan: Plan | None) -> Plan | None:
    """A plan of which nobody waits to hear. The specification that a call brought is in its child."""
    if plan is None:
        return None
    call = None if plan.call is None else replace(plan.call, request=NOBODY, spec=None)
    return replace(plan, call=call, resume=_without_caller(plan.resume))
