"""The pause before a restart: who waits in it, what may happen meanwhile, and what is due when."""

from __future__ import annotations

from typing import Any

import pytest

from supervisord_ng.core import events
from supervisord_ng.core.machine import next_deadline
from supervisord_ng.limits import KILL_RESEND_NS, SECOND
from supervisord_ng.model.spec import Backoff, Heartbeat, Ready
from tests.core.node import BOOM, NOPE, Node, supervisor, worker

PAUSE = Backoff(SECOND, max_ns=4 * SECOND, factor=2.0, jitter=0.0, reset_after_ns=10 * SECOND)


def trio(strategy: str, **keys: Any) -> Node:
    """Three workers, of which the second waits before it is restarted."""
    children = (worker("a"), worker("b", backoff=PAUSE), worker("c"))
    node = Node(supervisor("root", *children, strategy=strategy, **keys))
    node.told()
    return node


def words(node: Node) -> list[str]:
    """The states of the three."""
    return [node.words()[f"root/{name}"] for name in "abc"]


# --- the pause ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("strategy", "meanwhile", "asked"),
    [
        ("one_for_one", ["running", "backoff", "running"], []),
        ("rest_for_one", ["running", "backoff", "waiting"], ["ask root/c#1"]),
        ("one_for_all", ["waiting", "backoff", "waiting"], ["ask root/c#1", "ask root/a#1"]),
    ],
)
def test_the_siblings_stop_before_the_pause_and_start_after_it(
    strategy: str, meanwhile: list[str], asked: list[str]
) -> None:
    """They must not run without the one they need."""
    node = trio(strategy)
    node.exits("root/b", BOOM)
    assert meanwhile == words(node)
    assert asked == [line for line in node.told() if line.startswith("ask")]
    node.advance(SECOND - 1)
    assert meanwhile == words(node)
    node.advance(1)
    assert ["running"] * 3 == words(node)


def test_the_pause_grows_and_is_capped_and_starts_over() -> None:
    """1, 2, 4, 4 seconds; a run of `reset_after` makes it 1 again."""
    node = Node(supervisor("root", worker("a", backoff=PAUSE), intensity=None))
    pauses = []
    for _ in range(4):
        node.exits("root/a", BOOM)
        pauses.append(node.row("root/a").backoff_s)
        node.advance("4s")
    node.advance("10s")
    node.exits("root/a", BOOM)
    pauses.append(node.row("root/a").backoff_s)
    assert [1.0, 2.0, 4.0, 4.0, 1.0] == pauses


def test_a_failed_restart_waits_too() -> None:
    """Longer than the first, and counted before it waits."""
    node = trio("one_for_one")
    node.fails("root/b", NOPE)
    node.exits("root/b", BOOM)
    node.advance("1s")
    node.told()
    assert 2.0 == node.row("root/b").backoff_s
    node.advance("2s")
    assert ["start root/b#3"] == node.told()
    assert 2 == node.row("root").restarts_in_window


def test_a_pause_that_could_only_end_in_giving_up_is_not_waited_for() -> None:
    """The supervisor gives up at once, and says so in the report of the failed start."""
    node = trio("one_for_one", intensity=1)
    node.fails("root/b", NOPE)
    node.exits("root/b", BOOM)
    node.told()
    node.advance("1s")
    assert [
        *("start root/b#2", "failed root/b#2: nope"),
        "report start_error root/b#1: nope -> give_up 2/1",
        "report shutdown restarting(root/b#1): reached_max_restart_intensity -> give_up 2/1",
    ] == node.told()[:4]


# --- what happens meanwhile -----------------------------------------------------------------------------
def test_the_others_are_looked_after_in_the_pause() -> None:
    """The supervisor is free; a restart of another child counts as ever."""
    node = trio("one_for_one")
    node.exits("root/b", BOOM)
    node.exits("root/a", BOOM)
    assert ["running", "backoff", "running"] == words(node)
    assert 2 == node.row("root").restarts_in_window


def test_an_elder_that_crashes_in_the_pause_takes_the_waiting_one_along() -> None:
    """rest_for_one: its restart starts the waiting one at once, whose own attempt then is no more."""
    node = trio("rest_for_one")
    node.exits("root/b", BOOM)
    node.told()
    node.exits("root/a", BOOM)
    assert [
        "exit root/a#1: boom",
        "report child_terminated root/a#1: boom -> restart 2/5",
        *("start root/a#2", "start root/b#2", "start root/c#2"),
    ] == node.told()
    node.advance("10s")
    assert [] == node.told()


def test_an_operators_stop_calls_the_restart_off() -> None:
    """It wins over what is pending."""
    node = trio("one_for_one")
    node.exits("root/b", BOOM)
    assert "ok" == node.ask("terminate_child", "root/b").code
    node.told()
    node.advance("10s")
    assert [] == node.told()
    assert "stopped" == node.words()["root/b"]


def test_one_that_waits_cannot_be_deleted() -> None:
    """OTP's refusal; the restart comes as planned."""
    node = trio("one_for_one")
    node.exits("root/b", BOOM)
    assert "restarting" == node.ask("delete_child", "root/b").code
    node.told()
    node.advance("1s")
    assert ["start root/b#2"] == node.told()


def test_an_operator_need_not_wait() -> None:
    """`now` starts it at once; without it OTP's refusal. The attempt that was planned is no more."""
    node = trio("one_for_one")
    node.exits("root/b", BOOM)
    assert "restarting" == node.ask("restart_child", "root/b").code
    assert 2 == node.ask("restart_child", "root/b", now=True).incarnation
    node.told()
    node.advance("10s")
    assert [] == node.told()


@pytest.mark.parametrize("words", [("restart_child", True), ("renew_child", False)])
def test_a_hurried_restart_is_the_whole_restart(words: tuple[str, bool]) -> None:
    """With those that wait for it; the operator is answered when the child is up."""
    op, now = words
    node = trio("rest_for_one")
    node.exits("root/b", BOOM)
    node.told()
    node.ask(op, "root/b", now=now)
    assert ["start root/b#2", "reply 1: ok root/b#2", "start root/c#2"] == node.told()


def test_a_hurried_restart_that_fails_is_answered_once() -> None:
    """Also where it is one restart too many, so that the operator's supervisor ends."""
    node = trio("one_for_all", intensity=1)
    node.exits("root/b", BOOM)
    node.ask("restart_child", "root/a", now=True)
    node.fails("root/b", NOPE)
    assert "start_failed" == node.ask("restart_child", "root/b", now=True).code
    assert "halt: shutdown" == node.told()[-1]


def test_a_stop_in_the_pause_waits_for_nothing() -> None:
    """One that waits is not there."""
    node = trio("one_for_all")
    node.exits("root/b", BOOM)
    node.told()
    node.stop()
    assert ["exit root#1: shutdown", "halt: shutdown, asked"] == node.told()


def test_giving_up_in_the_pause_forgets_it() -> None:
    """Another child reaches the limit: the new life of the supervisor starts all, at once."""
    inner = supervisor("s", worker("a"), worker("b", backoff=PAUSE), intensity=1)
    node = Node(supervisor("root", inner))
    node.exits("root/s/b", BOOM)
    node.exits("root/s/a", BOOM)
    assert {"root/s/a#2", "root/s/b#2"} == node.alive()
    node.told()
    node.advance("10s")
    assert [] == node.told()


def test_the_end_of_a_pause_waits_behind_a_busy_supervisor() -> None:
    """It is a message like any other."""
    node = trio("one_for_one")
    node.deaf("root/a")
    node.exits("root/b", BOOM)
    node.call("terminate_child", "root/a")
    node.told()
    node.advance("4s")
    assert [] == node.told()
    node.advance("1s")
    assert ["reply 1: ok", "start root/b#2"] == node.told()[-2:]


# --- what is due when -----------------------------------------------------------------------------------
def due_in(node: Node) -> int | None:
    """Nanoseconds to the next deadline."""
    due = next_deadline(node.state)
    return None if due is None else due - node.now


def test_an_idle_tree_waits_for_nothing() -> None:
    """No timer at all."""
    assert due_in(Node(supervisor("root", worker("a"), supervisor("s", worker("b"))))) is None


@pytest.mark.parametrize(
    ("keys", "incident", "expected"),
    [
        ({"ready": Ready("notify"), "ready_timeout": "7s"}, "", 7 * SECOND),
        ({"heartbeat": Heartbeat(SECOND, 3 * SECOND)}, "beat", 3 * SECOND),
        ({"shutdown": "2s"}, "stop", 2 * SECOND),
        ({"shutdown": "infinity"}, "stop", None),
        ({"shutdown": "brutal_kill"}, "stop", KILL_RESEND_NS),
        ({"backoff": PAUSE}, "crash", SECOND),
    ],
)
def test_each_phase_has_its_deadline(
    keys: dict[str, Any], incident: str, expected: int | None
) -> None:
    """Readiness, the next beat, the end of the shutdown time, the next SIGKILL, the end of a pause."""
    node = Node(supervisor("root", supervisor("s", worker("a", **keys))))
    node.deaf("root/s/a")
    node.clings("root/s/a")
    match incident:
        case "beat":
            node.beats("root/s/a")
        case "stop":
            node.call("terminate_child", "root/s/a")
        case "crash":
            node.exits("root/s/a", BOOM)
    # a deadline that moved later may be looked at once too early, which is cheaper than to look for it
    for _ in range(3):
        if due_in(node) != expected:
            node.happens(events.Tick())
    assert expected == due_in(node)


def test_deadlines_of_one_step_come_in_their_order() -> None:
    """By time, then by path, also when the daemon was late for all of them."""
    children = [
        worker(name, backoff=Backoff(wait * SECOND, jitter=0.0))
        for name, wait in (("a", 3), ("b", 1), ("c", 1))
    ]
    node = Node(supervisor("root", *children))
    for name in "acb":
        node.exits(f"root/{name}", BOOM)
    node.told()
    node.now += 10 * SECOND
    node.happens(events.Tick())
    assert ["start root/b#2", "start root/c#2", "start root/a#2"] == node.told()


def test_a_tick_that_is_too_early_changes_nothing() -> None:
    """`step` goes by the time alone."""
    node = trio("one_for_one")
    node.exits("root/b", BOOM)
    before = node.state.supervisors
    node.happens(events.Tick())
    assert before == node.state.supervisors
