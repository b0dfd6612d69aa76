"""Starts a worker apart from all others and sees to it that it can be ended whole.

Decides who starts it (Popen, or the fork server where something has to be done in the child) and when it enters
its cgroup. Born in it is best, and what the fork server does. Popen can not, and moving a process takes
milliseconds that a restart should not cost. So who was started by Popen is moved afterwards, by a thread, and
whatever it has forked until then is looked for and moved as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from supervisord_ng import limits
from supervisord_ng.errors import SpawnError
from supervisord_ng.model.spec import LaunchSpec, Resources
from supervisord_ng.runtime import spawn_errors, spawner
from supervisord_ng.runtime.adoption import Held
from supervisord_ng.runtime.cgroups import Cgroup, Cgroups
from supervisord_ng.runtime.launcher import Launcher
from supervisord_ng.runtime.procfs import Census
from supervisord_ng.runtime.reaper import Reaper
from supervisord_ng.runtime.whole import CgroupWhole, SessionWhole, Whole


class _Move(NamedTuple):
    """A process that is on its way into its cgroup."""

    whole: SessionWhole
    cgroup: Cgroup


class Isolation:
    """Lives in the main thread.

    Args:
        loop: of the daemon.
        reaper: is given every process that is started.
        cgroups: where workers get groups of their own; None for nowhere.
        on_problem: told, in words, what had to be left out.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        reaper: Reaper,
        cgroups: Cgroups | None,
        on_problem: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._reaper = reaper
        self._cgroups = cgroups
        self._on_problem = on_problem
        self._launcher = Launcher()
        self._resources: dict[str, Resources | None] = {}  # that the group of a worker has
        self._mover = ThreadPoolExecutor(1, "cgroup-mover")
        self._waiting: list[_Move] = []
        self._moving = False

    def start(
        self,
        name: str,
        launch: LaunchSpec,
        *,
        environment: Mapping[str, str],
        mark: str,
        stdout: int,
        stderr: int,
        pass_fds: tuple[int, ...] = (),
    ) -> int:
        """Start a worker; the reaper watches it from here on. Return the pid of its main process.

        Args:
            name: of the worker.
            launch: what to start and as whom.
            environment: on top of that of `launch`.
            mark: the variable in it that no other incarnation has, NAME=value.
            stdout: see `runtime.spawner.spawn`, as for the others.
            stderr: likewise.
            pass_fds: likewise.

        Raises:
            SpawnError: a step failed, and which.
        """
        cgroup = self._cgroup(name, launch)
        launcher = self._launcher if spawner.needs_launcher(launch) else None
        born_in = None if cgroup is None or launcher is None else _open_directory(cgroup)
        try:
            process = spawner.spawn(
                launch,
                environment=environment,
                stdout=stdout,
                stderr=stderr,
                pass_fds=pass_fds,
                launcher=launcher,
                cgroup=born_in,
            )
        finally:
            if born_in is not None:
                os.close(born_in)
        self._refuse_number_in_use(process)
        whole: Whole
        if cgroup is not None and born_in is not None:
            whole = CgroupWhole(cgroup)
            self._reaper.watch(process.pid, process.pidfd, whole)
        else:
            whole = SessionWhole(process.pid, mark.encode())
            self._reaper.watch(process.pid, process.pidfd, whole, hold=cgroup is not None)
            if cgroup is not None:
                self._waiting.append(_Move(whole, cgroup))
                self._move()
        return process.pid

    def adopt(
        self, name: str, launch: LaunchSpec, held: Held, mark: str, marked: Collection[int]
    ) -> None:
        """Take over a worker that an earlier daemon has started; the reaper watches it from here on.

        Args:
            name: of the worker.
            launch: what it was started as.
            held: its main process.
            mark: see `start`.
            marked: the processes that have it.
        """
        session = SessionWhole(held.session, mark.encode(), scattered=True)
        cgroup = self._cgroup_of(name, held, session, marked)
        whole: Whole = session if cgroup is None else CgroupWhole(cgroup)
        if cgroup is not None:
            self._resources[name] = launch.resources
            self._limit_again(name, cgroup, launch.resources)
        self._reaper.watch(held.session, held.pidfd, whole, heir=held.pid)

    def _limit_again(self, name: str, cgroup: Cgroup, resources: Resources | None) -> None:
        """Limits may be gone: a service manager needs the controllers back before it can start a daemon."""
        if self._cgroups is None or resources is None:
            return
        try:
            self._cgroups.enable(resources)
            cgroup.set_resources(resources)
        except SpawnError as error:
            self._on_problem(f"going on with {name} without resources: {error.message}")

    def _cgroup_of(
        self, name: str, held: Held, session: SessionWhole, marked: Collection[int]
    ) -> Cgroup | None:
        """The group that holds all of an adopted worker; the earlier daemon may have died while it moved it."""
        if self._cgroups is None:
            return None
        try:
            cgroup = self._cgroups.holding(held.pid, name)
            members = set(marked)
            if cgroup is None:
                cgroup = self._cgroups.of_worker(name)
                cgroup.add(held.pid)
                members |= session.members(Census(lambda: self._reaper.mains)).keys()
        except OSError as error:
            self._on_problem(f"cannot move process {held.pid} to its cgroup: {error.strerror}")
            return None
        for pid in members.difference(cgroup.pids()):
            with contextlib.suppress(OSError):  # gone
                cgroup.add(pid)
        return cgroup

    def forget(self, name: str) -> None:
        """The worker is no longer in the tree."""
        if self._cgroups is not None and name in self._resources:
            del self._resources[name]
            self._cgroups.forget_worker(name)

    def detach(self) -> None:
        """End what helped, and leave everything else to the next daemon."""
        self._mover.shutdown(wait=True, cancel_futures=True)
        self._launcher.close()

    def close(self) -> None:
        """End what helped; workers that run are left alone, in their groups."""
        self.detach()
        if self._cgroups is not None:
            self._cgroups.close()

    # --- groups ----------------------------------------------------------------------------------------------
    def _cgroup(self, name: str, launch: LaunchSpec) -> Cgroup | None:
        """The group for a worker, with its limits; None where there are no groups and none is needed."""
        resources = launch.resources
        try:
            return self._prepare(name, resources)
        except SpawnError as error:
            if resources is None or not resources.optional:
                raise
            self._on_problem(f"starting {name} without resources: {error.message}")
        return self._prepare(name, None)

    def _prepare(self, name: str, resources: Resources | None) -> Cgroup | None:
        cgroups = self._cgroups
        if cgroups is None:
            if resources is None:
                return None
            text = "cannot limit resources: no cgroup v2 hierarchy that the daemon may write"
            raise SpawnError("no_cgroup", f"{text} (resources; optional = true starts without)")
        if resources != self._resources.get(name):
            cgroups.forget_worker(name)  # a new one has no limits
        if resources is not None:
            cgroups.enable(resources)
        try:
            cgroup = cgroups.of_worker(name)
        except OSError as error:
            why, said = spawn_errors.name(error.errno), spawn_errors.words(error.errno)
            raise SpawnError(why, f"cannot make a cgroup in {cgroups.path}: {said}") from error
        if resources is not None:
            cgroup.set_resources(resources)
        self._resources[name] = resources
        return cgroup

    def _refuse_number_in_use(self, process: spawner.Process) -> None:
        """What lingers is known by its number, which is given out again when nobody has it any more."""
        if not self._reaper.group_is_empty(process.pid):
            os.close(process.pidfd)
            os.kill(process.pid, signal.SIGKILL)
            os.waitpid(process.pid, 0)
            text = f"cannot watch process {process.pid}: an earlier worker of this number lingers"
            raise SpawnError("EAGAIN", text)

    # --- moving ----------------------------------------------------------------------------------------------
    def _move(self) -> None:
        """Let the thread take everybody who waits; who comes meanwhile goes with the next."""
        if self._moving or not self._waiting:
            return
        moves, self._waiting = self._waiting, []
        self._moving = True
        task = self._loop.run_in_executor(
            self._mover, _move_all, moves, lambda: Census(lambda: self._reaper.mains)
        )
        task.add_done_callback(lambda done: self._moved(moves, done))

    def _moved(self, moves: list[_Move], done: asyncio.Future[list[OSError | None]]) -> None:
        self._moving = False
        if done.cancelled():
            return
        for move, error in zip(moves, done.result(), strict=True):
            if error is None:
                self._reaper.release(move.whole.pid, CgroupWhole(move.cgroup))
            else:
                self._on_problem(
                    f"cannot move process {move.whole.pid} to {move.cgroup.path}: {error.strerror}"
                )
                self._reaper.release(move.whole.pid, None)
        self._move()


def _move_all(moves: list[_Move], census: Callable[[], Census]) -> list[OSError | None]:
    """Move each with what it has forked. The kernel takes its lock fast when it took it a moment ago."""
    errors: list[OSError | None] = []
    for move in moves:
        try:
            move.cgroup.add(move.whole.pid)
        except OSError as error:
            errors.append(error)
        else:
            errors.append(None)
    for _ in range(limits.MOVE_ROUNDS_MAX):
        look = census()
        moved = [
            _move_descendants(move, look)
            for move, error in zip(moves, errors, strict=True)
            if error is None
        ]
        if not any(moved):
            return errors
    # It forks faster than we look. What is known of it otherwise has to do.
    return [error or OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)) for error in errors]


def _move_descendants(move: _Move, census: Census) -> bool:
    """Move what a worker forked before it was moved; who is forked by those inside is inside."""
    members = move.whole.members(census)
    outside = members.keys() - set(move.cgroup.pids()) if members else set()
    for pid in outside:
        with contextlib.suppress(OSError):  # gone, or a thread group that is just exiting
            move.cgroup.add(pid)
    return bool(outside)


def _open_directory(cgroup: Cgroup) -> int:
    return os.open(cgroup.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
