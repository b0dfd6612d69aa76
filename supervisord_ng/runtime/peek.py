"""Looks at what is in a pipe without taking it out: tee(2), which `os` does not have.

What a daemon has read and not yet written is lost when it is killed. So a block is written first and taken out
of the pipe afterwards.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os

from supervisord_ng import limits

_SPLICE_F_NONBLOCK = 2  # <fcntl.h>


class Peek:
    """One pipe of our own through which everybody's bytes are looked at, one after the other."""

    def __init__(self) -> None:
        self._tee = ctypes.CDLL(None, use_errno=True).tee
        self._tee.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_size_t, ctypes.c_uint)
        self._tee.restype = ctypes.c_ssize_t
        self._out, self._in = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        with contextlib.suppress(OSError):  # EPERM: the user's sum is reached; blocks are smaller
            fcntl.fcntl(self._in, fcntl.F_SETPIPE_SZ, limits.PIPE_BYTES)
        self._null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)

    def look(self, fd: int, count: int) -> bytes:
        """Return up to `count` of the bytes that come next, none where there are none. Never waits.

        Raises:
            OSError: it is no pipe.
        """
        found: int = self._tee(fd, self._in, count, _SPLICE_F_NONBLOCK)
        if found < 0:
            number = ctypes.get_errno()
            error = OSError(number, os.strerror(number))
            if isinstance(error, BlockingIOError):
                return b""
            raise error
        return os.read(self._out, found) if found else b""

    def take(self, fd: int, count: int) -> None:
        """Take the next `count` bytes out."""
        # A worker may read from its own standard output: what it took is no longer there to be taken.
        with contextlib.suppress(BlockingIOError):
            while count > 0:
                count -= os.splice(fd, self._null, count)

    def close(self) -> None:
        """Close the pipe."""
        for fd in (self._out, self._in, self._null):
            os.close(fd)
