"""A daemon with nothing to do does nothing."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

import pytest

from tests.daemon.node import Node
from tests.needs import require_program, require_root
from tests.support import eventually

pytestmark = [pytest.mark.process, pytest.mark.slow]

IDLE_S = 10


def test_idle_daemon_makes_no_system_call(short_dir: Path) -> None:
    """Ten seconds without heartbeats: no thread of the daemon makes a single system call."""
    require_root()  # to trace a process that is not our child
    require_program("strace")
    text = '[worker.sleeper]\ncommand = "sleep 1000"\ninstances = 20\n'
    with Node(short_dir, text) as node:
        node.wait_up()
        eventually(Quiet(node.pid).is_reached, "what belongs to the start is over")
        traced = short_dir / "strace"
        command = ["timeout", str(IDLE_S), "strace", "-f", "-qq", "-o", traced, "-p", str(node.pid)]
        subprocess.run([str(word) for word in command], check=False, capture_output=True)
        calls = [line for line in traced.read_text().splitlines() if not is_old(line)]
        assert [] == calls


class Quiet:
    """Whether no thread of a process has run for a second, seen without touching it."""

    def __init__(self, pid: int) -> None:
        self._tasks = Path(f"/proc/{pid}/task")
        self._seen = -1
        self._since = 0.0

    def is_reached(self) -> bool:
        """Look once."""
        switches = sum(
            int(line.split()[1])
            for status in self._tasks.glob("*/status")
            for line in status.read_text().splitlines()
            if line.startswith("voluntary_ctxt_switches")
        )
        if switches != self._seen:
            self._seen, self._since = switches, time.monotonic()
        return time.monotonic() - self._since > 1


def is_old(line: str) -> bool:
    """Whether a line of strace shows the call in which a thread was when it began, or its end."""
    waiting = re.search(r"<unfinished \.\.\.>|<detached \.\.\.>|restart_syscall|strace: ", line)
    return waiting is not None
