"""Two daemons and the link between them, on one host: the tree below is a child of the tree above."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.daemon.node import Node
from tests.daemon.services import free_ports
from tests.nodes.fleet import (
    link_of,
    listening,
    make_key,
    parent,
    remote,
    wait_linked,
    wait_row,
    workers,
)
from tests.support import eventually

pytestmark = pytest.mark.process


@contextmanager
def top_and_leaf(
    directory: Path, top_root: str = "", leaf_root: str = "", remote_more: str = ""
) -> Iterator[tuple[Node, Node]]:
    """A node "top" with workers w and x around the remote "leaf", whose workers are a and b."""
    (port,) = free_ports(1)
    above, below = make_key(directory / "top"), make_key(directory / "leaf")
    top_tree = f"""
[node]
name = "top"
{listening(port)}
[supervisor.root]
children = ["w", "leaf", "x"]
{top_root}
{workers("w x")}
{remote("leaf", below.public, remote_more)}
"""
    leaf_tree = f"""
[node]
name = "leaf"
{parent(port, above.public)}
[supervisor.root]
children = ["a", "b"]
{leaf_root}
{workers("a b")}
"""
    with Node(directory / "top", top_tree) as top, Node(directory / "leaf", leaf_tree) as leaf:
        yield top, leaf


def crash(node: Node, name: str) -> None:
    """Kill a worker with -9 and wait for its replacement, or for the end of its tree."""
    pid = node.row(name)["pid"]
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: node.row(name)["pid"] != pid, f"{name} is another")


def give_up(leaf: Node) -> None:
    """Crash a worker once more than a leaf with intensity 1 allows."""
    crash(leaf, "a")
    crash(leaf, "a")


def test_a_leaf_that_gives_up_is_restarted_by_its_parent(short_dir: Path) -> None:
    """The leaf's root gives up: the parent counts one restart and has the leaf's tree started again."""
    with top_and_leaf(short_dir, leaf_root='intensity = 1\nperiod = "10m"') as (top, leaf):
        wait_linked(leaf)
        assert "remote" == wait_row(top, "leaf", state="running", restarts=0)["kind"]
        others = {name: top.pids()[name] for name in "wx"}
        before = leaf.pids()
        give_up(leaf)
        wait_row(top, "leaf", state="running", restarts=1)
        eventually(lambda: leaf.is_up() and len(leaf.pids()) == 2, "the leaf's tree is up again")
        assert set() == set(before.values()) & set(leaf.pids().values())
        assert others == {name: top.pids()[name] for name in "wx"}
        assert 1 == top.row("root")["restarts_in_window"]


def test_a_give_up_while_the_parents_daemon_is_away_is_counted_once(short_dir: Path) -> None:
    """The parent's daemon is killed; the next one keeps its workers and knows which tree had run below."""
    with top_and_leaf(short_dir, leaf_root='intensity = 1\nperiod = "10m"') as (top, leaf):
        wait_row(top, "leaf", state="running", restarts=0)
        pids = top.pids()
        top.crash()
        give_up(leaf)
        top.start()
        top.wait_answering()
        wait_row(top, "leaf", state="running", restarts=1)
        eventually(lambda: leaf.is_up() and len(leaf.pids()) == 2, "the leaf's tree is up again")
        assert pids == top.pids()
        assert 1 == top.row("root")["restarts_in_window"]


def test_one_for_all_restarts_the_siblings_in_order(short_dir: Path) -> None:
    """Under one_for_all the parent's own workers are stopped in reverse and started in order, with the leaf."""
    strategy = 'strategy = "one_for_all"\n'
    with top_and_leaf(short_dir, strategy, 'intensity = 1\nperiod = "10m"') as (top, leaf):
        wait_row(top, "leaf", state="running")
        seen = top.events()[-1]["seq"]
        give_up(leaf)
        wait_row(top, "leaf", state="running", restarts=1)
        eventually(lambda: top.is_up() and {"w", "x"} == set(top.pids()), "all of them are back")
        events = [event for event in top.events() if event["seq"] > seen]
        told = [(event["event"], event["path"].rpartition("/")[2]) for event in events]
        assert ["x", "w"] == [name for what, name in told if what == "stopped"]
        assert ["w", "leaf", "x"] == [name for what, name in told if what == "starting"]


def test_beyond_its_intensity_the_parent_gives_up(short_dir: Path) -> None:
    """A leaf that gives up more often than its parent may restart it takes the parent's tree with it."""
    with top_and_leaf(
        short_dir, 'intensity = 0\nperiod = "10m"', 'intensity = 1\nperiod = "10m"'
    ) as (top, leaf):
        wait_row(top, "leaf", state="running")
        give_up(leaf)
        assert 70 == top.ends()
        assert "root gave up" in top.stderr.read_text()
        eventually(lambda: link_of(leaf) == "down", "the leaf knows that its parent is gone")
        assert "stopped" == leaf.row("root")["state"]


def test_the_end_of_either_daemon_is_told(short_dir: Path) -> None:
    """An orderly end says goodbye: the parent's leaves the tree below as it is, the child's counts nothing."""
    with top_and_leaf(short_dir) as (top, leaf):
        wait_row(top, "leaf", state="running")
        pids = leaf.pids()
        top.signal(signal.SIGTERM)
        assert 0 == top.ends()
        eventually(lambda: link_of(leaf) == "down", "the leaf knows that its parent is gone")
        assert pids == leaf.pids()
        top.start()
        top.wait_answering()
        wait_row(top, "leaf", state="running", restarts=0)
        assert pids == leaf.pids()
        leaf.signal(signal.SIGTERM)
        assert 0 == leaf.ends()
        wait_row(top, "leaf", state="lost")
        leaf.start()
        leaf.wait_answering()
        assert 0 == wait_row(top, "leaf", state="running")["restarts"]


def test_a_reload_lets_a_node_in_and_out(short_dir: Path) -> None:
    """A remote child that is added may connect; one that is removed is stopped, and refused from then on."""
    with top_and_leaf(short_dir) as (top, leaf):
        wait_row(top, "leaf", state="running")
        with_leaf = top.tree.read_text()
        table = with_leaf.index("[remote.leaf]")
        top.tree.write_text(with_leaf[:table].replace('"leaf", ', ""))
        top.ask("reload")
        eventually(lambda: "leaf" not in top.rows(), "it is no child any more")
        eventually(lambda: leaf.pids() == {}, "its tree is stopped")
        eventually(
            lambda: "not on the list any more" in leaf.stderr.read_text(), "it is refused", 60
        )
        top.tree.write_text(with_leaf)
        top.ask("reload")
        wait_row(top, "leaf", state="running")
        eventually(lambda: set(leaf.pids()) == {"a", "b"}, "its tree runs again")
