"""The cable is pulled, and put back: who lives on, who stops, and that both trees are as they were.

CI pulls it for a moment. By hand: PARTITION_S=60 CRASHES=500 pytest tests/nodes/test_partition.py
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.daemon.node import Node
from tests.nodes.fleet import link_of, listening, make_key, parent, remote, wait_row, workers
from tests.nodes.wires import Wire, wire
from tests.support import eventually

pytestmark = [pytest.mark.process, pytest.mark.nodes]

PARTITION_S = float(os.environ.get("PARTITION_S", "0"))
CRASHES = int(os.environ.get("CRASHES", "10"))
WAIT_S = 60.0
GROWTH_MAX = (
    32 * 1024 * 1024
)  # bytes of a daemon whose parent takes nothing; the queues are bounded
CRASHING = '[worker.a]\ncommand = ["sh", "-c", "read -r x < {fifo}; exit 3"]\n'


@contextmanager
def pair(
    directory: Path,
    cable: Wire,
    *,
    leaf_parent: str = "",
    remote_more: str = "",
    leaf_workers: str = "",
) -> Iterator[tuple[Node, Node]]:
    """A node "top" and below it, at the other end of the cable, "leaf" with workers a and b."""
    above, below = make_key(directory / "top"), make_key(directory / "leaf")
    top_tree = f"""
[node]
name = "top"
{listening(cable.listen_port, cable.listen_address)}
[supervisor.root]
children = ["w", "leaf"]
{workers("w")}
{remote("leaf", below.public, remote_more)}
"""
    leaf_tree = f"""
[node]
name = "leaf"
{parent(cable.port, above.public, leaf_parent, cable.address)}
[supervisor.root]
intensity = "infinity"
children = ["a", "b"]
{leaf_workers or workers("a")}
{workers("b")}
"""
    with (
        Node(directory / "top", top_tree, cable.above) as top,
        Node(directory / "leaf", leaf_tree, cable.below) as leaf,
    ):
        wait_row(top, "leaf", state="running")
        yield top, leaf


def let_crash(leaf: Node, fifo: Path, number: int) -> None:
    """Let worker a exit 3, and wait for its replacement."""
    fifo.write_text("x\n")
    eventually(
        lambda: leaf.row("a")["restarts"] == number and leaf.row("a")["state"] == "running",
        f"crash {number}",
        WAIT_S,
    )


def test_a_partition_disturbs_nobody_and_loses_nothing(short_dir: Path) -> None:
    """Cut off, the leaf supervises on; after the heal nothing was counted, every report is there, in order."""
    fifo = short_dir / "crash"
    os.mkfifo(fifo)
    crashing = CRASHING.format(fifo=fifo)
    with wire() as cable, pair(short_dir, cable, leaf_workers=crashing) as (top, leaf):
        before = (leaf.pids()["b"], top.pids()["w"])
        cable.cut()
        healing = time.monotonic() + PARTITION_S
        for number in range(1, CRASHES + 1):
            let_crash(leaf, fifo, number)
        wait_row(top, "leaf", state="lost", restarts=0)
        eventually(lambda: link_of(leaf) == "down", "the leaf has lost its parent", WAIT_S)
        eventually(lambda: time.monotonic() > healing, "the partition is over", PARTITION_S + 1)
        cable.mend()
        wait_row(top, "leaf", state="running", restarts=0)
        assert before == (leaf.pids()["b"], top.pids()["w"])
        own = [report["id"] for report in leaf.crashes()]
        assert CRASHES == len(own)
        eventually(
            lambda: sum(r["node"] == "leaf" for r in top.crashes()) >= CRASHES, "reports", WAIT_S
        )
        assert own == [report["id"] for report in top.crashes() if report["node"] == "leaf"]
        lost = [report for report in top.crashes() if report["node"] == "top"]
        assert [("root/leaf", "noconnection", "none")] == [
            (report["path"], report["reason"], report["decision"]) for report in lost
        ]


def test_silence_is_an_exit_where_that_is_wanted(short_dir: Path) -> None:
    """`on_lost = "exit"`: a partition is counted as one restart; after the heal the leaf was started once."""
    exits = 'on_lost = "exit"'
    with wire() as cable, pair(short_dir, cable, remote_more=exits) as (top, leaf):
        pids = leaf.pids()
        cable.cut()
        wait_row(top, "leaf", state="lost", restarts=1)
        cable.mend()
        wait_row(top, "leaf", state="running", restarts=1)
        assert pids == leaf.pids()  # it is taken as it is


def test_a_node_that_must_not_be_alone_stops_its_tree(short_dir: Path) -> None:
    """`on_partition = "stop"`: started once the parent was heard, stopped without it, back after the heal."""
    stops = 'on_partition = "stop"\npartition_timeout = "2s"'
    with wire() as cable, pair(short_dir, cable, leaf_parent=stops) as (top, leaf):
        before = leaf.pids()
        assert {"a", "b"} == set(before)
        cable.cut()
        eventually(lambda: leaf.pids() == {}, "its workers are stopped", WAIT_S)
        assert [] == leaf.left_running()
        cable.mend()
        eventually(lambda: set(leaf.pids()) == {"a", "b"}, "they are back", WAIT_S)
        wait_row(top, "leaf", state="running")
        assert set() == set(before.values()) & set(leaf.pids().values())


def test_a_frozen_parent_costs_bounded_memory(short_dir: Path) -> None:
    """While the parent is stopped its child grows by no more than its queues may hold; then all goes on."""
    fifo = short_dir / "crash"
    os.mkfifo(fifo)
    crashing = CRASHING.format(fifo=fifo)
    with wire() as cable, pair(short_dir, cable, leaf_workers=crashing) as (top, leaf):
        process = psutil.Process(leaf.pid)
        before = process.memory_info().rss
        top.signal(signal.SIGSTOP)
        try:
            thawing = time.monotonic() + PARTITION_S
            for number in range(1, CRASHES + 1):
                let_crash(leaf, fifo, number)
            eventually(lambda: link_of(leaf) == "down", "the leaf has lost its parent", WAIT_S)
            eventually(lambda: time.monotonic() > thawing, "the frost is over", PARTITION_S + 1)
            grown = process.memory_info().rss - before
        finally:
            top.signal(signal.SIGCONT)
        assert grown < GROWTH_MAX
        wait_row(top, "leaf", state="running", restarts=0)
        eventually(
            lambda: sum(r["node"] == "leaf" for r in top.crashes()) == CRASHES, "reports", WAIT_S
        )
