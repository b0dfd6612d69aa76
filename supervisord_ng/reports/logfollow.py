"""Follows the logs of any number of workers as they are written, for `sng logs -f`. No event loop, no polling.

inotify(7) says when to look; `reports.logtail` does the looking and is right however often it is asked. Where
inotify is not to be had (its limits are per user, or a file system does not speak it), a short pause stands in.
"""

from __future__ import annotations

import ctypes
import os
import select
import time
from collections.abc import Iterator, Mapping
from typing import Self

from supervisord_ng import limits
from supervisord_ng.reports.logtail import LogReader

IN_MODIFY = 0x002  # <sys/inotify.h>
IN_MOVED_TO = 0x080
IN_CREATE = 0x100
IN_NONBLOCK = os.O_NONBLOCK
IN_CLOEXEC = os.O_CLOEXEC


class Inotify:
    """The few calls of inotify(7) that following needs; which event it was does not matter."""

    def __init__(self) -> None:
        """Open an instance.

        Raises:
            OSError: the kernel or the user's limit (max_user_instances) does not allow it.
        """
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = _checked(self._libc.inotify_init1(IN_NONBLOCK | IN_CLOEXEC))

    def watch(self, path: str, mask: int) -> int:
        """Watch what stands at `path` and return the watch.

        Raises:
            OSError: there is nothing, or the user's limit (max_user_watches) is reached.
        """
        return _checked(self._libc.inotify_add_watch(self._fd, os.fsencode(path), mask))

    def unwatch(self, watch: int) -> None:
        """End a watch; one that the kernel ended already, with its file, is fine."""
        self._libc.inotify_rm_watch(self._fd, watch)

    def fileno(self) -> int:
        """The descriptor, readable when something happened."""
        return self._fd

    def wait(self, timeout_s: float | None) -> None:
        """Wait until anything happened since the last call, or the time is over; None: for ever."""
        ready, _, _ = select.select([self._fd], [], [], timeout_s)
        if ready:
            os.read(self._fd, limits.LOG_READ_BYTES)

    def close(self) -> None:
        """Close the instance and with it all watches."""
        os.close(self._fd)


class Follower:
    """Reads several logs, each from its last lines on, and waits for more. A context manager."""

    def __init__(self, logs: Mapping[str, str], lines: int) -> None:
        """Open the logs.

        Args:
            logs: name to path of the newest file; files that are not there yet are waited for.
            lines: how many lines of each that were there before are given first.

        Raises:
            OSError: a log exists and can not be read.
        """
        self._readers = {name: LogReader(path) for name, path in logs.items()}
        self._watches: dict[str, int] = {}  # on the newest file of each log
        self._inotify = _open_inotify({os.path.dirname(path) for path in logs.values()})
        try:
            for reader in self._readers.values():
                reader.seek_last(lines)
        except OSError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self) -> Iterator[tuple[str, bytes]]:
        """Yield every complete line that is there now, with the name of its log.

        Raises:
            OSError: a log can not be read any more.
        """
        for name, reader in self._readers.items():
            again = True
            while again:
                for line in reader.lines():
                    yield name, line
                # What was written between the reading and a new watch would go unnoticed: read once more.
                again = self._watch_newest(name, reader)

    def fileno(self) -> int | None:
        """A descriptor that is readable when there may be something to read; None: look again and again."""
        return None if self._inotify is None else self._inotify.fileno()

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait until there may be something to read; at most `timeout_s`, None: for ever."""
        if self._inotify is not None:
            self._inotify.wait(timeout_s)
        else:
            time.sleep(
                limits.LOG_POLL_S if timeout_s is None else min(timeout_s, limits.LOG_POLL_S)
            )

    def close(self) -> None:
        """Close everything."""
        for reader in self._readers.values():
            reader.close()
        self._stop_watching()

    def _watch_newest(self, name: str, reader: LogReader) -> bool:
        """Watch the file that the reader has reached; say whether that is a new watch."""
        fd = reader.fileno()
        if self._inotify is None or fd is None:
            return False
        before = self._watches.get(name)
        try:
            # Through the descriptor: the name may belong to another file by now. A file that is watched
            # already gives the same watch again.
            watch = self._inotify.watch(f"/proc/self/fd/{fd}", IN_MODIFY)
        except OSError:
            self._stop_watching()
            return False
        if before is not None and before != watch:
            self._inotify.unwatch(before)
        self._watches[name] = watch
        return before != watch

    def _stop_watching(self) -> None:
        """Close inotify; from now on `wait` pauses instead."""
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None


def last(logs: Mapping[str, str], lines: int) -> Iterator[tuple[str, bytes]]:
    """Yield (name, line) of the last `lines` lines of every log, one log after the other.

    Args:
        logs: as for `Follower`.
        lines: how many of each; an unfinished one counts.

    Raises:
        OSError: a log exists and can not be read.
    """
    for name, path in logs.items():
        with LogReader(path) as reader:
            reader.seek_last(lines)
            for line in reader.lines():
                yield name, line
            for line in reader.unfinished():
                yield name, line


def follow(logs: Mapping[str, str], lines: int) -> Iterator[tuple[str, bytes]]:
    """Yield (name, line) of every log for ever: the last `lines` lines of each, then what is written.

    Lines come without their newlines, each when it is complete. Ends only when the caller closes the generator
    or is interrupted.

    Raises:
        OSError: a log can not be read.
    """
    with Follower(logs, lines) as follower:
        while True:
            yield from follower.read()
            follower.wait()


def _open_inotify(directories: set[str]) -> Inotify | None:
    """Watch directories for files that appear at the paths of logs; None when that can not be done."""
    try:
        inotify = Inotify()
    except OSError:
        return None
    try:
        for directory in sorted(directories):
            inotify.watch(directory, IN_CREATE | IN_MOVED_TO)
    except OSError:
        inotify.close()
        return None
    return inotify


def _checked(result: int) -> int:
    """Turn the C convention into Python's."""
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
