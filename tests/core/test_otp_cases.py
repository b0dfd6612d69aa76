"""OTP's own test cases, told to the core: the names are those of supervisor_SUITE.erl.

Only what can be told of a supervisor from outside is here; cases about the call format of a specification,
about memory and about release upgrades have nothing to say here.
"""

from __future__ import annotations

import pytest

from supervisord_ng.core.effects import Counts
from supervisord_ng.model.exits import KILLED, NORMAL, SHUTDOWN, ExitReason
from supervisord_ng.model.spec import SupervisorSpec
from tests.core.node import BOOM, NOPE, Node, supervisor, worker


def pair(**keys: object) -> Node:
    """A root with the workers a and b of the strategy in `keys`."""
    node = Node(supervisor("root", worker("a"), worker("b"), **keys))
    node.told()
    return node


def trio(strategy: str, intensity: int = 1) -> SupervisorSpec:
    """A root with three permanent workers."""
    return supervisor(
        "root",
        worker("a"),
        worker("b"),
        worker("c"),
        strategy=strategy,
        intensity=intensity,
        period="1h",
    )


# --- sup_start ------------------------------------------------------------------------------------
def test_sup_start_normal() -> None:
    """It starts, and ends when it is told to."""
    node = Node(supervisor("root"))
    node.stop()
    assert [
        *("start root#1", "up root#1", "tree up"),
        *("exit root#1: shutdown", "halt: shutdown, asked"),
    ] == node.told()


def test_sup_start_ignore_child() -> None:
    """A child that has nothing to start is kept, without a process."""
    node = Node(supervisor("root"))
    node.fails("root/child1", None)
    node.ask("start_child", "root/child1", spec=worker("child1"))
    node.ask("start_child", "root/child2", spec=worker("child2"))
    node.told()
    node.query("which_children", "root")
    assert ["reply 3: ok root/child2#1 root/child1:undefined"] == node.told()
    assert Counts(2, 1, 0, 2) == node.counts("root")


def test_sup_start_ignore_temporary_child() -> None:
    """A temporary one is forgotten."""
    children = (worker("child1", restart="temporary"), worker("child2", restart="temporary"))
    node = Node(supervisor("root", *children), fails={"root/child1": [None]})
    assert Counts(1, 1, 0, 1) == node.counts("root")


def test_sup_start_ignore_temporary_child_start_child() -> None:
    """Also when it was added at run time."""
    node = Node(supervisor("root"))
    node.fails("root/child1", None)
    spec = worker("child1", restart="temporary")
    assert "ok" == node.ask("start_child", "root/child1", spec=spec).code
    assert Counts(0, 0, 0, 0) == node.counts("root")


@pytest.mark.parametrize("restart", ["temporary", "permanent"])
def test_sup_start_ignore_child_start_child_simple(restart: str) -> None:
    """An instance that has nothing to start is not kept, whatever its restart type."""
    node = Node(
        supervisor("root", worker("child1", restart=restart), strategy="simple_one_for_one")
    )
    node.fails("root/x", None)
    assert "ok" == node.ask("start_child", "root/x").code
    assert node.ask("start_child", "root/y").incarnation is not None
    assert Counts(1, 1, 0, 1) == node.counts("root")
    node.stop()
    assert "halt: shutdown, asked" == node.told()[-1]


def test_sup_start_error_return() -> None:
    """A child that cannot be started at boot is the end: those before it are stopped, in reverse order."""
    node = Node(
        supervisor("root", worker("a"), worker("b"), worker("c"), worker("d")),
        fails={"root/c": [NOPE]},
    )
    assert [
        *("start root#1", "start root/a#1", "start root/b#1", "start root/c#1"),
        "failed root/c#1: nope",
        "report start_error root/c undefined: nope -> give_up 0/5",
        *("ask root/b#1", "exit root/b#1: signal:SIGTERM"),
        *("ask root/a#1", "exit root/a#1: signal:SIGTERM"),
        "exit root#1: failed_to_start_child:c:nope",
        "failed root#1: failed_to_start_child:c:nope",
        "halt: failed_to_start_child:c:nope",
    ] == node.told()


# --- sup_stop -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("shutdown", "ends"),
    [
        ("infinity", ["ask root/b#1"]),
        ("1s", ["ask root/b#1"]),
        ("0s", ["kill root/b#1"]),
        ("brutal_kill", ["kill root/b#1"]),
    ],
)
def test_sup_stop(shutdown: str, ends: list[str]) -> None:
    """Who is to be asked is asked, who is to be killed is killed, one after the other."""
    node = Node(supervisor("root", worker("a"), worker("b", shutdown=shutdown)))
    node.told()
    node.stop()
    told = node.told()
    assert ends == told[:1]
    assert "ask root/a#1" in told[2:]


def test_sup_stop_timeout() -> None:
    """Who does not care for being asked is killed when its time is over, and reported; the rest goes on."""
    node = Node(supervisor("root", worker("a", shutdown="1s"), worker("b", shutdown="1s")))
    node.deaf("root/b")
    node.told()
    node.stop()
    node.advance("999ms")
    assert ["ask root/b#1"] == node.told()
    node.advance("1ms")
    assert [
        *("kill root/b#1", "exit root/b#1: signal:SIGKILL"),
        "report shutdown_error root/b#1: signal:SIGKILL -> none 0/5",
        *("ask root/a#1", "exit root/a#1: signal:SIGTERM"),
        *("exit root#1: shutdown", "halt: shutdown, asked"),
    ] == node.told()


# --- normal_termination, shutdown_termination, abnormal_termination -------------------------------
@pytest.mark.parametrize("how", [NORMAL, SHUTDOWN, KILLED, BOOM])
def test_permanent(how: ExitReason) -> None:
    """permanent_normal, permanent_shutdown, permanent_abnormal: always restarted, always reported."""
    node = Node(supervisor("root", worker("a")))
    assert [
        f"report child_terminated root/a#1: {how.text} -> restart 1/5",
        "start root/a#2",
    ] == node.after("root/a", how)


@pytest.mark.parametrize("how", [NORMAL, SHUTDOWN])
def test_transient_normal_and_shutdown(how: ExitReason) -> None:
    """transient_normal, transient_shutdown: it stays down, silently, and its specification is kept."""
    node = Node(supervisor("root", worker("a", restart="transient")))
    assert [] == node.after("root/a", how)
    assert Counts(1, 0, 0, 1) == node.counts("root")


@pytest.mark.parametrize("how", [KILLED, BOOM])
def test_transient_abnormal(how: ExitReason) -> None:
    """A crash of a transient child is restarted."""
    node = Node(supervisor("root", worker("a", restart="transient")))
    assert "start root/a#2" == node.after("root/a", how)[-1]


@pytest.mark.parametrize("how", [NORMAL, SHUTDOWN])
def test_temporary_normal_and_shutdown(how: ExitReason) -> None:
    """temporary_normal, temporary_shutdown: it is forgotten, silently."""
    node = Node(supervisor("root", worker("a", restart="temporary")))
    assert [] == node.after("root/a", how)
    assert Counts(0, 0, 0, 0) == node.counts("root")


@pytest.mark.parametrize("how", [KILLED, BOOM])
def test_temporary_abnormal(how: ExitReason) -> None:
    """It is reported, forgotten, and not counted."""
    node = Node(supervisor("root", worker("a", restart="temporary")))
    report = f"report child_terminated root/a#1: {how.text} -> removed 0/5"
    assert [report] == node.after("root/a", how)
    assert Counts(0, 0, 0, 0) == node.counts("root")


def test_temporary_bystander() -> None:
    """A temporary child that is stopped for a sibling's restart is not started again."""
    for strategy in ("one_for_all", "rest_for_one"):
        temporary = worker("b", restart="temporary")
        node = Node(supervisor("root", worker("a"), temporary, strategy=strategy))
        assert [
            "report child_terminated root/a#1: boom -> restart 1/5",
            *("ask root/b#1", "exit root/b#1: signal:SIGTERM"),
            "start root/a#2",
        ] == node.after("root/a", BOOM)
        assert Counts(1, 1, 0, 1) == node.counts("root")


# --- restart strategies ---------------------------------------------------------------------------
def test_multiple_restarts() -> None:
    """Up to the limit again and again, as long as the period passes between."""
    node = Node(supervisor("root", worker("a"), intensity=3, period="1s"))
    for _ in range(4):
        for _ in range(3):
            node.exits("root/a", BOOM)
        node.advance("1001ms")
    assert {"root/a#13"} == node.alive()


def test_one_for_one() -> None:
    """The others do not notice."""
    node = Node(trio("one_for_one"))
    assert "start root/b#2" == node.after("root/b", BOOM)[-1]
    assert {"root/a#1", "root/b#2", "root/c#1"} == node.alive()


def test_one_for_one_escalation() -> None:
    """The restart too much stops everybody in reverse order."""
    node = pair(intensity=1)
    node.exits("root/a", BOOM)
    assert [
        "report child_terminated root/a#2: boom -> give_up 2/1",
        "report shutdown root/a#2: reached_max_restart_intensity -> give_up 2/1",
        *("ask root/b#1", "exit root/b#1: signal:SIGTERM"),
        *("exit root#1: shutdown", "halt: shutdown"),
    ] == node.after("root/a", BOOM)


def test_one_for_all() -> None:
    """All others are stopped in reverse order, then all are started in order."""
    assert [
        "report child_terminated root/b#1: boom -> restart 1/1",
        *("ask root/c#1", "exit root/c#1: signal:SIGTERM"),
        *("ask root/a#1", "exit root/a#1: signal:SIGTERM"),
        *("start root/a#2", "start root/b#2", "start root/c#2"),
    ] == Node(trio("one_for_all")).after("root/b", BOOM)


def test_one_for_all_escalation() -> None:
    """One restart counts once, however many it restarts; nobody is restarted before giving up."""
    node = Node(trio("one_for_all"))
    node.exits("root/a", BOOM)
    told = node.after("root/b", BOOM)
    assert "report child_terminated root/b#2: boom -> give_up 2/1" == told[0]
    assert not [line for line in told if line.startswith("start")]


def test_one_for_all_other_child_fails_restart() -> None:
    """The one that cannot be started is tried again, after all that run again were stopped again."""
    node = Node(trio("one_for_all", intensity=2))
    node.fails("root/b", NOPE)
    assert [
        "report child_terminated root/a#1: boom -> restart 1/2",
        *("ask root/c#1", "exit root/c#1: signal:SIGTERM"),
        *("ask root/b#1", "exit root/b#1: signal:SIGTERM"),
        *("start root/a#2", "start root/b#2", "failed root/b#2: nope"),
        "report start_error root/b undefined: nope -> restart 1/2",
        *("ask root/a#2", "exit root/a#2: signal:SIGTERM"),
        *("start root/a#3", "start root/b#3", "start root/c#2"),
    ] == node.after("root/a", BOOM)


def test_rest_for_one() -> None:
    """Those after it are restarted with it, those before it do not notice."""
    assert [
        "report child_terminated root/b#1: boom -> restart 1/1",
        *("ask root/c#1", "exit root/c#1: signal:SIGTERM"),
        *("start root/b#2", "start root/c#2"),
    ] == Node(trio("rest_for_one")).after("root/b", BOOM)


def test_rest_for_one_escalation() -> None:
    """Giving up stops also those before it."""
    node = Node(trio("rest_for_one"))
    node.exits("root/c", BOOM)
    told = node.after("root/c", BOOM)
    assert ["ask root/b#1", "ask root/a#1"] == [line for line in told if line.startswith("ask")]


def test_rest_for_one_other_child_fails_restart() -> None:
    """The retry is about the one that failed and those after it; the one before it runs on."""
    node = Node(trio("rest_for_one", intensity=2))
    node.fails("root/b", NOPE)
    assert [
        "report child_terminated root/a#1: boom -> restart 1/2",
        *("ask root/c#1", "exit root/c#1: signal:SIGTERM"),
        *("ask root/b#1", "exit root/b#1: signal:SIGTERM"),
        *("start root/a#2", "start root/b#2", "failed root/b#2: nope"),
        "report start_error root/b undefined: nope -> restart 1/2",
        *("start root/b#3", "start root/c#2"),
    ] == node.after("root/a", BOOM)
