"""An incarnation number is used once, and what is said of an earlier one says nothing."""

from __future__ import annotations

from typing import Any

import pytest

from supervisord_ng.core.events import Exited
from supervisord_ng.limits import SECOND
from supervisord_ng.model.exits import NORMAL
from supervisord_ng.model.spec import Heartbeat, Ready
from tests.core.node import BOOM, NOPE, Node, supervisor, worker


def started(node: Node, path: str) -> list[int]:
    """The incarnations of a child in the order of its starts."""
    lines = [line.removeprefix("start ") for line in node.lines if line.startswith("start ")]
    return [int(line.partition("#")[2]) for line in lines if line.partition("#")[0] == path]


# --- never used again -------------------------------------------------------------------------------
def test_each_attempt_has_a_number_of_its_own() -> None:
    """Failed ones too: an answer that is late must not be taken for that of the next."""
    node = Node(supervisor("root", worker("a")))
    node.fails("root/a", NOPE, NOPE)
    node.exits("root/a", BOOM)
    assert [1, 2, 3, 4] == started(node, "root/a")


def test_a_child_that_was_deleted_and_added_again_goes_on_counting() -> None:
    """Its supervisor remembers the highest number of all that it has forgotten."""
    node = Node(supervisor("root", worker("a")))
    node.exits("root/a", BOOM)
    for op in ("terminate_child", "delete_child"):
        assert "ok" == node.ask(op, "root/a").code
    assert 3 == node.ask("start_child", "root/a", spec=worker("a")).incarnation


def test_a_temporary_child_that_is_added_again_goes_on_counting() -> None:
    """It was forgotten when it ended."""
    node = Node(supervisor("root"))
    for expected in (1, 2, 3):
        spec = worker("a", restart="temporary")
        assert expected == node.ask("start_child", "root/a", spec=spec).incarnation
        node.exits("root/a", NORMAL)


def test_an_instance_that_has_the_name_of_an_earlier_one_goes_on_counting() -> None:
    """simple_one_for_one forgets who ended, not the number."""
    node = Node(supervisor("root", worker("t", restart="temporary"), strategy="simple_one_for_one"))
    for expected in (1, 2):
        assert expected == node.ask("start_child", "root/x").incarnation
        node.exits("root/x", BOOM)


def test_a_new_life_of_the_supervisor_goes_on_counting() -> None:
    """For its static children, and for one that is deleted, or dynamic, and comes back."""
    inner = supervisor("s", worker("a"), worker("b"), intensity=0)
    node = Node(supervisor("root", inner))
    node.ask("start_child", "root/s/d", spec=worker("d"))
    node.ask("terminate_child", "root/s/b")
    node.ask("delete_child", "root/s/b")
    node.exits("root/s/a", BOOM)
    node.ask("start_child", "root/s/d", spec=worker("d"))
    for path in ("root/s/a", "root/s/b", "root/s/d"):
        numbers = started(node, path)
        assert 2 == len(numbers)
        assert numbers[0] < numbers[1], path


def test_a_subtree_that_was_forgotten_goes_on_counting() -> None:
    """Everything that was below it."""
    subtree = supervisor("s", supervisor("t", worker("a")), restart="temporary")
    node = Node(supervisor("root"))
    node.ask("start_child", "root/s", spec=subtree)
    node.exits("root/s/t/a", BOOM)
    node.ask("terminate_child", "root/s")
    node.ask("start_child", "root/s", spec=subtree)
    for path in ("root/s", "root/s/t", "root/s/t/a"):
        numbers = started(node, path)
        assert sorted(set(numbers)) == numbers, path


def test_what_an_earlier_daemon_used_is_used() -> None:
    """The shell knows it from the journal."""
    used = {"root": 4, "root/a": 7, "root/s": 2, "root/s/b": 40}
    tree = supervisor("root", worker("a"), supervisor("s", worker("b")), worker("c"))
    node = Node(tree, incarnations=used)
    assert {"root/a#8", "root/s/b#41", "root/c#1"} == node.alive()
    assert [5] == started(node, "root")
    assert [3] == started(node, "root/s")


# --- news of an earlier one -------------------------------------------------------------------------
def late_in(phase: str) -> Node:
    """A node with a child in this phase, whose last incarnation was another one."""
    keys: dict[str, Any] = {}
    if phase in ("starting", "spawning"):
        keys["ready"] = Ready("notify")
    if phase == "dumping":
        keys["heartbeat"] = Heartbeat(SECOND, 2 * SECOND)
    node = Node(supervisor("root", worker("a", **keys)), incarnations={"root/a": 1})
    match phase:
        case "spawning":
            node = Node(supervisor("root", worker("a", **keys)), slow=("root/a",))
        case "dumping":
            node.keeps_stacks("root/a")
            node.beats("root/a")
            node.advance("2s")
        case "stopping":
            node.deaf("root/a")
            node.call("terminate_child", "root/a")
        case "killing":
            node.clings("root/a")
            node.main_exits("root/a", BOOM)
        case "down":
            node.ask("terminate_child", "root/a")
    assert phase == node.state.supervisors["root"].children["a"].phase.value
    return node


@pytest.mark.parametrize(
    "phase", ["down", "spawning", "starting", "running", "dumping", "stopping", "killing"]
)
def test_news_of_an_earlier_incarnation_change_nothing(phase: str) -> None:
    """All of them, in every phase."""
    node = late_in(phase)
    before = node.state.supervisors
    node.told()
    node.late("root/a")
    assert [] == node.told()
    assert before == node.state.supervisors


def test_news_of_nobody_change_nothing() -> None:
    """A child that was forgotten may still have something on its way."""
    node = Node(supervisor("root", worker("a", restart="temporary")))
    node.exits("root/a", NORMAL)
    node.told()
    node.happens(Exited("root/a", 1, BOOM))
    node.happens(Exited("root/never/was", 1, BOOM))
    assert [] == node.told()


def test_an_end_that_a_stop_has_consumed_restarts_nobody() -> None:
    """It waited in the mailbox while its child was stopped, and started again."""
    node = Node(supervisor("root", worker("a")))
    node.suspend("root")
    node.call("terminate_child", "root/a")
    node.call("restart_child", "root/a")
    node.exits("root/a", BOOM)
    node.told()
    node.resume("root")
    assert [
        "report shutdown_error root/a#1: boom -> none 0/5",
        *("reply 1: ok", "start root/a#2", "reply 2: ok root/a#2"),
    ] == node.told()
