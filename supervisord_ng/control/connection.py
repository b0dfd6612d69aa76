"""One connection of the control server: its bytes, its tasks, and when it counts as gone."""

from __future__ import annotations

import asyncio
import contextlib
import select
from collections.abc import Callable, Coroutine
from typing import Any

from supervisord_ng.control.access import Caller
from supervisord_ng.errors import ControlError
from supervisord_ng.limits import (
    CONTROL_IN_FLIGHT_MAX,
    CONTROL_STALL_S,
    CONTROL_STREAM_BACKLOG_MAX,
)
from supervisord_ng.model.messages import Request

Respond = Callable[["Connection", Request], Coroutine[Any, Any, None]]


class Connection:
    """A client while it is connected.

    Attributes:
        tasks: one for each of its requests that is not answered to the end. Cancelling one gives
            up the waiting or the stream, never a command.
        flush_s: seconds that `close` allows for what is written to be read.
    """

    def __init__(
        self,
        caller: Caller,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.caller = caller
        self.reader = reader
        self.tasks: set[asyncio.Task[None]] = set()
        self.flush_s = CONTROL_STALL_S
        self._streams: set[asyncio.Task[None]] = set()
        self._writer = writer
        writer.transport.set_write_buffer_limits(high=CONTROL_STREAM_BACKLOG_MAX)

    def begin(self, respond: Respond, request: Request) -> None:
        """Work on one of its requests beside the others.

        Raises:
            ControlError: too_many, as many as are allowed are not answered yet.
        """
        if len(self.tasks) >= CONTROL_IN_FLIGHT_MAX:
            raise ControlError(
                "too_many",
                f"cannot {request.verb}: {len(self.tasks)} requests are in progress here",
                "read the answers first",
            )
        task = asyncio.create_task(respond(self, request))
        self.tasks.add(task)
        task.add_done_callback(self._ended)

    def mark_stream(self) -> None:
        """Say that the request of the current task is a stream."""
        task = asyncio.current_task()
        assert task in self.tasks
        self._streams.add(task)

    def write(self, line: bytes) -> None:
        """Write without waiting."""
        self._writer.write(line)

    async def send(self, line: bytes) -> None:
        """Write; wait while more than CONTROL_STREAM_BACKLOG_MAX bytes have not been read.

        Raises:
            TimeoutError: the client left them unread for CONTROL_STALL_S and is cut off.
            ConnectionError: the client is gone.
        """
        self._writer.write(line)
        try:
            async with asyncio.timeout(CONTROL_STALL_S):
                await self._writer.drain()
        except TimeoutError:
            self._writer.transport.abort()
            raise

    async def answered(self) -> None:
        """Return when every request is answered, or there is nobody left to read the answers."""
        self.drop_if_hung_up()
        if self.tasks:
            await asyncio.wait(set(self.tasks))

    def drop_if_hung_up(self) -> None:
        """Give up what only this client waits for, if it has closed its end altogether.

        A client that has only shut down its sending side (``echo ... | socat``) has asked all it
        wanted and still reads. asyncio calls both the end of the file; poll(2) tells them apart.
        """
        if self.reader.at_eof() and self._is_hung_up():
            for task in self.tasks:
                task.cancel()

    def _is_hung_up(self) -> bool:
        if self._writer.is_closing():
            return True
        poller = select.poll()
        poller.register(self._writer.get_extra_info("socket").fileno(), 0)
        return any(happened & select.POLLHUP for _, happened in poller.poll(0))

    def cancel_streams(self) -> None:
        """End its streams."""
        for task in self._streams:
            task.cancel()

    async def close(self) -> None:
        """Close when what was written has been read, at the latest after `flush_s`."""
        for task in self.tasks:
            task.cancel()
        self._writer.close()
        try:
            with contextlib.suppress(ConnectionError):
                async with asyncio.timeout(self.flush_s):
                    await self._writer.wait_closed()
        except TimeoutError:
            self._writer.transport.abort()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        self._streams.discard(task)
        report_failure(task)


def report_failure(task: asyncio.Task[None]) -> None:
    """Hand what a task that nobody awaits has failed of to the loop's exception handler."""
    if not task.cancelled() and (error := task.exception()) is not None:
        task.get_loop().call_exception_handler(
            {"message": "a control connection failed", "exception": error, "task": task}
        )
