"""The SDK for asyncio: unhandled exceptions of the loop, its tasks in a dump, a stop to await."""

from __future__ import annotations

import asyncio
import itertools
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from types import FrameType
from typing import Any

from supervisord_ng import limits
from supervisord_ng.worker import Worker

# What coroutines, generators and asynchronous generators have for `inspect`: frame, and what they wait for.
_KINDS = ("cr", "gi", "ag")
_AWAITS = ("cr_await", "gi_yieldfrom", "ag_await")


class AsyncWorker(Worker):
    """A `Worker` in an event loop. Of all that it has only ``stopping.wait()`` blocks."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self._stop_seen = asyncio.Event()
        self._previous_handler = loop.get_exception_handler()
        loop.add_reader(self._stop_event.fileno(), self._see_stop)
        if self._heart is not None:
            loop.set_exception_handler(self._unhandled)
            self._heart.more_stacks = self._tasks

    async def wait_stopping(self) -> None:
        """Wait until the worker shall end; see `Worker.stopping`."""
        if not self.stopping.is_set():
            await self._stop_seen.wait()

    def _release(self) -> None:
        super()._release()
        self._loop.remove_reader(self._stop_event.fileno())
        if self._loop.get_exception_handler() == self._unhandled:
            self._loop.set_exception_handler(self._previous_handler)

    def _see_stop(self) -> None:
        self._loop.remove_reader(self._stop_event.fileno())
        self._stop_seen.set()

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, BaseException):
            self.crash(error)
        if self._previous_handler is None:
            loop.default_exception_handler(context)
        else:
            self._previous_handler(loop, context)

    def _tasks(self) -> str:
        # Called in the heart's thread while the loop is stuck or not; all_tasks() copes with both.
        return "".join(f"\n{_described(task)}" for task in asyncio.all_tasks(self._loop))


def _described(task: asyncio.Task[Any]) -> str:
    """A task and where it waits. Task.get_stack has only the outermost frame of who is suspended."""
    frames = traceback.StackSummary.extract(
        itertools.islice(_frames(task.get_coro()), limits.STACK_FRAMES_MAX)
    )
    return f"Task {task.get_name()} (most recent call last):\n{''.join(frames.format())}"


def _frames(awaited: Any) -> Iterator[tuple[FrameType, int]]:
    """Of a coroutine, of what it awaits, and so on, down to what is none: a future, or nothing."""
    while awaited is not None:
        for kind in _KINDS:
            frame = getattr(awaited, f"{kind}_frame", None)
            if frame is not None:
                yield frame, frame.f_lineno
        awaited = next(
            (below for name in _AWAITS if (below := getattr(awaited, name, None)) is not None), None
        )


@asynccontextmanager
async def attached() -> AsyncIterator[AsyncWorker]:
    """Attach for as long as the block runs. A cancellation that leaves the block is no crash."""
    w = AsyncWorker(asyncio.get_running_loop())
    try:
        yield w
    except Exception as error:
        w.crash(error)
        raise
    finally:
        w.detach()
