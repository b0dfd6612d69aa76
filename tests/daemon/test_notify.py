"""systemd's protocol between real workers and a real daemon."""

from __future__ import annotations

import os
import signal
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

# Hands its work over to a child and ends; in a session of its own when told so.
HANDING_OVER = """
import os, socket, sys, time
mouth = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
mouth.connect(os.environ["NOTIFY_SOCKET"])
child = os.fork()
if child == 0:
    if "away" in sys.argv:
        os.setsid()
        mouth.send(b"STATUS=away")
    while True:
        time.sleep(1000)
while "away" in sys.argv and os.getsid(child) != child:
    time.sleep(0.005)
number = os.fstat(os.pidfd_open(child)).st_ino + ("wrong" in sys.argv)
mouth.send(f"MAINPID={child}\\nMAINPIDFDID={number}\\nREADY=1".encode())
"""

# What speaks for it has forked twice, left the session, and is an orphan.
FAR_AWAY = """
import os, socket, time
if os.fork() == 0:
    os.setsid()
    middle = os.getpid()
    if os.fork() > 0:
        os._exit(0)
    while os.getppid() == middle:
        time.sleep(0.005)
    mouth = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    mouth.connect(os.environ["NOTIFY_SOCKET"])
    mouth.send(b"READY=1\\nSTATUS=far away")
while True:
    time.sleep(1000)
"""

BRIEF = """
import os, socket
mouth = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
mouth.connect(os.environ["NOTIFY_SOCKET"])
mouth.send(b"READY=1\\nERRNO=5")
os._exit(1)
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


def test_last_words_are_heard(short_dir: Path) -> None:
    """What a worker says before it ends is taken in before its end, however fast that comes."""
    program = short_dir / "brief.py"
    program.write_text(BRIEF)
    tree = f"""
[supervisor.root]
intensity = 1000
children = ["a"]
[worker.a]
command = ["{sys.executable}", "-S", "{program}"]
ready = "notify"
"""
    with Node(short_dir, tree) as node:
        eventually(lambda: len(node.wait_answering().crashes()) >= 8, "eight short lives", 60)
        assert {("exit:1", "input/output error (ERRNO=5)")} == {
            (report["reason"], report["message"]) for report in node.crashes()
        }
        assert 0 == node.status()["rejected"]["notify"]


def handing_over(directory: Path, *arguments: str) -> str:
    """A tree with a worker that hands its work over."""
    program = directory / "handing_over.py"
    program.write_text(HANDING_OVER)
    command = [sys.executable, str(program), *arguments]
    return f'[worker.a]\ncommand = {command}\nready = "notify"\nready_timeout = "10s"\n'


def wait_for_the_heir(node: Node) -> tuple[int, int]:
    """Wait until who was started last is gone; return its pid and that of the main process."""
    started = [event for event in node.events() if event["event"] == "started" and "pid" in event]
    first: int = started[-1]["pid"]
    eventually(lambda: not os.path.exists(f"/proc/{first}"), "the first is gone")
    return first, node.row("a")["pid"]


def test_a_main_process_hands_its_place_over(short_dir: Path) -> None:
    """The end of the first is nobody's, the end of the second is the worker's; a stop asks that one."""
    with Node(short_dir, handing_over(short_dir)) as node:
        node.wait_up()
        first, second = wait_for_the_heir(node)
        assert ("running", True) == (node.row("a")["state"], first != second)
        os.kill(second, signal.SIGKILL)
        report = eventually(node.crashes, "a report")[0]
        assert ("signal:SIGKILL", second) == (report["reason"], report["pid"])
        eventually(lambda: node.row("a")["ready"], "it is back")
        wait_for_the_heir(node)
        node.ask("stop", paths=["a"])
        assert "signal:SIGTERM" == node.row("a")["last_exit"]
        assert 1 == len(node.crashes())


def test_an_orphan_of_the_worker_speaks_for_it(short_dir: Path) -> None:
    """Who forked twice and left the session is known by the token it was started with."""
    program = short_dir / "far_away.py"
    program.write_text(FAR_AWAY)
    tree = f'[worker.a]\ncommand = ["{sys.executable}", "{program}"]\nready = "notify"\n'
    with Node(short_dir, tree) as node:
        node.wait_up()
        assert "far away" == node.row("a")["status_text"]
        assert 0 == node.status()["rejected"]["notify"]


def test_a_stranger_cannot_be_made_the_main_process(short_dir: Path) -> None:
    """Nobody outside of the worker's session: what is refused is counted, and says nothing else.

    Nor somebody who was given the number meanwhile.
    """
    for what in ("away", "wrong"):
        with Node(short_dir, handing_over(short_dir, what)) as node:
            assert 70 == node.ends()
            assert "start_failed:exit:0" in node.stderr.read_text()
    with Parrots(short_dir, '[worker.b]\nready = "notify"\n') as parrots:
        parrots.wait_answering()
        for pid in (os.getpid(), 1, 2**22 - 1, 0):
            parrots.tell("b", f"MAINPID={pid}", "READY=1")
        eventually(lambda: parrots.status()["rejected"]["notify"] == 4, "all are counted")
        assert "starting" == parrots.row("b")["state"]
        parrots.tell("b", f"MAINPID={parrots.row('b')['pid']}", "READY=1")
        parrots.becomes("b", "running")


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
