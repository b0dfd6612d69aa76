"""What running workers use: CPU time and memory of the main process and of everything that descends from it.

Blocks for as long as the kernel takes to tell, some 50 us for each process; call it beside the loop. Who has
forked twice and left is not counted.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import msgspec
import psutil

from supervisord_ng import limits
from supervisord_ng.runtime.procfs import Census


class WorkerUsage(msgspec.Struct, frozen=True):
    """Of one worker. `cpu_s` grows as long as it lives: two looks say how busy it is."""

    path: str
    pid: int
    cpu_s: float  # user and system, of children that have ended too
    rss_bytes: int  # resident; what processes share counts for each of them
    processes: int


def measure(mains: Mapping[str, int]) -> list[WorkerUsage]:
    """Look at workers, by path and pid of their main process; those that have ended meanwhile are left out."""
    census = Census(lambda: ())
    found = [_of_worker(path, pid, census) for path, pid in mains.items()]
    return [usage for usage in found if usage.processes]


def _of_worker(path: str, main: int, census: Census) -> WorkerUsage:
    cpu_s, rss_bytes, processes = 0.0, 0, 0
    below = itertools.islice(census.below(main), limits.USAGE_PROCESSES_MAX)
    for pid in itertools.chain((main,), below):
        try:
            process = psutil.Process(pid)
            with process.oneshot():
                cpu_s += sum(process.cpu_times()[:4])  # user, system, and both of its children
                rss_bytes += process.memory_info().rss
        except psutil.Error:
            continue
        processes += 1
    return WorkerUsage(path, main, cpu_s, rss_bytes, processes)
