"""Output of workers: from their pipes into log files, in large blocks, and where else it may go.

One `Capture` belongs to one worker for as long as the worker is in the tree; every incarnation gets a pipe of
its own, so that what an earlier one left behind can not speak for a later one. stdout and stderr share the pipe
when both are logged, which keeps their order exact. Rotation and disk errors are `runtime.logfile`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import struct
import subprocess
import termios
from collections.abc import Callable
from typing import NamedTuple

from supervisord_ng import limits
from supervisord_ng.errors import SpawnError
from supervisord_ng.model.logs import LineSplitter
from supervisord_ng.model.spec import LaunchSpec
from supervisord_ng.runtime.logfile import FILE_MODE, LogFile

STDOUT, STDERR = 1, 2

Tap = Callable[[list[bytes]], None]
"""Receives complete lines without their newlines, split at `limits.LOG_LINE_MAX`."""


class Output(NamedTuple):
    """Where a new process shall write, as `runtime.spawner.spawn` takes it.

    The caller closes `to_close` when the process has been started, or could not be: an end of the pipe that
    stays open here would hide the end of the output.
    """

    stdout: int
    stderr: int
    to_close: tuple[int, ...]


class Capture:
    """Carries what one worker writes into its log, a bounded amount in one turn of the loop."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, log: LogFile, tap: Tap | None = None
    ) -> None:
        """Prepare the capture; nothing is opened before `begin` or `open_pipe`.

        Args:
            loop: the running loop.
            log: where the bytes go. Stays the caller's to close.
            tap: called with each batch of lines after they went to the log; must not raise or block.
        """
        self.log = log
        self._loop = loop
        self._tap = tap
        self._listener: Tap | None = None
        self._splitter = LineSplitter()
        self._read_fd = -1
        self._mark = log.mark()
        self._enlarge_at: int | None = None  # a read of this size says that the pipe is too small

    def begin(self) -> None:
        """Begin a new incarnation: take what is left in the pipe of the last one and close that."""
        self.close()
        self._mark = self.log.mark()

    def open_pipe(self) -> int:
        """Begin a new incarnation that is captured.

        Returns:
            The end to write to; the caller closes it once the process has it.

        Raises:
            OSError: the daemon is out of descriptors.
        """
        self.begin()
        read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(read_fd, False)
        # Only a worker that has filled half of its pipe gets a larger one. The kernel allows an ordinary user
        # a sum (pipe-user-pages-soft, pipe(7)) and gives whoever exceeds it pipes of two pages.
        self._enlarge_at = fcntl.fcntl(read_fd, fcntl.F_GETPIPE_SZ) // 2
        self._read_fd = read_fd
        self._loop.add_reader(read_fd, self._readable)
        return write_fd

    def listen(self, listener: Tap | None) -> None:
        """Let somebody else see the lines too, from now on; None: nobody any more."""
        self._listener = listener

    def drain_now(self) -> None:
        """Take everything that is in the pipe at this moment; never waits.

        To be called when the process has exited, so that its last words are in the log before anybody reads
        it. A descendant that goes on writing is not waited for: the amount is asked of the kernel first.
        """
        if self._read_fd < 0:
            return
        answer = fcntl.ioctl(self._read_fd, termios.FIONREAD, struct.pack("i", 0))
        (waiting,) = struct.unpack("i", answer)
        while waiting > 0:
            block = os.read(self._read_fd, min(waiting, limits.LOG_READ_BYTES))
            self._take(block)
            waiting -= len(block)

    def output_bytes(self) -> int:
        """Say how many bytes at the end of the log are of this incarnation, for `reports.logtail.tail`."""
        return self.log.since(self._mark)

    def close(self) -> None:
        """Take what is in the pipe and close it. May be called twice."""
        if self._read_fd < 0:
            return
        self.drain_now()
        self._end()

    def _readable(self) -> None:
        """Move up to LOG_TURN_BYTES; what is left makes the loop call again, after everybody else's turn."""
        for _ in range(limits.LOG_TURN_BYTES // limits.LOG_READ_BYTES):
            try:
                block = os.read(self._read_fd, limits.LOG_READ_BYTES)
            except BlockingIOError:
                return
            if not block:
                self._end()
                return
            self._take(block)
            if self._enlarge_at is not None and len(block) >= self._enlarge_at:
                self._enlarge()
            if len(block) < limits.LOG_READ_BYTES:
                return  # the pipe was emptied; asking again would cost a system call to hear so

    def _take(self, block: bytes) -> None:
        """Hand one block on: to the file first, then to whoever looks on."""
        self.log.append(block)
        if self._tap is not None or self._listener is not None:
            self._show(self._splitter.feed(block))

    def _show(self, lines: list[bytes]) -> None:
        for look in (self._tap, self._listener):
            if lines and look is not None:
                look(lines)

    def _enlarge(self) -> None:
        """Give a worker that writes much a larger pipe, so that both sides wake up less often."""
        self._enlarge_at = None
        with contextlib.suppress(
            OSError
        ):  # EPERM: the user's sum is reached; the pipe stays as it is
            fcntl.fcntl(self._read_fd, fcntl.F_SETPIPE_SZ, limits.PIPE_BYTES)

    def _end(self) -> None:
        """Close the pipe and hand on a last line that has no end."""
        self._loop.remove_reader(self._read_fd)
        os.close(self._read_fd)
        self._read_fd = -1
        self._show(self._splitter.flush())


def open_output(launch: LaunchSpec, capture: Capture) -> Output:
    """Open what a new incarnation writes to, and begin it in `capture`.

    A path that is named for both streams is opened once, so that they keep their order there too. A file is
    appended to and never rotated: it is not ours.

    Raises:
        SpawnError: a file or the pipe can not be opened; nothing is left open.
    """
    capture.begin()
    opened: dict[str, int] = {}
    try:
        stdout = _open_stream(launch.stdout, "stdout", STDOUT, capture, opened)
        stderr = _open_stream(launch.stderr, "stderr", STDERR, capture, opened)
    except SpawnError:
        for fd in opened.values():
            os.close(fd)
        raise
    return Output(stdout, stderr, tuple(opened.values()))


def _open_stream(
    where: str, name: str, own_fd: int, capture: Capture, opened: dict[str, int]
) -> int:
    """Return the descriptor for one stream; whatever had to be opened for it is added to `opened`."""
    if where == "null":
        return subprocess.DEVNULL
    if where == "inherit":
        return own_fd
    if where not in opened:
        try:
            opened[where] = capture.open_pipe() if where == "log" else _open_for_append(where)
        except OSError as error:
            why = errno.errorcode.get(error.errno or 0, "EIO")
            words = (error.strerror or str(error)).lower()
            raise SpawnError(why, f"cannot open {name}: {words}: {where}") from error
    return opened[where]


def _open_for_append(path: str) -> int:
    """Open a file, terminal or FIFO for a worker; a FIFO that nobody reads is ENXIO, open(2), not a wait."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY
    fd = os.open(path, flags, FILE_MODE)
    os.set_blocking(fd, True)
    return fd
