"""What a worker says of its own life: more time, another pace of beats, that it is about to end."""

from __future__ import annotations

from typing import Any

import pytest

from supervisord_ng.core import events
from supervisord_ng.limits import SECOND
from supervisord_ng.model.exits import UNKNOWN, ExitStatus
from supervisord_ng.model.spec import Heartbeat, Ready
from tests.core.node import BOOM, Node, supervisor, worker

BEATING = Heartbeat(SECOND, 5 * SECOND)


def booted(**keys: Any) -> Node:
    """A node with one worker, whose start is told already."""
    node = Node(supervisor("root", worker("a", **keys)))
    if keys.get("ready") is None:
        node.told()
    return node


def extend(node: Node, seconds: int) -> None:
    """The worker needs more time."""
    node.happens(events.Extended("root/a", 1, seconds * SECOND))


def change(node: Node, seconds: int) -> None:
    """The worker sets the timeout of its heartbeat."""
    node.happens(events.HeartbeatChanged("root/a", 1, seconds * SECOND))


def stopping(node: Node) -> None:
    """The worker begins to end."""
    node.happens(events.SelfStopping("root/a", 1))


def state(node: Node) -> str:
    """The word of the worker."""
    return node.words()["root/a"]


# --- more time -----------------------------------------------------------------------------------
def test_a_start_is_given_more_time() -> None:
    """From now, not on top of what was left; the last word counts until it is over."""
    node = booted(ready=Ready("notify"), ready_timeout="10s")
    node.advance("8s")
    extend(node, 5)
    node.advance("4s")
    assert "starting" == state(node)
    node.advance("1s")
    assert "kill root/a#1" in node.told()


def test_more_time_never_means_less() -> None:
    """A request for less than is left changes nothing."""
    node = booted(ready=Ready("notify"), ready_timeout="10s")
    extend(node, 1)
    node.advance("9s")
    assert "starting" == state(node)


def test_a_stop_is_given_more_time() -> None:
    """As long as the worker goes on asking."""
    node = booted(shutdown="5s")
    node.deaf("root/a")
    node.stop()
    for _ in range(3):
        node.advance("4s")
        extend(node, 5)
    assert ["ask root/a#1"] == [line for line in node.told() if "root/a" in line]
    node.advance("5s")
    assert "kill root/a#1" in node.told()


def test_a_beat_is_given_more_time_once() -> None:
    """The next beat may come late; the one after that is due as ever."""
    node = booted(heartbeat=BEATING)
    node.beats("root/a")
    extend(node, 60)
    node.advance("59s")
    assert "running" == state(node)
    node.beats("root/a")
    node.advance("5s")
    assert "dump root/a#1" in node.told()


def test_who_is_not_waited_for_gets_no_deadline() -> None:
    """More time for a running worker without a heartbeat is no reason to wait for anything."""
    node = booted()
    extend(node, 1)
    node.advance("1h")
    assert ("running", []) == (state(node), node.told())


def test_a_hung_worker_gets_no_more_time() -> None:
    """Neither while its stacks are collected nor while it is being killed."""
    node = booted(heartbeat=BEATING)
    node.keeps_stacks("root/a")
    node.clings("root/a")
    node.beats("root/a")
    node.advance("5s")
    extend(node, 60)
    node.advance("1s")
    extend(node, 60)
    node.advance("5s")
    kills = [line for line in node.told() if line == "kill root/a#1"]
    assert 2 == len(kills)


# --- another pace --------------------------------------------------------------------------------
def test_the_timeout_of_the_heartbeat_changes() -> None:
    """It holds from that moment, which counts as a beat, and for each beat that follows."""
    node = booted(heartbeat=BEATING)
    node.beats("root/a")
    change(node, 20)
    node.advance("19s")
    node.beats("root/a")
    node.advance("19s")
    assert "running" == state(node)
    node.advance("1s")
    assert "dump root/a#1" in node.told()


def test_a_timeout_of_zero_ends_the_judging() -> None:
    """Beats that still come do not begin it again."""
    node = booted(heartbeat=BEATING)
    change(node, 0)
    node.beats("root/a")
    node.advance("1h")
    assert "running" == state(node)


def test_a_worker_may_ask_to_be_judged() -> None:
    """Without `heartbeat` in the tree file too, as systemd's WATCHDOG_USEC without WatchdogSec."""
    node = booted()
    change(node, 3)
    node.advance("3s")
    assert "dump root/a#1" in node.told()


def test_a_pace_set_while_starting_holds_when_ready() -> None:
    """The first beat is due within `ready_timeout` of exec as ever, the second after the new time."""
    node = booted(heartbeat=BEATING, ready=Ready("notify"), ready_timeout="10s")
    change(node, 20)
    node.ready("root/a")
    node.advance("19s")
    assert "running" == state(node)
    node.beats("root/a")
    node.advance("20s")
    assert "dump root/a#1" in node.told()


def test_the_next_incarnation_begins_as_specified() -> None:
    """What an incarnation set ends with it."""
    node = booted(heartbeat=BEATING)
    change(node, 0)
    node.exits("root/a", BOOM)
    node.beats("root/a")
    node.advance("5s")
    assert "dump root/a#2" in node.told()


# --- the end -------------------------------------------------------------------------------------
def test_who_stops_by_itself_is_not_asked_and_not_judged() -> None:
    """It is `stopping`, its beats may cease, and its end is judged as any other: restarted here."""
    node = booted(heartbeat=BEATING, shutdown="1h")
    node.beats("root/a")
    stopping(node)
    node.advance("59m")
    assert "stopping" == state(node)
    node.exits("root/a", ExitStatus(code=0))
    assert ["exit root/a#1: exit:0", "start root/a#2"] == [
        line for line in node.told() if not line.startswith("report")
    ]


def test_who_stops_by_itself_has_the_time_of_a_stop() -> None:
    """Then it is killed, which is a crash, because nobody asked for its end."""
    node = booted(shutdown="5s")
    stopping(node)
    node.advance("4s")
    assert [] == node.told()
    node.advance("1s")
    told = node.told()
    assert "kill root/a#1" in told
    assert "report child_terminated root/a#1: signal:SIGKILL -> restart 1/5" in told


def test_what_a_worker_leaves_behind_by_itself_is_killed() -> None:
    """As after any end that nobody asked for."""
    node = booted(shutdown="1h")
    stopping(node)
    node.main_exits("root/a", ExitStatus(code=1))
    assert "kill root/a#1" in node.told()


def test_a_stop_of_who_stops_already_waits_for_it() -> None:
    """No second signal, the time goes on, and its end is what was asked for."""
    node = booted(shutdown="5s", restart="transient")
    stopping(node)
    node.advance("3s")
    node.stop()
    assert [] == [line for line in node.told() if "root/a" in line]
    node.advance("1s")
    node.exits("root/a", ExitStatus(code=0))
    assert ["exit root/a#1: exit:0", "exit root#1: shutdown"] == node.told()[:2]


@pytest.mark.parametrize("by_operator", [False, True])
def test_brutal_kill_waits_only_for_who_was_not_asked(by_operator: bool) -> None:  # noqa: FBT001
    """The default time when the worker ends by itself, none when its supervisor wants its end."""
    node = booted(shutdown="brutal_kill")
    node.deaf("root/a")
    stopping(node)
    node.advance("4s")
    assert [] == node.told()
    if by_operator:
        node.stop()
    else:
        node.advance("1s")
    assert "kill root/a#1" in node.told()


def test_infinity_waits_for_ever() -> None:
    """`shutdown = "infinity"`: whoever ends by itself may take as long."""
    node = booted(shutdown="infinity", heartbeat=BEATING)
    stopping(node)
    node.advance("24h")
    assert "stopping" == state(node)


# --- another main process ------------------------------------------------------------------------
def test_a_new_main_process_is_the_one_that_is_shown() -> None:
    """Until the end of the incarnation; nothing else changes."""
    node = booted()
    before = node.row("root/a")
    node.happens(events.MainChanged("root/a", 1, 4711))
    after = node.row("root/a")
    assert (4711, before.state, before.incarnation) == (after.pid, after.state, after.incarnation)
    node.exits("root/a", BOOM)
    assert 4711 != node.row("root/a").pid


def test_an_end_that_nobody_saw_is_a_crash_unless_it_was_wanted() -> None:
    """Who was reaped by somebody else: we know that it ended, not how."""
    node = booted()
    node.exits("root/a", UNKNOWN)
    assert "report child_terminated root/a#1: unknown -> restart 1/5" in node.told()
    node.obeys_with("root/a", UNKNOWN)
    node.call("terminate_child", "root/a")
    assert [] == [line for line in node.told() if line.startswith("report")]


def test_words_that_come_too_late_say_nothing() -> None:
    """In phases that they do not fit, and of incarnations that are gone."""
    node = booted(shutdown="5s", ready=Ready("notify"))
    stopping(node)  # while it starts: its start is bounded already
    assert "starting" == state(node)
    node.ready("root/a")
    node.exits("root/a", BOOM)
    before = node.state
    stopping(node)
    extend(node, 9)
    change(node, 9)
    assert before == node.state
    node.call("terminate_child", "root/a")
    for word in (
        events.SelfStopping("root/a", 2),
        events.Extended("root/a", 2, SECOND),
        events.HeartbeatChanged("root/a", 2, SECOND),
    ):
        node.happens(word)  # of one that is down
    assert "stopped" == state(node)
