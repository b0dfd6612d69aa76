"""What the system knows of a worker that hangs, of real processes that do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from supervisord_ng import limits
from supervisord_ng.runtime.diagnosis import HEADING, describe
from tests.support import eventually

pytestmark = pytest.mark.process

# A worker with a second thread that waits for a lock, and a child. It prints when both are there.
BUSY = """
import subprocess, sys, threading
lock = threading.Lock()
lock.acquire()
threading.Thread(target=lock.acquire, daemon=True).start()
child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"])
print(child.pid, flush=True)
sys.stdin.read()
child.wait()
"""


@contextmanager
def running(code: str) -> Iterator[tuple[int, int]]:
    """A process that runs this; its pid and the number that it prints."""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield process.pid, int(process.stdout.readline())
        process.send_signal(signal.SIGCONT)
        assert process.stdin is not None
        process.stdin.close()


def test_all_threads_and_all_descendants_are_told() -> None:
    """Of each thread where it waits in the kernel, as far as the host lets us see that."""
    with running(BUSY) as (pid, child):

        def at_rest() -> list[str]:
            lines = describe(pid).splitlines()
            both = lines[1].startswith(f"process {pid}: sleeping, ") and "2 threads" in lines[1]
            return lines if both else []

        lines = eventually(at_rest, "both threads wait")
    assert HEADING == lines[0]
    assert 2 == sum(line.startswith("  thread ") and "CPU" in line for line in lines[2:4])
    assert lines[4].startswith(f"process {child}: ")


def test_a_stopped_process_is_called_so() -> None:
    """SIGSTOP is the hang that needs no stack to be explained."""
    with running(BUSY) as (pid, _):
        os.kill(pid, signal.SIGSTOP)
        eventually(lambda: f"process {pid}: stopped" in describe(pid), "it is stopped")


def test_a_process_that_is_gone_raises_nothing() -> None:
    """It may be gone before it is looked at, and only its parent could tell more."""
    with subprocess.Popen(["true"]) as process:
        pass
    assert [HEADING, f"process {process.pid}: gone"] == describe(process.pid).splitlines()


def test_a_large_worker_costs_a_bounded_report() -> None:
    """So many threads and no more; the rest is left out."""
    threads = 2 * limits.DIAGNOSIS_THREADS_MAX
    code = f"""
import sys, threading
end = threading.Event()
for _ in range({threads}):
    threading.Thread(target=end.wait, daemon=True).start()
print(0, flush=True)
sys.stdin.read()
"""
    with running(code) as (pid, _):
        lines = describe(pid).splitlines()
    assert f"{threads + 1} threads" in lines[1]
    assert limits.DIAGNOSIS_THREADS_MAX == sum(line.startswith("  thread ") for line in lines)
