"""A new daemon goes on where an earlier one was killed: as if it had only been slow."""

from __future__ import annotations

import msgspec
import pytest

from supervisord_ng.core import events, memory
from supervisord_ng.core.memory import Memory
from supervisord_ng.core.state import ChildState, NodeState, Phase, SupervisorState
from supervisord_ng.core.view import rows
from supervisord_ng.limits import SECOND
from supervisord_ng.model.exits import NORMAL, UNKNOWN
from supervisord_ng.model.spec import Backoff, Heartbeat, Ready
from tests.core.node import BOOM, NOPE, Node, supervisor, worker


def written(state: NodeState) -> Memory:
    """The memory of a state after it has been through the disk."""
    return msgspec.json.decode(msgspec.json.encode(memory.of(state)), type=Memory)


# --- nothing has happened -------------------------------------------------------------------------
def test_who_runs_runs_on_under_its_incarnation_and_nothing_is_asked_of_the_world() -> None:
    """No start, no stop, no report."""
    node = Node(supervisor("root", worker("a"), supervisor("s", worker("b"))))
    node.exits("root/a", BOOM)
    node.told()
    before = rows(node.state, node.now)
    node.restart_daemon()
    assert ["tree up"] == node.told()
    assert before == rows(node.state, node.now)


def test_the_restart_window_goes_on() -> None:
    """Restarts of both daemons count together."""
    node = Node(supervisor("root", worker("a"), intensity=2, period="10s"))
    node.exits("root/a", BOOM)
    node.exits("root/a", BOOM)
    node.restart_daemon()
    node.exits("root/a", BOOM)
    assert node.halted is not None


def test_an_operators_stop_stays() -> None:
    """It outlives a crash of the daemon."""
    node = Node(supervisor("root", worker("a"), worker("b")))
    assert "ok" == node.ask("terminate_child", "root/a").code
    node.restart_daemon()
    assert "stopped" == node.words()["root/a"]
    assert "running" == node.words()["root/b"]


def test_who_ended_for_good_stays_down() -> None:
    """A transient child that ended well, and a temporary one, which is forgotten."""
    tree = supervisor("root", worker("a", restart="transient"), worker("b", restart="temporary"))
    node = Node(tree)
    node.exits("root/a", NORMAL)
    node.exits("root/b", NORMAL)
    node.restart_daemon()
    assert "exited" == node.words()["root/a"]
    assert "root/b" not in node.words()


def test_a_finished_one_shot_is_not_run_again() -> None:
    """A migration runs once."""
    once = worker("once", restart="transient", ready=Ready(kind="exit"))
    node = Node(supervisor("root", once, worker("a")))
    node.exits("root/once", NORMAL)
    node.restart_daemon()
    assert ["tree up"] == node.told()[-1:]
    assert "exited" == node.words()["root/once"]


def test_a_back_off_is_waited_for_to_its_end() -> None:
    """Not from its beginning, and it is not counted twice."""
    backoff = Backoff(initial_ns=4 * SECOND, max_ns=4 * SECOND, jitter=0.0)
    node = Node(supervisor("root", worker("a", backoff=backoff), intensity=1))
    node.exits("root/a", BOOM)
    node.advance("3s")
    node.restart_daemon()
    assert "backoff" == node.words()["root/a"]
    node.advance("1s")
    assert "running" == node.words()["root/a"]
    assert node.halted is None


def test_a_boot_that_waits_goes_on_waiting_and_then_starts_the_rest() -> None:
    """The elder is not ready yet."""
    slow = worker("slow", ready=Ready(kind="notify"))
    node = Node(supervisor("root", slow, worker("next")))
    node.restart_daemon()
    assert "starting" == node.words()["root/slow"]
    node.happens(events.BecameReady("root/slow", 1))
    assert "running" == node.words()["root/next"]


def test_a_stop_under_way_is_carried_on() -> None:
    """It was asked by the daemon that died; the next one does not ask again, and kills it in time."""
    node = Node(supervisor("root", worker("a", shutdown="5s"), worker("b")))
    node.deaf("root/a")
    node.call("terminate_child", "root/a")
    node.told()
    node.restart_daemon()
    assert "stopping" == node.words()["root/a"]
    node.advance("5s")
    assert "stopped" == node.words()["root/a"]
    assert [] == [line for line in node.told() if line.startswith("ask")]


def test_a_restart_of_all_is_carried_on() -> None:
    """one_for_all was waiting for the end of a sibling."""
    node = Node(supervisor("root", worker("a", shutdown="5s"), worker("b"), strategy="one_for_all"))
    node.deaf("root/a")
    node.exits("root/b", BOOM)
    node.restart_daemon()
    node.advance("5s")
    assert {"root/a#2", "root/b#2"} == node.alive()


# --- something has --------------------------------------------------------------------------------
def test_who_died_meanwhile_is_late_news() -> None:
    """Report, count, restart: by the ordinary path."""
    node = Node(supervisor("root", worker("a"), worker("b"), strategy="rest_for_one"))
    node.restart_daemon()
    node.told()
    node.exits("root/a", UNKNOWN)
    reasons = [report.reason for report in node.reports]
    assert [UNKNOWN] == reasons
    assert [2, 2] == [node.row(path).incarnation for path in ("root/a", "root/b")]


def test_numbers_that_may_have_been_used_are_not_used_again() -> None:
    """The disk may be behind by some restarts."""
    node = Node(supervisor("root", worker("a")))
    node.restart_daemon(used={"root/a": 100})
    assert 1 == node.row("root/a").incarnation
    node.exits("root/a", BOOM)
    assert 101 == node.row("root/a").incarnation


def test_a_start_of_which_nobody_knows_how_it_went_is_made_again() -> None:
    """Under a new number."""
    node = Node(supervisor("root", worker("a")), slow=("root/a",))
    node.restart_daemon()
    node.spawned("root/a")
    assert ("running", 2) == (node.words()["root/a"], node.row("root/a").incarnation)


def test_a_start_of_which_the_world_knows_how_it_went_keeps_its_number() -> None:
    """The world says the number before it, and answers the next `Spawn` with what it has found."""
    node = Node(supervisor("root", worker("a")), slow=("root/a",))
    node.restart_daemon(used={"root/a": 0})
    node.spawned("root/a")
    assert ("running", 1) == (node.words()["root/a"], node.row("root/a").incarnation)


def test_silence_counts_from_the_adoption() -> None:
    """A worker could not beat while nobody listened."""
    beating = worker("a", heartbeat=Heartbeat(interval_ns=SECOND, timeout_ns=5 * SECOND))
    node = Node(supervisor("root", beating))
    node.advance("4s")
    node.restart_daemon()
    node.advance("6s")
    assert "running" == node.words()["root/a"]
    node.advance("2s")
    assert 2 == node.row("root/a").incarnation


# --- the configuration has changed ----------------------------------------------------------------
def test_who_is_new_in_the_configuration_is_started_and_who_is_not_in_it_is_forgotten() -> None:
    """The others run on."""
    node = Node(supervisor("root", worker("a"), worker("b")))
    node.restart_daemon(supervisor("root", worker("b"), supervisor("s", worker("c"))))
    assert ["root", "root/b", "root/s", "root/s/c"] == list(node.words())
    assert {"root/a#1", "root/b#1", "root/s/c#1"} == node.alive()  # the shell ends who has no place


def test_a_temporary_child_that_ended_is_not_new() -> None:
    """It is in the configuration, and its supervisor has forgotten it for good."""
    node = Node(supervisor("root", worker("a", restart="temporary"), worker("b")))
    node.exits("root/a", NORMAL)
    node.restart_daemon(supervisor("root", worker("a", restart="temporary"), worker("c")))
    assert ["root", "root/c"] == list(node.words())


def test_a_dynamic_child_comes_back_with_its_specification() -> None:
    """No file names it."""
    node = Node(supervisor("root", worker("a")))
    assert "ok" == node.ask("start_child", "root/x", spec=worker("x", shutdown="7s")).code
    node.restart_daemon()
    assert "running" == node.words()["root/x"]
    node.exits("root/x", BOOM)
    assert 2 == node.row("root/x").incarnation


# --- what is not gone on with ---------------------------------------------------------------------
def test_a_tree_that_was_ending_starts_anew() -> None:
    """An orderly restart, and one after giving up, begin from the configuration."""
    node = Node(supervisor("root", worker("a", shutdown="5s"), worker("b"), intensity=0))
    assert written(node.state).is_of_a_life(has_parent=False)
    node.deaf("root/a")
    node.exits("root/b", BOOM)
    assert not written(node.state).is_of_a_life(has_parent=False)
    assert written(node.state).is_of_a_life(has_parent=True)
    node.happens(events.Stop())
    assert not written(node.state).is_of_a_life(has_parent=True)


def test_a_boot_leaves_alone_whom_operators_have_stopped() -> None:
    """After a power failure; once, because a restart of their supervisor is a fresh start."""
    inner = supervisor("s", worker("a"), worker("b"))
    node = Node(supervisor("root", inner), stopped=frozenset({"root/s/a"}))
    assert "stopped" == node.words()["root/s/a"]
    node.happens(events.Kill("root/s"))
    assert "running" == node.words()["root/s/a"]


# --- nothing is forgotten -------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("state", "kept", "begins_anew"),
    [
        (
            ChildState,
            memory.ChildMemory,
            {
                *("path", "last_beat", "beat_age", "progress", "arrivals", "excused"),
                *("spec", "removed"),
            },
        ),
        (
            SupervisorState,
            memory.SupervisorMemory,
            {"path", "spec", "suspended", "deadline", "waiting"},
        ),
        (
            NodeState,
            memory.NodeMemory,
            {
                *("supervisors", "deadline", "seed", "up_announced", "refusals", "stopped"),
                *(
                    "name",
                    "predecessor",
                    "uplink",
                    "downlinks",
                    "links_at",
                    "reloads",
                    "stop_below",
                ),
            },
        ),
    ],
)
def test_every_field_is_remembered_or_begins_anew(
    state: type[msgspec.Struct], kept: type[msgspec.Struct], begins_anew: set[str]
) -> None:
    """Whoever adds a field to the state decides what becomes of it when the daemon dies."""
    assert set(state.__struct_fields__) - begins_anew <= set(kept.__struct_fields__)


def test_phases_that_have_a_process_keep_it() -> None:
    """pid and birth name it."""
    node = Node(supervisor("root", worker("a")))
    node.restart_daemon()
    child = node.state.supervisors["root"].children["a"]
    assert Phase.RUNNING is child.phase
    assert child.pid is not None


def test_a_failed_start_that_is_retried_is_retried() -> None:
    """The supervisor's own message to itself stands in its mailbox, or its retry waits."""
    backoff = Backoff(initial_ns=SECOND, max_ns=SECOND, jitter=0.0)
    node = Node(supervisor("root", worker("a", backoff=backoff)))
    node.fails("root/a", NOPE)
    node.exits("root/a", BOOM)
    node.advance("1s")
    node.restart_daemon()
    node.advance("1s")
    assert "running" == node.words()["root/a"]
