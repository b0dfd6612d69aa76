"""What holds in every reachable state. Run by the simulator, the model tests and `--assert`.

Says nothing about histories (nothing restarts too early, order of stops): those are the simulator's checkers.
"""

from __future__ import annotations

from supervisord_ng.core import intensity
from supervisord_ng.core.state import (
    ChildEnded,
    ChildState,
    NodeState,
    Phase,
    Purpose,
    Standing,
    SupervisorState,
)
from supervisord_ng.model import names
from supervisord_ng.model.spec import RemoteSpec, SupervisorSpec, WorkerSpec

_EXISTS = (Phase.STARTING, Phase.RUNNING, Phase.DUMPING, Phase.STOPPING, Phase.KILLING)


def check(state: NodeState) -> None:
    """Raise AssertionError, naming the place, when the state is one that must not be."""
    assert state.root in state.supervisors, "no root"
    assert state.halted <= (not state.supervisors[state.root].alive), "halted with a living root"
    for reload in state.reloads:
        assert reload.waiting, "a reload is done and not answered"
        for path in reload.waiting:
            assert state.supervisors[path].alive, f"{path}: dead, and a reload waits for it"
    for path, supervisor in state.supervisors.items():
        assert supervisor.path == path, path
        _check_place(state, supervisor)
        _check_supervisor(supervisor)
        for name, child in supervisor.children.items():
            assert name == child.spec.name, (path, name)
            assert child.path == names.join(path, name), child.path
            _check_child(state, supervisor, child)


def _check_place(state: NodeState, supervisor: SupervisorState) -> None:
    """Parent and child agree on whether the child supervisor is alive."""
    if supervisor.path == state.root:
        return
    above = state.supervisors.get(names.parent(supervisor.path))
    assert above is not None, f"{supervisor.path}: nobody above"
    record = above.children.get(names.leaf(supervisor.path))
    assert record is not None, f"{supervisor.path}: unknown above"
    assert supervisor.alive == (record.phase in _EXISTS), (supervisor.path, record.phase)
    if supervisor.alive:
        assert supervisor.incarnation == record.incarnation, supervisor.path
        # One that is deaf may come up after it was asked to end.
        assert supervisor.booted == record.ready or record.asked, supervisor.path


def _check_supervisor(supervisor: SupervisorState) -> None:
    where = supervisor.path
    plan = supervisor.plan
    deadlines = [c.deadline for c in supervisor.children.values() if c.deadline is not None]
    assert supervisor.waiting == len(deadlines), f"{where}: counts {supervisor.waiting} deadlines"
    if deadlines:
        assert supervisor.deadline is not None, f"{where}: a deadline of a child is forgotten"
        assert supervisor.deadline <= min(deadlines), f"{where}: would wake too late"
    else:
        assert supervisor.deadline is None, f"{where}: would wake for nothing"
    assert list(supervisor.restarts) == sorted(supervisor.restarts, reverse=True), where
    if not supervisor.alive:
        assert plan is None, f"{where}: dead and busy"
        assert not supervisor.mailbox, f"{where}: dead with mail"
        return
    if plan is None:
        assert supervisor.suspended or not supervisor.mailbox, f"{where}: idle with mail"
    else:
        assert 0 <= plan.stop_at <= len(plan.stop), where
        assert 0 <= plan.start_at <= len(plan.start), where
        assert (plan.purpose is Purpose.EXIT) == (plan.reason is not None), where
        assert plan.resume is None or plan.purpose in (Purpose.CALL, Purpose.RELOAD), where
    leaving = plan is not None and plan.purpose is Purpose.EXIT
    if not leaving:
        allowed = intensity.is_allowed(supervisor.restarts, supervisor.spec.intensity)
        assert allowed, f"{where}: beyond its intensity and still here"


def _check_child(state: NodeState, supervisor: SupervisorState, child: ChildState) -> None:
    where = f"{child.path} #{child.incarnation}"
    if child.phase is Phase.DOWN:
        assert child.pid is None, f"{where}: down with a pid"
        waits = child.deadline is not None
        assert not waits or child.standing is Standing.RESTARTING, f"{where}: down, what deadline?"
    else:
        assert supervisor.alive, f"{where}: alive below a dead supervisor"
        assert child.incarnation > 0, where
    if child.standing is Standing.UP:
        assert child.offender == child.incarnation, f"{where}: up as #{child.offender}"
        if child.phase is Phase.DOWN and not child.asked:
            told = any(
                isinstance(m, ChildEnded)
                and (m.name, m.incarnation) == (child.name, child.incarnation)
                for m in supervisor.mailbox
            )
            assert told, f"{where}: its end is forgotten"
    if child.phase in (Phase.SPAWNING, Phase.STARTING) and not isinstance(child.spec, RemoteSpec):
        assert child.standing is not Standing.UP, where
    if child.phase is Phase.DUMPING:
        assert child.deadline is not None, f"{where}: waits for its stacks without an end"
    if child.phase is Phase.LOST:
        assert isinstance(child.spec, RemoteSpec), where
    if isinstance(child.spec, RemoteSpec) and child.phase is not Phase.DOWN:
        linked = state.downlinks[child.name].peer is not None
        assert linked == (child.phase is not Phase.LOST), (
            f"{where}: {child.phase}, linked: {linked}"
        )
    if isinstance(child.spec, SupervisorSpec):
        assert child.path in state.supervisors, f"{where}: a supervisor without a state"
    if isinstance(child.spec, WorkerSpec) and child.phase in _EXISTS and child.cause is None:
        assert child.pid is not None, f"{where}: {child.phase} without a pid"
