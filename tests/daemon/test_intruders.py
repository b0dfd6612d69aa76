"""Users without a worker at the door of a whole daemon: refused, counted, told at a limited rate."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil
import pytest

from supervisord_ng.model import paths
from tests.daemon.node import Node
from tests.listening import Program
from tests.needs import require_root
from tests.support import eventually

pytestmark = [pytest.mark.process, pytest.mark.root]

NUMBER = 1_000
WAIT_S = 60.0
MIB = 1024 * 1024

# Sends what it can of one message without an end, on each of its connections.
INTRUDER = r"""
import os, socket
os.setgid(65534)
os.setuid(65534)
greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(48)
ready = b"\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER\x08Identity\x00\x00\x00\x00"
more = b"\x01\x00" * 100_000
for _ in range(int(os.environ["NUMBER"])):
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(os.environ["HEARTBEAT"])
            connection.sendall(greeting + bytes((4, len(ready))) + ready)
            while True:
                connection.sendall(more)
        except (BrokenPipeError, ConnectionResetError):
            pass
print("done", flush=True)
"""


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
        with Program(INTRUDER, HEARTBEAT=path, NUMBER=str(NUMBER)) as intruder:
            assert intruder.stdout is not None
            assert "done\n" == intruder.stdout.readline()
        eventually(
            lambda: node.status()["rejected"]["heartbeat"] >= NUMBER, "all are counted", WAIT_S
        )
        told = node.stderr.read_text().count("cannot accept connection of uid 65534")

        assert daemon.memory_info().rss - before < 64 * MIB
        assert told <= 2  # at most one in ten seconds
        assert "running" == node.row("beats")["state"]
