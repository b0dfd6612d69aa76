"""The only entrance to the core: `boot` or `resume`, then `step` and `next_deadline`.

Rules of this file. `step` first expires every deadline that is not later than `now`, ordered by time and path,
then takes the event. Only what workers and other nodes say, the daemon's own lag, and what it finds when it
goes on, expire nothing: they speak of the time before `now`, and nobody may be judged before all that has been
said is heard. The next event judges. An event about a child carries the incarnation it is about, and one of
another incarnation is dropped here and nowhere else. What the parts of the tree tell one another within a step
goes through one queue, drained until it is empty: no recursion, and a bound on the number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from msgspec.structs import replace

from supervisord_ng.core import boot as fresh
from supervisord_ng.core import child as life
from supervisord_ng.core import links, liveness, reload, remote, termination, uplink
from supervisord_ng.core import resume as resumption
from supervisord_ng.core import supervisor as process
from supervisord_ng.core.effects import Effect, Reply
from supervisord_ng.core.events import (
    Beats,
    BecameReady,
    Call,
    Connected,
    Disowned,
    Event,
    Exited,
    Found,
    FrameFromChild,
    FrameFromParent,
    FramesFromChildren,
    Kill,
    Lagged,
    Refuse,
    Reload,
    ReportsArrived,
    ReportsOffered,
    ReportStored,
    Resume,
    Spawned,
    Stop,
    Suspend,
    Tick,
    Word,
)
from supervisord_ng.core.memory import Memory
from supervisord_ng.core.state import (
    ChildGone,
    ChildStarted,
    ChildStartFailed,
    KillTree,
    NodeState,
    Outbox,
    Phase,
    Reconcile,
    Retry,
    StartTree,
    StopTree,
    Uplink,
)
from supervisord_ng.core.turn import Turn
from supervisord_ng.limits import CASCADE_MAX, KILL_RESEND_NS
from supervisord_ng.model import names
from supervisord_ng.model.spec import ParentSpec, SupervisorSpec

FromOutside = Call | Reload | Stop | Kill | Refuse | Suspend | Resume
_OF_THE_PAST = frozenset((*get_args(Word), *get_args(links.Frame), Lagged, Found))


def boot(
    spec: SupervisorSpec,
    *,
    seed: int,
    now: int,
    incarnations: Mapping[str, int] | None = None,
    refuse: tuple[Refuse, ...] = (),
    stopped: frozenset[str] = frozenset(),
    name: str = "",
    boot_id: str = "",
    parent: ParentSpec | None = None,
    outbox: Outbox | None = None,
) -> tuple[NodeState, tuple[Effect, ...]]:
    """Start the tree.

    Args:
        spec: the root supervisor.
        seed: of all chance in this node (back-off jitter), 0 to 2**64 - 1.
        now: monotonic nanoseconds.
        incarnations: the last incarnation number ever used, by path, so that none is used twice.
        refuse: what the world has to say beforehand, see `events.Refuse`.
        stopped: paths of those that an operator has stopped and that stay so.
        name: of this node.
        boot_id: a name for this life of the daemon that no other has.
        parent: the node above, None for a node of its own.
        outbox: how far this node's crash reports have come.
    """
    used = incarnations or {}
    root = spec.name
    supervisors = fresh.supervisors_of(spec, root, used, 0)
    state = NodeState(
        root=root,
        supervisors=supervisors,
        deadline=None,
        seed=seed,
        refusals=refuse,
        stopped=stopped,
        name=name,
        boot=boot_id,
        uplink=None if parent is None else Uplink(parent, outbox=outbox or Outbox()),
        downlinks=fresh.downlinks_of(supervisors),
    )
    turn = Turn(state, now)
    turn.update(root, incarnation=used.get(root, 0))
    uplink.begin(turn)
    if uplink.starts_alone(turn):
        turn.inbox.append(StartTree(root, used.get(root, 0) + 1, automatic=False))
    return _finish(turn)


def resume(
    spec: SupervisorSpec,
    memory: Memory,
    *,
    seed: int,
    now: int,
    incarnations: Mapping[str, int],
    name: str = "",
    boot_id: str = "",
    parent: ParentSpec | None = None,
    outbox: Outbox | None = None,
) -> tuple[NodeState, tuple[Effect, ...]]:
    """Go on with the tree of an earlier daemon; the world tells afterwards what it finds otherwise.

    Args:
        spec: the root supervisor, perhaps not what it was then.
        memory: of that daemon, of this boot of the host; `Memory.is_of_a_life` holds.
        seed: as of `boot`, like the others.
        now: monotonic nanoseconds, not before any time in `memory`.
        incarnations: the highest number that may have been used, by path. Whoever knows what came of a start
            that was on its way says the number before it: the answer is that to the `Spawn` that follows.
        name: of this node.
        boot_id: a name for this life of the daemon.
        parent: the node above.
        outbox: how far this node's crash reports have come.
    """
    supervisors, new = resumption.supervisors_of(spec, memory, incarnations)
    state = NodeState(
        root=spec.name,
        supervisors=supervisors,
        deadline=None,
        seed=seed,
        name=name,
        boot=boot_id,
        predecessor=memory.node.boot,
        life=memory.node.life,
        ended=memory.node.ended,
        chain=memory.node.chain,
        uplink=uplink.remembered(memory.node, parent, outbox or Outbox()),
        downlinks=fresh.downlinks_of(supervisors),
    )
    turn = Turn(state, now)
    uplink.begin_again(turn)
    resumption.carry_on(turn, new)
    return _finish(turn)


def step(state: NodeState, event: Event, now: int) -> tuple[NodeState, tuple[Effect, ...]]:
    """What happens next.

    Args:
        state: as the last call returned it.
        event: what happened.
        now: monotonic nanoseconds, not before those of the last call.

    Returns:
        The new state, and what is asked of the world, to be done in this order.
    """
    turn = Turn(state, now)
    if type(event) not in _OF_THE_PAST:
        _expire(turn)
    _take(turn, event)
    return _finish(turn)


def _finish(turn: Turn) -> tuple[NodeState, tuple[Effect, ...]]:
    """Settle what is under way, then tell the other nodes what they have to know."""
    _settle(turn)
    if _has_links(turn.node):
        links.tell(turn)
    return turn.finish()


def next_deadline(state: NodeState) -> int | None:
    """When `step` has to be called at the latest (with `Tick`), None if nothing is waited for."""
    if state.halted:
        return None
    if not _has_links(state):
        return state.deadline
    return links.earlier(state.deadline, links.next_deadline(state))


def _has_links(state: NodeState) -> bool:
    return state.uplink is not None or bool(state.downlinks)


def _expire(turn: Turn) -> None:
    """Everything that is due by now, in order of time and path."""
    deadline = next_deadline(turn.node)
    if deadline is None or deadline > turn.now:
        return
    _expire_children(turn)
    links.expire(turn)
    _settle(turn)


def _expire_children(turn: Turn) -> None:
    due: list[tuple[int, str]] = []
    for supervisor in turn.supervisors.values():
        if supervisor.deadline is None or supervisor.deadline > turn.now:
            continue
        turn.look_again(supervisor.path)
        due += [
            (child.deadline, child.path)
            for child in supervisor.children.values()
            if child.deadline is not None and child.deadline <= turn.now
        ]
    due.sort()
    for deadline, path in due:
        child = turn.child(path)
        if child is None or child.deadline != deadline:
            continue  # an earlier one of this moment has changed it
        if child.phase is Phase.DOWN:
            turn.put_child(replace(child, deadline=None))
            process.receive(turn, names.parent(path), Retry(child.name, child.incarnation))
        else:
            life.happens(turn, child, life.DeadlineReached())
        _settle(turn)


def _take(turn: Turn, event: Event) -> None:
    match event:
        case Exited() | Spawned():  # what happens most comes first
            _about_child(turn, event)
        case Tick():
            pass
        case Beats():
            _beats(turn, event)
        case FramesFromChildren(frames=frames):
            for said in frames:
                # Each as if it had come alone: what it leads to is known before the next.
                remote.receive(turn, said.remote, said.frame)
                if turn.inbox:
                    _settle(turn)
        case Lagged():
            _lagged(turn, event)
        case (
            Connected()
            | FrameFromParent()
            | FrameFromChild()
            | ReportStored()
            | ReportsOffered()
            | ReportsArrived()
        ):
            links.take(turn, event)
        case Found():
            _found(turn, event)
        case Disowned():
            resumption.disowned(turn, event)
        case Call() | Reload() | Stop() | Kill() | Refuse() | Suspend() | Resume():
            _take_order(turn, event)
        case _:
            _about_child(turn, event)


def _take_order(turn: Turn, event: FromOutside) -> None:
    match event:
        case Call(path=path):
            _call(turn, path, event)
        case Reload():
            for path in reload.begin(turn, event):
                process.receive(turn, path, Reconcile())
        case Stop():
            _stop(turn, event)
        case Kill(path=path):
            _kill_supervisor(turn, path)
        case Refuse():
            turn.change(refusals=(*turn.node.refusals, event))
        case Suspend(path=path) | Resume(path=path):
            if path in turn.supervisors:
                process.suspend(turn, path, suspended=isinstance(event, Suspend))


def _stop(turn: Turn, stop: Stop) -> None:
    """The daemon is to end, and its tree with it, if that has not ended before."""
    turn.change(stop_asked=True, stop_below=stop.below or turn.node.stop_below)
    if turn.supervisor(turn.root).alive:
        turn.inbox.append(StopTree(turn.root, stop.reason))
    elif not turn.node.halted:
        termination.halt(turn, stop.reason)


def _beats(turn: Turn, event: Beats) -> None:
    for sign in event.beats:
        child = turn.child(sign.path)
        if child is not None and child.incarnation == sign.incarnation:
            liveness.beat(turn, child, sign.progress)


def _lagged(turn: Turn, event: Lagged) -> None:
    for supervisor in list(turn.supervisors.values()):
        for child in supervisor.children.values():
            liveness.lagged(turn, child, event.lag_ns)
    links.lagged(turn, event.lag_ns)


def _about_child(turn: Turn, event: life.News) -> None:
    """Drop what is not about the living incarnation; the one place where that is done."""
    child = turn.child(event.path)
    if child is not None and child.incarnation == event.incarnation:
        life.happens(turn, child, event)
        if isinstance(event, Spawned):
            process.worker_exists(turn, event.path)


def _found(turn: Turn, found: Found) -> None:
    """Everybody is gone before any supervisor acts on it: who died is not asked to end, which would hide why.

    A start that failed is dealt with at once, because whoever made it could take it for one not made yet.
    """
    starts = []
    for end in found.ends:
        child = turn.child(end.path)
        if child is not None and not (child.ready or child.asked):
            starts.append(end)
        else:
            _about_child(turn, end)
    gone = tuple(turn.inbox)
    turn.inbox.clear()
    for end in starts:
        _about_child(turn, end)
        _settle(turn)
    turn.inbox.extend(
        it for it in gone if isinstance(it, ChildGone) and it.path in turn.supervisors
    )


def _call(turn: Turn, path: str, call: Call) -> None:
    if path in turn.supervisors:
        process.receive(turn, path, call)
    else:
        turn.emit(Reply(call.request, "not_found", path=path))


def _kill_supervisor(turn: Turn, path: str) -> None:
    """A supervisor dies though nobody above it wanted that; to its parent it is a child like any other."""
    if path not in turn.supervisors:
        return
    child = turn.child(path)
    if child is not None and child.phase in (Phase.STARTING, Phase.RUNNING, Phase.STOPPING):
        turn.put_child(replace(child, phase=Phase.KILLING, deadline=turn.now + KILL_RESEND_NS))
    turn.inbox.append(KillTree(path))


def _settle(turn: Turn) -> None:
    """Let the parts of the tree tell one another everything there is to tell."""
    for _ in range(CASCADE_MAX):
        if not turn.inbox:
            return
        message = turn.inbox.popleft()
        match message:
            case StartTree() | StopTree() | KillTree():
                local = message.path in turn.supervisors
                (process if local else remote).obey(turn, message)
            case ChildStarted() | ChildStartFailed() | ChildGone():
                process.hear(turn, message)
            case BecameReady() | Exited():
                _about_child(turn, message)
    raise AssertionError("a step without end")
