"""The core's two ends of a link, frame by frame."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from supervisord_ng.core import effects, events, machine, memory
from supervisord_ng.core.effects import Report
from supervisord_ng.core.state import NodeState
from supervisord_ng.limits import BEATS_GRID
from supervisord_ng.model.exits import KILLED, NOCONNECTION, UNKNOWN
from supervisord_ng.model.link import (
    Ack,
    ChildBeat,
    FromParent,
    Hello,
    Order,
    ParentBeat,
    TreeNow,
    Welcome,
)
from supervisord_ng.model.spec import (
    Heartbeat,
    LaunchSpec,
    LogSpec,
    ParentSpec,
    RemoteSpec,
    SupervisorSpec,
    WorkerSpec,
)

SECOND = 1_000_000_000
MS = 1_000_000
SLOW = Heartbeat(interval_ns=2 * SECOND, timeout_ns=10 * SECOND)
UP = TreeNow("up", "c.1", "p", 1)


def parent_node(*names: str) -> NodeState:
    """A node "p" with a worker and these remote children, just booted."""
    remotes = tuple(RemoteSpec(name, public_key="", heartbeat=SLOW) for name in names)
    worker = WorkerSpec("w", LaunchSpec(("true",)), LogSpec(""))
    spec = SupervisorSpec("root", children=(worker, *remotes))
    state, _ = machine.boot(spec, seed=1, now=0, name="top", boot_id="p")
    return machine.step(state, events.Spawned("root/w", 1, 100), 0)[0]


def child_node() -> NodeState:
    """A node "c" with a parent, just booted."""
    parent = ParentSpec(endpoint="", public_key="", heartbeat=SLOW)
    spec = SupervisorSpec("root")
    return machine.boot(spec, seed=1, now=0, name="edge", boot_id="c", parent=parent)[0]


def hello(name: str, seq: int, *, acked: int = 0, interval_ns: int = 2 * SECOND) -> Hello:
    """What the node below says first, and until it is welcomed."""
    return Hello(name, "c", seq, TreeNow("up", "c.1", None, 0), interval_ns, acked)


def said(asked: Sequence[effects.Effect]) -> list[FromParent]:
    """What is to be said to nodes below."""
    return [effect.frame for effect in asked if isinstance(effect, effects.SendDown)]


def linked(name: str) -> NodeState:
    """`parent_node` with a node below whose tree runs on its behalf."""
    state, _ = machine.step(parent_node(name), events.FrameFromChild(name, hello(name, 1)), 0)
    beat = ChildBeat("c", 2, "p", UP)
    return machine.step(state, events.FrameFromChild(name, beat), SECOND)[0]


def next_daemon(state: NodeState) -> tuple[NodeState, tuple[effects.Effect, ...]]:
    """The daemon was killed, and another one, "q", goes on."""
    return machine.resume(
        state.supervisors["root"].spec,
        memory.of(state),
        seed=1,
        now=2 * SECOND,
        incarnations={},
        name=state.name,
        boot_id="q",
        parent=None if state.uplink is None else state.uplink.spec,
    )


def test_beats_are_sent_at_the_shorter_interval() -> None:
    """Each side may want to hear the other more often than it would say anything itself."""
    below, _ = machine.step(
        child_node(),
        events.FrameFromParent(Welcome("top", "p", 1, "c", 1, Order("run", 1), 300 * MS)),
        10,
    )
    assert below.uplink is not None
    assert 10 + 300 * MS == below.uplink.beat_at
    above, _ = machine.step(
        parent_node("edge"), events.FrameFromChild("edge", hello("edge", 1, interval_ns=SECOND)), 10
    )
    beat_at = above.downlinks["edge"].beat_at
    assert beat_at is not None
    assert 10 + SECOND - SECOND // BEATS_GRID <= beat_at <= 10 + SECOND


def test_a_connection_is_greeted_at_once() -> None:
    """Whoever waits for a welcome does not wait for the next interval; whoever has one says nothing."""
    state, asked = machine.step(child_node(), events.Connected(), 10)
    hellos = [effect.frame for effect in asked if isinstance(effect, effects.SendUp)]
    assert [2] == [frame.seq for frame in hellos if isinstance(frame, Hello)]
    welcome = Welcome("top", "p", 1, "c", 2, Order("run", 1), SECOND)
    state, _ = machine.step(state, events.FrameFromParent(welcome), 20)
    assert () == machine.step(state, events.Connected(), 30)[1]


def test_an_end_in_good_order_is_no_order_to_those_below() -> None:
    """While the daemon stops its own workers, nodes below hear the order that they had, and a goodbye."""
    state, _ = machine.step(
        parent_node("edge"), events.FrameFromChild("edge", hello("edge", 1)), 10
    )
    beat = ChildBeat("c", 2, "p", UP)
    state, _ = machine.step(state, events.FrameFromChild("edge", beat), 20)
    state, asked = machine.step(state, events.Stop(), 30)
    assert [] == said(asked)
    state, asked = machine.step(state, events.Tick(), 3 * SECOND)
    orders = [frame.order for frame in said(asked) if isinstance(frame, ParentBeat)]
    assert [Order("run", 1)] == orders


def test_a_batch_is_heard_before_anybody_is_judged() -> None:
    """This daemon stood still for longer than the timeout; what has arrived meanwhile counts for all."""
    state = parent_node("one", "two")
    for name in ("one", "two"):
        state, _ = machine.step(state, events.FrameFromChild(name, hello(name, 1)), 0)
    late = 20 * SECOND
    beats = tuple(
        events.FrameFromChild(name, ChildBeat("c", 2, "p", UP)) for name in ("one", "two")
    )
    state, _ = machine.step(state, events.FramesFromChildren(beats), late)
    state, _ = machine.step(state, events.Tick(), late)
    assert ["c", "c"] == [link.peer for link in state.downlinks.values()]
    state, _ = machine.step(state, events.Tick(), 2 * late)
    assert [None, None] == [link.peer for link in state.downlinks.values()]


def test_an_end_that_is_said_twice_in_a_batch_is_one_end() -> None:
    """After a partition a node says hello again and again, and all of it arrives at once."""
    state, _ = machine.step(parent_node("edge"), events.FrameFromChild("edge", hello("edge", 1)), 0)
    state, _ = machine.step(
        state, events.FrameFromChild("edge", ChildBeat("c", 2, "p", UP)), SECOND
    )
    down = TreeNow("down", "c.1", "p", 1, NOCONNECTION)
    beats = tuple(
        events.FrameFromChild("edge", ChildBeat("c", seq, "p", down)) for seq in (3, 4, 5)
    )
    state, asked = machine.step(state, events.FramesFromChildren(beats), 2 * SECOND)
    reports = [effect.reason for effect in asked if isinstance(effect, Report)]
    orders = [frame.order for frame in said(asked) if isinstance(frame, ParentBeat)]
    assert ([NOCONNECTION], [Order("run", 2)]) == (reports, orders)


def test_a_late_hello_takes_back_no_reports() -> None:
    """Reports go on behind what was acknowledged, whatever an older hello says that comes after it."""
    state = parent_node("edge")
    state, _ = machine.step(state, events.FrameFromChild("edge", hello("edge", 1)), 10)
    state, _ = machine.step(state, events.ReportsOffered("edge", after=0, upto=33), 20)
    state, _ = machine.step(state, events.FrameFromChild("edge", hello("edge", 2)), 30)
    state, asked = machine.step(state, events.ReportsArrived("edge", upto=33), 40)
    assert [33] == [frame.stored for frame in said(asked) if isinstance(frame, Ack)]
    state, _ = machine.step(state, events.FrameFromChild("edge", hello("edge", 3)), 50)
    _, asked = machine.step(state, events.ReportsOffered("edge", after=33, upto=40), 60)
    assert [40] == [one.upto for one in asked if isinstance(one, effects.TakeReports)]


def test_a_tree_that_gave_up_while_its_parents_daemon_was_killed_is_counted_once() -> None:
    """The next daemon knows which life it was that ran, and what the strategy does comes before a new one."""
    state, _ = next_daemon(linked("edge"))
    down = TreeNow("down", "c.1", "p", 1, NOCONNECTION)
    greeting = Hello("edge", "c", 3, down, 2 * SECOND, 0)
    state, asked = machine.step(state, events.FrameFromChild("edge", greeting), 3 * SECOND)
    reports = [effect.reason for effect in asked if isinstance(effect, Report)]
    orders = [frame.order for frame in said(asked) if isinstance(frame, Welcome)]
    assert ([NOCONNECTION], [Order("run", 2)]) == (reports, orders)
    assert (3 * SECOND,) == state.supervisors["root"].restarts


def test_another_life_below_when_the_next_daemon_comes_is_an_end() -> None:
    """Nobody has told how; and the same life is none."""
    for life, ends in (("c.1", []), ("d.1", [UNKNOWN])):
        tree = TreeNow("up", life, None, 0)
        greeting = Hello("edge", "d", 1, tree, 2 * SECOND, 0)
        state, _ = next_daemon(linked("edge"))
        _, asked = machine.step(state, events.FrameFromChild("edge", greeting), 3 * SECOND)
        assert ends == [effect.reason for effect in asked if isinstance(effect, Report)]


def test_a_daemon_that_ends_answers_a_node_that_it_waits_for() -> None:
    """The end of the tree below was ordered before: who comes back meanwhile is told that again."""
    stop = events.Call("root", 1, "terminate_child", "edge")
    state, asked = machine.step(linked("edge"), stop, 2 * SECOND)
    state, _ = machine.step(state, events.Stop(), 3 * SECOND)
    greeting = events.FrameFromChild("edge", hello("edge", 3))
    _, again = machine.step(state, greeting, 4 * SECOND)
    last = [frames[-1] for frames in (said(asked), said(again))]
    orders = [frame.order for frame in last if isinstance(frame, ParentBeat | Welcome)]
    assert 2 * [Order("stop", 1)] == orders


def test_an_order_that_an_earlier_daemon_obeyed_starts_nothing_again() -> None:
    """The tree has given up, and its parent has not heard of that: what follows is for the parent to say."""
    welcome = Welcome("top", "p", 1, "c", 1, Order("run", 1), SECOND)
    state, _ = machine.step(child_node(), events.FrameFromParent(welcome), 10)
    state, _ = machine.step(state, events.Kill("root"), 20)
    state, asked = next_daemon(state)
    hellos = [effect.frame for effect in asked if isinstance(effect, effects.SendUp)]
    down = TreeNow("down", "c.1", "p", 1, KILLED)
    assert [down] == [frame.tree for frame in hellos if isinstance(frame, Hello)]
    again = Welcome("top", "p", 2, "q", 1, Order("run", 1), SECOND)
    state, _ = machine.step(state, events.FrameFromParent(again), 3 * SECOND)
    assert not state.supervisors["root"].alive
    anew = ParentBeat("p", 3, "q", Order("run", 2))
    state, _ = machine.step(state, events.FrameFromParent(anew), 3 * SECOND)
    assert state.supervisors["root"].alive


def test_an_order_of_the_earlier_daemon_was_the_order_of_the_next() -> None:
    """A tree that obeyed it and gave up before anybody heard that it ran is counted, not started again."""
    greeted, _ = machine.step(
        parent_node("edge"), events.FrameFromChild("edge", hello("edge", 1)), 0
    )
    for tenure, ends, order in (("p", [NOCONNECTION], 2), ("o", [], 1)):
        state, _ = next_daemon(greeted)
        down = TreeNow("down", "c.1", tenure, 1, NOCONNECTION)
        greeting = Hello("edge", "c", 3, down, 2 * SECOND, 0)
        _, asked = machine.step(state, events.FrameFromChild("edge", greeting), 3 * SECOND)
        assert ends == [effect.reason for effect in asked if isinstance(effect, Report)]
        orders = [frame.order for frame in said(asked) if isinstance(frame, Welcome)]
        assert [Order("run", order)] == orders


def test_a_late_hello_of_an_earlier_daemon_locks_nobody_out() -> None:
    """Nobody answers for that daemon any more, so the one that lives is heard when it knocks again."""
    state = parent_node("edge")
    frames: tuple[Hello | ChildBeat, ...] = (
        hello("edge", 1),
        replace(hello("edge", 9), boot="b"),  # on its way since before "c" began
        hello("edge", 2),
        ChildBeat("c", 3, "p", UP),
        replace(hello("edge", 10), boot="b"),
    )
    for now, frame in enumerate(frames):
        state, _ = machine.step(state, events.FrameFromChild("edge", frame), now)
    assert "c" == state.downlinks["edge"].peer
