"""The child's end of the link to the node above: one DEALER over TCP, with the parent's key pinned.

libzmq connects, and connects again when the parent was away. When the handshake fails it would try for ever
without a pause, or never again (session_base.cpp, protocol_error): so then the socket is made anew, each time
a little later. Why it failed is said, and counted in `rejected`. What frames mean is not known here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import zmq

from supervisord_ng import limits
from supervisord_ng.errors import ProtocolError
from supervisord_ng.model.link import AnyFromChild, AnyFromParent, Refused
from supervisord_ng.runtime.linksocket import HANDSHAKE_FAILED, Drained, Monitor
from supervisord_ng.runtime.troubles import Troubles
from supervisord_ng.wire.keys import KeyPair
from supervisord_ng.wire.link import MAGIC, decode_from_parent, encode

_EVENTS = zmq.EVENT_HANDSHAKE_SUCCEEDED | HANDSHAKE_FAILED


class LinkClient:
    """The way to the parent.

    Args:
        loop: the loop that reads; every method must be called from it.
        endpoint: "tcp://HOST:PORT" of the parent.
        key: of this node.
        parent_key: the parent's public one, in Z85.
        on_frames: called once for each batch that held something valid.
        on_connected: called when the parent can be spoken to, so that nobody has to wait for the next hello.
        log: takes a line about what goes wrong.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        endpoint: str,
        key: KeyPair,
        parent_key: str,
        on_frames: Callable[[list[AnyFromParent]], None],
        on_connected: Callable[[], None],
        log: Callable[[str], None],
    ) -> None:
        self.rejected = 0
        self._loop = loop
        self._endpoint = endpoint
        self._key = key
        self._parent_key = parent_key
        self._on_frames = on_frames
        self._on_connected = on_connected
        self._troubles = Troubles(log)
        self._received: list[AnyFromParent] = []
        self._context = zmq.Context()
        self._refused_ms = limits.LINK_REFUSED_MS
        self._again: asyncio.TimerHandle | None = None
        self._open()

    def send(self, frame: AnyFromChild) -> bool:
        """Say something to the parent; it may get lost. False: it can not be reached just now."""
        if self._socket.closed:
            return False
        try:
            self._socket.send(encode(frame), zmq.NOBLOCK)
        except zmq.Again:
            return False
        finally:
            self._drained.look_again()
        return True

    def drain(self) -> None:
        """Take in what has arrived; to be called before the parent is judged."""
        if not self._socket.closed:
            self._drained.drain(limits.LINK_DRAIN_MAX)

    def close(self) -> None:
        """Hang up. What was said last is still sent, for a moment. Safe to call twice."""
        if self._again is not None:
            self._again.cancel()
            self._again = None
        self._shut()
        self._context.destroy(linger=limits.LINK_LINGER_MS)

    def _open(self) -> None:
        self._again = None
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.linger = limits.LINK_LINGER_MS
        self._socket.curve_publickey = self._key.public.encode()
        self._socket.curve_secretkey = self._key.secret.encode()
        self._socket.curve_serverkey = self._parent_key.encode()
        self._socket.maxmsgsize = limits.LINK_MESSAGE_MAX
        self._socket.rcvhwm = limits.LINK_HWM
        self._socket.sndhwm = limits.LINK_HWM
        self._socket.immediate = 1  # nothing is kept for a parent that is away
        self._socket.handshake_ivl = limits.LINK_HANDSHAKE_MS
        self._socket.connect_timeout = limits.LINK_CONNECT_TIMEOUT_MS
        self._socket.reconnect_ivl = limits.LINK_RECONNECT_MS
        self._socket.reconnect_ivl_max = limits.LINK_RECONNECT_MAX_MS
        self._socket.tcp_maxrt = limits.LINK_DEAD_MS
        self._socket.ipv6 = 1
        self._monitor = Monitor(self._loop, self._socket, _EVENTS, self._happened)
        self._drained = Drained(self._loop, self._socket, self._read, self._pass_on)
        self._socket.connect(self._endpoint)

    def _shut(self) -> None:
        if not self._socket.closed:
            self._drained.close()
            self._monitor.close()
            self._socket.close()

    def _read(self) -> None:
        """Take one message. Raises zmq.Again when there is none."""
        if self._socket.closed:
            raise zmq.Again
        parts = self._socket.recv_multipart(zmq.NOBLOCK)
        message = parts[0] if len(parts) == 1 else b""  # of several parts none is looked at
        if message == MAGIC:
            return  # the parent has looked whether somebody is here
        try:
            frame = decode_from_parent(message)
        except ProtocolError as error:
            self._reject("message", f"dropped a message of the parent: {error}")
            return
        if isinstance(frame, Refused):
            self._reject("refused", f"the parent at {self._endpoint} refuses us: {frame.why}")
        else:
            self._received.append(frame)

    def _pass_on(self) -> None:
        received, self._received = self._received, []
        if received:
            self._on_frames(received)

    def _happened(self, event: int, _value: int) -> None:
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._refused_ms = limits.LINK_REFUSED_MS
            self._on_connected()
            return
        if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            why = f"our key is not on its list: {self._key.public} (public_key of a [remote.NAME] there)"
        else:
            why = "it hung up during the handshake: parent.public_key is not its key, or it is no node"
        self._reject("handshake", f"the parent at {self._endpoint} refuses us: {why}")
        self._shut()
        if self._again is None:
            self._again = self._loop.call_later(self._refused_ms / 1_000, self._open)
            self._refused_ms = min(2 * self._refused_ms, limits.LINK_REFUSED_MAX_MS)

    def _reject(self, kind: str, text: str) -> None:
        self.rejected += 1
        self._troubles.say(kind, f"link: {text}")
