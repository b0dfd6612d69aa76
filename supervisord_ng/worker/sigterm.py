"""The SIGTERM that sets a worker's `stopping`. Apart from the event: `signal` is slow to import."""

from __future__ import annotations

import signal
from types import FrameType

from supervisord_ng.worker.stopping import StopEvent


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
