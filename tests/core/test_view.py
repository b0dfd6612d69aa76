"""What `status` says: each state word, when it is said, and the facts beside it."""

from __future__ import annotations

from typing import Any

import pytest

from supervisord_ng.limits import SECOND
from supervisord_ng.model.exits import NORMAL, ExitStatus
from supervisord_ng.model.spec import Backoff, Heartbeat, Ready
from supervisord_ng.model.status import State
from tests.core.node import BOOM, NOPE, Node, supervisor, worker

SLOW = Ready("notify")


def waiting() -> Node:
    """Its elder sibling is not ready yet."""
    return Node(supervisor("root", worker("x", ready=SLOW), worker("a")))


def spawning() -> Node:
    """exec has not been heard of yet."""
    return Node(supervisor("root", worker("a")), slow=("root/a",))


def starting() -> Node:
    """It exists, and has not said that it is ready."""
    return Node(supervisor("root", worker("a", ready=SLOW)))


def running() -> Node:
    """It is ready."""
    return Node(supervisor("root", worker("a")))


def dumping() -> Node:
    """It hangs, and its stacks are being collected: it still runs."""
    node = Node(supervisor("root", worker("a", heartbeat=Heartbeat(SECOND, 2 * SECOND))))
    node.keeps_stacks("root/a")
    node.beats("root/a")
    node.advance("2s")
    return node


def stopping() -> Node:
    """It was asked to end."""
    node = running()
    node.deaf("root/a")
    node.call("terminate_child", "root/a")
    return node


def killing() -> Node:
    """It was killed, and is not gone yet."""
    node = running()
    node.clings("root/a")
    node.main_exits("root/a", BOOM)
    return node


def stopped() -> Node:
    """By an operator."""
    node = running()
    node.ask("terminate_child", "root/a")
    return node


def never_started() -> Node:
    """Not autostarted."""
    return Node(supervisor("root", worker("a", autostart=False)))


def exited() -> Node:
    """It ended, and is not to be restarted."""
    node = Node(supervisor("root", worker("a", restart="transient")))
    node.exits("root/a", NORMAL)
    return node


def ignored() -> Node:
    """There was nothing to start."""
    return Node(supervisor("root", worker("a")), fails={"root/a": [None]})


def backoff() -> Node:
    """It waits for its restart."""
    node = Node(supervisor("root", worker("a", backoff=Backoff(SECOND, jitter=0.0))))
    node.exits("root/a", BOOM)
    return node


def siblings_first() -> Node:
    """It crashed, and its siblings are being stopped before it is started again."""
    node = Node(supervisor("root", worker("a"), worker("x"), strategy="one_for_all"))
    node.deaf("root/x")
    node.exits("root/a", BOOM)
    return node


def unnoticed() -> Node:
    """It crashed, and its supervisor is busy with something else."""
    node = Node(supervisor("root", worker("a"), worker("x")))
    node.deaf("root/x")
    node.call("terminate_child", "root/x")
    node.exits("root/a", BOOM)
    return node


def sibling_of_backoff() -> Node:
    """It was stopped for a restart that waits."""
    pause = Backoff(SECOND, jitter=0.0)
    node = Node(
        supervisor("root", worker("x", backoff=pause), worker("a"), strategy="rest_for_one")
    )
    node.exits("root/x", BOOM)
    return node


def failed() -> Node:
    """An operator's start of it failed, and nobody tries again."""
    node = stopped()
    node.fails("root/a", NOPE)
    node.ask("restart_child", "root/a")
    return node


def below_a_dead_supervisor() -> Node:
    """Its supervisor gave up at the boot, before its turn had come."""
    return Node(supervisor("root", worker("x"), worker("a")), fails={"root/x": [NOPE]})


SITUATIONS = {
    waiting: State.WAITING,
    spawning: State.STARTING,
    starting: State.STARTING,
    running: State.RUNNING,
    dumping: State.RUNNING,
    stopping: State.STOPPING,
    killing: State.STOPPING,
    stopped: State.STOPPED,
    never_started: State.STOPPED,
    exited: State.EXITED,
    ignored: State.EXITED,
    backoff: State.BACKOFF,
    siblings_first: State.RESTARTING,
    unnoticed: State.RESTARTING,
    sibling_of_backoff: State.WAITING,
    failed: State.FAILED,
    below_a_dead_supervisor: State.STOPPED,
}


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.__name__)
def test_the_word_fits_the_situation(situation: Any) -> None:
    """Each by an incident that leads to it."""
    assert SITUATIONS[situation] == situation().row("root/a").state


def test_every_word_can_be_said() -> None:
    """But `lost`, which is for children on other nodes."""
    assert set(State) - {State.LOST} == set(SITUATIONS.values())


def test_the_root_in_its_life() -> None:
    """Starting, running, stopping, stopped."""
    node = starting()
    said = [node.row("root").state]
    node.ready("root/a")
    said.append(node.row("root").state)
    node.deaf("root/a")
    node.stop()
    said.append(node.row("root").state)
    node.advance("5s")
    said.append(node.row("root").state)
    assert [State.STARTING, State.RUNNING, State.STOPPING, State.STOPPED] == said


def test_a_supervisor_between_two_lives() -> None:
    """As a child it has the words of a child."""
    node = Node(supervisor("root", supervisor("s", worker("a"), restart="temporary"), worker("x")))
    node.ask("terminate_child", "root/s")
    assert {"root", "root/x"} == set(node.words())
    node = Node(supervisor("root", supervisor("s", worker("a"))))
    node.ask("terminate_child", "root/s")
    assert {"root": "running", "root/s": "stopped", "root/s/a": "stopped"} == node.words()


def test_a_failed_start_is_tried_again_behind_what_waits() -> None:
    """Meanwhile it is `restarting`, which cannot be seen from outside unless something else takes time."""
    node = Node(supervisor("root", worker("a"), worker("x"), intensity=9))
    node.deaf("root/x")
    node.suspend("root")
    node.fails("root/a", NOPE)
    node.exits("root/a", BOOM)
    node.call("terminate_child", "root/x")
    node.resume("root")
    assert State.RESTARTING == node.row("root/a").state
    node.advance("5s")
    assert State.RUNNING == node.row("root/a").state


def test_rows_are_in_tree_order() -> None:
    """Depth first, children in start order, the root first."""
    tree = supervisor(
        "root", worker("a"), supervisor("s", worker("b"), supervisor("t", worker("c"))), worker("d")
    )
    paths = ["root", "root/a", "root/s", "root/s/b", "root/s/t", "root/s/t/c", "root/d"]
    assert paths == list(Node(tree).words())


def test_the_facts_of_a_worker() -> None:
    """Its process, how long it runs, how often it was restarted, and how it ended last."""
    node = running()
    node.advance("7s")
    node.exits("root/a", ExitStatus(code=3))
    node.advance("2s")
    row = node.row("root/a")
    assert ("worker", "root", "a") == (row.kind, row.supervisor, row.name)
    assert (2, 1, 2.0) == (row.incarnation, row.restarts, row.uptime_s)
    assert ("exit:3", False) == (row.last_exit, row.last_exit_ok)
    assert row.ready
    assert row.pid is not None
    node.ask("terminate_child", "root/a")
    row = node.row("root/a")
    assert (None, None, False) == (row.pid, row.uptime_s, row.ready)
    assert ("signal:SIGTERM", True) == (row.last_exit, row.last_exit_ok)


def test_the_facts_of_a_supervisor() -> None:
    """Its strategy and limit, and how many restarts are in its window now."""
    node = Node(supervisor("root", worker("a"), strategy="rest_for_one", intensity=3, period="4s"))
    node.exits("root/a", BOOM)
    node.advance("4s")
    row = node.row("root")
    assert ("rest_for_one", 3, 4.0, 1) == (
        row.strategy,
        row.intensity,
        row.period_s,
        row.restarts_in_window,
    )
    node.advance(1)
    assert 0 == node.row("root").restarts_in_window


def test_restarts_count_what_nobody_ordered() -> None:
    """With a sibling and with the supervisor too; starts by hand and first starts do not."""
    inner = supervisor("s", worker("a"), worker("b"), strategy="one_for_all", intensity=1)
    node = Node(supervisor("root", inner))
    node.exits("root/s/b", BOOM)
    assert 1 == node.row("root/s/a").restarts
    node.exits("root/s/b", BOOM)
    assert 2 == node.row("root/s/a").restarts
    node.ask("terminate_child", "root/s")
    node.ask("restart_child", "root/s")
    assert 2 == node.row("root/s/a").restarts
