"""A supervisor that dies untrappably: its tree dies with it, unasked, and its parent sees an ordinary crash."""

from __future__ import annotations

from supervisord_ng.core import events
from supervisord_ng.model.exits import ExitStatus
from tests.core.node import Node, supervisor, worker


def nested() -> Node:
    """A root over s over t, each with workers."""
    inner = supervisor("t", worker("c"))
    node = Node(supervisor("root", worker("a"), supervisor("s", worker("b"), inner)))
    node.told()
    return node


def test_everything_below_is_killed_at_once_and_nothing_restarts_before_it_is_gone() -> None:
    """OTP would let the orphans die of their broken links whenever; a port is taken once."""
    node = nested()
    node.clings("root/s/t/c")
    node.kill_supervisor("root/s")
    assert [
        *("exit root/s#1: killed", "kill root/s/b#1"),
        *("exit root/s/t#1: killed", "kill root/s/t/c#1"),
        "exit root/s/b#1: signal:SIGKILL",
    ] == node.told()
    node.exits("root/s/t/c", ExitStatus(signal=9))
    assert [
        "exit root/s/t/c#1: signal:SIGKILL",
        "report child_terminated root/s#1: killed -> restart 1/5",
        *("start root/s#2", "start root/s/b#2"),
        *("start root/s/t#2", "start root/s/t/c#2", "up root/s/t#2", "up root/s#2"),
    ] == node.told()


def test_it_counts_as_one_restart_of_its_parent() -> None:
    """And as any crash for its own restart type."""
    for restart, word in (("permanent", "running"), ("transient", "running")):
        node = Node(supervisor("root", supervisor("s", worker("a"), restart=restart)))
        node.kill_supervisor("root/s")
        assert word == node.words()["root/s"]
    node = Node(supervisor("root", supervisor("s", worker("a"), restart="temporary")))
    node.kill_supervisor("root/s")
    assert {"root": "running"} == node.words()


def test_its_callers_learn_what_it_died_of() -> None:
    """A call that waited in its mailbox is answered noproc, with the reason."""
    node = nested()
    node.suspend("root/s")
    node.call("terminate_child", "root/s/b")
    node.kill_supervisor("root/s")
    assert "reply 1: noproc killed" in node.told()


def test_an_operator_whose_call_was_under_way_is_answered_too() -> None:
    """Nobody waits for ever."""
    node = nested()
    node.deaf("root/s/b")
    node.call("terminate_child", "root/s/b")
    node.kill_supervisor("root/s")
    assert "noproc" == node.replies[1].code


def test_the_root_killed_is_the_end() -> None:
    """Nothing is left, and nobody had asked."""
    node = nested()
    node.kill_supervisor("root")
    assert "halt: killed" == node.told()[-1]
    assert set() == node.alive()


def test_one_that_is_slow_to_stop_can_be_killed() -> None:
    """Its parent's patience ends with the `shutdown` of the supervisor: then the whole subtree is killed."""
    node = Node(
        supervisor("root", supervisor("s", worker("a", shutdown="infinity"), shutdown="3s"))
    )
    node.deaf("root/s/a")
    node.told()
    node.stop()
    node.advance("3s")
    assert [
        *("ask root/s#1", "ask root/s/a#1"),
        *("exit root/s#1: killed", "kill root/s/a#1", "exit root/s/a#1: signal:SIGKILL"),
        "report shutdown_error root/s#1: killed -> none 0/5",
        *("exit root#1: shutdown", "halt: shutdown, asked"),
    ] == node.told()


def test_what_is_dead_cannot_be_killed() -> None:
    """An event about a supervisor that is not there changes nothing."""
    node = nested()
    node.ask("terminate_child", "root/s")
    before = node.state
    node.told()
    for path in ("root/s", "root/nobody", "root/a"):
        node.happens(events.Kill(path))
    assert [] == node.told()
    assert before == node.state
