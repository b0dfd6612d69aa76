"""A new specification for a running tree: who is touched, in which order, and that nobody else is."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from supervisord_ng.limits import SECOND
from supervisord_ng.model.exits import ExitStatus
from supervisord_ng.model.spec import (
    Backoff,
    Heartbeat,
    Ready,
    SupervisorSpec,
    WorkerSpec,
)
from tests.core.node import BOOM, NOPE, Node, supervisor, worker
from tests.core.trees import other

NOTIFY = Ready("notify")
ENDED = ExitStatus(code=0)


def after(node: Node, spec: SupervisorSpec) -> list[str]:
    """What comes of a reload, without the answer, which must come at once."""
    node.told()
    request = node.reload(spec)
    lines = node.told()
    assert request in node.reloaded
    answer = f"reloaded {request}"
    return [line for line in lines if line != answer and not line.startswith("ready")]


# --- who is touched -------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("one_for_one", ["ask b", "exit b", "start b"]),
        ("rest_for_one", ["ask c", "exit c", "ask b", "exit b", "start b", "start c"]),
        (
            "one_for_all",
            [
                "ask c",
                "exit c",
                "ask b",
                "exit b",
                "ask a",
                "exit a",
                "start a",
                "start b",
                "start c",
            ],
        ),
    ],
)
def test_a_changed_child_takes_along_whom_its_strategy_names(
    strategy: str, expected: list[str]
) -> None:
    """Stopped in reverse start order, started in order, and not counted as restarts."""
    node = Node(supervisor("root", *map(worker, "abc"), strategy=strategy))
    new = supervisor("root", worker("a"), other(worker("b")), worker("c"), strategy=strategy)
    lines = after(node, new)
    assert expected == [line.partition("#")[0].replace("root/", "") for line in lines]
    assert {"root": 0} == {row: node.row(row).restarts_in_window for row in ("root",)}
    assert 0 == node.row("root/b").restarts


def test_what_is_new_starts_and_what_is_gone_stops() -> None:
    """Nobody else is touched, whatever the strategy; removals come first, in reverse order."""
    node = Node(supervisor("root", *map(worker, "abcd"), strategy="one_for_all"))
    new = supervisor("root", *map(worker, "axdy"), strategy="one_for_all")
    assert [
        "ask root/c#1",
        "exit root/c#1: signal:SIGTERM",
        "ask root/b#1",
        "exit root/b#1: signal:SIGTERM",
        "start root/x#1",
        "start root/y#1",
    ] == after(node, new)
    assert ["a", "x", "d", "y"] == list(node.state.supervisors["root"].children)


def test_harmless_keys_change_in_place() -> None:
    """Nobody is stopped or started, and what was changed holds from now on."""
    inner = supervisor("s", worker("b"), intensity=0)
    node = Node(supervisor("root", worker("a", shutdown="5s"), inner, intensity=1))
    inner = supervisor("s", worker("b"), intensity=7)
    new = supervisor("root", worker("a", shutdown="brutal_kill", restart="temporary"), inner)
    assert [] == after(node, new)
    node.exits("root/s/b", BOOM)
    assert 1 == node.row("root/s").restarts_in_window
    node.exits("root/a", BOOM)
    assert {"root", "root/s", "root/s/b"} == set(node.words())


def test_the_same_specification_changes_nothing() -> None:
    """Not even an identity."""
    tree = supervisor("root", worker("a"), supervisor("s", worker("b")))
    node = Node(tree)
    before = node.state.supervisors
    assert [] == after(node, tree)
    assert before == node.state.supervisors


def test_a_lower_intensity_holds_from_the_next_restart() -> None:
    """Restarts that were allowed when they happened stay allowed; one more is too many."""
    node = Node(supervisor("root", worker("a"), intensity=3))
    for _ in range(3):
        node.exits("root/a", BOOM)
    assert [] == after(node, supervisor("root", worker("a"), intensity=1))
    assert "running" == node.words()["root"]
    node.exits("root/a", BOOM)
    assert node.halted is not None


def test_whole_subtrees_come_and_go() -> None:
    """A new supervisor boots, one that is gone takes everything below it along."""
    node = Node(supervisor("root", supervisor("s", worker("a"), worker("b"))))
    new = supervisor("root", supervisor("t", worker("c"), supervisor("u", worker("d"))))
    after(node, new)
    assert {"root/t/c#1", "root/t/u/d#1"} == node.alive()
    assert {"root", "root/t", "root/t/u"} == set(node.state.supervisors)


def test_a_supervisor_that_is_restarted_boots_from_its_new_specification() -> None:
    """Its own changes are not made first and undone then."""
    node = Node(
        supervisor("root", worker("a"), supervisor("s", worker("b")), strategy="one_for_all")
    )
    new = supervisor(
        "root",
        other(worker("a")),
        supervisor("s", other(worker("b")), worker("c")),
        strategy="one_for_all",
    )
    lines = after(node, new)
    assert ["start root/s/b#2", "start root/s/c#1"] == [
        line for line in lines if line.startswith("start root/s/")
    ]


# --- what a reload respects -----------------------------------------------------------------------
def test_what_an_operator_has_stopped_stays_stopped() -> None:
    """Changed or taken along by a sibling, it is not started."""
    node = Node(supervisor("root", *map(worker, "abc"), strategy="one_for_all"))
    node.ask("terminate_child", "root/b")
    new = supervisor(
        "root", other(worker("a")), other(worker("b")), worker("c"), strategy="one_for_all"
    )
    after(node, new)
    assert {"root/a#2", "root/c#2"} == node.alive()
    assert "stopped" == node.words()["root/b"]
    node.ask("restart_child", "root/b")
    assert ("other",) == _command(node, "b")


def test_children_added_at_run_time_survive() -> None:
    """They stay, behind those of the file, and are restarted with their group."""
    node = Node(supervisor("root", worker("a")))
    node.ask("start_child", "root/x", spec=worker("x"))
    after(node, supervisor("root", other(worker("a")), worker("b")))
    assert {"root/a#2", "root/b#1", "root/x#1"} == node.alive()
    assert ["a", "b", "x"] == list(node.state.supervisors["root"].children)


def test_a_child_added_at_run_time_becomes_one_of_the_file() -> None:
    """When the file says the same, nothing happens to its process, and from then on the file decides."""
    node = Node(supervisor("root", worker("a")))
    node.ask("start_child", "root/x", spec=worker("x"))
    assert [] == after(node, supervisor("root", worker("a"), worker("x")))
    after(node, supervisor("root", worker("a")))
    assert {"root/a#1"} == node.alive()


def test_what_ended_for_good_comes_back_only_when_it_changes() -> None:
    """A one-shot is not repeated because of a reload; one with another command is."""
    shots = [worker("a", restart="temporary"), worker("b", restart="transient")]
    node = Node(supervisor("root", *shots, worker("c")))
    for name in "ab":
        node.exits(f"root/{name}", BOOM if name == "a" else ENDED)
    assert [] == after(node, supervisor("root", *shots, worker("c"), intensity=9))
    after(node, supervisor("root", *map(other, shots), worker("c")))
    assert {"root/a#2", "root/b#2", "root/c#1"} == node.alive()


def test_autostart_that_becomes_true_starts() -> None:
    """And one that becomes false leaves running what runs."""
    node = Node(supervisor("root", worker("a", autostart=False), worker("b")))
    after(node, supervisor("root", worker("a"), worker("b", autostart=False)))
    assert {"root/a#1", "root/b#1"} == node.alive()


def test_instances_of_a_template_keep_their_arguments() -> None:
    """A changed template starts its instances anew; a harmless key changes in place."""
    pool = supervisor("pool", worker("t"), strategy="simple_one_for_one")
    node = Node(supervisor("root", pool))
    node.ask("start_child", "root/pool/t@1", args=("--fast",))
    harmless = replace(pool, children=(worker("t", shutdown="1s"),))
    assert [] == after(node, supervisor("root", harmless))
    changed = replace(pool, children=(other(worker("t")),))
    after(node, supervisor("root", changed))
    assert {"root/pool/t@1#2"} == node.alive()
    child = node.state.supervisors["root/pool"].children["t@1"].spec
    assert isinstance(child, WorkerSpec)
    assert (("other", "--fast"), 1) == (child.launch.command, child.instance)


# --- what goes wrong ------------------------------------------------------------------------------
def test_a_start_that_fails_holds_nobody_up() -> None:
    """The answer tells, no report is made, nothing is counted, and the others are started."""
    node = Node(supervisor("root", worker("a"), intensity=0))
    node.fails("root/b", NOPE)
    request = node.reload(supervisor("root", worker("a"), worker("b"), worker("c"), intensity=0))
    assert [("root/b", "nope")] == [
        (one.path, one.reason.text) for one in node.reloaded[request].failed
    ]
    assert [] == node.reports
    assert {
        "root": "running",
        "root/a": "running",
        "root/b": "failed",
        "root/c": "running",
    } == node.words()
    after(node, supervisor("root", worker("a"), other(worker("b")), worker("c")))
    assert "running" == node.words()["root/b"]


def test_a_start_without_end_is_ended_by_a_reload() -> None:
    """A boot that waits for a worker that will never be ready goes on when the reload takes it away."""
    node = Node(supervisor("root", worker("a"), worker("b", ready=NOTIFY), worker("c")))
    after(node, supervisor("root", worker("a"), worker("c")))
    assert {"root": "running", "root/a": "running", "root/c": "running"} == node.words()


def test_new_children_of_a_boot_are_started_in_its_order() -> None:
    """A reload does not overtake a boot: who stands behind the one that is waited for waits too."""
    slow = worker("b", ready=NOTIFY)
    node = Node(supervisor("root", worker("a"), slow))
    after(node, supervisor("root", worker("x"), worker("a"), slow, worker("y")))
    assert {"root/a#1", "root/b#1", "root/x#1"} == node.alive()
    node.ready("root/b")
    assert "root/y#1" in node.alive()
    assert "running" == node.words()["root"]


def test_another_way_to_be_ready_starts_a_starting_worker_anew() -> None:
    """It is watched from its beginning; one that is ready already is left alone."""
    node = Node(supervisor("root", worker("a", ready=NOTIFY), worker("b")))
    after(node, supervisor("root", worker("a"), worker("b")))
    assert {"root/a#2", "root/b#1"} == node.alive()
    assert [] == after(node, supervisor("root", worker("a", ready=NOTIFY), worker("b")))


def test_a_second_reload_takes_over_what_the_first_waits_for() -> None:
    """Both are answered, and the tree is as the second one says."""
    node = Node(supervisor("root", worker("a")))
    slow = worker("b", ready=NOTIFY)
    first = node.reload(supervisor("root", worker("a"), slow, worker("c")))
    assert first not in node.reloaded
    second = node.reload(supervisor("root", worker("a"), worker("c"), worker("d")))
    assert {first, second} == set(node.reloaded)
    assert {"root/a#1", "root/c#1", "root/d#1"} == node.alive()


def test_who_was_to_go_and_comes_back_is_started_again() -> None:
    """Also when it has not ended yet."""
    node = Node(supervisor("root", worker("a"), worker("b")))
    node.deaf("root/b")
    first = node.reload(supervisor("root", worker("a")))
    second = node.reload(supervisor("root", worker("a"), worker("b")))
    assert {} == node.reloaded
    node.exits("root/b", BOOM)
    assert {first, second} == set(node.reloaded)
    assert {"root/a#1", "root/b#2"} == node.alive()


def test_a_stop_of_everything_answers_a_reload() -> None:
    """Nobody waits for what will not come."""
    node = Node(supervisor("root", worker("a")))
    request = node.reload(supervisor("root", worker("a"), worker("b", ready=NOTIFY)))
    node.stop()
    assert {request} == set(node.reloaded)
    assert node.halted is not None


def test_an_operator_may_cut_into_a_reload() -> None:
    """A call does not wait for a start of it, and the reload goes on afterwards."""
    node = Node(supervisor("root", worker("a")))
    request = node.reload(supervisor("root", worker("a"), worker("b", ready=NOTIFY), worker("c")))
    assert "ok" == node.ask("terminate_child", "root/b").code
    assert {request} == set(node.reloaded)
    assert {"root/a#1", "root/c#1"} == node.alive()


# --- signs of life --------------------------------------------------------------------------------
def test_a_heartbeat_is_judged_as_the_worker_was_told() -> None:
    """A longer time holds at once, a shorter one after the next start; who was told nothing is not judged."""

    def tree(seconds: int | None) -> SupervisorSpec:
        beat = None if seconds is None else Heartbeat(SECOND, seconds * SECOND)
        return supervisor("root", worker("a", heartbeat=beat), intensity=None)

    node = Node(tree(4))
    node.reload(tree(10))
    node.advance("9s")
    assert {"root/a#1"} == node.alive()
    node.beats("root/a")
    node.reload(tree(4))
    node.advance("9s")
    assert {"root/a#1"} == node.alive()
    node.advance("2s")
    assert {"root/a#2"} == node.alive()
    node.advance("100s")
    assert 4 < int(next(iter(node.alive())).partition("#")[2])
    node.reload(tree(None))
    alive = node.alive()
    node.reload(tree(4))
    node.advance("100s")
    assert alive == node.alive()


def test_a_new_back_off_holds_from_the_next_restart() -> None:
    """One that is being waited for is left as it is."""
    slow, quick = Backoff(20 * SECOND, jitter=0.0), Backoff(SECOND, jitter=0.0)
    node = Node(supervisor("root", worker("a", backoff=slow)))
    node.exits("root/a", BOOM)
    assert [] == after(node, supervisor("root", worker("a", backoff=quick)))
    node.advance("19s")
    assert set() == node.alive()
    node.advance("1s")
    assert {"root/a#2"} == node.alive()


def _command(node: Node, name: str) -> tuple[str, ...]:
    spec = node.state.supervisors["root"].children[name].spec
    assert isinstance(spec, WorkerSpec)
    return spec.launch.command


def test_whom_another_strategy_does_not_take_along_is_started_all_the_same() -> None:
    """It was stopped for the restart of a sibling, which waits for its back-off."""
    backoff = Backoff(initial_ns=SECOND, max_ns=SECOND, jitter=0.0)
    children = (worker("a", backoff=backoff), worker("b"))
    node = Node(supervisor("root", *children, strategy="rest_for_one"))
    node.exits("root/a", BOOM)
    after(node, supervisor("root", *children, strategy="one_for_one"))
    node.advance("1s")
    assert {"root/a#2", "root/b#2"} == node.alive()


def test_who_is_put_before_a_child_whose_start_is_tried_again_is_started() -> None:
    """The tree is not up before everyone's turn has come."""
    a, b = worker("a", ready=NOTIFY), worker("b")
    options = {"strategy": "rest_for_one", "start_failure": "retry"}
    node = Node(supervisor("root", a, b, **options))
    node.reload(supervisor("root", b, a, **options))
    node.exits("root/a", BOOM)
    node.ready("root/a")
    assert {"root/a#2", "root/b#1"} == node.alive()
