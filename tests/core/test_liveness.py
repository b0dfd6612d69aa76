"""Signs of life: when the next one is due, what counts as one, and who is not judged."""

from __future__ import annotations

from typing import Any

import pytest

from supervisord_ng.core import events
from supervisord_ng.limits import LAG_EXCUSES_MAX, LAG_GRACE_NS, SECOND
from supervisord_ng.model.exits import ExitStatus
from supervisord_ng.model.spec import Heartbeat, Ready
from tests.core.node import Node, supervisor, worker

BEATING = Heartbeat(SECOND, 5 * SECOND)
DUMP = ["dump root/a#1"]


def beating(**keys: Any) -> Node:
    """A worker that runs and owes a beat every five seconds; its stacks never come."""
    node = Node(supervisor("root", worker("a", **({"heartbeat": BEATING} | keys))))
    node.keeps_stacks("root/a")
    node.told()
    return node


# --- until when ---------------------------------------------------------------------------------------
def test_the_next_beat_is_due_a_timeout_after_the_last() -> None:
    """Not a moment earlier."""
    node = beating()
    node.beats("root/a")
    node.advance("3s")
    node.beats("root/a")
    node.advance(5 * SECOND - 1)
    assert [] == node.told()
    node.advance(1)
    assert DUMP == node.told()


def test_the_first_beat_may_take_as_long_as_readiness() -> None:
    """`ready_timeout` from exec: a program has to load its SDK first."""
    node = beating(ready_timeout="20s")
    node.advance(20 * SECOND - 1)
    assert [] == node.told()
    node.advance(1)
    assert DUMP == node.told()


def test_one_that_beat_before_it_was_ready_owes_the_next_in_time() -> None:
    """Nothing has to be loaded any more."""
    node = beating(ready=Ready("notify"), ready_timeout="20s")
    node.advance("1s")
    node.beats("root/a")
    node.ready("root/a")
    node.told()
    node.advance("5s")
    assert DUMP == node.told()


def test_the_first_beat_is_never_due_before_a_timeout_is_over() -> None:
    """Late readiness leaves a whole one."""
    node = beating(ready=Ready("notify"), ready_timeout="20s")
    node.advance("19s")
    node.ready("root/a")
    node.told()
    node.advance(5 * SECOND - 1)
    assert [] == node.told()
    node.advance(1)
    assert DUMP == node.told()


def test_who_has_no_heartbeat_owes_none() -> None:
    """Silence says nothing; a beat is taken note of."""
    node = beating(heartbeat=None)
    node.beats("root/a")
    node.advance("1h")
    assert [] == node.told()
    assert 3600.0 == node.row("root/a").beat_age_s


# --- what counts --------------------------------------------------------------------------------------
def test_a_counter_that_stands_still_is_no_sign_of_life() -> None:
    """A timer thread beats while the work is stuck: beats alone do not save it."""
    node = beating()
    node.beats("root/a", progress=7)
    for _ in range(4):
        node.advance("1s")
        node.beats("root/a", progress=7)
    assert [] == node.told()
    node.advance("1s")
    assert DUMP == node.told()


@pytest.mark.parametrize("progress", [8, 6, None])
def test_a_counter_that_moves_or_rests_is_one(progress: int | None) -> None:
    """Any change is progress, backwards too; None says that there is nothing to do."""
    node = beating()
    node.beats("root/a", progress=7)
    node.advance("4s")
    node.beats("root/a", progress=progress)
    node.advance("4s")
    assert [] == node.told()


def test_the_same_counter_counts_again_after_a_rest() -> None:
    """A worker that was idle picks its counter up where it was."""
    node = beating()
    node.beats("root/a", progress=7)
    node.beats("root/a", progress=None)
    node.advance("4s")
    node.beats("root/a", progress=7)
    node.advance("4s")
    assert [] == node.told()


def test_a_beat_at_the_very_moment_is_in_time() -> None:
    """What has arrived is taken in before anybody is judged."""
    node = beating()
    node.beats("root/a")
    node.now += 5 * SECOND
    node.beats("root/a")
    assert [] == node.told()


# --- whose fault it is ----------------------------------------------------------------------------------
def test_the_daemons_own_lag_is_taken_off() -> None:
    """A silence in which nobody could have heard says nothing."""
    node = beating()
    node.beats("root/a")
    node.lags("8s")
    node.advance("4s")
    assert [] == node.told()
    node.advance("1s")
    assert DUMP == node.told()


def test_after_a_lag_there_is_a_moment_to_be_heard() -> None:
    """What made the daemon late may have made the worker late: it is not judged at once."""
    node = beating()
    node.beats("root/a")
    node.now += 5 * SECOND
    node.lags("300ms")
    node.happens(events.Tick())
    assert [] == node.told()
    node.advance(LAG_GRACE_NS - 1)
    assert [] == node.told()
    node.advance(1)
    assert DUMP == node.told()


def test_a_host_that_is_always_late_has_hung_workers_too() -> None:
    """So many excuses in a row, then the silence counts; a sign of life makes them good again."""
    node = beating()
    for _ in range(2):
        node.beats("root/a")
        node.now += 5 * SECOND
        for _ in range(LAG_EXCUSES_MAX):
            node.lags("1s")
            node.happens(events.Tick())
        assert [] == node.told()
    node.lags("1s")
    node.happens(events.Tick())
    assert DUMP == node.told()


def test_lag_is_taken_off_the_time_to_become_ready() -> None:
    """READY may be among what has arrived, or have been late for the same reason."""
    node = beating(ready=Ready("notify"), ready_timeout="10s")
    node.lags("30s")
    node.happens(events.Tick())
    node.ready("root/a")
    assert "running" == node.words()["root/a"]


def test_what_was_said_by_the_last_moment_counts() -> None:
    """More time, an end of its own, readiness: heard at the deadline, said before it."""
    node = beating()
    node.beats("root/a")
    node.now += 5 * SECOND
    node.happens(events.Extended("root/a", 1, 3 * SECOND))
    node.happens(events.Tick())
    assert [] == node.told()


def test_lag_is_not_taken_off_a_stop() -> None:
    """The shutdown time runs for the worker, whoever was late."""
    node = beating(shutdown="3s")
    node.deaf("root/a")
    node.call("terminate_child", "root/a")
    node.told()
    node.lags("3s")
    node.happens(events.Tick())
    assert "kill root/a#1" == node.told()[0]


# --- who is judged --------------------------------------------------------------------------------------
def test_who_is_not_ready_is_not_judged() -> None:
    """Readiness has its own limit; a beat does not move it."""
    node = beating(ready=Ready("notify"), ready_timeout="10s")
    node.advance("9s")
    node.beats("root/a")
    node.advance("1s")
    assert "failed root/a#1: start_failed:timeout" in node.told()


def test_who_is_being_stopped_is_not_judged() -> None:
    """Nor does a beat give it more time."""
    node = beating(shutdown="20s")
    node.deaf("root/a")
    node.beats("root/a")
    node.call("terminate_child", "root/a")
    node.told()
    node.advance("10s")
    node.beats("root/a")
    node.advance("9s")
    assert [] == node.told()
    node.advance("1s")
    assert "kill root/a#1" == node.told()[0]


def test_who_hangs_already_is_not_saved_by_a_beat() -> None:
    """It was found hung; its stacks are on their way."""
    node = beating()
    node.advance("30s")
    node.beats("root/a")
    node.advance("1s")
    assert [
        *DUMP,
        *("kill root/a#1", "exit root/a#1: signal:SIGKILL"),
        "report child_terminated root/a#1: heartbeat_timeout -> restart 1/5",
        "start root/a#2",
    ] == node.told()


def test_one_that_ends_while_its_stacks_are_collected_hung() -> None:
    """Its last breath does not change why it was let go."""
    node = beating()
    node.advance("30s")
    node.exits("root/a", ExitStatus(code=0))
    assert "report child_terminated root/a#1: heartbeat_timeout -> restart 1/5" in node.told()


def test_one_that_is_stopped_while_its_stacks_are_collected_did_not_hang() -> None:
    """An operator's stop makes it an ordinary end."""
    node = beating()
    node.advance("30s")
    node.ask("terminate_child", "root/a")
    assert [*DUMP, "ask root/a#1", "exit root/a#1: signal:SIGTERM", "reply 1: ok"] == node.told()


def test_the_report_says_how_long_it_was_silent() -> None:
    """Since its last beat, or since it was started."""
    for has_beaten, expected in ((True, 5 * SECOND), (False, 30 * SECOND)):
        node = beating()
        if has_beaten:
            node.beats("root/a")
        node.advance("31s")
        assert [expected] == [report.beat_age_ns for report in node.reports]
