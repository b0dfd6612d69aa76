"""The child's side of a link: says how the tree is, obeys the node above, lives on without it.

To the node above this node's root supervisor is a child like any other: it is started, stopped and restarted by
orders, each with a generation, and its end is the parent's to judge. A root that gave up therefore waits, with
nothing running, until it is ordered to run again. Silence of the parent means nothing for the tree, unless
`on_partition = "stop"`.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec.structs import replace

from supervisord_ng.core import outbox
from supervisord_ng.core.effects import Note, SendUp
from supervisord_ng.core.memory import NodeMemory
from supervisord_ng.core.state import KillTree, Outbox, Purpose, StartTree, StopTree, Uplink
from supervisord_ng.core.turn import Turn
from supervisord_ng.model.exits import NOCONNECTION, SHUTDOWN
from supervisord_ng.model.link import (
    Ack,
    ChildBeat,
    FromParent,
    Goodbye,
    Hello,
    Order,
    ParentBeat,
    TreeNow,
    Welcome,
)
from supervisord_ng.model.reports import EventName
from supervisord_ng.model.spec import ParentSpec


def begin(turn: Turn) -> None:
    """The daemon has come up: look for the parent."""
    if turn.node.uplink is not None:
        _change(turn, first_hello=1)
        _say_hello(turn)


def remembered(memory: NodeMemory, parent: ParentSpec | None, outbox: Outbox) -> Uplink | None:
    """No link, and what an earlier daemon has obeyed: no order is obeyed by two."""
    if parent is None:
        return None
    return Uplink(parent, tenure=memory.tenure, generation=memory.generation, outbox=outbox)


def begin_again(turn: Turn) -> None:
    """A new daemon goes on with the tree of an earlier one: the parent's silence counts from now."""
    begin(turn)
    uplink = turn.node.uplink
    if uplink is not None:
        _change(turn, partition_at=turn.now + uplink.spec.partition_timeout_ns)


def starts_alone(turn: Turn) -> bool:
    """Whether the tree starts at boot without a word of the parent."""
    uplink = turn.node.uplink
    return uplink is None or uplink.spec.on_partition == "continue"


def deadline(uplink: Uplink | None) -> int | None:
    """The next thing that the link waits for."""
    if uplink is None:
        return None
    times = (uplink.beat_at, uplink.judge_at, uplink.partition_at, uplink.outbox.resend_at)
    return min((time for time in times if time is not None), default=None)


def expire(turn: Turn) -> None:
    """Do what is due."""
    uplink = turn.node.uplink
    if uplink is None:
        return
    if _due(uplink.judge_at, turn):
        _lose(turn, orderly=False)
    if _due(uplink.partition_at, turn):
        _change(turn, partition_at=None)
        if uplink.spec.on_partition == "stop" and turn.supervisor(turn.root).alive:
            turn.inbox.append(StopTree(turn.root, NOCONNECTION))
    uplink = _uplink(turn)
    if _due(uplink.outbox.resend_at, turn):
        _change(turn, outbox=outbox.overdue(turn, uplink.outbox))
    if _due(uplink.beat_at, turn):
        if uplink.peer is None:
            _say_hello(turn)
        else:
            _beat(turn)


def connected(turn: Turn) -> None:
    """The parent can be spoken to: whoever waits for a welcome need not wait for the next interval."""
    uplink = turn.node.uplink
    if uplink is not None and uplink.peer is None:
        _say_hello(turn)


def receive(turn: Turn, frame: FromParent) -> None:
    """The parent has said something; what is late, repeated or for another boot says nothing."""
    uplink = turn.node.uplink
    if uplink is None or frame.to != turn.node.boot:
        return
    if isinstance(frame, Welcome):
        if uplink.peer is None and frame.answers >= uplink.first_hello:
            _welcomed(turn, frame)
        return
    if frame.boot != uplink.peer or frame.seq <= uplink.heard_seq:
        return
    _heard(turn, frame.seq)
    match frame:
        case ParentBeat(order=order):
            _obey(turn, order)
        case Ack(stored=stored):
            _change(turn, outbox=outbox.acked(turn, _uplink(turn).outbox, stored))
        case Goodbye():
            _lose(turn, orderly=True)


def report_stored(turn: Turn, seq: int) -> None:
    """A crash report is on this node's disk: it may go up."""
    uplink = turn.node.uplink
    if uplink is not None:
        linked = uplink.peer is not None
        _change(turn, outbox=outbox.stored(turn, uplink.outbox, seq, linked=linked))


def tell(turn: Turn) -> None:
    """At the end of a step: if the tree is not as last said, say so at once."""
    uplink = turn.node.uplink
    if uplink is not None and uplink.peer is not None and uplink.said != tree_now(turn):
        _beat(turn)


def say_goodbye(turn: Turn) -> None:
    """The daemon ends in good order."""
    uplink = turn.node.uplink
    if uplink is not None and uplink.peer is not None:
        turn.emit(SendUp(Goodbye(turn.node.boot, _next_seq(turn), uplink.peer)))


def tree_now(turn: Turn) -> TreeNow:
    """How the tree is."""
    uplink = _uplink(turn)
    root = turn.supervisor(turn.root)
    state: Literal["down", "starting", "up", "stopping"] = "down"
    if root.alive:
        state = "up" if root.booted else "starting"
        if root.plan is not None and root.plan.purpose is Purpose.EXIT:
            state = "stopping"
    reason = turn.node.ended if not root.alive else None
    return TreeNow(state, turn.node.life, uplink.tenure, uplink.generation, reason)


def lagged(turn: Turn, lag_ns: int) -> None:
    """This daemon was late: the parent's silence of that time says nothing."""
    uplink = turn.node.uplink
    if uplink is not None:
        _change(
            turn,
            judge_at=_later(uplink.judge_at, lag_ns),
            partition_at=_later(uplink.partition_at, lag_ns),
        )


def _later(time: int | None, by_ns: int) -> int | None:
    return None if time is None else time + by_ns


def _welcomed(turn: Turn, welcome: Welcome) -> None:
    """The handshake. Orders of another boot of the parent begin to count anew."""
    uplink = _uplink(turn)
    generation = uplink.generation if welcome.boot == uplink.tenure else 0
    _change(
        turn,
        peer=welcome.boot,
        parent=welcome.node,
        interval_ns=min(uplink.spec.heartbeat.interval_ns, welcome.interval_ns),
        tenure=welcome.boot,
        generation=generation,
        heard_seq=0,
        said=None,
    )
    _heard(turn, welcome.seq)
    _note(turn, EventName.LINK_UP)
    _change(turn, outbox=outbox.linked_up(turn, _uplink(turn).outbox))
    _obey(turn, welcome.order)


def _heard(turn: Turn, seq: int) -> None:
    spec = _uplink(turn).spec
    _change(
        turn,
        heard_seq=seq,
        judge_at=turn.now + spec.heartbeat.timeout_ns,
        partition_at=turn.now + spec.partition_timeout_ns,
    )


def _obey(turn: Turn, order: Order) -> None:
    """Do what the parent wants, unless it is old. Each generation is begun once."""
    known = _uplink(turn).generation
    root = turn.supervisor(turn.root)
    if order.generation < known or turn.node.stop_asked:
        return
    _change(turn, generation=order.generation)
    if order.wanted == "run":
        if order.generation > known and not root.alive:
            turn.inbox.append(StartTree(turn.root, root.incarnation + 1, automatic=True))
    elif root.alive:
        kill = order.wanted == "kill"
        turn.inbox.append(KillTree(turn.root) if kill else StopTree(turn.root, SHUTDOWN))


def _lose(turn: Turn, *, orderly: bool) -> None:
    """The link is gone: knock until somebody opens. The tree lives on."""
    uplink = _uplink(turn)
    _change(
        turn,
        peer=None,
        judge_at=None,
        first_hello=uplink.seq + 1,
        outbox=outbox.linked_down(uplink.outbox),
        beat_at=turn.now + uplink.spec.heartbeat.interval_ns,
    )
    _note(turn, EventName.LINK_DOWN, "goodbye" if orderly else None)
    if not orderly:
        _say_hello(turn)


def _say_hello(turn: Turn) -> None:
    uplink = _uplink(turn)
    interval = uplink.spec.heartbeat.interval_ns
    tree = tree_now(turn)
    seq = _next_seq(turn)
    turn.emit(
        SendUp(Hello(turn.node.name, turn.node.boot, seq, tree, interval, uplink.outbox.acked))
    )
    _change(turn, beat_at=turn.now + interval)


def _beat(turn: Turn) -> None:
    uplink = _uplink(turn)
    assert uplink.peer is not None
    tree = tree_now(turn)
    turn.emit(SendUp(ChildBeat(turn.node.boot, _next_seq(turn), uplink.peer, tree)))
    _change(turn, beat_at=turn.now + uplink.interval_ns, said=tree)


def _note(turn: Turn, event: EventName, detail: str | None = None) -> None:
    incarnation = turn.supervisor(turn.root).incarnation
    reason = None if detail is None else SHUTDOWN
    turn.emit(Note(event, turn.root, incarnation, kind="supervisor", reason=reason))


def _next_seq(turn: Turn) -> int:
    seq = _uplink(turn).seq + 1
    _change(turn, seq=seq)
    return seq


def _due(time: int | None, turn: Turn) -> bool:
    return time is not None and time <= turn.now


def _uplink(turn: Turn) -> Uplink:
    assert turn.node.uplink is not None
    return turn.node.uplink


def _change(turn: Turn, **changes: Any) -> None:
    turn.change(uplink=replace(_uplink(turn), **changes))
