"""Signals as callbacks of the loop, for as many as may come at once.

asyncio's own `add_signal_handler` hands the numbers over through a socket: when many workers die within one
turn of the loop, it is full after some 280 of them. A SIGTERM that comes then is lost; and CPython wants to
warn of it from inside of the signal handler, for which it takes a lock that the interrupted thread may hold
already: for ever. Here a handler in Python notes the number, and the pipe only says that there is something
to look for, as in trio.

Signals belong to the process, so this module does.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from types import FrameType

from supervisord_ng import limits


class _Wakeup:
    """The pipe that wakes the loop, while anybody handles signals."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.actions: dict[int, Callable[[], None]] = {}
        self._loop = loop
        self._arrived: dict[int, None] = {}  # a set that keeps the order
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        loop.add_reader(self._read, self._dispatch)

    def note(self, number: int, _frame: FrameType | None) -> None:
        """Python calls this in the main thread, between two instructions of whatever runs there."""
        self._arrived[number] = None

    def undelivered(self) -> tuple[int, ...]:
        """What has come and was not acted on."""
        return tuple(self._arrived)

    def close(self) -> None:
        """Wake nobody any more."""
        signal.set_wakeup_fd(-1)
        self._loop.remove_reader(self._read)
        os.close(self._read)
        os.close(self._write)

    def _dispatch(self) -> None:
        """Signals were noted before this runs: Python calls handlers when a function begins."""
        os.read(self._read, limits.SIGNAL_BYTES)
        arrived, self._arrived = self._arrived, {}
        for number in arrived:
            action = self.actions.get(number)
            if action is not None:
                self._loop.call_soon(action)


class _Process:
    """What this process has of it."""

    wakeup: _Wakeup | None = None


def handle(loop: asyncio.AbstractEventLoop, number: int, action: Callable[[], None]) -> None:
    """Call `action` from the loop when a signal has come; once for several that come at once.

    Must be called from the main thread, with the same loop until everything is forgotten.
    """
    if _Process.wakeup is None:
        _Process.wakeup = _Wakeup(loop)
    _Process.wakeup.actions[number] = action
    signal.signal(number, _Process.wakeup.note)
    signal.siginterrupt(number, False)  # a system call that was interrupted goes on


def forget(number: int) -> None:
    """Let a signal have its default action again; no matter whether it is handled."""
    wakeup = _Process.wakeup
    if wakeup is None or wakeup.actions.pop(number, None) is None:
        return
    signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    if not wakeup.actions:
        wakeup.close()
        _Process.wakeup = None


def undelivered() -> tuple[int, ...]:
    """The signals that have come while the loop did not run, in their order."""
    return () if _Process.wakeup is None else _Process.wakeup.undelivered()
