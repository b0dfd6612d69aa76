"""How a supervisor ends its children: one after the other in reverse order, or all at once if wanted."""

from __future__ import annotations

from tests.core.node import BOOM, Node, supervisor, worker


def trio(stop_order: str) -> Node:
    """Three workers."""
    children = (worker("a", shutdown="2s"), worker("b", shutdown="4s"), worker("c", shutdown="1s"))
    node = Node(supervisor("root", *children, stop_order=stop_order))
    node.told()
    return node


def test_reverse_order_waits_for_each() -> None:
    """The times add up: the next is asked when the one before is gone."""
    node = trio("reverse")
    for path in ("root/a", "root/b", "root/c"):
        node.deaf(path)
    node.stop()
    asked = []
    for _ in range(7):
        asked.append([line for line in node.told() if line.startswith("ask")])
        node.advance("1s")
    assert [["ask root/c#1"], ["ask root/b#1"], [], [], [], ["ask root/a#1"], []] == asked
    assert "halt: shutdown, asked" in node.told()


def test_parallel_asks_everyone_at_once() -> None:
    """The longest time is the whole time; each is killed when its own is over."""
    node = trio("parallel")
    for path in ("root/a", "root/b", "root/c"):
        node.deaf(path)
    node.stop()
    assert ["ask root/c#1", "ask root/b#1", "ask root/a#1"] == node.told()
    killed = []
    for _ in range(4):
        node.advance("1s")
        killed.append([line for line in node.told() if line.startswith("kill")])
    assert [["kill root/c#1"], ["kill root/a#1"], [], ["kill root/b#1"]] == killed
    assert node.halted is not None


def test_parallel_takes_any_order_of_going() -> None:
    """Who goes first need not be who was asked first; bad ends are reported one by one."""
    node = trio("parallel")
    for path in ("root/b", "root/c"):
        node.deaf(path)
    node.stop()
    node.told()
    node.exits("root/b", BOOM)
    node.exits("root/c", BOOM)
    assert [
        *("exit root/b#1: boom", "exit root/c#1: boom"),
        "report shutdown_error root/c#1: boom -> none 0/5",
        "report shutdown_error root/b#1: boom -> none 0/5",
        *("exit root#1: shutdown", "halt: shutdown, asked"),
    ] == node.told()


def test_parallel_is_for_the_end_alone() -> None:
    """A restart stops siblings one after the other as ever."""
    node = Node(
        supervisor(
            "root",
            *(worker("a"), worker("b"), worker("c")),
            strategy="one_for_all",
            stop_order="parallel",
        )
    )
    node.deaf("root/c")
    node.told()
    node.exits("root/a", BOOM)
    assert ["ask root/c#1"] == [line for line in node.told() if line.startswith("ask")]


def test_parallel_stops_whole_subtrees_at_once() -> None:
    """Each of them in its own order."""
    tree = supervisor(
        "root",
        supervisor("s", worker("a"), worker("b")),
        supervisor("t", worker("c")),
        stop_order="parallel",
    )
    node = Node(tree)
    for path in ("root/s/a", "root/s/b", "root/t/c"):
        node.deaf(path)
    node.told()
    node.stop()
    told = node.told()
    assert ["ask root/t#1", "ask root/s#1"] == told[:2]
    assert {"ask root/t/c#1", "ask root/s/b#1"} == set(told[2:])


def test_a_stop_in_the_middle_of_a_restart_cuts_it_short() -> None:
    """Who was asked already is waited for, nobody is started any more."""
    node = Node(supervisor("root", worker("a"), worker("b"), strategy="one_for_all"))
    node.deaf("root/b")
    node.exits("root/a", BOOM)
    node.told()
    node.stop()
    node.exits("root/b", BOOM)
    assert [
        "exit root/b#1: boom",
        "report shutdown_error root/b#1: boom -> none 1/5",
        *("exit root#1: shutdown", "halt: shutdown, asked"),
    ] == node.told()


def test_a_second_stop_changes_nothing() -> None:
    """The first reason stays."""
    node = Node(supervisor("root", worker("a")))
    node.deaf("root/a")
    node.stop()
    node.stop(BOOM)
    node.advance("5s")
    assert "halt: shutdown, asked" == node.told()[-1]


def test_a_deaf_supervisor_hears_a_stop_later() -> None:
    """In its turn: what waited before it is done before it. sys(3), suspend/1."""
    node = Node(supervisor("root", worker("a"), worker("b")))
    node.suspend("root")
    node.exits("root/a", BOOM)
    node.stop()
    node.told()
    node.resume("root")
    told = node.told()
    assert "start root/a#2" == told[1]
    assert "halt: shutdown, asked" == told[-1]


def test_after_the_end_nothing_happens_any_more() -> None:
    """Whatever is said to a node that has halted."""
    node = Node(supervisor("root", worker("a")))
    node.stop()
    node.told()
    node.late("root/a")
    node.stop()
    node.kill_supervisor("root")
    node.suspend("root")
    node.advance("1h")
    assert [] == node.told()
    assert "noproc" == node.ask("restart_child", "root/a").code
