"""The daemon's end of the worker protocol: one ROUTER, drained in bounded batches.

Who may connect is settled by the uid that the kernel saw (`runtime.connections`). Who speaks is
settled three times: by the token of the incarnation, by that uid (libzmq's `Peer-Address`), and by
whether that process belongs to the worker. What fails is counted in `rejected` and dropped. What
the messages mean, and who is late, is not known here.

The rules of an edge-triggered zmq.FD (zmq_getsockopt(3), ZMQ_FD): it becomes readable once for
any number of messages, and a send may swallow the edge. So: read until EAGAIN or to the end of
the batch and then come back in the next turn; look again after every send, and once after the
reader is added.

A beat that is read alone wakes the loop alone, which costs many times what reading it does. So where
many workers beat, what arrives first waits a moment for the others, but not while somebody
waits for what a worker may say: that it is ready, or where it stands. A death and a judgement read
everything at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import Counter
from collections.abc import Callable

import zmq

from supervisord_ng import limits
from supervisord_ng.errors import ProtocolError
from supervisord_ng.runtime.connections import Connections
from supervisord_ng.runtime.floods import Floods
from supervisord_ng.runtime.traffic import Traffic
from supervisord_ng.wire.heartbeat import (
    DaemonMessage,
    Dump,
    Hello,
    Ready,
    Stacks,
    Stop,
    Welcome,
    WorkerMessage,
    decode_from_worker,
    encode,
    split,
)

SOCKET_MODE = 0o666  # credentials and token decide who stays: workers run as any user

_ANSWERS = (Ready, Stacks)

Received = tuple[str, int, WorkerMessage]
"""What one message says, and of whom: path, incarnation, message."""


class _Worker:
    """One incarnation that may speak."""

    __slots__ = ("address", "identity", "incarnation", "interval_ms", "path", "timeout_ms", "uid")

    def __init__(
        self, path: str, incarnation: int, uid: int, interval_ms: int, timeout_ms: int
    ) -> None:
        self.path = path
        self.incarnation = incarnation
        self.uid = uid
        self.interval_ms = interval_ms
        self.timeout_ms = timeout_ms
        self.identity: bytes | None = None  # the connection it spoke on last; answers go there
        self.address: str | None = None  # the kernel's word on that connection, already judged


class HeartbeatServer:
    """The ROUTER that workers speak to; without a system call while nobody speaks.

    Args:
        loop: the loop that reads the socket; every method must be called from it.
        path: of the socket, at most `limits.SOCKET_PATH_MAX` bytes. The caller holds the lock of
            the directory: a second bind on an ipc path silently steals it, zmq_ipc(7).
        on_messages: called once for each batch that held something valid.
        belongs: says whether the process with this id is part of the worker at this path; one
            that does not exist any more should be taken as such. Asked when the sender changes.
            None: the token and the uid are enough.
        on_rejected: told, in words, of everything that is counted in `rejected`.

    Raises:
        OSError: the socket cannot be bound at `path`.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        path: str,
        on_messages: Callable[[list[Received]], None],
        belongs: Callable[[str, int], bool] | None = None,
        on_rejected: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.endpoint = f"ipc://{path}"
        self.rejected = 0
        self._loop = loop
        self._path = path
        self._on_messages = on_messages
        self._belongs = belongs
        self._on_rejected = on_rejected
        self._workers: dict[bytes, _Worker] = {}
        self._users: Counter[int] = Counter()  # how many of them run as whom
        self._awaited: set[bytes] = set()  # tokens of workers whose next word somebody waits for
        self._traffic = Traffic()
        self._gathering: asyncio.TimerHandle | None = None
        self._turn_asked = False
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.linger = 0
        self._socket.maxmsgsize = limits.HEARTBEAT_MESSAGE_MAX
        self._socket.rcvhwm = limits.HEARTBEAT_RECEIVE_HWM
        self._socket.handshake_ivl = limits.HEARTBEAT_HANDSHAKE_MS
        self._socket.router_mandatory = 1  # a send to somebody who left fails instead of vanishing
        self._connections = Connections(
            self._context, self._socket, path, self._allowance, self.reject, self._ended_silently
        )
        try:
            self._socket.bind(self.endpoint)
            os.chmod(path, SOCKET_MODE)  # libzmq's bind goes by the umask
        except zmq.ZMQError as error:
            self._context.destroy(linger=0)
            raise OSError(error.errno, f"cannot bind heartbeat socket: {error}", path) from error
        self._floods = Floods(loop, self._connections)
        loop.add_reader(self._socket.fileno(), self._readable)
        loop.add_reader(self._connections.fileno(), self._connections_changed)
        self._ask_turn()

    def register(
        self,
        token: str,
        path: str,
        incarnation: int,
        uid: int | None,
        interval_ms: int,
        timeout_ms: int = 0,
        *,
        awaited: bool = False,
    ) -> None:
        """Let an incarnation speak, before it is started or when it is adopted.

        Args:
            token: that it has in $SNG_TOKEN.
            path: of the worker in the tree.
            incarnation: of this start of it.
            uid: that the worker runs as; None: the daemon's own.
            interval_ms: between two beats, told to the worker; 0: nobody counts its beats.
            timeout_ms: of silence that is a hang; 0: nobody judges it.
            awaited: its `ready` is waited for.
        """
        owner = os.geteuid() if uid is None else uid
        worker = _Worker(path, incarnation, owner, interval_ms, timeout_ms)
        self._workers[token.encode()] = worker
        self._users[owner] += 1
        self._traffic.add(interval_ms, timeout_ms)
        if awaited:
            self._await(token.encode())

    def unregister(self, token: str) -> None:
        """Stop listening to an incarnation. What it still says is rejected."""
        self._awaited.discard(token.encode())
        worker = self._workers.pop(token.encode(), None)
        if worker is not None:
            self._traffic.remove(worker.interval_ms, worker.timeout_ms)
            self._users[worker.uid] -= 1

    def send_stop(self, token: str, grace_ms: int | None) -> bool:
        """Ask a worker to end within `grace_ms` (None: for ever). False: it is not connected."""
        return self._send(token.encode(), Stop(grace_ms))

    def send_dump(self, token: str) -> bool:
        """Ask a worker for the stacks of its threads. False: it is not connected."""
        sent = self._send(token.encode(), Dump())
        if sent:
            self._await(token.encode())
        return sent

    def drain(self) -> None:
        """Take in all that has arrived; to be called before anybody is judged.

        At most `limits.HEARTBEAT_DRAIN_MAX` messages; ZeroMQ gives each connection its turn.
        """
        self._drain(limits.HEARTBEAT_DRAIN_MAX)

    def close(self) -> None:
        """Stop listening and remove the socket. Safe to call twice."""
        if self._socket.closed:
            return
        if self._gathering is not None:
            self._gathering.cancel()
        self._floods.close()
        self._loop.remove_reader(self._socket.fileno())
        self._loop.remove_reader(self._connections.fileno())
        self._context.destroy(linger=0)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)

    def reject(self, why: str) -> None:
        """Count something that was said and is dropped; `why` in words."""
        self.rejected += 1
        self._on_rejected(why)

    def _allowance(self, uid: int) -> int:
        """How many connections a user may have at a time."""
        workers = self._users[uid]
        if not workers and uid not in (0, os.geteuid()):
            return 0
        return max(
            limits.HEARTBEAT_CONNECTIONS_MIN, workers * limits.HEARTBEAT_CONNECTIONS_PER_WORKER
        )

    def _ended_silently(self) -> None:
        self.reject(
            "cannot accept connection: it ended without a message (too large a frame, or none of ZeroMQ's)"
        )

    def _send(self, token: bytes, message: DaemonMessage) -> bool:
        worker = self._workers.get(token)
        if worker is None or worker.identity is None:
            return False
        try:
            self._socket.send_multipart([worker.identity, *encode(token, message)], zmq.NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno == zmq.EHOSTUNREACH:
                worker.identity = None
            elif error.errno != zmq.EAGAIN:
                raise
            return False
        finally:
            self._ask_turn()
        return True

    def _await(self, token: bytes) -> None:
        self._awaited.add(token)
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathered()

    def _readable(self) -> None:
        """Something has arrived. The descriptor stays readable until it is read, so look away meanwhile."""
        gather_ns = 0 if self._awaited else self._traffic.gather_ns
        if gather_ns:
            self._loop.remove_reader(self._socket.fileno())
            self._gathering = self._loop.call_later(gather_ns / limits.SECOND, self._gathered)
        else:
            self._turn()

    def _gathered(self) -> None:
        self._gathering = None
        self._loop.add_reader(self._socket.fileno(), self._readable)
        self._turn()

    def _ask_turn(self) -> None:
        if not self._turn_asked:
            self._turn_asked = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._turn_asked = False
        if not self._socket.closed:
            self._drain(limits.HEARTBEAT_BATCH)

    def _connections_changed(self) -> None:
        """Somebody has connected or is gone. What those who connect say may wait for more."""
        if self._connections.read(limits.HEARTBEAT_BATCH) or self._connections.has_ended:
            self._ask_turn()
        if self._connections.others:
            self._floods.watch()

    def _drain(self, limit: int) -> None:
        """Read up to `limit` messages, pass on what is valid, and come back for the rest."""
        received: list[Received] = []
        if self._connections.read(limit):
            self._ask_turn()
        if self._connections.others:
            self._floods.watch()
        for _ in range(limit):
            try:
                identity, address, frames = self._receive()
            except zmq.Again:
                self._connections.settle()
                break
            try:
                told = self._judge(identity, address, frames)
            except ProtocolError as error:
                self.reject(f"{error} (from {address})")
            else:
                if told is not None:
                    received.append(told)
        else:
            self._ask_turn()  # before the callback: should that raise, nothing is left lying
        if received:
            self._on_messages(received)

    def _receive(self) -> tuple[bytes, str, list[bytes]]:
        """Read one message: the identity of the connection, its credentials, the frames."""
        # Frames that are not copied cost less than recv_multipart, and only they carry the
        # credentials.
        part = self._socket.recv(zmq.NOBLOCK, copy=False)
        identity = part.bytes
        address = part.get("Peer-Address")
        self._connections.spoke(identity, part)
        frames: list[bytes] = []
        while part.more:
            # One more than allowed is kept, so that the message is seen to be wrong.
            if len(frames) > limits.HEARTBEAT_FRAMES_MAX:
                self._skip(identity)
                break
            part = self._socket.recv(zmq.NOBLOCK, copy=False)
            frames.append(part.bytes)
        return identity, str(address), frames

    def _skip(self, identity: bytes) -> None:
        """Read the rest of a message. It has come as a whole, so that libzmq shows nothing else before."""
        while True:
            for _ in range(limits.HEARTBEAT_FRAMES_SKIPPED):
                if not self._socket.recv(zmq.NOBLOCK, copy=False).more:
                    return
            self._connections.end(
                identity, f"a message of more than {limits.HEARTBEAT_FRAMES_SKIPPED} frames"
            )
            self._floods.look()  # the loop does not turn meanwhile

    def _judge(self, identity: bytes, address: str, frames: list[bytes]) -> Received | None:
        """Turn frames into what they say of whom; None where that is nothing that we know.

        Raises:
            ProtocolError: the sender is not who it says, or the message is malformed.
        """
        token, body = split(frames)
        worker = self._workers.get(token)
        if worker is None:
            raise ProtocolError("cannot accept heartbeat: unknown token")
        if address != worker.address:
            self._check_sender(worker, address)
            worker.address = address
        worker.identity = identity
        message = decode_from_worker(body)
        if message is None:
            return None
        if type(message) is Hello:
            self._send(token, Welcome(worker.interval_ms))
        elif type(message) in _ANSWERS:
            self._awaited.discard(token)
        return worker.path, worker.incarnation, message

    def _check_sender(self, worker: _Worker, address: str) -> None:
        # stream_engine_base.cpp: "HOST:UID:GID:PID" on ipc; the pid is that of the process that
        # connected.
        try:
            uid, _, pid = (int(field) for field in address.rsplit(":", 3)[1:])
        except ValueError:
            raise ProtocolError("cannot accept heartbeat: no credentials of the peer") from None
        if uid not in (worker.uid, 0, os.geteuid()):
            raise ProtocolError(
                f"cannot accept heartbeat for {worker.path}: uid {uid} is not its own"
            )
        if self._belongs is not None and not self._belongs(worker.path, pid):
            raise ProtocolError(
                f"cannot accept heartbeat for {worker.path}: pid {pid} is not of it"
            )
