"""A note of each start where a kill of the daemon cannot take it: in the page cache, not on the disk.

The journal is written by a thread, and may be behind when the daemon is killed. Who was started after that, and
died before the next daemon came, would never be missed. So each worker has a small file in the runtime
directory with its last incarnations; a write costs some microseconds and waits for no disk. What the host
forgets when it is restarted has no meaning then either.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from supervisord_ng import limits
from supervisord_ng.core import succession
from supervisord_ng.model import names, paths

_SLOT = struct.Struct("=QQQ")  # incarnation, pid, birth


class Birth(NamedTuple):
    """A start: the incarnation, its main process, and when the kernel started that.

    The last two are 0 as long as nobody knows whether there is a process: it is noted before the start, too.
    """

    incarnation: int
    pid: int = 0
    birth: int = 0


class Births:
    """Of all workers of a node.

    Args:
        runtime_dir: of the node, whose lock is held.

    Raises:
        OSError: the directory cannot be made.
    """

    def __init__(self, runtime_dir: str) -> None:
        self._directory = os.path.join(runtime_dir, paths.BIRTHS_DIRECTORY)
        os.makedirs(self._directory, 0o700, exist_ok=True)

    def note(self, name: str, birth: Birth) -> None:
        """Remember a start of the worker `name`, in the place of one that is long past."""
        slot = birth.incarnation % limits.BIRTHS_KEPT
        # A runtime directory that is full or gone is told of by whoever needs it; the journal has it soon.
        with contextlib.suppress(OSError):
            fd = os.open(self._path(name), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.pwrite(fd, _SLOT.pack(*birth), slot * _SLOT.size)
            finally:
                os.close(fd)

    def after(self, name: str, incarnation: int) -> list[Birth]:
        """The starts of the worker `name` after this incarnation, in their order."""
        try:
            with open(self._path(name), "rb") as file:
                data = file.read(limits.BIRTHS_KEPT * _SLOT.size)
        except OSError:
            return []
        whole = data[: len(data) - len(data) % _SLOT.size]
        known = sorted(Birth(*slot) for slot in _SLOT.iter_unpack(whole))
        return [birth for birth in known if birth.incarnation > incarnation]

    def raised(self, reserved: Mapping[str, int], workers: Iterable[str]) -> dict[str, int]:
        """The highest incarnation numbers that may have been used, by path.

        Args:
            reserved: what the disk says, which may be behind.
            workers: the paths of whom to look for here.
        """
        noted = {path: self.after(names.leaf(path), 0)[-1:] for path in workers}
        return succession.raised(
            reserved, {path: it.incarnation for path, last in noted.items() for it in last}
        )

    def forget(self, name: str) -> None:
        """The worker is no longer in the tree."""
        with contextlib.suppress(OSError):
            os.unlink(self._path(name))

    def close(self) -> None:
        """An orderly end: nothing is left that anybody would have to know of."""
        with contextlib.suppress(OSError):
            for name in os.listdir(self._directory):
                os.unlink(os.path.join(self._directory, name))
            os.rmdir(self._directory)

    def _path(self, name: str) -> str:
        return os.path.join(self._directory, name)
