"""Watches processes, tells how and when they end, passes signals to them.

Two wake-ups, because each knows what the other can not:

- The pidfd of a worker's main process becomes readable when that process is dead (pidfd_open(2)).
  Costs the same among ten thousand workers, and a signal sent through it can never reach a
  stranger.
- SIGCHLD says that some child changed. It is needed for children without a pidfd: a worker's
  orphans come to us because we are their subreaper (prctl(2), PR_SET_CHILD_SUBREAPER) or PID 1 of a
  container.

A worker is gone when its process group is empty, not when its main process is dead. While something
is left of it the worker *lingers*, and only then a timer looks as well, because SIGCHLD does not
tell everything: a process may leave the group (setsid(2), every program that makes itself a daemon
does), or die as the child of somebody else who did. Signals collapse into one when several are
pending (signal(7)), so SIGCHLD is never counted: whatever is dead is collected, whoever it was.

Every child of this process belongs to the reaper: what is not watched is collected and forgotten.
It knows nothing of workers' names, of incarnations and of what an end means.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
from collections.abc import Callable

from supervisord_ng import limits
from supervisord_ng.errors import InternalError
from supervisord_ng.model.exits import ExitStatus
from supervisord_ng.model.reports import Usage

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h

OnExit = Callable[[int, ExitStatus, Usage | None], None]
OnGroupEmpty = Callable[[int], None]


def become_subreaper(*, enable: bool = True) -> bool:
    """Make orphans below this process its children, not init's; say whether the kernel agreed.

    It survives exec and is not inherited by children (prctl(2)): once in a daemon's life is enough.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    answer: int = libc.prctl(_PR_SET_CHILD_SUBREAPER, int(enable), 0, 0, 0)
    return answer == 0


def exit_status(status: int) -> ExitStatus:
    """Translate the status word of wait(2)."""
    if os.WIFSIGNALED(status):
        return ExitStatus(signal=os.WTERMSIG(status), core_dumped=os.WCOREDUMP(status))
    return ExitStatus(code=os.WEXITSTATUS(status))


class Reaper:
    """The one place that waits for children and signals them; lives in the main thread.

    Args:
        loop: The loop that wakes it up.
        on_exit: Called with pid, status and usage when a watched main process is dead and reaped.
            Whether something is left of the worker then says `group_is_empty`.
        on_group_empty: Called with the same pid when what was left of the worker is gone as well;
            only after an `on_exit` at which `group_is_empty` was false. Both may call back into the
            reaper.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, on_exit: OnExit, on_group_empty: OnGroupEmpty
    ) -> None:
        self._loop = loop
        self._on_exit = on_exit
        self._on_group_empty = on_group_empty
        self._pidfds: dict[int, int] = {}  # main processes not reaped yet
        self._lingering: set[int] = set()  # process groups that outlived their leader
        self._recheck_timer: asyncio.TimerHandle | None = None
        self._recheck_after_ns = limits.GONE_CHECK_NS
        loop.add_signal_handler(signal.SIGCHLD, self._sweep)

    def watch(self, pid: int, pidfd: int) -> None:
        """Take charge of a child that leads its own process group, and of its `pidfd`.

        To be called in the same turn of the loop in which the child was started: an unwatched child
        that dies is taken for a stranger.
        """
        assert pid not in self._pidfds, f"{pid} is watched already"
        self._pidfds[pid] = pidfd
        self._loop.add_reader(pidfd, self._main_process_ended, pid)

    def group_is_empty(self, pid: int) -> bool:
        """Say whether nothing is left of this worker, as far as the callbacks have told.

        An answer from memory, so that it never contradicts an `on_group_empty` still to come.
        """
        return pid not in self._pidfds and pid not in self._lingering

    def signal(self, pid: int, signum: int) -> bool:
        """Send a signal to a worker's main process; False if there is none any more.

        Raises:
            PermissionError: The worker became somebody else (set-user-ID) and we are not root.
        """
        pidfd = self._pidfds.get(pid)
        if pidfd is None:
            return False
        try:
            signal.pidfd_send_signal(pidfd, signum)
        except ProcessLookupError:
            return False
        return True

    def signal_group(self, pid: int, signum: int) -> bool:
        """Send a signal to everything in a worker's process group; False if nothing is left of it.

        A process group has no descriptor, so the number itself must be certain. It is: the leader
        is not reaped yet, or the group is known to linger, and Linux gives a number to nobody else
        while it is the id of a process, a group or a session (alloc_pid and free_pid in
        kernel/pid.c). The one exception is a group whose end nobody has noticed yet: its number
        would have to come round through all of pid_max before the next look, a second at most.

        Raises:
            PermissionError: Nobody in the group may be signalled by us.
        """
        # To kill(2), which killpg(3) calls with -pid, 0 is our own group and 1 is everybody.
        assert pid > 1, f"{pid} is not a worker's process group"
        assert pid != os.getpgrp(), "a worker's process group can not be our own"
        if self.group_is_empty(pid):
            return False
        try:
            os.killpg(pid, signum)
        except ProcessLookupError:
            return False
        return True

    def close(self) -> None:
        """Stop watching. Processes that still run are left alone, and unreaped."""
        self._loop.remove_signal_handler(signal.SIGCHLD)
        self._cancel_recheck()
        for pidfd in self._pidfds.values():
            self._loop.remove_reader(pidfd)
            os.close(pidfd)
        self._pidfds.clear()
        self._lingering.clear()

    # --- wake-ups ------------------------------------------------------------------------------

    def _main_process_ended(self, pid: int) -> None:
        """A watched process is dead, says its pidfd or a sweep: reap it and tell."""
        pidfd = self._pidfds[pid]
        try:
            reaped, status, used = os.wait4(pid, os.WNOHANG)
        except ChildProcessError as error:
            self._forget(pid)
            raise InternalError(f"cannot reap process {pid}: somebody else has done so") from error
        if reaped == 0:
            # Dead, yet not for us to see: a debugger attached to it must wait for it first
            # (ptrace(2), "Death under ptrace"). The descriptor stays readable and would spin;
            # SIGCHLD comes when it lets go.
            self._loop.remove_reader(pidfd)
            return
        self._forget(pid)
        if not _group_is_gone(pid):
            self._lingering.add(pid)
            self._cancel_recheck()  # so that it starts over, soon, for the newcomer
            self._schedule_recheck()
        usage = Usage(used.ru_maxrss * limits.KIB, used.ru_utime, used.ru_stime)
        self._on_exit(pid, exit_status(status), usage)

    def _sweep(self) -> None:
        """SIGCHLD: collect every dead child there is.

        A look without reaping comes first (waitid(2), WNOWAIT), so that the end of a watched
        process goes the way of all watched processes, whichever of the two wake-ups comes first.
        """
        for _ in range(limits.REAP_TURN_MAX):
            pid = _dead_child()
            if pid is None:
                break
            if pid in self._pidfds:
                self._main_process_ended(pid)
            else:
                os.waitpid(pid, os.WNOHANG)
        else:
            # There may be more, but others have waited long enough.
            self._loop.call_soon(self._sweep)
        self._check_lingering()

    def _recheck(self) -> None:
        """The timer: look again, and less often the longer nothing happens."""
        self._recheck_timer = None
        self._recheck_after_ns = min(2 * self._recheck_after_ns, limits.GONE_CHECK_MAX_NS)
        self._check_lingering()

    # --- groups that linger --------------------------------------------------------------------

    def _check_lingering(self) -> None:
        """Tell of every lingering group that is empty by now."""
        for pid in tuple(self._lingering):
            if pid not in self._lingering:
                continue  # a callback closed the reaper
            if _group_is_gone(pid):
                self._lingering.discard(pid)
                self._on_group_empty(pid)
        self._schedule_recheck()

    def _schedule_recheck(self) -> None:
        """Let the timer run exactly while something lingers."""
        if not self._lingering:
            self._cancel_recheck()
        elif self._recheck_timer is None:
            delay_s = self._recheck_after_ns / limits.SECOND
            self._recheck_timer = self._loop.call_later(delay_s, self._recheck)

    def _cancel_recheck(self) -> None:
        self._recheck_after_ns = limits.GONE_CHECK_NS
        if self._recheck_timer is not None:
            self._recheck_timer.cancel()
            self._recheck_timer = None

    def _forget(self, pid: int) -> None:
        pidfd = self._pidfds.pop(pid)
        self._loop.remove_reader(pidfd)
        os.close(pidfd)


def _dead_child() -> int | None:
    """The pid of some child that is dead and not reaped; None if there is none."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return None if found is None else found.si_pid


def _group_is_gone(pgid: int) -> bool:
    """Say whether a process group has no members, after reaping those that are our dead children.

    kill(2) finds zombies too: unreaped they would keep the group alive.
    """
    try:
        for _ in range(limits.REAP_TURN_MAX):
            reaped, _status = os.waitpid(-pgid, os.WNOHANG)
            if reaped == 0:
                return False  # a living child of ours is in it
    except ChildProcessError:
        pass  # no child of ours is in it, yet somebody else's may be
    try:
        os.killpg(pgid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # there is somebody, whom we may not signal
    return False
