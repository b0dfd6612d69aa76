"""The daemon's side of the keeper, a small program that has the workers' pipes open as well.

See `runtime.pipekeeper` for what it is and why. Here it is started with the first pipe and told of every
further one, so that a new pipe costs one message and no process; when it was killed another one takes its
place. And the next daemon finds through it what a dead one has left.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import errno
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable, Sequence

from supervisord_ng import limits
from supervisord_ng.runtime import pipekeeper, procfs

MARK = "SNG_KEEPER"  # in its environment: the directory whose pipes it keeps
_WORKERS_MARK = b"SNG_TOKEN="
_FULL = (errno.EAGAIN, errno.ETOOMANYREFS)  # of its socket; of what a user may have on its way


class Keeper:
    """The daemon's side of the keeper of one directory.

    Args:
        loop: of the daemon.
        directory: in which the pipes have names.
        held: says which descriptors are to be kept, for a keeper that takes the place of another.
        on_problem: told, in words, when there can be no keeper.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        directory: str,
        held: Callable[[], Sequence[int]],
        on_problem: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._directory = directory
        self._held = held
        self._on_problem = on_problem
        self._pidfd = -1
        self._socket: socket.socket | None = None
        self._again: asyncio.TimerHandle | None = None

    def keep(self, fd: int) -> None:
        """Keep one more pipe open, which `held` names already."""
        if self._again is not None:
            return  # there is none just now; the next one keeps them all
        if self._socket is None or not _send(self._socket, fd=fd):
            self._renew()

    def let_go(self, inode: int) -> None:
        """Keep a pipe no longer, which `held` does not name any more."""
        if self._socket is not None and not _send(self._socket, pipekeeper.INODE.pack(inode)):
            self._renew()

    def close(self) -> None:
        """End the keeper: whoever stops in order has read everything."""
        self._end()
        if self._again is not None:
            self._again.cancel()
            self._again = None

    def _renew(self) -> None:
        """Start a keeper that has all pipes from its beginning; then the one before it ends."""
        try:
            pidfd, control = self._start()
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            self._on_problem(
                f"cannot start {sys.executable}: {why}; "
                "if the daemon is killed, last words of workers may be lost"
            )
            self._try_later()
            return
        self._end()
        self._pidfd, self._socket = pidfd, control
        self._loop.add_reader(pidfd, self._died)

    def _start(self) -> tuple[int, socket.socket]:
        """Return its pidfd, and the socket that leads to it."""
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        try:
            popen = subprocess.Popen(
                [sys.executable, "-I", "-S", pipekeeper.__file__, str(limits.KEEPER_S)],
                stdin=its.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                pass_fds=self._held(),
                env={MARK: self._directory, "PATH": os.defpath},
                start_new_session=True,  # a Ctrl-C at the terminal is not meant for it
            )
            popen.returncode = 0  # as in `runtime.spawner`: nobody else may wait for it
            return os.pidfd_open(popen.pid), ours
        except OSError:
            ours.close()
            raise
        finally:
            its.close()

    def _died(self) -> None:
        """Somebody has killed it. Not at once again: it may be killed for want of memory."""
        self._end()
        self._on_problem("the keeper of workers' output was killed; starting another")
        self._try_later()

    def _try_later(self) -> None:
        self._again = self._loop.call_later(
            limits.KEEPER_RETRY_NS / limits.SECOND, self._retry_start
        )

    def _retry_start(self) -> None:
        self._again = None
        self._renew()

    def _end(self) -> None:
        if self._socket is None:
            return
        self._loop.remove_reader(self._pidfd)
        # It may be dead, and reaped by the reaper; a pidfd can not mean anybody else.
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)
        os.close(self._pidfd)
        self._socket.close()
        self._socket = None


# --- what an earlier daemon has left ---------------------------------------------------------------------
def everyone(directory: str) -> list[int]:
    """The pids of all keepers of this directory; to be asked before there is one of this daemon."""
    return [pid for pid in procfs.everybody() if _is_keeper(pid, directory)]


def find(directory: str, keepers: Collection[int], pipes: Collection[str]) -> dict[str, str]:
    """Find pipes of a daemon that is dead: the path by which each can be opened.

    Args:
        directory: in which they have names.
        keepers: their pids, as `everyone` has found them.
        pipes: as proc(5) calls them, "pipe:[INODE]".
    """
    found: dict[str, str] = {}
    deadline = time.monotonic() + limits.KEEPER_CATCH_UP_S
    while living := [pid for pid in keepers if _is_keeper(pid, directory)]:
        found = {pipe: path for pid in living for pipe, path in _opened_by(pid).items()}
        if found.keys() >= set(pipes) or time.monotonic() > deadline:
            break
        time.sleep(limits.KEEPER_LOOK_S)  # what was sent last it may not have received yet
    if not found.keys() >= set(
        pipes
    ):  # somebody has killed the keeper too: its workers have theirs
        for worker in procfs.everybody():
            if any(word.startswith(_WORKERS_MARK) for word in procfs.environment_of(worker)):
                found = _opened_by(worker) | found
    return {pipe: found[pipe] for pipe in pipes if pipe in found}


def end(directory: str, keepers: Iterable[int]) -> list[int]:
    """End the keepers of a daemon that is dead, as `everyone` has found them; return who can not be ended."""
    return [pid for pid in keepers if not _end(directory, pid)]


def _end(directory: str, pid: int) -> bool:
    """Say whether it is gone."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        # Looked at with the descriptor open, so that the number can not pass to a stranger in between.
        if not _is_keeper(pid, directory):
            return True
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        return bool(poll.poll(limits.LEFTOVER_WAIT_NS / limits.MS))
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    finally:
        os.close(pidfd)


def _is_keeper(pid: int, directory: str) -> bool:
    return f"{MARK}={directory}".encode() in procfs.environment_of(pid)


def _opened_by(pid: int) -> dict[str, str]:
    """What a process has open, and the path to open it by; nothing if it is gone."""
    found = {}
    with contextlib.suppress(OSError):
        for number in os.listdir(f"/proc/{pid}/fd"):
            path = f"/proc/{pid}/fd/{number}"
            with contextlib.suppress(FileNotFoundError):  # closed since
                found[os.readlink(path)] = path
    return found


def _send(control: socket.socket, message: bytes = b"\0", fd: int | None = None) -> bool:
    """Tell the keeper, without waiting; False when it does not listen."""
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", () if fd is None else (fd,)))
    try:
        control.sendmsg([message], [] if fd is None else [rights])
    except OSError as error:
        # A keeper that was just killed: `_died` is about to hear of it.
        if error.errno in (*_FULL, errno.EPIPE, errno.ECONNRESET):
            return False
        raise
    return True
