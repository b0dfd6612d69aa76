"""The daemon as PID 1 of a container: it is the parent of every orphan, and the end of all when it ends."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from supervisord_ng.runtime import pipekeeper
from tests.daemon.node import END_TIMEOUT_S, REPOSITORY, Node
from tests.needs import require_program, require_root
from tests.support import eventually

pytestmark = [pytest.mark.process, pytest.mark.root]

# Fifty processes whose parent is gone when they end: half in the worker's session, half in their own.
ORPHANS = """
import os, signal, time
for number in range(50):
    if os.fork() == 0:
        if number % 2: os.setsid()
        if os.fork() == 0:
            time.sleep(0.001 * number)
            os._exit(number)
        os._exit(0)
    os.wait()
os.write(1, b"done\\n")
while True: signal.pause()
"""
TREE = """
[worker.first]
command = ["sh", "-c", "trap 'echo first >> {order}; exit 0' TERM; echo up; while :; do sleep 0.02; done"]
ready = {{ log = "^up" }}
[worker.orphans]
command = ["python3", "-S", "{orphans}"]
ready = {{ log = "^done" }}
[worker.last]
command = ["sh", "-c", "trap 'echo last >> {order}; exit 0' TERM; echo up; while :; do sleep 0.02; done"]
ready = {{ log = "^up" }}
"""


class Container(Node):
    """A node whose daemon is PID 1 of a namespace; signals are for the daemon, not for unshare(1)."""

    def start(self) -> None:
        """Start the daemon in a pid namespace of its own, with a /proc that shows it."""
        command = [
            *(require_program("unshare"), "--pid", "--fork", "--mount-proc", "--kill-child"),
            *(sys.executable, "-m", "supervisord_ng", "-c", str(self.tree)),
            *("--runtime-dir", str(self.runtime_dir), "--state-dir", str(self.state_dir)),
        ]
        with self.stderr.open("ab") as stderr:
            self._process = subprocess.Popen(
                command, cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr
            )

    def init(self) -> psutil.Process:
        """The daemon, as seen from outside."""
        (daemon,) = psutil.Process(self.pid).children()
        return daemon

    def signal(self, number: int) -> None:
        """Send the daemon a signal; unshare(1), where there is none yet."""
        for process in psutil.Process(self.pid).children() or [psutil.Process(self.pid)]:
            process.send_signal(number)


@pytest.fixture(params=["cgroup", "session"])
def container(
    request: pytest.FixtureRequest, short_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Container]:
    """A daemon with a tree that makes orphans."""
    require_root()
    if request.param == "session":
        monkeypatch.setenv("SNG_CGROUPS", "off")
    orphans = short_dir / "orphans.py"
    orphans.write_text(ORPHANS)
    node = Container(short_dir, TREE.format(order=short_dir / "order", orphans=orphans))
    with node:
        yield node.wait_up()


def children(container: Container) -> list[str]:
    """The names of the daemon's children, dead or alive, but for the keeper of the workers' output."""
    found = []
    for child in container.init().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if pipekeeper.__file__ not in child.cmdline():
                found.append(child.name())
    return sorted(found)


def test_orphans_are_reaped_and_all_is_stopped_in_order(container: Container) -> None:
    """Fifty of them; then TERM, in reverse order of start; exit status 0."""
    assert container.status()["pid"] == 1
    eventually(lambda: children(container) == ["python3", "sh", "sh"], "nobody else is left")
    assert container.row("orphans")["state"] == "running"
    container.signal(signal.SIGTERM)
    assert container.ends() == 0
    assert (container.directory / "order").read_text().split() == ["last", "first"]


def test_strangers_are_reaped(container: Container) -> None:
    """A process that somebody else brought into the container becomes an orphan there."""
    daemon = container.init().pid
    enter = [require_program("nsenter"), "--target", str(daemon), "--pid", "--mount"]
    subprocess.run([*enter, "sh", "-c", "(sleep 0.05 &)"], check=True, timeout=END_TIMEOUT_S)
    eventually(lambda: "sleep" not in children(container), "it is reaped")


def test_its_exit_status_is_that_of_the_daemon(short_dir: Path) -> None:
    """A tree that gives up ends the container with 70, so that whatever runs it acts."""
    require_root()
    tree = '[supervisor.root]\nintensity = 0\nchildren = ["w"]\n[worker.w]\ncommand = "false"\n'
    with Container(short_dir, tree) as node:
        assert node.ends() == 70
