"""Everything that a worker consists of: who belongs to it, whether anybody is left, a signal to all of it.

Where the worker has a cgroup, that is the answer: nobody gets out of it. Elsewhere it is pieced together. A
process belongs to a worker when it is in its process group or session, when it descends from its main process,
or when it came to us as an orphan and has the token of the worker's incarnation in its environment. That finds
who forked twice and left the session; not who did so and threw the environment away as well.

Nothing is looked for while a worker runs.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import Protocol

from supervisord_ng import limits
from supervisord_ng.runtime import procfs
from supervisord_ng.runtime.cgroups import Cgroup
from supervisord_ng.runtime.procfs import Census


class Whole(Protocol):
    """One incarnation of a worker, as the reaper sees it."""

    def is_gone(self, census: Census) -> bool:
        """Say whether nothing is left; to be asked once the main process is reaped."""

    def signal(self, signum: int, census: Census) -> bool:
        """Send a signal to every process; False if there is none.

        Raises:
            PermissionError: nobody may be signalled by us.
        """

    def ran_out_of_memory(self) -> bool:
        """Say whether the kernel has killed a process of it for want of memory, where that is told."""

    def open_events(self) -> int | None:
        """A descriptor for epoll's EPOLLPRI that says when `is_gone` is worth asking; None: look yourself."""

    def close_events(self) -> None:
        """Done with that."""


class SessionWhole:
    """A worker without a cgroup, or before it has one.

    Args:
        pid: of its main process, which leads its group and session.
        mark: the assignment in its environment that no other incarnation has, b"" for none.
        scattered: its orphans need not have come to us; an earlier daemon has started it.
    """

    def __init__(self, pid: int, mark: bytes = b"", *, scattered: bool = False) -> None:
        # To kill(2), which killpg(3) calls with -pid, 0 is our own group and 1 is everybody.
        assert pid > 1, f"{pid} is not a worker's process group"
        assert pid != os.getpgrp(), "a worker's process group can not be our own"
        self.pid = pid
        self._mark = mark
        self._scattered = scattered and bool(mark)
        self._known: dict[int, int] = {}  # members at the last look, with their start times
        self._doomed = False
        self._is_reaped = False
        self._number_is_free = (
            False  # nobody is in group or session any more: it may be a stranger's by now
        )

    def members(self, census: Census) -> dict[int, int]:
        """Everybody but the main process, with the time at which it started."""
        roots = [pid for pid in census.strays if self._claims(pid, census)]
        if self._scattered:
            roots += census.scattered(None if self._number_is_free else self.pid, self._mark)
        if not self._is_reaped:
            roots.append(self.pid)
        found: dict[int, int] = {}
        for root in roots:
            for pid in (root, *census.below(root)):
                stat = census.stat(pid)
                if stat is not None:
                    found[pid] = stat.started
        found.pop(self.pid, None)
        self._known = found
        return found

    def is_gone(self, census: Census) -> bool:
        """Group and session and orphans; whoever shows up after SIGKILL is killed as well."""
        self._is_reaped = True
        members = self.members(census)
        if (
            self._scattered
        ):  # its dead may lie about unreaped, if it is not we who have to reap them
            group_is_gone = not any(self._in_group(pid, census) for pid in members)
        else:
            group_is_gone = self._number_is_free or _group_is_gone(self.pid)
        if group_is_gone and not any(self._in_session(pid, census) for pid in members):
            self._number_is_free = True
        if self._doomed:
            _signal_each(members, signal.SIGKILL)
        return group_is_gone and not members

    def signal(self, signum: int, census: Census) -> bool:
        """The group at once, then those who have left it.

        A process group has no descriptor, so the number itself must be certain. It is: the leader
        is not reaped yet, or somebody is in its group or session, and Linux gives a number to
        nobody else while it is the id of a process, a group or a session (alloc_pid and free_pid
        in kernel/pid.c). The one exception is a group whose end nobody has noticed yet: its number
        would have to come round through all of pid_max before the next look, a second at most.
        """
        self._doomed = self._doomed or signum == signal.SIGKILL
        outside = {
            pid: started
            for pid, started in self.members(census).items()
            if (stat := census.stat(pid)) is not None and stat.group != self.pid
        }
        reached = False
        denied: PermissionError | None = None
        if not self._number_is_free:
            try:
                os.killpg(self.pid, signum)
                reached = True
            except ProcessLookupError:
                pass
            except PermissionError as error:
                denied = error
        reached = _signal_each(outside, signum) or reached
        if denied is not None and not reached:
            raise denied
        return reached

    def ran_out_of_memory(self) -> bool:
        """The kernel counts by cgroup only."""
        return False

    def open_events(self) -> int | None:
        """SIGCHLD and a timer have to do."""
        return None

    def close_events(self) -> None:
        """There are none."""

    def _claims(self, pid: int, census: Census) -> bool:
        """Say whether an orphan that came to us is of this worker."""
        stat = census.stat(pid)
        if stat is None:
            return False
        if self._in_session(pid, census) or self._known.get(pid) == stat.started:
            return True
        return bool(self._mark) and census.has_variable(pid, self._mark)

    def _in_group(self, pid: int, census: Census) -> bool:
        stat = census.stat(pid)
        return stat is not None and stat.group == self.pid and not self._number_is_free

    def _in_session(self, pid: int, census: Census) -> bool:
        stat = census.stat(pid)
        return stat is not None and stat.session == self.pid and not self._number_is_free


class CgroupWhole:
    """A worker in a cgroup of its own."""

    def __init__(self, cgroup: Cgroup) -> None:
        self._cgroup = cgroup
        self._events: int | None = None
        self._doomed = False
        self._oom_kills_before = cgroup.oom_kills()  # of earlier incarnations

    def is_gone(self, census: Census) -> bool:
        """The kernel counts."""
        del census
        if self._cgroup.is_empty(self._events):
            return True
        if self._doomed:
            self._cgroup.kill()
        return False

    def signal(self, signum: int, census: Census) -> bool:
        """SIGKILL in one stroke, which also gets who is being forked meanwhile; others one by one."""
        del census
        if signum != signal.SIGKILL:
            return self._cgroup.signal(signum)
        self._doomed = True
        # Without the descriptor: reading it would disarm it, and `is_gone` would never be asked.
        alive = not self._cgroup.is_empty()
        self._cgroup.kill()
        return alive

    def ran_out_of_memory(self) -> bool:
        """By memory.events, which is there where the memory controller is."""
        return self._cgroup.oom_kills() > self._oom_kills_before

    def open_events(self) -> int | None:
        """The kernel tells when the last process is gone."""
        self._events = self._cgroup.open_events()
        return self._events

    def close_events(self) -> None:
        """Close what `open_events` opened."""
        if self._events is not None:
            os.close(self._events)
            self._events = None


def _signal_each(members: dict[int, int], signum: int) -> bool:
    """Signal processes by number, making sure that each is still the one that was found."""
    reached = False
    for pid, started in members.items():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            pidfd = os.pidfd_open(pid)
            try:
                stat = procfs.stat_of(pid)
                if stat is not None and stat.started == started:
                    signal.pidfd_send_signal(pidfd, signum)
                    reached = True
            finally:
                os.close(pidfd)
    return reached


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
