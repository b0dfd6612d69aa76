"""A bound for messages without an end.

libzmq bounds a frame (ZMQ_MAXMSGSIZE) and the messages that wait (ZMQ_RCVHWM), but not the frames of one
message, and shows none of them before the last has come: what a peer goes on sending grows in memory where
nobody sees it. What can be seen is the daemon's own size. While users are connected who could not end us with
a signal anyway, it is looked at, and when it has grown too much, those connections of theirs are ended that
have said nothing whole since the last look. An honest one among them comes again by itself.
"""

from __future__ import annotations

import asyncio
import ctypes
import os

from supervisord_ng import limits
from supervisord_ng.runtime.connections import Connections

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_libc = ctypes.CDLL(None)


class Floods:
    """Looks at the daemon's memory; costs nothing while nobody else's workers are connected.

    Args:
        loop: of the daemon.
        connections: to be ended.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, connections: Connections) -> None:
        self._loop = loop
        self._connections = connections
        self._timer: asyncio.TimerHandle | None = None
        self._usual = 0  # bytes in memory without a flood
        self._ended = False  # at the last look

    def watch(self) -> None:
        """Look from now on, as long as it is needed."""
        if self._timer is None:
            self._usual = _resident_bytes()
            self._wait()

    def look(self) -> None:
        """Compare, and act."""
        resident = _resident_bytes()
        if self._ended:
            # What was freed is to be missed by us too: else it would hide the next flood.
            _give_back()
            self._ended = False
            self._usual = _resident_bytes()
        elif resident - self._usual > limits.HEARTBEAT_GROWTH_MAX:
            grown_mib = (resident - self._usual) // limits.MIB
            why = f"the daemon has grown by {grown_mib} MiB, perhaps of a message without an end"
            self._ended = self._connections.end_silent(why)
        self._usual = min(self._usual, resident)
        self._connections.forget_words()

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _wait(self) -> None:
        self._timer = self._loop.call_later(
            limits.HEARTBEAT_GROWTH_LOOK_NS / limits.SECOND, self._due
        )

    def _due(self) -> None:
        self._timer = None
        self.look()
        if self._connections.others or self._ended:
            self._wait()


def _resident_bytes() -> int:
    """proc_pid_statm(5)."""
    with open("/proc/self/statm", "rb", buffering=0) as statm:
        return int(statm.read(256).split()[1]) * _PAGE_BYTES


def _give_back() -> None:
    """malloc_trim(3), where there is one: musl keeps nothing."""
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(0)
