"""Crash reports climb from node to node: each once, in the order of its node, whoever dies on the way."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.node import Node
from tests.nodes.three import three, wait_up
from tests.support import eventually

pytestmark = pytest.mark.process

WAIT_S = 60.0
SLEEPING = '[worker.a]\ncommand = "sleep 1000"\n[supervisor.root]\nchildren = ["a"]\n'


def crash(node: Node, name: str) -> None:
    """Kill a worker with -9 and wait for its replacement."""
    pid = node.row(name)["pid"]
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: node.row(name)["pid"] not in (pid, None), f"{name} is another", WAIT_S)


def reports_of(node: Node, maker: str) -> list[dict[str, Any]]:
    """The reports on a node that were made on `maker`, oldest first."""
    return [report for report in node.crashes() if report["node"] == maker]


def test_a_crash_on_the_leaf_is_told_at_the_top_with_its_way(short_dir: Path) -> None:
    """`via` names the nodes that it came through; nodes in between have it as well."""
    with three(short_dir, SLEEPING) as nodes:
        wait_up(nodes)
        crash(nodes.leaf, "a")
        eventually(lambda: reports_of(nodes.root, "leaf"), "the report is at the top", WAIT_S)

        found = [
            [(one["node"], one["via"], one["path"]) for one in node.crashes()] for node in nodes.all
        ]
        assert [
            [("leaf", ["mid"], "root/a")],
            [("leaf", [], "root/a")],
            [("leaf", [], "root/a")],
        ] == found
        assert nodes.leaf.crashes()[0]["id"] == nodes.root.crashes()[0]["id"]
        for node in (nodes.leaf, nodes.mid):
            eventually(lambda node=node: not node.status()["reports"]["waiting"], "acknowledged")  # type: ignore[misc]
