"""Who of an earlier daemon's processes is whose: found by pid and start time, or by the mark that it bears.

A pid alone says nothing, because the kernel gives it out again. With the time at which its process was started
it names one process of this boot of the host. So a process is held by a descriptor (pidfd_open(2)) first and
asked for its start time then: what is true once it is held stays true.

The journal may be behind by some restarts. Every worker has the daemon's socket and its own token in its
environment, and hands them on to what it starts; a token says of which incarnation it is (`runtime.tokens`).
"""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import NamedTuple

from supervisord_ng.model.spec import WorkerSpec
from supervisord_ng.runtime import procfs
from supervisord_ng.runtime.leftovers import Marked
from supervisord_ng.runtime.tokens import Tokens


class Adoptee(NamedTuple):
    """A worker that an earlier daemon has started.

    Args:
        path: of the worker.
        incarnation: of this start of it.
        spec: by which it is supervised from now on.
        pid: of its main process.
        birth: when the kernel started that, in clock ticks since boot.
        ready: whether it has been ready.
        ending: whether its end is wanted or under way.
        since: when it was started, in seconds since the epoch.
        marked: the processes that have its token.
    """

    path: str
    incarnation: int
    spec: WorkerSpec
    pid: int
    birth: int
    ready: bool
    ending: bool
    since: float
    marked: tuple[int, ...] = ()


class Held(NamedTuple):
    """A process that is certainly the one that was meant. `pidfd` is for whoever asked to close."""

    pid: int
    pidfd: int
    session: int


class Heir(NamedTuple):
    """The main process of an incarnation that the journal does not know yet; it may have ended.

    Without a `pid` the earlier daemon was killed while it started it, and it ended, or never ran.
    """

    incarnation: int
    pid: int
    birth: int
    marked: tuple[int, ...] = ()


def hold(pid: int, birth: int) -> Held | None:
    """Hold the process of this number if it is the one that was started then, and not dead for good.

    One that is dead and not reaped is held: if it is our child, its end is still to be told.
    """
    if not pid:
        return None
    try:
        pidfd = os.pidfd_open(pid)
    except (ProcessLookupError, OverflowError):
        return None
    stat = procfs.stat_of(pid)
    if stat is None or stat.started != birth:
        os.close(pidfd)
        return None
    if stat.is_dead and stat.parent != os.getpid():
        os.close(pidfd)
        return None
    return Held(pid, pidfd, stat.session)


def lives(pid: int, birth: int) -> bool:
    """Whether there is something to be held."""
    held = hold(pid, birth)
    if held is not None:
        os.close(held.pidfd)
    return held is not None


def members_by_token(marked: Collection[Marked]) -> dict[str, tuple[int, ...]]:
    """The processes that have each token."""
    found: dict[str, list[int]] = {}
    for one in marked:
        found.setdefault(one.token, []).append(one.pid)
    return {token: tuple(pids) for token, pids in found.items()}


def heirs(marked: Collection[Marked], tokens: Tokens) -> dict[str, Heir]:
    """The newest incarnation of each worker that is seen to run, by path.

    Its main process leads a session, as every worker does. Where two lead one each, nobody can say which is
    the main process, and there is no heir.
    """
    found: dict[str, list[Heir]] = {}
    for one in marked:
        incarnation = tokens.incarnation(one.path, one.token)
        stat = procfs.stat_of(one.pid)
        if incarnation is None or stat is None or stat.is_dead or stat.session != one.pid:
            continue
        found.setdefault(one.path, []).append(Heir(incarnation, one.pid, stat.started))
    newest = {}
    for path, candidates in found.items():
        highest = max(candidate.incarnation for candidate in candidates)
        leaders = [candidate for candidate in candidates if candidate.incarnation == highest]
        if len(leaders) == 1:
            newest[path] = leaders[0]
    return newest
