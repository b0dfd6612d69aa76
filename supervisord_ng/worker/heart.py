"""The thread that speaks to the supervisor: the only owner of the DEALER, its socket.

It sleeps in zmq_poll until the next beat is due, the daemon says something, or the worker has
something to say (an eventfd wakes it). What has still to be said is kept by kind, the latest of
each: nothing grows while the daemon is away. Beats are never kept. To a daemon that comes back
everything it must know is said again.

No locks: a signal handler may call into here while the code that it interrupted does. Single
operations on a dict are atomic, and that is enough for "the latest of each kind".
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import zmq

from supervisord_ng import limits
from supervisord_ng.errors import ProtocolError
from supervisord_ng.wire.heartbeat import (
    Beat,
    Crash,
    Dump,
    Hello,
    Ready,
    Stacks,
    Status,
    Stop,
    Stopping,
    Welcome,
    WorkerMessage,
    decode_from_daemon,
    encode,
    split,
)
from supervisord_ng.worker import stacks
from supervisord_ng.worker.excepthook import crash_of

THREAD_NAME = "supervisord-ng-heart"

# What may be owed, in the order in which it is said.
_OWED = (Hello, Ready, Status, Crash, Stacks)


class Heart:
    """One connection to the daemon and the thread that serves it.

    Args:
        endpoint: of the daemon's ROUTER.
        token: of this incarnation.
        progress: gives the counter that goes with a beat, None for idle.
        on_stop: called when the daemon says `stop`; both are called in the heart's thread.

    Raises:
        zmq.ZMQError: `endpoint` is none.
    """

    def __init__(
        self,
        endpoint: str,
        token: bytes,
        progress: Callable[[], int | None],
        on_stop: Callable[[], None],
    ) -> None:
        self.more_stacks: Callable[[], str] | None = None  # asyncio adds its tasks
        self._token = token
        self._progress = progress
        self._on_stop = on_stop
        self._interval_ns = limits.HEARTBEAT_INTERVAL_DEFAULT_NS  # until the daemon's welcome
        self._connected = False
        self._sequence = 0
        self._beaten_ns: int | None = None  # None: the next beat is due now
        self._end_by_ns: int | None = None  # None: there is no end in sight
        # What every daemon must be told once, and what none has taken yet; of each kind the latest.
        self._lasting: dict[type[WorkerMessage], WorkerMessage] = {Hello: Hello(os.getpid())}
        self._owed: dict[type[WorkerMessage], WorkerMessage] = {}
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._context = zmq.Context()
        try:
            self._socket, self._connections = _connect(self._context, endpoint)
        except zmq.ZMQError:
            self._context.destroy(linger=0)
            raise
        self._thread = threading.Thread(target=self._run, name=THREAD_NAME, daemon=True)
        self._thread.start()

    def __del__(self) -> None:
        # Not earlier: until then another thread may still have something to say.
        os.close(self._wake)

    def say_ready(self) -> None:
        """Tell the daemon, now or as soon as it listens, that the worker is ready."""
        self._lasting[Ready] = Ready()
        self._say(Ready())

    def say_status(self, text: str) -> None:
        """Tell the daemon, now or as soon as it listens, this line for people; the latest wins."""
        self._lasting[Status] = Status(text)
        self._say(Status(text))

    def say_crash(self, error: BaseException) -> None:
        """Tell the daemon, now or as soon as it listens, of an exception; the latest wins."""
        self._say(crash_of(error))

    def stop(self) -> None:
        """Say what is owed, say `stopping`, and end: at once, or twice `WORKER_FLUSH_NS` later."""
        self._end_by_ns = time.monotonic_ns() + limits.WORKER_FLUSH_NS
        os.eventfd_write(self._wake, 1)
        # The thread lingers on the socket for as long again; should even that fail, the process
        # still ends, since the thread is a daemon.
        self._thread.join(2 * limits.WORKER_FLUSH_NS / limits.SECOND)

    def _say(self, message: WorkerMessage) -> None:
        self._owed[type(message)] = message
        os.eventfd_write(self._wake, 1)

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._connections, zmq.POLLIN)
        poller.register(self._wake, zmq.POLLIN)
        while not self._is_over():
            willing = zmq.POLLOUT if self._owed and self._connected else 0
            poller.register(self._socket, zmq.POLLIN | willing)
            happened = dict(poller.poll(self._sleep_ms()))
            if self._wake in happened:
                os.eventfd_read(self._wake)
            if self._connections in happened:
                self._follow_connection()
            if happened.get(self._socket, 0) & zmq.POLLIN:
                self._listen()
            if self._connected:
                self._pay()
                self._beat()
        self._send(Stopping())
        self._context.destroy(linger=limits.WORKER_FLUSH_NS // limits.MS)

    def _is_over(self) -> bool:
        if self._end_by_ns is None:
            return False
        # An introduction alone is not worth waiting for.
        owes_words = bool(self._owed.keys() - {Hello})
        return not owes_words or time.monotonic_ns() >= self._end_by_ns

    def _sleep_ms(self) -> int | None:
        """How long nothing is due, None: for ever. Rounded up, not to wake early and again."""
        due = [self._end_by_ns] if self._end_by_ns is not None else []
        if self._interval_ns and self._connected:
            due.append((self._beaten_ns or 0) + self._interval_ns)
        if not due:
            return None
        return max(0, -((time.monotonic_ns() - min(due)) // limits.MS))

    def _beat(self) -> None:
        now = time.monotonic_ns()
        if not self._interval_ns or (
            self._beaten_ns is not None and now < self._beaten_ns + self._interval_ns
        ):
            return
        self._beaten_ns = now
        self._sequence += 1
        self._send(Beat(self._sequence, self._progress()))

    def _follow_connection(self) -> None:
        """Note whether somebody listens; to whoever does since now, introduce the worker."""
        while True:
            try:
                event, _ = self._connections.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            # zmq_socket_monitor(3): 16 bits of event, 32 bits of value, in the host's byte order.
            number = int.from_bytes(event[:2], sys.byteorder)
            self._connected = number == zmq.EVENT_HANDSHAKE_SUCCEEDED
            if self._connected:
                for kind, message in list(self._lasting.items()):
                    self._owed.setdefault(kind, message)
                self._beaten_ns = None

    def _pay(self) -> None:
        """Send what is owed, as far as it is taken."""
        for kind in _OWED:
            message = self._owed.pop(kind, None)
            if message is not None and not self._send(message):
                self._owed.setdefault(kind, message)  # unless there is a newer one already
                return

    def _send(self, message: WorkerMessage) -> bool:
        try:
            self._socket.send_multipart(encode(self._token, message), zmq.NOBLOCK)
        except zmq.Again:  # nobody is connected, or nobody reads
            return False
        return True

    def _listen(self) -> None:
        while True:
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                token, body = split(frames)
                message = decode_from_daemon(body) if token == self._token else None
            except ProtocolError:
                continue  # the protocol's rule for both ends; a worker has nobody to tell it to
            match message:
                case Welcome(interval_ms):
                    self._interval_ns = min(
                        interval_ms * limits.MS, limits.HEARTBEAT_INTERVAL_MAX_NS
                    )
                case Stop():
                    self._on_stop()
                case Dump():
                    more = "" if self.more_stacks is None else self.more_stacks()
                    self._owed[Stacks] = Stacks(stacks.collect() + more)


def _connect(
    context: zmq.Context[Any], endpoint: str
) -> tuple[zmq.Socket[bytes], zmq.Socket[bytes]]:
    """Open the DEALER, and the socket that tells when its connection comes up and breaks."""
    dealer = context.socket(zmq.DEALER)
    # Without it messages would queue for a daemon that is away; with it a send fails,
    # zmq_setsockopt(3).
    dealer.immediate = 1
    dealer.sndhwm = limits.HEARTBEAT_HWM
    dealer.maxmsgsize = limits.HEARTBEAT_MESSAGE_MAX
    dealer.reconnect_ivl = limits.HEARTBEAT_RECONNECT_MS
    dealer.reconnect_ivl_max = limits.HEARTBEAT_RECONNECT_MAX_MS
    connections = dealer.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
    dealer.connect(endpoint)
    return dealer, connections
