"""From kill -9 of one worker among many to its replacement running; against a floor without features.

A worker says that it runs by its pid in a FIFO, and sleeps. The floor is what any supervisor in Python
has to do: wait on a pidfd, reap, posix_spawn. Both are taken in turns.
Run: python -m benchmarks.restart_latency [WORKERS] [KILLS]
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.daemon.node import Node

SHELL = shutil.which("sh") or "/bin/sh"
PAUSE_S = 0.02  # until whatever follows a restart is over


class Worker:
    """What is run, and where it says that it runs."""

    def __init__(self, directory: Path) -> None:
        path = directory / "running"
        os.mkfifo(path)
        self.fifo = os.open(path, os.O_RDWR)
        self.command = [SHELL, "-c", f'echo $$ >"{path}"; exec sleep 1000']

    def wait(self) -> int:
        """Wait until one more runs; return its pid."""
        text = b""
        while not text.endswith(b"\n"):
            text += os.read(self.fifo, 1)
        return int(text)


class Floor:
    """Workers that are respawned by the shortest loop there is."""

    def __init__(self, worker: Worker, count: int) -> None:
        self._worker = worker
        self.pids = [self._spawn() for _ in range(count)]

    def _spawn(self) -> int:
        os.posix_spawn(SHELL, self._worker.command, os.environ)
        return self._worker.wait()

    def kill_one(self, number: int) -> float:
        """Kill and replace; return the seconds between."""
        pid = self.pids[number]
        pidfd = os.pidfd_open(pid)
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        begin = time.perf_counter()
        os.kill(pid, signal.SIGKILL)
        poll.poll()
        os.wait4(pid, 0)
        self.pids[number] = self._spawn()
        spent = time.perf_counter() - begin
        os.close(pidfd)
        return spent

    def close(self) -> None:
        """End them all."""
        for pid in self.pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


class Ours:
    """Workers of a real daemon."""

    def __init__(self, worker: Worker, count: int) -> None:
        self._worker = worker
        self.pids = [worker.wait() for _ in range(count)]

    def kill_one(self, number: int) -> float:
        """Kill; return the seconds until the replacement says that it runs."""
        begin = time.perf_counter()
        os.kill(self.pids[number], signal.SIGKILL)
        self.pids[number] = self._worker.wait()
        return time.perf_counter() - begin


def main() -> None:
    """Print both medians and their ratio."""
    workers = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    kills = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    with tempfile.TemporaryDirectory(prefix="sng-", dir="/tmp") as directory:
        worker = Worker(Path(directory))
        tree = (
            '[supervisor.root]\nintensity = "infinity"\nchildren = ["w"]\n'
            f"[worker.w]\ncommand = {json.dumps(worker.command)}\ninstances = {workers}\n"
        )
        floor = Floor(worker, workers)
        pairs = []
        try:
            with Node(Path(directory), tree) as node:
                ours = Ours(worker, workers)
                node.wait_up(60)
                for number in range(kills):
                    time.sleep(PAUSE_S)
                    pairs.append(
                        (floor.kill_one(number % workers), ours.kill_one(number % workers))
                    )
        finally:
            floor.close()
    low = statistics.median(pair[0] for pair in pairs) * 1000
    own = statistics.median(pair[1] for pair in pairs) * 1000
    print(f"{kills} kills among {workers} workers, kill -9 to replacement running, median:")
    print(f"floor {low:.2f} ms   supervisord-ng {own:.2f} ms   ratio {own / low:.2f}")


if __name__ == "__main__":
    main()
