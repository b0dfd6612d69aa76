"""Exactly those that hang: not more because the host is busy, the daemon was stopped or strangers talk.

WORKERS, BUSY, BUSY_S, STOPPED_S, GARBAGE and LONG_S of the environment make it as large as one likes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.daemon.node import REPOSITORY, Node
from tests.needs import require_root
from tests.support import eventually

pytestmark = pytest.mark.process

WORKERS = int(os.environ.get("WORKERS", "2"))
BUSY = int(os.environ.get("BUSY", "4"))  # processes that do nothing but compute
BUSY_S = float(os.environ.get("BUSY_S", "1"))
STOPPED_S = float(os.environ.get("STOPPED_S", "1.5"))
GARBAGE = int(os.environ.get("GARBAGE", "10000"))
NOBODY = 65534
LONG_S = float(os.environ.get("LONG_S", "90"))  # for what a slow machine takes its time for
MEMORY_GROWTH_MAX = 64 * 2**20  # of a daemon that strangers talk to

BEATING = """
from supervisord_ng import worker
with worker.attach() as w:
    w.ready()
    while not w.stopping.wait(0.05):
        w.beat()
"""

# Each hangs in a function of its own name, when told by its argument.
HANGING = """
import asyncio, fcntl, os, sys, threading, time
from supervisord_ng import worker

def endless_loop():
    while True:
        pass

def deadlock():
    one, other = threading.Lock(), threading.Lock()
    met = threading.Barrier(2)
    def second():
        with other:
            met.wait()
            take_one(one)
    def take_one(lock):
        with lock:
            pass
    threading.Thread(target=second, daemon=True).start()
    with one:
        met.wait()
        with other:
            pass

def system_call():
    read, write = os.pipe()
    os.read(read, 1)

async def awaits_for_ever():
    await asyncio.get_running_loop().create_future()

async def main():
    async with worker.attach_async() as w:
        w.ready()
        w.beat()
        await awaits_for_ever()

if sys.argv[1] == "awaits_for_ever":
    asyncio.run(main())
with worker.attach() as w:
    w.ready()
    w.beat()
    globals()[sys.argv[1]]()
"""
PLACES = ("endless_loop", "deadlock", "system_call", "awaits_for_ever")


def tree(directory: Path, heartbeat: str, workers: int = WORKERS) -> str:
    """Workers that beat."""
    program = directory / "beating.py"
    program.write_text(BEATING)
    return f"""
[supervisor.root]
intensity = 1000
children = ["w"]
[worker.w]
command = ["{sys.executable}", "{program}"]
instances = {workers}
ready = "heartbeat"
ready_timeout = "120s"
heartbeat = {heartbeat}
environment = {{ PYTHONPATH = "{REPOSITORY}" }}
"""


@contextmanager
def busy_host() -> Iterator[None]:
    """Processes that compute, as many as one likes."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(BUSY)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def pass_time(seconds: float) -> None:
    """Wait, because time itself is the subject."""
    until = time.monotonic() + seconds
    eventually(lambda: time.monotonic() > until, "time passes", seconds + LONG_S)


def test_exactly_those_that_hang_are_found(short_dir: Path) -> None:
    """Half of the workers are stopped at once; these are killed and replaced, nobody else is touched."""
    with Node(short_dir, tree(short_dir, '{ interval = "200ms", timeout = "2s" }')) as node:
        before = node.wait_up(LONG_S).pids()
        stopped = sorted(before)[: WORKERS // 2]
        for name in stopped:
            os.kill(before[name], signal.SIGSTOP)
        eventually(lambda: len(node.crashes()) >= len(stopped), "they are found", LONG_S)
        expected = {(f"root/{name}", "heartbeat_timeout") for name in stopped}
        assert expected == {(report["path"], report["reason"]) for report in node.crashes()}
        eventually(lambda: node.row("root")["state"] == "running", "they are replaced", LONG_S)
        eventually(lambda: all_ready(node), "they are replaced", LONG_S)
        after = node.pids()
        assert set(stopped) == {name for name in before if before[name] != after[name]}
        assert not any(psutil.pid_exists(before[name]) for name in stopped)
        ages = [report["beat_age_s"] for report in node.crashes()]
        assert 2 <= min(ages)
        sys.stdout.write(f"silence when found, at worst: {max(ages):.2f} s\n")


def all_ready(node: Node) -> bool:
    """Whether everyone is up."""
    return all(row["ready"] for row in node.status()["children"])


def test_the_reports_say_where_they_hung(short_dir: Path) -> None:
    """A loop, a deadlock of two threads, a system call, an await: each is named in the stacks."""
    program = short_dir / "hanging.py"
    program.write_text(HANGING)
    text = f"""
[defaults.worker]
restart = "temporary"
ready = "heartbeat"
ready_timeout = "120s"
heartbeat = {{ interval = "100ms", timeout = "1s" }}
environment = {{ PYTHONPATH = "{REPOSITORY}" }}
"""
    for place in PLACES:
        text += f"""
[worker.{place}]
command = ["{sys.executable}", "{program}", "{place}"]
"""
    with Node(short_dir, text) as node:
        node.wait_answering()
        eventually(lambda: len(node.crashes()) == len(PLACES), "all are reported", LONG_S)
        stacks = {report["worker"]: report["stacks"] for report in node.crashes()}
        assert {"heartbeat_timeout"} == {report["reason"] for report in node.crashes()}
        assert set(PLACES) == {place for place in PLACES if place in stacks[place]}
        assert "take_one" in stacks["deadlock"]


def test_a_busy_host_kills_nobody(short_dir: Path) -> None:
    """Workers and daemon share the processors with processes that never rest."""
    heartbeat = '{ interval = "1s", timeout = "5s" }'
    with Node(short_dir, tree(short_dir, heartbeat)) as node:
        before = node.wait_up(LONG_S).pids()
        with busy_host():
            pass_time(BUSY_S)
        assert (before, []) == (node.pids(), node.crashes())
        sys.stdout.write(f"lag of the loop: {node.status()['loop_lag_ms']:.0f} ms\n")


def test_a_daemon_that_was_stopped_kills_nobody(short_dir: Path) -> None:
    """It finds a queue of beats and its own lateness, which it shows; a worker that hangs is found as ever."""
    heartbeat = '{ interval = "200ms", timeout = "1s" }'
    with Node(short_dir, tree(short_dir, heartbeat)) as node:
        before = node.wait_up(LONG_S).pids()
        node.signal(signal.SIGSTOP)
        pass_time(STOPPED_S)
        node.signal(signal.SIGCONT)
        pass_time(1.5)
        status = node.status()
        assert (before, []) == (node.pids(), node.crashes())
        assert status["loop_lag_ms"] > 500
        os.kill(before["w@1"], signal.SIGSTOP)
        report = eventually(node.crashes, "it is found", LONG_S)[0]
        assert ("root/w@1", "heartbeat_timeout") == (report["path"], report["reason"])
        assert report["lag_ms"] > 500


# --- strangers ----------------------------------------------------------------------------------------
def token_of(pid: int) -> str:
    """The token of a worker, as its environment has it."""
    environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return next(line[10:].decode() for line in environment if line.startswith(b"SNG_TOKEN="))


SPEAK = """
import os, sys, zmq
endpoint, token, user, *words = sys.argv[1:]
os.setuid(int(user))  # not by exec: a Python in root's home is not for everybody
context = zmq.Context()
dealer = context.socket(zmq.DEALER)
dealer.connect(endpoint)
def say(*words):
    dealer.send_multipart([b"SNG1", token.encode(), *words])
"""
GARBAGE_SPOKEN = """
for number in range(int(words[0])):
    dealer.send_multipart([b"SNG1", b"%d" % number, b"beat", b"1", b"1"])
"""
LARGE = """
dealer.send_multipart([b"SNG1", token.encode(), b"status", bytes(100 * 2**20)])
"""
IMPOSTOR = """
for number in range(10):
    say(b"beat", b"%d" % number, b"%d" % number)
say(b"stopping")
"""


@contextmanager
def talking(
    node: Node, token: str, program: str, *words: str, user: int | None = None
) -> Iterator[None]:
    """A process that says something on the heartbeat socket, and stays connected while the block runs.

    ZeroMQ may throw away what was sent just before a connection ends.
    """
    endpoint = f"ipc://{node.runtime_dir}/heartbeat.sock"
    text = f"{SPEAK}{program}\nsys.stdin.read()\ncontext.destroy(linger=0)\n"
    who = str(os.getuid() if user is None else user)
    command = [sys.executable, "-c", text, endpoint, token, who, *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        try:
            yield
        finally:
            process.kill()


def rejected(node: Node) -> int:
    """How much was counted and dropped."""
    count: int = node.status()["rejected"]["heartbeat"]
    return count


def memory(node: Node) -> int:
    """What the daemon has in memory, in bytes."""
    resident: int = psutil.Process(node.pid).memory_info().rss
    return resident


def test_strangers_change_nothing(short_dir: Path) -> None:
    """Garbage, a stale token, 100 MB: counted, and a worker that hangs meanwhile is found as ever."""
    heartbeat = '{ interval = "200ms", timeout = "2s" }'
    with Node(short_dir, tree(short_dir, heartbeat)) as node:
        before = node.wait_up(LONG_S).pids()
        resident = memory(node)
        token = token_of(before["w@1"])
        os.kill(before["w@1"], signal.SIGSTOP)
        with talking(node, "", GARBAGE_SPOKEN, str(GARBAGE)):
            eventually(lambda: rejected(node) == GARBAGE, "all of it is counted", LONG_S)
        eventually(node.crashes, "the hung one is found", LONG_S)
        eventually(lambda: all_ready(node), "it is replaced", LONG_S)
        with talking(node, token, IMPOSTOR):
            eventually(lambda: rejected(node) == GARBAGE + 11, "the stale token is counted", LONG_S)
        with talking(node, token_of(node.pids()["w@2"]), LARGE):
            eventually(lambda: rejected(node) > GARBAGE + 11, "the frame is counted", LONG_S)
        assert memory(node) - resident < MEMORY_GROWTH_MAX
        assert ["root/w@1"] == [report["path"] for report in node.crashes()]
        assert ["running"] * WORKERS == [row["state"] for row in node.status()["children"][1:]]
        assert "unknown token" in node.stderr.read_text()


def test_another_user_or_process_speaks_for_nobody(short_dir: Path) -> None:
    """The right token and the wrong user, who may not even connect; then a process that is not of it."""
    require_root()
    short_dir.chmod(0o711)
    heartbeat = '{ interval = "200ms", timeout = "5s" }'
    with Node(short_dir, tree(short_dir, heartbeat)) as node:
        before = node.wait_up(LONG_S).pids()
        token = token_of(before["w@1"])
        with talking(node, token, IMPOSTOR, user=NOBODY):
            eventually(lambda: rejected(node) > 0, "the other user's connection is counted", LONG_S)
        refused = rejected(node)
        with talking(node, token, IMPOSTOR):
            enough = refused + 11
            eventually(lambda: rejected(node) >= enough, "the other process is counted", LONG_S)
        assert (before, []) == (node.pids(), node.crashes())
        assert ["running"] * WORKERS == [row["state"] for row in node.status()["children"][1:]]
