"""A worker is gone when all of its processes are: nothing is started again, and nobody is told, before that."""

from __future__ import annotations

from typing import Any

from supervisord_ng.core import events
from supervisord_ng.limits import DUMP_WAIT_NS, KILL_RESEND_NS, SECOND
from supervisord_ng.model.exits import NORMAL, ExitStatus, abnormal
from supervisord_ng.model.spec import Heartbeat, Ready
from tests.core.node import BOOM, Node, supervisor, worker

OK = ExitStatus(code=0)
CRASH = ExitStatus(code=1)


def alone(**keys: Any) -> Node:
    """A node with the worker a, whose start has been told."""
    node = Node(supervisor("root", worker("a", **keys)))
    node.told()
    return node


# --- a main process that ends and leaves others behind --------------------------------------------
def test_what_a_crash_leaves_behind_is_killed_before_the_restart() -> None:
    """RUNNING: it may hold a port or a file; the restart waits until it is gone."""
    node = alone()
    node.clings("root/a")
    node.main_exits("root/a", CRASH)
    assert ["exit root/a#1: exit:1", "kill root/a#1"] == node.told()
    assert "stopping" == node.words()["root/a"]
    node.emptied("root/a")
    assert [
        "report child_terminated root/a#1: exit:1 -> restart 1/5",
        "start root/a#2",
    ] == node.told()


def test_what_a_stop_leaves_behind_is_asked_within_the_same_time() -> None:
    """STOPPING: it gets the stop signal as a whole, and is killed when the shutdown time is over."""
    node = alone(shutdown="5s")
    node.processes["root/a"].rest = True
    node.deaf("root/a")
    node.call("terminate_child", "root/a")
    node.advance("2s")
    node.main_exits("root/a", OK)
    assert ["ask root/a#1", "exit root/a#1: exit:0", "ask root/a#1 all"] == node.told()
    node.advance("2999ms")
    assert [] == node.told()
    node.advance("1ms")
    assert [
        "kill root/a#1",
        "report shutdown_error root/a#1: killed -> none 0/5",
        "reply 1: ok",
    ] == node.told()


def test_a_rest_that_obeys_is_no_error() -> None:
    """STOPPING: the verdict is that of the main process."""
    node = alone()
    node.processes["root/a"].rest = True
    node.call("terminate_child", "root/a")
    assert [
        *("ask root/a#1", "exit root/a#1: signal:SIGTERM", "ask root/a#1 all"),
        "reply 1: ok",
    ] == node.told()


def test_what_dies_of_sigkill_in_parts_is_killed_until_nothing_is_left() -> None:
    """KILLING: the main process went, the others are killed again; the reason stays the first."""
    node = alone(shutdown="brutal_kill")
    node.clings("root/a")
    node.call("terminate_child", "root/a")
    node.main_exits("root/a", ExitStatus(signal=9))
    assert ["kill root/a#1", "exit root/a#1: signal:SIGKILL", "kill root/a#1"] == node.told()
    node.emptied("root/a")
    assert ["reply 1: ok"] == node.told()


def test_a_start_that_leaves_others_behind_is_retried_when_they_are_gone() -> None:
    """STARTING: a failed start, as soon as nothing is left of it."""
    node = Node(supervisor("root", worker("a", ready=Ready("notify")), start_failure="retry"))
    node.clings("root/a")
    node.told()
    node.main_exits("root/a", CRASH)
    assert ["exit root/a#1: exit:1", "kill root/a#1"] == node.told()
    node.emptied("root/a")
    assert [
        "failed root/a#1: start_failed:exit:1",
        "report start_error root/a undefined: start_failed:exit:1 -> restart 0/5",
        *("up root#1", "tree up", "start root/a#2"),
    ] == node.told()


def test_one_that_hangs_and_ends_in_parts_still_hung() -> None:
    """DUMPING: the cause is the hang, however it ends."""
    node = alone(heartbeat=Heartbeat(SECOND, 2 * SECOND), ready_timeout="1s")
    node.keeps_stacks("root/a")
    node.clings("root/a")
    node.advance("2s")
    node.main_exits("root/a", OK)
    node.emptied("root/a")
    assert [
        *("dump root/a#1", "exit root/a#1: exit:0", "kill root/a#1"),
        "report child_terminated root/a#1: heartbeat_timeout -> restart 1/5",
        "start root/a#2",
    ] == node.told()


def test_an_end_is_its_readiness_also_with_others_left() -> None:
    """ready = "exit": the start succeeded, its rest is cleaned away, then it has ended."""
    node = Node(supervisor("root", worker("a", ready=Ready("exit"), restart="transient")))
    node.clings("root/a")
    node.told()
    node.main_exits("root/a", OK)
    node.emptied("root/a")
    assert [
        *("exit root/a#1: exit:0", "ready root/a#1", "kill root/a#1"),
        *("up root#1", "tree up"),
    ] == node.told()
    assert "exited" == node.words()["root/a"]


# --- what does not want to end --------------------------------------------------------------------
def test_sigkill_is_sent_again_and_again() -> None:
    """A process in uninterruptible sleep survives it; nothing is started beside it."""
    node = alone()
    node.clings("root/a")
    node.main_exits("root/a", CRASH)
    node.told()
    for _ in range(3):
        node.advance(KILL_RESEND_NS)
        assert ["kill root/a#1"] == node.told()


def test_stacks_that_do_not_come_are_not_waited_for() -> None:
    """A hung worker is killed when its stacks have been waited for long enough, or have arrived."""
    for mute, wait in ((True, DUMP_WAIT_NS), (False, 0)):
        node = alone()
        if mute:
            node.keeps_stacks("root/a")
        node.happens(events.Unresponsive("root/a", 1, abnormal("liveness")))
        node.advance(wait)
        assert [
            *("dump root/a#1", "kill root/a#1", "exit root/a#1: signal:SIGKILL"),
            "report child_terminated root/a#1: liveness -> restart 1/5",
            "start root/a#2",
        ] == node.told()


def test_a_crash_while_its_siblings_are_stopped_does_not_count_again() -> None:
    """STOPPING: an abnormal end of one that was asked is an error report, and no restart of its own."""
    node = Node(supervisor("root", worker("a"), worker("b"), strategy="one_for_all"))
    node.obeys_with("root/b", CRASH)
    node.told()
    node.exits("root/a", BOOM)
    assert [
        "exit root/a#1: boom",
        "report child_terminated root/a#1: boom -> restart 1/5",
        *("ask root/b#1", "exit root/b#1: exit:1"),
        "report shutdown_error root/b#1: exit:1 -> none 1/5",
        *("start root/a#2", "start root/b#2"),
    ] == node.told()


def test_a_worker_that_is_on_its_way_is_stopped_when_it_has_arrived() -> None:
    """SPAWNING: there is nobody to be asked yet; readiness is not waited for."""
    for ready in (Ready("exec"), Ready("notify")):
        node = Node(supervisor("root", worker("a", ready=ready)), slow=("root/a",))
        node.stop(NORMAL)
        assert ["start root#1", "start root/a#1"] == node.told()
        node.spawned("root/a")
        assert [
            *("ask root/a#1", "exit root/a#1: signal:SIGTERM"),
            *("exit root#1: normal", "halt: normal, asked"),
        ] == node.told()
