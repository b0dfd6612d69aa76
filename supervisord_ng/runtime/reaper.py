"""Watches processes, tells how and when they end, passes signals to them.

Two wake-ups, because each knows what the other can not:

- The pidfd of a worker's main process becomes readable when that process is dead (pidfd_open(2)).
  Costs the same among ten thousand workers, and a signal sent through it can never reach a
  stranger.
- SIGCHLD says that some child changed. It is needed for children without a pidfd: a worker's
  orphans come to us because we are their subreaper (prctl(2), PR_SET_CHILD_SUBREAPER) or PID 1 of a
  container.

The descriptors stand in an epoll of their own, of which the loop waits for one: what dies at once is
told at once, so one look at what is left serves all of it.

A worker is gone when nothing of it is left, not when its main process is dead: `runtime.whole` says
who belongs to it. While something is left of it the worker *lingers*. Of a cgroup the kernel tells
when it is empty (cgroup.events, EPOLLPRI). Elsewhere a timer looks as well as SIGCHLD, which does not
tell everything: a process may die as the child of somebody else. Signals collapse into one when
several are pending (signal(7)), so SIGCHLD is never counted: whatever is dead is collected, whoever
it was.

Every child of this process belongs to the reaper: what is not watched is collected and forgotten.
It knows nothing of workers' names, of incarnations and of what an end means.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import select
import signal
from collections.abc import Callable, Collection

from msgspec.structs import replace

from supervisord_ng import limits
from supervisord_ng.errors import InternalError
from supervisord_ng.model.exits import ExitStatus
from supervisord_ng.model.reports import Usage
from supervisord_ng.runtime import signals
from supervisord_ng.runtime.procfs import Census
from supervisord_ng.runtime.whole import SessionWhole, Whole

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h

OnExit = Callable[[int, ExitStatus | None, Usage | None], None]
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
        on_exit: Called with pid, status and usage when a watched main process is dead and reaped;
            without them when somebody else has reaped it: it was an heir, or adopted. Whether
            something is left of the worker then says `group_is_empty`.
        on_group_empty: Called with the same pid when what was left of the worker is gone as well;
            only after an `on_exit` at which `group_is_empty` was false. Both may call back into the
            reaper.
        before_reaping: Called while those who have died can still be asked whose they were.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_exit: OnExit,
        on_group_empty: OnGroupEmpty,
        before_reaping: Callable[[], None] = lambda: None,
    ) -> None:
        self._before_reaping = before_reaping
        self._loop = loop
        self._on_exit = on_exit
        self._on_group_empty = on_group_empty
        self._pidfds: dict[int, int] = {}  # main processes not reaped yet ...
        self._mains: dict[int, int] = {}  # ... and the other way round
        self._heirs: dict[int, int] = {}  # who took a main process's place
        # Of workers that outlived them: those of whose end nobody tells, and by descriptor the others.
        self._looked_for: set[int] = set()
        self._told_of: dict[int, int] = {}
        self._wholes: dict[int, Whole] = {}  # of all of these
        self._held: set[int] = set()  # main processes that must not be reaped yet
        self._epoll = select.epoll()
        self._recheck_timer: asyncio.TimerHandle | None = None
        self._recheck_after_ns = limits.GONE_CHECK_NS
        signals.handle(loop, signal.SIGCHLD, self._sweep)
        loop.add_reader(self._epoll.fileno(), self._told)

    @property
    def mains(self) -> Collection[int]:
        """The main processes that are watched; a live view."""
        return self._pidfds.keys()

    def watch(
        self,
        pid: int,
        pidfd: int,
        whole: Whole | None = None,
        *,
        hold: bool = False,
        heir: int | None = None,
    ) -> None:
        """Take charge of a child that leads its own process group, and of its `pidfd`.

        To be called in the same turn of the loop in which the child was started: an unwatched child
        that dies is taken for a stranger.

        Args:
            pid: Of the child; not of a worker that lingers.
            pidfd: Of the same; closed here.
            whole: What the worker consists of; otherwise its session and what is found to be of it.
            hold: Do not reap it before `release`, so that its number stays its own.
            heir: Of a worker that is adopted, its main process, whose `pidfd` is: it need not be our child,
                and `pid` only names its group and session.
        """
        assert self.group_is_empty(pid), f"{pid} is watched already"
        self._pidfds[pid] = pidfd
        self._mains[pidfd] = pid
        self._wholes[pid] = SessionWhole(pid) if whole is None else whole
        if heir is not None:
            self._heirs[pid] = heir
        if hold:
            self._held.add(pid)
        else:
            self._epoll.register(pidfd, select.EPOLLIN)

    def hand_over(self, pid: int, heir: int, pidfd: int) -> None:
        """Let another process of a worker be its main process, whose end is then told as that of `pid`.

        Who was started is one of the rest from now on. The worker is still known by its number, which
        is nobody else's while the heir is in its session.

        Args:
            pid: Of the child that was watched.
            heir: Of the process that takes its place, in the session of `pid`.
            pidfd: Of the heir; closed here.
        """
        self._forget(pid)
        self._pidfds[pid] = pidfd
        self._mains[pidfd] = pid
        self._heirs[pid] = heir
        if pid not in self._held:
            self._epoll.register(pidfd, select.EPOLLIN)
            self._loop.call_soon(
                self._sweep
            )  # who was started may be dead, to be reaped by nobody else

    def is_main_gone(self, pid: int) -> bool:
        """Say whether the end of a worker's main process was told."""
        return pid not in self._pidfds

    def release(self, pid: int, whole: Whole | None) -> None:
        """Stop holding a child; with a better word on what its worker consists of, or None."""
        if pid not in self._held:
            return  # closed meanwhile
        self._held.discard(pid)
        if whole is not None:
            self._wholes[pid] = whole
        self._epoll.register(self._pidfds[pid], select.EPOLLIN)
        self._loop.call_soon(self._sweep)  # the last one may have come upon it and stopped

    def group_is_empty(self, pid: int) -> bool:
        """Say whether nothing is left of this worker, as far as the callbacks have told.

        An answer from memory, so that it never contradicts an `on_group_empty` still to come.
        """
        return pid not in self._wholes

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
        """Send a signal to everything that is left of a worker; False if that is nothing.

        Raises:
            PermissionError: Nobody in it may be signalled by us.
        """
        assert pid > 1, f"{pid} is not a worker's process group"
        assert pid != os.getpgrp(), "a worker's process group can not be our own"
        if self.group_is_empty(pid):
            return False
        return self._wholes[pid].signal(signum, self._census())

    def close(self) -> None:
        """Stop watching. Processes that still run are left alone, and unreaped. May be called twice."""
        if self._epoll.closed:
            return
        signals.forget(signal.SIGCHLD)
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()
        self._cancel_recheck()
        for pid in self._told_of.values():
            self._wholes[pid].close_events()
        for pidfd in self._mains:
            os.close(pidfd)
        for books in (self._pidfds, self._mains, self._heirs, self._wholes, self._told_of):
            books.clear()
        self._looked_for.clear()
        self._held.clear()

    # --- wake-ups ------------------------------------------------------------------------------

    def _told(self) -> None:
        """Main processes are dead, cgroups may be empty, say their descriptors."""
        self._before_reaping()
        ready = [fd for fd, _ in self._epoll.poll(0, limits.REAP_TURN_MAX)]
        # By name before anything happens: a callback may close a descriptor and open another of its number.
        ended = [self._mains[fd] for fd in ready if fd in self._mains]
        changed = [fd for fd in ready if fd in self._told_of]
        census = self._census()  # taken at the first need, when all of these were dead
        for pid in ended:
            if pid in self._pidfds:
                self._main_process_ended(pid, census)
        for events in changed:
            if events in self._told_of:
                self._group_changed(events, census)

    def _main_process_ended(self, pid: int, census: Census) -> None:
        """A watched process is dead: reap it and tell."""
        try:
            ended = self._reap(pid)
        except ChildProcessError as error:
            self._forget(pid)
            del self._wholes[pid]
            raise InternalError(f"cannot reap process {pid}: somebody else has done so") from error
        if ended is None:
            # Dead, yet not for us to see: a debugger attached to it must wait for it first
            # (ptrace(2), "Death under ptrace"). The descriptor stays readable and would spin;
            # SIGCHLD comes when it lets go.
            self._epoll.unregister(self._pidfds[pid])
            return
        self._forget(pid)
        whole = self._wholes[pid]
        status, usage = ended
        if status is not None and status.signal == signal.SIGKILL and whole.ran_out_of_memory():
            status = replace(status, out_of_memory=True)
        if whole.is_gone(census):
            del self._wholes[pid]
        else:
            self._linger(pid, whole)
        self._on_exit(pid, status, usage)

    def _reap(self, pid: int) -> tuple[ExitStatus | None, Usage | None] | None:
        """How the main process of a worker ended; None when it has not, as far as we can see.

        Raises:
            ChildProcessError: It was our child and is no more.
        """
        heir = self._heirs.get(pid)
        if heir is not None:
            try:
                os.waitid(os.P_PIDFD, self._pidfds[pid], os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return None, None  # its own parent lives, and is told
        reaped, status, used = os.wait4(pid if heir is None else heir, os.WNOHANG)
        if reaped == 0:
            return None
        usage = Usage(used.ru_maxrss * limits.KIB, used.ru_utime, used.ru_stime)
        return exit_status(status), usage

    def _sweep(self) -> None:
        """SIGCHLD: collect every dead child there is.

        A look without reaping comes first (waitid(2), WNOWAIT), so that the end of a watched
        process goes the way of all watched processes, whichever of the two wake-ups comes first.
        """
        self._before_reaping()
        for _ in range(limits.REAP_TURN_MAX):
            pid = _dead_child()
            if pid is None:
                break
            worker = self._main_of(pid)
            if pid in self._held or worker in self._held:
                break  # the kernel would name it again and again
            if worker is None:
                os.waitpid(pid, os.WNOHANG)
                continue
            self._told()
            if worker == self._main_of(pid):  # its descriptor was silenced: it was in a debugger
                self._main_process_ended(worker, self._census())
        else:
            # There may be more, but others have waited long enough.
            self._loop.call_soon(self._sweep)
        self._check_lingering()

    def _main_of(self, pid: int) -> int | None:
        """The worker whose main process this is; None of a stranger, and of who has an heir."""
        if pid in self._pidfds and pid not in self._heirs:
            return pid
        return next((worker for worker, heir in self._heirs.items() if heir == pid), None)

    def _recheck(self) -> None:
        """The timer: look again, and less often the longer nothing happens."""
        self._recheck_timer = None
        self._recheck_after_ns = min(2 * self._recheck_after_ns, limits.GONE_CHECK_MAX_NS)
        self._check_lingering()

    # --- workers that linger -------------------------------------------------------------------

    def _linger(self, pid: int, whole: Whole) -> None:
        """The main process is gone, the worker is not: find out when it is."""
        events = whole.open_events()
        if events is not None:
            self._told_of[events] = pid
            self._epoll.register(events, select.EPOLLPRI)
        else:
            self._looked_for.add(pid)
            self._cancel_recheck()  # so that it starts over, soon, for the newcomer
            self._schedule_recheck()

    def _group_changed(self, events: int, census: Census) -> None:
        pid = self._told_of[events]
        whole = self._wholes[pid]
        if whole.is_gone(census):
            del self._told_of[events]
            self._epoll.unregister(events)
            whole.close_events()
            self._gone(pid)

    def _check_lingering(self) -> None:
        """Look whether workers of whose end nobody tells are gone by now."""
        census = self._census()
        for pid in tuple(self._looked_for):
            if pid not in self._looked_for:
                continue  # a callback closed the reaper
            if self._wholes[pid].is_gone(census):
                self._looked_for.discard(pid)
                self._gone(pid)
                census = self._census()  # somebody may have come to us meanwhile
        self._schedule_recheck()

    def _gone(self, pid: int) -> None:
        del self._wholes[pid]
        self._on_group_empty(pid)

    def _census(self) -> Census:
        return Census(lambda: self.mains)

    def _schedule_recheck(self) -> None:
        """Let the timer run exactly while something lingers of which nobody tells."""
        if not self._looked_for:
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
        self._heirs.pop(pid, None)
        del self._mains[pidfd]
        with contextlib.suppress(FileNotFoundError):  # it was taken out already
            # Closing is not enough: a process that is just being started has a copy until its exec.
            self._epoll.unregister(pidfd)
        os.close(pidfd)


def _dead_child() -> int | None:
    """The pid of some child that is dead and not reaped; None if there is none."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return None if found is None else found.si_pid
