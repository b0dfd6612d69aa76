"""The event that tells a worker to end, and the SIGTERM that sets it. Knows no daemon."""

from __future__ import annotations

import os
import select
import signal
from types import FrameType


class StopEvent:
    """Like `threading.Event`, but may be set by a signal handler, and has a descriptor to wait for.

    A `threading.Event` is not made for that: its lock may be held by the very code that the signal
    interrupted. Here the state is an eventfd(2) that is written once and never read. A fork
    shares it, and so learns that its parent shall end.
    """

    def __init__(self) -> None:
        self._descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def __del__(self) -> None:
        os.close(self._descriptor)

    def is_set(self) -> bool:
        """Say whether the worker shall end."""
        return self.wait(0)

    def set(self) -> None:
        """Tell the worker to end. There is no way back."""
        os.eventfd_write(self._descriptor, 1)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end, at most `timeout` seconds (None: for ever); say whether it is set."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        return bool(poll.poll(None if timeout is None else max(0.0, timeout * 1000)))

    def fileno(self) -> int:
        """The descriptor that becomes readable with the event, for select and event loops."""
        return self._descriptor


class TermHandler:
    """SIGTERM sets a `StopEvent`, and does what it did before.

    Where nobody watches the event, SIGTERM does only what it did before: by default it ends the
    process. So a worker that knows nothing of stopping is not made deaf.

    CPython may notice a signal late that comes just before a blocking call; the supervisor's `stop`
    frame comes beside its SIGTERM and ends the wait all the same.

    Outside of the main thread no handler can be set (signal(3)); then only the supervisor's
    `stop` counts.
    """

    def __init__(self, event: StopEvent) -> None:
        self.watched = False
        self._event = event
        self._previous = signal.getsignal(signal.SIGTERM)
        self._installed = False
        try:
            signal.signal(signal.SIGTERM, self._handle)
            self._installed = True
        except ValueError:
            pass  # not the main thread

    def restore(self) -> None:
        """Give SIGTERM back, unless somebody else has taken it meanwhile."""
        if self._installed and signal.getsignal(signal.SIGTERM) == self._handle:
            # None: the handler was set by C code, which Python cannot put back.
            signal.signal(signal.SIGTERM, self._previous or signal.SIG_DFL)
        self._installed = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._event.set()
        if callable(self._previous):
            self._previous(number, frame)
        elif not self.watched:
            self.restore()
            signal.raise_signal(number)
