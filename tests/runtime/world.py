"""A reaper with real processes under it, for tests: what it told, and how to leave nothing behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from supervisord_ng.model.exits import ExitStatus
from supervisord_ng.model.reports import Usage
from supervisord_ng.model.spec import LaunchSpec
from supervisord_ng.runtime.reaper import Reaper, become_subreaper
from supervisord_ng.runtime.spawner import spawn
from tests.support import eventually

KILLED = ExitStatus(signal=signal.SIGKILL)


class World:
    """A reaper, the processes started under it, and what it told of them."""

    def __init__(self) -> None:
        self.exits: dict[int, ExitStatus | None] = {}
        self.usages: dict[int, Usage | None] = {}
        self.was_empty: dict[int, bool] = {}
        self.emptied: list[int] = []
        self.started: list[int] = []
        self.reaper = Reaper(asyncio.get_running_loop(), self.on_exit, self.emptied.append)

    def on_exit(self, pid: int, status: ExitStatus | None, usage: Usage | None) -> None:
        """Keep what was told; an end that is told twice is an error."""
        assert pid not in self.exits
        self.exits[pid] = status
        self.usages[pid] = usage
        self.was_empty[pid] = self.reaper.group_is_empty(pid)

    def start(self, *command: str) -> int:
        """Start a worker and let the reaper watch it."""
        launch = LaunchSpec(command, environment={"PATH": "/usr/bin:/bin"})
        null = subprocess.DEVNULL
        process = spawn(launch, environment={}, stdout=null, stderr=null)
        self.reaper.watch(process.pid, process.pidfd)
        self.started.append(process.pid)
        return process.pid

    def python(self, code: str, *arguments: str) -> int:
        """Start a worker that runs this program."""
        return self.start(sys.executable, "-c", code, *arguments)

    async def end(self) -> None:
        """Leave nothing behind."""
        for pid in self.started:
            self.reaper.signal_group(pid, signal.SIGKILL)
        await until(lambda: all(map(self.reaper.group_is_empty, self.started)), "all are gone")
        self.reaper.close()


W = TypeVar("W", bound=World)


async def until(look: Callable[[], Any], what: str) -> Any:
    """Wait while the loop turns."""
    return await asyncio.to_thread(eventually, look, what)


def await_zombie(pid: int) -> None:
    """Block, loop and all, until this child is dead; leave it unreaped."""
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def reap(pid: int) -> None:
    """Wait for a child behind the reaper's back."""
    os.waitpid(pid, 0)


def play(scene: Callable[[World], Awaitable[None]]) -> None:
    """Run a scene in a world of its own."""
    play_in(World, scene)


def play_in(make: Callable[[], W], scene: Callable[[W], Awaitable[None]]) -> None:
    """Run a scene in what `make` makes; this process is a subreaper meanwhile, as the daemon is."""

    async def run() -> None:
        world = make()
        try:
            await scene(world)
        finally:
            await world.end()

    assert become_subreaper()
    try:
        asyncio.run(run())
    finally:
        assert become_subreaper(enable=False)
