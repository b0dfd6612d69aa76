"""Output of workers: which pipe a stream goes through, to which log and whoever else looks on.

One `Capture` belongs to one worker for as long as the worker is in the tree. stdout and stderr share a pipe
when both are logged, which keeps their order exact, unless the format of the log tells them apart. What a
pipe is good for says `runtime.outlets`, how bytes move `runtime.intake`, how they look `runtime.logformat`;
rotation and disk errors are `runtime.logfile`'s.
"""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from supervisord_ng.errors import SpawnError
from supervisord_ng.model.logs import LineSplitter
from supervisord_ng.model.spec import LaunchSpec, LogSpec
from supervisord_ng.runtime.intake import Intake
from supervisord_ng.runtime.logfile import FILE_MODE, LogFile, place_of_end
from supervisord_ng.runtime.logformat import Raw, log_format
from supervisord_ng.runtime.outlets import ERR, OUT, Outlets

STDOUT, STDERR = "stdout", "stderr"
_OWN_FD = {STDOUT: 1, STDERR: 2}

T = TypeVar("T")

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
    """What one worker writes, through all of its lives, on its way into its log.

    Everything here happens in the order of the bytes: what is asked about one incarnation is answered when all
    that it wrote has been given to the log, and before anything of the next one.
    """

    def __init__(
        self, intake: Intake, log: LogFile, outlets: Outlets, name: str, tap: Tap | None = None
    ) -> None:
        """Prepare the capture; nothing is opened before `open_end`.

        Args:
            intake: carries the bytes.
            log: where they go; belongs to the capture, and to the thread of its writer, from now on.
            outlets: has the worker's pipes.
            name: of the worker.
            tap: called with each batch of lines; must not raise or block.
        """
        self.intake = intake
        self.log = log
        self.spec = log.spec
        self.outlets = outlets
        self.name = name
        self._tap = tap
        self._listener: Tap | None = None
        self._streams: dict[str, _Stream] = {}
        self._beginning = (
            0  # incarnations that have begun while bytes of an earlier one were on their way
        )
        self._mark = 0  # the writer's: where in the log the incarnation begins

    @property
    def dropped_bytes(self) -> int:
        """Bytes of output that were lost because the disk did not take them."""
        return self.log.dropped_bytes + sum(it.source.lost for it in self._streams.values())

    def configure(self, spec: LogSpec) -> None:
        """Change file, size and backups at once, the format with the next incarnation."""
        if spec != self.spec:
            self.spec = spec
            self.intake.writer.submit(lambda: setattr(self.log, "spec", spec))

    def begin(self, *streams: str) -> None:
        """Begin a new incarnation: what is in the pipes is of the last one, or of the time without a daemon.

        Args:
            streams: those that are captured, "stdout" and "stderr".

        Raises:
            OSError: the daemon is out of descriptors.
        """
        for stream in streams:
            self._open(self.pipe_of(stream))
        self.finish()
        self._beginning += 1
        self._after_what_is_there(self._begun)

    def open_end(self, stream: str, user: int | None) -> int:
        """Open what one stream of a new incarnation writes to, after `begin`.

        Args:
            stream: "stdout" or "stderr"; both are the same unless the format tells them apart.
            user: that it runs as, None for ours.

        Returns:
            The end to write to; the caller closes it once the process has it.

        Raises:
            OSError: the daemon is out of descriptors.
        """
        return self.outlets.open(self.name, self.pipe_of(stream)).open_end(user)

    def adopt(self, *streams: str) -> None:
        """Go on with an incarnation that an earlier daemon has started, and with what it wrote meanwhile.

        Args:
            streams: those that are captured, "stdout" and "stderr".

        Raises:
            OSError: the daemon is out of descriptors.
        """
        for stream in streams:
            self._open(self.pipe_of(stream))
        beginnings = [stream.source.outlet.notes.beginning() for stream in self._streams.values()]
        if beginnings:

            def mark() -> None:
                self._mark = self.log.mark_at(beginnings[0])

            self.intake.writer.submit(mark)

    def rescue(self) -> None:
        """Take what was written while no daemon ran, through whichever pipes there are."""
        for pipe in (OUT, ERR):
            if self.outlets.has(self.name, pipe):
                self._open(pipe)

    def pipe_of(self, stream: str) -> str:
        """Which pipe a stream goes through."""
        return ERR if stream == "stderr" and self.spec.format == "json" else OUT

    def listen(self, listener: Tap | None) -> None:
        """Let somebody else see the lines of this incarnation too, from now on; None: nobody any more."""
        self._listener = listener

    def show_now(self) -> None:
        """Show whoever looks on everything that is there: of a process that is dead, its last words."""
        if self.is_watched:
            for stream in self._streams.values():
                stream.source.show_now()

    def finish(self) -> None:
        """The incarnation is wholly gone: take what is left of it, a last line without an end as well."""
        for stream in self._streams.values():
            stream.source.mark(stream.flush)

    def when_written(self, read: Callable[[int], T], done: Callable[[T], None]) -> None:
        """Let somebody read the log when everything that the worker has written until now is in it.

        Args:
            read: called on the writer's thread with the number of bytes at the end of the log that are of this
                incarnation, for `reports.logtail.tail`.
            done: called in the loop with what `read` returned.
        """
        self._after_what_is_there(
            lambda: self.intake.writer.submit(lambda: read(self.log.since(self._mark)), done)
        )

    def reopen(self) -> None:
        """Let go of the file; what comes next opens its path again."""
        self.intake.writer.submit(self.log.reopen)

    def close(self) -> None:
        """Give everything that is there to the writer, and read no more. May be called twice."""
        for stream in self._streams.values():
            stream.source.close()
            stream.flush()
        self._streams.clear()
        self.intake.writer.submit(self.log.close)

    def detach(self) -> None:
        """Read no more, and leave to the next daemon what is in the pipes."""
        for stream in self._streams.values():
            stream.source.detach()
            stream.flush()
        self._streams.clear()
        self.intake.writer.submit(self.log.close)

    def _open(self, pipe: str) -> None:
        if pipe not in self._streams:
            self._streams[pipe] = _Stream(self, pipe)

    @property
    def is_watched(self) -> bool:
        """Whether anybody looks at the lines."""
        return self._tap is not None or self._listener is not None

    def _after_what_is_there(self, act: Callable[[], None]) -> None:
        """Call `act` when all that is in the pipes now was given to the writer; at once if nothing is."""
        left = len(self._streams)
        if left == 0:
            act()

        def reached() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                act()

        for stream in tuple(self._streams.values()):
            stream.source.mark(reached)

    def _begun(self) -> None:
        self._beginning -= 1
        for stream in self._streams.values():
            stream.format = log_format(self.spec, stream.name)

        notes = [stream.source.outlet.notes for stream in self._streams.values()]

        def mark() -> None:
            self._mark = self.log.mark()
            place = place_of_end(self.log.spec)
            for note in notes:
                note.begin(place)

        self.intake.writer.submit(mark)

    def show(self, lines: list[bytes]) -> None:
        """Hand lines to whoever looks on; the listener wants none of an earlier incarnation."""
        if lines and self._tap is not None:
            self._tap(lines)
        if lines and self._listener is not None and not self._beginning:
            self._listener(lines)


class _Stream:
    """One pipe of a capture, and what becomes of its bytes."""

    def __init__(self, capture: Capture, pipe: str) -> None:
        self._capture = capture
        self._splitter = LineSplitter()
        self.name = STDERR if pipe == ERR else STDOUT
        self.format = log_format(capture.spec, self.name)
        outlet = capture.outlets.open(capture.name, pipe)
        self.source = capture.intake.open(outlet, capture.log, self)

    @property
    def keeps_bytes(self) -> bool:
        """Whether what is written is what came."""
        return isinstance(self.format, Raw)

    def show(self, block: bytes) -> None:
        """Show it as lines."""
        if self._capture.is_watched:
            self._capture.show(self._splitter.feed(block))

    def whole(self, block: bytes) -> int:
        """All of it, or all whole lines."""
        return len(block) if self.keeps_bytes else block.rfind(b"\n") + 1

    def prepare(self, block: bytes) -> bytes:
        """What of it goes to the log now."""
        return self.format.feed(block)

    def flush(self) -> None:
        """Nothing will finish the last line: it counts as it is."""
        self._capture.show(self._splitter.flush())
        data, log = self.format.flush(), self._capture.log
        if data:
            self._capture.intake.writer.submit(lambda: log.append(data))


def captured(launch: LaunchSpec) -> list[str]:
    """Which streams of a worker go to its log."""
    streams = {STDOUT: launch.stdout, STDERR: launch.stderr}
    return [stream for stream, where in streams.items() if where == "log"]


def open_output(launch: LaunchSpec, capture: Capture) -> Output:
    """Open what a new incarnation writes to, and begin it in `capture`.

    A path that is named for both streams is opened once, so that they keep their order there too. A file is
    appended to and never rotated: it is not ours.

    Raises:
        SpawnError: a file or the pipe can not be opened; nothing is left open.
    """
    opened: dict[str, int] = {}
    try:
        capture.begin(*captured(launch))
        stdout = _open_stream(launch.stdout, STDOUT, launch.user, capture, opened)
        stderr = _open_stream(launch.stderr, STDERR, launch.user, capture, opened)
    except OSError as error:
        raise _cannot_open("output", "log", error) from error
    except SpawnError:
        for fd in opened.values():
            os.close(fd)
        raise
    return Output(stdout, stderr, tuple(opened.values()))


def _open_stream(
    where: str, stream: str, user: int | None, capture: Capture, opened: dict[str, int]
) -> int:
    """Return the descriptor for one stream; whatever had to be opened for it is added to `opened`."""
    if where == "null":
        return subprocess.DEVNULL
    if where == "inherit":
        return _OWN_FD[stream]
    key = capture.pipe_of(stream) if where == "log" else where  # a path has a slash
    if key not in opened:
        try:
            opened[key] = (
                capture.open_end(stream, user) if where == "log" else _open_for_append(where)
            )
        except OSError as error:
            raise _cannot_open(stream, where, error) from error
    return opened[key]


def _cannot_open(what: str, where: str, error: OSError) -> SpawnError:
    why = errno.errorcode.get(error.errno or 0, "EIO")
    words = (error.strerror or str(error)).lower()
    return SpawnError(why, f"cannot open {what}: {words}: {where}")


def _open_for_append(path: str) -> int:
    """Open a file, terminal or FIFO for a worker; a FIFO that nobody reads is ENXIO, open(2), not a wait."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY
    fd = os.open(path, flags, FILE_MODE)
    os.set_blocking(fd, True)
    return fd
