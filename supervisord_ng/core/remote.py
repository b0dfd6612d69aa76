"""The parent's side of a link: the root supervisor of another node as a child of this tree.

It takes the same three orders as every child and tells the same things of itself; only the way is
longer. What is wanted of it is said again with every beat, with the child's incarnation as
generation, so an order that was lost comes again and one that is late does nothing. A silent link
is a suspicion and no death: the child is LOST, and what has become of it is known when its node
returns, by the name of the life of its root: the same life, then nothing has happened; another or
none, then that was its end. With `on_lost = "exit"` the silence itself is the end, as in OTP
({'EXIT', Pid, noconnection}).
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from supervisord_ng.core.effects import Note, Report, SendDown, TakeReports
from supervisord_ng.core.events import Exited
from supervisord_ng.core.intensity import in_window
from supervisord_ng.core.state import (
    ChildStarted,
    ChildState,
    Downlink,
    KillTree,
    Order,
    Phase,
    StartTree,
    StopTree,
)
from supervisord_ng.core.turn import Turn
from supervisord_ng.limits import BEATS_GRID, FORMER_BOOTS_KEPT
from supervisord_ng.model import names
from supervisord_ng.model.exits import KILLED, NOCONNECTION, SHUTDOWN, UNKNOWN, ExitReason
from supervisord_ng.model.link import (
    Ack,
    ChildBeat,
    FromChild,
    Goodbye,
    Hello,
    ParentBeat,
    TreeNow,
    Welcome,
)
from supervisord_ng.model.link import Order as RemoteOrder
from supervisord_ng.model.reports import Context, Decision, EventName

_AfterHello = ChildBeat | Goodbye  # the beat first: a type that does not fit costs most of a look
_WANTED = (Phase.LOST, Phase.STARTING, Phase.RUNNING)


# --- orders of its supervisor ---------------------------------------------------------------------
def obey(turn: Turn, order: Order) -> None:
    """An order for the remote child at `order.path`, whose record `child` has prepared."""
    child = turn.living_child(order.path)
    link = turn.links[child.name]
    match order:
        case StartTree():
            # Nobody waits for a remote: its siblings start, and it is there when its node is.
            phase = Phase.LOST if link.peer is None else Phase.STARTING
            turn.put_child(replace(child, phase=phase, ready=True, deadline=None, life=None))
            _note(turn, child.path, EventName.STARTING)
            turn.inbox.append(ChildStarted(names.parent(child.path), child.name))
        case StopTree():
            # The end of this daemon is not theirs: an orderly restart of one host must not stop a fleet.
            if link.peer is None or _spares(turn):
                _ended(turn, child, SHUTDOWN)
        case KillTree():
            if link.peer is None or _spares(turn):
                _ended(turn, child, KILLED)


def _spares(turn: Turn) -> bool:
    """Whether this daemon ends and leaves the trees below as they are."""
    return turn.node.stop_asked and not turn.node.stop_below


def _ended(turn: Turn, child: ChildState, reason: ExitReason) -> None:
    turn.inbox.append(Exited(child.path, child.incarnation, reason))


# --- the wire ---------------------------------------------------------------------------------------
def receive(turn: Turn, name: str, frame: FromChild) -> None:
    """The node below has said something; what is late, repeated or of another boot says nothing."""
    link = turn.links.get(name)
    if link is None:
        return
    if not isinstance(frame, _AfterHello):
        _hello(turn, name, link, frame)
        return
    if frame.boot != link.peer or frame.to != turn.node.boot or frame.seq <= link.heard_seq:
        return
    if link.doubted is not None:  # who answers us lives after who spoke before
        former = (*link.former, link.doubted)[-FORMER_BOOTS_KEPT:]
        link = replace(link, former=former, doubted=None)
        turn.put_link(name, link)
    match frame:
        case ChildBeat(seq=seq, tree=tree):
            judge_at = turn.now + link.spec.heartbeat.timeout_ns
            turn.put_link(name, replace(link, heard_seq=seq, judge_at=judge_at, judged=tree))
            if tree != link.judged:  # a beat that says nothing new is the rule
                _judge(turn, name, tree)
        case Goodbye(seq=seq):
            _change(turn, name, heard_seq=seq)
            _lose(turn, name, orderly=True)


def reports_offered(turn: Turn, name: str, after: int, upto: int) -> None:
    """Take reports that follow what is here; behind a gap nothing is taken, it comes again in order."""
    link = turn.links.get(name)
    if link is not None and link.peer is not None and after <= link.taken:
        _change(turn, name, taken=max(link.taken, upto))
        turn.emit(TakeReports(name, upto))


def reports_arrived(turn: Turn, name: str, upto: int) -> None:
    """Reports of that node are durable here: say so, and it goes on behind them."""
    link = turn.links.get(name)
    if link is not None and link.peer is not None:
        _change(turn, name, taken=max(link.taken, upto))
        turn.emit(SendDown(name, Ack(turn.node.boot, _next_seq(turn, name), link.peer, upto)))


def expire(turn: Turn) -> None:
    """Judge who is silent, beat to the others."""
    if not turn.links_due:
        return
    now = turn.now
    for name, link in turn.links.items():
        if link.judge_at is not None and link.judge_at <= now:
            _lose(turn, name, orderly=False)
        elif link.beat_at is not None and link.beat_at <= now:
            assert link.said is not None, "a beat before the welcome"
            _beat(turn, name, link, link.said)  # `tell` has said what is wanted since
    turn.look_at_links_again()


def tell(turn: Turn) -> None:
    """At the end of a step: answer who said hello; tell at once who is wanted otherwise than last said.

    Of a daemon that ends, its children's ends are no orders to the nodes below: they keep the last one. Who
    comes back is told that again: its tree may be waited for.
    """
    spares = _spares(turn)
    for name in turn.told:
        link = turn.links[name]
        if spares:
            if link.answer is not None and link.said is not None:
                _welcome(turn, name, link.said)
        elif link.answer is not None:
            _welcome(turn, name, _order(turn, link))
        elif link.peer is not None and link.said != (order := _order(turn, link)):
            _beat(turn, name, link, order)


def say_goodbye(turn: Turn) -> None:
    """The daemon ends in good order, and leaves the trees below running."""
    for name, link in turn.links.items():
        if link.peer is not None:
            seq = _next_seq(turn, name)
            turn.emit(SendDown(name, Goodbye(turn.node.boot, seq, link.peer)))


def _hello(turn: Turn, name: str, link: Downlink, hello: Hello) -> None:
    """A handshake, unless it is an echo. Answered when the step is over: what is wanted is known then."""
    same = hello.boot == link.last
    if hello.boot in link.former or (same and hello.seq <= link.heard_seq):
        return
    if not same:
        _change(turn, name, doubted=link.last)
    if link.peer != hello.boot:
        _change(turn, name, peer=hello.boot, last=hello.boot)
        _note(turn, link.path, EventName.LINK_UP)
    judge_at = turn.now + link.spec.heartbeat.timeout_ns
    interval = min(link.spec.heartbeat.interval_ns, hello.interval_ns)
    # A hello may be older than what has been taken since from the same store.
    taken = max(link.taken, hello.acked) if same else hello.acked
    _change(
        turn,
        name,
        heard_seq=hello.seq,
        judge_at=judge_at,
        answer=hello.seq,
        taken=taken,
        interval_ns=interval,
        judged=None,
    )
    turn.told[name] = None
    _judge(turn, name, hello.tree)


def _welcome(turn: Turn, name: str, order: RemoteOrder) -> None:
    link = turn.links[name]
    assert link.peer is not None
    assert link.answer is not None
    boot = turn.node.boot
    interval = link.spec.heartbeat.interval_ns
    seq = _next_seq(turn, name)
    frame = Welcome(turn.node.name, boot, seq, link.peer, link.answer, order, interval)
    turn.emit(SendDown(name, frame))
    _change(turn, name, said=order, answer=None, beat_at=_next_beat(turn, link))


def _judge(turn: Turn, name: str, tree: TreeNow) -> None:
    """Compare how the tree below is with how this tree holds it."""
    link = turn.links[name]
    child = turn.child(link.path)
    if child is None or child.phase is Phase.DOWN:
        return
    obeyed = _is_ours(turn, tree.tenure) and tree.generation >= child.incarnation
    if child.phase in (Phase.STOPPING, Phase.KILLING):
        if obeyed and tree.state == "down":
            _ended(turn, child, KILLED if child.phase is Phase.KILLING else SHUTDOWN)
    elif child.life is not None and tree.life != child.life:
        _ended(turn, child, UNKNOWN)  # what we knew has ended, and nobody has told how
    elif tree.state == "down" and (obeyed or child.life is not None):
        _ended(turn, child, tree.reason or UNKNOWN)
    else:
        _holds(turn, child, tree, obeyed=obeyed)


def _is_ours(turn: Turn, tenure: str | None) -> bool:
    """Whether that daemon's orders are ours: we are that, or go on for it."""
    return tenure is not None and tenure in (turn.node.boot, turn.node.predecessor)


def _holds(turn: Turn, child: ChildState, tree: TreeNow, *, obeyed: bool) -> None:
    """Nothing has ended: it runs on our behalf, or is on its way there."""
    if obeyed and tree.state in ("starting", "up") and child.life != tree.life:
        child = replace(child, life=tree.life)
        turn.put_child(child)
    phase = Phase.RUNNING if obeyed and tree.state == "up" else Phase.STARTING
    if child.phase is not phase:
        since = child.since if phase is Phase.STARTING else turn.now
        turn.put_child(replace(child, phase=phase, deadline=None, since=since))
        if phase is Phase.RUNNING:
            _note(turn, child.path, EventName.STARTED)


def _lose(turn: Turn, name: str, *, orderly: bool) -> None:
    """Nothing more is heard of that node."""
    link = turn.links[name]
    _change(turn, name, peer=None, judge_at=None, beat_at=None, said=None, answer=None, judged=None)
    child = turn.child(link.path)
    incarnation = 0 if child is None else child.incarnation
    reason = SHUTDOWN if orderly else NOCONNECTION
    turn.emit(Note(EventName.LINK_DOWN, link.path, incarnation, kind="remote", reason=reason))
    if child is None or child.phase in (Phase.DOWN, Phase.LOST):
        return
    if child.phase in (Phase.STOPPING, Phase.KILLING):
        _ended(turn, child, reason)
        return
    if orderly:  # it comes back as another life, and that will be no fault
        child = replace(child, life=None)
    else:
        _report_lost(turn, link, child)
    if link.spec.on_lost == "exit" and not orderly:
        _ended(turn, child, NOCONNECTION)
    else:
        turn.put_child(replace(child, phase=Phase.LOST, deadline=None))


def _report_lost(turn: Turn, link: Downlink, child: ChildState) -> None:
    """Say once that a node is silent. With `on_lost = "exit"` the end that follows says it."""
    if link.spec.on_lost == "exit":
        return
    path = names.parent(child.path)
    above = turn.supervisor(path)
    turn.emit(
        Report(
            supervisor=path,
            context=Context.CHILD_TERMINATED,
            path=child.path,
            offender=child.incarnation,
            retrying=False,
            reason=NOCONNECTION,
            decision=Decision.NONE,
            restarts_in_window=in_window(above.restarts, turn.now, above.spec.period_ns),
            intensity=above.spec.intensity,
            period_ns=above.spec.period_ns,
            incarnation=child.incarnation,
            supervisor_incarnation=above.incarnation,
        )
    )


def lagged(turn: Turn, lag_ns: int) -> None:
    """This daemon was late: nobody's silence of that time says anything."""
    for name, link in turn.links.items():
        if link.judge_at is not None:
            _change(turn, name, judge_at=link.judge_at + lag_ns)


def _order(turn: Turn, link: Downlink) -> RemoteOrder:
    """What is wanted of that node's tree, by the record of the child."""
    child = turn.child(link.path)
    if child is None:
        return RemoteOrder("stop", 0)
    if child.phase in _WANTED:
        return RemoteOrder("run", child.incarnation)
    return RemoteOrder("kill" if child.phase is Phase.KILLING else "stop", child.incarnation)


def _beat(turn: Turn, name: str, link: Downlink, order: RemoteOrder) -> None:
    assert link.peer is not None
    seq = link.seq + 1
    turn.emit(SendDown(name, ParentBeat(turn.node.boot, seq, link.peer, order)))
    turn.put_link(name, replace(link, seq=seq, said=order, beat_at=_next_beat(turn, link)))


def _next_beat(turn: Turn, link: Downlink) -> int:
    """An interval from now, or a little earlier: so that many links are served by one waking up."""
    grid = link.interval_ns // BEATS_GRID
    later = turn.now + link.interval_ns
    return later - later % grid


def _note(turn: Turn, path: str, event: EventName) -> None:
    child = turn.child(path)
    turn.emit(Note(event, path, 0 if child is None else child.incarnation, kind="remote"))


def _next_seq(turn: Turn, name: str) -> int:
    seq = turn.links[name].seq + 1
    _change(turn, name, seq=seq)
    return seq


def _change(turn: Turn, name: str, **changes: Any) -> None:
    turn.put_link(name, replace(turn.links[name], **changes))
