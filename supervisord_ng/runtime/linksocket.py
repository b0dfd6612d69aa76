"""What both ends of a link between nodes share: a ZeroMQ socket read from the loop, and its monitor.

The rules of an edge-triggered zmq.FD (zmq_getsockopt(3), ZMQ_FD): it becomes readable once for any number of
messages, and a send may swallow the edge. So: read until EAGAIN or to the end of the batch and then come back
in the next turn; look again after every send, and once after the reader is added.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import zmq
from zmq.utils.monitor import parse_monitor_message

from supervisord_ng import limits

HANDSHAKE_FAILED = (
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)


class Drained:
    """Reads a socket whenever something has arrived, a bounded amount in each turn of the loop.

    Args:
        loop: the loop that reads; every method must be called from it.
        socket: to be read; not closed here.
        read: takes one message from the socket; zmq.Again from it means that there is none.
        after: called at the end of a turn in which something was read.

    Attributes:
        gather_ns: how long to leave alone what arrives after a turn, so that more of it is read in the next.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        socket: zmq.Socket[bytes],
        read: Callable[[], None],
        after: Callable[[], None] | None = None,
    ) -> None:
        self._loop = loop
        self._socket = socket
        self._read = read
        self._after = after
        self.gather_ns = 0
        self._gathering: asyncio.TimerHandle | None = None
        self._turn_asked = False
        self._fd = socket.fileno()
        loop.add_reader(self._fd, self._turn)
        self.look_again()

    def look_again(self) -> None:
        """Read in the next turn of the loop; to be called after every send on the socket."""
        if not self._turn_asked and self._gathering is None:
            self._turn_asked = True
            self._loop.call_soon(self._turn)

    def drain(self, limit: int) -> int:
        """Read up to `limit` messages, and come back for the rest; return how many there were."""
        count = 0
        try:
            while count < limit:
                self._read()
                count += 1
            self.look_again()
        except zmq.Again:
            pass
        if count and self._after is not None:
            self._after()
        return count

    def close(self) -> None:
        """Read no more; to be called before the socket is closed."""
        if self._gathering is not None:
            self._gathering.cancel()
        self._loop.remove_reader(self._fd)

    def _turn(self) -> None:
        self._turn_asked = False
        if self._socket.closed:
            return
        self.drain(limits.LINK_BATCH)
        if self.gather_ns and self._gathering is None and not self._turn_asked:
            self._loop.remove_reader(self._fd)
            self._gather()

    def _gather(self) -> None:
        self._gathering = self._loop.call_later(self.gather_ns / limits.SECOND, self._gathered)

    def _gathered(self) -> None:
        """Go on like that as long as something comes; then wait for it again."""
        self._gathering = None
        if self.drain(limits.LINK_BATCH) and not self._turn_asked:
            self._gather()
        else:
            self._loop.add_reader(self._fd, self._turn)


class Monitor:
    """What libzmq tells of the connections of a socket, zmq_socket_monitor(3).

    Args:
        loop: see `Drained`.
        socket: whose connections are watched.
        events: a sum of zmq.EVENT_*.
        on_event: called with the event and its value.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        socket: zmq.Socket[bytes],
        events: int,
        on_event: Callable[[int, int], None],
    ) -> None:
        self._watched = socket
        self._on_event = on_event
        self._socket = socket.get_monitor_socket(events)
        self._drained = Drained(loop, self._socket, self._read)

    def close(self) -> None:
        """Watch no more; to be called before the watched socket is closed."""
        self._drained.close()
        self._watched.disable_monitor()
        self._socket.close(linger=0)

    def _read(self) -> None:
        if self._socket.closed:
            raise zmq.Again
        told = parse_monitor_message(self._socket.recv_multipart(zmq.NOBLOCK))
        self._on_event(int(told["event"]), told["value"])
