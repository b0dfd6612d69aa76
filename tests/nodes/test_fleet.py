"""A fleet from one chair: `status --all`, `--node NAME VERB`, `shutdown --all`, over three levels."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.node import REPOSITORY, Node
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


def sng(node: Node, *args: str) -> subprocess.CompletedProcess[str]:
    """Call ``sng`` against a node, as a whole process."""
    command = [sys.executable, "-m", "supervisord_ng.cli.main", "--runtime-dir"]
    return subprocess.run(
        [*command, str(node.runtime_dir), *args],
        check=False,
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        timeout=WAIT_S,
    )


def read(node: Node, *args: str) -> Any:
    """What ``sng`` prints with --json."""
    done = sng(node, *args, "--json")
    assert done.returncode in (0, 3), done.stderr
    return json.loads(done.stdout)


def test_the_fleet_from_one_chair(short_dir: Path) -> None:
    """Every verb reaches every node; what is not there is said at once."""
    with three(short_dir, LEAF) as nodes:
        wait_up(nodes)
        the_whole_tree_is_shown(nodes)
        a_node_is_read_and_ordered(nodes)
        names_are_told_apart(nodes)
        a_node_without_a_link_is_said_so(nodes)


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
    assert (0, "") == (shown.returncode, shown.stderr)
    assert "below mid: link up" in shown.stdout


def a_node_is_read_and_ordered(nodes: Three) -> None:
    """`--node`: what the node itself would have said, and what it is told to do it does."""
    assert (
        read(nodes.leaf, "version")["daemon"]
        == read(nodes.root, "--node", "leaf", "version")["daemon"]
    )
    pids = nodes.leaf.pids()
    done = sng(nodes.root, "--node", "leaf", "restart", "w")
    assert (0, "") == (done.returncode, done.stderr)
    assert pids["w"] != nodes.leaf.pids()["w"]
    assert pids["l"] == nodes.leaf.pids()["l"]
    (command,) = (event for event in nodes.leaf.events() if event["event"] == "command")
    assert ("restart", "on node top") == (command["verb"], command["detail"])
    here = [event["seq"] for event in nodes.leaf.events()]
    lines = sng(nodes.root, "--node", "leaf", "events", "--json").stdout.splitlines()
    assert here == [json.loads(line)["seq"] for line in lines]
    unknown = sng(nodes.root, "--node", "leaf", "status", "nobody")
    assert 4 == unknown.returncode
    assert "no such worker or supervisor: nobody" in unknown.stderr


def names_are_told_apart(nodes: Three) -> None:
    """A path will do for a name; this node has a name as well; an unknown one is refused."""
    for name, pid in (
        ("mid/leaf", nodes.leaf.pid),
        ("top/mid", nodes.mid.pid),
        ("top", nodes.root.pid),
    ):
        assert pid == read(nodes.root, "--node", name, "version")["daemon"]["pid"]
    unknown = sng(nodes.root, "--node", "elsewhere", "stop", "w")
    assert (1, "") == (unknown.returncode, unknown.stdout)
    assert "no such node: elsewhere" in unknown.stderr


def a_node_without_a_link_is_said_so(nodes: Three) -> None:
    """Exit status 7 at once, since when, and whatever is behind it may be meant."""
    nodes.leaf.signal(signal.SIGTERM)
    assert 0 == nodes.leaf.ends()
    wait_row(nodes.mid, "leaf", state="lost")
    for verb in (("stop", "w"), ("status",)):
        dark = sng(nodes.root, "--node", "leaf", *verb)
        assert 7 == dark.returncode
        assert "cannot reach node leaf: no link since 20" in dark.stderr
    further = sng(nodes.root, "--node", "far", "stop", "w")
    assert 7 == further.returncode
    assert "it may be below one of these: mid/leaf: no link since" in further.stderr
    status = read(nodes.root, "status", "--all")
    assert ["up", "down"] == [node["link"]["state"] for node in status["nodes"]]
    assert 3 == sng(nodes.root, "status", "--all").returncode


def test_a_child_may_refuse_orders_of_strangers(short_dir: Path) -> None:
    """`control = false`: operators of the parent may read; the parent's supervisor still stops the tree."""
    with three(short_dir, LEAF, leaf_parent="control = false") as nodes:
        wait_up(nodes)
        refused = sng(nodes.root, "--node", "leaf", "stop", "w")
        assert 4 == refused.returncode
        assert "node leaf takes no orders of operators on other nodes" in refused.stderr
        assert "w" in nodes.leaf.pids()
        assert nodes.leaf.pid == read(nodes.root, "--node", "leaf", "status")["pid"]
        assert 0 == sng(nodes.mid, "stop", "leaf").returncode
        eventually(lambda: not nodes.leaf.pids(), "its tree was stopped", WAIT_S)


def test_the_whole_fleet_can_be_stopped(short_dir: Path) -> None:
    """`shutdown --all` stops the trees below; their daemons start them again when the top is back."""
    with three(short_dir, LEAF) as nodes:
        wait_up(nodes)
        assert 0 == sng(nodes.root, "shutdown", "--all").returncode
        assert 0 == nodes.root.ends()
        assert [{}, {}] == [nodes.mid.pids(), nodes.leaf.pids()]
        nodes.root.start()
        nodes.root.wait_answering()
        wait_row(nodes.root, "mid", state="running")
        eventually(lambda: len(nodes.leaf.pids()) == 2, "the leaf's tree runs again", WAIT_S)
