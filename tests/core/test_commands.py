"""Calls of an operator: what is refused and why, and that everybody is answered exactly once."""

from __future__ import annotations

import pytest

from supervisord_ng.core.events import Call
from supervisord_ng.model.exits import NORMAL
from supervisord_ng.model.spec import Ready
from tests.core.node import BOOM, NOPE, Node, supervisor, worker


def test_the_same_words_as_otp() -> None:
    """Each call about a child that runs, that is down, that is being retried, and that is not there."""
    node = Node(supervisor("root", worker("up"), worker("down"), worker("again")))
    node.ask("terminate_child", "root/down")
    node.suspend("root")
    node.fails("root/again", NOPE)
    node.exits("root/again", BOOM)
    asked = [
        node.call(op, f"root/{name}", **({"spec": worker(name)} if op == "start_child" else {}))
        for op in ("start_child", "restart_child", "delete_child")
        for name in ("up", "again")
    ]
    node.resume("root")
    assert [
        *("already_started", "already_present"),
        *("running", "restarting"),
        *("running", "restarting"),
    ] == [node.replies[request].code for request in asked]
    assert "already_present" == node.ask("start_child", "root/down", spec=worker("down")).code
    for op in ("terminate_child", "restart_child", "delete_child"):
        assert "not_found" == node.ask(op, "root/nobody").code


@pytest.mark.parametrize(
    ("auto_shutdown", "restart", "expected"),
    [
        ("never", "temporary", "{bad_combination,[{auto_shutdown,never},{significant,true}]}"),
        ("never", "permanent", "{bad_combination,[{auto_shutdown,never},{significant,true}]}"),
        (
            "any_significant",
            "permanent",
            "{bad_combination,[{restart,permanent},{significant,true}]}",
        ),
    ],
)
def test_a_significant_child_that_could_never_be_so_is_invalid(
    auto_shutdown: str, restart: str, expected: str
) -> None:
    """Nothing is kept of it."""
    node = Node(supervisor("root", auto_shutdown=auto_shutdown))
    spec = worker("a", restart=restart, significant=True)
    reply = node.ask("start_child", "root/a", spec=spec)
    assert ("invalid", expected) == (reply.code, reply.reason.text if reply.reason else "")
    assert {} == node.state.supervisors["root"].children


@pytest.mark.parametrize("auto_shutdown", ["any_significant", "all_significant"])
@pytest.mark.parametrize("restart", ["transient", "temporary"])
def test_a_significant_child_can_be_added(auto_shutdown: str, restart: str) -> None:
    """Every legal combination."""
    node = Node(supervisor("root", auto_shutdown=auto_shutdown))
    spec = worker("a", restart=restart, significant=True)
    assert "ok" == node.ask("start_child", "root/a", spec=spec).code


def test_what_cannot_be_started_by_hand_is_told_to_the_hand_alone() -> None:
    """No report, no retry, no count; an added child is not kept, a known one is."""
    node = Node(supervisor("root", worker("a")))
    node.ask("terminate_child", "root/a")
    node.told()
    for op, path in (("restart_child", "root/a"), ("start_child", "root/b")):
        node.fails(path, NOPE)
        reply = node.ask(op, path, **({"spec": worker("b")} if op == "start_child" else {}))
        assert ("start_failed", "nope") == (reply.code, reply.reason.text if reply.reason else "")
    assert [] == node.reports
    assert 0 == node.row("root").restarts_in_window
    assert {"root": "running", "root/a": "failed"} == node.words()


def test_a_supervisor_added_at_run_time_fails_as_a_whole() -> None:
    """Its own report about its own child; to the operator the failure of the start."""
    node = Node(supervisor("root"))
    node.fails("root/s/b", NOPE)
    subtree = supervisor("s", worker("a"), worker("b"))
    reply = node.ask("start_child", "root/s", spec=subtree)
    assert "start_failed" == reply.code
    assert reply.reason is not None
    assert "failed_to_start_child:b:nope" == reply.reason.text
    assert [("root/s", "root/s/b")] == [(each.supervisor, each.path) for each in node.reports]
    assert {"root"} == set(node.state.supervisors)


def test_a_dead_supervisor_and_none_at_all() -> None:
    """noproc and not_found."""
    node = Node(supervisor("root", supervisor("s", worker("a"))))
    node.ask("terminate_child", "root/s")
    reply = node.ask("restart_child", "root/s/a")
    assert ("noproc", None) == (reply.code, reply.reason)
    assert "not_found" == node.ask("restart_child", "root/t/a").code


def test_calls_that_wait_are_answered_when_their_supervisor_ends() -> None:
    """With the reason of its end, after it."""
    node = Node(supervisor("root", worker("a"), supervisor("s", worker("b"), intensity=0)))
    node.suspend("root/s")
    node.exits("root/s/b", BOOM)
    node.call("terminate_child", "root/s/b")
    node.told()
    node.resume("root/s")
    told = node.told()
    assert "reply 1: noproc shutdown" in told
    assert told.index("exit root/s#1: shutdown") < told.index("reply 1: noproc shutdown")


def test_a_call_that_is_being_carried_out_is_cut_short_by_a_stop() -> None:
    """The stop goes first, and the operator is told."""
    node = Node(supervisor("root", worker("a")))
    request = node.call("start_child", "root/b", spec=worker("b", ready=Ready("notify")))
    node.stop()
    assert "shutdown" == node.replies[request].code
    assert "halt: shutdown, asked" == node.told()[-1]


def test_an_operators_stop_of_a_subtree_stops_it_in_order() -> None:
    """And its start brings the static children back."""
    inner = supervisor("s", worker("a"), worker("b"))
    node = Node(supervisor("root", inner))
    node.ask("terminate_child", "root/s/a")
    node.ask("delete_child", "root/s/a")
    node.told()
    node.ask("terminate_child", "root/s")
    assert [
        *("ask root/s#1", "ask root/s/b#1", "exit root/s/b#1: signal:SIGTERM"),
        *("exit root/s#1: shutdown", "reply 3: ok"),
    ] == node.told()
    node.ask("restart_child", "root/s")
    assert {"root/s/a#2", "root/s/b#2"} == node.alive()


def test_terminate_child_can_mean_one_process() -> None:
    """`incarnation` is what the pid is in simple_one_for_one: one that is dead already is left dead."""
    node = Node(supervisor("root", worker("t"), strategy="simple_one_for_one"))
    node.ask("start_child", "root/x")
    node.exits("root/x", BOOM)
    assert "ok" == node.ask("terminate_child", "root/x", incarnation=1).code
    assert {"root/x#2"} == node.alive()
    assert "ok" == node.ask("terminate_child", "root/x", incarnation=2).code
    assert set() == node.alive()


@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
def test_renew_child_is_a_stop_and_a_start_in_one(restart: str) -> None:
    """A temporary child comes back as well, which by two calls would be forgotten between them."""
    node = Node(supervisor("root", worker("a", restart=restart), worker("b")))
    node.told()
    assert 2 == node.ask("renew_child", "root/a").incarnation
    assert [
        *("ask root/a#1", "exit root/a#1: signal:SIGTERM"),
        *("start root/a#2", "reply 1: ok root/a#2"),
    ] == node.told()
    assert {"root/a#2", "root/b#1"} == node.alive()
    assert not node.state.supervisors["root"].children["a"].by_operator


def test_renew_child_of_an_instance_starts_the_same_again() -> None:
    """It keeps its arguments; when it cannot be started it is forgotten, for nobody could start it again."""
    node = Node(supervisor("root", worker("t"), strategy="simple_one_for_one"))
    node.ask("start_child", "root/x", args=("--port", "1"))
    spec = node.state.supervisors["root"].children["x"].spec
    assert "ok" == node.ask("renew_child", "root/x").code
    assert {"root/x#2"} == node.alive()
    assert spec == node.state.supervisors["root"].children["x"].spec
    node.fails("root/x", NOPE)
    assert "start_failed" == node.ask("renew_child", "root/x").code
    assert {} == node.state.supervisors["root"].children


def test_renew_child_starts_what_is_down_and_knows_who_is_not_there() -> None:
    """As start does, and it says what failed."""
    node = Node(supervisor("root", worker("a"), worker("b", restart="temporary")))
    node.ask("terminate_child", "root/a")
    assert 2 == node.ask("renew_child", "root/a").incarnation
    assert "not_found" == node.ask("renew_child", "root/nobody").code
    node.fails("root/a", NOPE)
    node.fails("root/b", NOPE)
    assert ["start_failed"] * 2 == [node.ask("renew_child", f"root/{x}").code for x in "ab"]
    assert ["a"] == list(node.state.supervisors["root"].children)
    assert [] == node.reports


def test_a_daemon_killed_within_renew_child_has_stopped_nobody_for_good() -> None:
    """The next one finds the worker gone, and starts it: nobody has asked for it to stay away."""
    node = Node(supervisor("root", worker("a")))
    node.deaf("root/a")
    node.call("renew_child", "root/a")
    node.restart_daemon()
    node.exits("root/a", NORMAL)
    assert {"root/a#2"} == node.alive()


def test_what_an_operator_does_never_counts() -> None:
    """Not one of a hundred."""
    node = Node(supervisor("root", worker("a"), intensity=0))
    for _ in range(100):
        node.ask("terminate_child", "root/a")
        node.ask("restart_child", "root/a")
    assert 0 == node.row("root").restarts_in_window
    assert 0 == node.row("root/a").restarts


def test_a_call_to_a_deaf_supervisor_waits() -> None:
    """It is answered when that hears again, in the order of arrival."""
    node = Node(supervisor("root", worker("a")))
    node.suspend("root")
    node.happens(Call("root", 71, "terminate_child", "a"))
    node.happens(Call("root", 72, "restart_child", "a"))
    assert {} == node.replies
    node.resume("root")
    assert ["ok", "ok"] == [node.replies[request].code for request in (71, 72)]
    assert {"root/a#2"} == node.alive()
