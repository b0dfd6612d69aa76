"""What /proc says of single processes and of who descends from whom; proc(5).

By hand and not by psutil because it is asked for at every end of a worker: psutil reads the whole of /proc to
find the children of one process, the kernel has them in a list.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

import psutil


class Stat(NamedTuple):
    """The part of proc_pid_stat(5) that tells whose a process is. `started` is in clock ticks since boot."""

    state: str
    parent: int
    group: int
    session: int
    started: int

    @property
    def is_dead(self) -> bool:
        """Whether it only waits to be reaped."""
        return self.state in "ZX"


def stat_of(pid: int) -> Stat | None:
    """Read what the kernel says of a process; None when there is none of this number."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name in parentheses may hold anything, also parentheses.
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return Stat(fields[0].decode(), int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19]))


def birth_of(pid: int) -> int:
    """When a process was started, in clock ticks since boot; 0 when there is none of this number."""
    stat = stat_of(pid)
    return 0 if stat is None else stat.started


def environment_of(pid: int) -> frozenset[bytes]:
    """The assignments, NAME=value, with which a process was started.

    None where we may not look: another user's process, or one that hides its memory.
    """
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return frozenset(file.read().split(b"\0"))
    except OSError:
        return frozenset()


def everybody() -> list[int]:
    """All processes that there are."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def boot_id() -> str:
    """A name for this boot of the host and this pid namespace: what is known of others says nothing here.

    A container has the boot of its host, and at each start a namespace of its own; pid_namespaces(7).
    """
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        boot = file.read().strip()
    return f"{boot}/{os.readlink('/proc/self/ns/pid')}"


def children_of(pid: int) -> list[int]:
    """The children of all threads of a process."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found += _listed(f"/proc/{pid}/task/{thread}/children")
    except (FileNotFoundError, ProcessLookupError):
        return []
    return found or _scanned(pid)


def _own_children() -> list[int]:
    """The children of the daemon: its main thread forks, and is given what it adopts.

    The kernel hands orphans to the first living thread (find_new_reaper in kernel/exit.c).
    """
    me = os.getpid()
    try:
        return _listed(f"/proc/{me}/task/{me}/children")
    except FileNotFoundError:
        return _scanned(me)


def _listed(path: str) -> list[int]:
    with open(path, "rb") as file:
        return [int(pid) for pid in file.read().split()]


def _scanned(pid: int) -> list[int]:
    """The slow way, for kernels without CONFIG_PROC_CHILDREN."""
    if _HAS_CHILDREN:
        return []
    with contextlib.suppress(psutil.Error):
        return [child.pid for child in psutil.Process(pid).children()]
    return []


_HAS_CHILDREN = os.path.exists("/proc/thread-self/children")


class Census:
    """One look at the processes below the daemon; who needs it twice reads it once.

    Args:
        mains: says which of our children are main processes of workers.
    """

    def __init__(self, mains: Callable[[], Collection[int]]) -> None:
        self._mains = mains
        self._strays: tuple[int, ...] | None = None
        self._stats: dict[int, Stat | None] = {}
        self._environments: dict[int, frozenset[bytes]] = {}

    @property
    def strays(self) -> tuple[int, ...]:
        """Our living children that are nobody's main process: orphans that came to us, their subreaper."""
        if self._strays is None:
            children = _own_children()
            mains = self._mains()  # after the look, so that none of the newest is taken for a stray
            found = [pid for pid in children if pid not in mains]
            self._strays = tuple(pid for pid in found if self.stat(pid) is not None)
        return self._strays

    def stat(self, pid: int) -> Stat | None:
        """The process, None when it is dead or gone."""
        if pid not in self._stats:
            stat = stat_of(pid)
            self._stats[pid] = None if stat is None or stat.is_dead else stat
        return self._stats[pid]

    def has_variable(self, pid: int, assignment: bytes) -> bool:
        """Say whether a process was started with this variable, NAME=value, in its environment."""
        if pid not in self._environments:
            self._environments[pid] = environment_of(pid)
        return assignment in self._environments[pid]

    def scattered(self, session: int | None, assignment: bytes) -> list[int]:
        """Who is in this group or session or has this variable, NAME=value, whoever's child it is.

        Never we ourselves nor who we descend from. Group and session 0 are those of processes that come from
        outside of our pid namespace, init among them, and no worker's: None stands for no session.
        """
        assert session != 0, "nobody's session"
        ours = self._lineage()
        return [
            pid
            for pid in everybody()
            if pid not in ours
            and (stat := self.stat(pid)) is not None
            and (session in (stat.group, stat.session) or self.has_variable(pid, assignment))
        ]

    def _lineage(self) -> set[int]:
        """We and all our ancestors."""
        found: set[int] = set()
        pid = os.getpid()
        while pid > 0 and pid not in found:
            found.add(pid)
            stat = stat_of(pid)
            pid = 0 if stat is None else stat.parent
        return found

    def below(self, pid: int) -> Iterator[int]:
        """Every living descendant of a process."""
        me = os.getpid()
        for child in children_of(pid):
            if child != me and self.stat(child) is not None:
                yield child
                yield from self.below(child)
