"""From kill -9 of one worker among many to its replacement running; against a floor without features.

The floor is what any supervisor written in Python has to do: wait on a pidfd, reap, posix_spawn. Both are taken
in turns. Run: python -m benchmarks.restart_latency [WORKERS] [KILLS]
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

from supervisord_ng.control.client import Client
from tests.daemon.node import Node

SLEEP = shutil.which("sleep") or "/bin/sleep"


class Floor:
    """Workers that are respawned by the shortest loop there is."""

    def __init__(self, count: int) -> None:
        self.pids = [self._spawn() for _ in range(count)]

    def _spawn(self) -> int:
        return os.posix_spawn(SLEEP, [SLEEP, "1000"], {})

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
    """Workers of a real daemon, watched over its event stream."""

    def __init__(self, node: Node, count: int) -> None:
        self.node = node
        self.pids = [node.pids()[f"w@{number}"] for number in range(1, count + 1)]
        self.client = Client(str(node.runtime_dir))
        since = node.events()[-1]["seq"]
        self.events = self.client.stream("events", {"since": since, "follow": True})

    def kill_one(self, number: int) -> float:
        """Kill; return the seconds until the daemon says that the replacement runs."""
        begin = time.perf_counter()
        os.kill(self.pids[number], signal.SIGKILL)
        for event in self.events:
            if event["event"] == "started":
                self.pids[number] = event["pid"]
                return time.perf_counter() - begin
        raise RuntimeError("the daemon has ended")


def main() -> None:
    """Print both medians and their ratio."""
    workers = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    kills = int(sys.argv[2]) if len(sys.argv) > 2 else 20
    tree = (
        '[supervisor.root]\nintensity = "infinity"\nchildren = ["w"]\n'
        f'[worker.w]\ncommand = "{SLEEP} 1000"\ninstances = {workers}\n'
    )
    with tempfile.TemporaryDirectory(prefix="sng-", dir="/tmp") as directory:
        floor = Floor(workers)
        try:
            with Node(Path(directory), tree) as node:
                ours = Ours(node.wait_up(60), workers)
                pairs = [
                    (floor.kill_one(n % workers), ours.kill_one(n % workers)) for n in range(kills)
                ]
        finally:
            floor.close()
    low = statistics.median(pair[0] for pair in pairs) * 1000
    own = statistics.median(pair[1] for pair in pairs) * 1000
    print(f"{kills} kills among {workers} workers, kill -9 to replacement running, median:")
    print(f"floor {low:.2f} ms   supervisord-ng {own:.2f} ms   ratio {own / low:.2f}")


if __name__ == "__main__":
    main()
