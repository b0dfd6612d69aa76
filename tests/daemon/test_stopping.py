"""How a daemon ends, and how it stops what it is asked to stop."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.daemon.node import Node
from tests.support import eventually

pytestmark = pytest.mark.process

TREE = """
[supervisor.root]
children = ["a", "inner", "d"]
[supervisor.inner]
children = ["b", "c"]
[worker.a]
command = "sleep 1000"
[worker.b]
command = "sleep 1000"
[worker.c]
command = "sleep 1000"
[worker.d]
command = "sleep 1000"
"""

# Python, because a shell that waits for a child of its own does not see a signal before that ends.
DEAF = """
import signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
while True: signal.pause()
"""


def test_sigterm_stops_in_reverse_order(short_dir: Path) -> None:
    """Workers stop one after the other, last started first; exit status 0, nothing left, no report."""
    order = short_dir / "order"
    workers = "\n".join(
        f"[worker.{name}]\ncommand = ['sh', '-c', 'trap \"echo {name} >> {order}; exit 0\" TERM; "
        f"touch {order}.{name}; while :; do sleep 0.05; done']"
        for name in "abcd"
    )
    tree = TREE.partition("[worker.a]")[0] + workers
    with Node(short_dir, tree) as node:
        node.wait_up()
        eventually(lambda: all(Path(f"{order}.{name}").exists() for name in "abcd"), "all trap")
        node.status()
        node.signal(signal.SIGTERM)
        assert 0 == node.ends()
    assert ["d", "c", "b", "a"] == order.read_text().split()
    assert [] == node.left_running()


def test_deaf_worker_is_killed_at_its_shutdown_time(short_dir: Path) -> None:
    """A worker that ignores TERM is killed when its `shutdown` is over, and a report says so."""
    program = short_dir / "deaf.py"
    program.write_text(DEAF)
    tree = f"""
[worker.deaf]
command = ["python3", "{program}"]
shutdown = "300ms"
"""
    with Node(short_dir, tree) as node:
        node.wait_up()
        log = node.state_dir / "log" / "deaf.log"
        eventually(lambda: "deaf" in log.read_text(), "it ignores TERM")
        node.status()
        result = node.ask("stop", paths=["deaf"])["results"][0]
        assert ("stopped", True) == (result["message"], result["ok"])
        assert [] == node.left_running()
        report = eventually(node.crashes, "its report")[0]
        assert ("shutdown_error", "signal:SIGKILL") == (report["context"], report["reason"])


def test_second_sigterm_kills(short_dir: Path) -> None:
    """An operator who asks twice does not wait for a worker with `shutdown = "infinity"`."""
    program = short_dir / "deaf.py"
    program.write_text(DEAF)
    tree = f"""
[worker.deaf]
command = ["python3", "{program}"]
shutdown = "infinity"
"""
    with Node(short_dir, tree) as node:
        node.wait_up()
        log = node.state_dir / "log" / "deaf.log"
        eventually(lambda: "deaf" in log.read_text(), "it ignores TERM")
        node.signal(signal.SIGTERM)
        eventually(lambda: node.row("deaf")["state"] == "stopping", "it is asked")
        node.signal(signal.SIGTERM)
        assert 0 == node.ends()
    assert [] == node.left_running()


def test_stop_ends_the_whole_process_group(short_dir: Path) -> None:
    """What a worker started and left behind in its group is gone before `stop` answers."""
    tree = """
[worker.parent]
command = ["sh", "-c", "sleep 1000 & echo child $!; wait"]
"""
    with Node(short_dir, tree) as node:
        node.wait_up()
        log = node.state_dir / "log" / "parent.log"
        child = int(eventually(lambda: log.read_text().split()[1:2], "its child")[0])
        os.kill(child, 0)
        node.ask("stop", paths=["parent"])
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)


def test_stopped_worker_stays_stopped_and_starts_again(short_dir: Path) -> None:
    """`stop` is not counted as a restart, is idempotent, and `start` brings the worker back."""
    with Node(short_dir, TREE) as node:
        node.wait_up()
        for expected in ("stopped", "already stopped"):
            assert expected == node.ask("stop", paths=["b"])["results"][0]["message"]
        assert "stopped" == node.row("b")["state"]
        for expected in ("started", "already started"):
            assert expected == node.ask("start", paths=["b"])["results"][0]["message"]
        row = node.row("b")
        assert ("running", 0, 2) == (row["state"], row["restarts"], row["incarnation"])
        before = node.pids()
        assert node.ask("restart", paths=["inner"])["results"][0]["ok"]
        after = node.pids()
        assert {"b", "c"} == {name for name in before if before[name] != after[name]}
        assert [] == node.crashes()
