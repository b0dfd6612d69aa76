"""The daemon becomes its new version in place: same pid, same workers, and nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from supervisord_ng.errors import NoDaemonError
from tests.daemon.node import REPOSITORY, Node
from tests.support import eventually

pytestmark = pytest.mark.process

TREE = """
[worker.a]
command = "sleep 1000"
[worker.b]
command = "sleep 1000"
"""


def sng(node: Node, *words: str) -> subprocess.CompletedProcess[str]:
    """The command line."""
    program = [sys.executable, "-m", "supervisord_ng.cli.main"]
    return subprocess.run(
        [*program, "--runtime-dir", str(node.runtime_dir), *words],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )


def is_another(node: Node) -> bool:
    """Whether the daemon that answers has adopted somebody."""
    try:
        return any(it["event"] == "adopted" for it in node.events())
    except NoDaemonError:
        return False


def test_everything_is_as_before(short_dir: Path) -> None:
    """Pids of the daemon and of its workers, incarnations, windows, an operator's stop."""
    with Node(short_dir, TREE + '[worker.c]\ncommand = "sleep 1000"\n') as node:
        node.wait_up()
        node.ask("signal", signal=9, paths=["a"], main=False)
        eventually(node.crashes, "it is reported")
        eventually(lambda: node.row("a")["incarnation"] == 2, "a is restarted")
        node.ask("stop", paths=["c"])
        before = node.status()
        upgraded = sng(node, "upgrade")
        assert (0, "") == (upgraded.returncode, upgraded.stderr)
        after = node.status()
        assert node.pid == before["pid"] == after["pid"]
        kept = ("name", "pid", "incarnation", "state", "restarts", "restarts_in_window")
        assert [[row[key] for key in kept] for row in before["children"]] == [
            [row[key] for key in kept] for row in after["children"]
        ]
        assert after["uptime_s"] < before["uptime_s"] + 60
        assert 1 == len(node.crashes())


def test_how_a_worker_ends_is_still_told_to_its_parent(short_dir: Path) -> None:
    """It is still our child, so the reason is no guess; also of one that dies in between."""
    with Node(short_dir, TREE) as node:
        pids = node.wait_up().pids()
        assert 0 == sng(node, "upgrade").returncode
        os.kill(pids["a"], signal.SIGSEGV)
        (report,) = eventually(node.crashes, "it is reported")
        assert ("signal:SIGSEGV", True) == (report["reason"], report["adopted"])


def test_a_wrong_configuration_is_refused_and_nothing_happens(short_dir: Path) -> None:
    """Beforehand, in the words of the configuration."""
    with Node(short_dir, TREE) as node:
        pids = node.wait_up().pids()
        node.tree.write_text(TREE + "[worker.c]\n")
        refused = sng(node, "upgrade")
        assert 4 == refused.returncode
        assert "worker.c.command" in refused.stderr
        assert "this daemon goes on" in refused.stderr
        node.tree.write_text(f'[node]\nstate_dir = "{short_dir}/other"\n{TREE}')
        assert pids == node.pids()
        assert not (short_dir / "other").exists()


def test_sigusr2_upgrades_and_a_second_daemon_never_gets_in(short_dir: Path) -> None:
    """The lock is held all the time."""
    with Node(short_dir, TREE) as node:
        pids = node.wait_up().pids()
        node.signal(signal.SIGUSR2)
        while not is_another(node):
            second = subprocess.run(
                [
                    *(sys.executable, "-m", "supervisord_ng", "-c", str(node.tree)),
                    *("--runtime-dir", str(node.runtime_dir), "--state-dir", str(node.state_dir)),
                ],
                cwd=REPOSITORY,
                capture_output=True,
                text=True,
                check=False,
            )
            assert 1 == second.returncode
            assert f"another daemon holds it (pid {node.pid})" in second.stderr
        assert pids == node.pids()


def test_a_stop_that_comes_meanwhile_is_heard(short_dir: Path) -> None:
    """SIGTERM while there is no program to handle it."""
    with Node(short_dir, TREE) as node:
        node.wait_up()
        node.signal(signal.SIGUSR2)
        eventually(lambda: not (node.runtime_dir / "control.sock").exists(), "it lets go", 60)
        node.signal(signal.SIGTERM)
        assert 0 == node.ends(60)
        assert [] == node.left_running()


def test_the_answer_is_json_for_programs(short_dir: Path) -> None:
    """With the version that runs now."""
    with Node(short_dir, TREE) as node:
        node.wait_up()
        told = json.loads(sng(node, "upgrade", "--json").stdout)
        assert node.pid == told["pid"]
