"""Crash reports climb from node to node: each once, in the order of its node, whoever dies on the way."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.node import Node
from tests.nodes.three import Three, three, wait_up
from tests.support import eventually

pytestmark = pytest.mark.process

WAIT_S = 60.0
ROUNDS = int(os.environ.get("ROUNDS", "3"))
SEED = int(os.environ.get("SEED", random.SystemRandom().getrandbits(32)))
CRASHING = """
[supervisor.root]
children = ["a"]
intensity = "infinity"
[worker.a]
command = ["sh", "-c", "exit 3"]
backoff = { initial = "20ms", max = "20ms" }
"""
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
        wait_told(nodes)


def ids_of(node: Node, maker: str) -> list[str]:
    """The ids of the reports on a node that were made on `maker`, oldest first."""
    return [report["id"] for report in reports_of(node, maker)]


def wait_for_more(node: Node, count: int) -> None:
    """Wait until a node has stored so many more reports than it has now."""
    wanted = node.status()["reports"]["stored"] + count
    eventually(lambda: node.status()["reports"]["stored"] >= wanted, "more crashes", WAIT_S)


def wait_told(nodes: Three) -> None:
    """Wait until the leaf and mid know that the node above has all of their reports."""
    lower = (nodes.leaf, nodes.mid)
    eventually(
        lambda: not any(node.status()["reports"]["waiting"] for node in lower), f"{SEED=}", WAIT_S
    )


def wait_same(nodes: Three) -> None:
    """Wait until every node has every report of the leaf."""
    made = ids_of(nodes.leaf, "leaf")
    eventually(lambda: len(ids_of(nodes.root, "leaf")) >= len(made), f"all are up, {SEED=}", WAIT_S)
    wait_told(nodes)


@pytest.mark.slow
def test_nothing_is_lost_and_nothing_is_there_twice_whoever_is_killed(short_dir: Path) -> None:
    """A crash loop on the leaf, kill -9 of leaf, mid and top at random moments.

    Then every node above has exactly what the leaf has, in the leaf's order. ROUNDS=100 for a long run.
    """
    chance = random.Random(SEED)
    with three(short_dir, CRASHING) as nodes:
        wait_up(nodes)
        for _ in range(ROUNDS):
            wait_for_more(nodes.leaf, chance.randint(1, 20))
            node = chance.choice(nodes.all)
            node.signal(signal.SIGKILL)
            node.ends()
            if node is not nodes.leaf:
                wait_for_more(nodes.leaf, chance.randint(0, 5))
            node.start()
            node.wait_answering(WAIT_S)
        wait_up(nodes)
        nodes.leaf.ask("stop", paths=["a"])
        wait_same(nodes)
        made = ids_of(nodes.leaf, "leaf")
        assert len(set(made)) == len(made), f"{SEED=}"
        assert made == ids_of(nodes.mid, "leaf"), f"{SEED=}"
        assert made == ids_of(nodes.root, "leaf"), f"{SEED=}"
        assert [0, 0, 0] == [node.status()["reports"]["dropped"] for node in nodes.all]
