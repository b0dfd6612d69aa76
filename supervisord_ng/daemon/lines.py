"""Lines for a person or a service manager, on a descriptor that may be stuck: nobody waits for it.

A terminal can be stopped (Ctrl-S), a pipe unread, a journal busy. What there is no room for is dropped, and how
many lines that were is said before the next one.
"""

from __future__ import annotations

import os
import select


class Lines:
    """The end that is written to.

    Args:
        fd: a descriptor. It is shared with whoever started us, so it is not made non-blocking: a write of at
            most PIPE_BUF bytes does not block where poll(2) finds room.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._dropped = 0
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)

    def write(self, line: str) -> None:
        """Write a line, which has no newline yet."""
        if self._dropped:
            line = f"[{self._dropped} lines not shown: nobody took them in time]\n{line}"
        data = f"{line}\n".encode(errors="replace")
        try:
            for at in range(0, len(data), select.PIPE_BUF):
                if not self._poll.poll(0):
                    self._dropped += 1
                    return
                os.write(self._fd, data[at : at + select.PIPE_BUF])
        except OSError:  # it is gone, or the disk below it is full; supervision goes on
            self._dropped += 1
        else:
            self._dropped = 0
