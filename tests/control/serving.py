"""A real control server on a real socket, in a thread with an event loop of its own, for blocking tests."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import Any, Self

from supervisord_ng.control.server import ControlServer, Handle

ANSWER_S = 60.0  # a slow machine with a flood of rubbish to read


class Serving:
    """What a test sees of the server: its directory, what it logged, and a way to look into its loop."""

    def __init__(self, runtime_dir: str) -> None:
        self.runtime_dir = runtime_dir
        self.path = f"{runtime_dir}/control.sock"
        self.logged: list[str] = []
        self.broken: list[str] = []
        self.now_ns = 0
        self.server: ControlServer
        self.loop: asyncio.AbstractEventLoop

    def call(self, function: Callable[[], Any]) -> Any:
        """Call `function` inside of the loop and return its result."""

        async def inside() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(inside(), self.loop).result(ANSWER_S)

    def close(self) -> None:
        """Close the server as the daemon does when it ends."""
        asyncio.run_coroutine_threadsafe(self.server.close(), self.loop).result(ANSWER_S)


class Peer:
    """A raw client: what it sends is what the test says, byte by byte."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(ANSWER_S)
        self.socket.connect(path)
        self._lines = self.socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self.socket.close()

    def send(self, **request: Any) -> None:
        """Send one request line."""
        self.send_bytes(json.dumps(request).encode() + b"\n")

    def send_bytes(self, data: bytes) -> None:
        """Send bytes."""
        self.socket.sendall(data)

    def read(self) -> Any:
        """The next document; None at the end of the connection."""
        try:
            line = self._lines.readline()
        except ConnectionResetError:
            return None
        return json.loads(line) if line else None


@contextlib.contextmanager
def serving(handle: Handle, *, control_group: int | None = None) -> Iterator[Serving]:
    """Serve `handle` while the block runs. Nothing is left behind."""
    runtime_dir = tempfile.mkdtemp(prefix="sng-", dir="/tmp")
    served = Serving(runtime_dir)
    started = threading.Event()
    stop: asyncio.Event

    async def serve() -> None:
        nonlocal stop
        stop = asyncio.Event()
        served.loop = asyncio.get_running_loop()
        served.loop.set_exception_handler(
            lambda _, context: served.broken.append(str(context["message"]))
        )
        served.server = ControlServer(
            served.path,
            handle,
            control_group=control_group,
            log=served.logged.append,
            clock=lambda: served.now_ns,
        )
        await served.server.start()
        started.set()
        await stop.wait()
        await served.server.close()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert started.wait(ANSWER_S), "the server did not start"
        yield served
    finally:
        served.loop.call_soon_threadsafe(stop.set)
        thread.join(ANSWER_S)
        shutil.rmtree(runtime_dir)
    assert not thread.is_alive(), "the server did not end"
    assert served.broken == [], "the loop heard of failures"
