"""Workers that hang are found, reported with where they hung, killed whole and replaced."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.daemon.node import REPOSITORY, Node
from tests.support import eventually

pytestmark = pytest.mark.process

BEATING = """
import sys, time
from supervisord_ng import worker

def stuck_in_a_loop():
    while True:
        pass

with worker.attach() as w:
    w.ready()
    for number in range(10**9):
        w.beat()
        if number == 3 and len(sys.argv) > 1:
            stuck_in_a_loop()
        w.stopping.wait(0.02)
        if w.stopping.is_set():
            break
"""


def tree(directory: Path) -> str:
    """One worker that beats and one that stops doing so."""
    program = directory / "beating.py"
    program.write_text(BEATING)
    return f"""
[supervisor.root]
intensity = 100
children = ["fine", "frozen", "loop"]
[defaults.worker]
heartbeat = {{ interval = "100ms", timeout = "2s" }}
ready = "heartbeat"
environment = {{ PYTHONPATH = "{REPOSITORY}" }}
[worker.fine]
command = ["{sys.executable}", "{program}"]
[worker.frozen]
command = ["{sys.executable}", "{program}"]
[worker.loop]
command = ["{sys.executable}", "{program}", "loop"]
autostart = false
"""


def test_stopped_worker_is_found_and_replaced(short_dir: Path) -> None:
    """SIGSTOP: reported as heartbeat_timeout within its time and ours, replaced, nobody else touched."""
    with Node(short_dir, tree(short_dir)) as node:
        before = node.wait_up().pids()
        os.kill(before["frozen"], signal.SIGSTOP)
        report = eventually(node.crashes, "a report", 3.5 + 1)[0]
        assert ("root/frozen", "heartbeat_timeout") == (report["path"], report["reason"])
        assert 2.0 <= report["beat_age_s"]
        eventually(lambda: node.row("frozen")["state"] == "running", "it is replaced")
        after = node.pids()
        assert before["fine"] == after["fine"]
        assert before["frozen"] != after["frozen"]
        assert 1 == len(node.crashes())


def test_stuck_loop_is_found_although_a_thread_beats(short_dir: Path) -> None:
    """The report names the function in which it hung."""
    with Node(short_dir, tree(short_dir)) as node:
        node.wait_up()
        node.ask("start", paths=["loop"])
        report = eventually(node.crashes, "a report", 6)[0]
        assert ("root/loop", "heartbeat_timeout") == (report["path"], report["reason"])
        assert "stuck_in_a_loop" in report["stacks"]


def test_uncaught_exception_reaches_the_report(short_dir: Path) -> None:
    """A crash of a Python worker is reported with its traceback and the last lines of its log."""
    program = short_dir / "crash.py"
    program.write_text(
        "from supervisord_ng import worker\n"
        "with worker.attach() as w:\n"
        "    print('about to divide', flush=True)\n"
        "    1 / 0\n"
    )
    text = f"""
[worker.crash]
command = ["{sys.executable}", "{program}"]
environment = {{ PYTHONPATH = "{REPOSITORY}" }}
restart = "temporary"
"""
    with Node(short_dir, text) as node:
        report = eventually(node.wait_answering().crashes, "a report", 20)[0]
        assert "ZeroDivisionError: division by zero" in report["traceback"]
        assert "about to divide" in report["log_tail"]
        assert ("exit:1", "removed") == (report["reason"], report["decision"])
        assert report["usage"]["max_rss_bytes"] > 0
