"""One log file that rotates by size, survives whatever happens to it on disk, and never raises.

Bytes go in as they came. `NAME.log` becomes `NAME.log.1`, that becomes `NAME.log.2`, up to `backups`; read from
the oldest to the newest they are exactly what was appended. Knows nothing of pipes, workers and the loop.

Writes are ordinary blocking writes: whoever must not wait for a slow disk calls from a thread of its own, as
`runtime.logwriter` does.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable
from typing import NamedTuple

from supervisord_ng import limits
from supervisord_ng.model.logs import backup_path
from supervisord_ng.model.spec import LogSpec

FILE_MODE = 0o640  # output may hold secrets: the daemon's group may read it, others may not
DIRECTORY_MODE = 0o750

# O_NONBLOCK and O_NOCTTY matter when somebody names a FIFO or a terminal: neither may hold up the daemon, and
# what such a reader does not take is counted as lost. O_RDWR because a rotation reads the last line back.
OPEN_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY


class Place(NamedTuple):
    """A place in a log: which file (device and inode), and how large it is there."""

    file: tuple[int, int]
    size: int


class LogFile:
    """The log of one worker. Opened by the first `append`, and again whenever the file was moved or deleted.

    Rotation is at line ends, and no file grows above `spec.max_bytes`. For that an unfinished line at the end
    of a full file moves to the next one. A line longer than `max_bytes`, and an unfinished one longer than
    `limits.LOG_LINE_MAX`, is split between two files instead. Only regular files rotate.

    Attributes:
        spec: what the configuration says of this file; a new one may be assigned, also with another path.
        dropped_bytes: bytes that could not be written since this object exists.
    """

    def __init__(self, spec: LogSpec, on_loss: Callable[[str], None] | None = None) -> None:
        """Prepare the log that `spec` describes; touches no disk.

        Args:
            spec: path, size and number of backups.
            on_loss: called with the reason when bytes are lost after a time in which none were; may be called
                often when a disk is full on and off.
        """
        self.spec = spec
        self.dropped_bytes = 0
        self._on_loss = on_loss
        self._fd = -1
        self._identity = (0, 0)  # device and inode of the file behind _fd, kept after close()
        self._regular = False
        self._size = 0
        self._written = 0  # bytes that went into the files since this object exists
        self._floor = 0  # what was written before this can no longer be found at the path
        self._lost = 0  # bytes lost that the file does not tell of yet
        self._why = ""

    def append(self, data: bytes, begin: Callable[[Place], None] | None = None) -> int:
        """Write `data`; rotate where it no longer fits. Never raises for what the disk does.

        Args:
            data: what to write.
            begin: told where, just before it is written.

        Returns:
            How many bytes were lost, 0 as a rule. A line in the file tells of them once writing works again.
        """
        goal = self._written + len(data)
        try:
            self._ensure_current()
            if self._lost:
                goal += self._tell_loss()
            if begin is not None:
                begin(Place(self._identity, self._size))
            self._write_rotating(data)
        except OSError as error:
            lost = goal - self._written
            self.lose(lost, (error.strerror or str(error)).lower())
            return lost
        return 0

    def lose(self, count: int, why: str) -> None:
        """Count bytes that could not be written; the next `append` that succeeds tells of them in the file."""
        first = self._lost == 0
        self._lost += count
        self._why = why
        self.dropped_bytes += count
        if first and self._on_loss is not None:
            self._on_loss(why)

    def mark(self) -> int:
        """Return the place where the next byte will go; give it to `since` later."""
        return self._written

    def mark_at(self, place: Place | None) -> int:
        """Return the mark of a place that an earlier daemon has noted; None: of the beginning of the log."""
        try:
            self._ensure_current()
            count = bytes_since(self.spec, place)
        except OSError:
            return self.mark()
        self._floor = self._written - count
        return self._floor

    def since(self, mark: int) -> int:
        """Say how many bytes at the end of the log were written after `mark`.

        What somebody deleted, moved or truncated meanwhile does not count: it can no longer be read here.
        """
        return max(
            self._written - max(mark, self._floor), 0
        )  # a line that failed to move is not there

    def reopen(self) -> None:
        """Let go of the file; the next `append` opens the path again. For logrotate(8) and SIGUSR1."""
        self.close()

    def close(self) -> None:
        """Close the file. May be called twice; `append` opens it again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _ensure_current(self) -> None:
        """Make sure that the open file is the one at the path, and learn its size.

        One stat(2) for a block of up to LOG_READ_BYTES is what it costs not to write into a deleted file.
        """
        identity, size = self._identity, self._size
        if self._fd >= 0:
            try:
                found = os.stat(self.spec.file)
            except FileNotFoundError:
                self.close()
            else:
                if (found.st_dev, found.st_ino) == identity:
                    self._size = found.st_size
                else:
                    self.close()
        if self._fd < 0:
            self._open()
        if self._identity != identity or self._size < size:
            self._floor = self._written

    def _open(self) -> None:
        """Open or create the file, and its directory when that is gone too."""
        try:
            self._fd = os.open(self.spec.file, OPEN_FLAGS, FILE_MODE)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(self.spec.file), DIRECTORY_MODE, exist_ok=True)
            self._fd = os.open(self.spec.file, OPEN_FLAGS, FILE_MODE)
        found = os.fstat(self._fd)
        self._identity = (found.st_dev, found.st_ino)
        self._regular = stat.S_ISREG(found.st_mode)
        self._size = found.st_size

    def _write_rotating(self, data: bytes) -> None:
        """Write `data`, cut at the last line end that fits into each file."""
        while self._must_rotate(len(data)):
            room = max(self.spec.max_bytes - self._size, 0)
            cut = data.rfind(b"\n", 0, room) + 1
            carried = b""
            if cut == 0:
                unfinished = self._unfinished_line()
                if unfinished is None:
                    cut = room
                else:
                    carried = unfinished
            self._write(data[:cut])
            data = data[cut:]
            self._rotate(carried)
        self._write(data)

    def _must_rotate(self, count: int) -> bool:
        """Say whether `count` more bytes would be too many for this file."""
        if not self._regular or self.spec.max_bytes == 0:
            return False
        return self._size + count > self.spec.max_bytes

    def _unfinished_line(self) -> bytes | None:
        """Return what stands behind the last line end of the file, which may be nothing.

        None: there is no line end in reach, so that moving the unfinished line would gain nothing.
        """
        reach = min(self._size, limits.LOG_LINE_MAX)
        end = os.pread(self._fd, reach, self._size - reach)
        cut = end.rfind(b"\n")
        return None if cut < 0 else end[cut + 1 :]

    def _rotate(self, carried: bytes) -> None:
        """Start a new file, with the unfinished line `carried` moved from the end of the old one.

        The old file is shortened after it left the path and before a new one stands there, so that a reader
        that goes by the path finds each byte in exactly one of the two.
        """
        shift_backups(self.spec.file, self.spec.backups)
        if carried:
            os.ftruncate(self._fd, self._size - len(carried))
            self._written -= len(carried)
        if self.spec.backups == 0:
            self._floor = self._written
        self.close()
        self._open()
        self._write(carried)

    def _write(self, data: bytes) -> None:
        """Write all of `data` to the open file; OSError says that `_written` tells how far it came."""
        view = memoryview(data)
        while view:
            count = os.write(self._fd, view)
            self._size += count
            self._written += count
            view = view[count:]

    def _tell_loss(self) -> int:
        """Write the line that tells of lost bytes, wholly or not at all. Returns its length."""
        line = f"[supervisord-ng: {self._lost} bytes of output lost: {self._why}]\n".encode()
        if self._regular and self._size and os.pread(self._fd, 1, self._size - 1) != b"\n":
            line = b"\n" + line
        if self._must_rotate(len(line)) and self._size:
            self._rotate(b"")
        size, written = self._size, self._written
        try:
            self._write(line)
        except OSError:
            with contextlib.suppress(
                OSError
            ):  # the same broken disk; the next append learns the size
                os.ftruncate(self._fd, size)
            self._written = written
            raise
        self._lost = 0
        return len(line)


def place_of_end(spec: LogSpec) -> Place | None:
    """Return where the next byte of a log will go, None where there is no file yet or none to be seen."""
    try:
        found = os.stat(spec.file)
    except OSError:
        return None
    return Place((found.st_dev, found.st_ino), found.st_size)


def bytes_since(spec: LogSpec, place: Place | None) -> int:
    """Say how many bytes of a log are behind a place, through all rotations since; all where it is not found.

    Raises:
        OSError: the log can not be looked at.
    """
    total = 0
    for number in range(spec.backups + 1):
        try:
            found = os.stat(backup_path(spec.file, number))
        except FileNotFoundError:
            continue
        total += found.st_size
        if place is not None and (found.st_dev, found.st_ino) == place.file:
            return max(total - place.size, 0)
    return total


def cut(spec: LogSpec, place: Place) -> None:
    """Take back what was written behind a place, through all rotations since.

    Raises:
        OSError: a file can not be shortened.
    """
    newer: list[str] = []
    for number in range(spec.backups + 1):
        path = backup_path(spec.file, number)
        try:
            found = os.stat(path)
        except FileNotFoundError:
            continue
        if (found.st_dev, found.st_ino) == place.file:
            for file in newer:
                os.truncate(file, 0)
            if found.st_size > place.size:
                os.truncate(path, place.size)
            return
        newer.append(path)


def shift_backups(path: str, backups: int) -> None:
    """Move the file at `path` to `.1`, `.1` to `.2` and so on; the one beyond `backups` is deleted.

    Raises:
        OSError: the directory does not allow it; what was moved already stays moved.
    """
    if backups == 0:
        os.unlink(path)
        return
    free = 1  # the first name that is not taken, or the oldest, which is overwritten
    while free < backups and os.path.lexists(backup_path(path, free)):
        free += 1
    for number in range(free, 0, -1):
        os.rename(backup_path(path, number - 1), backup_path(path, number))
