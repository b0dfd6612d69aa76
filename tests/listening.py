"""A real heartbeat server in a thread of its own, for tests of both ends of the worker protocol."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self, TypeVar

import zmq

from supervisord_ng.runtime.heartbeats import HeartbeatServer, Received
from supervisord_ng.wire.heartbeat import WorkerMessage
from tests.support import eventually

INTERVAL_MS = 20
WAIT_S = 20.0
NOBODY = 65534

# As this user, a worker whose message never ends until its connection does; as often as $NUMBER says.
ENDLESS = rf"""
import os, socket
os.setgid({NOBODY})
os.setuid({NOBODY})
ready = b"\x05READY\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\0"
for _ in range(int(os.environ["NUMBER"])):
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(os.environ["SNG_HEARTBEAT"].removeprefix("ipc://"))
            connection.sendall(b"\xff" + bytes(8) + b"\x7f\x03\0NULL" + bytes(48))
            connection.recv(64, socket.MSG_WAITALL)
            connection.sendall(bytes((4, len(ready))) + ready)
            while True:
                connection.sendall(b"\1\0" * 100_000)
        except (BrokenPipeError, ConnectionResetError):
            pass
print("ended", flush=True)
"""

T = TypeVar("T")
M = TypeVar("M")


class Listening:
    """A `HeartbeatServer` with one worker, "root/w" in incarnation 1, who shows `token`."""

    def __init__(
        self,
        directory: Path,
        belongs: Callable[[str, int], bool] | None = None,
        token: str = "known-to-w-alone",
    ) -> None:
        self.path = str(directory / "heartbeat.sock")
        self.batches: list[list[Received]] = []
        self.rejections: list[str] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

        def listen() -> HeartbeatServer:
            server = HeartbeatServer(
                self._loop, self.path, self.batches.append, belongs, self.rejections.append
            )
            server.register(token, "root/w", 1, None, INTERVAL_MS)
            return server

        self.token = token
        self.server = self.call(listen)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.call(self.server.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def call(self, function: Callable[[], T]) -> T:
        """Call `function` in the server's thread; return what it returns."""

        async def called() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(called(), self._loop).result(WAIT_S)

    @property
    def messages(self) -> list[WorkerMessage]:
        """Everything valid that has come so far, in order."""
        return [message for batch in list(self.batches) for _, _, message in batch]

    def of(self, kind: type[M]) -> list[M]:
        """Those of this kind."""
        return [message for message in self.messages if type(message) is kind]

    def wait_for(self, kind: type[M], number: int = 1) -> M:
        """Wait until `number` of this kind have come; return the last of them."""
        name = f"{number} x {kind.__name__}"
        eventually(lambda: len(self.of(kind)) >= number, name, WAIT_S)
        return self.of(kind)[number - 1]

    def start(self, program: str, **environment: str) -> Program:
        """Start Python with this program text, as a worker of this server."""
        return Program(
            program, SNG_HEARTBEAT=self.server.endpoint, SNG_TOKEN=self.token, **environment
        )


class Program(subprocess.Popen[str]):
    """Python with this program text, in a session of its own. The end of `with` kills it."""

    def __init__(self, program: str, **environment: str) -> None:
        super().__init__(
            [sys.executable, "-c", textwrap.dedent(program)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __exit__(self, *_: object) -> None:
        self.kill()
        super().__exit__(None, None, None)


class Dealer:
    """A worker without SDK: a bare DEALER, as a program in another language would have it."""

    def __init__(self, endpoint: str) -> None:
        self._context = zmq.Context()
        self.socket: zmq.Socket[bytes] = self._context.socket(zmq.DEALER)
        self.socket.sndtimeo = self.socket.rcvtimeo = int(WAIT_S * 1000)
        self.socket.connect(endpoint)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._context.destroy(linger=0)

    def send(self, *frames: bytes) -> None:
        """Send one message."""
        self.socket.send_multipart(frames)

    def receive(self) -> list[bytes]:
        """Wait for one message."""
        return self.socket.recv_multipart()
