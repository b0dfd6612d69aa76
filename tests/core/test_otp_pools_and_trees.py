"""OTP's own test cases about pools, significant children, operators and whole trees; see `test_otp_cases`."""

from __future__ import annotations

import pytest

from supervisord_ng.core.effects import Counts
from supervisord_ng.model.exits import NORMAL, ExitReason
from tests.core.node import BOOM, NOPE, Node, supervisor, worker


# --- simple_one_for_one ---------------------------------------------------------------------------
def pool(*instances: str, **keys: object) -> Node:
    """A simple_one_for_one root with these instances."""
    node = Node(supervisor("root", worker("t"), strategy="simple_one_for_one", **keys))
    for instance in instances:
        node.ask("start_child", f"root/{instance}")
    node.told()
    return node


def test_simple_one_for_one() -> None:
    """One that crashed is restarted, the others do not notice."""
    node = pool("x", "y")
    assert "start root/x#2" == node.after("root/x", BOOM)[-1]
    assert {"root/x#2", "root/y#1"} == node.alive()


def test_simple_one_for_one_shutdown() -> None:
    """All instances are asked at once; bad ends are reported together, when all are gone."""
    node = pool("x", "y", "z")
    node.obeys_with("root/x", BOOM)
    node.obeys_with("root/z", BOOM)
    node.stop()
    assert [
        *("ask root/z#1", "ask root/y#1", "ask root/x#1"),
        *("exit root/z#1: boom", "exit root/y#1: signal:SIGTERM", "exit root/x#1: boom"),
        "report shutdown_error 2 x root/t: boom -> none 0/5",
        *("exit root#1: shutdown", "halt: shutdown, asked"),
    ] == node.told()


def test_simple_one_for_one_escalation() -> None:
    """The limit is that of all instances together."""
    node = pool("x", "y", intensity=1)
    node.exits("root/x", BOOM)
    assert "halt: shutdown" == node.after("root/y", BOOM)[-1]


def test_simple_one_for_one_scale_many_temporary_children() -> None:
    """Many come and go, and nothing of them is left."""
    node = Node(supervisor("root", worker("t", restart="temporary"), strategy="simple_one_for_one"))
    for number in range(300):
        node.ask("start_child", f"root/x{number}")
    for number in range(300):
        node.exits(f"root/x{number}", BOOM)
    assert {} == node.state.supervisors["root"].children


# --- significant children (OTP 24, EEP 56) --------------------------------------------------------
def crew(auto_shutdown: str, restart: str, *, significant: bool) -> Node:
    """A node whose second child may matter."""
    mate = worker("b", restart=restart, significant=significant)
    other = worker("c", restart=restart, significant=significant)
    node = Node(supervisor("root", worker("a"), mate, other, auto_shutdown=auto_shutdown))
    node.told()
    return node


@pytest.mark.parametrize("restart", ["temporary", "transient"])
@pytest.mark.parametrize("auto_shutdown", ["any_significant", "all_significant"])
def test_nonsignificant(auto_shutdown: str, restart: str) -> None:
    """nonsignificant_temporary, nonsignificant_transient: their end ends nobody."""
    node = crew(auto_shutdown, restart, significant=False)
    node.exits("root/b", NORMAL)
    node.exits("root/c", NORMAL)
    assert node.halted is None


@pytest.mark.parametrize("how", [NORMAL, BOOM])
def test_significant_temporary(how: ExitReason) -> None:
    """Whatever it ended of, it ended for good."""
    node = crew("any_significant", "temporary", significant=True)
    assert "halt: shutdown" == node.after("root/b", how)[-1]


def test_significant_transient() -> None:
    """A crash is restarted; a good end ends the supervisor."""
    node = crew("any_significant", "transient", significant=True)
    assert "start root/b#2" == node.after("root/b", BOOM)[-1]
    assert "halt: shutdown" == node.after("root/b", NORMAL)[-1]


def test_significant_all() -> None:
    """The last one counts; one that an operator stopped does not run any more, and triggers nothing."""
    node = crew("all_significant", "transient", significant=True)
    node.ask("terminate_child", "root/b")
    assert node.halted is None
    assert "halt: shutdown" == node.after("root/c", NORMAL)[-1]


def test_significant_bystander() -> None:
    """One that is stopped for a sibling's restart triggers nothing."""
    mate = worker("b", restart="temporary", significant=True)
    node = Node(
        supervisor(
            "root", worker("a"), mate, strategy="one_for_all", auto_shutdown="any_significant"
        )
    )
    assert "start root/a#2" == node.after("root/a", BOOM)[-1]
    assert node.halted is None


def test_significant_escalation() -> None:
    """Its end climbs as long as the supervisors above are significant, and each stops its own first."""
    inner = supervisor(
        "s",
        worker("a", restart="temporary", significant=True),
        worker("b"),
        auto_shutdown="any_significant",
        restart="transient",
        significant=True,
    )
    node = Node(supervisor("root", inner, worker("c"), auto_shutdown="any_significant"))
    assert [
        *("ask root/s/b#1", "exit root/s/b#1: signal:SIGTERM", "exit root/s#1: shutdown"),
        *("ask root/c#1", "exit root/c#1: signal:SIGTERM"),
        *("exit root#1: shutdown", "halt: shutdown"),
    ] == node.after("root/s/a", NORMAL)


# --- misc -----------------------------------------------------------------------------------------
def test_child_adm() -> None:
    """The life of a child under the hands of an operator, call by call, with every refusal."""
    node = Node(supervisor("root"))
    spec = worker("a")
    said = [
        node.ask("start_child", "root/a", spec=spec),
        node.ask("start_child", "root/a", spec=spec),
        node.ask("restart_child", "root/a"),
        node.ask("delete_child", "root/a"),
        node.ask("terminate_child", "root/a"),
        node.ask("terminate_child", "root/a"),
        node.ask("start_child", "root/a", spec=spec),
        node.ask("restart_child", "root/a"),
        node.ask("terminate_child", "root/a"),
        node.ask("delete_child", "root/a"),
        node.ask("terminate_child", "root/a"),
        node.ask("restart_child", "root/a"),
        node.ask("delete_child", "root/a"),
    ]
    assert [
        ("ok", 1),
        ("already_started", 1),
        ("running", 1),
        ("running", 1),
        ("ok", None),
        ("ok", None),
        ("already_present", None),
        ("ok", 2),
        ("ok", None),
        ("ok", None),
        *[("not_found", None)] * 3,
    ] == [(reply.code, reply.incarnation) for reply in said]


def test_child_adm_simple() -> None:
    """Instances can be started and terminated, nothing else."""
    node = pool("x")
    said = [
        node.ask("restart_child", "root/x"),
        node.ask("delete_child", "root/x"),
        node.ask("terminate_child", "root/x"),
        node.ask("terminate_child", "root/x"),
    ]
    assert ["simple_one_for_one", "simple_one_for_one", "ok", "not_found"] == [
        reply.code for reply in said
    ]


def test_tree() -> None:
    """A crash deep in the tree, up to the limit of its supervisor, restarts that supervisor from scratch."""
    inner = supervisor("s", worker("a"), worker("b"), intensity=0)
    node = Node(supervisor("root", worker("c"), inner, strategy="one_for_all"))
    assert [
        "report child_terminated root/s/a#1: boom -> give_up 1/0",
        "report shutdown root/s/a#1: reached_max_restart_intensity -> give_up 1/0",
        *("ask root/s/b#1", "exit root/s/b#1: signal:SIGTERM", "exit root/s#1: shutdown"),
        "report child_terminated root/s#1: shutdown -> restart 1/5",
        *("ask root/c#1", "exit root/c#1: signal:SIGTERM", "start root/c#2"),
        *("start root/s#2", "start root/s/a#2", "start root/s/b#2", "up root/s#2"),
    ] == node.after("root/s/a", BOOM)


def test_count_children_supervisor() -> None:
    """Supervisors and workers are counted by what they are, running or not."""
    node = Node(supervisor("root", worker("a"), supervisor("s"), supervisor("t"), worker("b")))
    assert Counts(4, 4, 2, 2) == node.counts("root")
    node.ask("terminate_child", "root/a")
    node.ask("terminate_child", "root/s")
    assert Counts(4, 2, 2, 2) == node.counts("root")


def test_count_restarting_children() -> None:
    """One that waits for its next attempt is there, and not active."""
    node = Node(supervisor("root", worker("a"), worker("b")))
    node.suspend("root")
    node.fails("root/a", *[NOPE] * 2)
    node.exits("root/a", BOOM)
    node.query("count_children", "root")
    node.query("which_children", "root")
    node.told()
    node.resume("root")
    told = node.told()
    assert "reply 1: ok 2 1 0 2" in told
    assert "reply 2: ok root/b#1 root/a:restarting" in told


def test_do_not_save_child_specs_for_temporary_children() -> None:
    """The id of one that ended is free again."""
    node = Node(supervisor("root"))
    spec = worker("a", restart="temporary")
    node.ask("start_child", "root/a", spec=spec)
    node.exits("root/a", NORMAL)
    assert "ok" == node.ask("start_child", "root/a", spec=spec).code


@pytest.mark.parametrize("strategy", ["one_for_one", "rest_for_one", "simple_one_for_one"])
def test_hanging_restart_loop(strategy: str) -> None:
    """A child that cannot be restarted does not keep the supervisor from its other work."""
    simple = strategy == "simple_one_for_one"
    children = (worker("a"),) if simple else (worker("a"), worker("b"))
    node = Node(supervisor("root", *children, strategy=strategy, intensity=10))
    if simple:
        node.ask("start_child", "root/a")
    node.suspend("root")
    node.fails("root/a", *[NOPE] * 3)
    node.exits("root/a", BOOM)
    node.query("count_children", "root")
    node.call("terminate_child", "root/a")
    node.resume("root")
    told = node.told()
    assert 1 == told.count("failed root/a#2: nope")  # the operator came before the second attempt
    assert "root/a#3" not in " ".join(told)


def test_order_of_children() -> None:
    """which_children lists the last started first; a restarted child keeps its place, an added one is last."""
    node = Node(supervisor("root", worker("a"), worker("b"), worker("c")))
    node.exits("root/a", BOOM)
    node.ask("start_child", "root/d", spec=worker("d"))
    node.told()
    node.query("which_children", "root")
    assert ["reply 2: ok root/d#1 root/c#1 root/b#1 root/a#2"] == node.told()
    node.ask("terminate_child", "root/a")
    node.ask("delete_child", "root/a")
    node.ask("start_child", "root/a", spec=worker("a"))
    node.told()
    node.query("which_children", "root")
    (listed,) = node.told()
    assert ["root/a", "root/d", "root/c", "root/b"] == [
        each.partition("#")[0] for each in listed.split()[3:]
    ]
