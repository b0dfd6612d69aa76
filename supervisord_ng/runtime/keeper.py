"""Keeps workers' FIFOs from being emptied while there is no daemon to read them.

The kernel forgets what is in a FIFO when nobody has it open any more (fifo(7)). A worker that dies while its
daemon is dead would so take its last words with it. The keeper is a shell that waits for the daemon's end and
then for a bounded time for the next daemon. It does not even open the FIFOs: their descriptors are sent to a
socket of its own that it never reads (SCM_RIGHTS, unix(7)), and what is on its way is open. So a new FIFO costs
one message and no process.
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
from collections.abc import Callable, Iterable, Sequence

from supervisord_ng import limits
from supervisord_ng.runtime import procfs

MARK = "SNG_KEEPER"  # in its environment: the directory whose FIFOs it keeps
_PID_FILE = "keeper.pid"
_SHELL = "/bin/sh"
_SCRIPT = "read -r end; exec sleep {seconds}"  # the pipe on its standard input ends with the daemon
_FULL = (errno.EAGAIN, errno.ETOOMANYREFS)  # of its socket; of what a user may have on its way


class Keeper:
    """The daemon's side of the keeper of one directory. Starts it with the first FIFO.

    Args:
        loop: of the daemon.
        directory: of the FIFOs.
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
        self._lifeline = -1  # its standard input
        self._socket: socket.socket | None = None
        self._again: asyncio.TimerHandle | None = None

    def keep(self, fd: int) -> None:
        """Keep one more FIFO open, which `held` names already."""
        if self._again is not None:
            return  # there is none just now; the next one keeps them all
        if self._socket is None or not _send(self._socket, (fd,)):
            self._renew()

    def close(self) -> None:
        """End the keeper: whoever stops in order has read everything."""
        self._end()
        if self._again is not None:
            self._again.cancel()
            self._again = None
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self._directory, _PID_FILE))

    def _renew(self) -> None:
        """Start a keeper of all FIFOs; the one before it ends when this one has them."""
        try:
            pidfd, lifeline, receiver = self._start()
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            self._on_problem(
                f"cannot start {_SHELL}: {why}; if the daemon is killed, last words of workers may be lost"
            )
            self._try_later()
            return
        if not all(_send(receiver, some) for some in _batches(self._held())):
            self._on_problem("cannot keep every worker's output open: too many descriptors sent")
        self._end()
        self._pidfd, self._lifeline, self._socket = pidfd, lifeline, receiver
        self._loop.add_reader(pidfd, self._died)

    def _start(self) -> tuple[int, int, socket.socket]:
        """Return its pidfd, the writing end of its standard input, and the socket that leads to it."""
        ours, its = socket.socketpair()
        ours.setblocking(False)
        stdin, lifeline = os.pipe2(os.O_CLOEXEC)
        try:
            popen = subprocess.Popen(
                [
                    *(_SHELL, "-c", _SCRIPT.format(seconds=limits.KEEPER_S)),
                    "supervisord-ng-keeper",
                ],
                stdin=stdin,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(its.fileno(),),
                cwd="/",
                env={MARK: self._directory, "PATH": os.defpath},
                start_new_session=True,  # a Ctrl-C at the terminal is not meant for it
            )
            popen.returncode = 0  # as in `runtime.spawner`: nobody else may wait for it
            with open(os.path.join(self._directory, _PID_FILE), "w", encoding="ascii") as file:
                file.write(f"{popen.pid}\n")
            return os.pidfd_open(popen.pid), lifeline, ours
        except OSError:
            ours.close()
            os.close(lifeline)  # which ends it, if it was started
            raise
        finally:
            its.close()
            os.close(stdin)

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
        os.close(self._lifeline)
        self._socket.close()
        self._socket = None


def end_previous(directory: str, pid: int | None) -> bool:
    """End the keeper of a daemon that is dead, as `previous` has found it; say whether it is gone."""
    if pid is None:
        return True
    try:
        pidfd = os.pidfd_open(pid)
    except (ProcessLookupError, OverflowError):
        return True
    try:
        # Looked at with the descriptor open, so that the number can not pass to a stranger in between.
        if f"{MARK}={directory}".encode() not in procfs.environment_of(pid):
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


def everyone(directory: str) -> list[int]:
    """The pids of all keepers of this directory, also of one whose pid file somebody has removed with it."""
    mark = f"{MARK}={directory}".encode()
    return [pid for pid in procfs.everybody() if mark in procfs.environment_of(pid)]


def previous(directory: str) -> int | None:
    """The pid of the keeper that an earlier daemon has left, if any; to be asked before `Keeper.keep`."""
    try:
        with open(os.path.join(directory, _PID_FILE), encoding="ascii", errors="replace") as file:
            text = file.read(limits.PID_FILE_MAX).strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() and int(text) > 1 else None


def _batches(fds: Sequence[int]) -> Iterable[Sequence[int]]:
    size = limits.KEEPER_FDS_MAX
    return (fds[at : at + size] for at in range(0, len(fds), size))


def _send(receiver: socket.socket, fds: Sequence[int]) -> bool:
    """Send descriptors on a way that they never leave; False when no more fit on it."""
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
    try:
        receiver.sendmsg([b"\0"], rights)
    except OSError as error:
        # A keeper that was just killed: `_died` is about to hear of it.
        if error.errno in (*_FULL, errno.EPIPE, errno.ECONNRESET):
            return False
        raise
    return True
