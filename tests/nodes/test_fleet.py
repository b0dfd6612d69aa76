"""A fleet from one chair: `status --all`, `--node NAME VERB`, `shutdown --all`, over three levels."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from tests.cli.canned import sng as call
from tests.daemon.node import Node
from tests.nodes.fleet import wait_row
from tests.nodes.three import Three, three, wait_up
from tests.support import eventually

pytestmark = pytest.mark.process

WAIT_S = 60.0
LEAF = """
[supervisor.root]
children = ["w", "l"]
[worker.w]
command = "sleep 1000"
[worker.l]
command = ["sh", "-c", "echo hello from the leaf; exec sleep 1000"]
"""


def sng(node: Node, *args: str) -> Result:
    """Call ``sng`` against a node."""
    return call("--runtime-dir", str(node.runtime_dir), *args)


def read(node: Node, *args: str) -> Any:
    """What ``sng`` prints with --json."""
    done = sng(node, *args, "--json")
    assert done.exit_code in (0, 3), done.stderr
    return json.loads(done.stdout)


def test_the_fleet_from_one_chair(short_dir: Path) -> None:
    """Every verb reaches every node; what is not there, or does not want, is said at once."""
    with three(short_dir, LEAF, leaf_parent="control = false") as nodes:
        wait_up(nodes)
        the_whole_tree_is_shown(nodes)
        a_node_is_read_and_ordered(nodes)
        a_child_may_refuse_orders_of_strangers(nodes)
        names_are_told_apart(nodes)
        a_node_without_a_link_is_said_so(nodes)
        the_whole_fleet_can_be_stopped(nodes)


def the_whole_tree_is_shown(nodes: Three) -> None:
    """`status --all`: every node with its link."""
    status = read(nodes.root, "status", "--all")
    below = {node["node"]: node for node in status["nodes"]}
    assert ["mid", "leaf"] == [node["node"] for node in status["nodes"]]
    assert {"mid": "top", "leaf": "mid"} == {
        name: node["parent_node"] for name, node in below.items()
    }
    for name, node in (("mid", nodes.mid), ("leaf", nodes.leaf)):
        assert node.pid == below[name]["pid"]
        link = below[name]["link"]
        assert ("up", 0) == (link["state"], link["reports_waiting"])
        assert link["rtt_ms"] > 0
        assert link["since"] > 0
    shown = sng(nodes.root, "status", "--all")
    assert (0, "") == (shown.exit_code, shown.stderr)
    assert "below mid: link up" in shown.stdout


def a_node_is_read_and_ordered(nodes: Three) -> None:
    """`--node`: what the node itself would have said, and what it is told to do it does."""
    here = read(nodes.leaf, "version")["daemon"]
    assert here == read(nodes.root, "--node", "leaf", "version")["daemon"]
    pid = nodes.mid.pids()["m"]
    done = sng(nodes.root, "--node", "mid", "restart", "m")
    assert (0, "") == (done.exit_code, done.stderr)
    assert pid != nodes.mid.pids()["m"]
    (command,) = (event for event in nodes.mid.events() if event["event"] == "command")
    assert ("restart", "on node top") == (command["verb"], command["detail"])
    seen = [event["seq"] for event in nodes.leaf.events()]
    lines = sng(nodes.root, "--node", "leaf", "events", "--json").stdout.splitlines()
    assert seen == [json.loads(line)["seq"] for line in lines]
    assert "hello from the leaf\n" == sng(nodes.root, "--node", "leaf", "logs", "l").stdout
    unknown = sng(nodes.root, "--node", "leaf", "status", "nobody")
    assert 4 == unknown.exit_code
    assert "no such worker or supervisor: nobody" in unknown.stderr


def a_child_may_refuse_orders_of_strangers(nodes: Three) -> None:
    """`control = false`: operators of other nodes may read, and nothing else."""
    pids = nodes.leaf.pids()
    refused = sng(nodes.root, "--node", "leaf", "stop", "w")
    assert 4 == refused.exit_code
    assert "node leaf takes no orders of operators on other nodes" in refused.stderr
    assert nodes.leaf.pid == read(nodes.root, "--node", "leaf", "status")["pid"]
    assert pids == nodes.leaf.pids()


def names_are_told_apart(nodes: Three) -> None:
    """A path will do for a name; this node has a name as well; an unknown one is refused."""
    for name, pid in (
        ("mid/leaf", nodes.leaf.pid),
        ("top/mid", nodes.mid.pid),
        ("top", nodes.root.pid),
    ):
        assert pid == read(nodes.root, "--node", name, "version")["daemon"]["pid"]
    assert 0 == sng(nodes.root, "--node", "top", "restart", "w").exit_code
    unknown = sng(nodes.root, "--node", "elsewhere", "stop", "w")
    assert (1, "") == (unknown.exit_code, unknown.stdout)
    assert "no such node: elsewhere" in unknown.stderr


def a_node_without_a_link_is_said_so(nodes: Three) -> None:
    """Exit status 7 at once, since when, and whatever is behind it may be meant."""
    nodes.leaf.signal(signal.SIGTERM)
    assert 0 == nodes.leaf.ends()
    wait_row(nodes.mid, "leaf", state="lost")
    for verb in (("stop", "w"), ("status",)):
        dark = sng(nodes.root, "--node", "leaf", *verb)
        assert 7 == dark.exit_code
        assert "cannot reach node leaf: no link since 20" in dark.stderr
    further = sng(nodes.root, "--node", "far", "stop", "w")
    assert 7 == further.exit_code
    assert "it may be below one of these: mid/leaf: no link since" in further.stderr
    status = read(nodes.root, "status", "--all")
    assert ["up", "down"] == [node["link"]["state"] for node in status["nodes"]]
    assert 3 == sng(nodes.root, "status", "--all").exit_code


def the_whole_fleet_can_be_stopped(nodes: Three) -> None:
    """`shutdown --all` stops the trees below, `control = false` or not; with the top they are back."""
    nodes.leaf.start()
    nodes.leaf.wait_answering()
    wait_up(nodes)
    assert 0 == sng(nodes.root, "shutdown", "--all").exit_code
    assert 0 == nodes.root.ends()
    assert [{}, {}] == [nodes.mid.pids(), nodes.leaf.pids()]
    nodes.root.start()
    nodes.root.wait_answering()
    wait_row(nodes.root, "mid", state="running")
    eventually(lambda: len(nodes.leaf.pids()) == 2, "the leaf's tree runs again", WAIT_S)
    done = sng(nodes.root, "--node", "mid", "shutdown")
    assert (0, "shutting down\n") == (done.exit_code, done.stdout)
    assert 0 == nodes.mid.ends()
