"""Coming up: slow starts, starts that fail and are retried, calls in between, and who is not started at all."""

from __future__ import annotations

from typing import Any

import pytest

from supervisord_ng.limits import SECOND
from supervisord_ng.model.exits import NORMAL, SHUTDOWN, ExitStatus
from supervisord_ng.model.spec import Backoff, Ready
from tests.core.node import BOOM, NOPE, Node, supervisor, worker

SLOW = Ready("notify")


def booting(*, strategy: str = "one_for_one", **keys: Any) -> Node:
    """A root whose second of three children takes its time to get ready; what was told is forgotten."""
    children = (worker("a"), worker("b", ready=SLOW, ready_timeout="10s"), worker("c"))
    node = Node(supervisor("root", *children, strategy=strategy, **keys))
    node.told()
    return node


# --- one after the other --------------------------------------------------------------------------
def test_the_next_child_is_started_when_the_one_before_is_ready() -> None:
    """OTP's init acknowledgement."""
    node = booting()
    assert {"root/a#1", "root/b#1"} == node.alive()
    node.ready("root/b")
    assert ["ready root/b#1", "start root/c#1", "up root#1", "tree up"] == node.told()


def test_readiness_has_a_limit() -> None:
    """A child that does not get ready in time is killed, and its start has failed."""
    node = booting()
    node.advance("10s")
    assert [
        *("kill root/b#1", "exit root/b#1: signal:SIGKILL"),
        "failed root/b#1: start_failed:timeout",
        "report start_error root/b undefined: start_failed:timeout -> give_up 0/5",
        *("ask root/a#1", "exit root/a#1: signal:SIGTERM"),
        "exit root#1: failed_to_start_child:b:start_failed:timeout",
        "failed root#1: failed_to_start_child:b:start_failed:timeout",
        "halt: failed_to_start_child:b:start_failed:timeout",
    ] == node.told()


def test_an_end_before_readiness_is_a_failed_start() -> None:
    """Whatever the status: the word says when and how."""
    for how, word in ((ExitStatus(code=0), "exit:0"), (ExitStatus(signal=11), "signal:SIGSEGV")):
        node = booting()
        node.exits("root/b", how)
        assert f"failed root/b#1: start_failed:{word}" == node.told()[1]


def test_a_crash_of_an_elder_waits_for_the_boot() -> None:
    """A supervisor that starts a child handles nothing else."""
    node = booting()
    node.exits("root/a", BOOM)
    assert ["exit root/a#1: boom"] == node.told()
    node.ready("root/b")
    assert [
        *("ready root/b#1", "start root/c#1", "up root#1", "tree up"),
        "report child_terminated root/a#1: boom -> restart 1/5",
        "start root/a#2",
    ] == node.told()


def test_a_stop_does_not_wait_for_the_boot() -> None:
    """It cuts a slow start short; those not started yet are not."""
    node = booting()
    node.stop()
    assert [
        *("ask root/b#1", "exit root/b#1: signal:SIGTERM"),
        *("ask root/a#1", "exit root/a#1: signal:SIGTERM"),
        *("exit root#1: shutdown", "halt: shutdown, asked"),
    ] == node.told()


# --- an operator in between -----------------------------------------------------------------------
def test_an_operator_does_not_wait_for_a_slow_start() -> None:
    """A question is answered at once, and the boot goes on."""
    node = booting()
    node.query("which_children", "root")
    assert ["reply 1: ok root/c:undefined root/b:undefined root/a#1"] == node.told()
    node.ready("root/b")
    assert ["ready root/b#1", "start root/c#1", "up root#1", "tree up"] == node.told()


def test_an_operator_stops_the_slow_one() -> None:
    """The boot goes on without it."""
    node = booting()
    assert "ok" == node.ask("terminate_child", "root/b").code
    assert [
        *("ask root/b#1", "exit root/b#1: signal:SIGTERM", "reply 1: ok"),
        *("start root/c#1", "up root#1", "tree up"),
    ] == node.told()
    assert "stopped" == node.words()["root/b"]


def test_an_operator_stops_one_whose_turn_has_not_come() -> None:
    """It is left out: an operator's stop wins over what was planned."""
    node = booting()
    node.ask("terminate_child", "root/c")
    node.told()
    node.ready("root/b")
    assert ["ready root/b#1", "up root#1", "tree up"] == node.told()


def test_an_operator_stops_one_that_runs_already() -> None:
    """The slow one is waited for as before; the other stays down."""
    node = booting()
    node.ask("terminate_child", "root/a")
    node.ready("root/b")
    assert {"root/b#1", "root/c#1"} == node.alive()


def test_an_operator_starts_one_whose_turn_has_not_come() -> None:
    """It runs from now on, and the boot does not start it again."""
    node = booting()
    node.ask("restart_child", "root/c")
    node.told()
    node.ready("root/b")
    assert ["ready root/b#1", "up root#1", "tree up"] == node.told()
    assert {"root/a#1", "root/b#1", "root/c#1"} == node.alive()


def test_what_an_operator_cannot_start_in_between_does_not_harm_the_boot() -> None:
    """His start fails alone: no report, no retry; the boot tries once more when it gets there."""
    node = booting()
    node.fails("root/c", NOPE)
    assert "start_failed" == node.ask("restart_child", "root/c").code
    node.told()
    node.ready("root/b")
    assert ["ready root/b#1", "start root/c#2", "up root#1", "tree up"] == node.told()


def test_the_slow_one_becomes_ready_while_an_operators_stop_is_waited_for() -> None:
    """Neither gets lost: the stop ends, then the boot goes on."""
    node = booting()
    node.deaf("root/a")
    node.call("terminate_child", "root/a")
    node.ready("root/b")
    assert ["ask root/a#1", "ready root/b#1"] == node.told()
    node.advance("5s")
    assert [
        *("kill root/a#1", "exit root/a#1: signal:SIGKILL"),
        "report shutdown_error root/a#1: signal:SIGKILL -> none 0/5",
        *("reply 1: ok", "start root/c#1", "up root#1", "tree up"),
    ] == node.told()


def test_the_slow_one_fails_while_an_operators_stop_is_waited_for() -> None:
    """The failure is the boot's: all that runs is stopped, and the operator is told why."""
    node = booting()
    node.deaf("root/a")
    node.call("terminate_child", "root/a")
    node.exits("root/b", ExitStatus(code=1))
    node.advance("5s")
    assert "shutdown" == node.replies[1].code
    assert "halt: failed_to_start_child:b:start_failed:exit:1" == node.told()[-1]


def test_a_slow_restart_can_be_interrupted_too() -> None:
    """What an operator stopped is not started by the restart that was under way."""
    node = booting(strategy="one_for_all")
    node.ready("root/b")
    node.exits("root/a", BOOM)
    node.told()
    node.ask("terminate_child", "root/c")
    node.ready("root/b")
    assert {"root/a#2", "root/b#2"} == node.alive()


def test_an_operator_who_was_there_before_the_slow_start_does_not_wait_either() -> None:
    """He called while siblings were being stopped; the others who called are let in after him, in order."""
    node = booting(strategy="one_for_all")
    node.ready("root/b")
    node.deaf("root/c")
    node.exits("root/a", BOOM)
    node.query("which_children", "root")
    node.query("count_children", "root")
    node.told()
    node.advance("5s")
    assert [
        *("start root/a#2", "start root/b#2"),
        "reply 1: ok root/c:undefined root/b:undefined root/a#2",
        "reply 2: ok 3 1 0 3",
    ] == node.told()[-4:]
    node.ready("root/b")
    assert ["ready root/b#2", "start root/c#2"] == node.told()


def test_nor_one_who_called_a_supervisor_further_up() -> None:
    """The slow one is a worker of a supervisor that is being restarted."""
    inner = supervisor("s", worker("slow", ready=SLOW, ready_timeout="60s"))
    node = Node(supervisor("root", worker("a"), inner, strategy="one_for_all"))
    node.ready("root/s/slow")
    node.deaf("root/s/slow")
    node.exits("root/a", BOOM)
    node.query("which_children", "root")
    node.told()
    node.advance("5s")
    assert ["start root/s/slow#2", "reply 1: ok root/s:undefined root/a#2"] == node.told()[-2:]
    assert "starting" == node.words()["root/s/slow"]


def test_a_start_that_takes_no_time_is_not_interrupted() -> None:
    """Who called before it is answered after it, as in OTP."""
    node = Node(supervisor("root", worker("a"), worker("b"), strategy="one_for_all"))
    node.deaf("root/b")
    node.exits("root/a", BOOM)
    node.query("which_children", "root")
    node.advance("5s")
    assert ["start root/a#2", "start root/b#2", "reply 1: ok root/b#2 root/a#2"] == node.told()[-3:]


# --- start_failure = "retry" ----------------------------------------------------------------------
def retrying(strategy: str, **keys: Any) -> Node:
    """The second of three children cannot be started at the first attempt."""
    children = (worker("a"), worker("b", **keys), worker("c"))
    root = supervisor("root", *children, strategy=strategy, start_failure="retry")
    return Node(root, fails={"root/b": [NOPE]})


def test_retry_under_one_for_one() -> None:
    """The siblings start meanwhile; the attempt counts as a restart."""
    assert [
        *("start root#1", "start root/a#1", "start root/b#1", "failed root/b#1: nope"),
        "report start_error root/b undefined: nope -> restart 0/5",
        *("start root/c#1", "up root#1", "tree up", "start root/b#2"),
    ] == retrying("one_for_one").told()


def test_retry_under_rest_for_one() -> None:
    """Those after it wait for it, those before it run on."""
    assert [
        *("start root#1", "start root/a#1", "start root/b#1", "failed root/b#1: nope"),
        "report start_error root/b undefined: nope -> restart 0/5",
        *("start root/b#2", "start root/c#1", "up root#1", "tree up"),
    ] == retrying("rest_for_one").told()


def test_retry_under_one_for_all() -> None:
    """All that run already are stopped first, as for any restart of it."""
    assert [
        *("start root#1", "start root/a#1", "start root/b#1", "failed root/b#1: nope"),
        "report start_error root/b undefined: nope -> restart 0/5",
        *("ask root/a#1", "exit root/a#1: signal:SIGTERM"),
        *("start root/a#2", "start root/b#2", "start root/c#1", "up root#1", "tree up"),
    ] == retrying("one_for_all").told()


@pytest.mark.parametrize("strategy", ["rest_for_one", "one_for_all"])
def test_retry_with_a_back_off_holds_those_behind_it(strategy: str) -> None:
    """The root is not up before they are."""
    node = retrying(strategy, backoff=Backoff(SECOND, jitter=0.0))
    assert ["starting", "waiting"] == [node.words()[path] for path in ("root", "root/c")]
    node.advance("1s")
    assert {"running"} == set(node.words().values())


def test_retry_ends_at_the_intensity() -> None:
    """It is no loop without an end: then the supervisor gives up, and has failed to start."""
    root = supervisor("root", worker("a"), start_failure="retry", intensity=2)
    node = Node(root, fails={"root/a": [NOPE] * 9})
    told = node.told()
    assert ["start root/a#1", "start root/a#2", "start root/a#3"] == [
        line for line in told if line.startswith("start root/")
    ]
    assert "halt: shutdown" == told[-1]


@pytest.mark.parametrize("strategy", ["rest_for_one", "one_for_all"])
def test_a_boot_goes_on_without_whom_an_operator_stops(strategy: str) -> None:
    """The retry is called off; those behind it are started all the same."""
    node = retrying(strategy, backoff=Backoff(SECOND, jitter=0.0))
    node.ask("terminate_child", "root/b")
    words = node.words()
    assert ["running", "stopped", "running"] == [words[f"root/{name}"] for name in "abc"]
    assert "running" == words["root"]


def test_a_temporary_child_behind_a_retry_is_still_started() -> None:
    """It is no bystander that was stopped: its turn has not come yet."""
    last = worker("c", restart="temporary")
    root = supervisor("root", worker("b"), last, strategy="one_for_all", start_failure="retry")
    node = Node(root, fails={"root/b": [NOPE]})
    assert {"root/b#2", "root/c#1"} == node.alive()


# --- autostart = false ----------------------------------------------------------------------------
def test_who_is_not_autostarted_waits_for_a_person() -> None:
    """A boot leaves it out; an operator starts it."""
    node = Node(supervisor("root", worker("a", autostart=False), worker("b")))
    assert {"root/b#1"} == node.alive()
    assert "stopped" == node.words()["root/a"]
    assert 1 == node.ask("restart_child", "root/a").incarnation


def test_a_restart_of_its_siblings_does_not_start_it() -> None:
    """Nobody has asked for it yet."""
    node = Node(
        supervisor("root", worker("a", autostart=False), worker("b"), strategy="one_for_all")
    )
    node.exits("root/b", BOOM)
    assert {"root/b#2"} == node.alive()


def test_one_that_ran_is_restarted_like_any_other() -> None:
    """With itself, and with its siblings."""
    node = Node(
        supervisor("root", worker("a", autostart=False), worker("b"), strategy="one_for_all")
    )
    node.ask("restart_child", "root/a")
    node.exits("root/a", BOOM)
    node.exits("root/b", BOOM)
    assert {"root/a#3", "root/b#3"} == node.alive()


def test_one_that_was_stopped_again_stays_stopped() -> None:
    """By a sibling's restart as by a new life of its supervisor."""
    inner = supervisor(
        "s", worker("a", autostart=False), worker("b"), strategy="one_for_all", intensity=1
    )
    node = Node(supervisor("root", inner))
    node.ask("restart_child", "root/s/a")
    node.ask("terminate_child", "root/s/a")
    node.exits("root/s/b", BOOM)
    assert {"root/s/b#2"} == node.alive()
    node.exits("root/s/b", BOOM)
    assert "start root/s#2" in node.told()
    assert {"root/s/b#3"} == node.alive()


# --- ends that are no crash -----------------------------------------------------------------------
def test_a_one_shot_is_ready_when_it_has_ended_well() -> None:
    """ready = "exit": those behind it start after it."""
    once = worker("a", ready=Ready("exit"), restart="transient")
    node = Node(supervisor("root", once, worker("b")))
    assert {"root/a#1"} == node.alive()
    node.exits("root/a", ExitStatus(code=0))
    assert {"root/b#1"} == node.alive()
    assert "exited" == node.words()["root/a"]


def test_a_one_shot_that_ends_badly_has_failed_to_start() -> None:
    """As its status says."""
    once = worker("a", ready=Ready("exit"), restart="transient")
    node = Node(supervisor("root", once, worker("b")))
    node.exits("root/a", ExitStatus(code=3))
    assert "halt: failed_to_start_child:a:start_failed:exit:3" == node.told()[-1]


@pytest.mark.parametrize("how", [NORMAL, SHUTDOWN])
def test_a_reason_of_who_has_judged_is_no_readiness(how: Any) -> None:
    """Only `ready = "exit"` takes an end for readiness."""
    node = booting()
    node.exits("root/b", how)
    assert node.halted is not None
