"""Remembers, for the next daemon, which block of output is being written and where an incarnation's begins.

A block leaves its pipe only after it was written to the log. A daemon that is killed between the two would
leave it in both. So before a block is written it is noted down: how long it is, how it begins, and where in
which file it goes. The next daemon compares that with what it finds, and takes out of the pipe what the log has
already.

The notes lie in one file in the directory of the pipes, a slot for each. A write into it goes to the page
cache, which outlives us.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from typing import NamedTuple

from supervisord_ng import limits
from supervisord_ng.runtime.logfile import Place

_PIPE = struct.Struct("=Q")
_BLOCK = struct.Struct("=IIQQQQ")
_BEGIN = struct.Struct("=QQQ")
_BLOCK_AT = _PIPE.size
_BEGIN_AT = _BLOCK_AT + _BLOCK.size
_SLOT = _BEGIN_AT + _BEGIN.size
_FILE_MODE = 0o600


class Block(NamedTuple):
    """A block of which a daemon did not say that it was done.

    `length` bytes of the pipe, which begin with what `check` is of, became `written` bytes of the log at
    `place`.
    """

    length: int
    check: int
    place: Place
    written: int


class Progress:
    """The file of notes.

    Args:
        path: of it; made when it is missing.

    Raises:
        OSError: it can not be used.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, _FILE_MODE)
        self._slots: dict[int, int] = {}  # by the inode of the pipe, 0 for nobody's
        self._open: dict[int, Notes] = {}  # likewise
        self._unused: list[int] = []
        self._end = 0
        while len(slot := os.pread(self._fd, _SLOT, self._end * _SLOT)) == _SLOT:
            pipe = _PIPE.unpack_from(slot)[0]
            if pipe:
                self._slots[pipe] = self._end
            else:
                self._unused.append(self._end)
            self._end += 1

    def open(self, pipe: int) -> Notes:
        """The notes about the pipe with this inode, on both sides of a daemon's death."""
        if pipe not in self._slots:
            slot = self._unused.pop() if self._unused else self._end
            self._end = max(self._end, slot + 1)
            os.pwrite(self._fd, _PIPE.pack(pipe).ljust(_SLOT, b"\0"), slot * _SLOT)
            self._slots[pipe] = slot
        notes = self._open[pipe] = Notes(self._fd, self._slots[pipe] * _SLOT)
        return notes

    def forget(self, pipe: int) -> None:
        """The pipe is removed: another one may have its slot."""
        self._open.pop(pipe).is_over = True
        slot = self._slots.pop(pipe)
        os.pwrite(self._fd, bytes(_SLOT), slot * _SLOT)
        self._unused.append(slot)

    def forget_others(self) -> None:
        """The pipes that were not opened are gone: their numbers may come to mean others."""
        for pipe in self._slots.keys() - self._open.keys():
            self.open(pipe)
            self.forget(pipe)

    def remove(self) -> None:
        """An orderly end leaves nothing."""
        with contextlib.suppress(FileNotFoundError):  # somebody cleans up directories
            os.unlink(self._path)
        os.close(self._fd)


class Notes:
    """What is noted about one pipe. The thread that writes calls `writing` and `begin`, the loop the rest.

    Attributes:
        is_over: the pipe is removed, and nothing more may be noted about it.
    """

    def __init__(self, fd: int, at: int) -> None:
        self.is_over = False
        self._fd = fd
        self._at = at

    def writing(self, block: bytes, place: Place, written: int) -> None:
        """A block is about to become `written` bytes in the log."""
        self._note(
            _BLOCK_AT, _BLOCK.pack(len(block), check_of(block), *place.file, place.size, written)
        )

    def done(self) -> None:
        """It is written, and taken out of the pipe."""
        self._note(_BLOCK_AT, bytes(_BLOCK.size))

    def unfinished(self) -> Block | None:
        """The block of which nobody said that it was done."""
        note = os.pread(self._fd, _BLOCK.size, self._at + _BLOCK_AT)
        length, check, device, inode, size, written = _BLOCK.unpack(note)
        return Block(length, check, Place((device, inode), size), written) if length else None

    def begin(self, place: Place | None) -> None:
        """An incarnation's output begins there; None: with the log itself."""
        (device, inode), size = place or ((0, 0), 0)
        self._note(_BEGIN_AT, _BEGIN.pack(device, inode, size))

    def beginning(self) -> Place | None:
        """Where the output of the latest incarnation begins; None: with the log itself."""
        note = os.pread(self._fd, _BEGIN.size, self._at + _BEGIN_AT)
        device, inode, size = _BEGIN.unpack(note)
        return Place((device, inode), size) if inode else None

    def _note(self, at: int, note: bytes) -> None:
        if not self.is_over:
            os.pwrite(self._fd, note, self._at + at)


def check_of(block: bytes) -> int:
    """A number by which the beginning of a block is known again."""
    return zlib.crc32(block[: limits.LOG_CHECK_BYTES])
