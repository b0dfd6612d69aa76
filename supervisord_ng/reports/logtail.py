"""Reads worker logs across their rotations: the last lines for a report, and line by line for a person.

Plain files only, no event loop, so that the daemon and the CLI can both use it. The writer is
`runtime.logfile`; what is read here may be rotated, deleted or shortened at any moment, and no line is lost or
seen twice for a rotation. Waiting for more is `reports.logfollow`'s.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterator
from typing import Self

from supervisord_ng import limits
from supervisord_ng.model.logs import CUT_MARK, LineSplitter, backup_path, text_of

Identity = tuple[int, int]
"""Device and inode: which file it is, whatever its name is by now."""


def tail(
    path: str,
    lines: int,
    *,
    backups: int = limits.LOG_BACKUPS_MAX,
    written: int | None = None,
    is_json: bool = False,
) -> list[str]:
    """Return the last lines of a log, for a report. Never raises for what the disk does.

    Args:
        path: the newest file; its backups are read too when it has too few lines.
        lines: at most so many, each of at most LOG_LINE_MAX bytes; longer ones are cut and marked.
        backups: how many older files there may be.
        written: look only at so many bytes at the end (`Capture.when_written`); None: as many as allowed.
        is_json: the log has `format = "json"`: return what the worker wrote.

    Returns:
        The lines, oldest first, without newlines; all together at most LOG_TAIL_BYTES. What is not UTF-8 is
        replaced. A file that is not there has no lines.
    """
    budget = limits.LOG_TAIL_BYTES if written is None else min(written, limits.LOG_TAIL_BYTES)
    if lines <= 0 or budget <= 0:
        return []
    try:
        data = _last_bytes(path, budget, backups)
    except OSError as error:
        return [f"[supervisord-ng: cannot read {path}: {(error.strerror or str(error)).lower()}]"]
    found = data.removesuffix(b"\n").split(b"\n") if data else []
    if len(data) == limits.LOG_TAIL_BYTES and len(found) > 1 and written != budget:
        del found[0]  # its beginning is beyond what may be read
    return [_text(text_of(line, is_json=is_json)) for line in found[-lines:]]


class LogReader:
    """Reads one log forward, line by line, through every rotation. A context manager.

    Follows files, not names: a file that was rotated away is read to its end before the next one is begun. If
    the file being read was taken out of the chain altogether (moved elsewhere, deleted, or rotated out
    because this reader was that slow), reading goes on with the file that stands at the path now.
    """

    def __init__(self, path: str, backups: int = limits.LOG_BACKUPS_MAX) -> None:
        """Prepare to read all of the log whose newest file is at `path`; it need not exist yet."""
        self.path = path
        self._backups = backups
        self._files: deque[int] = deque()  # descriptors, oldest first; the last is the newest known
        self._offset = 0  # in the first of them
        self._splitter = LineSplitter()
        self._gap = False  # what follows the first file does not continue its last line

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int | None:
        """Return the descriptor of the newest file known, to be watched; None when there is none yet."""
        return self._files[-1] if self._files else None

    def seek_last(self, lines: int) -> None:
        """Go to where the last `lines` lines begin, an unfinished one counted; before the first `lines()`.

        With 0, that is the end of the log, or where its unfinished line begins.

        Raises:
            OSError: a file of the log can not be read.
        """
        for _ in range(limits.LOG_SEEK_TRIES):
            self.close()
            before = _identity_at(self.path)
            self._open_last(lines)
            if _identity_at(self.path) == before:
                return  # no rotation went by, so the files are the right ones in the right order

    def _open_last(self, lines: int) -> None:
        """Open as many files as hold the last `lines` lines, and find their beginning."""
        self._offset = 0
        missing = -1  # line ends to go back over; known once the last byte of the log was seen
        for fd, found in _chain(self.path, self._backups):
            self._files.appendleft(fd)
            if missing < 0 and found.st_size:
                ends = os.pread(fd, 1, found.st_size - 1) == b"\n"
                missing = max(1, lines + ends)
            if missing > 0:
                self._offset, missing = _seek_back(fd, found.st_size, missing)
                if missing == 0:
                    return

    def lines(self) -> Iterator[bytes]:
        """Yield the lines, without newlines, that are complete now; end when there are no more.

        May be called again and goes on where it stopped. Lines longer than LOG_LINE_MAX come in marked pieces.

        Raises:
            OSError: a file of the log can not be read.
        """
        while self._files or self._find_newer():
            block = self._read_block()
            if block:
                yield from self._splitter.feed(block)
            elif len(self._files) > 1:
                os.close(self._files.popleft())
                self._offset = 0
                if self._gap:
                    self._gap = False
                    yield from self._splitter.flush()
            elif not self._find_newer():
                return

    def unfinished(self) -> list[bytes]:
        """Return the line that has no end yet, if any, because nobody will wait for its end."""
        return self._splitter.flush()

    def close(self) -> None:
        """Close every file. May be called twice."""
        while self._files:
            os.close(self._files.pop())

    def _read_block(self) -> bytes:
        """Read on in the first file; notice that it was shortened under us."""
        fd = self._files[0]
        block = os.pread(fd, limits.LOG_READ_BYTES, self._offset)
        if not block and (size := os.fstat(fd).st_size) < self._offset:
            # Either the unfinished line, which we hold, was moved to the next file by a rotation, or somebody
            # emptied the file: then what is in it now is new.
            line_start = self._offset - self._splitter.pending_bytes
            self._splitter.discard()
            self._offset = size if size == line_start else 0
            block = os.pread(fd, limits.LOG_READ_BYTES, self._offset)
        self._offset += len(block)
        return block

    def _find_newer(self) -> bool:
        """Open the files that came after the newest known one; say whether there are any."""
        current = _identity(os.fstat(self._files[-1])) if self._files else None
        at_path = _identity_at(self.path)
        if at_path is None or at_path == current:
            return False  # nothing newer, or in the middle of a rotation: its end will be seen
        newer, met = _open_newer(self.path, self._backups, current)
        if not newer:
            return False
        if _identity(os.fstat(newer[-1])) != _identity_at(self.path):
            _close_all(
                newer
            )  # a rotation went by, which may have mixed up their order: look again later
            return False
        if not met and current is not None:
            _close_all(newer[:-1])
            del newer[:-1]
            self._gap = True
        self._files.extend(newer)
        return True


def _chain(path: str, backups: int) -> Iterator[tuple[int, os.stat_result]]:
    """Open the files of a log, newest first; whoever takes one closes it.

    One rotation may go on meanwhile. It moves files to higher numbers only, so that going up misses none, may
    meet one twice (which is skipped) and finds at most one name free that has files behind it. A second one
    may not: whoever reads in another process than the writer checks afterwards what stands at the path.
    """
    seen: set[Identity] = set()
    free = 0
    for number in range(backups + 1):
        try:
            fd = os.open(backup_path(path, number), os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        except FileNotFoundError:
            free += 1
            if free > 1:
                return
            continue
        free = 0
        found = os.fstat(fd)
        if _identity(found) in seen or not stat.S_ISREG(found.st_mode):
            os.close(fd)
            continue
        seen.add(_identity(found))
        yield fd, found


def _open_newer(path: str, backups: int, current: Identity | None) -> tuple[list[int], bool]:
    """Open the files of a log that are newer than `current`, oldest first; say whether that one was met."""
    newer: list[int] = []
    try:
        for fd, found in _chain(path, backups):
            if _identity(found) == current:
                os.close(fd)
                return newer, True
            newer.insert(0, fd)
    except OSError:
        _close_all(newer)
        raise
    return newer, False


def _close_all(fds: list[int]) -> None:
    """Close these descriptors."""
    for fd in fds:
        os.close(fd)


def _identity_at(path: str) -> Identity | None:
    """Return which file stands at `path`, if any."""
    try:
        return _identity(os.stat(path))
    except FileNotFoundError:
        return None


def _identity(found: os.stat_result) -> Identity:
    """Return which file this is."""
    return found.st_dev, found.st_ino


def _last_bytes(path: str, count: int, backups: int) -> bytes:
    """Read the last `count` bytes of a log, or all when it has fewer."""
    blocks: list[bytes] = []
    for fd, found in _chain(path, backups):
        try:
            size = min(count, found.st_size)
            blocks.append(os.pread(fd, size, found.st_size - size))
        finally:
            os.close(fd)
        count -= size
        if count == 0:
            break
    return b"".join(reversed(blocks))


def _seek_back(fd: int, size: int, count: int) -> tuple[int, int]:
    """Find the `count`-th line end, counted from the end of the first `size` bytes.

    Returns:
        The offset behind it and 0, or 0 and how many more there would have to be.
    """
    end = size
    while end > 0:
        start = max(0, end - limits.LOG_READ_BYTES)
        block = os.pread(fd, end - start, start)
        found = block.count(b"\n")
        if found >= count:
            at = len(block)
            for _ in range(count):
                at = block.rfind(b"\n", 0, at)
            return start + at + 1, 0
        count -= found
        end = start
    return 0, count


def _text(line: bytes) -> str:
    """Decode one line for a report and bound it."""
    if len(line) > limits.LOG_LINE_MAX:
        line = line[: limits.LOG_LINE_MAX] + CUT_MARK
    return line.decode("utf-8", errors="replace")
