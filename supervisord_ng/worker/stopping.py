"""The event that tells a worker to end. Knows no daemon; who sets it is in `sigterm` and `heart`."""

from __future__ import annotations

import os
import select


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
