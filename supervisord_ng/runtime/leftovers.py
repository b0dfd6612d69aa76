"""Ends what an earlier daemon of these directories left running, before anything is started again.

A daemon that was killed could stop nobody. Its workers hold their ports and files, and would run twice. Every
worker has the socket of its daemon in its environment, and hands it on to what it starts; whoever has ours,
while we hold the lock of the directories, is orphaned. Processes that we may not look into belong to other
users and are not ours either.
"""

from __future__ import annotations

import os
import select
import signal
import time

import psutil

from supervisord_ng import limits

MARK = "SNG_HEARTBEAT"


def end_leftovers(endpoint: str) -> tuple[list[int], list[int]]:
    """SIGKILL to every process whose $SNG_HEARTBEAT is `endpoint`; wait until they are gone.

    Call it with the lock held and before the first worker is started. Again until nothing is found, because
    one may be forking at this moment; at most `limits.LEFTOVER_ROUNDS_MAX` times.

    Returns:
        The pids that were ended, and those that survived `limits.LEFTOVER_WAIT_NS`.
    """
    ended: list[int] = []
    for _ in range(limits.LEFTOVER_ROUNDS_MAX):
        found = [
            pid
            for pid in psutil.pids()
            if pid not in (os.getpid(), *ended) and _is_ours(pid, endpoint)
        ]
        if not found:
            return ended, []
        survivors = _kill(found, endpoint)
        ended += [pid for pid in found if pid not in survivors]
        if survivors:
            return ended, survivors
    return ended, []


def _is_ours(pid: int, endpoint: str) -> bool:
    try:
        return psutil.Process(pid).environ().get(MARK) == endpoint
    except (psutil.Error, OSError):
        return False


def _kill(pids: list[int], endpoint: str) -> list[int]:
    """Kill these, by descriptor, so that a number that was given away meanwhile hits no stranger."""
    waiting: dict[int, int] = {}
    for pid in pids:
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        if not _is_ours(pid, endpoint):
            os.close(pidfd)
            continue
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        waiting[pidfd] = pid
    deadline = time.monotonic_ns() + limits.LEFTOVER_WAIT_NS
    poll = select.poll()
    for pidfd in waiting:
        poll.register(pidfd, select.POLLIN)
    alive = dict(waiting)
    while alive and (left := deadline - time.monotonic_ns()) > 0:
        for pidfd, _event in poll.poll(left / limits.MS):
            poll.unregister(pidfd)
            del alive[pidfd]
    for pidfd in waiting:
        os.close(pidfd)
    return list(alive.values())
