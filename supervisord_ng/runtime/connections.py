"""Connections of a ZeroMQ socket that end before they have said anything.

libzmq breaks a connection off when a frame is too large or the bytes are none of ZeroMQ's, and tells nobody but
a monitor, zmq_socket_monitor(3), and that not why. But who is honest says at least one whole message; so a
connection that ends without one is counted, whatever it was.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import zmq

_ENDPOINT = "inproc://connections"
_EVENTS = zmq.EVENT_DISCONNECTED


class Connections:
    """Knows the connections of a socket that have spoken, and notices the end of each.

    Args:
        socket: a bound ROUTER; its thread must call every method.
        on_silent_end: called for each connection that ended without a message.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        socket: zmq.Socket[bytes],
        on_silent_end: Callable[[], None],
    ) -> None:
        self._on_silent_end = on_silent_end
        self._spoken: dict[bytes, int] = {}  # identity to descriptor
        self._identities: dict[int, bytes] = {}
        self._ended: list[int] = []  # what they said may still be waiting to be read
        self._monitor: zmq.Socket[bytes] = context.socket(zmq.PAIR)
        self._monitor.linger = 0
        # libzmq's own thread waits for us when this is full, and has the lock that closing needs
        self._monitor.rcvhwm = 0
        socket.monitor(_ENDPOINT, _EVENTS)
        self._monitor.connect(_ENDPOINT)

    def fileno(self) -> int:
        """Edge-triggered, as that of every socket of ZeroMQ."""
        return self._monitor.fileno()

    def spoke(self, identity: bytes, frame: zmq.Frame) -> None:
        """A message has come from this connection."""
        if identity not in self._spoken:
            descriptor = int(frame.get(zmq.SRCFD))
            self._spoken[identity] = descriptor
            self._identities[descriptor] = identity

    def read(self) -> None:
        """Note which connections have ended. To be called before messages are read."""
        while True:
            try:
                event, _ = self._monitor.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            # 16 bits of event, 32 bits of value, in the host's byte order
            descriptor = int.from_bytes(event[2:6], sys.byteorder, signed=True)
            identity = self._identities.pop(descriptor, None)
            if identity is None:
                self._ended.append(descriptor)
            else:
                del self._spoken[identity]

    def settle(self) -> None:
        """All messages that had come by the last `read` are read: who has said nothing never will."""
        for descriptor in self._ended:
            identity = self._identities.pop(descriptor, None)
            if identity is None:
                self._on_silent_end()
            else:
                del self._spoken[identity]
        self._ended.clear()
