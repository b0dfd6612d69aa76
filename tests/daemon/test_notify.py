"""systemd's protocol between real workers and a real daemon."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from tests.daemon.node import Node
from tests.needs import require_program
from tests.support import eventually

pytestmark = pytest.mark.process

# A worker that repeats to its supervisor whatever it is told, and ends when it is told "exit".
PARROT = """
import os, socket, sys
ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
mouth = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
mouth.connect(os.environ["NOTIFY_SOCKET"])
ear.bind(sys.argv[1] + os.environ["SNG_NAME"] + str(os.getpid()))
while (words := ear.recv(4096)) != b"exit":
    mouth.send(words)
sys.exit(1)
"""


class Parrots(Node):
    """A node whose workers say what they are told."""

    def __init__(self, directory: Path, tree: str) -> None:
        (directory / "parrot.py").write_text(PARROT)
        command = f'command = ["{sys.executable}", "{directory}/parrot.py", "{directory}/"]'
        super().__init__(directory, f"[defaults.worker]\n{command}\n{tree}")

    def tell(self, name: str, *words: str) -> None:
        """Let a worker say these lines, in one datagram."""

        def ear() -> Path | None:
            path = self.directory / f"{name}{self.row(name)['pid']}"
            return path if path.exists() else None

        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as mouth:
            mouth.connect(str(eventually(ear, f"{name} listens")))
            mouth.send("\n".join(words).encode())

    def becomes(self, name: str, state: str) -> None:
        """Wait for a state."""
        eventually(lambda: self.row(name)["state"] == state, f"{name} is {state}")


def test_systemds_own_program_speaks_to_us(short_dir: Path) -> None:
    """Sent by a child of the worker, with the barrier that the program waits for at the end."""
    notify = require_program("systemd-notify")
    script = f"{notify} --ready --status='up and well' && echo heard; exec sleep 1000"
    tree = f"""
[worker.a]
command = ["sh", "-c", "{script}"]
ready = "notify"
"""
    with Node(short_dir, tree) as node:
        assert "up and well" == node.wait_up().row("a")["status_text"]
        log = node.state_dir / "log" / "a.log"
        eventually(lambda: log.exists() and "heard" in log.read_text(), "the barrier is answered")


def test_a_slow_start_goes_on_as_long_as_it_asks_for_time(short_dir: Path) -> None:
    """Twice the time that it was given, because it said so within that time."""
    with Parrots(short_dir, '[worker.a]\nready = "notify"\nready_timeout = "2s"\n') as node:
        node.wait_answering()
        node.tell("a", "EXTEND_TIMEOUT_USEC=60000000")
        eventually(lambda: node.row("a")["uptime_s"] > 4, "twice its time")
        assert "starting" == node.row("a")["state"]
        node.tell("a", "READY=1")
        node.becomes("a", "running")


def test_who_says_nothing_in_time_is_reported_so(short_dir: Path) -> None:
    """With what was waited for."""
    tree = """
[supervisor.root]
children = ["a"]
start_failure = "retry"
intensity = 100
[worker.a]
ready = "notify"
ready_timeout = "500ms"
"""
    with Parrots(short_dir, tree) as node:
        report = eventually(node.wait_answering().crashes, "a report")[0]
        expected = ("start_failed:timeout", "no READY=1 came on $NOTIFY_SOCKET")
        assert expected == (report["reason"], report["message"])


def test_a_worker_sets_its_own_watchdog(short_dir: Path) -> None:
    """Nobody has configured a heartbeat; the worker asks for one and then falls silent."""
    with Parrots(short_dir, '[worker.a]\nready = "notify"\n') as node:
        node.wait_answering()
        node.tell("a", "READY=1", "WATCHDOG_USEC=300000")
        report = eventually(node.crashes, "a report")[0]
        assert "heartbeat_timeout" == report["reason"]
        assert "as the system sees it:" in report["stacks"]


def test_a_worker_pulls_the_trigger(short_dir: Path) -> None:
    """It has found out itself that it cannot go on."""
    tree = '[worker.a]\nready = "notify"\nheartbeat = { timeout = "1h" }\n'
    with Parrots(short_dir, tree) as node:
        node.wait_answering()
        node.tell("a", "READY=1")
        node.becomes("a", "running")
        node.tell("a", "WATCHDOG=trigger")
        assert "heartbeat_timeout" == eventually(node.crashes, "a report")[0]["reason"]


def test_a_worker_that_stops_by_itself_is_waited_for(short_dir: Path) -> None:
    """Its beats and its port may cease; `shutdown` bounds it, and more time can be had."""
    tree = """
[worker.a]
ready = "notify"
shutdown = "1s"
heartbeat = { interval = "100ms", timeout = "500ms" }
liveness = { tcp = "127.0.0.1:1", interval = "600ms", failures = 1 }
restart = "temporary"
"""
    with Parrots(short_dir, tree) as node:
        node.wait_answering()
        node.tell(
            "a", "READY=1\nSTOPPING=1\nSTATUS=writing it all down\nEXTEND_TIMEOUT_USEC=2000000"
        )
        node.becomes("a", "stopping")
        assert "writing it all down" == node.row("a")["status_text"]
        report = eventually(node.crashes, "it was too slow")[0]
        assert ("signal:SIGKILL", "removed") == (report["reason"], report["decision"])
        assert report["ended"] - report["started"] >= 2.0


def test_what_a_worker_says_of_its_failure_is_in_the_report(short_dir: Path) -> None:
    """ERRNO= in words, for a program whose exit status says nothing."""
    with Parrots(short_dir, '[worker.a]\nready = "notify"\nrestart = "temporary"\n') as node:
        node.wait_answering()
        node.tell("a", "READY=1")
        node.becomes("a", "running")
        node.tell("a", "ERRNO=28")
        node.tell("a", "exit")
        report = eventually(node.crashes, "a report")[0]
        assert ("exit:1", "no space left on device (ERRNO=28)") == (
            report["reason"],
            report["message"],
        )


def test_a_reload_is_shown_until_it_is_over(short_dir: Path) -> None:
    """RELOADING=1 changes no state: the worker works on."""
    with Parrots(short_dir, '[worker.a]\nready = "notify"\n') as node:
        node.wait_answering()
        node.tell("a", "READY=1")
        node.becomes("a", "running")
        node.tell("a", "RELOADING=1", "MONOTONIC_USEC=123456")
        eventually(lambda: node.row("a")["status_text"] == "reloading", "it reloads")
        assert "running" == node.row("a")["state"]
        node.tell("a", "READY=1")
        eventually(lambda: node.row("a")["status_text"] is None, "it has reloaded")


def test_what_is_wrong_is_counted_and_changes_nothing(short_dir: Path) -> None:
    """A number that is none, a stranger, and rubbish; what follows is heard."""
    with Parrots(short_dir, '[worker.a]\nready = "notify"\n') as node:
        node.wait_answering()
        node.tell("a", "READY=1", "WATCHDOG_USEC=soon")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
            stranger.connect(str(node.runtime_dir / "notify.sock"))
            stranger.send(b"READY=1")
            stranger.send(b"rubbish")
        eventually(lambda: node.status()["rejected"]["notify"] == 3, "all three are counted")
        assert "starting" == node.row("a")["state"]
        node.tell("a", "READY=1")
        node.becomes("a", "running")
        assert os.path.exists(f"/proc/{node.row('a')['pid']}")
