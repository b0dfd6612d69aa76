"""Finds what an earlier daemon of these directories left running, and ends what nobody takes over.

A daemon that was killed could stop nobody. Its workers hold their ports and files, and would run twice. Every
worker has the socket of its daemon in its environment, and hands it on to what it starts; whoever has ours,
while we hold the lock of the directories, is of an earlier daemon. Processes that we may not look into belong
to other users and are not ours either.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from typing import NamedTuple

from supervisord_ng import limits
from supervisord_ng.runtime import procfs

MARK = "SNG_HEARTBEAT"


class Marked(NamedTuple):
    """A process with our mark; of which worker, and the token of which incarnation, by its environment."""

    pid: int
    path: str
    token: str


def find(endpoint: str) -> list[Marked]:
    """Every living process whose $SNG_HEARTBEAT is `endpoint`, but ourselves."""
    return [
        marked
        for pid in procfs.everybody()
        if pid != os.getpid() and (marked := _look(pid, endpoint)) is not None
    ]


def end_leftovers(
    endpoint: str, is_left: Callable[[Marked], bool] = lambda _: True
) -> tuple[list[int], list[int]]:
    """SIGKILL to processes with our mark; wait until they are gone.

    Call it with the lock held. Again until nothing is found, because one may be forking at this moment; at most
    `limits.LEFTOVER_ROUNDS_MAX` times.

    Args:
        endpoint: of this daemon.
        is_left: says of which; all of them.

    Returns:
        The pids that were ended, and those that survived `limits.LEFTOVER_WAIT_NS`.
    """
    ended: list[int] = []
    for _ in range(limits.LEFTOVER_ROUNDS_MAX):
        found = [one.pid for one in find(endpoint) if one.pid not in ended and is_left(one)]
        if not found:
            return ended, []
        survivors = _kill(found, endpoint)
        ended += [pid for pid in found if pid not in survivors]
        if survivors:
            return ended, survivors
    return ended, []


def _look(pid: int, endpoint: str) -> Marked | None:
    environment = procfs.environment_of(pid)
    if f"{MARK}={endpoint}".encode() not in environment:
        return None
    told = dict(line.partition(b"=")[::2] for line in environment if line.startswith(b"SNG_"))
    path, token = (
        told.get(name, b"").decode(errors="replace") for name in (b"SNG_PATH", b"SNG_TOKEN")
    )
    return Marked(pid, path, token)


def _kill(pids: list[int], endpoint: str) -> list[int]:
    """Kill these, by descriptor, so that a number that was given away meanwhile hits no stranger."""
    waiting: dict[int, int] = {}
    for pid in pids:
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        if _look(pid, endpoint) is None:
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
