"""Everything that touches the disk for workers' output, on a thread of its own.

A disk may be slow: a write can hang for as long as the kernel likes. Only this thread hangs with it. It does
what it is given in the order in which it was given, and the loop hears when each is done. What is to be done
while the disk does nothing is `runtime.intake`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, NamedTuple

from supervisord_ng import limits
from supervisord_ng.runtime import clock


class _Job(NamedTuple):
    act: Callable[[], Any]
    done: Callable[[Any], None] | None
    size: int


class LogWriter:
    """The thread and what waits for it; everything but the jobs themselves happens in the loop.

    Args:
        loop: of the daemon.
        on_stall: called when a job takes longer than `limits.LOG_STALL_NS`. `is_stalled` is true from then on
            until nothing waits any more.
        on_progress: called after jobs were done.

    Attributes:
        queued_bytes: the sizes of all jobs that are not done.
        is_stalled: see `on_stall`.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_stall: Callable[[], None],
        on_progress: Callable[[], None],
    ) -> None:
        self.queued_bytes = 0
        self.is_stalled = False
        self._loop = loop
        self._on_stall = on_stall
        self._on_progress = on_progress
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._done: deque[tuple[_Job, Any, Exception | None]] = deque()
        self._is_told = False  # the loop has been woken for what is in _done
        self._is_closed = False
        self._undone = 0
        self._progress_ns = 0  # when a job was done last, or the first was given
        self._timer: asyncio.TimerHandle | None = None
        self._thread = threading.Thread(target=self._work, name="log-writer", daemon=True)
        self._thread.start()

    def submit(
        self,
        act: Callable[[], Any],
        done: Callable[[Any], None] | None = None,
        *,
        size: int = 0,
    ) -> None:
        """Do something on the thread after all that was submitted before.

        Args:
            act: what to do; it may wait for the disk.
            done: called in the loop with what `act` returned.
            size: how many bytes of memory it holds.
        """
        if self._undone == 0:
            self._progress_ns = clock.monotonic_ns()
            if self._timer is None:
                self._look_after(limits.LOG_STALL_NS)
        self._undone += 1
        self.queued_bytes += size
        self._jobs.put(_Job(act, done, size))

    def close(self, timeout_s: float) -> bool:
        """Do what is left, and end; say whether it was done within `timeout_s`. `done` is called of nothing."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._jobs.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    # --- the thread ----------------------------------------------------------------------------------------
    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            result: Any = None
            failure: Exception | None = None
            try:
                result = job.act()
            except Exception as error:  # noqa: BLE001 - it is raised again in the loop
                failure = error
            self._done.append((job, result, failure))
            del job, result
            if not self._is_told:
                self._is_told = True
                with contextlib.suppress(RuntimeError):  # the loop is closed: nobody wants to know
                    self._loop.call_soon_threadsafe(self._deliver)

    # --- the loop ------------------------------------------------------------------------------------------
    def _deliver(self) -> None:
        self._is_told = False  # before the look: what is added after it is told anew
        if self._is_closed:
            return
        self._progress_ns = clock.monotonic_ns()
        while self._done:
            job, result, failure = self._done.popleft()
            self._undone -= 1
            self.queued_bytes -= job.size
            if self._undone == 0:
                self.is_stalled = False
            if failure is not None:
                self._loop.call_exception_handler(
                    {"message": "cannot carry output on", "exception": failure}
                )
            if job.done is not None:
                job.done(result)
        self._on_progress()

    def _look_after(self, delay_ns: int) -> None:
        self._timer = self._loop.call_later(delay_ns / limits.SECOND, self._look)

    def _look(self) -> None:
        """The timer, which runs while there is something to do: is anything being done?"""
        self._timer = None
        if self._undone == 0:
            return
        silent_ns = clock.monotonic_ns() - self._progress_ns
        if silent_ns < limits.LOG_STALL_NS:
            self._look_after(limits.LOG_STALL_NS - silent_ns)
            return
        self._look_after(limits.LOG_STALL_NS)
        if not self.is_stalled:
            self.is_stalled = True
            self._on_stall()
