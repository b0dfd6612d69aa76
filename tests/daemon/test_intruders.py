"""Users without a worker at the door of a whole daemon: refused, counted, told at a limited rate."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil
import pytest

from supervisord_ng.model import paths
from tests.daemon.node import Node
from tests.listening import ENDLESS, NOBODY, Program
from tests.needs import require_root
from tests.support import eventually

pytestmark = [pytest.mark.process, pytest.mark.root]

NUMBER = 1_000
WAIT_S = 60.0
MIB = 1024 * 1024


def test_a_stranger_at_the_heartbeat_socket(short_dir: Path) -> None:
    """Another user's endless messages: each connection is counted, one line is logged, memory stays."""
    require_root()
    short_dir.chmod(0o711)
    program = (
        "import signal; from supervisord_ng import worker; worker.attach().ready(); signal.pause()"
    )
    tree = f"""
[worker.beats]
command = ["{sys.executable}", "-c", "{program}"]
ready = "heartbeat"
inherit_environment = true
"""
    with Node(short_dir, tree) as node:
        node.wait_up()
        daemon = psutil.Process(node.pid)
        before = daemon.memory_info().rss
        path = str(node.runtime_dir / paths.HEARTBEAT_SOCKET)
        with Program(ENDLESS, SNG_HEARTBEAT=f"ipc://{path}", NUMBER=str(NUMBER)) as intruder:
            assert intruder.stdout is not None
            assert "ended\n" == intruder.stdout.readline()
        eventually(
            lambda: node.status()["rejected"]["heartbeat"] >= NUMBER, "all are counted", WAIT_S
        )
        told = node.stderr.read_text().count(f"cannot accept connection of uid {NOBODY}")

        assert daemon.memory_info().rss - before < 64 * MIB
        assert told <= 2  # at most one in ten seconds
        assert "running" == node.row("beats")["state"]
