"""A new daemon goes on with a memory that is behind, and finds whom nobody has missed."""

from __future__ import annotations

import msgspec

from supervisord_ng.core import events, succession
from supervisord_ng.core.effects import Spawn
from supervisord_ng.core.machine import resume
from supervisord_ng.limits import SECOND
from supervisord_ng.model.exits import NORMAL, UNKNOWN
from supervisord_ng.model.spec import Backoff, Ready
from tests.core.node import BOOM, Node, supervisor, worker
from tests.core.test_resume import written


def found(node: Node, *paths: str) -> None:
    """A daemon that goes on finds that these workers have ended while nobody looked."""
    for path in paths:
        del node.processes[path]
    ends = (events.Exited(path, node.row(path).incarnation or 0, UNKNOWN) for path in paths)
    node.happens(events.Found(tuple(ends)))


# --- numbers that a memory which is behind does not know ------------------------------------------
def test_numbers_that_may_have_been_used_stay_used_when_the_supervisor_restarts() -> None:
    """They do not go with the child's record."""
    node = Node(supervisor("root", supervisor("s", worker("a"))))
    node.restart_daemon(used={"root/s/a": 100})
    node.happens(events.Kill("root/s"))
    assert 101 == node.row("root/s/a").incarnation


def test_numbers_that_may_have_been_used_stay_used_when_the_child_is_added_again() -> None:
    """Nor when it is deleted."""
    node = Node(supervisor("root", worker("a")))
    node.restart_daemon(used={"root/a": 100})
    assert "ok" == node.ask("terminate_child", "root/a").code
    assert "ok" == node.ask("delete_child", "root/a").code
    assert "ok" == node.ask("start_child", "root/a", spec=worker("a")).code
    assert 101 == node.row("root/a").incarnation


def test_the_numbers_of_a_forgotten_child_are_used() -> None:
    """Its supervisor may have been restarted with it, and the memory not know that yet."""
    node = Node(supervisor("root", supervisor("s", worker("a", restart="temporary"))))
    node.exits("root/s/a", NORMAL)
    node.restart_daemon(used={"root/s/a": 5})
    node.happens(events.Kill("root/s"))
    assert 6 == node.row("root/s/a").incarnation


def test_a_number_that_was_retired_meanwhile_is_not_that_of_a_start_on_its_way() -> None:
    """A sibling with a higher number was deleted: who answers has the number that was given."""
    tree = supervisor("root", worker("old"), worker("a", autostart=False))
    node = Node(tree, slow=("root/a",))
    for _ in range(3):
        node.exits("root/old", BOOM)
    node.call("restart_child", "root/a")
    started = node.state
    assert 4 == node.row("root/old").incarnation
    behind = written(started)
    behind = msgspec.structs.replace(
        behind,
        supervisors={"root": msgspec.structs.replace(behind.supervisors["root"], retired=4)},
    )
    state, asked = resume(tree, behind, seed=0, now=node.now, incarnations={"root/a": 0})
    assert [1] == [effect.incarnation for effect in asked if isinstance(effect, Spawn)]
    assert 1 == state.supervisors["root"].children["a"].incarnation


def test_who_was_disowned_leaves_its_number_behind() -> None:
    """It was started by a step that is forgotten; nobody else gets its number."""
    node = Node(supervisor("root", worker("a"), supervisor("s", worker("b"))))
    node.restart_daemon()
    node.happens(events.Disowned("root/a", 7))
    node.happens(events.Disowned("root/s/gone", 9))
    node.exits("root/a", BOOM)
    assert 8 == node.row("root/a").incarnation
    assert "ok" == node.ask("start_child", "root/s/gone", spec=worker("gone")).code
    assert 10 == node.row("root/s/gone").incarnation
    assert 8 == succession.last_seen(written(node.state).children["root/a"])


# --- what is found when nobody has looked ---------------------------------------------------------
def test_who_obeyed_while_no_daemon_ran_is_not_said_to_have_been_killed() -> None:
    """What is found is of the past: it is heard before the time is judged."""
    node = Node(supervisor("root", worker("a", shutdown="5s"), worker("b")))
    node.deaf("root/a")
    node.call("terminate_child", "root/a")
    node.restart_daemon()
    node.now += 6 * SECOND
    found(node, "root/a")
    assert [] == node.reports
    assert "stopped" == node.words()["root/a"]


def test_everyone_who_died_is_reported_though_one_would_have_stopped_the_other() -> None:
    """Both died by nobody's wish: the first is no reason for the end of the second."""
    tree = supervisor("root", worker("a"), worker("b"), strategy="one_for_all")
    node = Node(tree)
    node.restart_daemon()
    found(node, "root/a", "root/b")
    told = {(report.path, report.incarnation, report.reason) for report in node.reports}
    assert {("root/a", 1, UNKNOWN), ("root/b", 1, UNKNOWN)} == told
    assert [2, 2] == [node.row(path).incarnation for path in ("root/a", "root/b")]


def test_a_start_that_failed_is_made_again_once() -> None:
    """Somebody else who is found dead too does not make its supervisor start it beside that."""
    slow = worker("slow", ready=Ready(kind="notify"))
    node = Node(supervisor("root", worker("a"), slow, start_failure="retry"))
    node.restart_daemon()
    found(node, "root/a", "root/slow")
    node.ready("root/slow")
    assert {"root/a": 2, "root/slow": 2} == {
        path: node.row(path).incarnation for path in ("root/a", "root/slow")
    }


# --- whom no file put where it is -----------------------------------------------------------------
def test_who_was_forgotten_and_added_by_hand_keeps_its_place() -> None:
    """The file names it elsewhere, and otherwise."""
    tree = supervisor("root", worker("a", restart="temporary"), worker("b"))
    node = Node(tree)
    node.exits("root/a", NORMAL)
    assert "ok" == node.ask("start_child", "root/a", spec=worker("a", shutdown="7s")).code
    before = node.state
    node.restart_daemon()
    children = node.state.supervisors["root"].children
    assert ["b", "a"] == list(before.supervisors["root"].children) == list(children)
    assert worker("a", shutdown="7s") == children["a"].spec


def test_whom_another_strategy_does_not_take_along_is_started_all_the_same() -> None:
    """It was stopped for the restart of a sibling, which waits for its back-off."""
    backoff = Backoff(initial_ns=SECOND, max_ns=SECOND, jitter=0.0)
    children = (worker("a", backoff=backoff), worker("b"))
    node = Node(supervisor("root", *children, strategy="rest_for_one"))
    node.exits("root/a", BOOM)
    node.restart_daemon(supervisor("root", *children, strategy="one_for_one"))
    assert "running" == node.words()["root/b"]
    node.advance("1s")
    assert {"root/a#2", "root/b#2"} == node.alive()


def test_who_is_new_is_started_though_the_restart_that_was_under_way_fails() -> None:
    """The retry is about somebody else."""
    slow = worker("a", ready=Ready(kind="notify"))
    node = Node(supervisor("root", slow, worker("b")))
    node.ready("root/a")
    node.exits("root/a", BOOM)
    node.restart_daemon(supervisor("root", slow, worker("b"), worker("new")))
    node.exits("root/a", BOOM)
    node.ready("root/a")
    assert "running" == node.words()["root/new"]


def test_who_is_still_to_be_stopped_when_the_strategy_changes_is_started_again() -> None:
    """The restart that stops it is carried on, its retry goes by the other strategy."""
    backoff = Backoff(initial_ns=SECOND, max_ns=SECOND, jitter=0.0)
    children = (worker("a", backoff=backoff), worker("b", shutdown="5s"))
    node = Node(supervisor("root", *children, strategy="rest_for_one"))
    node.deaf("root/b")
    node.exits("root/a", BOOM)
    node.restart_daemon(supervisor("root", *children, strategy="one_for_one"))
    node.advance("6s")
    assert {"root/a#2", "root/b#2"} == node.alive()
