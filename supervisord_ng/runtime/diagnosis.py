"""What the system knows of a worker that hangs, before it is killed: the nearest thing to stacks from outside.

For each process its state, memory and open files; for each thread what it waits for in the kernel and how much
it has worked. "stopped" is somebody's SIGSTOP, "disk-sleep" a device or file system that does not answer, R
with much CPU a loop, futex_wait_queue a lock.

Bounded in time and size. Only files of proc(5) are read that the kernel answers without the process's own
locks: its command line or its memory map could make the reader wait for the very thing that hangs.
"""

from __future__ import annotations

import os
from collections import deque

import psutil

from supervisord_ng import limits
from supervisord_ng.runtime import clock

HEADING = "as the system sees it:"
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_UTIME, _STIME = 11, 12  # of the fields behind the name in proc_pid_stat(5), where the state is 0


def describe(pid: int) -> str:
    """Describe a process and its descendants in lines for a person; never raises, never waits.

    Args:
        pid: of the main process of the worker.
    """
    end_ns = clock.monotonic_ns() + limits.DIAGNOSIS_TIME_NS
    lines = [HEADING]
    waiting = deque([pid])
    for _ in range(limits.DIAGNOSIS_PROCESSES_MAX):
        if not waiting or clock.monotonic_ns() > end_ns:
            break
        one = waiting.popleft()
        threads = _threads(one)
        lines.append(_process(one, len(threads)))
        for thread in threads[: limits.DIAGNOSIS_THREADS_MAX]:
            lines.append(_thread(one, thread))
            waiting += _children(one, thread)
    if waiting:
        lines.append(f"and at least {len(waiting)} more processes")
    return "\n".join(lines)


def _process(pid: int, threads: int) -> str:
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            status = process.status()
            memory_mb = process.memory_info().rss / limits.MIB
    except psutil.Error:
        return f"process {pid}: gone"
    open_files = _open_files(process)
    return (
        f"process {pid}: {status}, {memory_mb:.1f} MB resident, {open_files} open files,"
        f" {threads} threads"
    )


def _open_files(process: psutil.Process) -> str:
    try:
        return str(process.num_fds())
    except psutil.Error:
        return "?"  # of another user, and we are not root


def _threads(pid: int) -> list[int]:
    try:
        return sorted(int(name) for name in os.listdir(f"/proc/{pid}/task"))
    except OSError:
        return []


def _thread(pid: int, thread: int) -> str:
    """One thread: the letter of its state as in ps(1), its name, where it waits, how much it worked."""
    before, _, after = _read(pid, thread, "stat").rpartition(")")
    fields = after.split()
    if len(fields) <= _STIME:
        return f"  thread {thread}: gone"
    name = before.partition("(")[2]
    user_s, system_s = (int(fields[at]) / _TICKS_PER_SECOND for at in (_UTIME, _STIME))
    place = _read(pid, thread, "wchan").strip()  # "0": in no call, or not for us to see
    waits = f"in {place}" if place not in ("", "0") else "in no call of the kernel"
    return (
        f"  thread {thread} ({name}): {fields[0]} {waits},"
        f" CPU {user_s:.2f} s user, {system_s:.2f} s system"
    )


def _children(pid: int, thread: int) -> list[int]:
    """The processes that a thread has forked, proc_tid_children(5); none where the kernel does not tell."""
    return [int(child) for child in _read(pid, thread, "children").split()]


def _read(pid: int, thread: int, name: str) -> str:
    try:
        with open(f"/proc/{pid}/task/{thread}/{name}", encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
