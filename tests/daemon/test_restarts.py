"""A real tree of real processes: who is restarted when one dies, and who is not."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.daemon.node import Node
from tests.support import eventually

pytestmark = pytest.mark.process

FIVE = "\n".join(f'[worker.{name}]\ncommand = "sleep 1000"' for name in "abcde")


def tree(strategy: str, intensity: int = 100) -> str:
    """Five sleeping workers under one supervisor."""
    return f"""
[supervisor.root]
strategy = "{strategy}"
intensity = {intensity}
children = ["a", "b", "c", "d", "e"]
{FIVE}
"""


def kill_and_wait(node: Node, name: str) -> tuple[dict[str, int], dict[str, int]]:
    """Kill one worker with -9; return all pids before and after its replacement is there."""
    before = node.pids()
    os.kill(before[name], signal.SIGKILL)
    eventually(
        lambda: (
            node.pids().get(name) not in (before[name], None) and node.is_up() and is_settled(node)
        ),
        f"{name} is replaced",
    )
    return before, node.pids()


def is_settled(node: Node) -> bool:
    """Whether everyone runs."""
    return all(row["state"] == "running" for row in node.rows().values())


def test_one_of_fifty_killed_twenty_times(short_dir: Path) -> None:
    """one_for_one: each time the killed one is replaced, and the 49 others keep their pids."""
    text = '[supervisor.root]\nintensity = 100\nchildren = ["pool"]\n'
    text += '[worker.pool]\ncommand = "sleep 1000"\ninstances = 50\n'
    with Node(short_dir, text) as node:
        node.wait_up()
        for number in range(1, 21):
            name = f"pool@{number}"
            before, after = kill_and_wait(node, name)
            changed = {other for other in before if before[other] != after[other]}
            assert {name} == changed
        assert 20 == sum(row["restarts"] for row in node.rows().values())


@pytest.mark.parametrize(
    ("strategy", "changed", "stopped", "started"),
    [
        ("one_for_one", "c", "", "c"),
        ("one_for_all", "abcde", "edba", "abcde"),
        ("rest_for_one", "cde", "ed", "cde"),
    ],
)
def test_exactly_the_right_ones_change_in_the_right_order(
    short_dir: Path, strategy: str, changed: str, stopped: str, started: str
) -> None:
    """When c of a to e is killed: whose pid changes, who is stopped and started, in which order."""
    with Node(short_dir, tree(strategy)) as node:
        node.wait_up()
        seen = node.events()[-1]["seq"]
        before, after = kill_and_wait(node, "c")
        assert set(changed) == {name for name in before if before[name] != after[name]}
        events = [event for event in node.events() if event["seq"] > seen]
        by_name = [(event["event"], event["path"].rpartition("/")[2]) for event in events]
        assert list(stopped) == [name for event, name in by_name if event == "stopped"]
        assert list(started) == [name for event, name in by_name if event == "started"]


def test_crash_loop_gives_up_level_by_level(short_dir: Path) -> None:
    """Exactly `intensity` restarts, then the supervisor gives up, then its parent: exit 70, nothing left."""
    text = """
[supervisor.root]
intensity = 1
period = "60s"
children = ["steady", "inner"]
[supervisor.inner]
intensity = 2
period = "60s"
children = ["loop"]
[worker.steady]
command = "sleep 1000"
[worker.loop]
command = ["sh", "-c", "echo I fail; exit 3"]
"""
    with Node(short_dir, text) as node:
        assert 70 == node.ends()
        errors = node.stderr.read_text()
    assert "root/inner gave up: reached_max_restart_intensity, because of root/inner/loop" in errors
    assert "root gave up: reached_max_restart_intensity, because of root/inner" in errors
    assert [] == node.left_running()
    reports = stored_reports(node)
    loops = [report for report in reports if report["path"] == "root/inner/loop"]
    # Two lives of `inner`, in each the first run and 2 restarts.
    assert ["restart", "restart", "give_up"] * 2 == [report["decision"] for report in loops]
    assert {"exit:3"} == {report["reason"] for report in loops}
    assert ["I fail"] == loops[0]["log_tail"]
    gave_up = [report["path"] for report in reports if report["context"] == "shutdown"]
    assert ["root/inner", "root/inner", "root"] == gave_up


def stored_reports(node: Node) -> list[dict[str, object]]:
    """The reports in the store of a daemon that has ended, oldest first."""
    import json
    import subprocess
    import sys

    command = [
        *(sys.executable, "-m", "supervisord_ng.cli.main"),
        *("--state-dir", str(node.state_dir), "crashes", "--json"),
    ]
    listed = subprocess.run(command, capture_output=True, check=True)
    found: list[dict[str, object]] = json.loads(listed.stdout)
    return found[::-1]
