"""The connections of a ZeroMQ socket on ipc: who may have one, how many, and which end without a word.

libzmq accepts whoever comes, and aborts the process when no descriptor is left for the next one
(ipc_listener.cpp, in 4.3.5 still). It would ask us who may speak (ZAP, rfc.zeromq.org/spec/27), but only
when the peer has sent its greeting, and until then anybody could hold as many connections as there are
descriptors. So we look at each when the monitor tells that it was accepted, zmq_socket_monitor(3): the
kernel says whose it is (SO_PEERCRED, unix(7)). One that may not be is shut down, which libzmq takes for the
end of its peer. Who is let in later comes by itself: a DEALER tries again after any such end; after ZAP's
400 it would not.

libzmq's own thread waits while the monitor's queue is full. That is the bound for a flood: however long we
look away, no more than some 1,000 connections are accepted that we have not looked at. Closing is safe
meanwhile: the end of the context wakes that thread, zmq_ctx_term(3).
"""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import struct
import sys
from collections import Counter
from collections.abc import Callable

import zmq

from supervisord_ng import limits
from supervisord_ng.runtime import borrowed

_ENDPOINT = "inproc://connections"
_EVENTS = zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED
_CREDENTIALS = struct.Struct("iII")  # struct ucred: pid, uid, gid


class Connections:
    """Looks at every new connection of a socket, and notices the end of each.

    Args:
        context: of the socket.
        socket: a ROUTER that is not bound yet; its thread must call every method.
        path: that it will be bound at.
        allowance: how many connections a user may have at a time, by uid; 0: that user is a stranger.
        on_refused: told, in words, of each connection that was shut down.
        on_silent_end: called for each other connection that ended without a message.

    Attributes:
        others: connections of users who are neither root nor our own, and so could not signal us.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        socket: zmq.Socket[bytes],
        path: str,
        allowance: Callable[[int], int],
        on_refused: Callable[[str], None],
        on_silent_end: Callable[[], None],
    ) -> None:
        self._path = path
        self._allowance = allowance
        self._on_refused = on_refused
        self._on_silent_end = on_silent_end
        self.others = 0
        self._trusted = (0, os.geteuid())
        self._owners: dict[int, int | None] = {}  # descriptor to uid; None: refused
        self._counts: Counter[int] = Counter()  # of those that are not refused, by uid
        self._recent: set[bytes] = set()  # who has spoken since the last `forget_words`
        self._spoken: dict[bytes, int] = {}  # identity to descriptor
        self._identities: dict[int, bytes] = {}
        self._ended: list[tuple[int, bool]] = []  # and whether refused; words may wait to be read
        self._monitor: zmq.Socket[bytes] = context.socket(zmq.PAIR)
        self._monitor.linger = 0
        self._monitor.rcvhwm = 1  # on top of the 1,000 that libzmq gives its own end
        socket.monitor(_ENDPOINT, _EVENTS)
        self._monitor.connect(_ENDPOINT)

    def fileno(self) -> int:
        """Edge-triggered, as that of every socket of ZeroMQ."""
        return self._monitor.fileno()

    def spoke(self, identity: bytes, frame: zmq.Frame) -> None:
        """A message has come from this connection."""
        if identity in self._recent:
            return
        self._recent.add(identity)
        if identity not in self._spoken:
            descriptor = int(frame.get(zmq.SRCFD))
            self._spoken[identity] = descriptor
            self._identities[descriptor] = identity

    def forget_words(self) -> None:
        """Whoever says nothing from now on is silent to `end_silent`."""
        self._recent.clear()

    def end_silent(self, why: str) -> bool:
        """End those of `others` that have said nothing; whether there was one."""
        others = (it for it, uid in self._owners.items() if not self._is_trusted(uid))
        silent = [it for it in others if self._identities.get(it) not in self._recent]
        for descriptor in silent:
            self._end(descriptor, why)
        return bool(silent)

    def end(self, identity: bytes, why: str) -> None:
        """End the connection that has said something, if it still stands."""
        descriptor = self._spoken.get(identity)
        if descriptor is not None and self._owners.get(descriptor) is not None:
            self._end(descriptor, why)

    def read(self, limit: int) -> bool:
        """Look at up to `limit` connections that have begun or ended. To be called before messages are read.

        Returns:
            Whether to come back for more of them.
        """
        for _ in range(limit):
            try:
                event, _ = self._monitor.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return False
            # 16 bits of event, 32 bits of value, in the host's byte order
            number = int.from_bytes(event[:2], sys.byteorder)
            descriptor = int.from_bytes(event[2:6], sys.byteorder, signed=True)
            if number == zmq.EVENT_ACCEPTED:
                self._begun(descriptor)
            else:
                self._over(descriptor)
        return True

    @property
    def has_ended(self) -> bool:
        """Whether there is something to be settled."""
        return bool(self._ended)

    def settle(self) -> None:
        """All messages that had come by the last `read` are read: who has said nothing never will."""
        for descriptor, is_refused in self._ended:
            if not self._forget(descriptor) and not is_refused:
                self._on_silent_end()
        self._ended.clear()

    def _begun(self, descriptor: int) -> None:
        connection = self._own(descriptor)
        if connection is None:
            return
        with connection:
            _, uid, _ = _credentials(connection)
        why = self._why_not(uid, descriptor)
        self._owners[descriptor] = uid
        self._counts[uid] += 1
        self.others += not self._is_trusted(uid)
        if why is not None:
            self._end(descriptor, why)

    def _end(self, descriptor: int, why: str) -> None:
        """Shut a connection down. That it is over will be told as of any other."""
        self._disown(descriptor)
        self._owners[descriptor] = None
        connection = self._own(descriptor)
        if connection is None:
            return
        with connection:
            pid, uid, _ = _credentials(connection)
            self._on_refused(f"cannot accept connection of uid {uid} (pid {pid}): {why}")
            with contextlib.suppress(OSError):  # it has ended by itself
                connection.shutdown(socket.SHUT_RDWR)

    def _own(self, descriptor: int) -> socket.socket | None:
        """Hold on to the connection with this number; None if it has ended.

        The number is libzmq's to close, in its own thread, and may stand for something else by now. What
        we hold keeps what it is: another connection at our path if any, judged by its own credentials.
        """
        held = borrowed.hold(descriptor)
        if held is None:
            return None
        if held.family != socket.AF_UNIX or held.getsockname() != self._path:
            held.close()
            return None
        return held

    def _why_not(self, uid: int, descriptor: int) -> str | None:
        """Why a user may not have this connection, None if it may."""
        allowed = self._allowance(uid)
        if not allowed:
            return "no worker runs as that user"
        if self._counts[uid] >= allowed:
            return f"that user has {allowed} already"
        most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        # The kernel gives the lowest number that is free.
        if descriptor >= most - limits.HEARTBEAT_DESCRIPTORS_SPARED:
            return f"of {most} open files nearly all are in use"
        return None

    def _over(self, descriptor: int) -> None:
        is_refused = descriptor in self._owners and self._disown(descriptor) is None
        if not self._forget(descriptor):
            self._ended.append((descriptor, is_refused))

    def _forget(self, descriptor: int) -> bool:
        """Whether it has spoken, as far as we have read."""
        identity = self._identities.pop(descriptor, None)
        if identity is None:
            return False
        del self._spoken[identity]
        self._recent.discard(identity)
        return True

    def _disown(self, descriptor: int) -> int | None:
        uid = self._owners.pop(descriptor)
        if uid is not None:
            self.others -= not self._is_trusted(uid)
            self._counts[uid] -= 1
            if not self._counts[uid]:
                del self._counts[uid]
        return uid

    def _is_trusted(self, uid: int | None) -> bool:
        """Whether this user could end us with a signal anyway; None: we have ended its connection."""
        return uid is None or uid in self._trusted


def _credentials(connection: socket.socket) -> tuple[int, int, int]:
    told = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, gid = _CREDENTIALS.unpack(told)
    return pid, uid, gid
