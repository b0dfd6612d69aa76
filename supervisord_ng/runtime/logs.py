"""Output of workers: from their FIFOs into log files, in large blocks, and where else it may go.

One `Capture` belongs to one worker for as long as the worker is in the tree. stdout and stderr share a FIFO
when both are logged, which keeps their order exact. Rotation and disk errors are `runtime.logfile`'s, what a
FIFO is good for says `runtime.outlets`.
"""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
from collections.abc import Callable
from typing import NamedTuple

from supervisord_ng import limits
from supervisord_ng.errors import SpawnError
from supervisord_ng.model.logs import LineSplitter
from supervisord_ng.model.spec import LaunchSpec
from supervisord_ng.runtime.logfile import FILE_MODE, LogFile
from supervisord_ng.runtime.outlets import Outlet, Outlets

STDOUT, STDERR = 1, 2

Tap = Callable[[list[bytes]], None]
"""Receives complete lines without their newlines, split at `limits.LOG_LINE_MAX`."""


class Output(NamedTuple):
    """Where a new process shall write, as `runtime.spawner.spawn` takes it.

    The caller closes `to_close` when the process has been started, or could not be: they are the worker's.
    """

    stdout: int
    stderr: int
    to_close: tuple[int, ...]


class Capture:
    """Carries what one worker writes into its log, a bounded amount in one turn of the loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        log: LogFile,
        outlets: Outlets,
        name: str,
        tap: Tap | None = None,
    ) -> None:
        """Prepare the capture; nothing is opened before `open_end`.

        Args:
            loop: the running loop.
            log: where the bytes go. Stays the caller's to close.
            outlets: has the worker's FIFO, for all of its lives.
            name: of the worker.
            tap: called with each batch of lines after they went to the log; must not raise or block.
        """
        self.log = log
        self._loop = loop
        self._outlets = outlets
        self._name = name
        self._tap = tap
        self._listener: Tap | None = None
        self._splitter = LineSplitter()
        self._outlet: Outlet | None = None
        self._mark = log.mark()

    def begin(self) -> None:
        """Begin a new incarnation: what is in the FIFO is of the last one, or of the time without a daemon."""
        self.finish()
        self._mark = self.log.mark()

    def open_end(self, user: int | None) -> int:
        """Begin a new incarnation that is captured.

        Args:
            user: that it runs as, None for ours.

        Returns:
            The end to write to; the caller closes it once the process has it.

        Raises:
            OSError: the daemon is out of descriptors.
        """
        self._open()
        self.begin()
        assert self._outlet is not None
        return self._outlet.open_end(user)

    def adopt(self) -> None:
        """Go on with an incarnation that an earlier daemon has started, and with what it wrote meanwhile.

        Raises:
            OSError: the daemon is out of descriptors.
        """
        self._open()

    def listen(self, listener: Tap | None) -> None:
        """Let somebody else see the lines too, from now on; None: nobody any more."""
        self._listener = listener

    def drain_now(self) -> None:
        """Take everything that is in the FIFO at this moment; never waits.

        To be called when the process has exited, so that its last words are in the log before anybody reads
        it. A descendant that goes on writing is not waited for: the amount is asked of the kernel first.
        """
        if self._outlet is None:
            return
        waiting = self._outlet.waiting()
        while waiting > 0:
            block = os.read(self._outlet.fd, min(waiting, limits.LOG_READ_BYTES))
            self._take(block)
            waiting -= len(block)

    def finish(self) -> None:
        """The incarnation is wholly gone: take what is left of it, a last line without an end as well."""
        self.drain_now()
        self._show(self._splitter.flush())

    def output_bytes(self) -> int:
        """Say how many bytes at the end of the log are of this incarnation, for `reports.logtail.tail`."""
        return self.log.since(self._mark)

    def close(self) -> None:
        """Take what is in the FIFO and read no more. May be called twice."""
        if self._outlet is None:
            return
        self.finish()
        self._loop.remove_reader(self._outlet.fd)
        self._outlet = None

    def _open(self) -> None:
        if self._outlet is None:
            self._outlet = self._outlets.open(self._name)
            self._loop.add_reader(self._outlet.fd, self._readable)

    def _readable(self) -> None:
        """Move up to LOG_TURN_BYTES; what is left makes the loop call again, after everybody else's turn."""
        assert self._outlet is not None
        for _ in range(limits.LOG_TURN_BYTES // limits.LOG_READ_BYTES):
            try:
                block = os.read(self._outlet.fd, limits.LOG_READ_BYTES)
            except BlockingIOError:
                return
            self._take(block)
            if 2 * len(block) >= self._outlet.capacity < limits.PIPE_BYTES:
                self._outlet.enlarge()
            if len(block) < limits.LOG_READ_BYTES:
                return  # the FIFO was emptied; asking again would cost a system call to hear so

    def _take(self, block: bytes) -> None:
        """Hand one block on: to the file first, then to whoever looks on."""
        self.log.append(block)
        if self._tap is not None or self._listener is not None:
            self._show(self._splitter.feed(block))

    def _show(self, lines: list[bytes]) -> None:
        for look in (self._tap, self._listener):
            if lines and look is not None:
                look(lines)


def open_output(launch: LaunchSpec, capture: Capture) -> Output:
    """Open what a new incarnation writes to, and begin it in `capture`.

    A path that is named for both streams is opened once, so that they keep their order there too. A file is
    appended to and never rotated: it is not ours.

    Raises:
        SpawnError: a file or the FIFO can not be opened; nothing is left open.
    """
    capture.begin()
    opened: dict[str, int] = {}
    try:
        stdout = _open_stream(launch.stdout, "stdout", STDOUT, capture, launch.user, opened)
        stderr = _open_stream(launch.stderr, "stderr", STDERR, capture, launch.user, opened)
    except SpawnError:
        for fd in opened.values():
            os.close(fd)
        raise
    return Output(stdout, stderr, tuple(opened.values()))


def _open_stream(
    where: str,
    name: str,
    own_fd: int,
    capture: Capture,
    user: int | None,
    opened: dict[str, int],
) -> int:
    """Return the descriptor for one stream; whatever had to be opened for it is added to `opened`."""
    if where == "null":
        return subprocess.DEVNULL
    if where == "inherit":
        return own_fd
    if where not in opened:
        try:
            opened[where] = capture.open_end(user) if where == "log" else _open_for_append(where)
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
