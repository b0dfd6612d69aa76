"""The pipes through which workers write: one for each worker and stream, the same for all of its lives.

An ordinary pipe would end with the daemon: the next write of a worker would kill it (SIGPIPE), and what it
had written would be lost. So the worker has its end open for reading as well, and its writes neither fail
nor, up to the size of the pipe, wait while nobody reads (fifo(7)); therefore it has no end of file, and who
reads it must be told when the worker is gone. The next daemon opens it again, through the keeper
(`runtime.keeper`), and finds it by name in a directory that only we may enter: there a symbolic link of each
name says which pipe it is.

FIFOs in that directory would do the same, and slower: Linux stamps the inode of a file at each write, that of
a nameless pipe not any more (seen with 6.18), which is a tenth of the cost of a line written alone.

A worker's user owns its pipe, so that the worker can open /dev/stdout or /proc/self/fd/1 again (proc(5)).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import struct
import termios
from collections.abc import Callable

from supervisord_ng import limits
from supervisord_ng.errors import SupervisordNGError
from supervisord_ng.model import paths
from supervisord_ng.runtime import keeper, procfs
from supervisord_ng.runtime.keeper import Keeper
from supervisord_ng.runtime.progress import Notes, Progress

OUT, ERR = "out", "err"
"""The streams. What is logged without a word about its stream all goes through `OUT`."""

_DIRECTORY_MODE = 0o700
_NEW = ".new"
_PROGRESS = "progress"
_SOFT_LIMIT = "/proc/sys/fs/pipe-user-pages-soft"


class Outlet:
    """One pipe, open; `path` is its name."""

    def __init__(self, path: str, fd: int, notes: Notes) -> None:
        self.path = path
        self.notes = notes
        self.fd = fd  # to read from, without waiting
        self._owner = os.fstat(fd).st_uid
        self._capacity = fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ)

    @property
    def capacity(self) -> int:
        """How many bytes it holds."""
        return self._capacity

    def open_end(self, user: int | None) -> int:
        """Open the end that a worker writes to; the caller closes it when the worker has it.

        Args:
            user: that the worker runs as, None for ours.

        Raises:
            OSError: we are out of descriptors.
        """
        owner = os.geteuid() if user is None else user
        if owner != self._owner:
            os.fchown(self.fd, owner, -1)
            self._owner = owner
        return os.open(f"/proc/self/fd/{self.fd}", os.O_RDWR)

    def waiting(self) -> int:
        """How many bytes are in it."""
        answer = fcntl.ioctl(self.fd, termios.FIONREAD, struct.pack("i", 0))
        (count,) = struct.unpack("i", answer)
        return int(count)

    def enlarge(self) -> None:
        """Make it as large as an ordinary user may, if the user's sum (pipe-user-pages-soft) allows it."""
        with contextlib.suppress(OSError):
            self._capacity = fcntl.fcntl(self.fd, fcntl.F_SETPIPE_SZ, limits.PIPE_BYTES)

    def close(self) -> None:
        """Close it; the worker, and the keeper, may have it open."""
        os.close(self.fd)


class Outlets:
    """All pipes of a node. Those that an earlier daemon has left are open from the beginning.

    Args:
        loop: of the daemon.
        runtime_dir: of the node, whose lock is held.
        on_problem: told, in words, what could not be done.

    Raises:
        SupervisordNGError: the directory can not be used, or what is in it.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        runtime_dir: str,
        on_problem: Callable[[str], None],
    ) -> None:
        self._directory = os.path.join(runtime_dir, paths.OUTPUT_DIRECTORY)
        self._open: dict[str, Outlet] = {}  # by file name
        self._room = _room()
        self._on_problem = on_problem
        self._keeper = Keeper(loop, self._directory, self._fds, on_problem)
        # None of a daemon that ended in order, which has removed its directory.
        before = keeper.everyone(self._directory) if os.path.exists(self._directory) else []
        try:
            os.makedirs(self._directory, _DIRECTORY_MODE, exist_ok=True)
            self._progress = Progress(os.path.join(self._directory, _PROGRESS))
            self._recover(before)
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            text = f"cannot use output directory {self._directory}: {why}"
            raise SupervisordNGError(text) from error
        for pid in keeper.end(self._directory, before):
            on_problem(f"cannot end process {pid}, which kept the output of an earlier daemon")

    def open(self, name: str, stream: str = OUT) -> Outlet:
        """The pipe of one stream of the worker `name`; with what an earlier daemon left in it.

        Raises:
            OSError: it can not be made.
        """
        file = f"{name}.{stream}"
        return self._open.get(file) or self._make(file)

    def has_output(self, name: str) -> bool:
        """Whether something of this worker is waiting to be read."""
        files = (f"{name}.{stream}" for stream in (OUT, ERR))
        return any(self._open[file].waiting() for file in files if file in self._open)

    def has(self, name: str, stream: str) -> bool:
        """Whether there is a pipe of this worker and stream."""
        return f"{name}.{stream}" in self._open

    def forget(self, name: str) -> None:
        """The worker is gone from the tree, and its output is read: remove its pipes."""
        for stream in (OUT, ERR):
            if self.has(name, stream):
                self._drop(f"{name}.{stream}")

    def close(self) -> dict[str, int]:
        """An orderly end: nobody writes any more. Removes everything and ends the keeper.

        Returns:
            How many bytes went with it that nobody has read, by name, where there were any.
        """
        unread: dict[str, int] = {}
        for file, outlet in self._open.items():
            name = file.rpartition(".")[0]
            unread[name] = unread.get(name, 0) + outlet.waiting()
            _remove(outlet)
        self._open.clear()
        self._keeper.close()
        self._progress.remove()
        with contextlib.suppress(OSError):  # somebody has put something of his own there
            os.rmdir(self._directory)
        return {name: count for name, count in unread.items() if count}

    def _fds(self) -> list[int]:
        return [outlet.fd for outlet in self._open.values()]

    def _recover(self, before: list[int]) -> None:
        """Open what an earlier daemon has left, with the help of its keepers."""
        left: dict[str, str] = {}  # pipes by file name
        boot = procfs.boot_id()
        for file in sorted(os.listdir(self._directory)):
            path = os.path.join(self._directory, file)
            if file.endswith(_NEW):
                os.unlink(path)
            elif file.endswith((f".{OUT}", f".{ERR}")):
                of_boot, _, pipe = _target(path).partition(" ")
                if of_boot == boot:
                    left[file] = pipe
                else:  # of another life of the host, where the number meant another pipe
                    os.unlink(path)
        found = keeper.find(self._directory, before, left.values())
        for file, pipe in left.items():
            fd = _open_again(found.get(pipe, ""), pipe)
            if fd is None:
                name = file.rpartition(".")[0]
                self._on_problem(f"cannot find the output of {name}: nobody has its pipe any more")
                os.unlink(os.path.join(self._directory, file))
            else:
                self._add(file, fd)
        self._progress.forget_others()

    def _make(self, file: str) -> Outlet:
        fd = _new_pipe()
        outlet = self._add(file, fd)
        try:
            os.symlink(f"{procfs.boot_id()} {_pipe(fd)}", outlet.path + _NEW)
            os.replace(outlet.path + _NEW, outlet.path)
        except OSError:
            self._drop(file)
            raise
        return outlet

    def _drop(self, file: str) -> None:
        outlet = self._open.pop(file)
        inode = os.fstat(outlet.fd).st_ino
        self._progress.forget(inode)
        self._keeper.let_go(inode)
        _remove(outlet)

    def _add(self, file: str, fd: int) -> Outlet:
        path = os.path.join(self._directory, file)
        outlet = Outlet(path, fd, self._progress.open(os.fstat(fd).st_ino))
        if self._room is None or self._room >= limits.PIPE_BYTES:
            outlet.enlarge()
            if self._room is not None:
                self._room -= limits.PIPE_BYTES
        self._open[file] = outlet
        self._keeper.keep(outlet.fd)
        return outlet


def _new_pipe() -> int:
    """One descriptor to both ends: with no writer it would be at its end, again and again, to epoll(7)."""
    ends = os.pipe2(os.O_CLOEXEC)
    try:
        return os.open(f"/proc/self/fd/{ends[0]}", os.O_RDWR | os.O_NONBLOCK)
    finally:
        for end in ends:
            os.close(end)


def _open_again(path: str, pipe: str) -> int | None:
    """Open what a process has open by that path, if it still is that pipe."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    except OSError:
        return None
    if _pipe(fd) == pipe:
        return fd
    os.close(fd)
    return None


def _pipe(fd: int) -> str:
    """How proc(5) calls it: "pipe:[INODE]"."""
    return os.readlink(f"/proc/self/fd/{fd}")


def _target(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:  # it is no symbolic link, and none of ours
        return ""


def _remove(outlet: Outlet) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(outlet.path)
    outlet.close()


def _room() -> int | None:
    """How many bytes of larger pipes we may take; None: as many as we like.

    The kernel allows an ordinary user a sum (pipe(7)) and gives whoever exceeds it pipes of two pages, also
    in programs that are none of ours. Half of it is for others.
    """
    if os.geteuid() == 0:
        return None
    try:
        with open(_SOFT_LIMIT, encoding="ascii") as file:
            pages = int(file.read())
    except (OSError, ValueError):
        return 0
    return None if pages == 0 else pages * os.sysconf("SC_PAGE_SIZE") // 2
